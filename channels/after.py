"""Telling the `after_commit` hooks of packs what this instance committed. What they raise ends nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable

from hub.schema.hooks import Change
from hub.schema.registry import Registry
from hub.schema.writes import ChangeSet

log = logging.getLogger("hub.hooks")


class AfterCommit:
    """The hooks of one registry, in the order in which they were declared."""

    def __init__(self, registry: Registry, beside: Callable[[list[ChangeSet]], None] | None = None) -> None:
        """`beside`: what of the hub's own is told as well."""
        self._hooks = registry.after
        self._beside = beside

    def __bool__(self) -> bool:
        return bool(self._hooks) or self._beside is not None

    def tell(self, commits: list[ChangeSet]) -> None:
        """Run the hooks of every changed record."""
        if self._beside is not None:
            self._beside(commits)
        if not self._hooks:
            return
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
