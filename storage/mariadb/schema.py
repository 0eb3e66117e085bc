"""The tables of a MariaDB database: made when it is empty, else brought up by steps and by what declarations add.

MariaDB commits at every CREATE and ALTER, so every part of this can be run again: a stamp is written when its step
is done, the hash of the schema last, and a start that was broken off goes on where it stopped. Whoever changes tables
holds the lock of the database; starts at the same time wait for it. Decisions 0003 and 0019.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from sqlalchemy.engine import Connection

from storage.base import StorageRefused
from storage.mariadb.compile import ask
from storage.mariadb.connection import STATEMENT_SECONDS, rolled_back
from storage.mariadb.faults import is_lost
from storage.mariadb.growth import additions, grow, table_ddl
from storage.mariadb.statements import BLOCK, SEQUENCE
from storage.mariadb.words import MariaWordIndex, settle_words
from storage.migrations import stamps
from storage.migrations.base import branch_of
from storage.migrations.branches import Branch, Migrate, Said, Standing, behind, judge, nobody, way
from storage.sql.tables import Tables
from storage.sql.words import SUFFIX

FORMAT: Final = 1
"""What every hub reads first: another number is another program's database."""
RESTORING: Final = "restoring"
"""The fact that stands in `meta` while a backup is put into a database."""
LOCK_SECONDS: Final = 60
"""How long to wait for whoever is changing the tables."""
START_SECONDS: Final = 3000
"""How long a start does."""
LOOK_SECONDS: Final = 5
METADATA_SECONDS: Final = 60
"""How long an ALTER waits for the transactions of others, which wait behind it."""
_SEQUENCE_DDL: Final = f"CREATE SEQUENCE IF NOT EXISTS {SEQUENCE} START WITH 1 INCREMENT BY {BLOCK} NOCACHE"
_OLDEST_KEYS: Final = "CREATE INDEX IF NOT EXISTS idempotency_at ON idempotency (at)"

log: Final = logging.getLogger(__name__)


def settle(
    connection: Connection,
    tables: Tables,
    new_epoch: Callable[[], str],
    branches: Sequence[Branch] = (),
    migrate: Migrate = "auto",
    words: Sequence[MariaWordIndex] = (),
) -> str:
    """Make the database's tables those that are declared and return its epoch; raise `StorageRefused`.

    `words`: the indexes of full text, which are made from the records.
    """
    with changing(connection):
        present, facts, _ = read(connection)
        if "schema" in facts:
            epoch = facts["epoch"]
            bring_up(connection, tables, branches, migrate, lambda text: log.info("changing tables: %s", text))
        elif present - set(tables.metadata.tables):
            raise StorageRefused("The database holds tables of another program; name another database for the hub.")
        else:
            make_all(connection, tables)
            epoch = new_epoch()
            stamp(connection, tables, epoch, branches)
        settle_words(connection, words)
        return epoch


@contextmanager
def changing(connection: Connection, seconds: float = START_SECONDS) -> Iterator[None]:
    """Hold the lock of whoever changes the tables of this database."""
    hold(connection, seconds)
    try:
        yield
    finally:
        if not connection.invalidated:
            let_go(connection)


def hold(connection: Connection, seconds: float = LOCK_SECONDS) -> None:
    """Take the lock of whoever changes the tables; raise `StorageRefused` where somebody else has it for too long."""
    # What is added to large tables takes its time.
    connection.exec_driver_sql(f"SET SESSION max_statement_time = 0, SESSION lock_wait_timeout = {METADATA_SECONDS}")
    name, until = _lock_name(connection), time.monotonic() + seconds
    while not ask(connection, "SELECT GET_LOCK(%s, %s)", (name, min(LOOK_SECONDS, seconds)))[0][0]:
        if time.monotonic() >= until:
            raise StorageRefused("Another hub has been changing this database's tables for long; see what it does.")
        log.warning("waiting for another hub that is changing this database's tables")


def let_go(connection: Connection) -> None:
    """Give the lock back."""
    ask(connection, "SELECT RELEASE_LOCK(%s)", (_lock_name(connection),))
    connection.exec_driver_sql(
        f"SET SESSION max_statement_time = {STATEMENT_SECONDS}, SESSION lock_wait_timeout = DEFAULT"
    )


def _lock_name(connection: Connection) -> str:
    return f"aether.{connection.exec_driver_sql('SELECT DATABASE()').scalar_one()}"[:64]


def read(connection: Connection) -> tuple[set[str], dict[str, str], frozenset[str]]:
    """Return the tables, the facts and the stamps of a database; raise `StorageRefused` for another format.

    The tables of full text are left out.
    """
    present = {name for name in present_tables(connection) if SUFFIX not in name}
    facts: dict[str, str] = {}
    if "meta" in present:
        rows = connection.exec_driver_sql("SELECT name, value FROM meta").all()
        facts = {str(name): str(value) for name, value in rows}
    if RESTORING in facts:
        raise StorageRefused("A restore into this database was broken off; run it again, or empty the database.")
    if "schema" in facts and facts.get("format") != str(FORMAT):
        raise StorageRefused(
            f"The database has format {facts.get('format', 'unknown')}, this hub knows format {FORMAT}; "
            "run the version of the hub that wrote it, or restore a backup of this one."
        )
    return present, facts, had_steps(connection)


def bring_up(
    connection: Connection,
    tables: Tables,
    branches: Sequence[Branch],
    migrate: Migrate = "auto",
    said: Said = nobody,
) -> None:
    """Run the steps that a database has not had, and add what is declared beyond them."""
    present, facts, had = read(connection)
    declared = schema_hash(tables)
    todo = standing(branches, present, had)
    if facts["schema"] == declared and todo.settled:
        _refuse_strange(present, tables)
        return
    if migrate == "refuse" and (not todo.settled or additions(connection, tables)):
        raise StorageRefused(behind())
    stamps.write(connection.exec_driver_sql, had, (branch.revisions[0] for branch in todo.adopted))
    if todo.pending:
        _run(connection, branches, todo.pending, said)
        present, _, had = read(connection)
    _refuse_strange(present, tables)
    grow(connection, tables, said)
    stamps.write(connection.exec_driver_sql, had, (branch.head for branch in todo.begun))
    connection.exec_driver_sql("UPDATE meta SET value = %s WHERE name = 'schema'", (declared,))


def move(connection: Connection, branches: Sequence[Branch], revision: str, said: Said) -> None:
    """Bring one branch up or down to one of its steps; the next start looks at everything again."""
    branch = branch_of(branches, revision)
    present, _, had = read(connection)
    todo = standing(branches, present, had)
    stamps.write(connection.exec_driver_sql, had, (branch.revisions[0] for branch in todo.adopted))
    connection.exec_driver_sql("UPDATE meta SET value = '' WHERE name = 'schema'")
    pending, taken_back = way(branch, read(connection)[2], revision)
    _run(connection, branches, pending, said, taken_back=taken_back)


def standing(branches: Sequence[Branch], present: set[str], had: frozenset[str]) -> Standing:
    """Return which steps a database needs."""

    def there(branch: Branch) -> bool:
        from storage.migrations.runner import first_tables  # a start without steps to run needs no Alembic

        return not present.isdisjoint(first_tables(branch))

    return judge(branches, had, there)


def schema_hash(tables: Tables) -> str:
    """Return what changes whenever a table, a column or an index does."""
    texts = sorted(ddl for table in tables.metadata.tables.values() for ddl in table_ddl(table))
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def present_tables(connection: Connection) -> set[str]:
    """Return the names of the tables that are there, but the one with the stamps."""
    return {str(name) for (name,) in connection.exec_driver_sql("SHOW TABLES").all()} - {SEQUENCE, stamps.TABLE}


def had_steps(connection: Connection) -> frozenset[str]:
    """Return the stamps of a database."""
    there = ask(connection, "SHOW TABLES LIKE %s", (stamps.TABLE,))
    return stamps.read(ask(connection, stamps.SELECTED) if there else ())


def make_all(connection: Connection, tables: Tables, *, restoring: bool = False) -> None:
    """Make every table, index and sequence that is not there; `restoring`: so that no hub starts until the stamp."""
    ordered = [tables.meta, *(table for table in tables.metadata.tables.values() if table is not tables.meta)]
    for table in ordered:
        for ddl in table_ddl(table):
            connection.exec_driver_sql(ddl)
        if restoring and table is tables.meta:
            connection.exec_driver_sql("INSERT INTO meta (name, value) VALUES (%s, '1')", (RESTORING,))
    connection.exec_driver_sql(_SEQUENCE_DDL)
    connection.exec_driver_sql(_OLDEST_KEYS)


def stamp(connection: Connection, tables: Tables, epoch: str, branches: Sequence[Branch]) -> None:
    """Say that the tables are what is declared: from now on a hub starts."""
    stamps.write(connection.exec_driver_sql, had_steps(connection), (branch.head for branch in branches))
    fresh = {"format": str(FORMAT), "epoch": epoch, "probe": "0", "schema": schema_hash(tables)}
    with rolled_back(connection):
        connection.exec_driver_sql("START TRANSACTION")
        connection.exec_driver_sql("DELETE FROM meta WHERE name = %s", (RESTORING,))
        connection.exec_driver_sql("INSERT INTO meta (name, value) VALUES (%s, %s)", list(fresh.items()))
        connection.exec_driver_sql("COMMIT")


def drop_all(connection: Connection, tables: Tables) -> None:
    """Remove every table of the hub; `meta`, which says that this goes on, last."""
    connection.exec_driver_sql(f"DROP SEQUENCE IF EXISTS {SEQUENCE}")
    others = [str(table.name) for table in tables.metadata.tables.values() if table is not tables.meta]
    for name in (*others, stamps.TABLE, "meta"):
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS `{name}`")


def _refuse_strange(present: set[str], tables: Tables) -> None:
    strange = sorted(present - set(tables.metadata.tables))
    if strange:
        raise StorageRefused(
            f"The database holds records of type {strange[0]}, which no loaded pack declares; load that pack."
        )


def _run(
    connection: Connection,
    branches: Sequence[Branch],
    pending: Sequence[str],
    said: Said,
    taken_back: Sequence[str] = (),
) -> None:
    """Run steps; each is stamped when it is done."""
    from storage.migrations.runner import Runner, failed

    runner = Runner(branches)
    titles = runner.titles()
    for step, revisions, word in ((runner.down, taken_back, "down from "), (runner.up, pending, "")):
        for revision in revisions:
            said(f"{word}{revision}: {titles[revision]}")
            try:
                step(connection, revision)
            except Exception as error:
                if is_lost(error):
                    raise
                raise failed(revision, error, "What it had done stays, and it can be run again") from error
