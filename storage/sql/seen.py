"""When users and devices were last in an account: the table beside the records, and how it is read and written.

Runs on connections that it is given. Why beside, and not in the log: decision 0033.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from sqlalchemy import bindparam, func, literal_column, select, tuple_
from sqlalchemy.dialects.sqlite import insert

from storage.base import Member, Sight
from storage.sql.compile import compiled
from storage.sql.rows import millis, to_json, wire_time
from storage.sql.tables import Tables


class LastSeen:
    """The statements over last sights; each writes or reads a whole list that it is given as one value."""

    def __init__(self, tables: Tables) -> None:
        seen, account = tables.seen, tables.account
        given = func.json_each(bindparam("given")).table_valued("value", name="given")
        part = [func.json_extract(given.c.value, literal_column(f"'$[{n}]'")) for n in range(4)]
        rows = select(account.c.account_pk, *part[1:]).select_from(given.join(account, account.c.account == part[0]))
        # Without a condition SQLite would take the ON of the conflict for one of the join.
        write = insert(seen).from_select(seen.c.keys(), rows.where(literal_column("1")))
        self._write = compiled(
            write.on_conflict_do_update(
                index_elements=["account_pk", "kind", "rec"],
                set_={"at": write.excluded.at},
                where=write.excluded.at > seen.c.at,
            )
        )
        here = select(account.c.account_pk).where(account.c.account == bindparam("account")).scalar_subquery()
        # Not a join: SQLite would walk everybody of the account, and the whole list for each of them.
        among = tuple_(seen.c.kind, seen.c.rec).in_(select(part[0], part[1]).select_from(given))
        self._read = compiled(select(seen.c.kind, seen.c.rec, seen.c.at).where(seen.c.account_pk == here, among))

    def write(self, connection: sqlite3.Connection, sights: Sequence[Sight]) -> None:
        """Keep the later ones of these sights and those that are kept."""
        given = to_json([(sight.account, *sight.member, millis(sight.at)) for sight in sights])
        connection.execute(self._write.sql, self._write.arguments({"given": given}))

    def read(self, connection: sqlite3.Connection, account: str, members: Sequence[Member]) -> dict[Member, str]:
        """Return when members were last seen in an account."""
        values = {"given": to_json(members), "account": account}
        rows = connection.execute(self._read.sql, self._read.arguments(values))
        return {(kind, rec): wire_time(at) for kind, rec, at in rows}
