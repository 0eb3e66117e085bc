"""Forgetting what the log says of a type before the log itself is forgotten: its images are emptied, its commits stay.

How far this went is kept for each account and type, so that a step begins where the last one ended. Runs on
connections that it is given.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, case, func, literal_column, select, update
from sqlalchemy.sql import ClauseElement

from storage.retention import first_kept
from storage.sql.compile import Text, compiled
from storage.sql.tables import Tables


class AgingTexts:
    """The statements, in the words of the database that `compiled` speaks for."""

    def __init__(self, tables: Tables, compiled: Callable[[ClauseElement], Text]) -> None:
        change, account, mark = tables.change, tables.account, tables.mark
        here: Any = bindparam("account")
        kind: Any = bindparam("type")
        reached = func.coalesce(mark.c.seq, 0)
        began = (
            select(change.c.at)
            .where(change.c.account_pk == account.c.account_pk, change.c.seq > reached)
            .order_by(change.c.seq, change.c.part)
            .limit(bindparam("one", 1))
            .scalar_subquery()
        )
        marked = account.outerjoin(mark, and_(mark.c.account_pk == account.c.account_pk, mark.c.type == kind))
        self.account = compiled(
            select(account.c.account_pk)
            .select_from(marked)
            .where(began < bindparam("before"))
            .limit(bindparam("first", 1))
        )
        one = [mark.c.account_pk == here, mark.c.type == kind]
        self.reached = compiled(select(mark.c.seq).where(*one))
        self.next = compiled(
            select(change.c.seq, change.c.at)
            .where(change.c.account_pk == here, change.c.seq > bindparam("reached"))
            .order_by(change.c.seq, change.c.part)
            .limit(bindparam("limit"))
        )
        nothing: ColumnElement[str] = literal_column("'{}'")
        none: ColumnElement[str] = literal_column("NULL")
        stretch = [change.c.seq > bindparam("reached"), change.c.seq < bindparam("end")]
        self.empty = compiled(
            update(change)
            .values(after=nothing, before=case((change.c.before.is_(None), none), else_=nothing))
            .where(change.c.account_pk == here, *stretch, change.c.type == kind)
        )
        self.unmark = compiled(mark.delete().where(*one))
        values: dict[str, Any] = {"account_pk": bindparam("a"), "type": bindparam("t"), "seq": bindparam("s")}
        self.mark = compiled(mark.insert().values(values))


class Aging:
    """What the SQLite keeper does about it."""

    def __init__(self, tables: Tables) -> None:
        self._texts = AgingTexts(tables, compiled)

    def step(self, connection: sqlite3.Connection, kind: str, before: int, limit: int) -> int:
        """Empty the next stretch of one log; return how many changes it has, of whatever type; 0: nothing is left."""
        texts = self._texts
        found = self._run(connection, texts.account, {"type": kind, "before": before}).fetchone()
        if found is None:
            return 0
        place: dict[str, Any] = {"account": found[0], "type": kind}
        row = self._run(connection, texts.reached, place).fetchone()
        place["reached"] = 0 if row is None else row[0]
        rows = self._run(connection, texts.next, place | {"limit": limit + 1}).fetchall()
        end = first_kept(rows, before, limit)
        self._run(connection, texts.empty, place | {"end": end})
        self._run(connection, texts.unmark, place)
        self._run(connection, texts.mark, {"a": found[0], "t": kind, "s": end - 1})
        return sum(seq < end for seq, _ in rows)

    def _run(self, connection: sqlite3.Connection, text: Text, values: dict[str, Any]) -> sqlite3.Cursor:
        return connection.execute(text.sql, text.arguments(values))
