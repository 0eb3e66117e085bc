"""A pack for the tests of writes and history: fields of every right, parents and references of every rule."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from hub import Access, Field, Record, Ref

_RULE = Access(read="viewer", create="editor", update="editor", delete="editor", purge="owner")


class Depot(Record, access=_RULE, unique=(("name",),)):
    """A house of crates."""

    name: Annotated[str, Meta(max_length=100)]
    note: Annotated[str, Meta(max_length=100)] = ""
    cost: Annotated[int, Field(hidden_from="viewer")] | None = None
    insured: Annotated[int, Field(hidden_from="editor")] | None = None
    pin: Annotated[str, Field(secret=True)] | None = None
    origin: Annotated[str, Field(write_once=True)] = ""
    stamp: Annotated[str, Field(read_only=True)] = ""


class Crate(Record, parent=Depot, access=_RULE, unique=(("depot", "code"),)):
    """A crate in a depot."""

    code: Annotated[str, Meta(max_length=40)]
    weight: int = 0


class Pallet(Record, parent=Depot, access=_RULE, on_delete="cascade"):
    """What goes with its depot, and forgets its crate."""

    crate: Annotated[Ref[Crate] | None, Field(on_delete="set_null")] = None
