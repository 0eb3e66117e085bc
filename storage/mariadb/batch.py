"""The rows that a group writes into one table, in few statements.

Creations, removals, and changes of what a unique covers, keep the order of the commits. Every other change commutes
with them, so it is written behind them, merged by row: many rows in one statement.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection

from storage.mariadb.compile import spread
from storage.mariadb.literals import insert_rows
from storage.mariadb.statements import REMOVED, Statements, change_rows


class Batch:
    """The rows of one record type; `finish` writes what is left."""

    def __init__(self, connection: Connection, statements: Statements, kind: str) -> None:
        self._connection = connection
        self._statements = statements
        self._kind = kind
        self._guarded = statements.guarded[kind]
        # What comes next in order: rows to insert, or else what only gives up a unique: keys of rows to remove, and
        # changes of rows that are deleted softly. These two may go in any order, so they are merged.
        self._new: list[tuple[Any, ...]] = []
        self._gone: list[int] = []
        self._freed: dict[int, dict[str, Any]] = {}
        # What may be written at the end, by internal key.
        self._changed: dict[int, dict[str, Any]] = {}

    def insert(self, values: tuple[Any, ...]) -> None:
        """Write a new row, given in the order of its columns."""
        self._release()
        self._new.append(values)

    def remove(self, pk: int) -> None:
        """Remove a row."""
        self._insert()
        self._changed.pop(pk, None)
        self._freed.pop(pk, None)
        self._gone.append(pk)

    def update(self, pk: int, values: dict[str, Any]) -> None:
        """Change columns of a row."""
        values = self._changed.pop(pk, {}) | values
        if self._guarded.isdisjoint(values):
            self._changed[pk] = values
            return
        self._insert()
        if "alive" in values and values["alive"] is None:
            self._freed[pk] = self._freed.pop(pk, {}) | values
            return
        self._release()
        change_rows(self._connection, self._statements, self._kind, tuple(values), {pk: values})

    def finish(self) -> None:
        """Write what was put off."""
        self._insert()
        self._release()
        self._change(self._changed)

    def _insert(self) -> None:
        if self._new:
            insert_rows(self._connection, self._statements.inserts[self._kind], self._new)
            self._new = []

    def _release(self) -> None:
        self._change(self._freed)
        self._freed = {}
        for start in range(0, len(self._gone), REMOVED):
            keys = tuple(self._gone[start : start + REMOVED])
            self._connection.exec_driver_sql(*spread(self._statements.remove(self._kind), (keys,)))
        self._gone = []

    def _change(self, changed: dict[int, dict[str, Any]]) -> None:
        alike: dict[tuple[str, ...], dict[int, dict[str, Any]]] = {}
        for pk, values in changed.items():
            alike.setdefault(tuple(values), {})[pk] = values
        for names, rows in alike.items():
            change_rows(self._connection, self._statements, self._kind, names, rows)
