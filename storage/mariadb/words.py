"""The index of full text on MariaDB: for each type with searchable fields two tables beside its own.

One holds the words of each record as one text, the other a row for each word of a record, by which records are found.
Both are written in the transaction of the record, so a snapshot sees records and words as one state; FULLTEXT of InnoDB
does not promise that (decision 0025). Words are what our own tokeniser finds, spelt in small letters, digits and `_`;
before each stands its account. Knows tables and texts, decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

from sqlalchemy import BigInteger, Column, MetaData, String, Table, Text, bindparam, select
from sqlalchemy.engine import Connection

from hub.schema.record import Image
from hub.schema.search import Term
from storage.mariadb.compile import ask, compiled, spread
from storage.mariadb.connection import begin, rolled_back
from storage.mariadb.faults import AGAIN, code_of
from storage.sql.rows import Rows
from storage.sql.words import CHUNK, SUFFIX, Indexed, index_text, number

LONGEST: Final = 96
"""How long a word may be with its account and sign before it; its own letters have a bound in `hub.schema.words`."""
RETRIES: Final = 5
"""How often a step of reindexing is tried again after a deadlock."""
BYTES: Final = 1 << 20
"""About how much text one statement writes."""
PLACES: Final = 500
"""How many rows of words one statement writes or removes."""
LOOKED_UP: Final = 8
"""How many words of a search are compared for the rarest one."""
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_ANYWHERE, _FIRST, _STOP = "_k", "_h", " _"
_AFTER: Final = "~"
"""Comes behind every character of a word."""
_PLACED: Final = re.compile(rf"(?<= )[0-9a-z]+{_ANYWHERE}[0-9a-z_]+")
"""The words of a text that get rows; those of the first field stand in the text once more, under another sign."""
_LAYOUT: Final = "2"
"""Which tables these are; a database with others gets them at the next start."""
_STAMP: Final = "INSERT INTO meta (name, value) VALUES (%s, %s) ON DUPLICATE KEY UPDATE value = VALUES(value)"


@lru_cache(4096)
def _letter(character: str) -> str:
    """Return how a character is spelt; none is the beginning of another. As long as `hub.schema.words.cost` says."""
    code = ord(character)
    if code < 0x80:
        return character
    if code < 0x500:
        first, last = divmod(code - 0x80, 36)
        return f"_{_DIGITS[first]}{_DIGITS[last]}"
    if code < 0x22780:
        first, rest = divmod(code - 0x500, 36**3)
        return f"_{'wxy'[first]}{number(rest):0>3}"
    return f"_z{number(code):0>4}"


@lru_cache(65536)
def spelt(word: str) -> str:
    """Return a word in small letters, digits and `_`; what begins with it begins with its spelling."""
    return word if word.isascii() else "".join(map(_letter, word))


class MariaWordIndex(Indexed):
    """The tables of one type."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows)
        self.stamp = f"{_LAYOUT}:{self.stamp}"
        metadata = MetaData()
        self.table = Table(self.name, metadata, Column("pk", BigInteger, primary_key=True), Column("words", Text))
        self.places = Table(f"{self.name}_at", metadata, Column("word", String), Column("pk", BigInteger))
        self.creates = (
            f"CREATE TABLE IF NOT EXISTS `{self.name}` (pk BIGINT NOT NULL PRIMARY KEY, "
            "words LONGTEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL) ENGINE=InnoDB ROW_FORMAT=DYNAMIC",
            f"CREATE TABLE IF NOT EXISTS `{self.places.name}` (word VARCHAR({LONGEST}) CHARACTER SET ascii "
            "COLLATE ascii_nopad_bin NOT NULL, pk BIGINT NOT NULL, PRIMARY KEY (word, pk)) "
            "ENGINE=InnoDB ROW_FORMAT=DYNAMIC",
        )
        self.drops = tuple(f"DROP TABLE IF EXISTS `{table.name}`" for table in (self.table, self.places))
        self._put = (
            f"INSERT INTO `{self.name}` (pk, words) VALUES (%s, %s) ON DUPLICATE KEY UPDATE words = VALUES(words)"
        )
        self._remove = f"DELETE FROM `{self.name}` WHERE pk IN %s"
        self._held = f"SELECT pk, words FROM `{self.name}` WHERE pk IN %s FOR UPDATE"
        # What `_PLACED` finds needs no escaping, so a thousand rows are one text without a thousand parameters.
        self._place = "INSERT INTO `" + self.places.name + "` (word, pk) VALUES {} ON DUPLICATE KEY UPDATE pk = pk"
        self._displace = "DELETE FROM `" + self.places.name + "` WHERE (word, pk) IN ({})"
        table = self.home.table
        columns = (table.c[wire] for wire in self.kind.searchable)
        self._live = compiled(
            select(table.c.pk, table.c.account_pk, *columns)
            .where(table.c.pk > bindparam("after"), table.c.deleted_at.is_(None))
            .order_by(table.c.pk)
            .limit(bindparam("limit"))
            .with_for_update(read=True)
        )
        self._left = (
            f"SELECT w.pk FROM `{self.name}` w LEFT JOIN `{table.name}` t ON t.pk = w.pk AND t.deleted_at IS NULL "
            "WHERE w.pk > %s AND w.pk <= %s AND t.pk IS NULL FOR UPDATE"
        )

    def text(self, image: Image, account_pk: int) -> str:
        """Return the words of a record as the index holds them."""
        lead = number(account_pk)
        text = index_text(self.kind, image, lead + _ANYWHERE, lead + _FIRST, _STOP, spelt)
        return f"{text} " if text else ""

    def write(
        self, connection: Connection, texts: Mapping[int, str | None], stale: Iterable[int], *, heal: bool = False
    ) -> None:
        """Write what is to be found where; `stale` are the keys that may be there already.

        `heal`: rows of words are written also where the text says that they are there.
        """
        old = self._texts_of(connection, stale)
        gone: set[tuple[str, int]] = set()
        new: set[tuple[str, int]] = set()
        for pk, text in texts.items():
            before = set(_PLACED.findall(old.get(pk, "")))
            now = set(_PLACED.findall(text or ""))
            gone.update((word, pk) for word in before - now)
            new.update((word, pk) for word in (now if heal else now - before))
        empty = tuple(pk for pk in old if not texts[pk])
        for start in range(0, len(empty), CHUNK):
            connection.exec_driver_sql(*spread(self._remove, (empty[start : start + CHUNK],)))
        rows: list[tuple[int, str]] = []
        size = 0
        for pk, text in sorted(texts.items()):
            if not text or text == old.get(pk):
                continue
            rows.append((pk, text))
            size += len(text)
            if size > BYTES or len(rows) == CHUNK:
                connection.exec_driver_sql(self._put, rows)
                rows, size = [], 0
        if rows:
            connection.exec_driver_sql(self._put, rows)
        for values in _stretches(sorted(gone)):
            # To a list with one row MariaDB goes through the whole table, to one with two it does not.
            values = values if values.count("(") > 1 else f"{values},{values}"
            connection.exec_driver_sql(self._displace.format(values))
        for values in _stretches(sorted(new)):
            connection.exec_driver_sql(self._place.format(values))

    def _texts_of(self, connection: Connection, keys: Iterable[int]) -> dict[int, str]:
        """Return the texts that are there; nobody else changes them until the transaction ends."""
        wanted = tuple(keys)
        found: dict[int, str] = {}
        for start in range(0, len(wanted), CHUNK):
            found |= {int(pk): text for pk, text in ask(connection, self._held, (wanted[start : start + CHUNK],))}
        return found

    def renew(self, connection: Connection, after: int, limit: int) -> tuple[int, int | None]:
        """Index the next records behind an internal key anew, in a transaction; return how many, and the last."""
        for attempt in range(RETRIES + 1):
            try:
                return self._renew(connection, after, limit)
            except Exception as error:
                if code_of(error) not in AGAIN or attempt == RETRIES:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _renew(self, connection: Connection, after: int, limit: int) -> tuple[int, int | None]:
        with rolled_back(connection):
            begin(connection)
            rows = ask(connection, self._live.sql, self._live.arguments({"after": after, "limit": limit}))
            end = int(rows[-1][0]) if len(rows) == limit else None
            left = ask(connection, self._left, (after, (1 << 62) if end is None else end))
            texts: dict[int, str | None] = dict.fromkeys([int(pk) for (pk,) in left])
            texts |= {pk: self.of_row(account_pk, values) for pk, account_pk, *values in rows}
            self.write(connection, texts, texts, heal=True)
            connection.exec_driver_sql("COMMIT")
        return len(rows), end


def _stretches(places: Sequence[tuple[str, int]]) -> Iterator[str]:
    """Yield rows of words as SQL, as many as one statement takes."""
    for start in range(0, len(places), PLACES):
        yield ",".join([f"('{word}',{pk})" for word, pk in places[start : start + PLACES]])


def asked(terms: Sequence[Term], account_pk: int) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """Return how to look for terms: words of which each record that is looked for has all, each as the first and the
    last that it may be, the most telling ones before; stretches of text that are there; and stretches that are
    there where every term is in the first field."""
    lead = number(account_pk)
    whole: set[str] = set()
    begun: set[str] = set()
    there: list[str] = []
    first: list[str] = []
    for term in terms:
        tokens = [spelt(word) for word in term.words]
        (begun if term.prefix else whole).add(f"{lead}{_ANYWHERE}{tokens[-1]}")
        whole.update(f"{lead}{_ANYWHERE}{token}" for token in tokens[:-1])
        end = "" if term.prefix else " "
        for sign, found in ((_ANYWHERE, there), (_FIRST, first)):
            found.append("".join(f" {lead}{sign}{token}" for token in tokens) + end)
    words = [(word, word) for word in sorted(whole, key=len, reverse=True)]
    words += [(word, word + _AFTER) for word in sorted(begun, key=len, reverse=True)]
    return words[:LOOKED_UP], there, first


def settle_words(connection: Connection, indexes: Sequence[MariaWordIndex]) -> None:
    """Make the indexes that are not there or hold other words, remove those of types that have none any more.

    The caller holds the lock of the schema. A start that is broken off goes on where it stopped.
    """
    rows = ask(connection, "SELECT name, value FROM meta WHERE LEFT(name, 6) = 'words:'")
    stamps = {str(name).removeprefix("words:"): str(value) for name, value in rows}
    for gone in stamps.keys() - {index.kind.name for index in indexes}:
        for name in (f"{gone}{SUFFIX}", f"{gone}{SUFFIX}_at"):
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS `{name}`")
        connection.exec_driver_sql("DELETE FROM meta WHERE name = %s", (f"words:{gone}",))
    for index in indexes:
        name = f"words:{index.kind.name}"
        stamp, _, reached = stamps.get(index.kind.name, "").partition("/")
        if stamp == index.stamp and not reached:
            continue
        if stamp != index.stamp:
            reached = "0"
            for drop in index.drops:
                connection.exec_driver_sql(drop)
        for create in index.creates:
            connection.exec_driver_sql(create)
        after: int | None = int(reached)
        while after is not None:
            connection.exec_driver_sql(_STAMP, (name, f"{index.stamp}/{after}"))
            _, after = index.renew(connection, after, CHUNK)
        connection.exec_driver_sql(_STAMP, (name, index.stamp))
