"""Secret fields at rest: encrypted with the first of the hub's keys, opened with any of them. Pure; reads no file.

What is sealed says what it belongs to, so that a sealed value that somebody copies to another record or field opens
nothing there. The cipher is Fernet's (AES-128-CBC with HMAC-SHA-256), from `cryptography`: decision 0041.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from hub.wire.errors import HubError

KEYS: Final = 16
"""How many keys a hub has at most: each further one is tried for what the ones before it do not open."""


class KeysUnusable(Exception):
    """Keys cannot be used; the text says why and what to do, and shows no key."""


class Vault:
    """The keys of one hub; the first one encrypts."""

    def __init__(self, keys: Sequence[str]) -> None:
        if not 1 <= len(keys) <= KEYS:
            raise KeysUnusable(f"There must be 1 to {KEYS} keys, the one that encrypts first.")
        made = []
        for number, key in enumerate(keys, 1):
            try:
                made.append(Fernet(key.encode("ascii")))
            except ValueError:
                text = f"Key {number} is none: 32 random bytes in url-safe base64, such as `aether secrets key` prints."
                raise KeysUnusable(text) from None
        self._first, self._all = made[0], MultiFernet(made)

    def seal(self, place: str, value: Any) -> str:
        """Return a plain value as it is kept at a place (`type.field id`)."""
        return self._first.encrypt(msgspec.json.encode((place, value))).decode("ascii")

    def open(self, place: str, text: str) -> Any:
        """Return what was sealed at a place; raise `secret.unreadable`."""
        try:
            kept, value = msgspec.json.decode(self._all.decrypt(text))
        except (InvalidToken, ValueError):
            raise HubError("secret.unreadable") from None
        if kept != place:
            raise HubError("secret.unreadable", "This secret was sealed for another record; write it anew.")
        return value

    def anew(self, place: str, text: str) -> str | None:
        """Return it sealed with the first key, None where it is; raise `secret.unreadable`."""
        try:
            self._first.decrypt(text)
        except (InvalidToken, ValueError):
            return self.seal(place, self.open(place, text))
        return None


class Shut:
    """Stands in the place of keys that do not open what is kept: nothing is sealed with them."""

    def seal(self, place: str, value: Any) -> str:
        """Raise `secret.unreadable`."""
        raise HubError("secret.unreadable")


def new_key() -> str:
    """Return a fresh random key."""
    return Fernet.generate_key().decode("ascii")


__all__ = ["KEYS", "KeysUnusable", "Shut", "Vault", "new_key"]
