"""Broken schedule files: each names its line or path, and none reads."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.wire.codec import check
from packs.events import Reading, ScheduleError, import_arguments, read_schedule
from packs.events.actions import ImportProgramme
from packs.events.programme import inconsistencies
from packs.events.schedule_json import MAX_BYTES, MAX_DEPTH
from packs.events.schedule_problems import MOST_PROBLEMS
from tests.packs.conference import imported, planned
from tests.packs.desk import Desk
from tests.packs.test_schedule_reader import SAMPLES, schedule, session

TEXTS = {path.name: path.read_text("utf-8") for path in sorted(SAMPLES.glob("*.json"))}
DOCUMENTS = {name: json.loads(text) for name, text in TEXTS.items()}
IN_CURIE = "schedule.conference.days[0].rooms['Curie'][0]"


def refused(data: bytes) -> ScheduleError:
    with pytest.raises(ScheduleError) as error:
        read_schedule(data)
    return error.value


@pytest.mark.parametrize(
    ("data", "line", "column"),
    [
        (b"", 1, 1),
        (b" \n ", 1, 1),
        (b"<?xml version='1.0'?><schedule/>", 1, 1),
        (b"{", 1, 2),
        (b'{"schedule": \n {"conference": }}', 2, 17),
        (b'{"a": 1}\n{"b": 2}', 2, 1),
        (b'{"a": "\xff"}', 1, 8),
        (b'{"x": 1,\n "a": "\xc3\xa4\xff"}', 2, 9),
        (b"{'schedule': 1}", 1, 2),
        (TEXTS["frab-camp2019.json"].encode()[:100_000], 1, None),
    ],
    ids=["empty", "blank", "xml", "open", "no-value", "two-documents", "not-utf-8", "not-utf-8-later", "quotes", "cut"],
)
def test_a_file_that_is_no_json_names_line_and_column(data: bytes, line: int, column: int | None) -> None:
    error = refused(data)
    assert error.line is not None
    assert column is None or (error.line, error.column) == (line, column)
    assert f"line {error.line}, column {error.column}: " in str(error)


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([], ""),
        ({}, "schedule"),
        ({"schedule": None}, "schedule"),
        ({"schedule": [1]}, "schedule"),
        ({"schedule": {"version": "1"}}, "schedule.conference"),
        ({"schedule": {"conference": "x"}}, "schedule.conference"),
        (schedule(session(), acronym="", title=None), "schedule.conference.acronym"),
        (schedule(session(), start="tomorrow"), "schedule.conference.start"),
        (schedule(session(), days="x"), "schedule.conference.days"),
        (schedule(session(), days=[7]), "schedule.conference.days[0]"),
        (schedule(day={"date": "2026-13-45"}), "schedule.conference.days[0].date"),
        (schedule(day={"day_start": 9}), "schedule.conference.days[0].day_start"),
        (schedule(day={"rooms": 5}), "schedule.conference.days[0].rooms"),
        (schedule(day={"rooms": ["Curie"]}), "schedule.conference.days[0].rooms[0]"),
        (schedule(day={"rooms": {"Curie": "x"}}), "schedule.conference.days[0].rooms['Curie']"),
        (schedule(day={"rooms": {"A b": [None]}}), "schedule.conference.days[0].rooms['A b'][0]"),
        (schedule(session(date="soon")), f"{IN_CURIE}.date"),
        (schedule(session(date=12)), f"{IN_CURIE}.date"),
        (schedule(session(date="1812-12-27T16:00:00Z")), f"{IN_CURIE}.date"),
        (schedule(session(date=None, start="4 pm")), f"{IN_CURIE}.start"),
        (schedule(session(duration="long")), f"{IN_CURIE}.duration"),
        (schedule(session(duration="00:75")), f"{IN_CURIE}.duration"),
        (schedule(session(duration=-5)), f"{IN_CURIE}.duration"),
        (schedule(session(duration=1e300)), f"{IN_CURIE}.duration"),
        (schedule(session(duration=True)), f"{IN_CURIE}.duration"),
        (schedule(session(duration={"hours": 1})), f"{IN_CURIE}.duration"),
        (schedule(session(title=["x"])), f"{IN_CURIE}.title"),
        (schedule(session(title=True)), f"{IN_CURIE}.title"),
        (schedule(session(abstract=["x"])), f"{IN_CURIE}.abstract"),
        (schedule(session(guid={"x": 1})), f"{IN_CURIE}.guid"),
        (schedule(session(persons=7)), f"{IN_CURIE}.persons"),
        (schedule(session(persons=[7])), f"{IN_CURIE}.persons[0]"),
        (schedule(session(persons=[{"id": [1], "name": "Ada"}])), f"{IN_CURIE}.persons[0].id"),
        (schedule(session(tags=[True])), f"{IN_CURIE}.tags[0]"),
        (schedule(session(duration=None, end="later")), f"{IN_CURIE}.end"),
    ],
)
def test_a_file_of_another_shape_names_the_path(document: Any, path: str) -> None:
    error = refused(json.dumps(document).encode())
    assert error.path == path
    assert error.problems[0].path == path
    assert str(error).startswith(f"{path}: " if path else "")


def test_a_problem_in_a_real_file_is_named_where_it_is() -> None:
    document = copy.deepcopy(DOCUMENTS["frab-camp2019.json"])
    document["schedule"]["conference"]["days"][1]["rooms"]["Curie"][3]["date"] = "2019-08-32T11:00:00+02:00"
    error = refused(json.dumps(document).encode())
    assert error.path == "schedule.conference.days[1].rooms['Curie'][3].date"
    assert len(error.problems) == 1


def test_every_problem_is_told_up_to_a_bound() -> None:
    broken = [session(guid=str(n), duration="x", date="y") for n in range(3)]
    assert len(refused(json.dumps(schedule(*broken)).encode()).problems) == 6
    error = refused(json.dumps(schedule(*broken * 20)).encode())
    assert len(error.problems) == MOST_PROBLEMS
    assert len(str(error).splitlines()) == MOST_PROBLEMS


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ('"title": "Opening"', '"title": "Opening", "title": "Closing"', f"{IN_CURIE}.title"),
        ('"Curie": [', '"Curie": [], "Curie": [', "schedule.conference.days[0].rooms['Curie']"),
        ('"acronym": "conf"', '"acronym": "conf", "acronym": "other"', "schedule.conference.acronym"),
    ],
)
def test_a_key_that_stands_twice_is_a_problem(old: str, new: str, path: str) -> None:
    text = json.dumps(schedule(session()))
    assert refused(text.replace(old, new).encode()).path == path


def test_a_key_that_stands_twice_with_one_value_is_none() -> None:
    text = json.dumps(schedule(session()))
    doubled = text.replace('"title": "Opening"', '"title": "Opening", "title": "Opening"')
    assert read_schedule(doubled.encode()).warnings == []


def test_size_and_depth_are_bounded() -> None:
    assert "bytes" in str(refused(b" " * (MAX_BYTES + 1)))
    for depth in (MAX_DEPTH + 1, 100_000):
        assert "nested deeper" in str(refused(b'{"a":' * depth + b"1" + b"}" * depth))
        assert "nested deeper" in str(refused(b"[" * depth + b"]" * depth))


def test_a_number_of_any_length_is_read() -> None:
    text = json.dumps(schedule(session(id="LONG"))).replace('"LONG"', "9" * 10_000)
    assert len(read_schedule(text.encode()).programme.sessions) == 1


junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["2026-12-27", "2026-12-27T25:00:00", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"]),
    st.sampled_from(["99:99", "1:2:3", "\ud800", "\x00", "https://[", "//", [], {}, [[]], {"en": {}}, [None], {"": 0}]),
    st.lists(st.integers() | st.none(), max_size=2),
    st.dictionaries(st.sampled_from(["name", "id", "en", "events", "x"]), st.integers() | st.text(max_size=3)),
)


def mutated(draw: st.DrawFn, value: Any) -> None:
    """Change one value somewhere in a document, in place."""
    while True:
        if isinstance(value, dict) and value:
            where: Any = draw(st.sampled_from(sorted(value)))
        elif isinstance(value, list) and value:
            where = draw(st.integers(0, len(value) - 1))
        else:
            return
        inner = value[where]
        if isinstance(inner, dict | list) and inner and draw(st.integers(0, 5)):
            value = inner
            continue
        match draw(st.sampled_from(["replace", "drop", "double"])):
            case "replace":
                value[where] = copy.deepcopy(draw(junk))
            case "drop":
                del value[where]
            case "double" if isinstance(value, list):
                value.append(copy.deepcopy(inner))
            case _:
                value[draw(st.sampled_from(["", "name", "id", "guid", "title"]))] = inner
        return


@st.composite
def small_documents(draw: st.DrawFn) -> Any:
    """A document of few real sessions with some changes."""
    document = copy.deepcopy(DOCUMENTS[draw(st.sampled_from(sorted(DOCUMENTS)))])
    conference = document["schedule"]["conference"]
    conference["days"] = conference["days"][:2]
    for day in conference["days"]:
        for name in day["rooms"]:
            day["rooms"][name] = day["rooms"][name][:2]
    for _ in range(draw(st.integers(1, 6))):
        mutated(draw, document)
    return document


def outcome(data: bytes) -> Reading | ScheduleError:
    """What comes of a file: any other exception fails the test."""
    try:
        return read_schedule(data)
    except ScheduleError as error:
        return error


def reads_or_tells(data: bytes) -> None:
    """What is read can be imported twice; what is not tells its problems, each on one line."""
    found = outcome(data)
    if isinstance(found, ScheduleError):
        assert 1 <= len(found.problems) <= MOST_PROBLEMS
        assert all(str(problem) and "\n" not in str(problem) for problem in found.problems)
        return
    assert inconsistencies(found.programme) == []
    plain = msgspec.json.decode(msgspec.json.encode(import_arguments(found)))
    assert msgspec.convert(check(plain), ImportProgramme).programme == found.programme
    desk = Desk()
    imported(desk, found.programme)
    assert planned(desk, found.programme).operations == []


relaxed = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])


@relaxed
@given(small_documents())
def test_a_mutated_document_reads_or_is_refused(document: Any) -> None:
    reads_or_tells(json.dumps(document).encode())


@relaxed
@given(st.sampled_from(sorted(TEXTS)), st.data())
def test_a_mutated_file_reads_or_is_refused(name: str, data: st.DataObject) -> None:
    content = bytearray(TEXTS[name].encode()[: data.draw(st.integers(0, 20_000))])
    content += data.draw(st.sampled_from([b"", b"]}]}]}}}", b"}]}}]}}}"]))
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    reads_or_tells(bytes(content))


@given(st.binary(max_size=200))
def test_any_bytes_read_or_are_refused(data: bytes) -> None:
    reads_or_tells(data)
