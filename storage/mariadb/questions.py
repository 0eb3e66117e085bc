"""The questions of reading, as functions of a connection. Each answer is one consistent state.

One statement is one state by itself; what needs several runs in a snapshot. They run inside a greenlet of
SQLAlchemy: every statement lets the event loop go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import bindparam, select, tuple_
from sqlalchemy.engine import Connection

from hub.schema.query import Query
from hub.schema.record import Image, RecordType
from hub.schema.totals import Aggregate, totals_of
from hub.schema.writes import ChangeRow, ChangeSet, KeyClaim
from storage.base import FIND_CEILING, Found, Head, Totals
from storage.decide import KeyRow
from storage.mariadb.compile import ask, compiled, possible_id
from storage.mariadb.connection import snapshot
from storage.mariadb.statements import Statements
from storage.mariadb.transaction import Keys
from storage.mariadb.units import Work
from storage.related import complete, found_of, is_plain
from storage.sql.compile import Text, value_of
from storage.sql.past import FACTS
from storage.sql.rows import decode_json, is_kept, kept_key, millis, wire_time

PAGE: Final = 500
"""How many rows one statement returns."""
_LAST_PART: Final = 1 << 30
"""More than any commit has."""


def _limit(query: Query) -> int:
    return query.limit if query.limit is not None else FIND_CEILING


class Questions:
    """Makes the functions that the keeper runs."""

    def __init__(self, statements: Statements, keys: Keys) -> None:
        tables = statements.tables
        self._statements = statements
        self._keys = keys
        self._lookup_text: Callable[[RecordType, str], Text] = lru_cache(256)(self._lookup)
        self._secret_text: Callable[[RecordType, str], Text] = lru_cache(256)(self._secret)
        account, change = tables.account, tables.change
        named = account.c.account.op("IN", is_comparison=True)(bindparam("accounts"))
        self._heads = compiled(select(account.c.account, account.c.epoch, account.c.seq).where(named)).sql
        self._changes = compiled(
            select(*(change.c[name] for name in FACTS), change.c.after, change.c.before)
            .where(
                change.c.account_pk == bindparam("account"),
                change.c.seq >= bindparam("after"),
                tuple_(change.c.seq, change.c.part) > tuple_(bindparam("after"), bindparam("part")),
                change.c.seq <= bindparam("until"),
            )
            .order_by(change.c.seq, change.c.part)
            .limit(bindparam("limit"))
        )

    def key(self, account: str, claim: KeyClaim, now: str) -> Work[KeyRow | None]:
        """Return what is kept of a keyed commit."""
        text = self._statements.stored_keys

        def run(connection: Connection) -> KeyRow | None:
            account_pk = self._account(connection, account)
            if account_pk is None:
                return None
            arguments = text.arguments({"asked": ((claim.scope, claim.key),), "account": account_pk})
            for _, _, digest, seq, answer, at in ask(connection, text.sql, arguments):
                if is_kept(at, millis(now)):
                    return kept_key(bytes.fromhex(digest), seq, answer)
            return None

        return run

    def get(self, account: str, kind: str, ids: Sequence[str], deleted: bool) -> Work[dict[str, Image]]:
        """Return those of the records that are there, by id."""

        def run(connection: Connection) -> dict[str, Image]:
            account_pk = self._account(connection, account)
            if account_pk is None:
                return {}
            rows = self._statements.rows[kind]
            images = [rows.image(row, account) for row in self._statements.read(connection, kind, account_pk, ids)]
            return {i["id"]: i for i in images if deleted or i["deleted_at"] is None}

        return run

    def find(self, account: str, query: Query) -> Work[Found]:
        """Return the records of a query and the `seq` they were read at."""

        def run(connection: Connection) -> Found:
            account_pk = self._account(connection, account)
            if account_pk is None:
                return Found([], 0, total=0 if query.count else None)
            if _limit(query) < PAGE and is_plain(query):
                return self._found(connection, account, account_pk, query)
            # What takes several statements is read in a snapshot.
            with snapshot(connection):
                found = self._found(connection, account, account_pk, query)
                if is_plain(query):
                    return found

                def read(along: Query) -> Found:
                    return self._found(connection, account, account_pk, along)

                return replace(found, included=complete(read, query, found.records))

        return run

    def _found(self, connection: Connection, account: str, account_pk: int, query: Query) -> Found:
        statements, kind, limit = self._statements, query.type.name, _limit(query)
        rows = statements.rows[kind]
        if limit < PAGE:
            found = self._run(connection, query, account_pk, limit + 1, whole=True)
            seq, total = found[0][:2]
            images = [rows.image(decode_json(row), account) for _, _, pk, row in found[:limit] if pk is not None]
            return found_of(query, images, seq, len(found) > limit, total)
        # Many are ordered once, by their keys alone, and then read page by page.
        ((seq, total, text),) = self._run(connection, query, account_pk, limit + 1, whole=False)
        keys = decode_json(f"[{text or ''}]")
        images = []
        for start in range(0, min(len(keys), limit), PAGE):
            page = keys[start : min(start + PAGE, limit)]
            images += [rows.image(row, account) for row in statements.page(connection, kind, page)]
        return found_of(query, images, seq, len(keys) > limit, total)

    def _run(self, connection: Connection, query: Query, account_pk: int, limit: int, *, whole: bool) -> Sequence[Any]:
        sql, arguments = self._statements.compilers[query.type.name].find(query, account_pk, limit, whole=whole)
        return ask(connection, sql, arguments)

    def aggregate(self, account: str, aggregate: Aggregate) -> Work[Totals]:
        """Return what the live records add up to and the `seq` they were read at."""
        totals = self._statements.totals[aggregate.type.name]

        def run(connection: Connection) -> Totals:
            account_pk = self._account(connection, account)
            if account_pk is None:
                return Totals(totals_of([], aggregate)[0], 0)
            rows = ask(connection, *totals.statement(aggregate, account_pk))
            groups = totals.groups(aggregate, [row[2:] for row in rows if row[1] is not None])
            return Totals(groups[: aggregate.limit], rows[0][0], len(groups) > aggregate.limit)

        return run

    def changes(self, account: str, after: int, limit: int) -> Work[list[ChangeSet]]:
        """Return the commits with `seq` above `after`, in order: as many as a page of rows holds, or one."""

        def run(connection: Connection) -> list[ChangeSet]:
            account_pk = self._account(connection, account)
            if account_pk is None:
                return []
            rows = self._page(connection, account_pk, (after, _LAST_PART), after + limit)
            if len(rows) == PAGE and rows[0].seq != rows[-1].seq:
                rows = [row for row in rows if row.seq != rows[-1].seq]  # the last may go on: it is read next time
            elif len(rows) == PAGE:
                # It may go on while the beginning of the log is forgotten: what belongs together is read together.
                only = rows[0].seq
                with snapshot(connection):
                    rows = page = self._page(connection, account_pk, (only - 1, _LAST_PART), only)
                    while len(page) == PAGE:
                        page = self._page(connection, account_pk, (only, page[-1].part), only)
                        rows = [*rows, *page]
            return self._sets(account, rows)

        return run

    def _page(self, connection: Connection, account_pk: int, place: tuple[int, int], until: int) -> Sequence[Any]:
        values = {"account": account_pk, "after": place[0], "part": place[1], "until": until, "limit": PAGE}
        return ask(connection, self._changes.sql, self._changes.arguments(values))

    def history(self, account: str, kind: str, rec: str, below: int | None, limit: int) -> Work[list[ChangeSet]]:
        """Return the changes of one record, newest first, each as its commit with that row alone."""

        def run(connection: Connection) -> list[ChangeSet]:
            account_pk = self._account(connection, account)
            if account_pk is None:
                return []
            rows = self._statements.past.history(connection, account_pk, kind, rec, below, limit)
            return [one for row in rows for one in self._sets(account, [row])]

        return run

    def _sets(self, account: str, rows: Sequence[Any]) -> list[ChangeSet]:
        sets: list[ChangeSet] = []
        parts: list[ChangeRow] = []
        for n, row in enumerate(rows):
            seq, part, kind, rec, what, version, actor, session, request, at, after, before = row
            image, known = decode_json(after), self._statements.rows.get(kind)
            if known is not None:
                image = known.complete(image)
            old = None if before is None else decode_json(before)
            parts.append(ChangeRow(part, kind, rec, what, version, image, old))
            if n + 1 == len(rows) or rows[n + 1][0] != seq:
                sets.append(ChangeSet(account, seq, wire_time(at), actor, session, request, tuple(parts)))
                parts = []
        return sets

    def heads(self, accounts: Sequence[str]) -> Work[dict[str, Head]]:
        """Return where the logs of these accounts stand."""

        def run(connection: Connection) -> dict[str, Head]:
            rows = ask(connection, self._heads, (tuple(accounts),)) if accounts else []
            found = {name: Head(epoch, seq) for name, epoch, seq in rows}
            return {account: found.get(account) or Head(self._keys.epoch, 0) for account in accounts}

        return run

    def lookup(self, kind: RecordType, field: str, value: Any) -> Work[list[Image]]:
        """Return the live records of every account whose field equals a value."""
        rows, text = self._statements.rows[kind.name], self._lookup_text(kind, field)
        spec = kind.fields[field]
        wanted = possible_id(value) if spec.kind == "ref" else value_of(spec.kind, value)
        arguments = text.arguments({"value": wanted})

        def run(connection: Connection) -> list[Image]:
            found = ask(connection, text.sql, arguments)
            return [rows.image(decode_json(image), account) for account, image in found]

        return run

    def secret(self, account: str, kind: RecordType, rec: str, field: str) -> Work[str | None]:
        """Return what a live record holds in a secret field."""
        text = self._secret_text(kind, field)
        arguments = text.arguments({"account": account, "rec": possible_id(rec)})

        def run(connection: Connection) -> str | None:
            found = ask(connection, text.sql, arguments)
            return found[0][0] if found else None

        return run

    def taken(self, kind: str, values: Sequence[str], field: str) -> Work[set[str]]:
        """Return those texts of a field that a record of the type has, in whichever account."""
        column = self._statements.rows[kind].home.table.c[field]
        named = column.op("IN", is_comparison=True)(bindparam("values"))
        wanted = tuple(values)

        def run(connection: Connection) -> set[str]:
            if not wanted:
                return set()
            return {str(rec) for (rec,) in ask(connection, compiled(select(column).where(named)).sql, (wanted,))}

        return run

    def _secret(self, kind: RecordType, field: str) -> Text:
        return compiled(self._statements.rows[kind.name].secret(self._statements.tables, field))

    def _lookup(self, kind: RecordType, field: str) -> Text:
        return compiled(self._statements.rows[kind.name].lookup(self._statements.tables, field))

    def _account(self, connection: Connection, account: str) -> int | None:
        known = self._keys.accounts.get(account)
        if known is None:
            row = connection.exec_driver_sql(self._statements.account, (account,)).one_or_none()
            if row is None:
                return None
            known = self._keys.know(account, int(row[0]))
        return known
