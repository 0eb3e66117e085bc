"""The pack of the proofs of several hubs: a record type with something to filter and to sort by, and a command."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from hub import Access, Command, Record


class Reading(Record, access=Access(read="viewer", create="editor", update="editor", delete="editor")):
    """What an instrument shows."""

    room: Annotated[str, Meta(max_length=8)]
    level: int
    name: Annotated[str, Meta(max_length=40)]


class Ping(Struct, frozen=True, forbid_unknown_fields=True):
    """A number that comes back."""

    n: int


PING = Command("PING", "reading.update", Ping, doc="Say the number.")
