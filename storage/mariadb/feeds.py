"""Where the feeds of an account stand: the table of positions, and how they are read and moved.

Moving waits behind the account's counter, as every writer of the account does. Runs on connections that it is given.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.engine import Connection

from storage.base import FEEDS, FeedPosition, moved, too_many_feeds
from storage.mariadb.compile import ask, compiled
from storage.mariadb.connection import begin, rolled_back
from storage.sql.tables import Tables


class FeedPositions:
    """The statements over the positions of feeds."""

    def __init__(self, tables: Tables) -> None:
        table, account = tables.feed, tables.account
        one = [table.c.account_pk == bindparam("account"), table.c.name == bindparam("name")]
        named = select(account.c.account_pk).where(account.c.account == bindparam("account"))
        self._account = compiled(named)
        self._lock = compiled(named.with_for_update())
        self._read = compiled(select(table.c.epoch, table.c.seq).where(*one))
        mine = table.c.account_pk == bindparam("account")
        self._count = compiled(select(func.count()).select_from(table).where(mine))
        self._forget = compiled(table.delete().where(*one))
        values: dict[str, Any] = {name: bindparam(f"n_{name}") for name in ("account_pk", "name", "epoch", "seq")}
        self._write = compiled(table.insert().values(values))

    def read(self, connection: Connection, account: str, name: str) -> FeedPosition | None:
        """Return where a feed stands, or None where it has not acknowledged anything."""
        for (account_pk,) in ask(connection, self._account.sql, self._account.arguments({"account": account})):
            return self._kept(connection, account_pk, name)
        return None

    def move(
        self, connection: Connection, account: str, name: str, position: FeedPosition | None
    ) -> FeedPosition | None:
        """Move a feed, never back within an epoch, or forget it; return where it stands. Twice is as once."""
        with rolled_back(connection):
            begin(connection)
            now = None
            for (account_pk,) in ask(connection, self._lock.sql, self._lock.arguments({"account": account})):
                now = self._move(connection, account_pk, name, position)
            connection.exec_driver_sql("COMMIT")
        return now

    def _move(
        self, connection: Connection, account_pk: int, name: str, position: FeedPosition | None
    ) -> FeedPosition | None:
        kept = self._kept(connection, account_pk, name)
        if kept is None and position is None:
            return None
        ((count,),) = ask(connection, self._count.sql, self._count.arguments({"account": account_pk}))
        if kept is None and count >= FEEDS:
            raise too_many_feeds()
        now = None if position is None else moved(kept, position)
        if now == kept:
            return now
        place = {"account": account_pk, "name": name}
        connection.exec_driver_sql(self._forget.sql, tuple(self._forget.arguments(place)))
        if now is not None:
            values = {"n_account_pk": account_pk, "n_name": name, "n_epoch": now.epoch, "n_seq": now.seq}
            connection.exec_driver_sql(self._write.sql, tuple(self._write.arguments(values)))
        return now

    def _kept(self, connection: Connection, account_pk: int, name: str) -> FeedPosition | None:
        arguments = self._read.arguments({"account": account_pk, "name": name})
        for epoch, seq in ask(connection, self._read.sql, arguments):
            return FeedPosition(epoch, int(seq))
        return None
