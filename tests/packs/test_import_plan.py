"""The import writes what changed in the source, and nothing else: against the real rules of storage, in memory."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub import ChangeRecord, DeleteRecord, NewRecord
from hub.wire.errors import HubError
from packs.events.import_items import ENTITIES, NATURAL_KEYS, REFERENCES, items_of, wire
from packs.events.programme import (
    EventEntry,
    LocationEntry,
    PersonEntry,
    PresenterEntry,
    Programme,
    SessionEntry,
    TrackEntry,
)
from tests.packs.conference import KINDS, imported, planned, the_event
from tests.packs.desk import Desk

ROOMS, TRACKS, PERSONS, GUIDS = ["Curie", "Meitner", "Turing"], ["Art", "Science"], ["1", "2", "3"], ["a", "b", "c"]
TEXTS = st.sampled_from(["", "one", "two", "three"])


@st.composite
def programmes(draw: st.DrawFn) -> Programme:
    """A small consistent programme over few keys, so that things come, go and come back."""
    guids = draw(st.lists(st.sampled_from(GUIDS), unique=True))
    sessions, presenters, rooms, tracks, persons = [], [], set(), set(), set()
    for guid in guids:
        room, track = draw(st.sampled_from([None, *ROOMS])), draw(st.sampled_from([None, *TRACKS]))
        rooms.add(room)
        tracks.add(track)
        hour = draw(st.integers(10, 14))
        sessions.append(
            SessionEntry(
                guid=guid,
                title=draw(st.sampled_from(["Opening", "Keynote", "Closing"])),
                subtitle=draw(TEXTS),
                starts_at=f"2026-12-27T{hour}:00:00.000Z",
                ends_at=f"2026-12-27T{hour}:45:00.000Z",
                do_not_record=draw(st.booleans()),
                tags=draw(st.lists(st.sampled_from(["x", "y"]), unique=True)),
                location=room,
                track=track,
            )
        )
        for sort, person in enumerate(draw(st.lists(st.sampled_from(PERSONS), unique=True, max_size=2)), 1):
            persons.add(person)
            presenters.append(PresenterEntry(session=guid, person=person, sort=sort))
    rooms |= draw(st.sets(st.sampled_from(ROOMS)))
    return Programme(
        event=EventEntry(acronym="conf", title=draw(st.sampled_from(["Conf", "Conference"])), timezone="UTC"),
        locations=[LocationEntry(name=name, sort=n) for n, name in enumerate(sorted(filter(None, rooms)), 1)],
        tracks=[TrackEntry(name=name, sort=n) for n, name in enumerate(sorted(filter(None, tracks)), 1)],
        persons=[PersonEntry(source_id=key, name=draw(st.sampled_from(["Ada", "Grace"]))) for key in sorted(persons)],
        sessions=sessions,
        presenters=presenters,
    )


class Edit(msgspec.Struct, frozen=True):
    """Something a person does in the hub: `pick` chooses among the records of the type."""

    what: str
    entity: str
    pick: int
    value: str
    other: int = 0


edits = st.builds(
    Edit,
    what=st.sampled_from(["change", "change", "delete", "create", "move"]),
    entity=st.sampled_from([entity for entity in ENTITIES if entity != "event"]),
    pick=st.integers(0, 5),
    value=st.sampled_from([*ROOMS, *PERSONS, *GUIDS, "edited"]),
    other=st.integers(0, 5),
)


def edit(desk: Desk, step: Edit) -> None:
    """Do what a person does; what the hub refuses does not happen."""
    records, event = desk.records(step.entity), the_event(desk)
    assert event is not None
    record = records[step.pick % len(records)] if records else None
    kind = KINDS[step.entity]
    text = {"event_session": "title", "event_presenter": ""}.get(step.entity, "name")
    try:
        if step.what == "create":
            data: dict[str, Any] = {"name": step.value}
            if step.entity == "event_session":
                data = {"guid": step.value, "title": "By hand", "location_id": _some(desk, "event_location", step)}
            elif step.entity == "event_presenter":
                data = {
                    "session_id": _some(desk, "event_session", step),
                    "person_id": _some(desk, "event_person", step),
                }
            elif step.entity == "event_person":
                data["source_id"] = step.value
            desk.commit([NewRecord(kind, data, event["id"])])
        elif record is None:
            return
        elif step.what == "delete":
            desk.commit([DeleteRecord(kind, record["id"])])
        elif step.what == "change":
            desk.commit([ChangeRecord(kind, record["id"], {text: step.value} if text else {"sort": step.other})])
        elif step.entity == "event_session":
            desk.commit([ChangeRecord(kind, record["id"], {"location_id": _some(desk, "event_location", step)})])
    except HubError as refusal:
        if refusal.code not in {"record.exists", "data.invalid", "record.not_found"}:
            raise


def _some(desk: Desk, name: str, step: Edit) -> str | None:
    records = desk.records(name)
    return records[step.other % len(records)]["id"] if records else None


def by_key(desk: Desk) -> dict[tuple[str, str], dict[str, Any]]:
    """The live records that stand for items of the source."""
    live = {image["id"]: image for entity in ENTITIES for image in desk.records(entity)}
    return {(row["entity"], row["key"]): live[row["rec"]] for row in desk.records("event_import") if row["rec"] in live}


def content(desk: Desk) -> set[tuple[str, bytes]]:
    """The whole programme in the hub, with names instead of ids."""
    live = {image["id"]: image for entity in ENTITIES for image in desk.records(entity)}
    found = set()
    for image in live.values():
        fields = {name: value for name, value in image.items() if name in _fields(image["type"])}
        for field, entity in REFERENCES.get(image["type"], {}).items():
            fields.pop(wire(field))
            target = live.get(image[wire(field)] or "")
            fields[field] = target and target[NATURAL_KEYS[entity]]
        found.add((image["type"], msgspec.json.encode(fields, order="sorted")))
    return found


def _fields(entity: str) -> set[str]:
    return set(KINDS[entity].__record_type__.fields) - {"moves"}


relaxed = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)


@relaxed
@given(st.lists(programmes(), min_size=1, max_size=5))
def test_without_edits_the_hub_holds_exactly_the_last_programme(history: list[Programme]) -> None:
    desk, fresh = Desk(), Desk()
    for programme in history:
        imported(desk, programme)
    imported(fresh, history[-1])
    assert content(desk) == content(fresh)


@relaxed
@given(st.lists(programmes() | edits, max_size=12), programmes(), programmes())
def test_importing_the_same_programme_again_writes_nothing(
    history: list[Programme | Edit], first: Programme, last: Programme
) -> None:
    desk = Desk()
    imported(desk, first)
    for step in [*history, last]:
        if isinstance(step, Edit):
            edit(desk, step)
        else:
            imported(desk, step)
            assert planned(desk, step).operations == []
            assert planned(desk, step).summary.writes == 0


@relaxed
@given(programmes(), st.lists(edits, max_size=6), programmes())
def test_edits_survive_where_the_source_did_not_change(first: Programme, local: list[Edit], second: Programme) -> None:
    desk = Desk()
    imported(desk, first)
    for step in local:
        edit(desk, step)
    before = by_key(desk)
    old = {item.ident: item.source for item in items_of(first)}
    imported(desk, second)
    after = by_key(desk)
    for item in items_of(second):
        record = after.get(item.ident)
        if record is None or item.ident not in before or record["id"] != before[item.ident]["id"]:
            continue
        for field, value in item.values.items():
            unchanged = old[item.ident][field] == value
            assert record[field] == (before[item.ident][field] if unchanged else value)
        for field, key in item.refs.items():
            target = None if key is None else after.get((REFERENCES[item.entity][field], key))
            if old[item.ident][field] != key:
                assert record[wire(field)] == (target["id"] if target else None)


@relaxed
@given(programmes(), st.lists(edits, max_size=6))
def test_what_was_deleted_in_the_hub_stays_deleted_while_its_source_is_unchanged(
    programme: Programme, local: list[Edit]
) -> None:
    desk = Desk()
    imported(desk, programme)
    for step in local:
        edit(desk, step)
    before = {image["id"]: image for entity in ENTITIES for image in desk.records(entity)}
    made_by_hand = any(step.what == "create" for step in local)
    imported(desk, programme)
    if not made_by_hand:
        assert {image["id"]: image for entity in ENTITIES for image in desk.records(entity)} == before


@relaxed
@given(programmes(), programmes())
def test_only_fields_that_the_source_changed_are_written(first: Programme, second: Programme) -> None:
    desk = Desk()
    imported(desk, first)
    old = {item.ident: item.source for item in items_of(first)}
    new = {item.ident: item.source for item in items_of(second)}
    rows = {row["rec"]: (row["entity"], row["key"]) for row in desk.records("event_import")}
    for operation in planned(desk, second).operations:
        if operation["type"] == "event_import":
            continue
        if operation["op"] == "record.update":
            ident = rows[operation["rec"]]
            changed = {field for field, value in new[ident].items() if old[ident][field] != value}
            assert {name.removesuffix("_id") if name.endswith("_id") else name for name in operation["data"]} == changed
        elif operation["op"] == "record.delete":
            assert rows[operation["rec"]] not in new
        else:
            assert operation["op"] == "record.create"
