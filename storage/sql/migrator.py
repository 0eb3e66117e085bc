"""The schema of a SQLite file, for an operator: `storage.migrations.base.Migrator`.

Looking needs no lock and may be done beside a running hub; changing takes the lock of the file, so no hub runs then.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Final, TypeVar

from hub.schema.registry import Registry
from storage.base import StorageRefused
from storage.migrations.base import Place, places
from storage.migrations.branches import Branch, Said, branches_of, judge
from storage.sql.connection import FileLock, open_reader, open_writer
from storage.sql.ddl import names
from storage.sql.errors import sentence
from storage.sql.plans import planned
from storage.sql.schema import bring_up, changing, first_tables, move, read
from storage.sql.tables import Tables

LOCK_SECONDS: Final = 10.0
"""How long to wait for whoever has the file: a start or another migration."""
_CHECKPOINT_PAGES: Final = 4000

T = TypeVar("T")


class SqliteMigrator:
    """Looks after the schema of the file `path`; `lock_seconds` is how long to wait for its lock."""

    def __init__(self, registry: Registry, path: Path, *, lock_seconds: float = LOCK_SECONDS) -> None:
        self._registry = registry
        self._path = path
        self._tables = Tables(registry)
        self._lock_seconds = lock_seconds

    @cached_property
    def _branches(self) -> tuple[Branch, ...]:
        return branches_of(self._registry)  # reads folders

    async def status(self) -> list[Place]:
        """Return where each branch stands."""
        return await asyncio.to_thread(self._read, self._status)

    async def plan(self) -> list[str]:
        """Return what is to be done, as SQL."""
        return await asyncio.to_thread(self._read, self._plan)

    async def apply(self, said: Said) -> None:
        """Do what is to be done, all of it or nothing."""
        await asyncio.to_thread(self._change, lambda c: bring_up(c, self._tables, self._branches, said))

    async def apply_to(self, revision: str, said: Said) -> None:
        """Bring one branch up or down to a step of it."""
        await asyncio.to_thread(self._change, lambda c: move(c, self._branches, revision, said))

    def _status(self, connection: sqlite3.Connection) -> list[Place]:
        _, had = read(connection)
        present = names(connection, "table")
        judge(self._branches, had, lambda branch: not present.isdisjoint(first_tables(branch)))
        return places(self._branches, had)

    def _plan(self, connection: sqlite3.Connection) -> list[str]:
        return planned(connection, lambda clone, said: bring_up(clone, self._tables, self._branches, said))

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._check()
        try:
            connection = open_reader(self._path)
            try:
                return work(connection)
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise StorageRefused(sentence(self._path, error)) from error

    def _change(self, work: Callable[[sqlite3.Connection], object]) -> None:
        self._check()
        lock = FileLock(self._path)
        until = time.monotonic() + self._lock_seconds
        while True:
            try:
                lock.take()
                break
            except StorageRefused:
                if time.monotonic() >= until:
                    raise
            time.sleep(0.1)
        try:
            connection = open_writer(self._path, "full", _CHECKPOINT_PAGES)
            try:
                with changing(connection):
                    work(connection)
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise StorageRefused(sentence(self._path, error)) from error
        finally:
            lock.release()

    def _check(self) -> None:
        if not self._path.is_file():
            raise StorageRefused(f"There is no database {self._path} yet; a hub makes it when it first starts.")
