"""The questions of full text on MariaDB: the hits of all searched types, in one order, as one consistent state."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, case, func, literal_column, select, true
from sqlalchemy.engine import Connection

from hub.schema.search import Hit, Place, Scope, Search
from hub.schema.times import from_millis
from storage.base import Hits
from storage.mariadb.compile import MariaCompiler, ask, compiled
from storage.mariadb.connection import snapshot
from storage.mariadb.statements import Statements
from storage.mariadb.units import Work
from storage.mariadb.words import MariaWordIndex, asked
from storage.sql.compile import Shape, Text
from storage.sql.searching import PAGE, behind, beyond, page_of

_FEW: Final = (100, 10_000)
"""How far words are counted: most searches have one that few records have, and for those it is known at once."""


class MariaSearcher:
    """The statements of one type, remembered by the shape of their filter and by how many stretches they look for."""

    def __init__(self, compiler: MariaCompiler, index: MariaWordIndex) -> None:
        self._compiler = compiler
        self._index = index
        self._text: Callable[[Shape, bool, int, int, bool], Text] = lru_cache(256)(self._statement)
        self._counts: Callable[[int, int], str] = lru_cache(64)(self._counting)

    def keys(self, connection: Connection, search: Search, scope: Scope, account_pk: int) -> list[tuple[Place, int]]:
        """Return where the hits of a type stand, at most one more than wanted, with their internal keys."""
        values: list[Any] = []
        shape = self._compiler.split(scope.where, values)
        named: dict[str, Any] = {f"v{n}": value for n, value in enumerate(values)}
        named |= behind(scope, search.after)
        words, there, first = asked(search.terms, account_pk)
        low, high = self._rarest(connection, words)
        named |= {"account": account_pk, "limit": search.limit + 1, "low": low, "high": high}
        named |= {f"t{n}": part for n, part in enumerate(there)}
        named |= {f"f{n}": part for n, part in enumerate(first)}
        text = self._text(shape, search.after is not None, len(there), len(first), low != high)
        kind = scope.type.name
        found = ask(connection, text.sql, text.arguments(named))
        return [((int(tier), from_millis(at), kind, str(rec)), int(pk)) for pk, tier, at, rec in found]

    def _rarest(self, connection: Connection, words: list[tuple[str, str]]) -> tuple[str, str]:
        """Return the word that the fewest records have, of those that every hit has."""
        if len(words) > 1:
            for cap in _FEW:
                bounds = tuple(bound for word in words for bound in word)
                (counts,) = ask(connection, self._counts(len(words), cap), bounds)
                fewest = min(counts)
                if fewest < cap:
                    return words[list(counts).index(fewest)]
        return words[0]

    def _counting(self, words: int, cap: int) -> str:
        one = f"SELECT 1 FROM `{self._index.places.name}` WHERE word BETWEEN %s AND %s LIMIT {cap}"
        return "SELECT " + ", ".join(f"(SELECT COUNT(*) FROM ({one}) w{n})" for n in range(words))

    def _statement(self, shape: Shape, after: bool, there: int, first: int, several: bool) -> Text:
        index_of = self._index
        table, index, places = index_of.home.table, index_of.table, index_of.places

        def has(name: str) -> ColumnElement[bool]:
            return func.instr(index.c.words, bindparam(name)) > literal_column("0")

        tier: ColumnElement[int] = literal_column("1")
        if len(index_of.kind.searchable) > 1:
            in_first = and_(*(has(f"f{n}") for n in range(first)))
            tier = case((in_first, tier), else_=literal_column("0"))
        placed = select(places.c.pk)
        if several:  # words of one record may begin alike
            placed = placed.where(places.c.word.between(bindparam("low"), bindparam("high"))).distinct()
        else:
            placed = placed.where(places.c.word == bindparam("low"))
        candidates = placed.subquery("candidates")
        found = (
            select(table.c.pk, tier.label("tier"), table.c.updated_at, table.c.id)
            # In this order: the words say more than any index that the filter may tempt to.
            .prefix_with("STRAIGHT_JOIN")
            .select_from(
                candidates.join(index, index.c.pk == candidates.c.pk).join(table, table.c.pk == candidates.c.pk)
            )
            .where(
                *(has(f"t{n}") for n in range(there)),
                table.c.account_pk + literal_column("0") == bindparam("account"),
                table.c.deleted_at.is_(None),
                self._compiler.condition(shape),
            )
            .subquery("found")
        )
        chosen = select(found).order_by(found.c.tier.desc(), found.c.updated_at.desc(), found.c.id)
        chosen = chosen.where(beyond(found.c.tier, found.c.updated_at, found.c.id) if after else true())
        return compiled(chosen.limit(bindparam("limit")))


class Searches:
    """Makes the functions that the keeper runs."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._searchers = {
            name: MariaSearcher(statements.compilers[name], index) for name, index in statements.words.items()
        }
        counter = statements.tables.account
        mine = counter.c.account == bindparam("account")
        self._head = compiled(select(counter.c.account_pk, counter.c.seq).where(mine)).sql

    def search(self, account: str, search: Search) -> Work[Hits]:
        """Return the hits of a search and the `seq` they were read at."""

        def run(connection: Connection) -> Hits:
            with snapshot(connection):
                row = connection.exec_driver_sql(self._head, (account,)).one_or_none()
                return Hits([], 0) if row is None else self._hits(connection, account, row[0], row[1], search)

        return run

    def _hits(self, connection: Connection, account: str, account_pk: int, seq: int, search: Search) -> Hits:
        found: list[tuple[Place, int]] = []
        for scope in search.scopes:
            found += self._searchers[scope.type.name].keys(connection, search, scope, account_pk)
        page, more = page_of(found, search.limit)
        images: dict[tuple[str, int], Any] = {}
        for kind in {place[2] for place, _ in page}:
            rows, keys = self._statements.rows[kind], [pk for place, pk in page if place[2] == kind]
            for start in range(0, len(keys), PAGE):
                for record in self._statements.page(connection, kind, keys[start : start + PAGE]):
                    images[kind, record[0]] = rows.image(record, account)
        return Hits([Hit(images[place[2], pk], place[0]) for place, pk in page], seq, more)
