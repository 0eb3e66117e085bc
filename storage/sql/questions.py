"""The questions that readers answer, as functions of a connection. Each answer is one consistent state."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import bindparam, func, select, tuple_

from hub.schema.query import Query
from hub.schema.record import Image, RecordType
from hub.schema.totals import Aggregate, totals_of
from hub.schema.writes import ChangeRow, ChangeSet, KeyClaim
from storage.base import FIND_CEILING, Found, Head, Totals
from storage.decide import KeyRow
from storage.related import complete, found_of, is_plain
from storage.sql.compile import Text, compiled, value_of
from storage.sql.readers import Read
from storage.sql.rows import decode_json, is_kept, kept_key, millis, to_json, wire_time
from storage.sql.statements import Statements

ACCOUNTS: Final = 10_000
"""How many accounts' internal keys are remembered."""
PAGE: Final = 500
"""How many rows one statement returns as one text."""
_LAST_PART: Final = 1 << 30
"""More than any commit has."""


def _limit(query: Query) -> int:
    return query.limit if query.limit is not None else FIND_CEILING


class Questions:
    """Makes the functions that the keeper hands to the readers. Shared by their threads; keeps no state but
    the internal keys of accounts, which never change."""

    def __init__(self, statements: Statements) -> None:
        tables = statements.tables
        self._statements = statements

        self._accounts: dict[str, int] = {}
        self._lookup_text: Callable[[RecordType, str], Text] = lru_cache(256)(self._lookup)
        self._secret_text: Callable[[RecordType, str], Text] = lru_cache(256)(self._secret)
        self.epoch = ""
        account, change = tables.account, tables.change
        wanted = select(func.json_each(bindparam("accounts")).table_valued("value").c.value)
        head = func.json_array(account.c.account, account.c.epoch, account.c.seq)
        self._heads = compiled(select(func.group_concat(head)).where(account.c.account.in_(wanted)))
        facts = ("seq", "part", "type", "rec", "kind", "version", "actor", "session", "request", "at")
        place = tuple_(change.c.seq, change.c.part)
        page = (
            select(
                func.json_array(
                    *(change.c[name] for name in facts), func.json(change.c.after), func.json(change.c.before)
                ).label("j")
            )
            .where(
                change.c.account_pk == bindparam("account"),
                place > tuple_(bindparam("after"), bindparam("part")),
                change.c.seq <= bindparam("until"),
            )
            .order_by(change.c.seq, change.c.part)
            .limit(PAGE)
            .subquery()
        )
        self._changes = compiled(select(func.group_concat(page.c.j)))

    def forget(self) -> None:
        """Drop the internal keys of accounts; the next question of each looks it up again."""
        self._accounts = {}

    def key(self, account: str, claim: KeyClaim, now: str) -> Read[KeyRow | None]:
        """Return what is kept of a keyed commit."""
        text = self._statements.stored_keys

        def run(connection: sqlite3.Connection) -> KeyRow | None:
            account_pk = self.account(connection, account)
            if account_pk is None:
                return None
            arguments = text.arguments({"asked": to_json([(claim.scope, claim.key)]), "account": account_pk})
            for _, _, digest, seq, answer, at in connection.execute(text.sql, arguments).fetchall():
                if is_kept(at, millis(now)):
                    return kept_key(digest, seq, answer)
            return None

        return run

    def get(self, account: str, kind: str, ids: Sequence[str], deleted: bool) -> Read[dict[str, Image]]:
        """Return those of the records that are there, by id."""

        def run(connection: sqlite3.Connection) -> dict[str, Image]:
            account_pk = self.account(connection, account)
            if account_pk is None:
                return {}
            rows = self._statements.rows[kind]
            images = [rows.image(row, account) for row in self._statements.images(connection, kind, account_pk, ids)]
            return {i["id"]: i for i in images if deleted or i["deleted_at"] is None}

        return run

    def find(self, account: str, query: Query) -> Read[Found]:
        """Return the records of a query and the `seq` they were read at."""

        def run(connection: sqlite3.Connection) -> Found:
            account_pk = self.account(connection, account)
            if account_pk is None:
                return Found([], 0, total=0 if query.count else None)
            if _limit(query) < PAGE and is_plain(query):
                return self._found(connection, account, account_pk, query)
            # What takes several statements is read inside one transaction.
            connection.execute("BEGIN")
            try:
                found = self._found(connection, account, account_pk, query)
                if is_plain(query):
                    return found

                def read(along: Query) -> Found:
                    return self._found(connection, account, account_pk, along)

                return replace(found, included=complete(read, query, found.records))
            finally:
                connection.execute("COMMIT")

        return run

    def _found(self, connection: sqlite3.Connection, account: str, account_pk: int, query: Query) -> Found:
        statements, kind, limit = self._statements, query.type.name, _limit(query)
        rows = statements.rows[kind]
        if limit < PAGE:
            seq, total, text = self._run(connection, query, account_pk, limit + 1, whole=True)
            found = [rows.image(row, account) for row in decode_json(f"[{text or ''}]")]
            return found_of(query, found[:limit], seq, len(found) > limit, total)
        # Many are ordered once, by their keys alone, and then read page by page.
        seq, total, text = self._run(connection, query, account_pk, limit + 1, whole=False)
        keys = decode_json(f"[{text or ''}]")
        found = []
        for start in range(0, min(len(keys), limit), PAGE):
            page = keys[start : min(start + PAGE, limit)]
            found += [rows.image(row, account) for row in statements.by_key(connection, kind, page)]
        return found_of(query, found, seq, len(keys) > limit, total)

    def _run(
        self, connection: sqlite3.Connection, query: Query, account_pk: int, limit: int, *, whole: bool
    ) -> tuple[int, int | None, str | None]:
        sql, arguments = self._statements.compilers[query.type.name].find(query, account_pk, limit, whole=whole)
        seq, total, text = connection.execute(sql, arguments).fetchone()
        return seq, total, text

    def aggregate(self, account: str, aggregate: Aggregate) -> Read[Totals]:
        """Return what the live records add up to and the `seq` they were read at."""
        totals = self._statements.totals[aggregate.type.name]

        def run(connection: sqlite3.Connection) -> Totals:
            account_pk = self.account(connection, account)
            if account_pk is None:
                return Totals(totals_of([], aggregate)[0], 0)
            seq, text = connection.execute(*totals.statement(aggregate, account_pk)).fetchone()
            groups = totals.groups(aggregate, decode_json(f"[{text or ''}]"))
            return Totals(groups[: aggregate.limit], seq, len(groups) > aggregate.limit)

        return run

    def changes(self, account: str, after: int, limit: int) -> Read[list[ChangeSet]]:
        """Return the commits with `seq` above `after`, in order: as many as a page of rows holds, or one."""

        def run(connection: sqlite3.Connection) -> list[ChangeSet]:
            account_pk = self.account(connection, account)
            if account_pk is None:
                return []
            rows = self._page(connection, account_pk, (after, _LAST_PART), after + limit)
            if len(rows) == PAGE and rows[0][0] != rows[-1][0]:
                rows = [row for row in rows if row[0] != rows[-1][0]]  # the last may go on: it is read next time
            elif len(rows) == PAGE:
                # It may go on while the beginning of the log is forgotten: what belongs together is read together.
                only = rows[0][0]
                connection.execute("BEGIN")
                try:
                    rows = page = self._page(connection, account_pk, (only - 1, _LAST_PART), only)
                    while len(page) == PAGE:
                        page = self._page(connection, account_pk, (only, page[-1][1]), only)
                        rows = [*rows, *page]
                finally:
                    connection.execute("COMMIT")
            return self._sets(account, rows)

        return run

    def _page(
        self, connection: sqlite3.Connection, account_pk: int, place: tuple[int, int], until: int
    ) -> list[list[Any]]:
        values = {"account": account_pk, "after": place[0], "part": place[1], "until": until}
        (page,) = connection.execute(self._changes.sql, self._changes.arguments(values)).fetchone()
        return decode_json(f"[{page or ''}]")  # type: ignore[no-any-return]

    def _sets(self, account: str, rows: list[list[Any]]) -> list[ChangeSet]:
        sets: list[ChangeSet] = []
        parts: list[ChangeRow] = []
        for n, row in enumerate(rows):
            seq, part, kind, rec, what, version, actor, session, request, at, after, before = row
            known = self._statements.rows.get(kind)
            if known is not None:
                after = known.complete(after)
            parts.append(ChangeRow(part, kind, rec, what, version, after, before))
            if n + 1 == len(rows) or rows[n + 1][0] != seq:
                sets.append(ChangeSet(account, seq, wire_time(at), actor, session, request, tuple(parts)))
                parts = []
        return sets

    def history(self, account: str, kind: str, rec: str, below: int | None, limit: int) -> Read[list[ChangeSet]]:
        """Return the changes of one record, newest first, each as its commit with that row alone."""
        statements = self._statements

        def run(connection: sqlite3.Connection) -> list[ChangeSet]:
            account_pk = self.account(connection, account)
            if account_pk is None:
                return []
            # Row and log are two statements here, so they are read inside one transaction.
            connection.execute("BEGIN")
            try:
                born = None
                for row in statements.images(connection, kind, account_pk, [rec]):
                    born = str(statements.rows[kind].image(row, account)["created_at"])
                rows = statements.past.history(connection, account_pk, kind, rec, born, below, limit)
            finally:
                connection.execute("COMMIT")
            return [one for row in rows for one in self._sets(account, [row])]

        return run

    def heads(self, accounts: Sequence[str]) -> Read[dict[str, Head]]:
        """Return where the logs of these accounts stand."""

        def run(connection: sqlite3.Connection) -> dict[str, Head]:
            arguments = self._heads.arguments({"accounts": to_json(list(accounts))})
            (page,) = connection.execute(self._heads.sql, arguments).fetchone()
            found = {name: Head(epoch, seq) for name, epoch, seq in decode_json(f"[{page or ''}]")}
            return {account: found.get(account) or Head(self.epoch, 0) for account in accounts}

        return run

    def lookup(self, kind: RecordType, field: str, value: Any) -> Read[list[Image]]:
        """Return the live records of every account whose field equals a value."""
        rows, text = self._statements.rows[kind.name], self._lookup_text(kind, field)
        arguments = text.arguments({"value": value_of(kind.fields[field].kind, value)})

        def run(connection: sqlite3.Connection) -> list[Image]:
            found = connection.execute(text.sql, arguments).fetchall()
            return [rows.image(decode_json(image), account) for account, image in found]

        return run

    def secret(self, account: str, kind: RecordType, rec: str, field: str) -> Read[str | None]:
        """Return what a live record holds in a secret field."""
        text = self._secret_text(kind, field)
        arguments = text.arguments({"account": account, "rec": rec})

        def run(connection: sqlite3.Connection) -> str | None:
            found = connection.execute(text.sql, arguments).fetchall()
            return found[0][0] if found else None

        return run

    def taken(self, kind: str, values: Sequence[str], field: str) -> Read[set[str]]:
        """Return those texts of a field that a record of the type has, in whichever account."""
        text = self._statements.taken(kind, field)

        def run(connection: sqlite3.Connection) -> set[str]:
            found = connection.execute(text.sql, text.arguments({"values": to_json(list(values))})).fetchall()
            return {str(rec) for (rec,) in found}

        return run

    def _secret(self, kind: RecordType, field: str) -> Text:
        return compiled(self._statements.rows[kind.name].secret(self._statements.tables, field))

    def _lookup(self, kind: RecordType, field: str) -> Text:
        return compiled(self._statements.rows[kind.name].lookup(self._statements.tables, field))

    def account(self, connection: sqlite3.Connection, account: str) -> int | None:
        """Return the internal key of an account, None where nothing was committed yet."""
        known = self._accounts.get(account)
        if known is None:
            row = connection.execute(self._statements.account, (account,)).fetchone()
            if row is None:
                return None
            known = int(row[0])
            if len(self._accounts) >= ACCOUNTS:
                self._accounts = {}
            self._accounts[account] = known
        return known
