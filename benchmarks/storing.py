"""One run against a database without a socket, in a process of its own: `python -m benchmarks.storing WHAT FOLDER`.

Prints one line of JSON: messages, seconds, CPU seconds of the process. What runs is the hub's own keeper, or what one
would write instead: an async ORM session or an async Core connection for each request, or the bare driver.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import resource
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvloop
from sqlalchemy import event, insert, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

import storage.mariadb.writer
import storage.sql.writer
from benchmarks.naive import Base, Talk
from hub.app import GC_THRESHOLDS
from hub.schema.query import Query, SortKey, key_values, parse_order
from hub.schema.registry import Registry
from hub.schema.times import format_time
from hub.schema.where import equals
from hub.schema.writes import Commit, Create
from hub.wire.names import public_id
from storage.base import Storage
from storage.mariadb.keeper import MariadbStorage
from storage.sql.connection import Durability
from storage.sql.sqlite import SqliteStorage

REGISTRY = Registry.of(["hub.schema.core", "packs.events", "benchmarks.talks"])
EVENT, NOTE, SESSION = (REGISTRY.types[name] for name in ("event", "bench_note", "event_session"))
ROWS = 10_000
"""Among how many rows one is got."""
_random = random.Random(1)


def clock() -> str:
    """Return the time in wire form."""
    return format_time(datetime.now(UTC))


def cpu() -> float:
    """Return the CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measured(
    many: int, seconds: float, one: Callable[[], Awaitable[object]], latencies: list[float] | None = None
) -> dict[str, Any]:
    """Call `one` for some time, `many` at once; how many seconds each took is added to `latencies`."""
    count, until = 0, time.perf_counter() + seconds

    async def client() -> None:
        nonlocal count
        while (asked := time.perf_counter()) < until:
            await one()
            count += 1
            if latencies is not None:
                latencies.append(time.perf_counter() - asked)

    begun, used = time.perf_counter(), cpu()
    await asyncio.gather(*(client() for _ in range(many)))
    taken: dict[str, Any] = {"messages": count, "seconds": time.perf_counter() - begun, "cpu": cpu() - used}
    return taken if latencies is None else taken | {"latencies": latencies}


def new_id() -> str:
    """Return a public id."""
    return public_id(_random.randbytes(8))


async def _creating(keeper: Storage) -> Callable[[], Awaitable[object]]:
    """Return what creates the row of the peers, with that of the log, acknowledged after its transaction."""
    data = NOTE.accept_create({"name": "Person"})
    return lambda: keeper.submit(Commit("main", (Create(NOTE, new_id(), data.copy()),), "user", "session", "1"))


async def keeper_creates(options: argparse.Namespace) -> dict[str, float]:
    """Measure creates through the keeper on SQLite."""
    keeper = SqliteStorage(REGISTRY, options.folder / "hub.db", clock, durability=options.durability)
    await keeper.start()
    found = await measured(options.in_flight, options.seconds, await _creating(keeper))
    await keeper.close()
    return found


async def keeper_gets(options: argparse.Namespace) -> dict[str, float]:
    """Measure reads of one record by its id through the keeper on SQLite."""
    keeper = SqliteStorage(REGISTRY, options.folder / "hub.db", clock)
    await keeper.start()
    ids = [new_id() for _ in range(ROWS)]
    data = EVENT.accept_create({"title": "Bench"})
    for start in range(0, ROWS, 1000):
        writes = tuple(Create(EVENT, rec, data.copy()) for rec in ids[start : start + 1000])
        await keeper.submit(Commit("main", writes))
    found = await measured(options.in_flight, options.seconds, lambda: keeper.get("main", EVENT, [_random.choice(ids)]))
    await keeper.close()
    return found


async def _engine(options: argparse.Namespace) -> AsyncEngine:
    engine = create_async_engine(f"sqlite+aiosqlite:///{options.folder / 'naive.db'}")

    @event.listens_for(engine.sync_engine, "connect")
    def pragmas(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", f"synchronous={options.durability}", "busy_timeout=30000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    return engine


async def orm_creates(options: argparse.Namespace) -> dict[str, float]:
    """Measure creates of a row, with an async ORM session for each, as `benchmarks.naive` has it."""
    engine = await _engine(options)
    sessions: async_sessionmaker[AsyncSession] = async_sessionmaker(engine)

    async def one() -> None:
        async with sessions() as session:
            row = Talk(name="Person", sort=0)
            session.add(row)
            await session.commit()
            await session.refresh(row)

    found = await measured(options.in_flight, options.seconds, one)
    await engine.dispose()
    return found


async def core_creates(options: argparse.Namespace) -> dict[str, float]:
    """Measure creates of a row, with an async Core connection for each."""
    engine = await _engine(options)

    async def one() -> None:
        async with engine.begin() as connection:
            await connection.execute(insert(Talk).values(name="Person", sort=0))

    found = await measured(options.in_flight, options.seconds, one)
    await engine.dispose()
    return found


async def core_gets(options: argparse.Namespace) -> dict[str, float]:
    """Measure reads of one row by its key, with an async Core connection for each."""
    engine = await _engine(options)
    async with engine.begin() as connection:
        await connection.execute(insert(Talk), [{"name": "Person", "sort": n} for n in range(ROWS)])

    async def one() -> None:
        async with engine.connect() as connection:
            found = await connection.execute(select(Talk.__table__).where(Talk.id == _random.randrange(ROWS) + 1))
            assert found.one().name == "Person"

    found = await measured(options.in_flight, options.seconds, one)
    await engine.dispose()
    return found


async def raw_creates(options: argparse.Namespace) -> dict[str, float]:
    """Measure the bare driver: the keeper's own table and indexes, `in_flight` rows in each transaction, no log."""
    keeper = SqliteStorage(REGISTRY, options.folder / "hub.db", clock)
    await keeper.start()
    await (await _creating(keeper))()
    await keeper.close()
    connection = sqlite3.connect(options.folder / "hub.db", isolation_level=None)
    connection.execute(f"PRAGMA synchronous = {options.durability}")
    names = [row[1] for row in connection.execute("PRAGMA table_info(bench_note)")]
    row = list(connection.execute("SELECT * FROM bench_note").fetchone())
    row_text = f"INSERT INTO bench_note ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    pk, rec = names.index("pk"), names.index("id")
    count, last, until = 0, int(row[pk]), time.perf_counter() + options.seconds
    begun, used = time.perf_counter(), cpu()
    while time.perf_counter() < until:
        connection.execute("BEGIN")
        for _ in range(options.in_flight):
            last += 1
            row[pk], row[rec] = last, new_id()
            connection.execute(row_text, row)
        connection.execute("COMMIT")
        count += options.in_flight
    found = {"messages": count, "seconds": time.perf_counter() - begun, "cpu": cpu() - used}
    connection.close()
    return found


async def syncs(options: argparse.Namespace) -> dict[str, float]:
    """Measure the disk alone: one page written and synced, again and again."""
    file = os.open(options.folder / "page", os.O_RDWR | os.O_CREAT, 0o600)
    count, until, page = 0, time.perf_counter() + options.seconds, b"x" * 4096
    begun, used = time.perf_counter(), cpu()
    while time.perf_counter() < until:
        os.pwrite(file, page, count % 64 * 4096)
        os.fdatasync(file)
        count += 1
    os.close(file)
    return {"messages": count, "seconds": time.perf_counter() - begun, "cpu": cpu() - used}


# -- a page among a million records -----------------------------------------------------------------------


def _order() -> tuple[SortKey, ...]:
    return parse_order(SESSION, ["starts_at"])


async def build(options: argparse.Namespace) -> dict[str, float]:
    """Fill a file with sessions of one event at random times: the first thousand through the keeper, the others are
    copies of those in SQL, each with an id and a time of its own and without a row in the log."""
    path, begun = options.folder / "hub.db", datetime(2026, 1, 1, tzinfo=UTC)
    keeper = SqliteStorage(REGISTRY, path, clock, durability="normal")
    await keeper.start()
    parent = new_id()
    await keeper.submit(Commit("main", (Create(EVENT, parent, EVENT.accept_create({"title": "Bench"})),)))
    data = SESSION.accept_create({"title": "A talk", "abstract": "x" * 100, "starts_at": clock()}, trusted=True)
    measured_from, used = time.perf_counter(), cpu()
    times = (format_time(begun + timedelta(seconds=_random.randrange(10**8))) for _ in range(1000))
    writes = tuple(Create(SESSION, new_id(), {**data, "starts_at": starts_at}, parent) for starts_at in times)
    await keeper.submit(Commit("main", writes))
    await keeper.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.create_function("new_id", 0, new_id)
    first = int(begun.timestamp()) * 1000
    connection.create_function("new_time", 0, lambda: first + _random.randrange(10**8) * 1000)
    names = [row[1] for row in connection.execute("PRAGMA table_info(event_session)")]
    (highest,) = connection.execute("SELECT max(pk) FROM event_session").fetchone()
    made = {"pk": "pk + ?", "id": "new_id()", "starts_at": "new_time()"}
    columns = ", ".join(made.get(name, name) for name in names)
    copy = f"INSERT INTO event_session ({', '.join(names)}) SELECT {columns} FROM event_session WHERE pk <= ?"
    for n in range(1, options.rows // 1000):
        connection.execute(copy, (n * 1000, highest))
    connection.close()
    return {"messages": options.rows, "seconds": time.perf_counter() - measured_from, "cpu": cpu() - used}


async def _opened(options: argparse.Namespace) -> tuple[SqliteStorage, Query]:
    keeper = SqliteStorage(REGISTRY, options.folder / "hub.db", clock)
    await keeper.start()
    (parent,) = (await keeper.find("main", Query(EVENT, limit=1))).records
    return keeper, Query(SESSION, equals(SESSION, "event_id", parent["id"]), _order(), 50)


async def keeper_pages(options: argparse.Namespace) -> dict[str, float]:
    """Measure pages of 50 from random times on, through the keeper, one at a time."""
    keeper, query = await _opened(options)
    begun = datetime(2026, 1, 1, tzinfo=UTC)

    async def one() -> None:
        after = (format_time(begun + timedelta(seconds=_random.randrange(9 * 10**7))), "A")
        found = await keeper.find("main", replace(query, after=after))
        assert len(found.records) == 50

    found = await measured(1, options.seconds, one)
    await keeper.close()
    return found


async def keeper_page(options: argparse.Namespace) -> dict[str, float]:
    """Measure one page of 50, the first or a later one, through the keeper, again and again."""
    keeper, query = await _opened(options)
    for _ in range(options.page - 1):
        found = await keeper.find("main", query)
        query = replace(query, after=key_values(found.records[-1], query.order))
    taken = await measured(1, options.seconds, lambda: keeper.find("main", query))
    await keeper.close()
    return taken


async def keeper_paging(options: argparse.Namespace) -> dict[str, float]:
    """Read all records, 1,000 to a page; `grown` is by how many bytes the process is larger after the last page
    than after the hundredth."""
    keeper, query = await _opened(options)
    query, count, early = replace(query, limit=1000), 0, 0
    begun, used = time.perf_counter(), cpu()
    while True:
        found = await keeper.find("main", query)
        count += len(found.records)
        early = early or (_resident() if count >= 100_000 else 0)
        if not found.more:
            break
        query = replace(query, after=key_values(found.records[-1], query.order))
    assert count == options.rows, f"{count} records instead of {options.rows}"
    taken = {"messages": count, "seconds": time.perf_counter() - begun, "cpu": cpu() - used}
    taken["grown"] = _resident() - early
    await keeper.close()
    return taken


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def raw_pages(options: argparse.Namespace) -> dict[str, float]:
    """Measure the same pages through the bare driver: the same columns, the ids of what is referred to, as dicts of
    what the columns hold."""
    connection = sqlite3.connect(options.folder / "hub.db")
    connection.execute("PRAGMA query_only = 1")
    parent, account = connection.execute("SELECT pk, account_pk FROM event").fetchone()
    columns = [row[1] for row in connection.execute("PRAGMA table_info(event_session)")]
    shown = [f"s.{name}" for name in columns if not name.endswith("_fold") and name not in {"account_pk", "alive"}]
    targets = {"event_id": "event", "location_id": "event_location", "track_id": "event_track"}
    shown = [f"t_{name[2:]}.id" if name[2:] in targets else name for name in shown]
    joins = " ".join(f"LEFT JOIN {table} t_{name} ON t_{name}.pk = s.{name}" for name, table in targets.items())
    page = (
        f"SELECT {', '.join(shown)} FROM event_session s {joins} WHERE s.account_pk = ? AND s.event_id = ? "
        "AND s.deleted_at IS NULL AND (s.starts_at, s.id) > (?, ?) ORDER BY s.starts_at, s.id LIMIT 50"
    )
    first = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1000
    names = [name for name in columns if not name.endswith("_fold") and name not in {"account_pk", "alive"}]

    async def one() -> None:
        at = first + _random.randrange(9 * 10**7) * 1000
        rows = connection.execute(page, (account, parent, at, "A")).fetchall()
        found = [dict(zip(names, row, strict=True)) for row in rows]
        assert len(found) == 50

    found = await measured(1, options.seconds, one)
    connection.close()
    return found


# -- MariaDB -----------------------------------------------------------------------------------------------


async def maria_creates(options: argparse.Namespace) -> dict[str, float]:
    """Measure creates through the keeper on MariaDB."""
    keeper = MariadbStorage(REGISTRY, options.url, clock, durability=options.durability)
    await keeper.start()
    found = await measured(options.in_flight, options.seconds, await _creating(keeper))
    await keeper.close()
    return found


async def maria_own(options: argparse.Namespace) -> dict[str, float]:
    """Measure creates of a row on MariaDB, each in a transaction of its own on a connection from a pool."""
    engine = create_async_engine(options.url, pool_size=options.in_flight)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.execute(text("CREATE TABLE talk (id INT AUTO_INCREMENT PRIMARY KEY, name TEXT, sort INT)"))

    async def one() -> None:
        async with engine.begin() as connection:
            await connection.execute(insert(Talk).values(name="Person", sort=0))

    found = await measured(options.in_flight, options.seconds, one)
    await engine.dispose()
    return found


RUNS: dict[str, Callable[[argparse.Namespace], Awaitable[dict[str, float]]]] = {
    "keeper-creates": keeper_creates,
    "orm-creates": orm_creates,
    "core-creates": core_creates,
    "raw-creates": raw_creates,
    "keeper-gets": keeper_gets,
    "core-gets": core_gets,
    "maria-creates": maria_creates,
    "maria-own": maria_own,
    "build": build,
    "keeper-pages": keeper_pages,
    "keeper-page": keeper_page,
    "keeper-paging": keeper_paging,
    "raw-pages": raw_pages,
    "syncs": syncs,
}


def main(runs: Mapping[str, Callable[[argparse.Namespace], Awaitable[dict[str, Any]]]]) -> None:
    """Run what was asked for and print what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=runs)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--durability", choices=Durability.__args__, default="full")  # type: ignore[attr-defined]
    parser.add_argument("--url", default="", help="of an empty database on MariaDB")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--page", type=int, default=1)
    parser.add_argument("--words", default="", help="what is searched for")
    parser.add_argument("--alone", action="store_true", help="a transaction for each commit: no groups")
    options = parser.parse_args()
    if options.alone:
        # The one place where they are anything else.
        storage.sql.writer.GROUP_COMMITS = 1  # type: ignore[misc]
        storage.mariadb.writer.GROUP_COMMITS = 1  # type: ignore[misc]
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    print(json.dumps(uvloop.run(runs[options.what](options))))  # type: ignore[arg-type]  # they are coroutines


if __name__ == "__main__":
    main(RUNS)
