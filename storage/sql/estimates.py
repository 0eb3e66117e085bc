"""What SQLite is told about the tables of record types, so that it chooses indexes by what they are for.

Without figures it takes an account to have ten records, and goes through all of them to save itself a sort, although
a unique field was asked for. Counting what is there would make plans depend on what was there at the last start. So
every table gets the same figures: many accounts with a thousand records each, of which few have the same value.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

from storage.sql.tables import Tables

ROWS: Final = 1_000_000
OF_ACCOUNT: Final = 1_000
"""How many rows of a table are of one account."""
SAME: Final = 100
"""The part of the rows that have the same value in one more column is one in so many."""


def estimate(connection: sqlite3.Connection, tables: Tables) -> None:
    """Write the figures where they are not there yet; connections that are opened afterwards go by them."""
    wanted = sorted(figures(tables))
    there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'").fetchall()
    if there and sorted(connection.execute("SELECT tbl, idx, stat FROM sqlite_stat1")) == wanted:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("ANALYZE sqlite_master")  # makes the table of figures, and counts nothing
        connection.execute("DELETE FROM sqlite_stat1")
        connection.executemany("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (?, ?, ?)", wanted)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("ANALYZE sqlite_master")  # this connection reads them anew


def figures(tables: Tables) -> Iterator[tuple[str, str, str]]:
    """Yield table, index, and its figures: all rows, then how many are alike in the first column, the first two, …"""
    for home in tables.homes():
        for index in home.table.indexes:
            # What is looked up before there is an account hardly ever has the same value twice.
            alike, said = SAME, [ROWS]
            for column in index.columns:
                alike = OF_ACCOUNT if column.name == "account_pk" else 1 if column.name == "id" else alike // SAME
                said.append(max(alike, 1))
            if index.unique and "alive" in index.columns:  # of the same value there are only tombstones besides
                said[-2:] = [1, 1]
            yield home.table.name, str(index.name), " ".join(map(str, said))
