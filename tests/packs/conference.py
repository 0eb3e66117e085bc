"""A small conference, and the import of programmes onto a desk."""

from __future__ import annotations

from typing import Any

from hub import ChangeRecord, DeleteRecord
from packs.events.import_items import ENTITIES
from packs.events.import_plan import Plan, plan
from packs.events.programme import (
    EventEntry,
    LocationEntry,
    PersonEntry,
    PresenterEntry,
    Programme,
    SessionEntry,
    TrackEntry,
    inconsistencies,
)
from packs.events.records import Event, EventLocation, EventPerson, EventPresenter, EventSession, EventTrack
from tests.packs.desk import Desk

KINDS: dict[str, Any] = {
    "event": Event,
    "event_location": EventLocation,
    "event_track": EventTrack,
    "event_person": EventPerson,
    "event_session": EventSession,
    "event_presenter": EventPresenter,
}


def the_event(desk: Desk) -> dict[str, Any] | None:
    return next(iter(desk.records("event")), None)


def planned(desk: Desk, programme: Programme) -> Plan:
    assert inconsistencies(programme) == []
    current = {image["id"]: image for entity in ENTITIES if entity != "event" for image in desk.records(entity)}
    return plan(programme, the_event(desk), desk.records("event_import"), current)


def imported(desk: Desk, programme: Programme) -> Plan:
    found = planned(desk, programme)
    if found.operations:
        desk.apply(found.operations)
    return found


def conference(**changes: Any) -> Programme:
    """Two sessions in two rooms, three presenters."""
    sessions = changes.pop("sessions", None) or [
        SessionEntry(guid="a", title="Opening", location="Curie", track="Art"),
        SessionEntry(guid="b", title="Closing", location="Meitner"),
    ]
    given_ = {
        "event": EventEntry(acronym="conf", title="Conf"),
        "locations": [LocationEntry(name="Curie", sort=1), LocationEntry(name="Meitner", sort=2)],
        "tracks": [TrackEntry(name="Art", sort=1)],
        "persons": [PersonEntry(source_id="1", name="Ada"), PersonEntry(source_id="2", name="Grace")],
        "sessions": sessions,
        "presenters": [
            PresenterEntry(session="a", person="1", sort=1),
            PresenterEntry(session="a", person="2", sort=2),
            PresenterEntry(session="b", person="2", sort=1),
        ],
    }
    return Programme(**(given_ | changes))  # type: ignore[arg-type]  # each value has the type of its field


def delete(desk: Desk, name: str, /, **fields: Any) -> str:
    record = desk.the(name, **fields)
    desk.commit([DeleteRecord(KINDS[name], record["id"])])
    return str(record["id"])


def change(desk: Desk, name: str, data: dict[str, Any], /, **fields: Any) -> None:
    desk.commit([ChangeRecord(KINDS[name], desk.the(name, **fields)["id"], data)])
