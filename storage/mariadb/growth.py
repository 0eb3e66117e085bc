"""What a start adds to a database of earlier declarations: decision 0003, as on SQLite.

MariaDB commits at every ALTER. So everything is compared with the catalogue first, and refused before anything is
changed; what is added is added step by step, and a start that was broken off finds in the catalogue where to go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, Index, String, Table, Text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateColumn, CreateIndex

from hub.schema.fold import fold
from storage.base import StorageRefused
from storage.mariadb.compile import DIALECT, ask
from storage.mariadb.faults import TAKEN, code_of
from storage.sql.rows import to_json
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


def compare(connection: Connection, tables: Tables) -> list[Table]:
    """Return the tables without rows that have to be made anew; raise `StorageRefused` for what needs a migration."""
    stored = _columns(connection)
    anew = []
    for table in tables.metadata.tables.values():
        there = stored.get(table.name)
        if there is None or (all(_like(c, there.get(c.name)) for c in table.columns) and len(there) == len(table.c)):
            continue
        if not ask(connection, f"SELECT 1 FROM `{table.name}` LIMIT 1"):
            anew.append(table)
            continue
        for name in sorted(set(there) - set(table.c.keys())):
            raise StorageRefused(
                f"The database has a field {name} of {table.name} that is no longer declared; declare it again, "
                "or write a migration that says what becomes of its values."
            )
        for column in table.columns:
            if column.name not in there:
                _default(tables, table, column)
            elif not _like(column, there[column.name]):
                raise StorageRefused(
                    f"The field {column.name} of {table.name} is declared differently than it is stored; "
                    "it needs a migration."
                )
    return anew


def grow(connection: Connection, tables: Tables) -> None:
    """Add columns, widen texts, replace indexes; every table is there, and comparison found nothing to refuse."""
    stored = _columns(connection)
    for table in tables.metadata.tables.values():
        for column in table.columns:
            there = stored[table.name].get(column.name)
            ddl = str(CreateColumn(column).compile(dialect=DIALECT)).strip()
            if there is None:
                default = _default(tables, table, column)
                also = "" if default is None else " DEFAULT %s"
                connection.exec_driver_sql(
                    f"ALTER TABLE `{table.name}` ADD COLUMN {ddl}{also}", () if default is None else (default,)
                )
            elif isinstance(column.type, String | Text) and _room(column) > there.length:
                connection.exec_driver_sql(f"ALTER TABLE `{table.name}` MODIFY COLUMN {ddl}")
            if column.name.endswith(FOLD) and column.name.removesuffix(FOLD) in table.c:
                _fold(connection, table, column)
    _index(connection, tables)


def _index(connection: Connection, tables: Tables) -> None:
    stored: dict[tuple[str, str], tuple[bool, list[str]]] = {}
    for table, name, repeated, column in ask(connection, _INDEXES):
        stored.setdefault((table, name), (not repeated, []))[1].append(str(column))
    wanted: dict[tuple[str, str], Index] = {
        (table.name, str(index.name)): index for table in tables.metadata.tables.values() for index in table.indexes
    }
    for key, (unique, columns) in stored.items():
        index = wanted.get(key)
        table_name, name = key
        ours = name.startswith(f"{table_name}_") and table_name not in tables.own
        if index is None and not ours:
            continue
        if index is None or (bool(index.unique), [c.name for c in index.columns]) != (unique, columns):
            connection.exec_driver_sql(f"DROP INDEX `{name}` ON `{table_name}`")
    for (table_name, _), index in wanted.items():
        try:
            connection.exec_driver_sql(str(CreateIndex(index, if_not_exists=True).compile(dialect=DIALECT)))
        except DBAPIError as error:
            if code_of(error) not in TAKEN:
                raise
            fields = ", ".join(column.name for column in index.columns if column.name not in INTERNAL)
            raise StorageRefused(
                f"Records of type {table_name} are not unique by {fields}; make them so first."
            ) from None


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
    home = next((home for home in tables.homes() if home.table is table), None)
    spec = home.kind.fields.get(column.name) if home is not None else None
    if spec is not None and not spec.required and spec.default is not None:
        value = spec.default
        return value if isinstance(value, str | int | float) else to_json(value)
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
    while rows := ask(connection, f"{missing} LIMIT {FOLDED}"):
        for pk, text in rows:
            connection.exec_driver_sql(
                f"UPDATE `{table.name}` SET `{column.name}` = %s WHERE pk = %s", (fold(text), pk)
            )
