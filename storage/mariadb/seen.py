"""When users and devices were last in an account: the table beside the records, and how it is read and written.

Writing takes no lock of an account, so it stands in nobody's way; rows are given in one order, so that hubs which write
the same ones wait for each other instead of both failing. Runs on connections that it is given. Decision 0033.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, bindparam, func, or_, select
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.engine import Connection

from storage.base import Member, Sight
from storage.mariadb.compile import IMPOSSIBLE, ask, compiled, possible_id, spread
from storage.mariadb.connection import begin, rolled_back
from storage.mariadb.faults import AGAIN, code_of
from storage.sql.rows import millis, wire_time
from storage.sql.tables import Tables

TRIES = 3
"""How often a list is written that a deadlock stands in the way of."""


class LastSeen:
    """The statements over last sights."""

    def __init__(self, tables: Tables) -> None:
        seen, account = tables.seen, tables.account
        named = account.c.account.op("IN", is_comparison=True)(bindparam("accounts"))
        self._accounts = compiled(select(account.c.account, account.c.account_pk).where(named)).sql
        # One place each: the rows are put in as text, as many as there are.
        write = insert(seen).values({column.name: bindparam(column.name) for column in seen.columns})
        text = compiled(write.on_duplicate_key_update(at=func.greatest(seen.c.at, write.inserted.at))).sql
        self._head, self._tail = text.split("(%s, %s, %s, %s)")
        here = select(account.c.account_pk).where(account.c.account == bindparam("account")).scalar_subquery()
        of_kind = [
            and_(seen.c.kind == kind, seen.c.rec.op("IN", is_comparison=True)(bindparam(kind)))
            for kind in ("user", "device")
        ]
        self._read = compiled(
            select(seen.c.kind, seen.c.rec, seen.c.at).where(seen.c.account_pk == here, or_(*of_kind))
        )

    def write(self, connection: Connection, sights: Sequence[Sight]) -> None:
        """Keep the later ones of these sights and those that are kept. Twice is as once."""
        accounts = {sight.account for sight in sights if sight.account.isascii()}
        known = dict(ask(connection, self._accounts, [tuple(sorted(accounts))])) if accounts else {}
        rows = sorted(
            (known[sight.account], *sight.member, millis(sight.at))
            for sight in sights
            if sight.account in known and sight.member[1].isascii()
        )
        if not rows:
            return
        places = ", ".join(["(%s, %s, %s, %s)"] * len(rows))
        values = tuple(value for row in rows for value in row)
        for tries in range(1, TRIES + 1):
            try:
                with rolled_back(connection):
                    begin(connection)
                    connection.exec_driver_sql(f"{self._head}{places}{self._tail}", values)
                    connection.exec_driver_sql("COMMIT")
                return
            except Exception as error:
                # A deadlock undoes the whole list; any other fault is the caller's to know.
                if code_of(error) not in AGAIN or tries == TRIES:
                    raise

    def read(self, connection: Connection, account: str, members: Sequence[Member]) -> dict[Member, str]:
        """Return when members were last seen in an account."""
        asked: dict[str, list[str]] = {"user": [IMPOSSIBLE], "device": [IMPOSSIBLE]}
        for kind, rec in members:
            asked[kind].append(possible_id(rec))
        values = {"account": account, **{kind: tuple(dict.fromkeys(recs)) for kind, recs in asked.items()}}
        sql, arguments = spread(self._read.sql, self._read.arguments(values))
        return {(kind, rec): wire_time(at) for kind, rec, at in connection.exec_driver_sql(sql, arguments)}
