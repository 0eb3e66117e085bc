"""Drift: where the tables that the steps leave are not the tables that are declared.

Two empty databases are made, one by running every step, one from the declarations, and their catalogues compared:
`make check` does it on SQLite, `make test` on MariaDB too. So nothing has to be guessed about what a type is called.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from hub.schema.registry import Registry
from storage.migrations.branches import Branch, branches_of, owned
from storage.migrations.catalogue import Catalogue, Shape, of_sqlite
from storage.migrations.runner import Runner, alchemy
from storage.sql.ddl import create
from storage.sql.tables import Tables


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs in a table: `made` as the steps make it, `wanted` as it is declared; None where it is not there."""

    table: str
    part: Literal["table", "column", "index"]
    name: str
    made: str | None
    wanted: str | None

    def __str__(self) -> str:
        what = self.table if self.part == "table" else f"{self.part} {self.name} of {self.table}"
        if self.made is None:
            return f"{what} is declared ({self.wanted}), and no step makes it"
        if self.wanted is None:
            return f"{what} is made by a step ({self.made}), and is not declared"
        return f"{what} is {self.made} by the steps, and declared {self.wanted}"


def compare(made: Catalogue, wanted: Catalogue, names: Iterable[str]) -> Iterator[Difference]:
    """Yield what differs in the tables of these names, and in those that only the steps make."""
    for name in sorted({*names, *(set(made) - set(wanted))}):
        here, there = made.get(name), wanted.get(name)
        if here is None or there is None:
            yield Difference(name, "table", name, _said(here), _said(there))
            continue
        if here.kept != there.kept:
            yield Difference(name, "table", name, here.kept or "plain", there.kept or "plain")
        for part, ours, theirs in (
            ("column", here.columns, there.columns),
            ("index", here.indexes, there.indexes),
        ):
            for key in sorted({*ours, *theirs}):
                if ours.get(key) != theirs.get(key):
                    yield Difference(name, part, key, ours.get(key), theirs.get(key))  # type: ignore[arg-type]  # above


def _said(shape: Shape | None) -> str | None:
    return None if shape is None else f"{len(shape.columns)} columns"


def scratch_of(branches: tuple[Branch, ...]) -> sqlite3.Connection:
    """Return a SQLite database in memory that every step was run on."""
    raw = sqlite3.connect(":memory:", isolation_level=None)
    with alchemy(raw) as connection:
        for branch in branches:
            Runner(branches).up(connection, branch.head)
    return raw


def drift(registry: Registry) -> list[Difference]:
    """Return where steps and declarations of the packages with steps differ, on SQLite."""
    branches, tables = branches_of(registry), Tables(registry)
    made = scratch_of(branches)
    wanted = sqlite3.connect(":memory:", isolation_level=None)
    create(wanted, tables)
    try:
        return list(compare(of_sqlite(made), of_sqlite(wanted), owned(registry, tables.own, branches)))
    finally:
        made.close()
        wanted.close()
