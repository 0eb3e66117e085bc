"""Being tied to a real Redis: made anew when lost, given up or at fault; closed at any moment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection

from hub.wire.errors import HubError
from storage.redis.address import Address
from storage.redis.mouth import Mouth
from storage.redis.tether import Tether
from tests.storage.contract_bus import until
from tests.storage.redis_server import RedisServer, running


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running() as server:
        yield server


class Owner:
    """Counts how often it was connected and away; `faults` are raised by it, one for each connection."""

    def __init__(self, url: str, *faults: Exception) -> None:
        self.address = Address(url)
        self.mouth = Mouth("Tests", "write.unknown")
        self.faults = list(faults)
        self.served = self.left = self.doubts = 0
        self.tether = Tether(
            self.mouth, self.serve, self.away, logging.getLogger("hub.test"), longest_wait=0.2, fault=self.doubt
        )

    async def serve(self) -> None:
        (node,) = await self.address.nodes((b"tests",))
        ears, mouth = await self.tether.connect(node.place)
        self.served += 1
        self.tether.ready = True
        await self.tether.hold(self.listen(ears), self.mouth.speak(mouth))

    async def listen(self, ears: AbstractConnection) -> None:
        """Fail once with each fault, else hear nothing until the connection is lost."""
        if self.faults:
            raise self.faults.pop(0)
        read: Any = ears.read_response
        await read(timeout=float("inf"))

    def away(self) -> None:
        self.left += 1

    def doubt(self) -> None:
        self.doubts += 1


@pytest.fixture
async def owner(redis: RedisServer) -> AsyncIterator[Owner]:
    one = Owner(redis.url)
    one.tether.start()
    await until(lambda: one.tether.ready)
    yield one
    await one.tether.close()


async def test_what_is_given_up_is_made_anew_and_counted(owner: Owner) -> None:
    assert await owner.mouth.ask("PING") == b"PONG"
    owner.tether.give_up("something was missed")
    await until(lambda: owner.served == 2 and owner.tether.ready)
    assert (owner.tether.lost, owner.doubts) == (1, 0)
    assert await owner.mouth.ask("PING") == b"PONG"


async def test_a_fault_of_who_is_told_does_not_end_it(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    one = Owner(redis.url, ValueError("a listener"), KeyError("another"))
    one.tether.start()
    await until(lambda: one.served == 3 and one.tether.ready)
    assert one.doubts == 2
    assert "a listener" in caplog.text
    await one.tether.close()


async def test_who_waits_when_it_is_lost_is_told_whether_it_may_have_been_done(owner: Owner) -> None:
    blocked = owner.mouth.put("BLPOP", "nothing", "0")
    await until(lambda: owner.mouth._sent == 1)
    behind = owner.mouth.put("PING")
    owner.tether.give_up("something was missed")
    codes = []
    for result in (blocked, behind):
        with pytest.raises(HubError) as refused:
            await result
        codes.append(refused.value.code)
    assert codes == ["write.unknown", "server.unavailable"]


@pytest.mark.parametrize("turns", range(0, 24, 2))
async def test_it_closes_at_any_moment_and_does_not_come_back(redis: RedisServer, turns: int) -> None:
    one = Owner(redis.url)
    one.tether.start()
    for _ in range(turns):
        await asyncio.sleep(0)
    await asyncio.wait_for(one.tether.close(), 2)
    served, waiting = one.served, one.mouth.put("PING")
    await asyncio.sleep(0.3)  # longer than the longest wait between two connections
    assert one.served == served
    assert not one.tether.ready
    assert one.left >= 1
    assert not waiting.done()  # nobody speaks any more; whoever is closed asks nothing


async def test_a_server_that_goes_away_is_found_again() -> None:
    with running() as server:
        one = Owner(server.url)
        one.tether.start()
        await until(lambda: one.tether.ready)
        server.kill()
        await until(lambda: not one.tether.ready)
        server.start()
        await until(lambda: one.tether.ready and one.served == 2)
        assert one.tether.lost == 1
        await one.tether.close()
