"""The statements that make tables and indexes of SQLite, and which of them a file has."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

from sqlalchemy import Index, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from storage.migrations import stamps
from storage.sql.tables import Tables
from storage.sql.words import SUFFIX

DIALECT: Final = sqlite.dialect()


def create(connection: sqlite3.Connection, tables: Tables) -> None:
    """Make every table and index of an empty file."""
    for table in tables.metadata.tables.values():
        connection.execute(table_ddl(table))
    for index in indexes(tables):
        connection.execute(index_ddl(index))


def table_ddl(table: Table) -> str:
    """Return the statement that makes a table."""
    return str(CreateTable(table).compile(dialect=DIALECT)).strip()


def index_ddl(index: Index) -> str:
    """Return the statement that makes an index."""
    return str(CreateIndex(index).compile(dialect=DIALECT)).strip()


def indexes(tables: Tables) -> Iterator[Index]:
    """Yield every index, table by table."""
    for table in tables.metadata.tables.values():
        yield from sorted(table.indexes, key=lambda index: str(index.name))


def names(connection: sqlite3.Connection, kind: str) -> set[str]:
    """Return the names of tables or indexes, without those of SQLite itself, of full text, and the table of stamps."""
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = ? AND name NOT LIKE 'sqlite_%'", (kind,))
    return {str(name) for (name,) in found if SUFFIX not in name} - {stamps.TABLE}
