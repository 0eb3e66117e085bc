"""Requests about single records that must be refused, by name: the request, the code, the path.

`EVENT` and `SESSION` stand for the ids of an event and of a session in it.
"""

from __future__ import annotations

from typing import Any, Final

Ask = tuple[str, dict[str, Any]]

EVENT: Final = {"title": "A", "acronym": "a"}
UNDER: Final = {"type": "event", "rec": "EVENT"}
MISSING: Final = "AAAAAAAAAAA"


def event(**data: Any) -> Ask:
    """Ask for an event with some fields set differently."""
    return "record.create", {"type": "event", "data": {**EVENT, **data}}


def room(parent: Any = UNDER, **data: Any) -> Ask:
    """Ask for a location."""
    fields = {"type": "event_location", "data": {"name": "x", **data}}
    return "record.create", fields if parent is None else {**fields, "parent": parent}


def talk(**data: Any) -> Ask:
    """Ask for a session."""
    data = {"title": "T", "guid": "g", **data}
    return "record.create", {"type": "event_session", "data": data, "parent": UNDER}


def change(kind: str = "event", rec: Any = "EVENT", more: dict[str, Any] | None = None, **data: Any) -> Ask:
    """Ask for an update."""
    return "record.update", {"type": kind, "rec": rec, "data": data, **(more or {})}


def get(kind: str = "event", rec: Any = "EVENT", **more: Any) -> Ask:
    """Ask for a record."""
    return "record.get", {"type": kind, "rec": rec, **more}


def upsert(match: Any, kind: str = "event") -> Ask:
    """Ask for an upsert."""
    data = EVENT if kind == "event" else {"guid": "g", "title": "T"}
    return "record.upsert", {"type": kind, "data": data, "match": match}


REFUSED: Final[dict[str, tuple[Ask, str, str | None]]] = {
    "unknown type": (("record.create", {"type": "nope", "data": {}}), "type.unknown", "type"),
    "unknown type to read": (get("nope"), "type.unknown", "type"),
    "no type": (("record.create", {"data": {}}), "data.invalid", "type"),
    "no data": (("record.create", {"type": "event"}), "data.invalid", "data"),
    "data is a list": (("record.create", {"type": "event", "data": []}), "data.invalid", "data"),
    "field missing": (("record.create", {"type": "event", "data": {}}), "data.invalid", "data.title"),
    "field unknown": (event(nope=1), "data.invalid", "data.nope"),
    "field of a wrong kind": (event(title=5), "data.invalid", "data.title"),
    "field too short": (event(title=""), "data.invalid", "data.title"),
    "field null": (event(title=None), "data.invalid", "data.title"),
    "date that is none": (event(starts_on="2026-02-30"), "data.invalid", "data.starts_on"),
    "time without an offset": (talk(starts_at="2026-11-21T10:00:00"), "data.invalid", "data.starts_at"),
    "id given": (event(id=MISSING), "data.invalid", "data.id"),
    "version given": (event(version=9), "data.invalid", "data.version"),
    "account given": (event(account_id="x"), "data.invalid", "data.account_id"),
    "creator given": (event(created_by="x"), "data.invalid", "data.created_by"),
    "type given": (event(type="event"), "data.invalid", "data.type"),
    "deletion given": (change(deleted_at=None), "data.invalid", "data.deleted_at"),
    "parent in the data": (room(event_id="EVENT"), "data.invalid", "data.event_id"),
    "parent missing": (room(None), "data.invalid", "parent"),
    "parent of a wrong type": (room({"type": "event_track", "rec": "x"}), "data.invalid", "parent.type"),
    "parent that is not there": (room({"type": "event", "rec": MISSING}), "record.not_found", "parent.rec"),
    "parent where none belongs": (("record.create", {**event()[1], "parent": UNDER}), "data.invalid", "parent.type"),
    "parent with more": (room({**UNDER, "x": 1}), "data.invalid", "parent.x"),
    "parent as text": (room("EVENT"), "data.invalid", "parent"),
    "reference that is not there": (talk(location_id=MISSING), "record.not_found", "data.location_id"),
    "reference to another type": (talk(location_id="EVENT"), "record.not_found", "data.location_id"),
    "reference by its name": (talk(location=None), "data.invalid", "data.location"),
    "item of no batch": (talk(location_id={"$item": 0}), "data.invalid", "data.location_id"),
    "item as a parent of no batch": (room({"type": "event", "rec": {"$item": 0}}), "data.invalid", "parent.rec"),
    "item to update of no batch": (change(rec={"$item": 0}), "data.invalid", "rec"),
    "unique taken": (event(acronym="taken"), "record.exists", "data.acronym"),
    "field that only the hub writes": (room(moves=1), "data.invalid", "data.moves"),
    "field that is written once": (change("event_session", "SESSION", guid="other"), "data.invalid", "data.guid"),
    "deep within a list": (change("event_session", "SESSION", tags=["a", 5]), "data.invalid", "data.tags.1"),
    "record that is not there": (get(rec=MISSING), "record.not_found", "rec"),
    "record of another type": (get("event_location"), "record.not_found", "rec"),
    "id with other letters": (get(rec="../../etc"), "record.not_found", "rec"),
    "id that is empty": (get(rec=""), "data.invalid", "rec"),
    "id as a number": (get(rec=1), "data.invalid", "rec"),
    "unknown field to show": (get(fields=["id", "nope"]), "data.invalid", "fields.1"),
    "include": (get(include=["x"]), "data.invalid", "include"),
    "wrong version": (change(more={"if_version": 7}, title="x"), "record.conflict", "if_version"),
    "wrong version to change nothing": (change(more={"if_version": 7}), "record.conflict", "if_version"),
    "wrong version to delete": (
        ("record.delete", {"type": "event", "rec": "EVENT", "if_version": 7}),
        "record.conflict",
        "if_version",
    ),
    "version zero": (change(more={"if_version": 0}), "data.invalid", "if_version"),
    "delete in no known way": (("record.delete", {**UNDER, "mode": "soon"}), "data.invalid", "mode"),
    "upsert by no unique": (upsert(["title"]), "data.invalid", "match"),
    "upsert by nothing": (upsert([]), "data.invalid", "match"),
    "upsert without a parent": (upsert(["guid"], "event_session"), "data.invalid", "parent"),
    "key too long": (("record.create", {**event()[1], "key": "k" * 65}), "data.invalid", "key"),
    "key that is empty": (("record.create", {**event()[1], "key": ""}), "data.invalid", "key"),
    "nul in a text": (event(title="a\0b"), "data.invalid", "data.title"),
    "number beyond 2^53": (room(sort=10**17), "data.invalid", "data.sort"),
    "type of the whole hub": (get("user", MISSING), "access.denied", None),
    "no right": (("record.find", {"type": "api_key"}), "access.denied", None),
}
