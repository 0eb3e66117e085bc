"""The statements that the writing connection runs: built once by SQLAlchemy, run as text by the driver.

Knows tables and columns, decides nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Column, Table, and_, bindparam, func, literal_column, select, update

from hub.schema.record import RecordType
from hub.schema.registry import Registry
from storage.sql.aging import Aging
from storage.sql.compile import DIALECT, Compiler, Text, compiled
from storage.sql.feeds import FeedPositions
from storage.sql.past import Past
from storage.sql.rows import Rows, decode_json, to_json
from storage.sql.sealed import SealedStatements
from storage.sql.seen import LastSeen
from storage.sql.tables import Tables, with_id
from storage.sql.totals import Totals
from storage.sql.words import WordIndex

VARIABLES: Final = 30_000
"""How many parameters one statement may have; SQLite allows 32,766."""
LARGEST: Final = 256
"""How many rows one statement inserts at most."""
PRUNE: Final = 2_000
"""How many outdated keys are removed at a time."""


class Insert:
    """A statement that inserts many rows at once, in sizes that are powers of two so that few are prepared."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        quote = DIALECT.identifier_preparer.quote
        self._head = f"INSERT OR ROLLBACK INTO {quote(table.name)} ({', '.join(map(quote, columns))})"
        self._row = f"({', '.join('?' * len(columns))})"
        self.width = len(columns)
        largest = min(LARGEST, VARIABLES // self.width)
        self._sizes = [1 << n for n in range(largest.bit_length() - 1, -1, -1)]
        self._texts: dict[int, str] = {}

    def run(self, connection: sqlite3.Connection, values: list[Any]) -> None:
        """Insert rows in order; `values` holds them one behind the other."""
        done, end, width = 0, len(values), self.width
        for size in self._sizes:
            step = size * width
            while end - done >= step:
                text = self._texts.get(size)
                if text is None:
                    text = self._texts[size] = f"{self._head} VALUES {', '.join([self._row] * size)}"
                connection.execute(text, values if step == end else values[done : done + step])
                done += step


class Statements:
    """The texts that writing needs, built once by SQLAlchemy."""

    def __init__(self, registry: Registry, tables: Tables) -> None:
        self.tables = tables
        self.rows = {kind.name: Rows(tables.of(kind), tables) for kind in registry.types.values()}
        self.compilers = {name: Compiler(rows, tables) for name, rows in self.rows.items()}
        # The indexes of full text, of those types that have searchable fields.
        self.words = {name: WordIndex(rows) for name, rows in self.rows.items() if rows.kind.searchable}
        # Types in such an order that those that others refer to come first: what refers to a row that is not there yet
        # makes SQLite look for it in the whole table, at every row that it is then given.
        self.order: dict[str, int] = {}
        for kind in registry.types.values():
            self._place(kind)
        self.totals = {name: Totals(self.compilers[name], rows, tables) for name, rows in self.rows.items()}
        self.inserts: dict[str, Insert] = {}
        self.last_pk: dict[str, str] = {}
        self._images: dict[str, Text] = {}
        self._by_key: dict[str, Text] = {}
        for name, rows in self.rows.items():
            table = rows.home.table
            self.inserts[name] = Insert(table, rows.columns)
            self.last_pk[name] = _last(table.c.pk)
            wanted = select(func.json_each(bindparam("ids")).table_valued("value").c.value)
            # Of no account's, the account is compared outside: as a condition it would tempt SQLite to its index.
            page = select(func.json_array(*rows.outputs, table.c.account_pk).label("j")).select_from(rows.source)
            mine = with_id(rows.kind, table, bindparam("account"))
            inner = page.where(*mine, table.c.id.in_(wanted)).subquery()
            self._images[name] = compiled(select(func.group_concat(inner.c.j)))
            wanted = select(func.json_each(bindparam("keys")).table_valued("value").c.value)
            inner = (
                select(func.json_array(*rows.outputs).label("j"))
                .select_from(rows.source)
                .where(table.c.pk.in_(wanted))
                .subquery()
            )
            self._by_key[name] = compiled(select(func.group_concat(inner.c.j)))
        log, keys, account = tables.change, tables.key, tables.account
        self.change = Insert(log, log.c.keys())
        self.past = Past(tables, self.rows)
        self.feeds = FeedPositions(tables)
        self.seen = LastSeen(tables)
        self.sealed = SealedStatements(tables, compiled)
        self.aging = Aging(tables)
        self.key = Insert(keys, keys.c.keys())
        self.forget = compiled(
            keys.delete().where(
                keys.c.account_pk == bindparam("account"),
                keys.c.scope == bindparam("scope"),
                keys.c.key == bindparam("key"),
            )
        ).sql
        self.account = compiled(
            select(account.c.account_pk, account.c.seq).where(account.c.account == bindparam("account"))
        ).sql
        self.last_account = _last(account.c.account_pk)
        self.open_account = Insert(account, account.c.keys())
        self.move_head = compiled(
            update(account).values(seq=bindparam("s")).where(account.c.account_pk == bindparam("a"))
        ).sql
        # Each asked pair of scope and key is one search in the unique index; the few rows found are then read.
        asked, one = func.json_each(bindparam("asked")).table_valued("value", name="asked"), keys.alias("one")
        part = [func.json_extract(asked.c.value, literal_column(f"'$[{n}]'")) for n in range(2)]
        same = and_(one.c.account_pk == bindparam("account"), one.c.scope == part[0], one.c.key == part[1])
        found = select(select(one.c.pk).where(same).correlate(asked).scalar_subquery()).select_from(asked)
        self.stored_keys = compiled(
            select(keys.c.scope, keys.c.key, keys.c.digest, keys.c.seq, keys.c.answer, keys.c.at).where(
                keys.c.pk.in_(found)
            )
        )
        self.last_key = _last(keys.c.pk)
        oldest = select(keys.c.pk, keys.c.at).order_by(keys.c.pk).limit(PRUNE).subquery()
        outdated = select(oldest.c.pk).where(oldest.c.at <= bindparam("until"))
        self.prune = compiled(keys.delete().where(keys.c.pk.in_(outdated)))
        self.update: Callable[[str, tuple[str, ...]], Text] = lru_cache(1024)(self._update)
        self.unique: Callable[[str, tuple[str, ...]], Text] = lru_cache(256)(self._unique)
        self.referring: Callable[[str, str], Text] = lru_cache(256)(self._referring)
        self.remove: Callable[[str], str] = lru_cache(256)(self._remove)
        self.taken: Callable[[str, str], Text] = lru_cache(256)(self._taken)
        self.children: Callable[[str, str], Text] = lru_cache(256)(self._children)

    def _place(self, kind: RecordType, beneath: frozenset[str] = frozenset()) -> None:
        if kind.name in self.order or kind.name in beneath:
            return
        for target in self.tables.of(kind).targets.values():
            self._place(target, beneath | {kind.name})
        self.order[kind.name] = len(self.order)

    def images(
        self, connection: sqlite3.Connection, kind: str, account_pk: int, ids: Iterable[str]
    ) -> Iterator[list[Any]]:
        """Yield the rows (tombstones too) of those ids that are there."""
        text = self._images[kind]
        arguments = text.arguments({"ids": to_json(list(ids)), "account": account_pk})
        (page,) = connection.execute(text.sql, arguments).fetchone()
        if page is not None:
            for row in decode_json(f"[{page}]"):
                if row.pop() == account_pk:
                    yield row

    def by_key(self, connection: sqlite3.Connection, kind: str, keys: Sequence[int]) -> Iterator[list[Any]]:
        """Yield the rows with these internal keys, in their order."""
        (page,) = connection.execute(self._by_key[kind].sql, (to_json(keys),)).fetchone()
        found = {row[0]: row for row in decode_json(f"[{page or ''}]")}
        yield from (found[key] for key in keys)

    def _update(self, kind: str, names: tuple[str, ...]) -> Text:
        table = self.rows[kind].home.table
        return compiled(update(table).values({n: bindparam(n) for n in names}).where(table.c.pk == bindparam("_row")))

    def _unique(self, kind: str, names: tuple[str, ...]) -> Text:
        table = self.rows[kind].home.table
        same = [table.c[name] == bindparam(f"n_{name}") for name in names]
        alive = [table.c.account_pk == bindparam("account"), table.c.alive == 1]
        return compiled(select(table.c.id).where(*alive, *same))

    def _referring(self, kind: str, wire: str) -> Text:
        table = self.rows[kind].home.table
        here = [table.c.account_pk == bindparam("account"), table.c[wire] == bindparam("target")]
        return compiled(select(table.c.id).where(*here).order_by(table.c.pk))

    def _remove(self, kind: str) -> str:
        table = self.rows[kind].home.table
        return compiled(table.delete().where(table.c.pk == bindparam("_row"))).sql

    def _taken(self, kind: str, field: str) -> Text:
        column = self.rows[kind].home.table.c[field]
        wanted = select(func.json_each(bindparam("values")).table_valued("value").c.value)
        return compiled(select(column).where(column.in_(wanted)))

    def _children(self, kind: str, parent_wire: str) -> Text:
        table = self.rows[kind].home.table
        return compiled(
            select(table.c.id).where(
                table.c.account_pk == bindparam("account"),
                table.c[parent_wire] == bindparam("parent"),
                table.c.deleted_at.is_(None),
            )
        )


def _last(column: Column[Any]) -> str:
    """Return the statement of the largest internal key in use."""
    return compiled(select(func.coalesce(func.max(column), literal_column("0")))).sql
