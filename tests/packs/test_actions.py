"""The actions of the events pack, called as the hub calls them, over storage in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hub import ChangeRecord, HubError, Image, NewRecord
from packs.events import IMPORT_ACTION, Reading, import_arguments, import_summary, read_schedule
from packs.events.actions import ImportProgramme, Reschedule, import_programme, reschedule
from packs.events.import_summary import Summary
from packs.events.programme import EventEntry, LocationEntry, Programme, SessionEntry
from packs.events.records import Event, EventLocation, EventSession
from tests.packs.desk import REGISTRY, Desk, DeskContext, call

SAMPLES = Path(__file__).resolve().parents[2] / "examples" / "data"


def at(clock: str) -> str:
    return f"2026-12-27T{clock}:00.000Z"


@pytest.fixture
def desk() -> Desk:
    """Curie: Opening 10-11, Keynote 11-12, Lunch 13-14. Meitner: empty. Panel: not scheduled."""
    desk = Desk()
    desk.commit([NewRecord(Event, {"acronym": "conf", "title": "Conf"})])
    event = desk.the("event")["id"]
    desk.commit([NewRecord(EventLocation, {"name": name}, event) for name in ("Curie", "Meitner")])
    room = desk.the("event_location", name="Curie")["id"]
    for title, begin, end in (
        ("Opening", "10:00", "11:00"),
        ("Keynote", "11:00", "12:00"),
        ("Lunch", "13:00", "14:00"),
    ):
        data = {"guid": title, "title": title, "starts_at": at(begin), "ends_at": at(end), "location_id": room}
        desk.commit([NewRecord(EventSession, data, event)])
    desk.commit([NewRecord(EventSession, {"guid": "Panel", "title": "Panel"}, event)])
    return desk


def session(desk: Desk, title: str) -> Image:
    return desk.the("event_session", title=title)


def room(desk: Desk, name: str) -> str:
    return str(desk.the("event_location", name=name)["id"])


async def move(desk: Desk, title: str, **args: Any) -> Any:
    arguments = msgspec.convert(args, Reschedule)
    return await call(desk, reschedule, arguments, session(desk, title))


def test_the_registry_finds_both_actions() -> None:
    assert REGISTRY.actions["event_session.reschedule"].target is REGISTRY.types["event_session"]
    assert IMPORT_ACTION in REGISTRY.actions


async def test_a_session_keeps_its_length_and_room_when_it_moves(desk: Desk) -> None:
    moved = await move(desk, "Opening", starts_at=at("14:00"))
    assert (moved.starts_at, moved.ends_at, moved.location_id) == (at("14:00"), at("15:00"), room(desk, "Curie"))
    assert session(desk, "Opening")["starts_at"] == at("14:00")


async def test_a_time_with_an_offset_is_stored_as_utc(desk: Desk) -> None:
    moved = await move(desk, "Opening", starts_at="2026-12-27T16:00:00.123456+01:00")
    assert moved.starts_at == "2026-12-27T15:00:00.123Z"


@pytest.mark.parametrize(
    ("title", "wanted", "clash", "free"),
    [
        ("Opening", "11:30", "Keynote", "12:00"),
        ("Opening", "12:30", "Lunch", "14:00"),
        ("Keynote", "09:30", "Opening", "11:00"),
        ("Lunch", "10:30", "Opening", "12:00"),
    ],
)
async def test_an_overlap_is_refused_with_the_next_free_slot(
    desk: Desk, title: str, wanted: str, clash: str, free: str
) -> None:
    before = session(desk, title)
    with pytest.raises(HubError) as refused:
        await move(desk, title, starts_at=at(wanted))
    error = refused.value
    assert (error.code, error.path) == ("action.failed", "args.starts_at")
    assert error.details is not None
    assert error.details["conflict"]["rec"] == session(desk, clash)["id"]
    assert set(error.details["conflict"]) == {"rec", "title", "starts_at", "ends_at"}
    assert error.details["suggestion"]["starts_at"] == at(free)
    assert clash in error.message
    assert session(desk, title) == before
    accepted = await move(desk, title, starts_at=error.details["suggestion"]["starts_at"])
    assert accepted.ends_at == error.details["suggestion"]["ends_at"]


async def test_sessions_may_touch(desk: Desk) -> None:
    assert (await move(desk, "Opening", starts_at=at("12:00"))).ends_at == at("13:00")


async def test_a_session_moves_to_another_room_or_to_none(desk: Desk) -> None:
    moved = await move(desk, "Opening", starts_at=at("11:00"), location=room(desk, "Meitner"))
    assert moved.location_id == room(desk, "Meitner")
    nowhere = await move(desk, "Opening", starts_at=at("11:00"), location=None)
    assert nowhere.location_id is None


async def test_a_session_without_a_time_gets_a_start_only(desk: Desk) -> None:
    moved = await move(desk, "Panel", starts_at=at("11:30"), location=room(desk, "Curie"))
    assert (moved.starts_at, moved.ends_at) == (at("11:30"), None)


async def test_moving_a_session_to_where_it_is_writes_nothing(desk: Desk) -> None:
    before = desk.commits
    moved = await move(desk, "Opening", starts_at=at("10:00"))
    assert (desk.commits, moved.version) == (before, session(desk, "Opening")["version"])


async def test_a_room_of_another_event_is_not_found(desk: Desk) -> None:
    desk.commit([NewRecord(Event, {"acronym": "other", "title": "Other"})])
    desk.commit([NewRecord(EventLocation, {"name": "Far"}, desk.the("event", acronym="other")["id"])])
    with pytest.raises(HubError) as refused:
        await move(desk, "Opening", starts_at=at("10:00"), location=room(desk, "Far"))
    assert (refused.value.code, refused.value.path) == ("record.not_found", "args.location")


async def test_a_year_out_of_bounds_is_refused(desk: Desk) -> None:
    with pytest.raises(HubError) as refused:
        await move(desk, "Opening", starts_at="9999-12-31T23:59:59Z")
    assert (refused.value.code, refused.value.path) == ("data.invalid", "args.starts_at")


async def test_a_room_taken_to_the_end_of_the_calendar_gives_no_suggestion(desk: Desk) -> None:
    rec = session(desk, "Lunch")["id"]
    desk.commit([ChangeRecord(EventSession, rec, {"ends_at": "9999-12-31T23:59:59.999Z"})])
    with pytest.raises(HubError) as refused:
        await move(desk, "Opening", starts_at=at("13:00"))
    assert refused.value.details is not None
    assert set(refused.value.details) == {"conflict"}


async def test_of_two_moves_into_one_slot_at_once_one_is_refused(desk: Desk) -> None:
    wanted = {"starts_at": at("15:00"), "location": room(desk, "Meitner")}
    outcomes = await asyncio.gather(
        *(move(desk, title, **wanted) for title in ("Opening", "Keynote", "Lunch")), return_exceptions=True
    )
    refusals = [outcome for outcome in outcomes if isinstance(outcome, HubError)]
    assert [refusal.code for refusal in refusals] == ["action.failed", "action.failed"]
    assert len([s for s in desk.records("event_session") if s["location_id"] == wanted["location"]]) == 1


def _read(name: str) -> Reading:
    return read_schedule((SAMPLES / name).read_bytes())


# Read before any loop turns: reading asks the disk for the file and for its time zone.
READINGS = {name: _read(name) for name in ("frab-camp2019.json", "pretalx-rc3.json")}


def sample(name: str) -> ImportProgramme:
    reading = READINGS[name]
    plain = msgspec.json.decode(msgspec.json.encode(import_arguments(reading)))
    return msgspec.convert(plain, ImportProgramme)


@pytest.mark.parametrize(
    ("name", "sessions", "persons", "presenters", "rooms"),
    [("frab-camp2019.json", 79, 90, 96, 2), ("pretalx-rc3.json", 48, 56, 57, 5)],
)
async def test_a_real_programme_arrives_in_one_commit_and_only_once(
    name: str, sessions: int, persons: int, presenters: int, rooms: int
) -> None:
    desk, args = Desk(), sample(name)
    first: Summary = await call(desk, import_programme, args)
    assert desk.commits == 1
    types = ("event_session", "event_person", "event_presenter", "event_location")
    assert [len(desk.records(entity)) for entity in types] == [sessions, persons, presenters, rooms]
    assert first.event == desk.the("event")["id"]
    again: Summary = await call(desk, import_programme, args)
    assert (again.writes, again.event, desk.commits) == (0, first.event, 1)
    assert import_summary(msgspec.to_builtins(again)) == again


async def test_an_event_renamed_in_the_hub_is_found_again() -> None:
    desk, args = Desk(), sample("pretalx-rc3.json")
    await call(desk, import_programme, args)
    desk.commit([ChangeRecord(Event, desk.the("event")["id"], {"acronym": "rc3"})])
    again: Summary = await call(desk, import_programme, args)
    assert (again.writes, len(desk.records("event"))) == (0, 1)


async def test_two_programmes_live_side_by_side() -> None:
    desk = Desk()
    for name in ("frab-camp2019.json", "pretalx-rc3.json"):
        await call(desk, import_programme, sample(name))
    assert len(desk.records("event")) == 2
    assert (await call(desk, import_programme, sample("frab-camp2019.json"))).writes == 0


async def test_an_import_says_how_far_it_is() -> None:
    context = DeskContext(Desk())
    await import_programme(context, sample("pretalx-rc3.json"))
    fractions = [fraction for fraction, _ in context.told]
    assert fractions == sorted(f for f in fractions if f is not None)
    assert fractions[-1] == 1.0


async def test_a_programme_that_does_not_hold_together_is_refused() -> None:
    programme = Programme(
        event=EventEntry(acronym="conf", title="Conf"),
        locations=[LocationEntry(name="Curie"), LocationEntry(name="Curie")],
        sessions=[SessionEntry(guid="a", title="A", track="Art")],
    )
    desk = Desk()
    with pytest.raises(HubError) as refused:
        await call(desk, import_programme, ImportProgramme(programme=programme))
    assert (refused.value.code, refused.value.path, desk.commits) == ("data.invalid", "args.programme", 0)
    assert refused.value.details is not None
    assert len(refused.value.details["problems"]) == 2


def broken(name: str) -> ImportProgramme:
    """A real programme as a broken export has it: the conference, and no day of it."""
    return ImportProgramme(programme=Programme(event=sample(name).programme.event))


async def test_a_programme_that_lost_its_sessions_is_refused_with_the_figures() -> None:
    desk = Desk()
    await call(desk, import_programme, sample("frab-camp2019.json"))
    before = desk.records("event_session")
    with pytest.raises(HubError) as refused:
        await call(desk, import_programme, broken("frab-camp2019.json"))
    assert refused.value.code == "action.failed"
    assert "79 of 79 sessions, 274 of 275 records in all" in str(refused.value.message)
    assert "--allow-deletions" in str(refused.value.message)
    assert refused.value.details == {
        "sessions": {"deleted": 79, "imported": 79},
        "records": {"deleted": 274, "imported": 275},
    }
    assert (desk.commits, desk.records("event_session")) == (1, before)


async def test_deletions_that_are_allowed_are_done() -> None:
    desk = Desk()
    await call(desk, import_programme, sample("frab-camp2019.json"))
    allowed = msgspec.structs.replace(broken("frab-camp2019.json"), allow_deletions=True)
    done: Summary = await call(desk, import_programme, allowed)
    assert done.total("deleted") == 274
    assert desk.records("event_session") == []


@pytest.mark.parametrize(("kept", "refused"), [(39, True), (40, False), (79, False)])
async def test_a_programme_that_lost_more_than_half_is_refused(kept: int, refused: bool) -> None:
    desk = Desk()
    whole = sample("frab-camp2019.json").programme
    await call(desk, import_programme, ImportProgramme(programme=whole))
    there = {session.guid for session in whole.sessions[:kept]}
    part = msgspec.structs.replace(
        whole,
        sessions=[session for session in whole.sessions if session.guid in there],
        presenters=[presenter for presenter in whole.presenters if presenter.session in there],
    )
    if refused:
        with pytest.raises(HubError, match="most of what was imported before"):
            await call(desk, import_programme, ImportProgramme(programme=part))
    else:
        await call(desk, import_programme, ImportProgramme(programme=part))
    assert len(desk.records("event_session")) == (79 if refused else kept)


async def test_a_small_programme_may_change_its_one_session_but_not_lose_it() -> None:
    desk, event = Desk(), EventEntry(acronym="conf", title="Conf")
    for guid in ("a", "b"):
        one = Programme(event=event, sessions=[SessionEntry(guid=guid, title=guid)])
        await call(desk, import_programme, ImportProgramme(programme=one))
    assert [session["guid"] for session in desk.records("event_session")] == ["b"]
    with pytest.raises(HubError, match="1 of 1 sessions"):
        await call(desk, import_programme, ImportProgramme(programme=Programme(event=event)))


async def test_an_import_that_is_only_tried_writes_nothing_and_answers_what_it_would_do() -> None:
    desk, args = Desk(), sample("pretalx-rc3.json")
    tried: Summary = await call(desk, import_programme, msgspec.structs.replace(args, dry_run=True))
    assert (desk.commits, tried.event, tried.total("created")) == (0, None, 172)
    done: Summary = await call(desk, import_programme, args)
    assert done.counts == tried.counts
    lost = msgspec.structs.replace(broken("pretalx-rc3.json"), dry_run=True)
    assert (await call(desk, import_programme, lost)).total("deleted") == 171
    assert desk.commits == 1
