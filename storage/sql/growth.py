"""What a start adds to a SQLite file beyond the steps: what declarations add, and cannot lose or reinterpret anything.

A type, a field that may be null or has a default, a folded copy, an index. Everything else is refused with a
sentence, because it needs a step. Decision 0003.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Column, Table
from sqlalchemy.schema import CreateColumn

from hub.schema.fold import fold
from storage.base import StorageRefused
from storage.migrations.branches import Said
from storage.sql.ddl import DIALECT, index_ddl, indexes, names, table_ddl
from storage.sql.rows import millis, to_json
from storage.sql.tables import FOLD, INTERNAL, Tables


class _Adding:
    """Changes a file, and says so before the first change."""

    def __init__(self, connection: sqlite3.Connection, said: Said) -> None:
        self.connection = connection
        self._said = said
        self._begun = False

    def __call__(self, sql: str) -> None:
        if not self._begun:
            self._said("what declarations add")
            self._begun = True
        self.connection.execute(sql)


def grow(connection: sqlite3.Connection, tables: Tables, present: set[str], said: Said) -> None:
    """Add what is declared and not there; refuse what is there and no longer declared, or is different."""
    add = _Adding(connection, said)
    declared = tables.metadata.tables
    gone = sorted(present - set(declared))
    if gone:
        raise StorageRefused(
            f"The database holds records of type {gone[0]}, which no loaded pack declares; load that pack."
        )
    for table in declared.values():
        if table.name not in present:
            add(table_ddl(table))
        else:
            _grow_table(add, tables, table)
    there = {name: sql for name, sql in connection.execute("SELECT name, sql FROM sqlite_master WHERE sql NOT NULL")}
    wanted = {str(index.name): index for index in indexes(tables)}
    for name in sorted(names(connection, "index") - set(wanted)):
        add(f'DROP INDEX "{name}"')
    for name, index in wanted.items():
        if name in there and there[name] != index_ddl(index):
            add(f'DROP INDEX "{name}"')
            del there[name]
        if name not in there:
            try:
                add(index_ddl(index))
            except sqlite3.IntegrityError:
                raise StorageRefused(
                    f"Records of type {index.table.name if index.table is not None else name} are not unique by "
                    f"{', '.join(c.name for c in index.columns if c.name not in INTERNAL)}; make them so first."
                ) from None
    _fold(add, tables)


def _grow_table(add: _Adding, tables: Tables, table: Table) -> None:
    rows = add.connection.execute(f'PRAGMA table_info("{table.name}")').fetchall()
    there = {str(row[1]): (_class(str(row[2])), bool(row[3])) for row in rows}
    wanted = {c.name: (_class(c.type.compile(DIALECT)), not c.nullable) for c in table.columns}
    if there == wanted:
        return
    if add.connection.execute(f'SELECT 1 FROM "{table.name}" LIMIT 1').fetchone() is None:
        add(f'DROP TABLE "{table.name}"')
        add(table_ddl(table))
        return
    for name in sorted(set(there) - set(wanted)):
        raise StorageRefused(
            f"The database has a field {name} of {table.name} that is no longer declared; declare it again, "
            "or write a migration that says what becomes of its values."
        )
    for column in table.columns:
        if column.name not in there:
            _add(add, tables, table, column)
        elif there[column.name] != wanted[column.name]:
            raise StorageRefused(
                f"The field {column.name} of {table.name} is declared differently than it is stored; "
                "it needs a migration."
            )


def _add(add: _Adding, tables: Tables, table: Table, column: Column[Any]) -> None:
    """Add a column to a table that has rows."""
    ddl = str(CreateColumn(column).compile(dialect=DIALECT))
    default = default_of(tables, table, column)
    if default is not None:
        add(f'ALTER TABLE "{table.name}" ADD COLUMN {ddl} DEFAULT {literal(default)}')
    elif column.nullable:
        add(f'ALTER TABLE "{table.name}" ADD COLUMN {ddl}')
    else:
        raise StorageRefused(
            f"The new field {column.name} of {table.name} has no default, and there are records without it; "
            "give it a default or allow null."
        )


def _fold(add: _Adding, tables: Tables) -> None:
    """Write the folded copies that are not there, whether a step added their column or a start."""
    add.connection.create_function("aether_fold", 1, lambda text: None if text is None else fold(text))
    for home in tables.homes():
        for wire, spec in home.kind.fields.items():
            if not spec.option.folded:
                continue
            missing = f'"{wire + FOLD}" IS NULL AND "{wire}" IS NOT NULL'
            if add.connection.execute(f'SELECT 1 FROM "{home.table.name}" WHERE {missing} LIMIT 1').fetchone():
                add(f'UPDATE "{home.table.name}" SET "{wire + FOLD}" = aether_fold("{wire}") WHERE {missing}')


def default_of(tables: Tables, table: Table, column: Column[Any]) -> Any:
    """Return what a field is where nobody says, as its column holds it; None where that is null or nothing is
    declared."""
    home = next((home for home in tables.homes() if home.table is table), None)
    spec = home.kind.fields.get(column.name) if home is not None else None
    if spec is None or spec.initial is None:
        return None
    return _STORED.get(spec.kind, lambda value: value)(spec.initial)


_STORED: Final[dict[str, Callable[[Any], Any]]] = {"time": millis, "list": to_json, "object": to_json}


def literal(value: Any) -> str:
    """Return a default of a field as a SQL literal."""
    if isinstance(value, int | float):  # bool too
        return repr(float(value) if isinstance(value, float) else int(value))
    return "'" + str(value).replace("'", "''") + "'"


def _class(type_name: str) -> str:
    """Return what of a column's type decides how it is stored: the length of a text does not."""
    bare = type_name.partition("(")[0]
    return {"VARCHAR": "TEXT", "INTEGER": "BIGINT"}.get(bare, bare)
