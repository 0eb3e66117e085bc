"""Commands that wait for a client to return: put into its queue, and taken out in order when it is there again.

Every instance knows for whom something waits, so that a hello costs a look into a dict. It knows from what it hears,
and reads it anew whenever it may have missed something.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal

from channels.letters import Address, Order, encode, order_of
from channels.targets import Targets
from hub.wire.errors import HubError
from storage.queues import IN_ALL, QueueKey, Queues

log = logging.getLogger("hub.calls")

BUSY_SECONDS: Final = 1.0
"""After how long a client that did not keep up is told again what waits for it."""


class Waits:
    """What waits for the clients of this instance and of others."""

    def __init__(
        self,
        queues: Queues,
        targets: Targets,
        delivered: Callable[[Order], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        """Deliver to `targets`, and say so to `delivered`; `spawn` runs what has to wait."""
        self._queues = queues
        self._targets = targets
        self._delivered = delivered
        self._spawn = spawn
        self._known: dict[QueueKey, tuple[float, int]] = {}
        """For whom something waits: until when on the loop's clock, and the number of the news of it."""
        self._numbers = itertools.count(1)
        self._draining: set[QueueKey] = set()

    async def put(self, key: QueueKey, order: Order, seconds: float) -> None:
        """Have a command wait; raise `rate.limited`, `server.unavailable`, `write.unknown`."""
        await self._queues.put(key, order.call, encode(order), seconds)
        self.hear(key, seconds)

    def hear(self, key: QueueKey, seconds: float) -> None:
        """Something waits for a client, for so long: tell it where it is here."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        if key in self._known:
            until = max(until, self._known.pop(key)[0])
        self._known[key] = (until, next(self._numbers))
        if len(self._known) > IN_ALL:
            now = loop.time()
            self._known = {k: v for k, v in self._known.items() if v[0] > now}
        self.look(key)

    def look(self, key: QueueKey) -> None:
        """Tell a client what waits for it, where it is here and something does."""
        if key not in self._known or key in self._draining or self._targets.best(_anyone(key)) is None:
            return
        self._draining.add(key)
        self._spawn(self._drain(key))

    def relearn(self) -> None:
        """Something may have been missed: read for whom something waits."""
        self._spawn(self._relearn())

    async def _relearn(self) -> None:
        try:
            found = await self._queues.waiting()
        except HubError:
            return  # gone again; it is read when the post is ready again
        for key, seconds in found.items():
            self.hear(key, seconds)

    async def _drain(self, key: QueueKey) -> None:
        try:
            while self._targets.best(_anyone(key)) is not None:
                news = self._known.get(key)
                taken = await self._queues.take(key)
                if taken is None:
                    if self._known.get(key) == news:  # else something was put in behind our back
                        self._known.pop(key, None)
                        return
                    continue
                body, seconds = taken
                order = order_of(body)
                if order is not None and not await self._deliver(key, order, body, seconds):
                    return
        except HubError as refusal:
            log.info("what waits for a client could not be read: %s", refusal.code)
        finally:
            self._draining.discard(key)

    async def _deliver(self, key: QueueKey, order: Order, body: bytes, seconds: float) -> bool:
        """Tell a client one command; put it back where that cannot be done, and say so."""
        best = self._targets.best(order.to)
        outcome: Literal["absent", "busy"] | None = "absent"
        if best is not None:
            outcome = self._targets.tell(best.session, order)
        if outcome is None:
            self._delivered(order)
            return True
        await self._queues.put(key, order.call, body, seconds, first=True)
        if outcome == "busy":
            asyncio.get_running_loop().call_later(BUSY_SECONDS, self.look, key)
        return False


def _anyone(key: QueueKey) -> Address:
    account, kind, rec = key
    return Address(account, kind, rec, ("user", "device"))
