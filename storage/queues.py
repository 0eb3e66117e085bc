"""The promise of the queues: what waits for a client of an account until it returns, in order, and for so long.

What is taken out is gone: it is delivered once, or lost with whoever took it. Nothing here is durable. `InProcess` is
for a hub that is alone; `storage/redis` has the one between instances. Held to this by
`tests/storage/contract_queues.py`.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, Protocol

from hub.wire.errors import HubError

PER_TARGET: Final = 100
"""How much may wait for one client."""
PER_ACCOUNT: Final = 1000
"""How much may wait in one account."""
IN_ALL: Final = 4000
"""How much may wait in one process; in Redis, each account has its own bound alone."""

CLEAN_SECONDS: Final = 1.0
"""How often a full queue looks through all of them for what has waited for too long."""

QueueKey = tuple[str, str, str]
"""(account, `user` or `device`, its id)"""


class Queues(Protocol):
    """What waits, by account and client."""

    async def put(self, key: QueueKey, item: str, body: bytes, seconds: float, *, first: bool = False) -> None:
        """Have something wait, for so long; `first`: it was taken out before, and goes back to where it was.

        Raises `rate.limited`, `server.unavailable`, `write.unknown`.
        """

    async def take(self, key: QueueKey) -> tuple[bytes, float] | None:
        """Take out what has waited longest, with the seconds for which it may still wait; None where nothing does.

        Raises `server.unavailable`; where what was taken is not known, it is lost.
        """

    async def waiting(self) -> dict[QueueKey, float]:
        """Return for which clients something may wait, and for how many seconds; raises `server.unavailable`."""


def full() -> HubError:
    """Return the refusal of what may not wait because too much does."""
    return HubError("rate.limited", "Too many commands wait for this client; ask again later.", retry_after=10)


class InProcess:
    """The queues of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._queues: dict[QueueKey, deque[tuple[float, bytes]]] = {}
        self._counts: Counter[str] = Counter()
        """How much waits in each account."""
        self._cleaned = clock()
        """When everything was looked through last."""

    async def put(self, key: QueueKey, item: str, body: bytes, seconds: float, *, first: bool = False) -> None:
        """Have something wait."""
        now = self._clock()
        self._clean(key, now)
        if self._full(key) and now - self._cleaned >= CLEAN_SECONDS:
            self._cleaned = now
            for other in list(self._queues):
                self._clean(other, now)
        if self._full(key) and not first:
            raise full()
        queue = self._queues.setdefault(key, deque())
        (queue.appendleft if first else queue.append)((now + seconds, body))
        self._counts[key[0]] += 1

    def _full(self, key: QueueKey) -> bool:
        mine, account = len(self._queues.get(key, ())), self._counts[key[0]]
        return mine >= PER_TARGET or account >= PER_ACCOUNT or self._counts.total() >= IN_ALL

    async def take(self, key: QueueKey) -> tuple[bytes, float] | None:
        """Take out the oldest."""
        now = self._clock()
        self._clean(key, now)
        queue = self._queues.get(key)
        if queue is None:
            return None
        until, body = queue.popleft()
        self._forget(key, queue, 1)
        return body, until - now

    async def waiting(self) -> dict[QueueKey, float]:
        """Return for whom something waits."""
        now = self._clock()
        return {key: max(until for until, _ in queue) - now for key, queue in self._queues.items()}

    def _clean(self, key: QueueKey, now: float) -> None:
        """Let go what has waited for too long."""
        queue = self._queues.get(key)
        if queue is None or all(until > now for until, _ in queue):
            return
        alive = [item for item in queue if item[0] > now]
        gone = len(queue) - len(alive)
        queue.clear()
        queue.extend(alive)
        self._forget(key, queue, gone)

    def _forget(self, key: QueueKey, queue: deque[tuple[float, bytes]], gone: int) -> None:
        self._counts[key[0]] -= gone
        if not queue:
            del self._queues[key]
        if not self._counts[key[0]]:
            del self._counts[key[0]]
