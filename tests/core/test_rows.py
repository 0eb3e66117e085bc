"""Row rules as they are declared, and as they bind a caller."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from msgspec import Meta

from hub.access import Identity, RightsTable
from hub.schema.access import Access, DeclarationError, Rows
from hub.schema.fields import Field, Ref
from hub.schema.nodes import EVERYTHING, NOTHING
from hub.schema.record import Record, RecordType, type_of
from hub.schema.rows import FREE
from tests.storage.declared import registry_of

_PLAIN = Access(read="viewer", create="viewer", update="viewer", delete="viewer")


class Shelf(Record, access=_PLAIN):
    """A shelf."""


MINE = {"created_by": {"$ref": "me.id"}}


def declared(where: dict[str, Any], verbs: tuple[str, ...] = ("read", "update")) -> RecordType:
    """Return a type with a row rule."""
    rule = Access(read="viewer", create="viewer", update="viewer", delete="viewer", rows=(Rows(verbs, where),))

    class Slip(Record, parent=Shelf, access=rule):
        """What somebody keeps."""

        text: Annotated[str, Meta(max_length=100)] = ""
        count: int = 0
        extra: dict[str, Any] = {}
        pin: Annotated[str, Field(secret=True)] | None = None
        shelf_too: Ref[Shelf] | None = None

    registry_of(type_of(Shelf), type_of(Slip))
    return type_of(Slip)


def test_a_rule_over_own_fields_is_taken() -> None:
    assert declared(MINE).access.rows[0].verbs == ("read", "update")
    declared({"$or": [MINE, {"version": {"$gt": 3}}], "id": {"$ne": "x"}})


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ({"body": "x"}, "rows.body: slip has no field 'body'"),
        ({"created_by": {"$gt": {"$ref": "me.id"}}}, r"rows\.created_by\.\$gt"),
        ({"version": {"$ref": "me.id"}}, "rows.version"),
        ({"parent": {"id": "x"}}, "takes no step to parent"),
        ({"children": {"$some": {}}}, "takes no step to children"),
        ({"created_by": {"$ref": "me.mail"}}, "me.id, me.role, me.account"),
        ({"created_by": {"$ref": "id"}}, "me.id, me.role, me.account"),
        ({"created_by": {"$ref": "me.id", "$eq": 1}}, "me.id, me.role, me.account"),
        ({"created_by": {"$ref": ["me.id"]}}, "me.id, me.role, me.account"),
        ({"$nor": []}, "no operator \\$nor"),
        ({}, "lets everything through"),
    ],
)
def test_a_rule_that_is_no_filter_over_own_fields_does_not_start(where: dict[str, Any], told: str) -> None:
    with pytest.raises(DeclarationError, match=told):
        declared(where)


@pytest.mark.parametrize("where", [{"pin": "x"}, {"extra": {"$eq": 1}}, {"shelf_too": {"id": "x"}}])
def test_secret_fields_objects_and_references_are_no_ground_for_a_rule(where: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError):
        declared({"$or": [{"version": 1}, where]})


@pytest.mark.parametrize("verbs", [(), ("see",), ("read", "purge")])
def test_a_rule_is_about_known_verbs(verbs: tuple[str, ...]) -> None:
    with pytest.raises(DeclarationError, match="about some of read, create, update, delete"):
        Rows(verbs, MINE)


def test_whoever_manages_a_type_is_bound_by_no_rule_of_it() -> None:
    kind = declared(MINE)
    table = RightsTable(registry_of(type_of(Shelf), kind))
    ann = Identity("user", user="ann", roles=(("acc", "editor"),))
    ben = Identity("key", credential="ben", roles=(("acc", "editor"),))
    editor = table.of("editor")
    assert {each.name for each in editor.ruled} == {"slip"} == editor.weighed
    rules = editor.rules_for(ann, "acc")
    assert rules is editor.rules_for(ann, "acc"), "made once"
    assert rules.node(kind, "read") != editor.rules_for(ben, "acc").node(kind, "read")
    assert rules.node(kind, "delete") == EVERYTHING
    assert editor.rules_for(Identity("operator"), "acc").node(kind, "read") == NOTHING
    assert table.of("manager").rules_for(ann, "acc") is FREE
    assert not table.of("owner").weighed


def test_bound_rules_are_kept_for_so_many_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.access.BOUND", 3)
    kind = declared(MINE)
    editor = RightsTable(registry_of(type_of(Shelf), kind)).of("editor")
    first = editor.rules_for(Identity("user", user="0"), "acc")
    for n in range(1, 5):
        editor.rules_for(Identity("user", user=str(n)), "acc")
    assert len(editor._bound) == 3
    assert editor.rules_for(Identity("user", user="0"), "acc") is not first
