"""Declaring commands: what cannot work is refused when it is declared, and what nobody may ask is in no registry."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import msgspec
import pytest

from hub.schema.access import DeclarationError
from hub.schema.commands import Command, NoArgs
from hub.schema.registry import Registry


class Loose(msgspec.Struct):
    """Arguments that take anything besides."""


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": "reload"}, "a name is of capitals"),
        ({"name": "RE-LOAD"}, "a name is of capitals"),
        ({"name": "A" * 49}, "a name is of capitals"),
        ({"name": "RELOAD\n"}, "a name is of capitals"),
        ({"needs": "editor"}, "`needs` has the form"),
        ({"args": int}, "args is a msgspec.Struct"),
        ({"args": Loose}, "declare Loose with forbid_unknown_fields"),
        ({"to": ()}, "it is for `user`, `device` or both"),
        ({"to": ("session",)}, "it is for `user`, `device` or both"),
    ],
)
def test_a_command_that_cannot_work_is_not_declared(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(DeclarationError, match=says):
        Command(**{"name": "RELOAD", "needs": "event.update", **fields})


def test_a_registry_has_each_command_once_and_none_that_needs_what_nobody_has() -> None:
    registry, module = Registry.of(["hub.schema.core", "packs.events"]), ModuleType("pack")
    assert registry.command("RELOAD").args is NoArgs
    module.AGAIN = Command("RELOAD", "event.update")  # type: ignore[attr-defined]
    with pytest.raises(DeclarationError, match="two commands are named RELOAD"):
        registry.add_module(module)
    registry.add_command(Command("FLY", "plane.update"))
    with pytest.raises(DeclarationError, match=r"command FLY needs plane\.update, which no type gives"):
        registry.check()


def test_the_hash_of_a_schema_says_which_commands_and_channels_there_are() -> None:
    one, other = (Registry.of(["hub.schema.core", "packs.events"]) for _ in range(2))
    assert one.hash == other.hash
    third = Registry.of(["hub.schema.core", "packs.events"])
    third.add_command(Command("FLY", "event.update"))
    assert third.hash != one.hash
