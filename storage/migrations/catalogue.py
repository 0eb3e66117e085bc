"""What the catalogue of a database says its tables are, as plain texts that can be compared with another database's.

Columns, their types and whether they may be null, indexes, uniques, keys, and how a table is kept. Not the order of
columns, nor the default that a column was given for the rows that were there when it was added. Knows no declaration.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy.engine import Connection

from storage.migrations import stamps
from storage.sql.words import SUFFIX

_WORDS: Final = ("WITHOUT ROWID", "STRICT", "AUTOINCREMENT")
_MARIADB_TABLES: Final = (
    "SELECT TABLE_NAME, ENGINE, ROW_FORMAT, TABLE_COLLATION FROM information_schema.TABLES "
    "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE'"
)
_MARIADB_COLUMNS: Final = (
    "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, COLLATION_NAME, IS_NULLABLE, EXTRA "
    "FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()"
)
_MARIADB_INDEXES: Final = (
    "SELECT TABLE_NAME, INDEX_NAME, NON_UNIQUE, INDEX_TYPE, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS "
    "WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"
)


@dataclass(slots=True)
class Shape:
    """One table: how it is kept, its columns and its indexes, each as a text."""

    kept: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    indexes: dict[str, str] = field(default_factory=dict)


Catalogue = dict[str, Shape]
"""The tables of a database by name, without the one that holds the stamps and those of full text."""


def of_sqlite(connection: sqlite3.Connection) -> Catalogue:
    """Return the catalogue of a SQLite database."""
    made = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    found: Catalogue = {}
    for name, sql in made.fetchall():
        if name == stamps.TABLE or SUFFIX in name:
            continue
        shape = found[name] = Shape(" ".join(word for word in _WORDS if word in sql.upper()))
        for _, column, kind, not_null, _, key, hidden in connection.execute(
            "SELECT * FROM pragma_table_xinfo(?)", (name,)
        ):
            said = [
                kind.upper(),
                "NOT NULL" if not_null else "",
                f"key {key}" if key else "",
                "hidden" if hidden else "",
            ]
            shape.columns[column] = " ".join(filter(None, said))
        for _, _, target, column, other, *_ in connection.execute("SELECT * FROM pragma_foreign_key_list(?)", (name,)):
            shape.columns[column] += f" REFERENCES {target} ({other})"
        for _, index, unique, origin, partial in connection.execute("SELECT * FROM pragma_index_list(?)", (name,)):
            columns = connection.execute("SELECT name, desc FROM pragma_index_xinfo(?) WHERE key", (index,)).fetchall()
            said = [c + (" DESC" if descending else "") for c, descending in columns]
            where = _where(connection, index) if partial else ""
            text = f"{'UNIQUE ' if unique else ''}({', '.join(said)}){where}"
            # What a constraint made has a name that depends on the order of constraints.
            shape.indexes[index if origin == "c" else f"{origin} {text}"] = text
    return found


def _where(connection: sqlite3.Connection, index: str) -> str:
    (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (index,)).fetchone()
    return " WHERE " + " ".join(sql.partition(" WHERE ")[2].split())


def of_mariadb(connection: Connection) -> Catalogue:
    """Return the catalogue of a MariaDB database."""
    found: Catalogue = {}
    for name, *kept in _rows(connection, _MARIADB_TABLES):
        if name != stamps.TABLE and SUFFIX not in name:
            found[name] = Shape(" ".join(map(str, kept)))
    for table, column, kind, collation, nullable, extra in _rows(connection, _MARIADB_COLUMNS):
        if table in found:
            said = [kind, collation or "", "" if nullable == "YES" else "NOT NULL", extra]
            found[table].columns[column] = " ".join(filter(None, said))
    for table, index, repeated, kind, column, part in _rows(connection, _MARIADB_INDEXES):
        if table in found:
            indexes = found[table].indexes
            begun = indexes.get(index, f"{'' if repeated else 'UNIQUE '}{kind} ").removesuffix(")")
            indexes[index] = f"{begun}{', ' if index in indexes else '('}{column}{f'({part})' if part else ''})"
    return found


def _rows(connection: Connection, sql: str) -> Any:
    return connection.exec_driver_sql(sql).all()
