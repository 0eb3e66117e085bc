"""The pack of the benchmarks: a record type with the fields that the peers' row has and nothing to find by words, and
channels: one in which things are said, and one that shows who is there to few.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from hub import Access, Channel, Record
from packs.events.records import Event


class BenchNote(Record, access=Access(read="viewer", create="editor", update="editor", delete="editor")):
    """The row of the peers, with nothing above it as theirs."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    sort: int = 0


class BenchTalk(Record, parent=Event, access=Access(read="viewer", create="editor", update="editor", delete="editor")):
    """The same below an event: one more index with a random place."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    sort: int = 0


ROOM = Channel("bench_room", join="viewer", send="viewer", presence=False, named=False)
"""What is said is heard by everybody."""
HALL = Channel("bench_hall", join="viewer", see="editor")
"""Who is there is seen by editors; each visitor costs what one visitor costs."""
