"""The questions of full text on MariaDB: the hits of all searched types, in one order, as one consistent state."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, case, func, literal_column, select, true
from sqlalchemy.dialects.mysql import match
from sqlalchemy.engine import Connection

from hub.schema.search import Hit, Place, Scope, Search
from hub.schema.times import from_millis
from storage.base import Hits
from storage.mariadb.compile import MariaCompiler, ask, compiled
from storage.mariadb.connection import begin, rolled_back
from storage.mariadb.statements import Statements
from storage.mariadb.units import Work
from storage.mariadb.words import MariaWordIndex, asked
from storage.sql.compile import Shape, Text
from storage.sql.searching import PAGE, behind, beyond, page_of


class MariaSearcher:
    """The statements of one type, remembered by the shape of their filter and by how many stretches they look for."""

    def __init__(self, compiler: MariaCompiler, index: MariaWordIndex) -> None:
        self._compiler = compiler
        self._index = index
        self._text: Callable[[Shape, bool, int, int], Text] = lru_cache(256)(self._statement)

    def keys(self, connection: Connection, search: Search, scope: Scope, account_pk: int) -> list[tuple[Place, int]]:
        """Return where the hits of a type stand, at most one more than wanted, with their internal keys."""
        values: list[Any] = []
        shape = self._compiler.split(scope.where, values)
        named: dict[str, Any] = {f"v{n}": value for n, value in enumerate(values)}
        named |= behind(scope, search.after)
        expression, phrases, first = asked(search.terms, account_pk)
        named |= {"account": account_pk, "limit": search.limit + 1, "match": expression}
        named |= {f"p{n}": phrase for n, phrase in enumerate(phrases)}
        named |= {f"f{n}": part for n, part in enumerate(first)}
        text = self._text(shape, search.after is not None, len(phrases), len(first))
        kind = scope.type.name
        found = ask(connection, text.sql, text.arguments(named))
        return [((int(tier), from_millis(at), kind, str(rec)), int(pk)) for pk, tier, at, rec in found]

    def _statement(self, shape: Shape, after: bool, phrases: int, first: int) -> Text:
        index_of = self._index
        table, index = index_of.home.table, index_of.table

        def there(name: str) -> ColumnElement[bool]:
            return func.instr(index.c.words, bindparam(name)) > literal_column("0")

        tier: ColumnElement[int] = literal_column("1")
        if len(index_of.kind.searchable) > 1:
            in_first = and_(*(there(f"f{n}") for n in range(first)))
            tier = case((in_first, tier), else_=literal_column("0"))
        found = (
            select(table.c.pk, tier.label("tier"), table.c.updated_at, table.c.id)
            .select_from(index.join(table, table.c.pk == index.c.pk))
            .where(
                match(index.c.words, against=bindparam("match")).in_boolean_mode(),
                *(there(f"p{n}") for n in range(phrases)),
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
        named = counter.c.account == bindparam("account")
        held = select(counter.c.account_pk, counter.c.seq).where(named).with_for_update(read=True)
        self._hold = compiled(held).sql

    def search(self, account: str, search: Search) -> Work[Hits]:
        """Return the hits of a search and the `seq` they were read at.

        FULLTEXT shows what was committed last, not what a snapshot holds; so for this moment nobody commits to the
        account: who wants to, waits at its counter.
        """

        def run(connection: Connection) -> Hits:
            with rolled_back(connection):
                begin(connection)
                row = connection.exec_driver_sql(self._hold, (account,)).one_or_none()
                found = Hits([], 0) if row is None else self._hits(connection, account, row[0], row[1], search)
                connection.exec_driver_sql("COMMIT")
            return found

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
