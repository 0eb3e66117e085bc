"""One budget over several hubs, and failed sign-ins, counted in Redis: shared, by its clock, and without it alone."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from handlers.base import Peer
from handlers.rates import AT_ONCE, PORTION, Rates
from hub.access import Identity
from storage.backoff import NAME, PAIR, tried
from storage.rates import Away, Rate
from storage.redis.rates import RedisBackOff, RedisClient, RedisRates
from tests.storage.redis_server import RedisServer, running

SECRET = b"a secret that all hubs share...."
_realms = itertools.count()


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """A server for this file."""
    with running() as server:
        yield server


@pytest.fixture
async def clients(redis: RedisServer) -> AsyncIterator[list[RedisClient]]:
    """Three hubs over one database."""
    epoch = f"e{next(_realms)}"

    async def realm() -> str:
        return epoch

    made = [RedisClient(redis.url, SECRET, realm) for _ in range(3)]
    yield made
    for client in made:
        await client.close()


def ada() -> Peer:
    return Peer(identity=Identity("user", user="ada"))


async def test_three_hubs_spend_one_budget(clients: list[RedisClient]) -> None:
    count = 160
    hubs = [Rates({("search", "user"): Rate(count, 60)}, RedisRates(client)) for client in clients]
    let, until = 0, time.monotonic() + 20
    while let < count or time.monotonic() < until:
        for hub in hubs:
            let += hub.wait(ada(), "search") == 0
        await asyncio.sleep(0.002)
        if let >= count and all(hub.wait(ada(), "search") > 0.05 for hub in hubs):
            break
    assert count <= let <= count + 3 * (count // PORTION + count // AT_ONCE)
    assert 0.05 <= max(hub.wait(ada(), "search") for hub in hubs) <= 61


async def test_a_portion_is_what_is_left_and_then_a_time(clients: list[RedisClient]) -> None:
    one, other = RedisRates(clients[0]), RedisRates(clients[1])
    rate = Rate(10, 1)
    assert (await one.portion("k", rate, 4)).granted == 4
    assert (await other.portion("k", rate, 100)).granted == 6
    refused = await one.portion("k", rate, 1)
    assert refused.granted == 0
    assert 0 < refused.wait <= 1
    assert (await one.portion("other", rate, 1)).granted == 1
    until = time.monotonic() + 3
    while not (await other.portion("k", rate, 1)).granted:
        assert time.monotonic() < until
        await asyncio.sleep(0.05)


async def test_no_hubs_clock_counts(clients: list[RedisClient], monkeypatch: pytest.MonkeyPatch) -> None:
    rate, real = Rate(10, 60), time.time
    for n, skew in enumerate((0.0, 3600.0, -3600.0)):
        monkeypatch.setattr(time, "time", lambda skew=skew: real() + skew)
        assert (await RedisRates(clients[n]).portion("k", rate, 4 if n < 2 else 2)).granted == (4 if n < 2 else 2)
    for n, skew in enumerate((0.0, 3600.0, -3600.0)):
        monkeypatch.setattr(time, "time", lambda skew=skew: real() + skew)
        refused = await RedisRates(clients[n]).portion("k", rate, 1)
        assert refused.granted == 0
        assert 0 < refused.wait <= 60
        assert await RedisBackOff(clients[n]).begin(tried(f"skew{n}", "192.0.2.1")) == 0


async def test_other_databases_have_other_budgets(redis: RedisServer, clients: list[RedisClient]) -> None:
    async def realm() -> str:
        return "another"

    other = RedisClient(redis.url, SECRET, realm)
    assert (await RedisRates(clients[0]).portion("k", Rate(1, 60), 1)).granted == 1
    assert (await RedisRates(other).portion("k", Rate(1, 60), 1)).granted == 1
    await other.close()


async def test_failures_are_counted_over_all_hubs_and_forgiven_on_all(clients: list[RedisClient]) -> None:
    hubs = [RedisBackOff(client) for client in clients]
    what = tried("ada@x.test", "192.0.2.1")
    waits = await asyncio.gather(*(hubs[n % 3].begin(what) for n in range(60)))
    assert waits.count(0.0) == PAIR.free + 1
    assert 0 < max(waits) <= PAIR.first
    assert await hubs[2].begin(tried("eve@x.test", "192.0.2.1")) == 0
    await hubs[1].passed(what)
    assert await hubs[0].begin(what) == 0
    many = [tried("ada@x.test", f"198.51.100.{n}") for n in range(60)]
    assert [await hubs[n % 3].begin(one) for n, one in enumerate(many)].count(0.0) == NAME.free, "one was made before"
    assert await hubs[0].begin(()) == 0


async def test_redis_may_go_and_come_back_and_nobody_is_refused_for_it() -> None:
    with running() as server:

        async def realm() -> str:
            return "e"

        client = RedisClient(server.url, SECRET, realm)
        hub, back_off = Rates({("search", "user"): Rate(400, 10)}, RedisRates(client)), RedisBackOff(client)
        assert hub.wait(ada(), "search") == 0
        server.kill()
        begun = time.monotonic()
        for _ in range(50):
            assert hub.wait(ada(), "search") == 0
            await asyncio.sleep(0.01)
        assert await back_off.begin(tried("ada", None)) == 0
        assert time.monotonic() - begun < 5
        with pytest.raises(Away):
            await RedisRates(client).portion("k", Rate(1, 1), 1)
        server.start()
        until = time.monotonic() + 10
        while server.run("DBSIZE") == b":0":
            assert hub.wait(ada(), "search") == 0
            await asyncio.sleep(0.1)
            assert time.monotonic() < until, "it is asked again"
        await hub.close()
