"""Stamps: which steps a database has had, one row per branch, in the table that Alembic keeps.

Written here too, because a new database is stamped without running a step, and reading them needs no Alembic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

TABLE: Final = "alembic_version"
_DDL: Final = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} "
    f"(version_num VARCHAR(32) NOT NULL, CONSTRAINT {TABLE}_pkc PRIMARY KEY (version_num))"
)

Run = Callable[[str], Any]
"""Runs a statement without parameters. Revisions are names of files that were matched, so they are safe in a text."""


def read(rows: Iterable[Sequence[Any]]) -> frozenset[str]:
    """Return the stamps of the rows of `SELECTED`."""
    return frozenset(str(row[0]) for row in rows)


SELECTED: Final = f"SELECT version_num FROM {TABLE}"


def write(run: Run, had: frozenset[str], revisions: Iterable[str]) -> None:
    """Add the stamps of branches, where they are not there yet."""
    missing = [revision for revision in revisions if revision not in had]
    if missing:
        run(_DDL)
    for revision in missing:
        run(f"INSERT INTO {TABLE} (version_num) VALUES ('{revision}')")
