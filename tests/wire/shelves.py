"""A pack for the tests of lookups: an entry for every combination of layers, and records over each other."""

from __future__ import annotations

import itertools
from typing import Annotated, Final

from msgspec import Meta

from hub import Access, Field, Lookup, LookupEntry, Record, Ref, Site

_RULE = Access(read="viewer", create="editor", update="editor", delete="editor")
_INNER = Access(read="editor", create="editor", update="editor", delete="editor")
Label = Annotated[str | None, Meta(max_length=64), Field(lookup="label")]
LAYERS: Final = ("shelf", "room", "site", "account", "global")
STATES: Final = ("absent", "enabled", "disabled")
STACKS: Final = {
    f"c{n:03}": dict(zip(LAYERS, states, strict=True))
    for n, states in enumerate(itertools.product(STATES, repeat=len(LAYERS)))
}
"""For every combination a code, and what each layer, the nearest first, says of it."""


class Room(Record, access=_RULE):
    """What shelves are in; it refers to a site."""

    name: Annotated[str, Meta(max_length=100)]
    site: Ref[Site] | None = None
    label: Label = None


class Shelf(Record, parent=Room, access=_RULE, on_delete="cascade"):
    """What is in a room."""

    name: Annotated[str, Meta(max_length=100)]
    label: Label = None


class Drawer(Record, parent=Shelf, access=_INNER, on_delete="cascade"):
    """What viewers do not read."""

    name: Annotated[str, Meta(max_length=100)]
    secret_site: Annotated[Ref[Site], Field(hidden_from="editor")] | None = None


label = Lookup(
    "label",
    "What stands on things.",
    tuple(
        LookupEntry(code, "global", enable=stack["global"] == "enabled")
        for code, stack in STACKS.items()
        if stack["global"] != "absent"
    ),
)
