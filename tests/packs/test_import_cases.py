"""The rules of the import, one case each: what people did in the hub, what the source did, what comes of it."""

from __future__ import annotations

from typing import Any

import pytest

from hub import DeleteRecord, NewRecord
from hub.wire.errors import HubError
from packs.events.import_items import ENTITIES, PRESENTER
from packs.events.programme import LocationEntry, PresenterEntry, Programme, SessionEntry, TrackEntry
from packs.events.records import Event, EventLocation, EventPerson, EventPresenter, EventSession
from tests.packs.conference import change, conference, delete, imported, planned
from tests.packs.desk import Desk


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    imported(desk, conference())
    return desk


def test_a_first_import_creates_everything_in_one_commit(desk: Desk) -> None:
    assert desk.commits == 1
    counts = {entity: len(desk.records(entity)) for entity in ENTITIES}
    assert counts == {
        "event": 1, "event_location": 2, "event_track": 1, "event_person": 2, "event_session": 2, "event_presenter": 3,
    }  # fmt: skip
    assert desk.the("event_session", guid="a")["location_id"] == desk.the("event_location", name="Curie")["id"]
    assert len(desk.records("event_import")) == 11


def test_a_newer_source_overwrites_an_edit_of_the_same_field_and_says_so(desk: Desk) -> None:
    change(desk, "event_session", {"title": "Our opening", "subtitle": "ours"}, guid="a")
    newer = [
        SessionEntry(guid="a", title="Grand opening", location="Curie", track="Art"),
        SessionEntry(guid="b", title="Closing", location="Meitner"),
    ]
    found = imported(desk, conference(sessions=newer))
    session = desk.the("event_session", guid="a")
    assert (session["title"], session["subtitle"]) == ("Grand opening", "ours")
    assert found.summary.counts["event_session"].overwritten == 1
    assert found.summary.counts["event_session"].kept == 1
    assert {(case.fate, case.field) for case in found.summary.cases} == {("overwritten", "title"), ("kept", "subtitle")}


def test_what_disappears_is_deleted_and_is_new_when_it_comes_back(desk: Desk) -> None:
    first = desk.the("event_session", guid="b")["id"]
    only_a = [SessionEntry(guid="a", title="Opening", location="Curie", track="Art")]
    presenters = conference().presenters[:2]
    found = imported(desk, conference(sessions=only_a, presenters=presenters))
    assert [s["guid"] for s in desk.records("event_session")] == ["a"]
    assert found.summary.counts["event_session"].deleted == 1
    assert found.summary.counts["event_presenter"].deleted == 1
    assert imported(desk, conference()).summary.counts["event_session"].created == 1
    assert desk.the("event_session", guid="b")["id"] != first


def test_a_deleted_session_stays_deleted_until_its_source_changes(desk: Desk) -> None:
    old = delete(desk, "event_session", guid="a")
    for presenter in [p for p in desk.records("event_presenter") if p["session_id"] == old]:
        desk.commit([DeleteRecord(EventPresenter, presenter["id"])])
    assert planned(desk, conference()).operations == []
    assert planned(desk, conference()).summary.counts["event_session"].absent == 1
    newer = [
        SessionEntry(guid="a", title="Opening, moved", location="Curie", track="Art"),
        SessionEntry(guid="b", title="Closing", location="Meitner"),
    ]
    found = imported(desk, conference(sessions=newer))
    session = desk.the("event_session", guid="a")
    assert session["id"] != old
    assert found.summary.counts["event_session"].restored == 1
    assert found.summary.counts["event_presenter"].restored == 2
    assert len([p for p in desk.records("event_presenter") if p["session_id"] == session["id"]]) == 2


def test_presenters_that_stayed_follow_their_session_to_its_new_record(desk: Desk) -> None:
    delete(desk, "event_session", guid="b")
    newer = [
        SessionEntry(guid="a", title="Opening", location="Curie", track="Art"),
        SessionEntry(guid="b", title="Closing, moved", location="Meitner"),
    ]
    imported(desk, conference(sessions=newer))
    (presenter,) = (p for p in desk.records("event_presenter") if p["session_id"] == _id(desk, "b"))
    assert presenter["version"] == 2


def _id(desk: Desk, guid: str) -> Any:
    return desk.the("event_session", guid=guid)["id"]


def test_a_deleted_room_is_made_again_when_a_session_moves_into_it(desk: Desk) -> None:
    delete(desk, "event_location", name="Meitner")
    moved = [
        SessionEntry(guid="a", title="Opening", location="Meitner", track="Art"),
        SessionEntry(guid="b", title="Closing", location="Meitner"),
    ]
    found = imported(desk, conference(sessions=moved))
    room = desk.the("event_location", name="Meitner")["id"]
    assert {s["location_id"] for s in desk.records("event_session")} == {room}
    assert found.summary.counts["event_location"].restored == 1


def test_a_room_that_left_the_source_stays_while_a_session_made_by_hand_is_in_it(desk: Desk) -> None:
    event, room = desk.the("event"), desk.the("event_location", name="Curie")
    by_hand = {"guid": "own", "title": "Breakfast", "location_id": room["id"]}
    desk.commit([NewRecord(EventSession, by_hand, event["id"])])
    moved = [
        SessionEntry(guid="a", title="Opening", location="Meitner", track="Art"),
        SessionEntry(guid="b", title="Closing", location="Meitner"),
    ]
    without = conference(sessions=moved, locations=[LocationEntry(name="Meitner", sort=2)])
    found = imported(desk, without)
    assert found.summary.counts["event_location"].in_use == 1
    assert desk.the("event_location", name="Curie")
    assert planned(desk, without).operations == []
    delete(desk, "event_session", guid="own")
    assert imported(desk, without).summary.counts["event_location"].deleted == 1


def test_a_room_made_by_hand_is_adopted_with_what_people_filled_in() -> None:
    desk = Desk()
    desk.commit([NewRecord(Event, {"acronym": "conf", "title": "Our conference"})])
    event = desk.the("event")
    desk.commit([NewRecord(EventLocation, {"name": "Curie"}, event["id"])])
    found = imported(desk, conference())
    assert found.summary.counts["event"].adopted == found.summary.counts["event_location"].adopted == 1
    assert desk.the("event")["title"] == "Our conference"
    assert desk.the("event_location", name="Curie")["sort"] == 1
    assert planned(desk, conference()).operations == []


def test_a_changed_order_of_persons_changes_only_their_order(desk: Desk) -> None:
    turned = [
        PresenterEntry(session="a", person="2", sort=1),
        PresenterEntry(session="a", person="1", sort=2),
        PresenterEntry(session="b", person="2", sort=1),
    ]
    found = imported(desk, conference(presenters=turned))
    assert found.summary.counts[PRESENTER].updated == 2
    assert {s for entity, c in found.summary.counts.items() if c.updated for s in [entity]} == {PRESENTER}


def test_a_write_of_the_plan_holds_only_for_the_version_it_was_made_from(desk: Desk) -> None:
    newer = [
        SessionEntry(guid="a", title="Grand opening", location="Curie", track="Art"),
        SessionEntry(guid="b", title="Closing", location="Meitner"),
    ]
    found = planned(desk, conference(sessions=newer))
    change(desk, "event_session", {"subtitle": "meanwhile"}, guid="a")
    with pytest.raises(HubError) as refused:
        desk.apply(found.operations)
    assert refused.value.code == "record.conflict"


def test_the_row_of_a_restored_record_names_its_new_id(desk: Desk) -> None:
    delete(desk, "event_track", name="Art")
    imported(desk, conference(tracks=[TrackEntry(name="Art", sort=7)]))
    row = desk.the("event_import", entity="event_track", key="Art")
    assert row["rec"] == desk.the("event_track", name="Art")["id"]
    assert desk.the("event_session", guid="a")["track_id"] == row["rec"]


def test_a_deleted_person_is_made_again_for_a_new_session(desk: Desk) -> None:
    old = delete(desk, "event_person", source_id="1")
    more = [*conference().sessions, SessionEntry(guid="c", title="More")]
    presenters = [*conference().presenters, PresenterEntry(session="c", person="1", sort=1)]
    imported(desk, conference(sessions=more, presenters=presenters))
    person = desk.the("event_person", source_id="1")["id"]
    assert person != old
    assert desk.the("event_presenter", session_id=_id(desk, "c"))["person_id"] == person


def test_a_room_renamed_in_the_hub_and_then_in_the_source_is_one_room(desk: Desk) -> None:
    room = desk.the("event_location", name="Curie")["id"]
    change(desk, "event_location", {"name": "Turing"}, name="Curie")
    moved = [
        SessionEntry(guid="a", title="Opening", location="Turing", track="Art"),
        SessionEntry(guid="b", title="Closing", location="Meitner"),
    ]
    renamed = conference(
        sessions=moved, locations=[LocationEntry(name="Turing", sort=1), LocationEntry(name="Meitner", sort=2)]
    )
    imported(desk, renamed)
    assert desk.the("event_location", name="Turing")["id"] == room
    assert {location["name"] for location in desk.records("event_location")} == {"Turing", "Meitner"}
    assert planned(desk, renamed).operations == []


def test_records_are_deleted_before_what_they_refer_to(desk: Desk) -> None:
    bare = Programme(event=conference().event)
    deleted = [o["type"] for o in planned(desk, bare).operations if o["op"] == "record.delete"]
    order = [PRESENTER, "event_session", "event_person", "event_track", "event_location", "event_import"]
    assert list(dict.fromkeys(deleted)) == order
    imported(desk, bare)
    assert [len(desk.records(entity)) for entity in ENTITIES] == [1, 0, 0, 0, 0, 0]


def test_what_was_made_in_the_hub_without_a_key_is_left_alone(desk: Desk) -> None:
    event = desk.the("event")["id"]
    desk.commit([NewRecord(EventSession, {"title": "Breakfast"}, event) for _ in range(2)])
    desk.commit([NewRecord(EventPerson, {"name": "Cook"}, event)])
    assert planned(desk, conference()).operations == []
    imported(desk, Programme(event=conference().event))
    assert [s["title"] for s in desk.records("event_session")] == ["Breakfast", "Breakfast"]
    assert [p["name"] for p in desk.records("event_person")] == ["Cook"]


def test_a_session_moved_in_the_hub_follows_its_source_where_a_new_end_would_lie_before_its_start(desk: Desk) -> None:
    day = "2031-01-01T{}:00:00.000Z".format
    first = [SessionEntry(guid="t", title="Timed", starts_at=day(10), ends_at=day(12))]
    imported(desk, conference(sessions=first, presenters=[]))
    change(desk, "event_session", {"starts_at": day(15), "ends_at": day(17)}, guid="t")
    shorter = [SessionEntry(guid="t", title="Timed", starts_at=day(10), ends_at=day(11))]
    imported(desk, conference(sessions=shorter, presenters=[]))
    session = desk.the("event_session", guid="t")
    assert (session["starts_at"], session["ends_at"]) == (day(10), day(11))
    change(desk, "event_session", {"starts_at": day("09")}, guid="t")
    longer = [SessionEntry(guid="t", title="Timed", starts_at=day(10), ends_at=day(13))]
    imported(desk, conference(sessions=longer, presenters=[]))
    session = desk.the("event_session", guid="t")
    assert (session["starts_at"], session["ends_at"]) == (day("09"), day(13)), "each for itself where that goes"
