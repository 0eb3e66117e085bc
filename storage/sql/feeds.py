"""Where the feeds of an account stand: the table of positions, and how they are read and moved. Runs on connections
that it is given.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import bindparam, func, select

from storage.base import FEEDS, FeedPosition, moved, too_many_feeds
from storage.sql.compile import Text, compiled
from storage.sql.tables import Tables


class FeedPositions:
    """The statements over the positions of feeds."""

    def __init__(self, tables: Tables) -> None:
        table, account = tables.feed, tables.account
        one = [table.c.account_pk == bindparam("account"), table.c.name == bindparam("name")]
        self._account = compiled(select(account.c.account_pk).where(account.c.account == bindparam("account")))
        self._read = compiled(select(table.c.epoch, table.c.seq).where(*one))
        self._count = compiled(
            select(func.count()).select_from(table).where(table.c.account_pk == bindparam("account"))
        )
        self._forget = compiled(table.delete().where(*one))
        values: dict[str, Any] = {name: bindparam(f"n_{name}") for name in ("account_pk", "name", "epoch", "seq")}
        self._write = compiled(table.insert().values(values).prefix_with("OR REPLACE"))

    def read(self, connection: sqlite3.Connection, account: str, name: str) -> FeedPosition | None:
        """Return where a feed stands, or None where it has not acknowledged anything."""
        account_pk = self._key(connection, account)
        if account_pk is None:
            return None
        row = self._run(connection, self._read, {"account": account_pk, "name": name}).fetchone()
        return None if row is None else FeedPosition(row[0], row[1])

    def move(
        self, connection: sqlite3.Connection, account: str, name: str, position: FeedPosition | None
    ) -> FeedPosition | None:
        """Move a feed, never back within an epoch, or forget it; return where it stands."""
        account_pk = self._key(connection, account)
        if account_pk is None:
            return None
        place = {"account": account_pk, "name": name}
        if position is None:
            self._run(connection, self._forget, place)
            return None
        kept = self.read(connection, account, name)
        if kept is None and self._run(connection, self._count, {"account": account_pk}).fetchone()[0] >= FEEDS:
            raise too_many_feeds()
        now = moved(kept, position)
        if now != kept:
            values = {"account_pk": account_pk, "name": name, "epoch": now.epoch, "seq": now.seq}
            self._run(connection, self._write, {f"n_{key}": value for key, value in values.items()})
        return now

    def _key(self, connection: sqlite3.Connection, account: str) -> int | None:
        row = self._run(connection, self._account, {"account": account}).fetchone()
        return None if row is None else int(row[0])

    def _run(self, connection: sqlite3.Connection, text: Text, values: dict[str, Any]) -> sqlite3.Cursor:
        return connection.execute(text.sql, text.arguments(values))
