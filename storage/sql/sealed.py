"""What records hold encrypted: read for trusted code, and put anew when the keys change. For both databases.

It is never part of an image, so no find, watch or history meets it. Runs on connections that it is given.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import bindparam, or_, select, update

from hub.schema.record import RecordType
from storage.base import SealedRow
from storage.known import plan_of
from storage.sql.compile import Text
from storage.sql.tables import Tables

C = TypeVar("C")
_T = TypeVar("_T")
_NEWEST: Final = 1 << 62


class SealedStatements:
    """The statements over what is encrypted; made when they are first needed."""

    def __init__(self, tables: Tables, compiled: Callable[[Any], Text]) -> None:
        self._tables, self._compiled = tables, compiled
        self.page: Callable[[RecordType, bool], Text] = lru_cache(256)(self._page)
        self.change: Callable[[RecordType, str], Text] = lru_cache(256)(self._change)

    def _page(self, kind: RecordType, oldest: bool) -> Text:  # the second half of a key
        table = self._tables.of(kind).table
        columns = [table.c[name] for name in names_of(kind)]
        found = select(table.c.pk, table.c.id, *columns).where(or_(*(column.is_not(None) for column in columns)))
        if oldest:
            return self._compiled(found.order_by(table.c.pk).limit(bindparam("ceiling")))
        below = found.where(table.c.pk < bindparam("below"))
        return self._compiled(below.order_by(table.c.pk.desc()).limit(bindparam("ceiling")))

    def _change(self, kind: RecordType, name: str) -> Text:
        table = self._tables.of(kind).table
        still = (table.c.pk == bindparam("place"), table.c[name] == bindparam("old"))
        return self._compiled(update(table).where(*still).values({name: bindparam("new")}))


class SealedFields(ABC, Generic[C]):
    """A part of a keeper: what it answers about encrypted fields."""

    _sealed: SealedStatements

    @abstractmethod
    def _run_sealed(self, connection: C, text: Text, values: dict[str, Any]) -> tuple[Sequence[Any], int]:
        """Run a statement; return its rows, and of a change how many it met."""

    @abstractmethod
    async def _ask(self, work: Callable[[C], _T]) -> _T:
        """Read something."""

    @abstractmethod
    async def _write(self, work: Callable[[C], _T]) -> _T:
        """Do something in a transaction of its own."""

    async def sealed_rows(self, kind: RecordType, below: str, limit: int, *, oldest: bool = False) -> list[SealedRow]:
        """Return what records of a type in all accounts hold encrypted, the newest first."""
        if not (names := names_of(kind)):
            return []
        values = {"below": int(below or _NEWEST), "ceiling": limit}
        rows, _ = await self._ask(lambda c: self._run_sealed(c, self._sealed.page(kind, oldest), values))
        return [SealedRow(str(row[0]), row[1], _texts(names, row[2:])) for row in rows]

    async def reseal(self, kind: RecordType, rows: Sequence[tuple[SealedRow, dict[str, str]]]) -> int:
        """Put other texts in the place of these, where they still stand there; return how many that were."""
        changes = [
            (self._sealed.change(kind, name), {"place": int(row.place), "old": row.texts[name], "new": text})
            for row, texts in rows
            for name, text in texts.items()
        ]

        def work(connection: C) -> int:
            return sum(self._run_sealed(connection, text, values)[1] for text, values in changes)

        return int(await self._write(work)) if changes else 0


class SqliteSealed(SealedFields[sqlite3.Connection]):
    """That part of the keeper on SQLite."""

    def _run_sealed(
        self, connection: sqlite3.Connection, text: Text, values: dict[str, Any]
    ) -> tuple[Sequence[Any], int]:
        done = connection.execute(text.sql, text.arguments(values))
        return done.fetchall(), done.rowcount


def names_of(kind: RecordType) -> tuple[str, ...]:
    """Return the fields of a type that are encrypted, in the order of their declaration."""
    sealed = plan_of(kind).sealed
    return tuple(name for name in kind.fields if name in sealed)


def _texts(names: Sequence[str], values: Sequence[str | None]) -> dict[str, str]:
    return {name: text for name, text in zip(names, values, strict=True) if text}
