"""What the log says of one record: its versions, newest first, and where its creation stands. Decision 0012.

The index over the versions of a record leaves creations out, because every new record would pay for its
place there. Version 1 is what version 2 says was before; the row of the creation itself is found by its
time, which runs with `seq`. Knows the table of the log, runs statements on a connection it is given.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, func, literal_column, select, tuple_, update

from hub.schema.record import Image
from storage.sql.compile import Text, compiled
from storage.sql.rows import Rows, decode_json, millis, to_json
from storage.sql.tables import Tables

Place = tuple[int, int]
"""Where a change stands in the log of its account: `seq` and part."""
FACTS = ("seq", "part", "type", "rec", "kind", "version", "actor", "session", "request", "at")
"""What the log says of every change besides the images."""


class Past:
    """The statements about one record's past."""

    def __init__(self, tables: Tables, rows: Mapping[str, Rows]) -> None:
        self._rows = rows
        change = tables.change
        creation: ColumnElement[str] = literal_column("'create'")
        nothing: ColumnElement[str] = literal_column("'{}'")
        # What was purged has no past: its rows are empty, and stand beside those of who has the id since.
        told = change.c.after != nothing
        whole = [*(change.c[name] for name in FACTS), func.json(change.c.after), func.json(change.c.before)]
        self.versions = compiled(
            select(func.json_array(*whole))
            .where(
                change.c.account_pk == bindparam("account"),
                change.c.rec == bindparam("rec"),
                change.c.version < bindparam("below"),
                change.c.kind != creation,
                change.c.type == bindparam("type"),
                told,
            )
            .order_by(change.c.version.desc())
            .limit(bindparam("limit"))
        )
        here = change.c.account_pk == bindparam("account")
        self._creation = compiled(
            select(func.json_array(*whole))
            .where(
                here,
                change.c.seq >= bindparam("first"),
                change.c.seq < bindparam("end"),
                change.c.rec == bindparam("rec"),
                change.c.type == bindparam("type"),
                change.c.kind == creation,
            )
            .order_by(change.c.seq.desc(), change.c.part.desc())
            .limit(1)
        )
        self._at = compiled(
            select(change.c.seq, change.c.at)
            .where(here, change.c.seq >= bindparam("seq"))
            .order_by(change.c.seq, change.c.part)
            .limit(1)
        )
        of_record = [change.c.rec == bindparam("rec"), change.c.type == bindparam("type"), change.c.kind != creation]
        # Every version is above 0; without saying so SQLite goes through the whole log instead of the index.
        every = [here, change.c.version > literal_column("0"), *of_record]
        none: ColumnElement[str] = literal_column("NULL")
        emptied = {"after": nothing, "before": case((change.c.before.is_(None), none), else_=nothing)}
        self.erasing = compiled(update(change).values(emptied).where(*every))
        # The same for a record whose id another has since: only what stands up to its removal.
        # A sum, since as a bound of the primary key it would tempt SQLite to go through the log.
        place = tuple_(change.c.seq + 0, change.c.part) <= tuple_(bindparam("to_seq"), bindparam("to_part"))
        self.erasing_to = compiled(update(change).values(emptied).where(*every, place))
        stretch = [change.c.seq >= bindparam("first"), change.c.seq < bindparam("end"), change.c.kind == creation]
        named = change.c.rec.in_(select(func.json_each(bindparam("recs")).table_valued("value").c.value))
        first = [here, *stretch, change.c.type == bindparam("type"), named]
        self.erasing_first = compiled(update(change).values(after=nothing).where(*first).returning(change.c.rec))
        # How the lives of an id began and ended that are in the index, the newest first.
        turns: list[ColumnElement[str]] = [literal_column("'import'"), literal_column("'purge'")]
        bounds = select(change.c.kind).where(*every, change.c.kind.in_(turns))
        self.bounds = compiled(bounds.order_by((change.c.seq + 0).desc(), change.c.part.desc()).limit(2))
        self.erasing_first_to = compiled(
            update(change).values(after=nothing).where(*first, place).returning(change.c.rec)
        )
        self._accounts = compiled(select(tables.account.c.account_pk))
        self._nth = compiled(
            select(change.c.seq).where(here).order_by(change.c.seq, change.c.part).limit(1).offset(bindparam("n"))
        )
        self._forget = compiled(change.delete().where(here, change.c.seq < bindparam("end")))
        self._last = compiled(select(func.max(change.c.seq)).where(here))

    def history(
        self,
        connection: sqlite3.Connection,
        account_pk: int,
        kind: str,
        rec: str,
        born: str | None,
        below: int | None,
        limit: int,
    ) -> list[list[Any]]:
        """Return the rows of a record with versions under `below`, newest first; `born` is when it was created."""
        values = {"account": account_pk, "rec": rec, "type": kind, "below": below or 1 << 62, "limit": limit}
        rows = [decode_json(text) for (text,) in self._all(connection, self.versions, values)]
        whole = bool(rows) and rows[-1][5] == 1  # an import, which is in the index
        if not whole and len(rows) < limit and born is not None and (below is None or below > 1):
            first = self._born(connection, account_pk, kind, rec, millis(born))
            if first is not None:
                rows.append(first)
        return rows

    def version(
        self, connection: sqlite3.Connection, account_pk: int, kind: str, rec: str, version: int
    ) -> Image | None:
        """Return the image of a record as that version: from its row, or from the one behind it."""
        values = {"account": account_pk, "rec": rec, "type": kind, "below": version + 2, "limit": 2}
        for (text,) in self._all(connection, self.versions, values):
            row = decode_json(text)
            after, before = row[-2:]
            if row[5] == version:
                return self._rows[kind].complete(after) or None
            if row[5] == version + 1 and before is not None:
                return self._rows[kind].complete({**after, **before})
        return None

    def erase(
        self,
        connection: sqlite3.Connection,
        account_pk: int,
        kind: str,
        gone: Mapping[str, Collection[int]],
        ends: Mapping[str, Place],
    ) -> None:
        """Empty every image of records of a type; `gone` says when each was created, or each that had its id.

        `ends` says of those whose id another has since up to where, `seq` and part.
        """
        together: dict[tuple[int, Place | None], list[str]] = {}
        for rec, births in gone.items():
            end = ends.get(rec)
            values = {"account": account_pk, "rec": rec, "type": kind}
            bounds = self._all(connection, self.bounds, values)
            if end is None:
                connection.execute(self.erasing.sql, self.erasing.arguments(values))
            else:
                connection.execute(self.erasing_to.sql, self.erasing_to.arguments(values | _to(end)))
            # What was imported is in the index from the first version on: that row is the one before its removal.
            # Of several with this id it is not asked which.
            if ("import",) not in bounds[1:] or len(births) > 1 or end is not None:
                for born in births:
                    together.setdefault((born, end), []).append(rec)
        for (born, end), recs in together.items():
            text, values = self.erasing_first, {"account": account_pk, "type": kind, "recs": to_json(recs)}
            if end is not None:
                text, values = self.erasing_first_to, values | _to(end)
            left = set(recs)
            for first, last in self._stretches(connection, account_pk, born):
                arguments = text.arguments(values | {"first": first, "end": last})
                left -= {rec for (rec,) in connection.execute(text.sql, arguments)}
                if not left:
                    break

    def prune(self, connection: sqlite3.Connection, before: int, limit: int) -> int:
        """Remove whole commits from the beginning of the logs that are older than `before`, about `limit` changes."""
        removed = 0
        for (account_pk,) in self._all(connection, self._accounts, {}):
            start = self._all(connection, self._at, {"account": account_pk, "seq": 0})
            if not start or start[0][1] >= before:
                continue
            ((last,),) = self._all(connection, self._last, {"account": account_pk})
            end = self._since(connection, account_pk, before, start[0][0], last + 1)
            bound = self._all(connection, self._nth, {"account": account_pk, "n": limit - removed})
            if bound:
                end = min(end, max(bound[0][0], start[0][0] + 1))
            gone = self._forget.arguments({"account": account_pk, "end": end})
            removed += connection.execute(self._forget.sql, gone).rowcount
            if removed >= limit:
                break
        return removed

    def _all(self, connection: sqlite3.Connection, text: Text, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        return connection.execute(text.sql, text.arguments(values)).fetchall()

    def _born(self, connection: sqlite3.Connection, account_pk: int, kind: str, rec: str, at: int) -> list[Any] | None:
        """Return the row of a creation at a time, or None where the log does not reach back that far."""
        place = {"account": account_pk, "rec": rec, "type": kind}
        for first, end in self._stretches(connection, account_pk, at):
            found = self._all(connection, self._creation, place | {"first": first, "end": end})
            if found:
                row: list[Any] = decode_json(found[0][0])
                return row if row[-2] else None  # what it said was forgotten
        return None

    def _stretches(self, connection: sqlite3.Connection, account_pk: int, at: int) -> Iterator[tuple[int, int]]:
        """Yield where in the log a commit of a time stands: the likely stretch first, then, if need be, all of it."""
        start = self._all(connection, self._at, {"account": account_pk, "seq": 0})
        if not start:
            return
        (first, began), ((last,),) = start[0], self._all(connection, self._last, {"account": account_pk})
        near = self._since(connection, account_pk, at, first, last + 1)
        yield near, self._since(connection, account_pk, at + 1, near, last + 1)
        if began <= at:
            # The clock was set back at some time: then it stands where its time does not say.
            yield first, last + 1

    def _since(self, connection: sqlite3.Connection, account_pk: int, at: int, low: int, high: int) -> int:
        """Return the first `seq` from `low` on whose time is not before `at`, or `high`."""
        while low < high:
            middle = (low + high) // 2
            found = self._all(connection, self._at, {"account": account_pk, "seq": middle})
            if found and found[0][1] < at:
                low = middle + 1
            else:
                high = middle
        return low


def _to(end: Place) -> dict[str, int]:
    return {"to_seq": end[0], "to_part": end[1]}
