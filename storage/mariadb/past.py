"""What the log says of one record, and forgetting of it: its versions, its images, the beginning of a log.

MariaDB has no partial indexes, so the index over the versions of a record holds creations too, and a past is one
search in it (decision 0012). Knows the table of the log; runs statements on a connection it is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, func, literal_column, select, tuple_, update
from sqlalchemy.engine import Connection

from hub.schema.record import Image
from storage.mariadb.compile import ask, compiled, possible_id, spread
from storage.mariadb.connection import begin, rolled_back
from storage.retention import first_kept
from storage.sql.past import FACTS, Place
from storage.sql.rows import Rows, decode_json
from storage.sql.tables import Tables

ERASED: Final = 500
"""How many records lose their images in one statement."""
_ANY: Final = 1 << 62
"""More than any version."""


class Past:
    """The statements about one record's past."""

    def __init__(self, tables: Tables, rows: Mapping[str, Rows]) -> None:
        self._rows = rows
        change, account = tables.change, tables.account
        here = change.c.account_pk == bindparam("account")
        of_record = [here, change.c.rec == bindparam("rec"), change.c.type == bindparam("type")]
        below = change.c.version < bindparam("below")
        nothing: ColumnElement[str] = literal_column("'{}'")
        # What was purged has no past: its rows are empty, and stand beside those of who has the id since.
        told = change.c.after != nothing
        self.versions = compiled(
            select(*(change.c[name] for name in FACTS), change.c.after, change.c.before)
            .where(*of_record, below, told)
            .order_by(change.c.version.desc(), change.c.seq.desc())
            .limit(bindparam("limit"))
        )
        null: ColumnElement[str] = literal_column("NULL")
        emptied = {"after": nothing, "before": func.if_(change.c.before.is_(None), null, nothing)}
        named = change.c.rec.op("IN", is_comparison=True)(bindparam("recs"))
        self.erasing = compiled(update(change).values(emptied).where(here, change.c.type == bindparam("type"), named))
        # The same for a record whose id another has since: only what stands up to its removal.
        end = tuple_(change.c.seq, change.c.part) <= tuple_(bindparam("to_seq"), bindparam("to_part"))
        self.erasing_to = compiled(update(change).values(emptied).where(*of_record, end))
        began = (
            select(change.c.at)
            .where(change.c.account_pk == account.c.account_pk)
            .order_by(change.c.seq, change.c.part)
            .limit(bindparam("one", 1))
            .scalar_subquery()
        )
        self.old = compiled(select(account.c.account_pk).where(began < bindparam("before")))
        self.lock = compiled(
            select(account.c.seq).where(account.c.account_pk == bindparam("account")).with_for_update()
        )
        self.beginning = compiled(
            select(change.c.seq, change.c.at)
            .where(here)
            .order_by(change.c.seq, change.c.part)
            .limit(bindparam("limit"))
        )
        self.forget = compiled(change.delete().where(here, change.c.seq < bindparam("end")))

    def history(
        self, connection: Connection, account_pk: int, kind: str, rec: str, below: int | None, limit: int
    ) -> Sequence[Any]:
        """Return the rows of a record with versions under `below`, newest first."""
        values = {"account": account_pk, "rec": possible_id(rec), "type": kind, "below": below or _ANY}
        return ask(connection, self.versions.sql, self.versions.arguments(values | {"limit": limit}))

    def version(self, connection: Connection, account_pk: int, kind: str, rec: str, version: int) -> Image | None:
        """Return the image of a record as that version: from its row, or from the one behind it."""
        for row in self.history(connection, account_pk, kind, rec, version + 2, 2):
            after, before = decode_json(row.after), row.before
            if row.version == version:
                return self._rows[kind].complete(after) or None
            if row.version == version + 1 and before is not None:
                return self._rows[kind].complete({**after, **decode_json(before)})
        return None

    def erase(
        self, connection: Connection, account_pk: int, kind: str, recs: Sequence[str], ends: Mapping[str, Place]
    ) -> None:
        """Empty every image of these records; `ends` says of those whose id another has since up to where."""
        whole = [rec for rec in recs if rec not in ends]
        for start in range(0, len(whole), ERASED):
            values: dict[str, Any] = {"account": account_pk, "type": kind, "recs": tuple(whole[start : start + ERASED])}
            connection.exec_driver_sql(*spread(self.erasing.sql, self.erasing.arguments(values)))
        for rec, (seq, part) in ends.items():
            values = {"account": account_pk, "type": kind, "rec": rec, "to_seq": seq, "to_part": part}
            connection.exec_driver_sql(self.erasing_to.sql, tuple(self.erasing_to.arguments(values)))

    def prune(self, connection: Connection, before: int, limit: int) -> int:
        """Remove whole commits from the beginning of the logs that are older than `before`, about `limit` changes.

        Each account's part is a transaction, behind the lock that its writers take first: none of them stands in the
        way of another. What is run again because its end was not heard of removes what is left.
        """
        removed = 0
        for (account_pk,) in ask(connection, self.old.sql, self.old.arguments({"before": before, "one": 1})):
            with rolled_back(connection):
                begin(connection)
                ask(connection, self.lock.sql, self.lock.arguments({"account": account_pk}))
                arguments = self.beginning.arguments({"account": account_pk, "limit": limit - removed + 1})
                end = first_kept(ask(connection, self.beginning.sql, arguments), before, limit - removed)
                arguments = self.forget.arguments({"account": account_pk, "end": end})
                removed += connection.exec_driver_sql(self.forget.sql, tuple(arguments)).rowcount
                connection.exec_driver_sql("COMMIT")
            if removed >= limit:
                break
        return removed
