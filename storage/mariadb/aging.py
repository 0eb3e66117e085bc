"""Forgetting what the log says of a type before the log itself is forgotten; see `storage.sql.aging`.

Each step is a transaction behind the account's counter, as every writer's is. What is run again because its end was
not heard of goes on where it stopped. Runs on connections that it is given.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.engine import Connection

from storage.mariadb.compile import ask, compiled
from storage.mariadb.connection import begin, rolled_back
from storage.retention import first_kept
from storage.sql.aging import AgingTexts
from storage.sql.compile import Text
from storage.sql.tables import Tables


class Aging:
    """What the keeper on MariaDB does about it."""

    def __init__(self, tables: Tables) -> None:
        self._texts = AgingTexts(tables, compiled)
        account = tables.account
        mine = account.c.account_pk == bindparam("account")
        self._lock = compiled(select(account.c.seq).where(mine).with_for_update())

    def step(self, connection: Connection, kind: str, before: int, limit: int) -> int:
        """Empty the next stretch of one log; return how many changes it has, of whatever type; 0: nothing is left."""
        texts = self._texts
        found = ask(connection, texts.account.sql, texts.account.arguments({"type": kind, "before": before}))
        if not found:
            return 0
        place: dict[str, Any] = {"account": found[0][0], "type": kind}
        with rolled_back(connection):
            begin(connection)
            ask(connection, self._lock.sql, self._lock.arguments(place))
            marked = ask(connection, texts.reached.sql, texts.reached.arguments(place))
            place["reached"] = marked[0][0] if marked else 0
            rows = ask(connection, texts.next.sql, texts.next.arguments(place | {"limit": limit + 1}))
            end = first_kept(rows, before, limit)
            if end:  # else another hub was quicker
                self._run(connection, texts.empty, place | {"end": end})
                self._run(connection, texts.unmark, place)
                self._run(connection, texts.mark, {"a": found[0][0], "t": kind, "s": end - 1})
            connection.exec_driver_sql("COMMIT")
        return max(1, sum(int(row[0]) < end for row in rows))

    def _run(self, connection: Connection, text: Text, values: dict[str, Any]) -> None:
        connection.exec_driver_sql(text.sql, tuple(text.arguments(values)))
