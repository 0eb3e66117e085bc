"""What roles may: the ladder as it is, own roles from patterns, keys within their scopes; nobody gives more."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
import pytest

from handlers.base import Operations
from handlers.modules import MODULES
from hub.access import OPERATOR, RightsTable, refuse_beyond, rules_of
from hub.context import Context
from hub.schema.access import NOBODY, ROLES, Access
from hub.schema.actions import action
from hub.schema.channels import Channel
from hub.schema.core.identity import Account
from hub.schema.fields import DeclarationError, Field
from hub.schema.record import Record, type_of
from hub.schema.registry import Registry
from hub.wire.errors import HubError


class Ledger(Record, parent=Account, access=Access("viewer", "editor", "editor", "manager")):
    """With fields that not everybody sees."""

    title: str
    margin: Annotated[int, Field(hidden_from="viewer")] = 0
    secret: Annotated[int, Field(hidden_from="manager")] = 0
    never: Annotated[int, Field(hidden_from="owner")] = 0


class Board(Record, parent=Account, access=Access("viewer", "member", "member", "member", "member", manage="member")):
    """Whoever may write it may manage it."""

    title: str


def registry_of(*declared: type[Record], channels: tuple[Channel, ...] = ()) -> Registry:
    """Return the core with a few types and channels more."""
    registry = Registry.of(["hub.schema.core"])
    for one in declared:
        registry.add_type(type_of(one))
    for channel in channels:
        registry.add_channel(channel)
    registry.check()
    return registry


class Args(msgspec.Struct, forbid_unknown_fields=True):
    """Nothing."""


@action("ledger.burn", needs="ledger.burn")
async def burn(ctx: Context, args: Args) -> Args:
    """Needs what nothing gives."""
    return args


CURSORS: Final = Channel("cursors", join="viewer", send="member", see="editor")
REGISTRY: Final = registry_of(Ledger, Board, channels=(CURSORS, Channel.of(Board, send="editor")))
LEDGER: Final = REGISTRY.types["ledger"]
LADDER: Final = """
account.feed manager
api_key.create owner
api_key.delete owner
api_key.manage owner
api_key.purge owner
api_key.read owner
api_key.update owner
device.create manager
device.delete manager
device.manage manager
device.purge owner
device.read viewer
device.update manager
membership.create nobody
membership.delete manager
membership.manage nobody
membership.purge nobody
membership.read viewer
membership.update manager
role.create owner
role.delete owner
role.manage owner
role.purge owner
role.read manager
role.update owner
service_account.create owner
service_account.delete owner
service_account.manage owner
service_account.purge owner
service_account.read manager
service_account.update owner
session.create nobody
session.delete nobody
session.manage nobody
session.purge nobody
session.read owner
session.update nobody
user.create nobody
user.delete nobody
user.manage nobody
user.purge nobody
user.read owner
user.update nobody
"""


def table(kept: int = 1000) -> RightsTable:
    """Return fresh rights."""
    return RightsTable(REGISTRY, kept)


def role(*permissions: str, name: str = "clerk", version: int = 1) -> dict[str, Any]:
    """Return the record of an own role."""
    return {"account_id": "a", "id": f"id-{name}", "version": version, "name": name, "permissions": list(permissions)}


def test_the_built_in_roles_are_what_they_were() -> None:
    snapshot = dict(line.split() for line in LADDER.split("\n") if line)
    rules = rules_of(REGISTRY)
    assert {name: rules[name] for name in snapshot} == snapshot
    for rung, name in enumerate(ROLES):
        held = table().of(name).permissions
        assert held >= {p for p, least in rules.items() if least in ROLES[: rung + 1]}
        assert held.isdisjoint(p for p, least in rules.items() if least in {*ROLES[rung + 1 :], NOBODY})


def test_what_manage_needs_is_manager_or_the_highest_that_it_gives_along() -> None:
    assert Access("viewer", "editor", "editor", "editor").rules()["manage"] == "manager"
    assert Access("viewer", "editor", "owner", "editor").rules()["manage"] == "owner"
    assert Access("viewer", "nobody", "editor", "editor").rules()["manage"] == "nobody"
    assert Access("viewer", "member", "member", "member", manage="member").rules()["manage"] == "member"
    with pytest.raises(DeclarationError, match="manage gives all that owner may"):
        Access("viewer", "editor", "owner", "editor", manage="manager")


def test_an_own_role_holds_what_its_patterns_stand_for() -> None:
    rights = table().own(role("ledger.manage", "board.*", "*.read"))
    held = {"ledger.manage", "ledger.read", "ledger.create", "ledger.update", "ledger.delete"}
    assert held <= rights.permissions
    assert "ledger.purge" not in rights.permissions
    assert {"board.send", "board.purge", "device.read"} <= rights.permissions
    assert "cursors.join" not in rights.permissions
    assert table().own(role("*")).permissions == table().of("owner").permissions
    assert table().own(role("*e*ger.up*e")).permissions == {"ledger.update"}


@pytest.mark.parametrize(
    "pattern", ["evnt.read", "ledger", "ledger.raed", "*.fly", "session.create", "user.*e", "led*"]
)
def test_a_pattern_that_grants_nothing_is_refused_with_its_place(pattern: str) -> None:
    nothing = "user.create" if pattern == "user.*e" else pattern
    with pytest.raises(HubError) as refused:
        table().check_patterns(["ledger.read", nothing], "data.permissions")
    assert (refused.value.code, refused.value.path) == ("data.invalid", "data.permissions.1")
    assert refused.value.message.endswith("schema.describe lists the permissions of each type.")
    if pattern == "ledger.raed":
        assert "Did you mean ledger.read?" in refused.value.message


def test_no_pattern_gives_what_only_the_hub_does() -> None:
    everything = {p for p, least in rules_of(REGISTRY).items() if least == NOBODY}
    assert everything.isdisjoint(table().own(role("*", "session.*", "*.create")).permissions)


def test_an_own_role_sees_a_field_where_it_may_what_the_least_role_may_that_sees_it() -> None:
    def seen(*permissions: str) -> set[str]:
        return {"margin", "secret", "never"} - table().own(role(*permissions)).hidden(LEDGER)

    assert seen("ledger.read") == set()
    assert seen("ledger.read", "ledger.create") == set()
    assert seen("ledger.read", "ledger.create", "ledger.update") == {"margin"}
    assert seen("ledger.manage") == {"margin"}
    assert seen("*") == {"margin", "secret"}
    for name in ROLES:
        of_ladder, own = table().of(name), table().own(role(*table().of(name).permissions))
        assert own.hidden(LEDGER) >= of_ladder.hidden(LEDGER), "never more than the role of the ladder that may as much"


def test_a_key_may_what_its_role_and_its_scopes_have_in_common() -> None:
    rights = table()
    key = rights.narrowed(rights.of("editor"), ("ledger.*", "device.create"))
    assert key.permissions == {"ledger.read", "ledger.create", "ledger.update"}
    assert key.hidden(LEDGER) == rights.of("editor").hidden(LEDGER)
    assert rights.narrowed(rights.of("editor"), ("*",)) is rights.of("editor")
    bound = rights.both(rights.of("owner"), rights.of("viewer"))
    assert bound.permissions == rights.of("viewer").permissions
    assert bound.hidden(LEDGER) == rights.of("viewer").hidden(LEDGER)


def test_nobody_gives_what_they_do_not_hold() -> None:
    rights = table()
    refuse_beyond(rights.of("manager"), rights.of("manager"), "role")
    refuse_beyond(rights.of("owner"), rights.made_of("all", ["*"]), "role")
    with pytest.raises(HubError) as refused:
        refuse_beyond(
            rights.of("editor"), rights.made_of("clerk", ["ledger.read", "ledger.delete"]), "data.permissions"
        )
    assert refused.value.code == "access.denied"
    assert refused.value.details is not None
    assert (refused.value.details["needs"], refused.value.details["role"]) == (["ledger.delete"], "editor")
    reader = rights.made_of("reader", ["ledger.*"])
    assert rights.of("owner").beyond(rights.both(reader, rights.of("owner")))
    with pytest.raises(HubError):
        refuse_beyond(
            rights.made_of("most", rights.of("owner").permissions - {"ledger.purge"}), rights.of("owner"), "role"
        )


def test_what_is_kept_is_bounded_and_a_new_version_of_a_role_is_another() -> None:
    rights = table(kept=3)
    first = rights.own(role("ledger.read", name="r0"))
    assert rights.own(role("ledger.read", name="r0")) is first
    assert rights.own(role("board.read", name="r0", version=2)).permissions == {"board.read"}
    for n in range(1, 10):
        rights.own(role("ledger.read", name=f"r{n}"))
        assert len(rights) <= 3
    assert rights.own(role("ledger.read", name="r0")) is not first


def test_a_refusal_says_what_is_missing_who_one_is_and_what_to_do() -> None:
    with pytest.raises(HubError) as refused:
        table().of("viewer").require("ledger.update")
    assert refused.value.details == {
        "needs": "ledger.update",
        "role": "viewer",
        "least": "editor",
        "next": "Ask somebody who manages roles here for one that has it, such as editor.",
    }
    with pytest.raises(HubError, match="Only the hub itself does this"):
        table().of("owner").require("session.create")
    assert OPERATOR.role_in("any") == "owner"


def test_nothing_without_a_rule_starts() -> None:
    with pytest.raises(DeclarationError, match="has no rule"):
        type("Open", (Record,), {"__annotations__": {}})
    with pytest.raises(DeclarationError, match="no handler for"):
        Operations(MODULES[1:])
    with pytest.raises(TypeError):
        Channel("free")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        action("journal.archive")  # type: ignore[call-arg]

    registry = registry_of(Ledger)
    registry.add_action(vars(burn)["__action__"])
    with pytest.raises(DeclarationError, match="which no type gives"):
        registry.check()
