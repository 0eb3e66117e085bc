"""Declaring commands: what one client may ask of another, and who may ask it. Values only.

    RELOAD = Command("RELOAD", needs="event.update", doc="Load anew what is shown.")
    OPEN_FILE = Command("OPEN_FILE", needs="event.update", args=OpenFile, doc="Show a file.")

The hub collects declarations from the packs as it does record types. What a client does on a command is its own
matter; the hub looks at rights and arguments, finds the client, and brings back its answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from hub.schema.access import DeclarationError
from hub.wire.names import OPERATION

COMMAND: Final = re.compile(r"[A-Z][A-Z0-9_]{0,47}\Z")
COMMAND_BYTES: Final = 16 * 1024
"""The most that the arguments of a command have as JSON."""
ANSWER_BYTES: Final = 64 * 1024
"""The most that the answer to a command has as JSON."""

TargetKind = Literal["user", "device"]


class NoArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The arguments of a command that has none."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command as the hub works with it.

    `needs` is the permission that the caller must have. `args` is the struct that the caller's `data` is converted to;
    the other client is told all of its fields. `to` says of whom it may be asked: devices are sessions of a key.
    """

    name: str
    needs: str
    args: type[msgspec.Struct] = NoArgs
    to: tuple[TargetKind, ...] = ("device", "user")
    doc: str = ""

    def __post_init__(self) -> None:
        if not COMMAND.match(self.name):
            raise DeclarationError(f"command {self.name!r}: a name is of capitals, digits and _, at most 48 characters")
        if not OPERATION.match(self.needs):
            raise DeclarationError(f"command {self.name}: `needs` has the form noun.verb")
        if not issubclass(self.args, msgspec.Struct):
            raise DeclarationError(f"command {self.name}: args is a msgspec.Struct")
        if not self.args.__struct_config__.forbid_unknown_fields:
            raise DeclarationError(f"command {self.name}: declare {self.args.__name__} with forbid_unknown_fields=True")
        if not self.to or not set(self.to) <= {"user", "device"}:
            raise DeclarationError(f"command {self.name}: it is for `user`, `device` or both")
