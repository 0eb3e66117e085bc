"""Messages between three instances over a real Redis, while sockets and the connections to Redis are cut.

`AETHER_PROOF` multiplies the number of messages: at 100 they are 100,000. The control never recovers, and is caught.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from channels.messages import Messages, entry_of
from hub.wire.errors import HubError
from storage.redis.address import Address
from storage.redis.streams import RedisLog
from tests.channels.test_message_order import KEY, TALK, Person, World
from tests.proofs.figures import SCALE, report
from tests.storage.contract_bus import until
from tests.storage.redis_server import RedisServer, running

MESSAGES = 1000 * SCALE
AT_ONCE = 20
CUTS = 40 * min(SCALE, 10)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running() as server:
        yield server


class Between(World):
    """Three instances of a real Redis, and their people."""

    def __init__(self, logs: list[RedisLog], seed: int, control: str = "") -> None:
        self.random = Random(seed)
        self.control = control
        self.instances = [Messages(log, lambda outlet: None) for log in logs]
        self.begun: dict[str, int] = {}
        self.tasks: list[asyncio.Task[None]] = []
        self.people = [Person(f"p{n}", self) for n in range(12)]
        self.acknowledged: dict[int, int] = {}
        """The offset of what was answered with one."""

    async def speak(self, redis: RedisServer) -> None:
        """Say everything, some of it at a time, and cut what can be cut."""
        said = iter(range(MESSAGES))

        async def one(instance: Messages) -> None:
            for n in said:
                entry = entry_of({"event": "e", "data": n, "from": None}, TALK, None, None, echo=True, ttl=None)
                try:
                    self.acknowledged[n] = (await instance.send(KEY, TALK, entry, None))[0]
                except HubError:
                    await asyncio.sleep(0.05)  # what became of it is not known, and everybody agrees on it

        speaking = [asyncio.create_task(one(self.instances[n % 3])) for n in range(AT_ONCE)]
        every = MESSAGES // CUTS
        for n in range(1, CUTS):
            while len(self.acknowledged) < n * every and not all(task.done() for task in speaking):
                await asyncio.sleep(0.001)
                self.read()
            person = self.people[n % len(self.people)]
            person.cut()
            if n % 10 == 0:
                redis.run("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            person.connect()
        for task in speaking:
            while not task.done():
                await asyncio.sleep(0.001)
                self.read()
            await task

    def joined(self) -> bool:
        self.read()
        return not any(person.joining for person in self.people)

    def read(self) -> None:
        for person in self.people:
            person.read()

    async def level(self) -> None:
        """Wait until everybody has heard everything, for at most some seconds."""
        last = max(self.acknowledged.values())
        for _ in range(5000):
            self.read()
            if all(p.place is not None and p.place.offset >= last and not p.joining for p in self.people):
                return
            await asyncio.sleep(0.002)


@asynccontextmanager
async def three(redis: RedisServer) -> AsyncIterator[list[RedisLog]]:
    redis.run("FLUSHALL")

    async def realm() -> str:
        return "epoch of a database"

    logs = [RedisLog(Address(redis.url), b"secret", realm) for _ in range(3)]
    for log in logs:
        await log.start()
    await until(lambda: all(log.ready for log in logs))
    yield logs
    for log in logs:
        await log.close()


async def played(redis: RedisServer, control: str = "") -> dict[str, Any]:
    """Play once; return what was seen."""
    async with three(redis) as logs:
        world = Between(logs, 7, control)
        for person in world.people:
            person.connect()
        await until(world.joined)
        begun = asyncio.get_running_loop().time()
        await world.speak(redis)
        seconds = asyncio.get_running_loop().time() - begun
        await world.level()
        heard = [person.heard for person in world.people]
        orders = {tuple(numbers) for numbers in heard}
        whole = max(heard, key=len)
        return {
            "messages": len(world.acknowledged),
            "orders": len(orders),
            "missing": sum(len(set(world.acknowledged) - set(numbers)) for numbers in heard),
            "doubled": sum(len(numbers) - len(set(numbers)) for numbers in heard),
            "out of place": sum(whole[offset - 1 : offset] != [n] for n, offset in world.acknowledged.items()),
            "connections lost": sum(log.lost for log in logs),
            "messages a second": round(len(world.acknowledged) / seconds),
        }


@pytest.mark.timeout(900)
async def test_everybody_at_three_instances_hears_one_order_whatever_is_cut(redis: RedisServer) -> None:
    seen = await played(redis)
    report("channel messages between three instances", f"{seen}")
    assert {name: seen[name] for name in ("orders", "missing", "doubled", "out of place")} == {
        "orders": 1,
        "missing": 0,
        "doubled": 0,
        "out of place": 0,
    }
    assert seen["messages"] > MESSAGES * 0.8
    assert seen["connections lost"] > 0


async def test_without_recovery_the_same_check_finds_what_is_missing(redis: RedisServer) -> None:
    assert (await played(redis, "no recovery"))["missing"] > 0
