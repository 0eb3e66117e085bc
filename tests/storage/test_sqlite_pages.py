"""A page costs the same wherever it stands: SQLite's own plan and its steps say so, so no clock is asked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from hub.schema.query import Query, key_values, parse_order, sort_images
from hub.schema.record import Image
from hub.schema.registry import Registry
from hub.schema.where import EVERYTHING, Node, equals
from hub.schema.writes import Commit, Create
from hub.wire.names import public_ids
from storage.sql.connection import open_reader
from storage.sql.rows import decode_json
from storage.sql.sqlite import SqliteStorage
from storage.sql.statements import Statements
from storage.sql.tables import Tables

REGISTRY = Registry.of(["hub.schema.core", "packs.events"])
EVENT, SESSION, TRACK = (REGISTRY.types[name] for name in ("event", "event_session", "event_track"))
STATEMENTS = Statements(REGISTRY, Tables(REGISTRY))
COUNT = 3_000
PAGE = 50
NOW = "2026-11-21T08:00:00.000Z"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with one event of 3,000 sessions: a third has no time, a third the same time."""
    path = tmp_path_factory.mktemp("pages") / "hub.db"

    async def fill() -> None:
        storage = SqliteStorage(REGISTRY, path, lambda: NOW)
        await storage.start()
        ids = public_ids(Random("pages").randbytes(8 * (COUNT + 1)))
        event = ids.pop()
        writes = [Create(EVENT, event, EVENT.accept_create({"title": "Many"}))]
        for n, rec in enumerate(ids):
            time = [None, "2026-11-21T10:00:00.000Z", f"2026-12-{n % 28 + 1:02}T{n % 24:02}:{n % 60:02}:00.000Z"][n % 3]
            data = SESSION.accept_create({"title": f"Talk {n % 40}", "starts_at": time})
            writes.append(Create(SESSION, rec, data, event))
        for start in range(0, len(writes), 1000):
            await storage.submit(Commit("main", tuple(writes[start : start + 1000])))
        await storage.close()

    asyncio.run(fill())
    return path


def _below(file: Path) -> Node:
    connection = open_reader(file)
    (event,) = connection.execute("SELECT id FROM event").fetchone()
    connection.close()
    return equals(SESSION, "event_id", event)


def _page(file: Path, query: Query) -> tuple[list[Image], int, list[str]]:
    """Return a page, how many tens of steps SQLite took for it, and its plan."""
    connection = open_reader(file)
    steps = 0

    def tick() -> int:
        nonlocal steps
        steps += 1
        return 0

    (account,) = connection.execute("SELECT account_pk FROM account_state").fetchone()
    sql, arguments = STATEMENTS.compilers[query.type.name].find(query, account, PAGE, whole=True)
    plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", arguments)]
    connection.set_progress_handler(tick, 10)
    (_, _, text) = connection.execute(sql, arguments).fetchone()
    connection.close()
    rows = STATEMENTS.rows[query.type.name]
    return [rows.image(row, "main") for row in decode_json(f"[{text or ''}]")], steps, plan


@pytest.mark.parametrize("order", [None, ["starts_at"], ["-starts_at", "-id"]])
def test_the_last_page_takes_no_more_steps_than_the_first(file: Path, order: list[str] | None) -> None:
    keys = parse_order(SESSION, order)
    where = _below(file)
    found: list[Image] = []
    steps: list[int] = []
    query = Query(SESSION, where, keys, PAGE)
    while True:
        page, taken, plan = _page(file, query)
        if not page:
            break
        # One walk, unless nulls may stand behind the place or are what it stands on.
        assert "SCAN chosen" not in plan or keys[0].descending or None in (query.after or ())
        chosen = plan[: plan.index("SCAN chosen")] if "SCAN chosen" in plan else plan
        assert [line for line in chosen if "TEMP B-TREE" in line or line.startswith("SCAN event_session")] == []
        found += page
        steps.append(taken)
        query = Query(SESSION, where, keys, PAGE, key_values(page[-1], keys))
    assert [image["id"] for image in found] == [image["id"] for image in sort_images(found, keys)]
    assert len({image["id"] for image in found}) == COUNT
    assert max(steps[1:]) <= steps[1] * 1.2
    assert max(steps) <= steps[0] * 1.6  # the first page has no place to begin behind, nor anything beside it


def test_an_order_without_an_index_is_seen_by_the_same_measure(file: Path) -> None:
    """The negative control: such an order is allowed, and every page of it goes through all records."""
    keys = parse_order(SESSION, ["title"])
    _, indexed, _ = _page(file, Query(SESSION, _below(file), parse_order(SESSION, None), PAGE))
    _, taken, plan = _page(file, Query(SESSION, _below(file), keys, PAGE))
    assert taken > indexed * 5
    assert any("TEMP B-TREE" in line for line in plan[: plan.index("SCAN chosen")])


def test_a_type_without_parent_is_read_in_the_order_of_its_ids_by_an_index(file: Path) -> None:
    _, _, plan = _page(file, Query(EVENT, EVERYTHING, parse_order(EVENT, None), PAGE))
    assert "SEARCH event USING INDEX event_ids (account_pk=?)" in plan
