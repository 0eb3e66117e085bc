"""The promise of a migrator: what an operator asks and does about the schema of one database, beside its hubs.

Its keepers are `storage.sql.migrator` and `storage.mariadb.migrator`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from storage.base import StorageRefused
from storage.migrations.branches import Branch, Said


@dataclass(frozen=True, slots=True)
class Place:
    """Where one branch stands: `stamp` is the last step that was run, None where there was none."""

    branch: Branch
    stamp: str | None

    @property
    def pending(self) -> tuple[str, ...]:
        """The steps that are still to be run."""
        revisions = self.branch.revisions
        return revisions if self.stamp is None else revisions[revisions.index(self.stamp) + 1 :]


class Migrator(Protocol):
    """Every method raises `StorageRefused` with a sentence where the database cannot be used or is not known."""

    async def status(self) -> list[Place]:
        """Return where each branch stands; changes nothing."""

    async def plan(self) -> list[str]:
        """Return what is to be done, as SQL with a comment before each part; changes nothing.

        An empty list: the database is as this hub needs it.
        """

    async def apply(self, said: Said) -> None:
        """Do what is to be done, under the lock of the database."""

    async def apply_to(self, revision: str, said: Said) -> None:
        """Bring one branch up or down to a step of it, under the lock; additions are left alone."""


def places(branches: Sequence[Branch], had: frozenset[str]) -> list[Place]:
    """Return where each branch stands by the stamps, which were judged before."""
    return [Place(branch, next((r for r in branch.revisions if r in had), None)) for branch in branches]


def branch_of(branches: Sequence[Branch], revision: str) -> Branch:
    """Return the branch that a step is of; raise `StorageRefused`."""
    for branch in branches:
        if revision in branch.revisions:
            return branch
    known = ", ".join(f"{b.revisions[0]} to {b.head}" for b in branches) or "none"
    raise StorageRefused(f"There is no step {revision}; there are {known}.")
