"""Budgets of all hubs together, counted in Redis: by the scripts of `limits`, with Redis's clock (decision 0046).

Its sliding window is made of two counters and the times that Redis gives them to live, so no hub's clock counts. The
failures of signing in are counted here as well, by a script of ours. Redis may be slow or away: whoever asks is told
within a second, and decides by itself.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisClusterStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from hub.wire.errors import HubError
from storage.backoff import FORGET_SECONDS, InProcessBackOff, Tried
from storage.rates import Away, Portion, Rate

log = logging.getLogger("hub.rates")

ANSWER_SECONDS: Final = 1.0
"""How long Redis may take for one answer."""
CONNECTIONS: Final = 8
_REST_SECONDS: Final = 1.0
"""For how long Redis is not asked again after it did not answer."""
_OPTIONS: Final[dict[str, Any]] = {
    "driver_info": None,
    "protocol": 2,
    "socket_timeout": ANSWER_SECONDS,
    "socket_connect_timeout": ANSWER_SECONDS,
    "health_check_interval": 0,
}

BEGIN: Final = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local longest = 0
for i, key in ipairs(KEYS) do
  longest = math.max(longest, (tonumber(redis.call('HGET', key, 'until')) or 0) - now)
end
if longest > 0 then return longest end
for i, key in ipairs(KEYS) do
  local beyond = redis.call('HINCRBY', key, 'failures', 1) - ARGV[i * 3 - 1]
  local wait = 0
  if beyond > 0 then wait = math.min(ARGV[i * 3 + 1], ARGV[i * 3] * 2 ^ math.min(beyond - 1, 30)) end
  redis.call('HSET', key, 'until', now + math.floor(wait * 1000))
  redis.call('EXPIRE', key, ARGV[1])
end
return 0
"""

PASSED: Final = """
for i, key in ipairs(KEYS) do
  local left = redis.call('HINCRBY', key, 'failures', -1)
  if ARGV[i] == '1' or left < 1 then redis.call('DEL', key) else redis.call('HSET', key, 'until', 0) end
end
"""
LOST: Final = (RedisError, OSError, RuntimeError, AttributeError)
"""What asking raises when Redis goes away: the last two are uvloop's word for a transport that was closed under it, and
redis-py's for a writer that is gone. redis-py closes the connection itself then."""


class RedisClient:
    """One client of Redis for both, made when the epoch of the database is known."""

    def __init__(self, url: str, secret: bytes, realm: Callable[[], Awaitable[str]]) -> None:
        """`realm` returns what is the same for all hubs over one database and for no other: its epoch."""
        self._url, self._secret, self._realm = url, secret, realm
        self._making = asyncio.Lock()
        self._storage: RedisStorage | None = None
        self._pool: BlockingConnectionPool | None = None
        self.prefix = ""
        self._rests_until = 0.0

    async def storage(self) -> RedisStorage:
        """Return the client; raise `Away`."""
        if time.monotonic() < self._rests_until:
            raise Away
        async with self._making:
            if self._storage is None:
                try:
                    realm = await self._realm()
                except HubError:
                    raise Away from None
                name = hmac.digest(self._secret, b"aether rate name " + realm.encode(), "sha256").hex()[:16]
                self.prefix = f"aether:{name}:rate"
                self._storage = self._made()
        return self._storage

    def _made(self) -> RedisStorage:
        scheme, _, rest = self._url.partition("://")
        if scheme.endswith("+cluster"):
            more = {"ssl": True} if scheme.startswith("rediss") else {}
            return RedisClusterStorage(
                f"async+redis+cluster://{rest}", implementation="redispy", key_prefix=self.prefix, **_OPTIONS, **more
            )
        pool = self._pool = BlockingConnectionPool.from_url(
            self._url, max_connections=CONNECTIONS, timeout=ANSWER_SECONDS, retry=Retry(NoBackoff(), 0), **_OPTIONS
        )
        uri = f"async+{self._url}" if scheme.startswith("redis") else "async+redis://localhost"
        return RedisStorage(uri, implementation="redispy", key_prefix=self.prefix, connection_pool=pool)  # type: ignore[arg-type]

    def failed(self, fault: Exception) -> Away:
        """Let Redis rest for a second; return what to raise."""
        if self._rests_until <= time.monotonic():
            log.warning("budgets are counted by each hub alone, Redis does not answer: %s", type(fault).__name__)
        self._rests_until = time.monotonic() + _REST_SECONDS
        return Away()

    async def close(self) -> None:
        """Disconnect."""
        if self._storage is not None:
            await client_of(self._storage).aclose()
            if self._pool is not None:
                await self._pool.aclose()


def client_of(storage: RedisStorage) -> Any:
    """Return the client of Redis that a storage of `limits` asks."""
    bridge: Any = storage.bridge
    return bridge.get_connection()


class RedisRates:
    """Counts for all hubs together."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis

    async def portion(self, key: str, rate: Rate, amount: int) -> Portion:
        """Take up to `amount` of what the budget under a key still has; raise `Away`."""
        storage = await self._redis.storage()
        limiter, item = SlidingWindowCounterRateLimiter(storage), RateLimitItemPerSecond(rate.count, rate.seconds)
        amount = min(amount, rate.count)
        try:
            if await limiter.hit(item, key, cost=amount):
                return Portion(amount)
            window = await storage.get_sliding_window(item.key_for(key), rate.seconds)
            rest = rate.count - math.floor(window[0] * window[1] / rate.seconds + window[2])
            if rest >= 1 and await limiter.hit(item, key, cost=(rest := min(rest, amount))):
                return Portion(rest)
        except LOST as fault:
            raise self._redis.failed(fault) from None
        return Portion(0, _wait(window, rate))

    async def close(self) -> None:
        """Disconnect."""
        await self._redis.close()


def _wait(window: tuple[int, float, int, float], rate: Rate) -> float:
    """Return in about how many seconds one more fits: what the window before counts for fades, then this one does."""
    before, _, now, lasts = window
    seconds = rate.seconds / before if before else max(0.0, lasts - rate.seconds) + rate.seconds / max(1, now)
    return min(float(rate.seconds), max(0.05, seconds))


class RedisBackOff:
    """Counts failures for all hubs together; for this one alone while Redis is away."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._alone = InProcessBackOff(time.monotonic)

    async def begin(self, what: Sequence[Tried]) -> float:
        """Count a try as failed, unless it has to wait."""
        given: list[float] = [FORGET_SECONDS]
        for one in what:
            given += [one.rule.free, one.rule.first, one.rule.most]
        try:
            return int(await self._run(BEGIN, what, *given)) / 1000 if what else 0.0
        except Away:
            return await self._alone.begin(what)

    async def passed(self, what: Sequence[Tried]) -> None:
        """Take back what `begin` counted."""
        try:
            if what:
                await self._run(PASSED, what, *(int(one.forgiven) for one in what))
        except Away:
            pass
        await self._alone.passed(what)

    async def _run(self, script: str, what: Sequence[Tried], *given: Any) -> Any:
        connection = client_of(await self._redis.storage())
        keys = [f"{{{self._redis.prefix}:tries}}:{one.key}" for one in what]
        try:
            return await connection.eval(script, len(keys), *keys, *given)
        except LOST as fault:
            raise self._redis.failed(fault) from None

    async def close(self) -> None:
        """What it counts with is closed by who made it."""
