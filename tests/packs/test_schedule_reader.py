"""The reader of schedule files: the real ones, and the variants that exporters of the family make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from packs.events import Reading, read_schedule
from packs.events import programme as limits
from packs.events.programme import PersonEntry, SessionEntry, inconsistencies

SAMPLES = Path(__file__).resolve().parents[2] / "examples" / "data"


def session(**changes: Any) -> dict[str, Any]:
    """A session as exporters write it."""
    found = {
        "guid": "0a99f1db-dfad-4534-888c-bd98acc576b3",
        "id": 7,
        "date": "2026-12-27T16:00:00+01:00",
        "start": "16:00",
        "duration": "00:45",
        "room": "Curie",
        "title": "Opening",
        "language": "en",
        "track": "Art",
        "persons": [{"id": 1, "public_name": "Ada"}],
    }
    return {name: value for name, value in (found | changes).items() if value is not ...}


def schedule(*sessions: Any, day: dict[str, Any] | None = None, **conference: Any) -> dict[str, Any]:
    """A document of one day in which the sessions are in Curie."""
    days = [{"index": 1, "date": "2026-12-27", "rooms": {"Curie": list(sessions)}} | (day or {})]
    found = {"acronym": "conf", "title": "Conf", "days": days} | conference
    return {"schedule": {"version": "1", "conference": {n: v for n, v in found.items() if v is not ...}}}


def read(document: Any) -> Reading:
    return read_schedule(json.dumps(document).encode())


def only(document: Any) -> SessionEntry:
    (found,) = read(document).programme.sessions
    return found


def warned(reading: Reading) -> list[str]:
    return [warning.path for warning in reading.warnings]


@pytest.mark.parametrize(
    ("name", "zone", "days", "rooms", "tracks", "persons", "sessions", "presenters"),
    [
        ("frab-camp2019.json", "Europe/Berlin", ("2019-08-21", "2019-08-26"), 2, 7, 90, 79, 96),
        ("pretalx-rc3.json", "Etc/GMT-1", ("2020-12-27", "2020-12-30"), 5, 5, 56, 48, 57),
    ],
)
def test_the_samples_are_read_whole_and_without_a_warning(
    name: str, zone: str, days: tuple[str, str], rooms: int, tracks: int, persons: int, sessions: int, presenters: int
) -> None:
    reading = read_schedule((SAMPLES / name).read_bytes())
    programme = reading.programme
    assert reading.warnings == []
    assert inconsistencies(programme) == []
    assert (programme.event.timezone, (programme.event.starts_on, programme.event.ends_on)) == (zone, days)
    assert (len(programme.locations), len(programme.tracks), len(programme.persons)) == (rooms, tracks, persons)
    assert (len(programme.sessions), len(programme.presenters)) == (sessions, presenters)


def test_a_session_of_a_sample_is_read_field_by_field() -> None:
    programme = read_schedule((SAMPLES / "frab-camp2019.json").read_bytes()).programme
    (found,) = (s for s in programme.sessions if s.guid == "0a99f1db-dfad-4534-888c-bd98acc576b3")
    assert found.title == "Reporting from Brussels: The state of Digital Rights"
    assert (found.starts_at, found.ends_at) == ("2019-08-21T14:00:00.000Z", "2019-08-21T14:45:00.000Z")
    assert (found.location, found.track, found.kind, found.language) == (
        "Curie", "Ethics, Society & Politics", "lecture", "en",
    )  # fmt: skip
    assert found.url.endswith("/events/10309.html")
    assert "\r" not in found.description
    persons = [p.person for p in programme.presenters if p.session == found.guid]
    assert persons == ["9013", "8770"]


@pytest.mark.parametrize(
    ("duration", "ends"),
    [
        ("00:45", "27T15:45"),
        ("0:45", "27T15:45"),
        ("1:30", "27T16:30"),
        ("26:00", "28T17:00"),
        ("1:02:30", "28T17:30"),
        ("00:45:00", "27T15:45"),
        ("01:00:00", "27T16:00"),
        ("45", "27T15:45"),
        (45, "27T15:45"),
        (22.5, "27T15:22"),
        (0, "27T15:00"),
    ],
)
def test_every_spelling_of_a_duration_gives_the_end(duration: Any, ends: str) -> None:
    found = only(schedule(session(duration=duration))).ends_at
    assert found is not None
    assert found.startswith(f"2026-12-{ends}")


@pytest.mark.parametrize(
    ("zone", "date", "starts"),
    [
        (..., "2026-12-27T16:00:00+01:00", "2026-12-27T15:00:00.000Z"),
        (..., "2026-12-27T16:00:00 +0100", "2026-12-27T15:00:00.000Z"),
        (..., "2026-12-27 16:00:00Z", "2026-12-27T16:00:00.000Z"),
        (..., "2026-12-27T16:00:00.123456+05:30", "2026-12-27T10:30:00.123Z"),
        ("Europe/Berlin", "2026-12-27T16:00:00", "2026-12-27T15:00:00.000Z"),
        ("Europe/Berlin", "2026-07-27T16:00", "2026-07-27T14:00:00.000Z"),
        ("Europe/Berlin", "2026-12-27", "2026-12-27T15:00:00.000Z"),
        ("Europe/Berlin", None, "2026-12-27T15:00:00.000Z"),
        ("Europe/Berlin", "", "2026-12-27T15:00:00.000Z"),
        (..., "2026-12-27T16:00:00", "2026-12-27T16:00:00.000Z"),
    ],
)
def test_every_spelling_of_a_start_becomes_utc(zone: Any, date: Any, starts: str) -> None:
    assert only(schedule(session(date=date), time_zone_name=zone)).starts_at == starts


def test_a_start_after_midnight_belongs_to_the_night_of_its_day() -> None:
    day = {"day_start": "2026-12-27T09:00:00+01:00"}
    found = only(schedule(session(date=None, start="01:30"), day=day))
    assert found.starts_at == "2026-12-28T00:30:00.000Z"
    assert only(schedule(session(date=None, start="25:30"), day=day)).starts_at == found.starts_at


@pytest.mark.parametrize(
    ("zone", "dates", "expected", "warnings"),
    [
        ("Europe/Berlin", ["2026-12-27T16:00:00+02:00"], "Europe/Berlin", 0),
        (None, ["2026-12-27T16:00:00+02:00"], "Etc/GMT-2", 0),
        (None, ["2026-12-27T16:00:00-05:00"], "Etc/GMT+5", 0),
        (None, ["2026-12-27T16:00:00Z"], "UTC", 0),
        (None, ["2026-12-27T16:00:00+01:00", "2026-12-27T16:00:00+02:00"], "UTC", 1),
        (None, ["2026-12-27T16:00:00+05:30"], "UTC", 1),
        (None, ["2026-12-27T16:00:00"], "UTC", 1),
        ("Mars/Olympus", ["2026-12-27T16:00:00+01:00"], "Etc/GMT-1", 1),
        ("../../etc/passwd", ["2026-12-27T16:00:00+01:00"], "Etc/GMT-1", 1),
        ("Europe", ["2026-12-27T16:00:00+01:00"], "Etc/GMT-1", 1),
    ],
)
def test_the_zone_is_named_or_follows_from_the_offsets(
    zone: str | None, dates: list[str], expected: str, warnings: int
) -> None:
    reading = read(schedule(*(session(guid=f"g{n}", date=d) for n, d in enumerate(dates)), time_zone_name=zone))
    assert reading.programme.event.timezone == expected
    assert len(reading.warnings) == warnings


def test_an_end_serves_where_the_duration_is_missing() -> None:
    assert only(schedule(session(duration=None, end="2026-12-27T17:00:00+01:00"))).ends_at == "2026-12-27T16:00:00.000Z"
    reading = read(schedule(session(duration="")))
    assert reading.programme.sessions[0].ends_at is None
    assert warned(reading) == ["schedule.conference.days[0].rooms['Curie'][0].duration"]


def test_rooms_may_be_listed_instead_of_named() -> None:
    rooms = [{"name": "Curie", "events": [session()]}, {"name": "Meitner", "events": []}]
    found = read(schedule(day={"rooms": rooms})).programme
    assert [(location.name, location.sort) for location in found.locations] == [("Curie", 1)]
    assert found.sessions[0].location == "Curie"


@pytest.mark.parametrize(
    "rooms",
    [
        ["Turing", "Curie"],
        [{"name": "Turing", "guid": "x"}, {"name": "Curie"}],
        {"Turing": {"capacity": 5}, "Curie": None},
        {"1": {"name": "Turing"}, "2": {"name": {"en": "Curie"}}},
    ],
)
def test_rooms_of_the_conference_come_first_and_in_its_order(rooms: Any) -> None:
    found = read(schedule(session(), rooms=rooms)).programme.locations
    assert [(location.name, location.sort) for location in found] == [("Turing", 1), ("Curie", 2)]


@pytest.mark.parametrize("rooms", [None, [], {}, ""])
def test_a_day_may_have_no_rooms(rooms: Any) -> None:
    reading = read(schedule(day={"rooms": rooms}))
    assert reading.programme.sessions == []
    assert warned(reading) == ["schedule.conference.days"]


def test_a_session_stays_in_the_room_it_is_listed_under() -> None:
    reading = read(schedule(session(room="Meitner")))
    assert reading.programme.sessions[0].location == "Curie"
    assert warned(reading) == ["schedule.conference.days[0].rooms['Curie'][0].room"]
    unnamed = read(schedule(day={"rooms": {"": [session(room="Meitner")]}}))
    assert unnamed.programme.sessions[0].location == "Meitner"


@pytest.mark.parametrize(
    ("person", "expected"),
    [
        ({"id": 1, "public_name": "Ada"}, PersonEntry(source_id="1", name="Ada")),
        ({"id": 1.0, "code": "ABC", "name": "Ada"}, PersonEntry(source_id="1", name="Ada")),
        ({"id": None, "code": "ABC", "name": "Ada"}, PersonEntry(source_id="ABC", name="Ada")),
        ({"guid": "0A99F1DB-DFAD-4534-888C-BD98ACC576B3", "public_name": "", "name": " Ada  L. "},
         PersonEntry(source_id="0a99f1db-dfad-4534-888c-bd98acc576b3", name="Ada L.")),
        ({"id": 8, "public_name": None}, PersonEntry(source_id="8", name="8")),
        ({"id": 10**25, "name": "Ada"}, PersonEntry(source_id="1" + "0" * 25, name="Ada")),
    ],
)  # fmt: skip
def test_a_person_is_known_by_the_first_identifier(person: dict[str, Any], expected: PersonEntry) -> None:
    assert read(schedule(session(persons=[person]))).programme.persons == [expected]


def test_a_person_without_identifier_is_known_by_name() -> None:
    reading = read(schedule(session(persons=["Ada", {"name": "Ada"}, None, {}]), session(guid="b", persons=["Ada"])))
    (person,) = reading.programme.persons
    assert person.name == "Ada"
    assert [(p.session[:1], p.person, p.sort) for p in reading.programme.presenters] == [
        ("0", person.source_id, 1),
        ("b", person.source_id, 1),
    ]


def test_a_person_called_differently_later_keeps_the_first_name() -> None:
    second = session(guid="b", persons=[{"id": 1, "public_name": "Ada L."}])
    reading = read(schedule(session(), second))
    assert [p.name for p in reading.programme.persons] == ["Ada"]
    assert warned(reading) == ["schedule.conference.days[0].rooms['Curie'][1].persons[0]"]


def test_the_same_session_listed_twice_counts_once() -> None:
    reading = read(schedule(session(), session()))
    assert len(reading.programme.sessions) == len(reading.programme.presenters) == 1
    assert warned(reading) == ["schedule.conference.days[0].rooms['Curie'][1]"]


def test_two_sessions_with_one_guid_are_both_kept_under_stable_keys() -> None:
    document = schedule(session(), session(title="Again"), session(title="And again"))
    first, second = read(document), read(document)
    guids = [s.guid for s in first.programme.sessions]
    assert len(set(guids)) == 3
    assert guids == [s.guid for s in second.programme.sessions]
    assert len(first.warnings) == 2


@pytest.mark.parametrize("own", [{"id": 7}, {"code": "CHGKBJ", "id": None}, {"slug": "opening", "id": ""}, {"id": ...}])
def test_a_session_without_guid_gets_a_stable_key(own: dict[str, Any]) -> None:
    document = schedule(session(guid=None, **own))
    assert read(document).programme == read(document).programme
    assert len(only(document).guid) == 36
    assert len(read(document).warnings) == 1
    moved = schedule(session(guid=None, date="2026-12-28T16:00:00+01:00", **own))
    assert only(moved).guid == only(document).guid


@pytest.mark.parametrize(
    ("value", "expected", "warnings"),
    [
        (True, True, 0), (False, False, 0), (None, False, 0), ("", False, 0), ("true", True, 0), ("No", False, 0),
        (1, True, 0), (0, False, 0), ("perhaps", True, 1), (["x"], True, 1),
    ],
)  # fmt: skip
def test_do_not_record_is_read_on_the_safe_side(value: Any, expected: bool, warnings: int) -> None:
    reading = read(schedule(session(do_not_record=value)))
    assert reading.programme.sessions[0].do_not_record is expected
    assert len(reading.warnings) == warnings


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.org/a", "https://example.org/a"),
        ("talk/7.html", "https://base.example/talk/7.html"),
        ("javascript:alert(1)", ""),
        ("https://[", ""),
        ("https://example.org/" + "x" * limits.URL_LENGTH, ""),
        (None, ""),
    ],
)
def test_only_web_addresses_are_kept(url: Any, expected: str) -> None:
    document = schedule(session(url=url))
    document["schedule"]["base_url"] = "https://base.example/"
    assert only(document).url == expected


def test_texts_lose_what_no_text_may_hold() -> None:
    reading = read(schedule(session(title="A\x00B\x7f\ud800\tC\nD", description="one\r\ntwo\rthree\x0bfour\x1b")))
    (found,) = reading.programme.sessions
    assert (found.title, found.description) == ("AB\ufffd C D", "one\ntwo\nthree\nfour")
    assert len(reading.warnings) == 2


def test_a_text_that_is_too_long_is_cut() -> None:
    reading = read(schedule(session(title="x" * 600, description="y" * limits.BODY_LENGTH, abstract="z" * 200_001)))
    (found,) = reading.programme.sessions
    assert (len(found.title), len(found.description), len(found.abstract)) == (500, 200_000, 200_000)
    assert len(reading.warnings) == 2


def test_translations_numbers_and_empty_values_count_as_texts() -> None:
    raw = session(title=42, subtitle={"de": "Hallo", "en": "Hello"}, track={"name": {"fr": "Art"}}, abstract=[])
    found = only(schedule(raw))
    assert (found.title, found.subtitle, found.track, found.abstract) == ("42", "Hello", "Art", "")


def test_tags_come_as_list_or_text() -> None:
    assert only(schedule(session(tags=["a", {"name": "b"}, "a", ""]))).tags == ["a", "b"]
    assert only(schedule(session(tags="a, b"))).tags == ["a", "b"]
    assert len(only(schedule(session(tags=[f"t{n}" for n in range(99)]))).tags) == limits.TAG_COUNT


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + json.dumps(schedule(session())).encode(),
        json.dumps(schedule(session())).encode("utf-16"),
        json.dumps(schedule(session()), indent=1).replace("\n", "\r\n").encode(),
        json.dumps(schedule(session())["schedule"]).encode(),
        json.dumps(schedule(session())).replace('"Opening"', '"Open\ning"').replace('"id": 7', '"id": NaN').encode(),
    ],
    ids=["byte-order-mark", "utf-16", "crlf", "without-schedule", "raw-line-end-and-nan"],
)
def test_slips_of_exporters_are_forgiven(data: bytes) -> None:
    assert len(read_schedule(data).programme.sessions) == 1


def test_a_conference_is_called_and_dated_by_what_there_is() -> None:
    event = read(schedule(session(), acronym=None, title="Big  Conf 2026")).programme.event
    assert (event.acronym, event.title) == ("big-conf-2026", "Big Conf 2026")
    assert (event.starts_on, event.ends_on) == ("2026-12-27", "2026-12-27")
    turned = read(schedule(session(), start="2026-12-30", end="2026-12-27"))
    assert (turned.programme.event.starts_on, turned.programme.event.ends_on) == ("2026-12-30", None)
    assert len(turned.warnings) == 1


def test_a_day_without_sessions_is_named() -> None:
    second = {"index": 2, "date": "2026-12-28", "rooms": []}
    first = {"index": 1, "date": "2026-12-27", "rooms": {"Curie": [session()]}}
    (warning,) = read(schedule(days=[first, second])).warnings
    assert (warning.path, warning.message) == ("schedule.conference.days[1].rooms", "the day holds no session")
