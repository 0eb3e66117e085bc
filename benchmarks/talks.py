"""The pack of the benchmarks: a record type with the fields that the peers' row has, and nothing to find by words."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from hub import Access, Record
from packs.events.records import Event


class BenchTalk(Record, parent=Event, access=Access(read="viewer", create="editor", update="editor", delete="editor")):
    """A talk of an event."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    sort: int = 0
