"""The tables of a MariaDB database: made when it is empty, compared by a stamp when it is not.

MariaDB commits at every CREATE, so making them is re-runnable: the stamp is written last, and a start that was
broken off goes on where it stopped. Starts at the same time wait for each other. What differs is refused; nothing
is altered here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Final

from sqlalchemy import Index, Table
from sqlalchemy.engine import Connection
from sqlalchemy.schema import CreateIndex, CreateTable

from storage.base import StorageRefused
from storage.mariadb.compile import DIALECT
from storage.mariadb.statements import BLOCK, SEQUENCE
from storage.sql.tables import Tables

FORMAT: Final = 1
"""The layout of the tables that are not a record type's."""
LOCK_SECONDS: Final = 60
_SEQUENCE_DDL: Final = f"CREATE SEQUENCE IF NOT EXISTS {SEQUENCE} START WITH 1 INCREMENT BY {BLOCK} NOCACHE"
_OLDEST_KEYS: Final = "CREATE INDEX IF NOT EXISTS idempotency_at ON idempotency (at)"


def settle(connection: Connection, tables: Tables, new_epoch: Callable[[], str]) -> str:
    """Make the tables of an empty database and return its epoch; raise `StorageRefused` where others are there."""
    connection.exec_driver_sql(f"SET SESSION max_statement_time = {LOCK_SECONDS}")
    name = f"aether.{connection.exec_driver_sql('SELECT DATABASE()').scalar_one()}"[:64]
    if not connection.exec_driver_sql("SELECT GET_LOCK(%s, %s)", (name, LOCK_SECONDS)).scalar_one():
        raise StorageRefused("Another hub has been changing this database's tables for a minute; see what it does.")
    try:
        return _settle(connection, tables, new_epoch)
    finally:
        connection.exec_driver_sql("SELECT RELEASE_LOCK(%s)", (name,)).all()
        connection.exec_driver_sql("SET SESSION max_statement_time = 4")


def schema_hash(tables: Tables) -> str:
    """Return what changes whenever a table, a column or an index does."""
    texts = sorted(ddl for table in tables.metadata.tables.values() for ddl in _ddl(table))
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def _settle(connection: Connection, tables: Tables, new_epoch: Callable[[], str]) -> str:
    present = {str(name) for (name,) in connection.exec_driver_sql("SHOW TABLES").all()} - {SEQUENCE}
    strange = sorted(present - set(tables.metadata.tables))
    facts: dict[str, str] = {}
    if "meta" in present:
        rows = connection.exec_driver_sql("SELECT name, value FROM meta").all()
        facts = {str(name): str(value) for name, value in rows}
    if "schema" in facts:
        return _check(facts, strange, tables)
    if strange:
        raise StorageRefused("The database holds tables of another program; name another database for the hub.")
    for table in tables.metadata.tables.values():
        for ddl in _ddl(table):
            connection.exec_driver_sql(ddl)
    connection.exec_driver_sql(_SEQUENCE_DDL)
    connection.exec_driver_sql(_OLDEST_KEYS)
    fresh = {"format": str(FORMAT), "epoch": new_epoch(), "probe": "0", "schema": schema_hash(tables)}
    connection.exec_driver_sql("INSERT INTO meta (name, value) VALUES (%s, %s)", list(fresh.items()))
    return fresh["epoch"]


def _check(facts: dict[str, str], strange: list[str], tables: Tables) -> str:
    if facts.get("format") != str(FORMAT):
        raise StorageRefused(
            f"The database has format {facts.get('format', 'unknown')}, this hub knows format {FORMAT}; "
            "run the version of the hub that wrote it, or restore a backup of this one."
        )
    if strange:
        raise StorageRefused(
            f"The database holds records of type {strange[0]}, which no loaded pack declares; load that pack."
        )
    if facts["schema"] != schema_hash(tables):
        raise StorageRefused(
            "The record types are declared differently than the database stores them; it needs a migration."
        )
    return facts["epoch"]


def _ddl(table: Table) -> Iterator[str]:
    """Yield the statements that make a table; re-runnable. References are checked by the decision, under the lock of
    the account: a foreign key would be checked row by row, before the rest of the group is written."""
    create = CreateTable(table, if_not_exists=True, include_foreign_key_constraints=[])
    yield str(create.compile(dialect=DIALECT)).strip()
    indexes: list[Index] = sorted(table.indexes, key=lambda index: str(index.name))
    for index in indexes:
        yield str(CreateIndex(index, if_not_exists=True).compile(dialect=DIALECT)).strip()
