"""What steps, views, aggregates and what is included cost: SQLite's own plan says that no table is walked through."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest

from hub.schema.query import Query, parse_order
from hub.schema.registry import Registry
from hub.schema.totals import parse_aggregate
from hub.schema.where import Compare, parse_where
from hub.schema.writes import Commit, Create
from hub.wire.names import public_ids
from storage.sql.connection import open_reader
from storage.sql.sqlite import SqliteStorage
from storage.sql.statements import Statements
from storage.sql.tables import Tables

REGISTRY = Registry.of(["hub.schema.core", "packs.events"])
STATEMENTS = Statements(REGISTRY, Tables(REGISTRY))
EVENTS, SESSIONS = 40, 50


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with 40 events of 50 sessions each, presented by two people each, in five rooms."""
    path = tmp_path_factory.mktemp("plans") / "hub.db"
    ids = public_ids(Random("plans").randbytes(8 * EVENTS * (SESSIONS * 5 + 10)))

    def new(name: str, parent: str | None, /, **data: Any) -> Create:
        known = REGISTRY.types[name]
        return Create(known, ids.pop(), known.accept_create(data), parent)

    async def fill() -> None:
        storage = SqliteStorage(REGISTRY, path, lambda: "2026-11-21T08:00:00.000Z", durability="normal")
        await storage.start()
        for n in range(EVENTS):
            event = new("event", None, title=f"E{n}", acronym=f"e{n}")
            rooms = [new("event_location", event.id, name=f"R{k}") for k in range(5)]
            people = [new("event_person", event.id, name=f"P{k}", source_id=f"{k}") for k in range(SESSIONS)]
            talks = [
                new("event_session", event.id, title=f"S{k}", guid=f"{n}-{k}", location_id=rooms[k % 5].id)
                for k in range(SESSIONS)
            ]
            given = [
                new("event_presenter", event.id, session_id=talks[k].id, person_id=people[(k + m) % SESSIONS].id)
                for k in range(SESSIONS)
                for m in range(2)
            ]
            contacts = [
                new("event_contact", None, kind="email", value="x", for_type="event_person", for_id=one.id)
                for one in people
            ]
            await storage.submit(Commit("main", (event, *rooms, *people, *talks, *given, *contacts)))
        await storage.close()

    asyncio.run(fill())
    return path


def walked(file: Path, sql: str, arguments: Any) -> list[str]:
    """Return the tables that a statement walks through from end to end."""
    connection = open_reader(file)
    try:
        plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", arguments)]
    finally:
        connection.close()
    tables = [line.split()[1] for line in plan if line.startswith("SCAN ")]
    return [name for name in tables if name.rstrip("_0123456789") in REGISTRY.types]


def found(kind: str, where: dict[str, Any], order: list[str] | None = None, view: str | None = None) -> tuple[str, Any]:
    """Return the statement of a find and its parameters."""
    known = REGISTRY.types[kind]
    sight = REGISTRY.view(known, view) if view else None
    node = parse_where(known, where, reach=REGISTRY, view=sight)
    query = Query(known, node, parse_order(known, order, view=sight), 50, view=sight)
    return STATEMENTS.compilers[kind].find(query, 1, 51, whole=True)


@pytest.mark.parametrize(
    ("kind", "where", "view"),
    [
        ("event_session", {"parent": {"acronym": "e3"}}, None),
        ("event_session", {"location": {"parent": {"acronym": "e3"}, "name": "R1"}}, None),
        ("event_session", {"parent": {"acronym": {"$in": ["e3", "e4"]}}, "$not": {"location": {"name": "R1"}}}, None),
        ("event", {"children": {"type": "event_session", "$some": {"guid": "3-4"}}}, None),
        ("event_session", {"parent": {"acronym": "e3"}, "presenter_names": {"$has": "P1"}}, "programme"),
        ("event_session", {"parent": {"acronym": "e3"}, "location_name": {"$ne": "R1"}}, "programme"),
        ("event_contact", {"for_id": "AAAAAAAAAAA"}, None),
    ],
)
def test_a_filter_with_steps_walks_through_no_table(
    file: Path, kind: str, where: dict[str, Any], view: str | None
) -> None:
    assert walked(file, *found(kind, where, view=view)) == []


def test_what_a_view_and_children_read_is_looked_up(file: Path) -> None:
    """The questions that `storage.related` asks for a page: what points to its records, and what they point to."""
    for kind, wire in (("event_presenter", "session_id"), ("event_session", "event_id"), ("event_track", "event_id")):
        known = REGISTRY.types[kind]
        query = Query(known, Compare(wire, "ref", "in", ("a", "b")), parse_order(known, None), 50)
        assert walked(file, *STATEMENTS.compilers[kind].find(query, 1, 51, whole=True)) == []
    people = REGISTRY.types["event_person"]
    query = Query(people, Compare("id", "id", "in", ("a", "b")), limit=2)
    assert walked(file, *STATEMENTS.compilers["event_person"].find(query, 1, 3, whole=True)) == []


def test_a_sort_by_a_joined_field_looks_the_other_records_up(file: Path) -> None:
    for order in (["location_name"], ["-event_title", "title"]):
        statement = found("event_session", {"parent": {"acronym": "e3"}}, order, "programme")
        assert walked(file, *statement) == []


def test_an_aggregate_of_some_records_walks_through_no_table(file: Path) -> None:
    known = REGISTRY.types["event_session"]
    node = parse_where(known, {"parent": {"acronym": "e3"}}, reach=REGISTRY)
    for group in (None, "language", "location_id", "event_id"):
        aggregate = parse_aggregate(known, node, group, {"n": "count"}, frozenset(), 100)
        assert walked(file, *STATEMENTS.totals["event_session"].statement(aggregate, 1)) == []


def test_a_table_that_is_walked_through_would_be_noticed(file: Path) -> None:
    sql = "SELECT count(*) FROM event_session AS event_session_1 WHERE title = 'S1'"
    assert walked(file, sql, ()) == ["event_session_1"]
