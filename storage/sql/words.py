"""The index of full text on SQLite: for each type with searchable fields an FTS5 table beside its own.

It holds the words of live records that our own tokeniser finds, separated by blanks: FTS5 only keeps where they are.
Before each word stands the account, so that looking for a word of one account passes no other's; the words of the
first searchable field stand there once more under another sign. Written in the transaction of the record. Knows
tables and texts, decides nothing.
"""

from __future__ import annotations

import hashlib
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Column, Integer, MetaData, Select, Table, Text, bindparam, select

from hub.schema.record import Image, RecordType
from hub.schema.search import Term, texts_of
from hub.schema.words import VERSION, words
from storage.base import StorageRefused
from storage.decide import Decision, Put
from storage.sql import compile as shared
from storage.sql.rows import PkOf, Rows, decode_json
from storage.sql.tables import Home

SUFFIX: Final = "$words"
"""What is put behind the name of a type, which no other type's name can end in."""
ANYWHERE: Final = "\u00b7"
FIRST: Final = "\u00bb"
"""What stands between account and word: of whatever field, and of the first one. Neither is part of a word."""
CHUNK: Final = 500
"""How many records are indexed at a time where many are."""
Spelling = Callable[[str], str]
Texts = tuple[dict[int, str | None], set[int]]
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


def number(value: int) -> str:
    """Return a number in digits and small letters."""
    text = ""
    while True:
        value, rest = divmod(value, 36)
        text = _DIGITS[rest] + text
        if not value:
            return text


def stamp_of(kind: RecordType) -> str:
    """Return what changes whenever the words of the type's records do."""
    plain = [VERSION, *kind.searchable]
    return hashlib.sha256(msgspec.json.encode(plain)).hexdigest()[:16]


def index_text(
    kind: RecordType, image: Image, anywhere: str, first: str, stop: str, spelt: Spelling | None = None
) -> str:
    """Return the words of a record as an index holds them, each behind a blank and what leads it.

    Behind each text stands `stop`, which no word is, so that no phrase reaches from one into the next.
    """
    parts: list[str] = []
    heading: list[str] = []
    several = len(kind.searchable) > 1  # else what is found is found in the first field
    for wire, text in texts_of(kind, image):
        found = words(text)
        if not found:
            continue
        if spelt is not None:
            found = [spelt(word) for word in found]
        parts += (f" {anywhere}", f" {anywhere}".join(found), stop)
        if several and wire == kind.searchable[0]:
            heading += (f" {first}", f" {first}".join(found), stop)
    return "".join((*parts, *heading))


def match_of(terms: Sequence[Term], account_pk: int, sign: str) -> str:
    """Return the expression of FTS5 that is true where every term is."""
    lead = f"{number(account_pk)}{sign}"
    parts = []
    for term in terms:
        phrase = " ".join(f"{lead}{word}" for word in term.words)
        parts.append(f'"{phrase}" *' if term.prefix else f'"{phrase}"')
    return " AND ".join(parts)


class Indexed(ABC):
    """What the indexes of one type have in common on all databases.

    Texts go by internal keys, None where nothing is to be found any more.
    """

    def __init__(self, rows: Rows) -> None:
        self.kind = rows.kind
        self.home: Home = rows.home
        self.name = self.kind.name + SUFFIX
        self.stamp = stamp_of(self.kind)
        self._fields = frozenset((*self.kind.searchable, "deleted_at"))
        self._lists = [wire for wire in self.kind.searchable if self.kind.fields[wire].kind == "list"]

    @abstractmethod
    def text(self, image: Image, account_pk: int) -> str:
        """Return the words of a record as the index holds them."""

    def texts(
        self, decisions: Sequence[Decision], removed: Iterable[int], pk_of: PkOf, account: Callable[[str], int]
    ) -> Texts:
        """Return what a group of decisions leaves to be found in this type, and which records are new.

        `removed`: the internal keys of the rows that it removes. Their ids may be those of other rows by now.
        """
        found: dict[int, str | None] = {}
        fresh: set[int] = set()
        for decision in decisions:
            name = decision.commit.account
            for put in decision.puts:
                if put.type is not self.kind or not self._concerned(put):
                    continue
                pk = pk_of((name, self.kind.name, put.image["id"]))
                if put.changed is None:
                    fresh.add(pk)
                live = put.image["deleted_at"] is None
                found[pk] = self.text(put.image, account(name)) if live else None
        return found | dict.fromkeys(removed), fresh

    def _concerned(self, put: Put) -> bool:
        """Say whether a row that is written may be found otherwise than before."""
        if put.gone:
            return False
        return put.changed is None or not put.changed.isdisjoint(self._fields)

    def of_row(self, account_pk: int, values: Sequence[Any]) -> str:
        """Return the words of a record whose searchable columns were read."""
        image = dict(zip(self.kind.searchable, values, strict=True))
        for wire in self._lists:
            image[wire] = None if image[wire] is None else decode_json(image[wire])
        return self.text(image, account_pk)


class WordIndex(Indexed):
    """The FTS5 table of one type."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows)
        self.table = Table(self.name, MetaData(), Column("rowid", Integer), Column("words", Text))
        self._remove = f'DELETE FROM "{self.name}" WHERE rowid = ?'
        self._insert = f'INSERT INTO "{self.name}" (rowid, words) VALUES '
        table = self.home.table
        columns = (table.c[wire] for wire in self.kind.searchable)
        self._live = shared.compiled(
            select(table.c.pk, table.c.account_pk, *columns)
            .where(table.c.pk > bindparam("after"), table.c.deleted_at.is_(None))
            .order_by(table.c.pk)
            .limit(bindparam("limit"))
        )

    def text(self, image: Image, account_pk: int) -> str:
        """Return the words of a record as the index holds them."""
        lead = number(account_pk)
        return index_text(self.kind, image, lead + ANYWHERE, lead + FIRST, f" {ANYWHERE}")

    def among(self, match: str) -> Select[tuple[int]]:
        """Return the internal keys of the records that an expression is true of; `match` names the parameter."""
        return select(self.table.c.rowid).where(self.table.c.words.op("MATCH")(bindparam(match)))

    def write(self, connection: sqlite3.Connection, texts: Mapping[int, str | None], stale: Iterable[int]) -> None:
        """Write what is to be found where; `stale` are the keys that may be there already."""
        for pk in stale:
            connection.execute(self._remove, (pk,))
        values: list[Any] = []
        for pk in sorted(texts):
            if text := texts[pk]:
                values += (pk, text)
        for start in range(0, len(values), CHUNK):
            part = values[start : start + CHUNK]
            connection.execute(self._insert + ",".join(["(?,?)"] * (len(part) // 2)), part)

    def renew(self, connection: sqlite3.Connection, after: int, limit: int) -> tuple[int, int | None]:
        """Index the next records behind an internal key anew; return how many, and the last (None: none is left)."""
        arguments = self._live.arguments({"after": after, "limit": limit})
        rows = connection.execute(self._live.sql, arguments).fetchall()
        end = int(rows[-1][0]) if len(rows) == limit else None
        span = f'DELETE FROM "{self.name}" WHERE rowid > ? AND rowid <= ?'
        connection.execute(span, (after, (1 << 62) if end is None else end))
        self.write(connection, {pk: self.of_row(account_pk, values) for pk, account_pk, *values in rows}, ())
        return len(rows), end


def settle_words(connection: sqlite3.Connection, indexes: Sequence[WordIndex]) -> None:
    """Make the indexes that are not there or hold other words, remove those of types that have none any more."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        named = connection.execute("SELECT name, value FROM meta WHERE substr(name, 1, 6) = 'words:'").fetchall()
        stamps = {str(name).removeprefix("words:"): value for name, value in named}
        there = {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for gone in stamps.keys() - {index.kind.name for index in indexes}:
            connection.execute(f'DROP TABLE IF EXISTS "{gone}{SUFFIX}"')
            connection.execute("DELETE FROM meta WHERE name = ?", (f"words:{gone}",))
        for index in indexes:
            if index.name in there and stamps.get(index.kind.name) == index.stamp:
                continue
            connection.execute(f'DROP TABLE IF EXISTS "{index.name}"')
            connection.execute(f"""CREATE VIRTUAL TABLE "{index.name}" USING fts5(words, tokenize = 'ascii')""")
            after: int | None = 0
            while after is not None:
                _, after = index.renew(connection, after, CHUNK)
            connection.execute(
                "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (f"words:{index.kind.name}", index.stamp)
            )
        connection.execute("COMMIT")
    except BaseException as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.OperationalError) and "fts5" in str(error):
            raise StorageRefused(
                "The SQLite of this Python has no FTS5, which full text needs; use another build."
            ) from None
        raise
