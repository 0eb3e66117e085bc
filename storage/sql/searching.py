"""The questions of full text on SQLite: the hits of all searched types, in one order, as one consistent state."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, case, func, literal_column, or_, select

from hub.schema.search import Hit, Place, Scope, Search, rank
from hub.schema.times import from_millis
from storage.base import Hits
from storage.sql.compile import Compiler, Shape, Text, compiled
from storage.sql.readers import Read
from storage.sql.rows import decode_json, millis
from storage.sql.statements import Statements
from storage.sql.words import ANYWHERE, FIRST, WordIndex, match_of

PAGE: Final = 500
"""How many records one statement returns as one text."""
_BEHIND_ALL: Final = "\x7f"
"""What is greater than every id."""


def page_of(found: list[tuple[Place, Any]], limit: int) -> tuple[list[tuple[Place, Any]], bool]:
    """Return the first hits of several types in their common order, and whether there are more."""
    found.sort(key=lambda hit: rank(hit[0]))
    return found[:limit], len(found) > limit


def behind(scope: Scope, after: Place | None) -> dict[str, Any]:
    """Return the parameters that say behind which hit those of a type are wanted."""
    if after is None:
        return {}
    tier, changed, kind, rec = after
    name = scope.type.name
    rec = rec if name == kind else "" if name > kind else _BEHIND_ALL
    return {"a_tier": tier, "a_changed": millis(changed), "a_id": rec}


class Searcher:
    """The statements of one type, remembered by the shape of their filter."""

    def __init__(self, compiler: Compiler, index: WordIndex) -> None:
        self._compiler = compiler
        self._index = index
        self._text: Callable[[Shape, bool], Text] = lru_cache(256)(self._statement)

    def keys(
        self, connection: sqlite3.Connection, search: Search, scope: Scope, account_pk: int
    ) -> list[tuple[Place, int]]:
        """Return where the hits of a type stand, at most one more than wanted, with their internal keys."""
        values: list[Any] = []
        shape = self._compiler.split(scope.where, values)
        named: dict[str, Any] = {f"v{n}": value for n, value in enumerate(values)}
        named |= behind(scope, search.after)
        named |= {
            "account": account_pk,
            "limit": search.limit + 1,
            "match": match_of(search.terms, account_pk, ANYWHERE),
            "first": match_of(search.terms, account_pk, FIRST),
        }
        text = self._text(shape, search.after is not None)
        (found,) = connection.execute(text.sql, text.arguments(named)).fetchone()
        kind = scope.type.name
        return [((tier, from_millis(at), kind, rec), pk) for pk, tier, at, rec in decode_json(f"[{found or ''}]")]

    def _statement(self, shape: Shape, after: bool) -> Text:
        table = self._index.home.table
        tier: ColumnElement[int] = literal_column("1")
        if len(self._index.kind.searchable) > 1:
            tier = case((table.c.pk.in_(self._index.among("first")), tier), else_=literal_column("0"))
        found = (
            select(table.c.pk, tier.label("tier"), table.c.updated_at, table.c.id)
            .where(
                # As expressions, account and deletion do not tempt to an index: the words say more.
                table.c.account_pk + literal_column("0") == bindparam("account"),
                table.c.pk.in_(self._index.among("match")),
                table.c.deleted_at.is_(None),
                self._compiler.condition(shape),
            )
            .subquery("found")
        )
        chosen = select(found).order_by(found.c.tier.desc(), found.c.updated_at.desc(), found.c.id)
        if after:
            chosen = chosen.where(beyond(found.c.tier, found.c.updated_at, found.c.id))
        page = chosen.limit(bindparam("limit")).subquery("page")
        columns = (page.c.pk, page.c.tier, page.c.updated_at, page.c.id)
        return compiled(select(func.group_concat(func.json_array(*columns))))


def beyond(tier: Any, changed: Any, rec: Any) -> ColumnElement[bool]:
    """Return the condition of standing behind the hit that the parameters name."""
    a_tier: Any = bindparam("a_tier")
    a_changed: Any = bindparam("a_changed")
    older = or_(changed < a_changed, and_(changed == a_changed, rec > bindparam("a_id")))
    return or_(tier < a_tier, and_(tier == a_tier, older))


class Searches:
    """Makes the functions that the keeper hands to the readers."""

    def __init__(self, statements: Statements, account: Callable[[sqlite3.Connection, str], int | None]) -> None:
        self._statements = statements
        self._account = account
        self._searchers = {
            name: Searcher(statements.compilers[name], index) for name, index in statements.words.items()
        }
        counter = statements.tables.account
        self._seq = compiled(select(counter.c.seq).where(counter.c.account_pk == bindparam("account"))).sql

    def search(self, account: str, search: Search) -> Read[Hits]:
        """Return the hits of a search and the `seq` they were read at."""

        def run(connection: sqlite3.Connection) -> Hits:
            account_pk = self._account(connection, account)
            if account_pk is None:
                return Hits([], 0)
            connection.execute("BEGIN")
            try:
                return self._hits(connection, account, account_pk, search)
            finally:
                connection.execute("COMMIT")

        return run

    def _hits(self, connection: sqlite3.Connection, account: str, account_pk: int, search: Search) -> Hits:
        (seq,) = connection.execute(self._seq, (account_pk,)).fetchone()
        found: list[tuple[Place, int]] = []
        for scope in search.scopes:
            found += self._searchers[scope.type.name].keys(connection, search, scope, account_pk)
        page, more = page_of(found, search.limit)
        images: dict[tuple[str, int], Any] = {}
        for kind in {place[2] for place, _ in page}:
            rows, keys = self._statements.rows[kind], [pk for place, pk in page if place[2] == kind]
            for start in range(0, len(keys), PAGE):
                for row in self._statements.by_key(connection, kind, keys[start : start + PAGE]):
                    images[kind, row[0]] = rows.image(row, account)
        return Hits([Hit(images[place[2], pk], place[0]) for place, pk in page], seq, more)
