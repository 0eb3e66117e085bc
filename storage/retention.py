"""Forgetting old commits: in the background, a bounded step at a time, never what somebody may still resume from.

Only a beginning of each account's log is removed, and whole commits, so that what is left has no hole. Records
are not touched: what is forgotten is who changed them, and from what.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from hub.wire.errors import HubError
from storage.base import Storage

STEP_ROWS: Final = 1000
"""About how many rows of the log one step removes."""
PAUSE_SECONDS: Final = 0.05
"""How long writers have the database for themselves between two steps."""
ROUND_SECONDS: Final = 3600.0

log: Final = logging.getLogger(__name__)


class Retention:
    """Prunes one keeper's log. `before` returns the time in wire form before which commits are forgotten."""

    def __init__(self, storage: Storage, before: Callable[[], str]) -> None:
        self._storage = storage
        self._before = before

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
        before, total = self._before(), 0
        while removed := await self._storage.prune(before, STEP_ROWS):
            total += removed
            await asyncio.sleep(PAUSE_SECONDS)
        return total
