"""A database of either kind whose schema is changed under it: short words for what the tests of migrations do."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.engine import Connection

from hub.schema.record import Image
from hub.schema.registry import Registry
from storage.base import Storage
from storage.mariadb.apart import connected
from storage.mariadb.connection import read_url
from storage.mariadb.keeper import MariadbStorage
from storage.mariadb.migrator import MariadbMigrator
from storage.migrations.base import Migrator
from storage.migrations.branches import Migrate
from storage.migrations.catalogue import Catalogue, of_mariadb, of_sqlite
from storage.sql.migrator import SqliteMigrator
from storage.sql.sqlite import SqliteStorage
from tests.storage.declared import Use, ticking
from tests.storage.packs_on_disk import PackOnDisk

Place = Path | str
"""A file of SQLite, or the address of a database on MariaDB."""
T = TypeVar("T")
_seeds = itertools.count()


def keeper(place: Place, registry: Registry, migrate: Migrate = "auto") -> Storage:
    """Return the keeper of a database."""
    if isinstance(place, Path):
        return SqliteStorage(registry, place, ticking(), migrate=migrate)
    return MariadbStorage(registry, place, ticking(), durability="normal", migrate=migrate)


def migrator(place: Place, registry: Registry, lock_seconds: float = 10.0) -> Migrator:
    """Return the migrator of a database."""
    if isinstance(place, Path):
        return SqliteMigrator(registry, place, lock_seconds=lock_seconds)
    return MariadbMigrator(registry, place, lock_seconds=lock_seconds)


def session(
    place: Place,
    registry: Registry,
    work: Callable[[Use], Awaitable[T]] | None = None,
    migrate: Migrate = "auto",
) -> T:
    """Open a database, do something, close it."""

    async def opened() -> Any:
        use = Use(keeper(place, registry, migrate), seed=next(_seeds))
        await use.storage.start()
        try:
            return await work(use) if work is not None else None
        finally:
            await use.storage.close()

    return asyncio.run(opened())  # type: ignore[no-any-return]  # T is None where there is nothing to do


def asked(work: Coroutine[Any, Any, T]) -> T:
    """Run what a migrator is asked."""
    return asyncio.run(work)


def applied(place: Place, registry: Registry, to: str | None = None) -> list[str]:
    """Apply what is to be done, or bring a branch to a step, and return what was said."""
    said: list[str] = []
    it = migrator(place, registry)
    asyncio.run(it.apply(said.append) if to is None else it.apply_to(to, said.append))
    return said


def records(place: Place, registry: Registry, pack: PackOnDisk, name: str) -> list[Image]:
    """Return the records of a type after opening the database."""
    return session(place, registry, lambda use: use.find(pack.kind(name))).records


def on_mariadb(url: str, work: Callable[[Connection], T]) -> T:
    """Do something with a connection as the hub would open it."""

    with connected(read_url(url)) as connection:
        return work(connection)


def catalogue(place: Place) -> Catalogue:
    """Return what the database says its tables are."""
    if isinstance(place, str):
        return on_mariadb(place, of_mariadb)
    with sqlite3.connect(place) as connection:
        found = of_sqlite(connection)
    connection.close()
    return found


def rows(place: Place, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a statement."""
    if isinstance(place, str):
        return on_mariadb(place, lambda c: [tuple(row) for row in c.exec_driver_sql(sql).all()])
    with sqlite3.connect(place) as connection:
        found = connection.execute(sql).fetchall()
    connection.close()
    return found


def change(place: Place, sql: str) -> None:
    """Run a statement that answers nothing."""
    if isinstance(place, str):
        on_mariadb(place, lambda c: c.exec_driver_sql(sql).close())
        return
    with sqlite3.connect(place) as connection:
        connection.execute(sql)
    connection.close()
