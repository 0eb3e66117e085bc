"""A MariaDB database as part of a backup: the rows of every table from one snapshot, and put into an empty database.

A part is a table as JSON lines: the names of its columns, then each row as a list of values in their order, by its
primary key. `database.json` says which tables these are. Pages are read by key, so no statement takes long and nothing
is held but the snapshot. A restore marks the database first and takes the mark away last: a hub does not start on
one that was broken off, and the next restore empties it. Decision 0014.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Table, and_, bindparam, or_, select
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from hub.schema.registry import Registry
from storage.backup.base import write_named
from storage.base import StorageRefused
from storage.mariadb.compile import ask, compiled
from storage.mariadb.connection import inspect, open_engine, read_url, roll_back
from storage.mariadb.faults import sentence
from storage.mariadb.schema import RESTORING, drop_all, hold, let_go, make_all, present_tables, schema_hash, stamp
from storage.mariadb.statements import BLOCK, SEQUENCE
from storage.migrations.branches import Branch, branches_of
from storage.sql.rows import decode_json, encode_json
from storage.sql.tables import Tables

ABOUT: Final = "database.json"
PAGE: Final = 100
"""How many rows the first statement over a table reads, and at least every one."""
PAGE_ROWS: Final = 4000
PAGE_BYTES: Final = 1 << 20
"""How many rows one statement reads at most, and about how many bytes the following ones get."""
INSERT_BYTES: Final = 1 << 20
INSERT_ROWS: Final = 500
"""How much one statement inserts at most, beyond one row."""
IDLE_SECONDS: Final = 600
"""How long writing a page may take before the server takes the snapshot back."""
COMMIT_BYTES: Final = 16 << 20
"""How much is inserted in one transaction."""
_SNAPSHOT: Final = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a dump says of itself: the declarations it was made under, and its tables."""

    schema: str
    tables: list[str]


def _dumped(tables: Tables) -> list[Table]:
    """Return the tables whose rows are dumped: all but the facts about the database itself."""
    return [table for table in tables.metadata.tables.values() if table is not tables.meta]


async def dump(engine: AsyncEngine, tables: Tables, folder: Path) -> None:
    """Write every table into `folder`, and which files are named; on disk when this returns."""
    about = About(schema_hash(tables), [str(table.name) for table in _dumped(tables)])
    named: set[str] = set()
    file_tables = {home.table for home in tables.homes() if home.kind.file}
    async with engine.connect() as connection:
        try:
            await connection.exec_driver_sql(f"SET SESSION idle_transaction_timeout = {IDLE_SECONDS}")
            await connection.exec_driver_sql(_SNAPSHOT)
            for table in _dumped(tables):
                columns = [str(column.name) for column in table.c]
                part = folder / f"{table.name}.jsonl"
                await asyncio.to_thread(_append, part, [columns])
                pages = _Pages(table)
                while page := await connection.run_sync(pages.next):
                    pages.fit(len(page), await asyncio.to_thread(_append, part, page))
                    if table in file_tables:
                        named |= {row.sha256 for row in page}
        finally:
            await connection.invalidate()  # what its session was set to is for this alone
    await asyncio.to_thread(_finish, folder, about, named)


def _append(path: Path, rows: Sequence[Sequence[Any]]) -> int:
    """Write rows; return how many bytes they are."""
    text = b"".join(encode_json(list(row)) + b"\n" for row in rows)
    with path.open("ab") as file:
        return file.write(text)


def _finish(folder: Path, about: About, named: set[str]) -> None:
    (folder / ABOUT).write_bytes(encode_json(about) + b"\n")
    write_named(folder, named)
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


class _Pages:
    """The rows of a table by primary key, a page at a time."""

    def __init__(self, table: Table) -> None:
        keys = list(table.primary_key.columns)
        names = [str(column.name) for column in table.c]
        self._places = [names.index(key.name) for key in keys]
        # Spelt out, because MariaDB finds no place in an index by comparing rows of values.
        behind = (
            and_(*(key == bindparam(f"k{m}_{n}") for m, key in enumerate(keys[:n])), keys[n] > bindparam(f"k{n}_{n}"))
            for n in range(len(keys))
        )
        begin = select(*table.c).order_by(*keys).limit(bindparam("limit"))
        self._first, self._following = compiled(begin), compiled(begin.where(or_(*behind)))
        self._last: Sequence[Any] | None = None
        self._ended = False
        self._limit = PAGE

    def fit(self, rows: int, size: int) -> None:
        """Make the next page about as large as a page should be, given how large rows are."""
        self._limit = max(PAGE, min(PAGE_ROWS, rows * PAGE_BYTES // max(size, 1)))

    def next(self, connection: Connection) -> Sequence[Any]:
        """Return the next page; nothing at the end."""
        if self._ended:
            return []
        text, values = self._first, {"limit": self._limit}
        if self._last is not None:
            text, last = self._following, [self._last[place] for place in self._places]
            values |= {f"k{m}_{n}": last[m] for n in range(len(last)) for m in range(n + 1)}
        page = ask(connection, text.sql, text.arguments(values))
        self._ended = len(page) < self._limit
        self._last = page[-1] if page else None
        return page


# -- putting it back ---------------------------------------------------------------------------------


async def restore(registry: Registry, url: str, folder: Path, new_epoch: Callable[[], str]) -> None:
    """Fill an empty database with a dump, every account with a new epoch; raise `StorageRefused` with a sentence.

    Where it fails the database is empty again.
    """
    tables = Tables(registry)
    branches = await asyncio.to_thread(branches_of, registry)
    about = msgspec.json.decode(await asyncio.to_thread((folder / ABOUT).read_bytes), type=About)
    if about.schema != schema_hash(tables) or set(about.tables) != {table.name for table in _dumped(tables)}:
        raise StorageRefused(
            "The backup was made under other declarations; restore it with the version and the packs of then, "
            "and upgrade afterwards."
        )
    engine = open_engine(read_url(url), 1)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(inspect, "normal")
            await connection.run_sync(hold)
            try:
                await _restore(connection, tables, branches, folder, new_epoch)
            finally:
                await connection.run_sync(let_go)
    except (StorageRefused, OSError):
        raise
    except Exception as error:
        raise StorageRefused(sentence(error)) from error
    finally:
        await engine.dispose()


async def _restore(
    connection: AsyncConnection,
    tables: Tables,
    branches: Sequence[Branch],
    folder: Path,
    new_epoch: Callable[[], str],
) -> None:
    await connection.run_sync(_clear, tables)
    try:
        await connection.run_sync(lambda sync: make_all(sync, tables, restoring=True))
        largest = 0
        for table in _dumped(tables):
            largest = max(largest, await _load(connection, table, folder, tables, new_epoch))
        beyond = (largest // BLOCK + 1) * BLOCK + 1
        await connection.exec_driver_sql(f"ALTER SEQUENCE {SEQUENCE} RESTART WITH {beyond}")
        await connection.run_sync(stamp, tables, new_epoch(), branches)
    except BaseException:
        await connection.run_sync(drop_all, tables)
        raise


def _clear(connection: Connection, tables: Tables) -> None:
    """Remove what a restore left that was broken off; raise `StorageRefused` where anything else is there."""
    present = present_tables(connection)
    if not present:
        return
    if "meta" not in present or not ask(connection, "SELECT 1 FROM meta WHERE name = %s", (RESTORING,)):
        raise StorageRefused("The database is not empty; name an empty one in database_url.")
    drop_all(connection, tables)


async def _load(
    connection: AsyncConnection, table: Table, folder: Path, tables: Tables, new_epoch: Callable[[], str]
) -> int:
    """Insert the rows of a table; return the largest internal key among them."""
    columns = [str(column.name) for column in table.c]
    key = columns.index("pk" if "pk" in columns else "account_pk")
    epoch = columns.index("epoch") if table is tables.account else None
    names = ", ".join(f"`{name}`" for name in columns)
    head, places = f"INSERT INTO `{table.name}` ({names}) VALUES ", f"({', '.join(['%s'] * len(columns))})"
    largest = open_bytes = 0
    batches = _batches(folder / f"{table.name}.jsonl", columns)
    try:
        await connection.exec_driver_sql("START TRANSACTION")
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            rows, size = batch
            if epoch is not None:
                for row in rows:
                    row[epoch] = new_epoch()
            largest = max(largest, *(row[key] for row in rows))
            values = tuple(value for row in rows for value in row)
            await connection.exec_driver_sql(head + ", ".join([places] * len(rows)), values)
            open_bytes += size
            if open_bytes >= COMMIT_BYTES:
                await connection.exec_driver_sql("COMMIT")
                await connection.exec_driver_sql("START TRANSACTION")
                open_bytes = 0
        await connection.exec_driver_sql("COMMIT")
    except BaseException:
        await connection.run_sync(roll_back)
        raise
    return largest


def _batches(path: Path, columns: list[str]) -> Iterator[tuple[list[list[Any]], int]]:
    """Yield the rows of a part in batches that one statement takes, each with its bytes."""
    with path.open("rb") as file:
        if decode_json(file.readline()) != columns:
            raise StorageRefused(f"The backup's {path.name} has other columns.")
        rows: list[list[Any]] = []
        size = 0
        for line in file:
            rows.append(decode_json(line))
            size += len(line)
            if size >= INSERT_BYTES or len(rows) >= INSERT_ROWS:
                yield rows, size
                rows, size = [], 0
        if rows:
            yield rows, size
