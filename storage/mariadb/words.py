"""The index of full text on MariaDB: for each type with searchable fields a table with a FULLTEXT index beside its own.

It holds the words that our own tokeniser finds, spelt in small letters, digits and `_`: so neither the server's list
of stop words, nor its shortest word, nor what it takes for a letter or an operator decides about a match. Before each
word stands its account. Decision 0015.

InnoDB looks words up as they are now, whatever a transaction may see: a search therefore holds the account's counter
against writers, who begin with it (decision 0013). Knows tables and texts, decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from sqlalchemy import BigInteger, Column, MetaData, Table, Text, bindparam, select
from sqlalchemy.engine import Connection

from hub.schema.record import Image
from hub.schema.search import Term
from storage.base import StorageRefused
from storage.mariadb.compile import ask, compiled, spread
from storage.mariadb.connection import begin, rolled_back
from storage.mariadb.faults import AGAIN, code_of
from storage.sql.rows import Rows
from storage.sql.words import CHUNK, SUFFIX, Indexed, index_text, number

SHORTEST: Final = 4
LONGEST: Final = 84
"""How long the words of an index are: an account, a sign and at least a letter; MariaDB's default bound."""
RETRIES: Final = 5
"""How often a step of reindexing is tried again after a deadlock."""
BYTES: Final = 1 << 20
"""About how much text one statement writes."""
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_ANYWHERE, _FIRST, _STOP = "_k", "_h", " _"
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
    """The table of one type."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows)
        column = Column("words", Text)
        self.table = Table(self.name, MetaData(), Column("pk", BigInteger, primary_key=True), column)
        self.create = (
            f"CREATE TABLE IF NOT EXISTS `{self.name}` (pk BIGINT NOT NULL PRIMARY KEY, "
            "words LONGTEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL, FULLTEXT KEY words (words)) "
            "ENGINE=InnoDB ROW_FORMAT=DYNAMIC"
        )
        self._put = (
            f"INSERT INTO `{self.name}` (pk, words) VALUES (%s, %s) ON DUPLICATE KEY UPDATE words = VALUES(words)"
        )
        self._remove = f"DELETE FROM `{self.name}` WHERE pk IN %s"
        table = self.home.table
        columns = (table.c[wire] for wire in self.kind.searchable)
        self._live = compiled(
            select(table.c.pk, table.c.account_pk, *columns)
            .where(table.c.pk > bindparam("after"), table.c.deleted_at.is_(None))
            .order_by(table.c.pk)
            .limit(bindparam("limit"))
            .with_for_update(read=True)
        )
        self._stale = (
            f"DELETE w FROM `{self.name}` w LEFT JOIN `{table.name}` t ON t.pk = w.pk AND t.deleted_at IS NULL "
            "WHERE w.pk > %s AND w.pk <= %s AND t.pk IS NULL"
        )

    def text(self, image: Image, account_pk: int) -> str:
        """Return the words of a record as the index holds them."""
        lead = number(account_pk)
        text = index_text(self.kind, image, lead + _ANYWHERE, lead + _FIRST, _STOP, spelt)
        return f"{text} " if text else ""

    def write(self, connection: Connection, texts: Mapping[int, str | None], stale: Iterable[int]) -> None:
        """Write what is to be found where; `stale` are the keys that may be there already."""
        empty = tuple(pk for pk in stale if not texts[pk])
        for start in range(0, len(empty), CHUNK):
            connection.exec_driver_sql(*spread(self._remove, (empty[start : start + CHUNK],)))
        rows: list[tuple[int, str]] = []
        size = 0
        for pk, text in sorted(texts.items()):
            if not text:
                continue
            rows.append((pk, text))
            size += len(text)
            if size > BYTES or len(rows) == CHUNK:
                connection.exec_driver_sql(self._put, rows)
                rows, size = [], 0
        if rows:
            connection.exec_driver_sql(self._put, rows)

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
            connection.exec_driver_sql(self._stale, (after, (1 << 62) if end is None else end))
            texts = {pk: self.of_row(account_pk, values) for pk, account_pk, *values in rows}
            self.write(connection, texts, texts)
            connection.exec_driver_sql("COMMIT")
        return len(rows), end


def asked(terms: Sequence[Term], account_pk: int) -> tuple[str, list[str], list[str]]:
    """Return what to look for: the expression for MATCH; stretches of text that must be there, because MATCH
    knows no order; and stretches that are there where every term is in the first field."""
    lead = number(account_pk)
    match: list[str] = []
    phrases: list[str] = []
    first: list[str] = []
    for term in terms:
        tokens = [spelt(word) for word in term.words]
        end = "" if term.prefix else " "
        for token in tokens[:-1]:
            match.append(f"+{lead}{_ANYWHERE}{token}")
        match.append(f"+{lead}{_ANYWHERE}{tokens[-1]}{'*' if term.prefix else ''}")
        if len(tokens) > 1:
            phrases.append("".join(f" {lead}{_ANYWHERE}{token}" for token in tokens) + end)
        first.append("".join(f" {lead}{_FIRST}{token}" for token in tokens) + end)
    return " ".join(dict.fromkeys(match)), phrases, first


def settle_words(connection: Connection, indexes: Sequence[MariaWordIndex]) -> None:
    """Make the indexes that are not there or hold other words, remove those of types that have none any more.

    The caller holds the lock of the schema. A start that is broken off goes on where it stopped.
    """
    rows = ask(connection, "SELECT name, value FROM meta WHERE LEFT(name, 6) = 'words:'")
    stamps = {str(name).removeprefix("words:"): str(value) for name, value in rows}
    for gone in stamps.keys() - {index.kind.name for index in indexes}:
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS `{gone}{SUFFIX}`")
        connection.exec_driver_sql("DELETE FROM meta WHERE name = %s", (f"words:{gone}",))
    if not indexes:
        return
    shortest, longest = connection.exec_driver_sql(
        "SELECT @@innodb_ft_min_token_size, @@innodb_ft_max_token_size"
    ).one()
    if int(shortest) > SHORTEST or int(longest) < LONGEST:
        raise StorageRefused(
            f"The server leaves words out of full text; set innodb_ft_min_token_size to {SHORTEST} or less and "
            f"innodb_ft_max_token_size to {LONGEST}."
        )
    connection.exec_driver_sql("SET SESSION innodb_ft_enable_stopword = OFF")
    for index in indexes:
        name = f"words:{index.kind.name}"
        stamp, _, reached = stamps.get(index.kind.name, "").partition("/")
        if stamp == index.stamp and not reached:
            continue
        if stamp != index.stamp:
            reached = "0"
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS `{index.name}`")
        connection.exec_driver_sql(index.create)
        after: int | None = int(reached)
        while after is not None:
            connection.exec_driver_sql(_STAMP, (name, f"{index.stamp}/{after}"))
            _, after = index.renew(connection, after, CHUNK)
        connection.exec_driver_sql(_STAMP, (name, index.stamp))
