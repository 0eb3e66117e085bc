"""The schema stamp and the baseline: a fresh file gets every table; a known one is compared, never guessed at.

`meta` says which format the file has, which schema, and the epoch of its logs. What a declaration only adds
(a type, a field that may be absent or has a default, an index) is added at start; everything else is
refused with a sentence, because it needs a migration. Decision 0003.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, Final

from sqlalchemy import Column, Index, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from hub.schema.fold import fold
from storage.base import StorageRefused
from storage.sql.rows import to_json
from storage.sql.tables import FOLD, INTERNAL, Tables
from storage.sql.words import SUFFIX

FORMAT: Final = 1
"""The layout of the tables that are not a record type's. Another number is another program's file."""
_DIALECT: Final = sqlite.dialect()


def settle(connection: sqlite3.Connection, tables: Tables, new_epoch: Callable[[], str]) -> str:
    """Make the file's schema that of `tables` and return the epoch; raise `StorageRefused`."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        present = _names(connection, "table")
        if not present:
            epoch = _create(connection, tables, new_epoch())
        else:
            epoch = _check(connection, tables, present)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return epoch


def schema_hash(tables: Tables) -> str:
    """Return what changes whenever a table, a column or an index does."""
    text = "\n".join(sorted(str(_ddl(table)) for table in tables.metadata.tables.values()))
    text += "\n".join(sorted(str(_index_ddl(index)) for index in _indexes(tables)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _create(connection: sqlite3.Connection, tables: Tables, epoch: str) -> str:
    for table in tables.metadata.tables.values():
        connection.execute(_ddl(table))
    for index in _indexes(tables):
        connection.execute(_index_ddl(index))
    facts = {"format": str(FORMAT), "schema": schema_hash(tables), "epoch": epoch, "probe": "0"}
    connection.executemany("INSERT INTO meta (name, value) VALUES (?, ?)", facts.items())
    return epoch


def _check(connection: sqlite3.Connection, tables: Tables, present: set[str]) -> str:
    if "meta" not in present or "change" not in present:
        raise StorageRefused("The file is a database of another program; name another file for the hub.")
    facts = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    if facts.get("format") != str(FORMAT):
        raise StorageRefused(
            f"The database has format {facts.get('format', 'unknown')}, this hub knows format {FORMAT}; "
            "run the version of the hub that wrote it, or restore a backup of this one."
        )
    if facts.get("schema") != schema_hash(tables):
        _grow(connection, tables, present)
    # Written also where it stays the same: a file that cannot be written is refused now, not at the first commit.
    connection.execute("UPDATE meta SET value = ? WHERE name = 'schema'", (schema_hash(tables),))
    return str(facts["epoch"])


def _grow(connection: sqlite3.Connection, tables: Tables, present: set[str]) -> None:
    """Add what is declared and not there; refuse what is there and no longer declared, or is different."""
    declared = tables.metadata.tables
    gone = sorted(present - set(declared))
    if gone:
        raise StorageRefused(
            f"The database holds records of type {gone[0]}, which no loaded pack declares; load that pack."
        )
    for table in declared.values():
        if table.name not in present:
            connection.execute(_ddl(table))
        else:
            _grow_table(connection, tables, table)
    there = {name: sql for name, sql in connection.execute("SELECT name, sql FROM sqlite_master WHERE sql NOT NULL")}
    wanted = {str(index.name): index for index in _indexes(tables)}
    for name in sorted(_names(connection, "index") - set(wanted)):
        connection.execute(f'DROP INDEX "{name}"')
    for name, index in wanted.items():
        if name in there and there[name] != _index_ddl(index):
            connection.execute(f'DROP INDEX "{name}"')
            del there[name]
        if name not in there:
            try:
                connection.execute(_index_ddl(index))
            except sqlite3.IntegrityError:
                raise StorageRefused(
                    f"Records of type {index.table.name if index.table is not None else name} are not unique by "
                    f"{', '.join(c.name for c in index.columns if c.name not in INTERNAL)}; make them so first."
                ) from None


def _grow_table(connection: sqlite3.Connection, tables: Tables, table: Table) -> None:
    rows = connection.execute(f'PRAGMA table_info("{table.name}")').fetchall()
    there = {str(row[1]): (_class(str(row[2])), bool(row[3])) for row in rows}
    wanted = {c.name: (_class(c.type.compile(_DIALECT)), not c.nullable) for c in table.columns}
    if there == wanted:
        return
    if connection.execute(f'SELECT 1 FROM "{table.name}" LIMIT 1').fetchone() is None:
        connection.execute(f'DROP TABLE "{table.name}"')
        connection.execute(_ddl(table))
        return
    for name in sorted(set(there) - set(wanted)):
        raise StorageRefused(
            f"The database has a field {name} of {table.name} that is no longer declared; declare it again, "
            "or write a migration that says what becomes of its values."
        )
    for column in table.columns:
        if column.name not in there:
            _add(connection, tables, table, column)
        elif there[column.name] != wanted[column.name]:
            raise StorageRefused(
                f"The field {column.name} of {table.name} is declared differently than it is stored; "
                "it needs a migration."
            )


def _add(connection: sqlite3.Connection, tables: Tables, table: Table, column: Column[Any]) -> None:
    """Add a column to a table that has rows."""
    ddl = str(CreateColumn(column).compile(dialect=_DIALECT))
    home = next((home for home in tables.homes() if home.table is table), None)
    fields = home.kind.fields if home is not None else {}
    folded = column.name.removesuffix(FOLD)
    if column.name not in fields and folded in fields:
        connection.execute(f'ALTER TABLE "{table.name}" ADD COLUMN {ddl}')
        connection.create_function("aether_fold", 1, lambda text: None if text is None else fold(text))
        connection.execute(f'UPDATE "{table.name}" SET "{column.name}" = aether_fold("{folded}")')
        return
    spec = fields.get(column.name)
    if spec is not None and not spec.required and spec.default is not None:
        connection.execute(f'ALTER TABLE "{table.name}" ADD COLUMN {ddl} DEFAULT {_literal(spec.default)}')
    elif column.nullable:
        connection.execute(f'ALTER TABLE "{table.name}" ADD COLUMN {ddl}')
    else:
        raise StorageRefused(
            f"The new field {column.name} of {table.name} has no default, and there are records without it; "
            "give it a default or allow null."
        )


def _literal(value: Any) -> str:
    """Return a default of a field as a SQL literal."""
    if isinstance(value, int | float):  # bool too
        return repr(float(value) if isinstance(value, float) else int(value))
    text = value if isinstance(value, str) else to_json(value)
    return "'" + text.replace("'", "''") + "'"


def _class(type_name: str) -> str:
    """Return what of a column's type decides how it is stored: the length of a text does not."""
    bare = type_name.partition("(")[0]
    return {"VARCHAR": "TEXT", "INTEGER": "BIGINT"}.get(bare, bare)


def _ddl(table: Table) -> str:
    return str(CreateTable(table).compile(dialect=_DIALECT)).strip()


def _index_ddl(index: Index) -> str:
    return str(CreateIndex(index).compile(dialect=_DIALECT)).strip()


def _indexes(tables: Tables) -> Iterator[Index]:
    for table in tables.metadata.tables.values():
        yield from sorted(table.indexes, key=lambda index: str(index.name))


def _names(connection: sqlite3.Connection, kind: str) -> set[str]:
    """Return the names of tables or indexes, without those that SQLite makes itself and those of full text."""
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = ? AND name NOT LIKE 'sqlite_%'", (kind,))
    return {str(name) for (name,) in found if SUFFIX not in name}
