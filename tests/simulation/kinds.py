"""Record types with every kind of field, for simulations. Not part of any pack."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from msgspec import Meta

from hub import Access, Field, Record, Ref

_OPEN = Access(read="viewer", create="editor", update="editor", delete="editor")


class Shelf(Record, access=_OPEN, unique=(("name",),)):
    """What things stand on."""

    name: Annotated[str, Meta(max_length=60), Field(folded=True)]
    note: str | None = None


class Thing(Record, parent=Shelf, access=_OPEN, unique=(("code",), ("shelf", "label", "count"))):
    """Holds a field of every kind; `note` is not seen by viewers."""

    code: Annotated[str, Meta(max_length=60), Field(write_once=True)]
    label: Annotated[str, Meta(max_length=80), Field(folded=True)] | None = None
    note: Annotated[str, Field(hidden_from="viewer")] = ""
    count: int = 0
    weight: float | None = None
    done: bool = False
    due_at: datetime | None = None
    day: date | None = None
    tags: list[str] = []
    marks: list[int] = []
    parts: list[float] | None = None
    extra: dict[str, Any] = {}
    mood: Literal["calm", "wild"] = "calm"
    other: Ref[Shelf] | None = None
