"""What a start adds to a database of earlier declarations: decision 0003, as on SQLite.

MariaDB commits at every ALTER. So everything is compared with the catalogue first, and refused before anything is
changed; what is added is added step by step, and a start that was broken off finds in the catalogue where to go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, Index, String, Table, Text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable, DDLElement

from hub.schema.fold import fold
from storage.base import StorageRefused
from storage.mariadb.compile import DIALECT, ask
from storage.mariadb.connection import begin, rolled_back
from storage.mariadb.faults import TAKEN, code_of
from storage.migrations.branches import Said
from storage.sql.growth import default_of
from storage.sql.tables import FOLD, INTERNAL, Tables

FOLDED: Final = 500
"""How many rows get their folded copy in one statement."""
_TEXTS: Final = frozenset({"varchar", "text", "longtext"})
_KINDS: Final = {"bool": "tinyint", "integer": "int", "blob": "tinyblob"}
_COLUMNS: Final = (
    "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, IS_NULLABLE, CHARACTER_MAXIMUM_LENGTH, CHARACTER_SET_NAME "
    "FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()"
)
_INDEXES: Final = (
    "SELECT TABLE_NAME, INDEX_NAME, NON_UNIQUE, COLUMN_NAME FROM information_schema.STATISTICS "
    "WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"
)


@dataclass(frozen=True, slots=True)
class _Stored:
    kind: str
    nullable: bool
    length: int
    charset: str | None


@dataclass(frozen=True, slots=True)
class Addition:
    """One statement that adds something; `refusal` is what is said where values stand against it."""

    sql: str
    arguments: tuple[Any, ...] = ()
    refusal: str | None = None


def additions(connection: Connection, tables: Tables, but: frozenset[str] = frozenset()) -> list[Addition]:
    """Return what has to be added to the tables, `but` these; raise `StorageRefused` for what needs a step.

    Changes nothing.
    """
    stored, indexed = _columns(connection), _indexes(connection)
    found: list[Addition] = []
    for table in tables.metadata.tables.values():
        if table.name in but:
            continue
        there = stored.get(table.name)
        if there is None:
            found += map(Addition, table_ddl(table))
        elif _alike(table, there):
            found += _wider(table, there)
            found += _index(tables, table, indexed.get(table.name, {}))
        elif not ask(connection, f"SELECT 1 FROM `{table.name}` LIMIT 1"):
            found += map(Addition, (f"DROP TABLE `{table.name}`", *table_ddl(table)))
        else:
            found += _missing(tables, table, there)
            found += _wider(table, there)
            found += _index(tables, table, indexed.get(table.name, {}))
    return found


def grow(connection: Connection, tables: Tables, said: Said) -> None:
    """Add what is declared and not there, and write the folded copies that are missing."""
    for addition in additions(connection, tables):
        said(addition.sql)
        try:
            connection.exec_driver_sql(addition.sql, addition.arguments)
        except DBAPIError as error:
            if code_of(error) not in TAKEN or addition.refusal is None:
                raise
            raise StorageRefused(addition.refusal) from None
    for home in tables.homes():
        for wire, spec in home.kind.fields.items():
            if spec.option.folded:
                _fold(connection, home.table, home.fold(wire))


def table_ddl(table: Table) -> list[str]:
    """Return the statements that make a table and its indexes; re-runnable.

    There are no foreign keys: the decision checks references under the lock of the account.
    """
    create = CreateTable(table, if_not_exists=True, include_foreign_key_constraints=[])
    indexes: list[Index] = sorted(table.indexes, key=lambda index: str(index.name))
    statements: list[DDLElement] = [create, *(CreateIndex(index, if_not_exists=True) for index in indexes)]
    return [str(statement.compile(dialect=DIALECT)).strip() for statement in statements]


def _alike(table: Table, there: dict[str, _Stored]) -> bool:
    return len(there) == len(table.c) and all(_like(column, there.get(column.name)) for column in table.columns)


def _missing(tables: Tables, table: Table, there: dict[str, _Stored]) -> Iterator[Addition]:
    for name in sorted(set(there) - set(table.c.keys())):
        raise StorageRefused(
            f"The database has a field {name} of {table.name} that is no longer declared; declare it again, "
            "or write a migration that says what becomes of its values."
        )
    for column in table.columns:
        if column.name not in there:
            default = _default(tables, table, column)
            also = "" if default is None else " DEFAULT %s"
            add = f"ALTER TABLE `{table.name}` ADD COLUMN {_column_ddl(column)}{also}"
            yield Addition(add, () if default is None else (default,))
        elif not _like(column, there[column.name]):
            raise StorageRefused(
                f"The field {column.name} of {table.name} is declared differently than it is stored; "
                "it needs a migration."
            )


def _wider(table: Table, there: dict[str, _Stored]) -> Iterator[Addition]:
    for column in table.columns:
        stored = there.get(column.name)
        if stored is not None and isinstance(column.type, String | Text) and _room(column) > stored.length:
            yield Addition(f"ALTER TABLE `{table.name}` MODIFY COLUMN {_column_ddl(column)}")


def _index(tables: Tables, table: Table, there: dict[str, tuple[bool, list[str]]]) -> Iterator[Addition]:
    wanted = {str(index.name): index for index in table.indexes}
    same = set()
    for name, (unique, columns) in there.items():
        index = wanted.get(name)
        ours = name.startswith(f"{table.name}_") and table.name not in tables.own
        if index is not None and (bool(index.unique), [c.name for c in index.columns]) == (unique, columns):
            same.add(name)
        elif index is not None or ours:
            yield Addition(f"DROP INDEX `{name}` ON `{table.name}`")
    for name, index in wanted.items():
        if name in same:
            continue
        fields = ", ".join(column.name for column in index.columns if column.name not in INTERNAL)
        yield Addition(
            str(CreateIndex(index, if_not_exists=True).compile(dialect=DIALECT)),
            refusal=f"Records of type {table.name} are not unique by {fields}; make them so first.",
        )


def _indexes(connection: Connection) -> dict[str, dict[str, tuple[bool, list[str]]]]:
    found: dict[str, dict[str, tuple[bool, list[str]]]] = {}
    for table, name, repeated, column in ask(connection, _INDEXES):
        found.setdefault(table, {}).setdefault(name, (not repeated, []))[1].append(str(column))
    return found


def _column_ddl(column: Column[Any]) -> str:
    return str(CreateColumn(column).compile(dialect=DIALECT)).strip()


def _columns(connection: Connection) -> dict[str, dict[str, _Stored]]:
    found: dict[str, dict[str, _Stored]] = {}
    for table, name, kind, nullable, length, charset in ask(connection, _COLUMNS):
        found.setdefault(table, {})[name] = _Stored(kind, nullable == "YES", int(length or 0), charset)
    return found


def _kind(column: Column[Any]) -> str:
    bare = column.type.compile(DIALECT).split("(")[0].split(" ")[0].lower()
    return _KINDS.get(bare, bare)


def _like(column: Column[Any], there: _Stored | None) -> bool:
    """Say whether a column holds the same kind of values as the stored one; how long a text may be is no matter."""
    if there is None or bool(column.nullable) != there.nullable:
        return False
    kind = _kind(column)
    return kind == there.kind or (kind in _TEXTS and there.kind in _TEXTS)


def _room(column: Column[Any]) -> int:
    """Return how many characters (of a text without a bound: how many bytes) a declared text column takes."""
    kind = _kind(column)
    if kind == "varchar":
        return int(column.type.compile(DIALECT).split("(")[1].split(")")[0])
    return {"text": 65535, "longtext": 2**32 - 1}.get(kind, 0)


def _default(tables: Tables, table: Table, column: Column[Any]) -> Any:
    """Return what rows that are there get in a new column, None for null; raise where nobody says."""
    value = default_of(tables, table, column)
    if value is not None:
        return value
    if column.nullable:
        return None
    raise StorageRefused(
        f"The new field {column.name} of {table.name} has no default, and there are records without it; "
        "give it a default or allow null."
    )


def _fold(connection: Connection, table: Table, column: Column[Any]) -> None:
    """Write the folded copies that are not there yet."""
    source = column.name.removesuffix(FOLD)
    missing = f"SELECT pk, `{source}` FROM `{table.name}` WHERE `{column.name}` IS NULL AND `{source}` IS NOT NULL"
    write = f"UPDATE `{table.name}` SET `{column.name}` = %s WHERE pk = %s"
    found = FOLDED
    while found == FOLDED:
        # Some at a time share a sync, and nobody changes a text between reading it and writing its copy.
        with rolled_back(connection):
            begin(connection)
            rows = ask(connection, f"{missing} LIMIT {FOLDED} FOR UPDATE")
            for pk, text in rows:
                connection.exec_driver_sql(write, (fold(text), pk))
            connection.exec_driver_sql("COMMIT")
        found = len(rows)
