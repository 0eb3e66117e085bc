"""Telling the hooks of packs, and the audit, what this instance committed. What hooks raise ends nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from hub.schema.hooks import Change
from hub.schema.registry import Registry
from hub.schema.writes import ChangeSet

log = logging.getLogger("hub.hooks")


class AfterCommit:
    """The hooks of one registry, in the order in which they were declared."""

    def __init__(
        self,
        registry: Registry,
        beside: Callable[[list[ChangeSet]], None] | None = None,
        types: Collection[str] = (),
    ) -> None:
        """`beside`: what of the hub's own is told of the records of `types`, before the hooks."""
        self._hooks = registry.after
        self._beside = beside
        self._types = frozenset((*self._hooks, *types))

    def __bool__(self) -> bool:
        return bool(self._types)

    def concerns(self, commits: list[ChangeSet]) -> bool:
        """Say whether anybody is to be told of any of it; it is asked of every commit."""
        types = self._types
        for commit in commits:
            for row in commit.rows:
                if row.type in types:
                    return True
        return False

    def tell(self, commits: list[ChangeSet]) -> None:
        """Run the hooks of every changed record."""
        if self._beside is not None:
            self._beside(commits)
        for commit in commits:
            for row in commit.rows:
                for hook in self._hooks.get(row.type, ()):
                    before = row.previous() if row.after else row.before
                    change = Change(row.kind, row.type, before and {**before}, {**row.after} or None, commit.actor)
                    try:
                        hook.run(change)
                    except Exception:
                        # A pack's code, which may fail in any way: the commit is on disk and answered, and neither
                        # the other hooks nor the commits behind it are at fault.
                        log.exception("a hook after commit %d of account %s failed", commit.seq, commit.account)
