"""The tables of a MariaDB database: made when it is empty, compared when its stamp is another one.

MariaDB commits at every CREATE, so making them is re-runnable: the stamp is written last, and a start that was
broken off goes on where it stopped. Starts at the same time wait for each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import Index, Table
from sqlalchemy.engine import Connection
from sqlalchemy.schema import CreateIndex, CreateTable, DDLElement

from storage.base import StorageRefused
from storage.mariadb.compile import DIALECT, ask
from storage.mariadb.connection import STATEMENT_SECONDS, rolled_back
from storage.mariadb.growth import compare, grow
from storage.mariadb.statements import BLOCK, SEQUENCE
from storage.mariadb.words import MariaWordIndex, settle_words
from storage.sql.tables import Tables
from storage.sql.words import SUFFIX

FORMAT: Final = 1
"""The layout of the tables that are not a record type's."""
LOCK_SECONDS: Final = 60
_SEQUENCE_DDL: Final = f"CREATE SEQUENCE IF NOT EXISTS {SEQUENCE} START WITH 1 INCREMENT BY {BLOCK} NOCACHE"
_OLDEST_KEYS: Final = "CREATE INDEX IF NOT EXISTS idempotency_at ON idempotency (at)"


RESTORING: Final = "restoring"
"""The fact that stands in `meta` while a backup is put into a database."""


def settle(
    connection: Connection, tables: Tables, new_epoch: Callable[[], str], indexes: Sequence[MariaWordIndex] = ()
) -> str:
    """Make the tables of an empty database and return its epoch; raise `StorageRefused` where others are there.

    `indexes`: those of full text.
    """
    hold(connection)
    try:
        epoch = _settle(connection, tables, new_epoch)
        settle_words(connection, indexes)
        return epoch
    finally:
        let_go(connection)


def hold(connection: Connection) -> None:
    """Take the lock of whoever changes the tables of this database; raise `StorageRefused` after a minute."""
    connection.exec_driver_sql("SET SESSION max_statement_time = 0")  # what is added to large tables takes its time
    if not connection.exec_driver_sql("SELECT GET_LOCK(%s, %s)", (_lock_name(connection), LOCK_SECONDS)).scalar_one():
        raise StorageRefused("Another hub has been changing this database's tables for a minute; see what it does.")


def let_go(connection: Connection) -> None:
    """Give the lock back."""
    ask(connection, "SELECT RELEASE_LOCK(%s)", (_lock_name(connection),))
    connection.exec_driver_sql(f"SET SESSION max_statement_time = {STATEMENT_SECONDS}")


def _lock_name(connection: Connection) -> str:
    return f"aether.{connection.exec_driver_sql('SELECT DATABASE()').scalar_one()}"[:64]


def schema_hash(tables: Tables) -> str:
    """Return what changes whenever a table, a column or an index does."""
    texts = sorted(ddl for table in tables.metadata.tables.values() for ddl in _ddl(table))
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def _settle(connection: Connection, tables: Tables, new_epoch: Callable[[], str]) -> str:
    present = present_tables(connection)
    strange = sorted(name for name in present - set(tables.metadata.tables) if not name.endswith(SUFFIX))
    facts: dict[str, str] = {}
    if "meta" in present:
        rows = connection.exec_driver_sql("SELECT name, value FROM meta").all()
        facts = {str(name): str(value) for name, value in rows}
    if RESTORING in facts:
        raise StorageRefused("A restore into this database was broken off; run it again, or empty the database.")
    if "schema" in facts:
        return _check(connection, facts, strange, tables)
    if strange:
        raise StorageRefused("The database holds tables of another program; name another database for the hub.")
    make_all(connection, tables)
    epoch = new_epoch()
    stamp(connection, tables, epoch)
    return epoch


def present_tables(connection: Connection) -> set[str]:
    """Return the names of the tables that are there."""
    return {str(name) for (name,) in connection.exec_driver_sql("SHOW TABLES").all()} - {SEQUENCE}


def make_all(connection: Connection, tables: Tables, *, restoring: bool = False) -> None:
    """Make every table, index and sequence that is not there; `restoring`: so that no hub starts until the stamp."""
    ordered = [tables.meta, *(table for table in tables.metadata.tables.values() if table is not tables.meta)]
    for table in ordered:
        for ddl in _ddl(table):
            connection.exec_driver_sql(ddl)
        if restoring and table is tables.meta:
            connection.exec_driver_sql("INSERT INTO meta (name, value) VALUES (%s, '1')", (RESTORING,))
    connection.exec_driver_sql(_SEQUENCE_DDL)
    connection.exec_driver_sql(_OLDEST_KEYS)


def stamp(connection: Connection, tables: Tables, epoch: str) -> None:
    """Say that the tables are what is declared: from now on a hub starts."""
    fresh = {"format": str(FORMAT), "epoch": epoch, "probe": "0", "schema": schema_hash(tables)}
    with rolled_back(connection):
        connection.exec_driver_sql("START TRANSACTION")
        connection.exec_driver_sql("DELETE FROM meta WHERE name = %s", (RESTORING,))
        connection.exec_driver_sql("INSERT INTO meta (name, value) VALUES (%s, %s)", list(fresh.items()))
        connection.exec_driver_sql("COMMIT")


def drop_all(connection: Connection, tables: Tables) -> None:
    """Remove every table of the hub; `meta`, which says that this goes on, last."""
    connection.exec_driver_sql(f"DROP SEQUENCE IF EXISTS {SEQUENCE}")
    for table in [*(table for table in tables.metadata.tables.values() if table is not tables.meta), tables.meta]:
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS `{table.name}`")


def _make_tables(connection: Connection, tables: Tables) -> None:
    """Make the tables that are not there, without their indexes."""
    for table in tables.metadata.tables.values():
        connection.exec_driver_sql(_ddl(table)[0])


def _check(connection: Connection, facts: dict[str, str], strange: list[str], tables: Tables) -> str:
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
        for table in compare(connection, tables):
            connection.exec_driver_sql(f"DROP TABLE `{table.name}`")
        _make_tables(connection, tables)
        grow(connection, tables)
        stamp = (schema_hash(tables),)
        connection.exec_driver_sql("UPDATE meta SET value = %s WHERE name = 'schema'", stamp)
    return facts["epoch"]


def _ddl(table: Table) -> list[str]:
    """Return the statements that make a table and its indexes; re-runnable.

    There are no foreign keys: the decision checks references under the lock of the account.
    """
    create = CreateTable(table, if_not_exists=True, include_foreign_key_constraints=[])
    indexes: list[Index] = sorted(table.indexes, key=lambda index: str(index.name))
    statements: list[DDLElement] = [create, *(CreateIndex(index, if_not_exists=True) for index in indexes)]
    return [str(statement.compile(dialect=DIALECT)).strip() for statement in statements]
