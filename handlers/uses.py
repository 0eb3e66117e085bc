"""When API keys were last used: written together, off the way of any request, and seldom."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import Final

from hub.schema.core.credentials import ApiKey
from hub.schema.record import Image, type_of
from hub.schema.times import to_millis
from hub.schema.writes import Commit, Update, Write
from hub.wire.errors import HubError
from storage.base import Storage

log = logging.getLogger("hub.uses")

FLUSH_SECONDS: Final = 1.0
"""How soon a use is written, with all the others that there are by then."""
KEYS: Final = 10_000
"""Of how many keys it is known when their use was noted here."""
_KEY: Final = type_of(ApiKey)


class Uses:
    """What keys were used, and not written yet: of each key one use in so many seconds. 0: nothing is written."""

    def __init__(self, storage: Storage | None = None, apart_seconds: int = 0) -> None:
        self._storage = storage if apart_seconds else None
        self._apart = apart_seconds * 1000
        self._noted: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._waiting: dict[str, dict[str, str]] = {}
        self._task: asyncio.Task[None] | None = None

    def note(self, key: Image, now: str) -> None:
        """Note that a key was used at a time in wire form."""
        if self._storage is None:
            return
        name, at, last = (key["account_id"], key["id"]), to_millis(now), key["last_used_at"]
        before = max(self._noted.get(name, 0), 0 if last is None else to_millis(last))
        if at - before < self._apart:
            return
        self._noted[name] = at
        self._noted.move_to_end(name)
        if len(self._noted) > KEYS:
            self._noted.popitem(last=False)
        self._waiting.setdefault(name[0], {})[name[1]] = now
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._soon())

    async def _soon(self) -> None:
        while self._waiting:
            await asyncio.sleep(FLUSH_SECONDS)
            await self._flush()

    async def _flush(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for account, uses in waiting.items():
            for rec, at in uses.items():
                write: Write = Update(_KEY, rec, _KEY.accept_change({"last_used_at": at}, trusted=True))
                try:
                    if self._storage is not None:
                        await self._storage.submit(Commit(account, (write,), None))
                except HubError as refusal:
                    if refusal.code != "record.not_found":  # it was revoked meanwhile
                        log.warning("that a key was used was not written: %s", refusal)

    async def close(self) -> None:
        """Write what waits."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._flush()
