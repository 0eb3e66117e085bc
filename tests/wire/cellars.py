"""A pack for the tests of field hiding: cellars, of which everybody may do all, but not see every field."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from hub import Access, Field, Record, Ref, Site, View

_RULE = Access(read="viewer", create="viewer", update="viewer", delete="viewer", purge="viewer")
_BLIND = Field(hidden_from="editor")
Name = Annotated[str, Meta(max_length=100)]


class Cellar(Record, access=_RULE, unique=(("name",), ("code",)), searchable=("name",)):
    """What editors see the name of, and nothing else."""

    name: Name
    note: Annotated[str, Meta(max_length=100), _BLIND] = ""
    code: Annotated[str, Meta(max_length=100), _BLIND] | None = None
    worth: Annotated[int, _BLIND] = 0
    place: Annotated[Ref[Site], _BLIND] | None = None


class Bottle(Record, parent=Cellar, access=_RULE, on_delete="cascade", views={"label": View(told="parent.note")}):
    """A bottle in a cellar; its view tells what its cellar hides."""

    name: Name
    note: Annotated[str, Meta(max_length=100), _BLIND] = ""


class CellarFile(Record, parent=Cellar, access=_RULE, unique=(("cellar", "name"),), file=True, on_delete="cascade"):
    """A file in a cellar, of which editors see that it is there and not what is in it."""

    name: Name
    sha256: Annotated[str, Meta(min_length=64, max_length=64), Field(read_only=True, hidden_from="editor")]
    size: Annotated[int, Field(read_only=True)]
    content_type: Annotated[str, Meta(max_length=200), Field(read_only=True)]
