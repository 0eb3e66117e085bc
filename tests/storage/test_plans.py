"""No statement that the keepers make by themselves goes through a table: each is a search, on both databases.

Everything that a keeper is asked, and what it does by itself, is done once; each statement that reaches the database is
then explained by it. What a find filters and sorts by is up to whoever asks: here it is what is declared as an index.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pymysql
import pytest
from sqlalchemy import event

from hub.schema.query import ById, Query, SortKey, key_values
from hub.schema.where import equals, parse_where
from hub.schema.writes import (
    Delete,
    DeleteWhere,
    KeyClaim,
    Move,
    Restore,
    Revert,
    Update,
    UpdateWhere,
)
from hub.wire.errors import HubError
from storage.mariadb.keeper import MariadbStorage
from storage.sql.connection import open_writer
from storage.sql.sqlite import SqliteStorage
from tests.storage.declared import Use, address, box, flag, item, person, registry, sticker, tag, ticking, tray
from tests.storage.mariadb_server import MariadbServer
from tests.storage.test_sqlite_file import on_writer

TABLES = {"account_state", "change", "idempotency", *registry.types}
FAR = 480
STEPS = 400
"""How many tens of steps a statement may take on SQLite; going through an account takes several times as many."""
ROWS = 300
"""How many rows a statement may look at on MariaDB; an account has twice as many or more of each type."""
LIST = "SELECT account_state.account_pk \nFROM account_state"
"""How pruning begins: with the list of accounts."""


async def fill(use: Use) -> None:
    """Put some thousand records into three accounts."""
    owner = await use.create(person, account="system", name="x", digest="d")
    await use.commit(*(use.new(person, name=f"{n}", digest=f"{n}") for n in range(1000)), account="system")
    for account in ("other", "main", "another"):
        boxes = [use.new(box, name=f"box {n}") for n in range(600)]
        await use.commit(*boxes, account=account)
        for start in range(0, 600, 50):
            writes: list[Any] = []
            for n, parent in enumerate(boxes[start : start + 50], start):
                made = use.new(
                    item, parent.id, code="a", at=f"2026-11-{n % 28 + 1:02}T10:00:00.000Z", other_id=parent.id
                )
                writes += [made, use.new(item, parent.id, code="b", owner_id=owner["id"] if n < 3 else None)]
                writes += [use.new(address, text=f"{n}", for_type="item", for_id=made.id)] if n % 2 else []
                writes += [use.new(flag, parent.id, for_type="item", for_id=made.id)] if n % 2 else []
                writes += [use.new(sticker, made.id), use.new(tray, parent.id, item_id=made.id if n < 3 else None)]
            await use.commit(*writes, account=account)


async def everything(use: Use) -> None:
    """Ask for everything a keeper offers, in account `main`."""
    storage = use.storage
    first, second, third = [(await use.find(box, {"name": f"box {n}"})).records[0]["id"] for n in range(3)]
    items = (await use.find(item, {"box_id": first}, order=["code"])).records
    made = await use.create(box, name="new", note="n")
    child = await use.create(item, made["id"], code="c", other_id=made["id"])
    await use.commit(use.upsert(box, ("name",), name="new", note="m"), key=KeyClaim("user", "k", b"k"))
    await storage.repeated("main", KeyClaim("user", "k", b"k"))
    await use.commit(Update(box, made["id"], {"note": "o"}, if_version=2), Update(item, child["id"], {"amount": 1}))
    await use.commit(Move(item, child["id"], second))
    await use.commit(Revert(box, made["id"], 1, ("note",)))
    await use.delete(item, child["id"])
    await use.commit(Restore(item, child["id"]))
    await use.commit(use.new(tray, third), use.new(tray, third))
    await use.commit(DeleteWhere(item, parse_where(item, {"box_id": first, "code": "b"}), 10))
    await use.commit(UpdateWhere(item, parse_where(item, {"box_id": first}), {"amount": 3}, 10))
    await use.commit(Delete(item, items[1]["id"], hard=True))
    await use.commit(Delete(item, child["id"], hard=True))
    await storage.get("main", box, [first, second])
    await storage.changes("main", await use.seq() - 5, 10)
    await storage.history("main", box, made["id"], None, 10)
    await storage.history("main", box, second, None, 10)
    await storage.heads(["main", "other"])
    await storage.lookup(person, "digest", "d")
    await storage.probe()
    await storage.probe_writing()
    below, by_time = equals(item, "box_id", second), (SortKey("at"), SortKey("id"))
    for query in (
        Query(box, limit=20),
        Query(box, limit=20, order=(SortKey("id", descending=True),)),
        Query(item, below, limit=20),
        Query(item, limit=20, order=by_time),
        Query(item, limit=20, order=tuple(SortKey(key.field, descending=True) for key in by_time)),
        Query(item, parse_where(item, {"at": {"$gte": "2026-11-20T00:00:00.000Z"}}), by_time, 20),
        Query(item, parse_where(item, {"other_id": second}), ById, 20),
        Query(item, parse_where(item, {"owner_id": {"$ne": None}, "id": child["id"]}), ById, 20),
    ):
        for limit in (20, FAR):  # a page behind the first, and one far behind it
            found = (await storage.find("main", replace(query, limit=limit))).records
            if found:
                await storage.find("main", replace(query, after=key_values(found[-1], query.order)))
    await storage.prune("2000-01-01T00:00:00.000Z", 10)
    await storage.prune("2999-01-01T00:00:00.000Z", 1)


# -- SQLite ---------------------------------------------------------------------------------------------------------


def costs_on_sqlite(path: Path, statements: set[str]) -> dict[str, tuple[list[str], int]]:
    """Return of each statement what its plan goes through, and how many tens of steps it takes; nothing is kept."""
    connection = open_writer(path, "normal", 1000)
    connection.execute("PRAGMA foreign_keys = OFF")  # as where rows are removed; see the test of how long that takes
    steps = 0

    def tick() -> int:
        nonlocal steps
        steps += 1
        return 0

    found: dict[str, tuple[list[str], int]] = {}
    connection.set_progress_handler(tick, 10)
    try:
        for text in statements:
            plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")]
            through = [step for step in plan if (scan := re.match(r"SCAN (\w+)(?= |$)", step)) and scan[1] in TABLES]
            connection.execute("BEGIN")
            steps = 0
            with contextlib.suppress(sqlite3.IntegrityError):  # it is done already
                connection.execute(text).fetchall()
            found[text] = (through, steps)
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    finally:
        connection.close()
    return found


async def statements_of_sqlite(path: Path) -> set[str]:
    """Do everything over a filled file, and return each statement with its values."""
    use = Use(SqliteStorage(registry, path, ticking(), durability="normal", readers=1))
    await use.storage.start()
    seen: list[str] = []
    try:
        await fill(use)
        writer, readers = use.storage._writer, use.storage._readers  # type: ignore[attr-defined]
        writer._connection.set_trace_callback(seen.append)
        await readers.ask(lambda connection: connection.set_trace_callback(seen.append))
        await everything(use)
    finally:
        await use.storage.close()
    return {t for t in seen if re.match(r"(SELECT|INSERT|UPDATE|DELETE)\b", t) and f"LIMIT {FAR + 1}" not in t}


async def test_no_statement_on_sqlite_goes_through_a_table(tmp_path: Path) -> None:
    statements = await statements_of_sqlite(tmp_path / "hub.sqlite")
    assert len(statements) > 60
    costs = await asyncio.to_thread(costs_on_sqlite, tmp_path / "hub.sqlite", statements)
    assert {text: through for text, (through, _) in costs.items() if through and not text.startswith(LIST)} == {}
    assert {text: steps for text, (_, steps) in costs.items() if steps > STEPS} == {}

    # The negative control: without its index a question goes through a table, or through an account.
    def worse() -> dict[str, tuple[list[str], int]]:
        with contextlib.closing(sqlite3.connect(tmp_path / "hub.sqlite")) as connection:
            for index in ("item_other_id", "change_of", "box_name_once"):
                connection.execute(f"DROP INDEX {index}")
        return costs_on_sqlite(tmp_path / "hub.sqlite", statements)

    costs = await asyncio.to_thread(worse)
    slow = {table for t, (_, n) in costs.items() if n > STEPS for table in re.findall(r"WHERE (\w+)\.account_pk", t)}
    assert {"box", "change", "item"} <= slow


async def steps_of_removal(path: Path, count: int) -> int:
    """Return how many thousands of steps it takes to remove a box with so many trays, each with a tag."""
    steps = 0

    def tick() -> int:
        nonlocal steps
        steps += 1
        return 0

    use = Use(SqliteStorage(registry, path, ticking(), durability="normal"))
    await use.storage.start()
    try:
        boxes = [await use.create(box, name=f"{n}") for n in range(2)]
        for each in boxes:
            trays = [use.new(tray, each["id"]) for _ in range(count)]
            await use.commit(*trays, *(use.new(tag, made.id) for made in trays))
        connection = use.storage._writer._connection  # type: ignore[attr-defined]
        connection.set_progress_handler(tick, 1000)
        await use.commit(Delete(box, boxes[0]["id"], hard=True))
        connection.set_progress_handler(None, 0)
        assert len((await use.find(tag)).records) == count
    finally:
        await use.storage.close()

    def broken() -> list[Any]:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            return connection.execute("PRAGMA foreign_key_check").fetchall()

    assert await asyncio.to_thread(broken) == []
    return steps


async def test_what_goes_with_a_record_is_removed_in_proportion(tmp_path: Path) -> None:
    few, many = [await steps_of_removal(tmp_path / f"{n}.db", n) for n in (200, 800)]
    assert many < 6 * few


async def test_the_writer_holds_references_again_after_a_removal(tmp_path: Path) -> None:
    use = Use(SqliteStorage(registry, tmp_path / "hub.db", ticking(), durability="normal"))
    await use.storage.start()
    try:
        made = await use.create(box, name="a")
        with pytest.raises(HubError, match=r"record\.not_found"):
            await use.commit(Delete(box, made["id"], hard=True), Delete(box, "nothing", hard=True))
        await use.commit(Delete(box, made["id"], hard=True))
        held: list[Any] = []
        await on_writer(use, lambda connection: held.extend(connection.execute("PRAGMA foreign_keys").fetchone()))
        assert held == [1]
    finally:
        await use.storage.close()


# -- MariaDB --------------------------------------------------------------------------------------------------------


def costs_on_mariadb(
    server: MariadbServer, name: str, statements: dict[str, tuple[Any, ...]], tables: set[str]
) -> dict[str, tuple[list[str], int]]:
    """Return of each statement which of the tables its plan goes through, and how many rows it looks at.

    Nothing is kept.
    """
    found: dict[str, tuple[list[str], int]] = {}
    with server.connect(name) as connection, connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ANALYZE TABLE `{table}` PERSISTENT FOR ALL")
        for text, arguments in statements.items():
            cursor.execute(f"EXPLAIN {text}", arguments)
            through = [
                bare
                for row in cursor.fetchall()
                if row[3] in {"ALL", "index"} and (bare := re.sub(r"_\d+$", "", row[2] or "")) in tables
            ]
            connection.begin()
            cursor.execute("FLUSH STATUS")
            with contextlib.suppress(pymysql.err.IntegrityError):  # it is done already
                cursor.execute(text, arguments)
            cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
            found[text] = (through, sum(int(row[1]) for row in cursor.fetchall()))
            connection.rollback()
    return found


async def statements_of_mariadb(server: MariadbServer, name: str) -> dict[str, tuple[Any, ...]]:
    """Do everything over a filled database, and return the statements, each with values it was run with."""
    storage = MariadbStorage(registry, server.url(name), ticking(), durability="normal")
    use = Use(storage)
    await storage.start()
    seen: dict[str, tuple[Any, ...]] = {}

    def note(connection: Any, cursor: Any, statement: str, arguments: Any, context: Any, many: bool) -> None:
        given = tuple(arguments[0] if many else arguments)
        if re.match(r"(SELECT|UPDATE|DELETE)\b", statement) and " FROM meta" not in statement and FAR + 1 not in given:
            seen[statement] = given

    try:
        await fill(use)
        event.listen(storage._engine.sync_engine, "before_cursor_execute", note)
        await everything(use)
    finally:
        await storage.close()
    return seen


async def test_no_statement_on_mariadb_goes_through_a_table(mariadb: MariadbServer) -> None:
    name = mariadb.new_database()
    statements = await statements_of_mariadb(mariadb, name)
    assert len(statements) > 40
    costs = await asyncio.to_thread(costs_on_mariadb, mariadb, name, statements, TABLES)
    assert {text: through for text, (through, _) in costs.items() if through and not text.startswith(LIST)} == {}
    assert {text: rows for text, (_, rows) in costs.items() if rows > ROWS} == {}
    # The negative control, as on SQLite.
    drops = [("item", "item_other_id"), ("change", "change_of"), ("box", "box_name_once")]
    mariadb.run(*(f"DROP INDEX {index} ON `{table}`" for table, index in drops), database=name)
    costs = await asyncio.to_thread(costs_on_mariadb, mariadb, name, statements, TABLES)
    slow = {table for t, (_, n) in costs.items() if n > ROWS for table in re.findall(r"WHERE `?(\w+)`?\.account_pk", t)}
    assert {"box", "change", "item"} <= slow
