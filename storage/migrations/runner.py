"""Running steps through Alembic, and printing their SQL. Knows branches and a connection; decides nothing.

The connection is in whatever transaction its keeper wants; nothing is begun or committed here.
"""

from __future__ import annotations

import functools
import io
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection
from sqlalchemy.pool import StaticPool

from storage.base import StorageRefused
from storage.migrations import impl, stamps  # what Alembic is to use, put in its place by being loaded
from storage.migrations.branches import Branch

_HERE: Final = Path(__file__).parent
IMPLEMENTATIONS: Final = (impl.RerunnableSqlite, impl.RerunnableMariadb)


@contextmanager
def alchemy(raw: sqlite3.Connection) -> Iterator[Connection]:
    """Yield SQLAlchemy's view of an open connection to SQLite; transactions stay in the hands of the caller."""
    engine = create_engine(
        "sqlite://",
        creator=lambda: raw,
        poolclass=StaticPool,
        # Naming an isolation level would commit what is open.
        skip_autocommit_rollback=True,
        pool_reset_on_return=None,
    )
    with engine.connect() as connection:
        connection.begin()  # says only that there is a transaction, so that Alembic ends none
        yield connection


def failed(revision: str, error: Exception, state: str) -> StorageRefused:
    """Return the refusal of a start whose step failed; `state` says in what state that left the database."""
    if isinstance(error, StorageRefused):
        return error
    reason = getattr(error, "orig", None) or error
    return StorageRefused(f"The step {revision} failed with {type(reason).__name__}: {reason}. {state}.")


class Runner:
    """Runs the steps of some branches on one connection."""

    def __init__(self, branches: Sequence[Branch]) -> None:
        self.branches = branches

    def up(self, connection: Connection, revision: str) -> None:
        """Run the steps of a branch up to this one."""
        self._run(connection, command.upgrade, revision)

    def down(self, connection: Connection, revision: str) -> None:
        """Take back this step, the last one that was run of its branch."""
        scripts = ScriptDirectory.from_config(self._config())
        before = scripts.get_revision(revision).down_revision
        label = revision.rpartition("_")[0]
        self._run(connection, command.downgrade, str(before) if before else f"{label}@base")

    def titles(self) -> dict[str, str]:
        """Return what each step says it does, by revision; raise `StorageRefused` where names and contents disagree."""
        scripts = ScriptDirectory.from_config(self._config())
        said = {step.revision: str(step.doc) for step in scripts.walk_revisions()}
        for branch in self.branches:
            for before, revision in zip((None, *branch.revisions), branch.revisions, strict=False):
                step = scripts.get_revision(revision) if revision in said else None
                if step is None or step.down_revision != before:
                    raise StorageRefused(
                        f"The step {revision} of {branch.package} does not say revision = {revision!r} and "
                        f"down_revision = {before!r}; correct it."
                    )
        return said

    def sql(self, revision: str, before: str | None, dialect: str) -> str:
        """Return the SQL of one step."""
        printed = io.StringIO()
        config = self._config(output=printed, dialect=dialect)
        command.upgrade(config, f"{before or 'base'}:{revision}", sql=True)
        return "\n".join(line for line in printed.getvalue().splitlines() if line and not line.startswith("-- Running"))

    def _run(self, connection: Connection, how: Any, revision: str) -> None:
        how(self._config(connection=connection), revision)

    def _config(self, *, output: io.StringIO | None = None, **given: Any) -> Config:
        config = Config(output_buffer=output) if output is not None else Config()
        config.attributes.update(given)
        config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
        config.set_main_option("path_separator", "newline")
        places = "\n".join(str(branch.folder) for branch in self.branches)
        config.set_main_option("version_locations", places.replace("%", "%%"))
        return config


@functools.cache
def first_tables(branch: Branch) -> frozenset[str]:
    """Return the names of the tables that the first step of a branch makes."""
    raw = sqlite3.connect(":memory:", isolation_level=None)
    with alchemy(raw) as connection:
        Runner([branch]).up(connection, branch.revisions[0])
    made = {str(name) for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    raw.close()
    return frozenset(made - {stamps.TABLE})
