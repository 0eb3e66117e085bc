"""The schema of a MariaDB database, for an operator: `storage.migrations.base.Migrator`.

Looking takes no lock; changing waits for the lock of the database, which a hub holds only while it starts. Hubs that
run meanwhile go on with the tables as they become: docs/migrations.md says which steps allow that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Final, TypeVar

from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from hub.schema.registry import Registry
from storage.base import StorageRefused
from storage.mariadb.apart import apart, connected
from storage.mariadb.connection import read_url
from storage.mariadb.faults import sentence
from storage.mariadb.growth import additions
from storage.mariadb.literals import literal
from storage.mariadb.schema import bring_up, changing, move, read, standing
from storage.migrations import stamps
from storage.migrations.base import Place, branch_of, places
from storage.migrations.branches import Branch, Said, branches_of, owned
from storage.sql.tables import Tables

LOCK_SECONDS: Final = 60.0
"""How long to wait for whoever is changing the tables."""

T = TypeVar("T")


class MariadbMigrator:
    """Looks after the schema of the database `url`; `lock_seconds` is how long to wait for its lock."""

    def __init__(self, registry: Registry, url: str, *, lock_seconds: float = LOCK_SECONDS) -> None:
        self._registry = registry
        self._url = read_url(url)
        self._tables = Tables(registry)
        self._lock_seconds = lock_seconds

    @cached_property
    def _branches(self) -> tuple[Branch, ...]:
        return branches_of(self._registry)  # reads folders

    async def status(self) -> list[Place]:
        """Return where each branch stands."""

        def work(connection: Connection) -> list[Place]:
            present, had = self._known(connection)
            standing(self._branches, present, had)
            return places(self._branches, had)

        return await self._with(work)

    async def plan(self) -> list[str]:
        """Return what is to be done, as SQL.

        Tables of branches with steps to run are not compared: what they still lack is known when the steps were run.
        """
        return await self._with(self._plan)

    async def apply(self, said: Said) -> None:
        """Do what is to be done."""
        await self._change(lambda c: bring_up(c, self._tables, self._branches, said=said))

    async def apply_to(self, revision: str, said: Said) -> None:
        """Bring one branch up or down to a step of it."""
        await self._change(lambda c: move(c, self._branches, revision, said))

    def _plan(self, connection: Connection) -> list[str]:
        from storage.migrations.runner import Runner

        present, had = self._known(connection)
        todo = standing(self._branches, present, had)
        lines: list[str] = []

        def write(sql: str) -> None:
            lines.append(f"{sql};")

        stamps.write(write, had, (branch.revisions[0] for branch in todo.adopted))
        runner = Runner(self._branches)
        titles = runner.titles()
        for revision in todo.pending:
            branch = branch_of(self._branches, revision)
            before = branch.revisions[branch.revisions.index(revision) - 1]
            lines += [f"-- {revision}: {titles[revision]}", runner.sql(revision, before, "mysql")]
        unsure = [b for b in self._branches if any(revision in b.revisions for revision in todo.pending)]
        more = additions(connection, self._tables, owned(self._registry, self._tables.own, unsure))
        if more:
            lines.append("-- what declarations add")
        lines += [f"{addition.sql % tuple(map(literal, addition.arguments))};" for addition in more]
        stamps.write(write, had, (branch.head for branch in todo.begun))
        return lines

    def _known(self, connection: Connection) -> tuple[set[str], frozenset[str]]:
        present, facts, had = read(connection)
        if "schema" not in facts:
            raise StorageRefused("There is no hub's database yet; a hub makes its tables when it first starts.")
        return present, had

    async def _change(self, work: Callable[[Connection], Any]) -> None:
        def locked(connection: Connection) -> None:
            with changing(connection, self._lock_seconds):
                self._known(connection)
                work(connection)

        await self._with(locked)

    async def _with(self, work: Callable[[Connection], T]) -> T:
        def run() -> T:
            with connected(self._url) as connection:
                return work(connection)

        try:
            return await apart(run)
        except (SQLAlchemyError, OSError) as error:
            raise StorageRefused(sentence(error)) from error
