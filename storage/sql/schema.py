"""The schema of a SQLite file: made when it is empty, else brought up by steps and by what declarations add.

`meta` says which format the file has, which schema, and the epoch of its logs; the stamps say which steps it has had.
What neither a step nor an addition explains is refused with a sentence. Decisions 0003 and 0019.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from storage.base import StorageRefused
from storage.migrations import stamps
from storage.migrations.base import branch_of
from storage.migrations.branches import Branch, Migrate, Said, behind, judge, nobody, way
from storage.sql.ddl import create, index_ddl, indexes, names, table_ddl
from storage.sql.growth import grow
from storage.sql.plans import planned
from storage.sql.tables import Tables

log: Final = logging.getLogger(__name__)

FORMAT: Final = 1
"""What every hub reads first: another number is another program's file."""


def settle(
    connection: sqlite3.Connection,
    tables: Tables,
    new_epoch: Callable[[], str],
    branches: Sequence[Branch] = (),
    migrate: Migrate = "auto",
) -> str:
    """Make the file's schema that of `tables` and return the epoch; raise `StorageRefused`.

    All of it is one transaction: where something fails, the file is as it was.
    """

    def brought_up(clone: sqlite3.Connection, said: Said) -> None:
        bring_up(clone, tables, branches, said)

    if migrate == "refuse" and names(connection, "table") and planned(connection, brought_up):
        raise StorageRefused(behind())
    with changing(connection):
        if names(connection, "table"):
            return bring_up(connection, tables, branches, lambda text: log.info("changing tables: %s", text))
        create(connection, tables)
        facts = {"format": str(FORMAT), "schema": schema_hash(tables), "epoch": new_epoch(), "probe": "0"}
        connection.executemany("INSERT INTO meta (name, value) VALUES (?, ?)", facts.items())
        stamps.write(connection.execute, frozenset(), (branch.head for branch in branches))
        return facts["epoch"]


@contextmanager
def changing(connection: sqlite3.Connection) -> Iterator[None]:
    """Run a change of tables as one transaction; what refers to what is checked when a step made it anew."""
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    finally:
        connection.execute("PRAGMA foreign_keys = ON")


def bring_up(connection: sqlite3.Connection, tables: Tables, branches: Sequence[Branch], said: Said = nobody) -> str:
    """Run the steps that a file has not had, add what is declared beyond them, and return the epoch."""
    facts, had = read(connection)
    if facts.get("schema") != schema_hash(tables) or had != {branch.head for branch in branches}:
        present = names(connection, "table")
        standing = judge(branches, had, lambda branch: not present.isdisjoint(first_tables(branch)))
        stamps.write(connection.execute, had, (branch.revisions[0] for branch in standing.adopted))
        if standing.pending:
            _run(connection, branches, standing.pending, said)
        grow(connection, tables, names(connection, "table"), said)
        stamps.write(connection.execute, had, (branch.head for branch in standing.begun))
    # Written also where it stays the same: a file that cannot be written is refused now, not at the first commit.
    connection.execute("UPDATE meta SET value = ? WHERE name = 'schema'", (schema_hash(tables),))
    return facts["epoch"]


def read(connection: sqlite3.Connection) -> tuple[dict[str, str], frozenset[str]]:
    """Return the facts and the stamps of a file; raise `StorageRefused` where it is not of this format."""
    if not {"meta", "change"} <= names(connection, "table"):
        raise StorageRefused("The file is a database of another program; name another file for the hub.")
    facts = {str(name): str(value) for name, value in connection.execute("SELECT name, value FROM meta")}
    if facts.get("format") != str(FORMAT):
        raise StorageRefused(
            f"The database has format {facts.get('format', 'unknown')}, this hub knows format {FORMAT}; "
            "run the version of the hub that wrote it, or restore a backup of this one."
        )
    stamped = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (stamps.TABLE,)).fetchone()
    return facts, stamps.read(connection.execute(stamps.SELECTED) if stamped else ())


def schema_hash(tables: Tables) -> str:
    """Return what changes whenever a table, a column or an index does."""
    text = "\n".join(sorted(table_ddl(table) for table in tables.metadata.tables.values()))
    text += "\n".join(sorted(index_ddl(index) for index in indexes(tables)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def move(connection: sqlite3.Connection, branches: Sequence[Branch], revision: str, said: Said) -> None:
    """Bring one branch up or down to one of its steps; the next start looks at everything again."""
    branch = branch_of(branches, revision)
    _, had = read(connection)
    present = names(connection, "table")
    standing = judge(branches, had, lambda branch: not present.isdisjoint(first_tables(branch)))
    stamps.write(connection.execute, had, (branch.revisions[0] for branch in standing.adopted))
    pending, taken_back = way(branch, read(connection)[1], revision)
    _run(connection, branches, pending, said, taken_back=taken_back)
    connection.execute("UPDATE meta SET value = '' WHERE name = 'schema'")


def _run(
    connection: sqlite3.Connection,
    branches: Sequence[Branch],
    pending: Sequence[str],
    said: Said,
    taken_back: Sequence[str] = (),
) -> None:
    """Run steps inside the transaction that is open, and check that no record refers to nothing."""
    from storage.migrations.runner import Runner, alchemy, failed  # a start without steps to run needs no Alembic

    runner = Runner(branches)
    titles = runner.titles()
    with alchemy(connection) as view:
        for step, revisions, word in ((runner.down, taken_back, "down from "), (runner.up, pending, "")):
            for revision in revisions:
                said(f"{word}{revision}: {titles[revision]}")
                try:
                    step(view, revision)
                except Exception as error:
                    raise failed(revision, error, "The file is as it was") from error
    broken = connection.execute("PRAGMA foreign_key_check").fetchone()
    if broken is not None:
        raise StorageRefused(
            f"After these steps a record of {broken[0]} refers to nothing in {broken[2]}; the file is as it was."
        )


def first_tables(branch: Branch) -> frozenset[str]:
    """Return the tables that the first step of a branch makes."""
    from storage.migrations import runner

    return runner.first_tables(branch)
