"""The pack of the proof of several hubs: one record type with something to filter by and something to sort by."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from hub import Access, Record


class Reading(Record, access=Access(read="viewer", create="editor", update="editor", delete="editor")):
    """What an instrument shows."""

    room: Annotated[str, Meta(max_length=8)]
    level: int
    name: Annotated[str, Meta(max_length=40)]
