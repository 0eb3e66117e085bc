"""Hubs in processes of their own over one MariaDB and one Redis, and everything that can befall them."""

from __future__ import annotations

import asyncio
import math
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from tests.storage.mariadb_server import MariadbServer
from tests.storage.proxy import Proxy
from tests.storage.redis_server import RedisServer
from tests.wire.hubprocess import HubProcess

SECRET: Final = "the-secret-of-a-cluster-that-is-killed-all-the-time"
NOTICED_SECONDS: Final = 10.0
"""How long a fault is waited for until it is noticed."""
BACK_SECONDS: Final = 60.0
LOST: Final = "the connection to Redis is lost"
BACK: Final = "connected to Redis"
MISSED: Final = "is not heard any more"
_LIMIT: Final = "client-output-buffer-limit"
_CHANNEL: Final = "return redis.call('PUBSUB', 'CHANNELS', 'aether:*')[1]"
UNSCANNED: Final = (sys.executable, "-m", "tests.proofs.unscanned")


@dataclass(eq=False)
class Instance:
    """One hub, whatever its process is at the moment, and the ways to it and from it to Redis."""

    number: int
    folder: Path
    to_redis: Proxy
    to_it: Proxy
    process: HubProcess | None = None
    """None while it is dead."""
    port: int = 0

    def lines(self) -> int:
        """Return how long the log of the process is, in bytes."""
        assert self.process is not None
        return len(self.process.log.encode())

    def said(self, words: str, since: int) -> bool:
        """Say whether the log has words behind so many bytes."""
        return self.process is not None and words.encode() in self.process.log.encode()[since:]


@dataclass(eq=False)
class Cluster:
    """The hubs and what they share."""

    mariadb: MariadbServer
    database: str
    redis: RedisServer
    instances: list[Instance]
    before: tuple[str, ...]
    secrets: set[str] = field(default_factory=set)

    def places(self, behind_proxy: bool) -> list[int]:
        """Return the ports of the hubs that live, or of the proxies before them."""
        alive = [each for each in self.instances if each.process is not None]
        return [each.to_it.port if behind_proxy else each.port for each in alive]

    async def start(self, instance: Instance) -> None:
        """Start a hub, on the data of its last life."""
        process = await asyncio.to_thread(
            HubProcess,
            instance.folder,
            before=self.before,
            database_url=self.mariadb.url(self.database),
            redis_url=f"redis://127.0.0.1:{instance.to_redis.port}",
            cluster_secret=SECRET,
            durability="normal",
            packs="tests.proofs.readings",
            log_level="info",
        )
        process.secrets |= {":secret@", SECRET, *self.secrets}
        instance.port = instance.to_it.target = int(process.url.rpartition(":")[2])
        instance.process = process

    async def noticed(self, words: str, by: list[Instance], since: list[int], begun: float) -> float:
        """Return after how many seconds every one of these hubs has said it; infinity: they did not in time.

        A hub that was starved of its processor may have been missed before it was killed, and is not missed twice.
        """

        def look() -> float:
            while not all(each.said(words, n) for each, n in zip(by, since, strict=True)):
                if time.monotonic() - begun > NOTICED_SECONDS:
                    return math.inf
                time.sleep(0.02)
            return time.monotonic() - begun

        return await asyncio.to_thread(look)

    async def connected(self) -> None:
        """Wait until every hub's last word about Redis is that it is connected."""

        def look() -> None:
            begun = time.monotonic()
            while not all(_is_connected(each) for each in self.instances):
                if time.monotonic() - begun > BACK_SECONDS:
                    raise TimeoutError("the hubs do not come back to Redis")
                time.sleep(0.02)

        await asyncio.to_thread(look)


def _is_connected(instance: Instance) -> bool:
    log = instance.process.log if instance.process is not None else ""
    return log.rfind(BACK) > log.rfind(LOST)


@asynccontextmanager
async def running(
    mariadb: MariadbServer, redis: RedisServer, folder: Path, hubs: int, *, scan: bool = True
) -> AsyncIterator[Cluster]:
    """Run hubs over servers that run; without `scan` they never read the log for what they have missed."""
    async with AsyncExitStack() as stack:
        instances = []
        for n in range(hubs):
            to_redis, to_it = [await stack.enter_async_context(Proxy(port)) for port in (redis.port, 0)]
            instances.append(Instance(n, folder / f"hub{n}", to_redis, to_it))
        before = () if scan else UNSCANNED
        cluster = Cluster(mariadb, await asyncio.to_thread(mariadb.new_database), redis, instances, before)
        stack.callback(_kill, instances)
        await cluster.start(instances[0])
        await asyncio.gather(*(cluster.start(each) for each in instances[1:]))
        yield cluster
        if scan:  # those that do not may be stuck; they are killed
            alive = [each.process for each in instances if each.process is not None]
            await asyncio.gather(*(asyncio.to_thread(process.stop) for process in alive))


def _kill(instances: list[Instance]) -> None:
    for each in instances:
        if each.process is not None:
            each.process.signal(signal.SIGKILL)
            each.process.wait()


# -- what befalls them. Each returns after how many seconds it was noticed, None where nobody has to notice ----------


async def hub_killed(cluster: Cluster, rng: Random) -> float | None:
    """A hub is killed; when the others miss it, it is started again."""
    victim = rng.choice(cluster.instances)
    others = [each for each in cluster.instances if each is not victim]
    since = [each.lines() for each in others]
    process, victim.process = victim.process, None
    assert process is not None
    process.signal(signal.SIGKILL)
    begun = time.monotonic()
    await asyncio.to_thread(process.wait)
    process.check_log()
    try:
        seconds = await cluster.noticed(MISSED, others, since, begun)
    finally:
        await cluster.start(victim)
    return seconds


async def redis_killed(cluster: Cluster, rng: Random) -> float | None:
    """Redis is killed, and started again knowing nothing."""
    since, begun = [each.lines() for each in cluster.instances], time.monotonic()
    await asyncio.to_thread(cluster.redis.kill)
    try:
        seconds = await cluster.noticed(LOST, cluster.instances, since, begun)
        await asyncio.sleep(rng.random())
    finally:
        await asyncio.to_thread(cluster.redis.start)
    return seconds


async def redis_restarted(cluster: Cluster, rng: Random) -> float | None:
    """Redis is stopped in good order and started at once."""
    since, begun = [each.lines() for each in cluster.instances], time.monotonic()
    await asyncio.to_thread(cluster.redis.stop)
    await asyncio.to_thread(cluster.redis.start)
    return await cluster.noticed(LOST, cluster.instances, since, begun)


async def redis_frozen(cluster: Cluster, rng: Random) -> float | None:
    """Redis stands still, with every connection open."""
    since, begun = [each.lines() for each in cluster.instances], time.monotonic()
    cluster.redis.freeze()
    try:
        seconds = await cluster.noticed(LOST, cluster.instances, since, begun)
        await asyncio.sleep(rng.random())
    finally:
        cluster.redis.thaw()
    return seconds


async def redis_flushed(cluster: Cluster, rng: Random) -> float | None:
    """Everything that Redis holds is gone, and who listened is cut off."""
    await asyncio.to_thread(cluster.redis.run, "FLUSHALL")
    await asyncio.to_thread(cluster.redis.run, "CLIENT", "KILL", "TYPE", "pubsub")
    await asyncio.sleep(rng.random())
    return None


async def listener_cut(cluster: Cluster, rng: Random) -> float | None:
    """Redis cuts a hub that takes nothing for a while, because more waits for it than its limit allows."""
    victim = rng.choice(cluster.instances)
    since = [victim.lines()]
    await asyncio.to_thread(cluster.redis.run, "CONFIG", "SET", _LIMIT, "pubsub 200kb 200kb 1")
    victim.to_redis.hold()
    try:
        heard, channel = 0, await asyncio.to_thread(cluster.redis.run, "EVAL", _CHANNEL, "0")
        for _ in range(60):
            told = await asyncio.to_thread(cluster.redis.run, "PUBLISH", channel.decode(), "x" * 500_000)
            heard = int(told[1:])
            if heard < len(cluster.instances):
                break
        assert heard < len(cluster.instances), "Redis cut nobody"
    finally:
        begun = time.monotonic()
        victim.to_redis.let_go()
        await asyncio.to_thread(cluster.redis.run, "CONFIG", "SET", _LIMIT, "pubsub 32mb 8mb 60")
    return await cluster.noticed(LOST, [victim], since, begun)


async def hub_cut_off(cluster: Cluster, rng: Random) -> float | None:
    """A hub's way to Redis swallows everything and breaks nothing; it notices, and so do the others."""
    victim = rng.choice(cluster.instances)
    others = [each for each in cluster.instances if each is not victim]
    since, begun = [each.lines() for each in cluster.instances], time.monotonic()
    victim.to_redis.hold()
    try:
        missed = [since[each.number] for each in others]
        seconds = await asyncio.gather(
            cluster.noticed(LOST, [victim], [since[victim.number]], begun),
            cluster.noticed(MISSED, others, missed, begun),
        )
        await asyncio.sleep(rng.random())
    finally:
        victim.to_redis.let_go()
    return max(seconds)


async def clients_cut_off(cluster: Cluster, rng: Random) -> float | None:
    """The ways of some clients swallow everything; these come back by another one."""
    victims = rng.sample(cluster.instances, 2)
    for each in victims:
        each.to_it.hold()
    await asyncio.sleep(1 + 3 * rng.random())
    for each in victims:
        each.to_it.let_go()
    return None


async def resets(cluster: Cluster, rng: Random) -> float | None:
    """The connections of hubs to Redis and of clients to hubs are reset, several times."""
    for _ in range(3):
        for proxy in (rng.choice(cluster.instances).to_redis, rng.choice(cluster.instances).to_it):
            proxy.reset()
        await asyncio.sleep(rng.random() / 2)
    return None


Fault = Callable[[Cluster, Random], Awaitable[float | None]]
FAULTS: Final[tuple[Fault, ...]] = (
    redis_killed, listener_cut, hub_killed, redis_frozen, redis_flushed, hub_cut_off, redis_restarted, resets,
)  # fmt: skip
"""One after the other; `clients_cut_off` happens beside them."""
