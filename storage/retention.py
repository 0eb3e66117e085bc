"""Forgetting old commits: in the background, a bounded step at a time, never what somebody may still resume from.

Only a beginning of each account's log is removed, and whole commits, so that what is left has no hole. Records
are not touched: what is forgotten is who changed them, and from what. Of a type that says so itself it is forgotten
earlier: its changes stay in their commits and say only that there was one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from hub.schema.record import RecordType
from hub.wire.errors import HubError
from storage.base import Storage

STEP_ROWS: Final = 1000
"""About how many rows of the log one step removes or looks at."""
PAUSE_SECONDS: Final = 0.05
"""How long writers have the database for themselves between two steps."""
ROUND_SECONDS: Final = 3600.0

log: Final = logging.getLogger(__name__)

Before = Callable[[], str]
"""Returns the time in wire form before which something is forgotten."""


class Retention:
    """Prunes one keeper's log. `before`: of whole commits, None to keep them; `types`: of what they say of a type."""

    def __init__(
        self, storage: Storage, before: Before | None = None, types: Mapping[RecordType, Before] | None = None
    ) -> None:
        self._storage = storage
        self._before = before
        self._types = types or {}

    async def run(self) -> None:
        """Prune now and every hour, until cancelled."""
        while True:
            try:
                removed = await self.round()
                if removed:
                    log.info("%d changes that are older than history_days were removed from the log", removed)
            except HubError as error:
                log.warning("the log cannot be pruned: %s", error)
            await asyncio.sleep(ROUND_SECONDS)

    async def round(self) -> int:
        """Prune until nothing old is left; return how many changes were removed."""
        total = 0
        if self._before is not None:
            before = self._before()
            while removed := await self._storage.prune(before, STEP_ROWS):
                total += removed
                await asyncio.sleep(PAUSE_SECONDS)
        for kind, since in self._types.items():
            before = since()
            while await self._storage.prune_type(kind, before, STEP_ROWS):
                await asyncio.sleep(PAUSE_SECONDS)
        return total


def first_kept(rows: Sequence[Any], before: int, limit: int) -> int:
    """Return the first `seq` to keep: old commits go whole, as many as hold at most `limit` changes, but at least one.

    `rows`: `seq` and time of the first `limit` + 1 changes, so the last one may be of a commit that goes on. 0 where
    nothing is old.
    """
    if not rows or rows[0][1] >= before:
        return 0
    first, last = int(rows[0][0]), int(rows[-1][0])
    cut = last if len(rows) > limit else last + 1
    return max(min([cut, *(int(seq) for seq, at in rows if at >= before)]), first + 1)
