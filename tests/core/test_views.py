"""Declaring views: what they lead to, what is seen of them, and what cannot work."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from msgspec import Meta

from hub.access import RightsTable
from hub.schema.access import Access
from hub.schema.fields import DeclarationError, Field, Ref
from hub.schema.record import Record, type_of
from hub.schema.registry import Registry
from hub.schema.views import Each, View, resolve
from hub.schema.where import parse_where
from hub.wire.errors import HubError
from tests.storage.declared import registry_of

_RULE = Access(read="viewer", create="editor", update="editor", delete="editor")


class House(Record, access=_RULE):
    """The parent."""

    name: Annotated[str, Meta(max_length=100), Field(folded=True)]
    value: Annotated[int, Field(hidden_from="editor")] = 0
    code: Annotated[str, Field(secret=True)] = ""
    notes: list[str] = []


class Hall(Record, parent=House, access=_RULE, indexes=(("twin",), ("back",))):
    """What is looked at."""

    size: int = 0
    twin: Ref[House] | None = None
    other: Ref[House] | None = None
    back: Annotated[Ref[House], Field(hidden_from="editor")] | None = None


class Chair(Record, parent=Hall, access=_RULE):
    """A child of it."""

    colour: Annotated[str, Meta(max_length=100)] = ""


HALL, HOUSE = type_of(Hall), type_of(House)
TYPES = registry_of(HOUSE, HALL, type_of(Chair)).types


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"x": "parent.nope"}, "house has no field 'nope'"),
        ({"x": "parent.code"}, "house has no field 'code'"),
        ({"x": "parent.notes"}, "house has no field 'notes' with a plain value"),
        ({"x": "parent.parent.name"}, "house has no reference 'parent'"),
        ({"x": "twin_id.name"}, "hall has no reference 'twin_id'"),
        ({"x": "size"}, "takes its fields from other records"),
        ({"x": ""}, "hall has no field ''"),
        ({"size": "parent.name"}, "has this name already"),
        ({"twin": "parent.name"}, "has this name already"),
        ({"twin_id": "parent.name"}, "has this name already"),
        ({"children": "parent.name"}, "has this name already"),
        ({"seq": "parent.name"}, "has this name already"),
        ({"x": Each("chair", "nope")}, "chair has no field 'nope'"),
        ({"x": Each("chair", "colour", order=("nope",))}, "chair cannot be sorted by 'nope'"),
        ({"x": Each("house", "name")}, "house does not point to hall"),
        ({"x": Each("hall.twin", "size")}, "hall.twin does not point to hall"),
        ({}, "has no fields"),
    ],
)
def test_a_view_that_leads_nowhere_is_refused_with_its_name(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DeclarationError, match=sentence) as refused:
        resolve(HALL, "v", View(**fields), TYPES)
    assert "Hall: view v" in str(refused.value)


def test_a_list_in_a_view_needs_an_index() -> None:
    assert resolve(HOUSE, "v", View(sizes=Each("hall.twin", "size")), TYPES).fields["sizes"].many
    with pytest.raises(DeclarationError, match="no index of hall begins with other"):
        resolve(HOUSE, "v", View(sizes=Each("hall.other", "size")), TYPES)


def test_a_field_whose_source_is_hidden_is_unknown_in_the_view_too() -> None:
    sight = resolve(HALL, "v", View(name="parent.name", value="parent.value"), TYPES)
    registry = Registry()
    for kind in TYPES.values():
        registry.add_type(kind)
    registry.check()
    rights = RightsTable(registry)
    assert set(sight.without(rights.of("manager").hidden).fields) == {"name", "value"}
    narrow = sight.without(rights.of("editor").hidden)
    assert set(narrow.fields) == {"name"}
    with pytest.raises(HubError, match=r"where\.invalid at where\.value"):
        parse_where(HALL, {"value": 1}, view=narrow)
    assert parse_where(HALL, {"value": 1}, view=sight) != parse_where(HALL, {"value": 2}, view=sight)


def test_a_field_is_hidden_with_any_reference_on_the_way_to_it_and_with_what_it_is_ordered_by() -> None:
    hidden = RightsTable(registry_of(*TYPES.values())).of("editor").hidden
    for kind, view in (
        (HALL, View(near="parent.name", far="back.name")),
        (type_of(Chair), View(near="parent.size", far="parent.back.name")),
        (HOUSE, View(near=Each("hall", "size"), far=Each("hall.back", "size"))),
        (HOUSE, View(near=Each("hall", "twin.name"), far=Each("hall", "back.name"))),
    ):
        assert set(resolve(kind, "v", view, TYPES).without(hidden).fields) == {"near"}
    by_size = resolve(HOUSE, "v", View(sizes=Each("hall", "twin.name", order=("size",))), TYPES)
    assert by_size.without(lambda kind: frozenset({"size"} if kind is HALL else ())).fields == {}


def test_the_hash_of_the_schema_tells_of_views() -> None:
    def declared(**options: Any) -> Registry:
        class Thing(Record, access=_RULE, **options):
            """Either way."""

            house: Ref[House]

        return registry_of(HOUSE, type_of(Thing))

    plain = declared().hash
    assert plain == declared().hash
    assert plain != declared(views={"v": View(name="house.name")}).hash
