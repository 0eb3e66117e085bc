"""What is sealed is opened by its key, at its place, and by nothing else."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Any

import pytest

from hub.schema.access import Access
from hub.schema.fields import DeclarationError, Field, Ref
from hub.schema.record import Record
from hub.vault import KEYS, KeysUnusable, Vault, new_key
from hub.wire.errors import HubError
from storage.keyring import Keyring

_RULE = Access(read="viewer", create="editor", update="editor", delete="editor")


@pytest.mark.parametrize("value", ["", "s", "ß" * 10_000, 0, 1.5, True, None, [1, "x"], {"a": {"b": [None]}}])
def test_every_plain_value_comes_back(value: Any) -> None:
    vault = Vault([new_key()])
    sealed = vault.seal("box.code A", value)
    assert vault.open("box.code A", sealed) == value
    assert vault.seal("box.code A", value) != sealed, "equal secrets cannot be told"


def test_the_first_key_seals_and_all_open() -> None:
    old, new = new_key(), new_key()
    sealed = Vault([old]).seal("p", "x")
    both = Vault([new, old])
    assert both.open("p", sealed) == "x"
    anew = both.anew("p", sealed)
    assert anew is not None
    assert Vault([new]).open("p", anew) == "x"
    assert both.anew("p", anew) is None
    with pytest.raises(HubError, match=r"secret\.unreadable"):
        Vault([new]).anew("p", sealed)


def _broken(sealed: str) -> list[str]:
    raw = bytearray(base64.urlsafe_b64decode(sealed))
    out = ["", "x", "ü", sealed[:-8], sealed.lower()]
    for place in range(0, len(raw), 7):
        flipped = raw.copy()
        flipped[place] ^= 1
        out.append(base64.urlsafe_b64encode(flipped).decode())
    return out


def test_what_was_changed_opens_nothing() -> None:
    vault = Vault([new_key()])
    for text in _broken(vault.seal("p", "secret")):
        with pytest.raises(HubError, match=r"secret\.unreadable"):
            vault.open("p", text)


def test_what_was_copied_to_another_place_opens_nothing() -> None:
    vault = Vault([new_key()])
    with pytest.raises(HubError, match="for another record"):
        vault.open("box.code B", vault.seal("box.code A", "secret"))


@pytest.mark.parametrize("keys", [[], ["x"], [""], ["ü" * 44], [new_key()[:-4]], [new_key()] * (KEYS + 1)])
def test_keys_that_are_none_are_refused_without_being_shown(keys: list[str]) -> None:
    with pytest.raises(KeysUnusable) as refusal:
        Vault(keys)
    assert not any(key and key in str(refusal.value) for key in keys if len(key) > 1)


def test_the_hub_makes_its_own_key_and_keeps_it_to_itself(tmp_path: Path) -> None:
    file = tmp_path / "secret.keys"
    ring = Keyring(file)
    assert not file.exists(), "nothing is kept before the hub knows that it is the right one"
    ring.keep()
    assert file.stat().st_mode & 0o777 == 0o600
    sealed = ring.vault.seal("p", "x")
    assert Keyring(file).vault.open("p", sealed) == "x"


def test_a_change_of_keys_goes_on_where_it_was_broken_off(tmp_path: Path) -> None:
    file = tmp_path / "secret.keys"
    ring = Keyring(file)
    ring.keep()
    sealed = ring.vault.seal("p", "x")
    assert ring.begin()
    again = Keyring(file)
    assert not again.begin(), "no third key"
    assert again.vault.open("p", sealed) == "x"
    anew = again.vault.anew("p", sealed)
    assert again.finish()
    assert not again.finish()
    last = Keyring(file).vault
    assert anew is not None
    assert last.open("p", anew) == "x"
    with pytest.raises(HubError, match=r"secret\.unreadable"):
        last.open("p", sealed)


def test_hubs_of_a_cluster_have_one_key_and_can_go_on_to_another(tmp_path: Path) -> None:
    one, other = Keyring(tmp_path / "a", shared=b"s" * 32), Keyring(tmp_path / "b", shared=b"s" * 32)
    sealed = one.vault.seal("p", "x")
    assert other.vault.open("p", sealed) == "x"
    given = Keyring(tmp_path / "a", [new_key()], shared=b"s" * 32)
    assert given.vault.open("p", sealed) == "x"
    assert not given.begin()
    with pytest.raises(HubError, match=r"secret\.unreadable"):
        Keyring(tmp_path / "c", shared=b"t" * 32).vault.open("p", sealed)


@pytest.mark.parametrize(
    ("field", "options", "told"),
    [
        (Field(secret=True, hashed=True), {}, "either secret or hashed"),
        (Field(secret=True, folded=True), {}, "needs neither"),
        (Field(secret=True, hidden_from="viewer"), {}, "needs neither"),
        (Field(secret=True), {"unique": (("code",),)}, "has no index"),
        (Field(secret=True), {"indexes": (("code",),)}, "has no index"),
        (Field(secret=True), {"sortable": ("code",)}, "cannot sort"),
        (Field(hashed=True), {"sortable": ("code",)}, "cannot sort"),
        (Field(hashed=True), {"searchable": ("code",)}, "not everybody sees"),
        (Field(secret=True, lookup="country"), {}, "no secret"),
    ],
)
def test_a_secret_is_declared_as_one_or_not_at_all(field: Field, options: dict[str, Any], told: str) -> None:
    names = {"__annotations__": {"code": Annotated[str, field]}, "__module__": __name__, "__doc__": "A thing."}
    with pytest.raises(DeclarationError, match=told):
        type("Thing", (Record,), names, access=_RULE, **options)


def test_a_hash_is_a_text_and_a_reference_no_secret() -> None:
    for hint in (Annotated[int, Field(hashed=True)], Annotated[Ref[Record], Field(secret=True)]):
        with pytest.raises(DeclarationError):
            type("Thing", (Record,), {"__annotations__": {"code": hint}, "__module__": __name__}, access=_RULE)
