"""What steps, views, aggregates and what is included cost: no table is walked through, on either database.

On SQLite its own plan says so of each statement. On MariaDB everything is asked of a keeper, and each statement that
reached the server is explained, run again, and the rows counted that it looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
from collections.abc import Awaitable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import event as engine_event

from hub.schema.query import Include, Query, parse_order
from hub.schema.registry import Registry
from hub.schema.totals import parse_aggregate
from hub.schema.where import Compare, parse_where
from hub.schema.writes import Commit, Create
from hub.wire.names import public_ids
from storage.base import Storage
from storage.mariadb.keeper import MariadbStorage
from storage.sql.connection import open_reader
from storage.sql.sqlite import SqliteStorage
from storage.sql.statements import Statements
from storage.sql.tables import Tables
from tests.storage.mariadb_server import MariadbServer
from tests.storage.test_plans import costs_on_mariadb

REGISTRY = Registry.of(["hub.schema.core", "packs.events"])
STATEMENTS = Statements(REGISTRY, Tables(REGISTRY))
EVENTS, SESSIONS = 40, 50
ROWS = 1500
"""How many rows a statement may look at on MariaDB, where there are 2,000 sessions, people and contacts."""
FILTERS: list[tuple[str, dict[str, Any], str | None, str]] = [
    ("event_session", {"parent": {"acronym": "e3"}}, None, ""),
    ("event_session", {"location": {"parent": {"acronym": "e3"}, "name": "R1"}}, None, ""),
    ("event_session", {"parent": {"acronym": {"$in": ["e3", "e4"]}}, "$not": {"location": {"name": "R1"}}}, None,
     "event_location"),
    ("event", {"children": {"type": "event_session", "$some": {"guid": "3-4"}}}, None, "event"),
    ("event_session", {"parent": {"acronym": "e3"}, "presenter_names": {"$has": "P1"}}, "programme", "event_person"),
    ("event_session", {"parent": {"acronym": "e3"}, "location_name": {"$ne": "R1"}}, "programme", "event_location"),
    ("event_contact", {"for_id": "AAAAAAAAAAA"}, None, ""),
]  # fmt: skip
"""Type, filter, view, and the table of which the records of an account are gone through, because they are filtered by
a field that no index of an account begins with."""
DROPPED = {
    "event": ("event_acronym_once",),
    "event_presenter": ("event_presenter_session_id", "event_presenter_person_id"),
    "event_contact": ("event_contact_for_id_kind_value_once",),
}
"""Indexes by table, without which one of the filters goes through more."""
GROUPS = (None, "language", "location_id", "event_id")


async def fill(storage: Storage) -> None:
    """Write 40 events of 50 sessions each, presented by two people each, in five rooms."""
    ids = public_ids(Random("plans").randbytes(8 * EVENTS * (SESSIONS * 5 + 10)))

    def new(name: str, parent: str | None, /, **data: Any) -> Create:
        known = REGISTRY.types[name]
        return Create(known, ids.pop(), known.accept_create(data), parent)

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


# -- SQLite ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the events."""
    path = tmp_path_factory.mktemp("plans") / "hub.db"

    async def run() -> None:
        storage = SqliteStorage(REGISTRY, path, lambda: "2026-11-21T08:00:00.000Z", durability="normal")
        await storage.start()
        await fill(storage)
        await storage.close()

    asyncio.run(run())
    return path


def walked(file: Path, sql: str, arguments: Any) -> list[str]:
    """Return the tables that a statement walks through from end to end."""
    connection = open_reader(file)
    try:
        plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", arguments)]
    finally:
        connection.close()
    # What is searched by its account alone is walked through, as far as one account goes.
    tables = [line.split()[1] for line in plan if line.startswith("SCAN ") or line.endswith("(account_pk=?)")]
    return [bare for name in tables if (bare := name.rstrip("_0123456789")) in REGISTRY.types]


def query_of(kind: str, where: dict[str, Any], order: list[str] | None = None, view: str | None = None) -> Query:
    """Return the query of a find."""
    known = REGISTRY.types[kind]
    sight = REGISTRY.view(known, view) if view else None
    node = parse_where(known, where, reach=REGISTRY, view=sight)
    return Query(known, node, parse_order(known, order, view=sight), 50, view=sight)


def found(kind: str, where: dict[str, Any], order: list[str] | None = None, view: str | None = None) -> tuple[str, Any]:
    """Return the statement of a find and its parameters."""
    return STATEMENTS.compilers[kind].find(query_of(kind, where, order, view), 1, 51, whole=True)


@pytest.mark.parametrize(("kind", "where", "view", "through"), FILTERS)
def test_a_filter_with_steps_walks_through_no_table(
    file: Path, kind: str, where: dict[str, Any], view: str | None, through: str
) -> None:
    assert set(walked(file, *found(kind, where, view=view))) <= {through}


@pytest.mark.parametrize("after", [None, ("AAAAAAAAAAA",)])
@pytest.mark.parametrize(
    ("kind", "where", "sorted_again"),
    [
        ("event_session", {}, False),
        ("event_session", {"title": "S1"}, False),
        ("event_session", {"event_id": "AAAAAAAAAAA"}, False),
        ("event_session", {"parent": {"acronym": "e3"}}, True),
        ("event_session", {"event_id": {"$in": ["AAAAAAAAAAA", "BBBBBBBBBBB"]}}, True),
        ("event_session", {"$or": [{"location_id": "AAAAAAAAAAA"}, {"parent": {"acronym": "e3"}}]}, True),
        ("event_session", {"$or": [{"location_id": "AAAAAAAAAAA"}, {"title": "S1"}]}, False),
        ("event", {"acronym": {"$in": ["e1", "e3"]}}, True),
    ],
)
def test_the_order_of_the_ids_is_walked_unless_an_index_finds_few(
    file: Path, kind: str, where: dict[str, Any], sorted_again: bool, after: tuple[str] | None
) -> None:
    sql, arguments = STATEMENTS.compilers[kind].find(replace(query_of(kind, where), after=after), 1, 51, whole=True)
    connection = open_reader(file)
    plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", arguments)]
    connection.close()
    assert ("USE TEMP B-TREE FOR ORDER BY" in plan) == sorted_again, plan
    assert not [line for line in plan if line.startswith(f"SCAN {kind} ")]


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
    for group in GROUPS:
        aggregate = parse_aggregate(known, node, group, {"n": "count"}, frozenset(), 100)
        assert walked(file, *STATEMENTS.totals["event_session"].statement(aggregate, 1)) == []


def test_a_table_that_is_walked_through_would_be_noticed(file: Path) -> None:
    sql = "SELECT count(*) FROM event_session AS event_session_1 WHERE title = 'S1'"
    assert walked(file, sql, ()) == ["event_session"]


@pytest.mark.parametrize("table", DROPPED)
def test_without_its_index_a_table_is_walked_through(file: Path, tmp_path: Path, table: str) -> None:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("VACUUM INTO ?", (str(tmp_path / "worse.db"),))
    with contextlib.closing(sqlite3.connect(tmp_path / "worse.db")) as connection:
        for index in DROPPED[table]:
            connection.execute(f"DROP INDEX {index}")
    worse = [
        set(walked(tmp_path / "worse.db", *found(kind, where, view=view))) - {through}
        for kind, where, view, through in FILTERS
    ]
    assert any(worse)


# -- MariaDB --------------------------------------------------------------------------------------------------------


def questions(storage: MariadbStorage) -> Iterator[tuple[str, Awaitable[Any]]]:
    """Yield everything that leads from records to others, each with the table that it goes through."""
    for kind, where, view, through in FILTERS:
        query = query_of(kind, where, view=view)
        yield through, storage.find("main", query)
        yield through, storage.find("main", replace(query, count=True))
    for order in (["location_name"], ["-event_title", "title"]):
        yield "", storage.find("main", query_of("event_session", {"parent": {"acronym": "e3"}}, order, "programme"))
    types = REGISTRY.types
    along = (
        Include("parent", types["event"], "event_id", "id"),
        Include("location", types["event_location"], "location_id", "id"),
    )
    below = tuple(
        Include(name, types[name], "id", "event_id", 5) for name in ("event_session", "event_track", "event_location")
    )
    yield "", storage.find("main", replace(query_of("event_session", {"parent": {"acronym": "e3"}}), include=along))
    yield "", storage.find("main", replace(query_of("event", {"acronym": {"$in": ["e3", "e4"]}}), include=below))
    sessions = types["event_session"]
    node = parse_where(sessions, {"parent": {"acronym": "e3"}}, reach=REGISTRY)
    for group in GROUPS:
        yield "", storage.aggregate("main", parse_aggregate(sessions, node, group, {"n": "count"}, frozenset(), 100))


async def test_no_relation_on_mariadb_goes_through_a_table(mariadb: MariadbServer) -> None:
    name = mariadb.new_database()
    storage = MariadbStorage(REGISTRY, mariadb.url(name), lambda: "2026-11-21T08:00:00.000Z", durability="normal")
    seen: dict[str, tuple[Any, ...]] = {}
    allowed: dict[str, set[str]] = {}
    tables = {kind for kind in REGISTRY.types if kind.startswith("event")}
    through = ""

    def note(connection: Any, cursor: Any, statement: str, arguments: Any, context: Any, many: bool) -> None:
        if re.match(r"\(*(SELECT|WITH)\b", statement):
            seen[statement] = tuple(arguments)
            allowed.setdefault(statement, {through})

    await storage.start()
    try:
        await fill(storage)
        engine_event.listen(storage._engine.sync_engine, "before_cursor_execute", note)
        for through, question in questions(storage):  # noqa: B007  # read by `note`
            await question
    finally:
        await storage.close()
    assert len(seen) > 30

    def wrong() -> dict[str, tuple[list[str], int]]:
        """Return the statements that go through more than they may, with what they go through."""
        costs = costs_on_mariadb(mariadb, name, seen, tables)
        return {t: (walks, rows) for t, (walks, rows) in costs.items() if set(walks) - allowed[t] or rows > ROWS}

    assert await asyncio.to_thread(wrong) == {}
    # The negative control: without one of its indexes a step goes through a table.
    for table, indexes in DROPPED.items():
        mariadb.run(*(f"ALTER TABLE {table} ALTER INDEX {index} IGNORED" for index in indexes), database=name)
        assert await asyncio.to_thread(wrong) != {}, table
        mariadb.run(*(f"ALTER TABLE {table} ALTER INDEX {index} NOT IGNORED" for index in indexes), database=name)
