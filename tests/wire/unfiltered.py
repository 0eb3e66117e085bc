"""Keepers whose account filter was taken out, one place at a time: what the account matrix must notice."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, Final

from hub.schema.query import Query, is_after, sort_images
from hub.schema.record import Image, RecordType
from hub.schema.search import Hit, Scope, Search
from hub.schema.where import matcher
from storage.base import FIND_CEILING, Found, Hits
from storage.memory import MemoryDatabase, MemoryStorage
from storage.sql.compile import Compiler
from storage.sql.group import Group
from storage.sql.rows import decode_json, to_json
from storage.sql.searching import Searcher
from storage.sql.statements import Statements

READS: Final = {
    "record.get",
    "record.find",
    "channel.join",
    "file.grant",
    "manifest.get",
    "lookup.list",
    "lookup.resolve",
}
FINDS: Final = {"record.find", "watch.start", "file.grant", "lookup.list"}
WRITES: Final = {"record.update", "record.delete", "record.create", "record.batch"}
UNIQUES: Final = {"record.create", "record.upsert"}

# -- in memory ---------------------------------------------------------------------------------------


async def get_anywhere(
    self: MemoryStorage, account: str, kind: RecordType, ids: list[str], *, deleted: bool = False
) -> dict[str, Image]:
    """Read by id, whatever account asks."""
    found: dict[str, Image] = {}
    for (_, name), table in self.database.rows.items():
        if name == kind.name:
            found |= {i: table[i] for i in ids if i in table and (deleted or table[i]["deleted_at"] is None)}
    return found


def find_anywhere(self: MemoryStorage, account: str, query: Query) -> Found:
    """Find, whatever account asks."""
    matches = matcher(query.where, self.database.others(account))
    rows = [i for (_, name), t in self.database.rows.items() if name == query.type.name for i in t.values()]
    found = [i for i in rows if (query.deleted or i["deleted_at"] is None) and matches(i)]
    total = len(found) if query.count else None
    found = sort_images(found, query.order)
    if query.after is not None:
        found = [i for i in found if is_after(i, query.order, query.after)]
    limit = query.limit if query.limit is not None else FIND_CEILING
    return Found(found[:limit], self.database.head(account), len(found) > limit, total)


async def search_anywhere(self: MemoryStorage, account: str, search: Search) -> Hits:
    """Look for words, whatever account asks."""
    found: list[Hit] = []
    for name in {name for name, _ in self.database.rows}:
        found += (await _search(self, name, search)).hits
    return Hits(found, self.database.head(account))


_search: Final = MemoryStorage.search


def record_anywhere(self: MemoryDatabase, account: str, kind: RecordType, rec: str) -> Image | None:
    """Decide a write over a record, whatever account it belongs to."""
    tables = [table for (_, name), table in self.rows.items() if name == kind.name and rec in table]
    return tables[0][rec] if tables else None


def unique_anywhere(
    self: MemoryDatabase, account: str, kind: RecordType, names: tuple[str, ...], values: tuple[Any, ...]
) -> str | None:
    """Look for a unique value, whatever account has it."""
    for (_, name), table in self.rows.items():
        for image in table.values() if name == kind.name else ():
            if image["deleted_at"] is None and all(image[n] == v for n, v in zip(names, values, strict=True)):
                return str(image["id"])
    return None


# -- over SQLite -------------------------------------------------------------------------------------


def images_anywhere(
    self: Statements, connection: sqlite3.Connection, kind: str, account_pk: int, ids: Iterable[str]
) -> Iterator[list[Any]]:
    """Read rows by id, for reads and for decisions about writes, whatever account asks."""
    text = self._images[kind]
    sql = text.sql if self.rows[kind].kind.system else without_account(kind, text.sql)
    arguments = text.arguments({"ids": to_json(list(ids)), "account": account_pk})
    (page,) = connection.execute(sql, arguments).fetchone()
    for row in decode_json(f"[{page or ''}]"):
        yield row[:-1]


def without_account(table: str, sql: str) -> str:
    """Return a statement with its condition on the account of a table made true; its parameters stay the same."""
    text, count = re.subn(rf"\b{table}\.account_pk(?: \+ 0)? = \?", "? IS NOT NULL", sql)
    assert count, sql
    return text


_find: Final = Compiler.find


def rows_anywhere(self: Compiler, query: Query, account_pk: int, limit: int, *, whole: bool) -> tuple[str, list[Any]]:
    """Find rows, whatever account asks."""
    sql, arguments = _find(self, query, account_pk, limit, whole=whole)
    return without_account(query.type.name, sql), arguments


_keys: Final = Searcher.keys


def hits_anywhere(
    self: Searcher, connection: sqlite3.Connection, search: Search, scope: Scope, account_pk: int
) -> list[Any]:
    """Look for words, whatever account asks."""
    everybody = connection.execute("SELECT account_pk FROM account_state").fetchall()
    return [hit for (pk,) in everybody for hit in _keys(self, connection, search, scope, pk)]


def value_anywhere(
    self: Group, account: str, kind: RecordType, names: tuple[str, ...], values: tuple[Any, ...]
) -> str | None:
    """Look for a unique value of a type without a parent, whatever account has it."""
    text = self._statements.unique(kind.name, names)
    given = {f"n_{name}": value for name, value in zip(names, values, strict=True)}
    arguments = text.arguments({"account": 0, **given})
    row = self._connection.execute(without_account(kind.name, text.sql), arguments).fetchone()
    return str(row[0]) if row is not None else None


BROKEN: Final[dict[tuple[str, str], tuple[tuple[type, str, Any], set[str]]]] = {
    ("in memory", "reads by id"): ((MemoryStorage, "get", get_anywhere), READS),
    ("in memory", "finds"): ((MemoryStorage, "_find", find_anywhere), FINDS),
    ("in memory", "searches"): ((MemoryStorage, "search", search_anywhere), {"record.search"}),
    ("on SQLite", "searches"): ((Searcher, "keys", hits_anywhere), {"record.search"}),
    ("in memory", "decisions"): ((MemoryDatabase, "record", record_anywhere), WRITES),
    ("in memory", "uniques"): ((MemoryDatabase, "unique", unique_anywhere), UNIQUES),
    ("on SQLite", "reads by id, and decisions"): ((Statements, "images", images_anywhere), READS | WRITES),
    ("on SQLite", "finds"): ((Compiler, "find", rows_anywhere), FINDS),
    ("on SQLite", "uniques"): ((Group, "unique", value_anywhere), UNIQUES),
}
"""By keeper, what is taken out of it, and operations that must be seen to leak then."""
