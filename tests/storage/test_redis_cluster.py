"""Sharded pub/sub: the same promise on a cluster of three servers, while channels move and servers go."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest
from redis.crc import key_slot

from hub.wire.errors import HubError
from storage.presence import Beat
from storage.redis.address import Address
from storage.redis.bus import RedisBus
from storage.redis.locks import RedisLocks
from storage.redis.messages import BUCKETS, Seal, bucket_of
from storage.redis.post import RedisPost
from storage.redis.queues import RedisQueues
from tests.storage.contract_bus import BusContract, Opened, commit, until
from tests.storage.contract_locks import ADA, BOB, KEY
from tests.storage.contract_post import End
from tests.storage.redis_server import RedisServer, free_port, running
from tests.storage.test_redis_bus import SECRET, connected, realm
from tests.storage.test_redis_line import ends

SLOTS = 16384
SERVERS = 3


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[RedisServer]]:
    """Return three servers that share the slots; they may not know of each other yet."""
    with ExitStack() as stack:
        servers, doors = [], [free_port() for _ in range(SERVERS)]
        for door in doors:
            options = ("--cluster-enabled", "yes", "--cluster-port", f"{door}", "--cluster-node-timeout", "2000")
            servers.append(stack.enter_context(running(*options)))
        for n, server in enumerate(servers):
            first, last = n * SLOTS // SERVERS, (n + 1) * SLOTS // SERVERS - 1
            assert server.run("CLUSTER", "ADDSLOTSRANGE", f"{first}", f"{last}") == b"+OK"
            assert servers[0].run("CLUSTER", "MEET", "127.0.0.1", f"{server.port}", f"{doors[n]}") == b"+OK"
        yield servers


def bus_on(cluster: list[RedisServer], secret: bytes = SECRET) -> RedisBus:
    """Return one end of the bus, which is told of two of the servers."""
    url = f"redis+cluster://127.0.0.1:{cluster[0].port},127.0.0.1:{cluster[1].port}"
    return RedisBus(Address(url), secret, realm)


class TestCluster(BusContract):
    """The bus over a cluster."""

    @pytest.fixture
    def opened(self, cluster: list[RedisServer]) -> Opened:
        """Each test has a secret of its own, so that none hears the others' ends."""
        secret = random.randbytes(32)
        return lambda count: connected(*(bus_on(cluster, secret) for _ in range(count)))


async def test_every_server_carries_its_own_channels(cluster: list[RedisServer]) -> None:
    async with connected(bus_on(cluster), bus_on(cluster)) as (one, two):
        assert isinstance(one.bus, RedisBus)
        lanes = one.bus._lanes
        assert len(lanes) == SERVERS
        assert sorted(bucket for lane in lanes for bucket in lane.buckets) == list(range(BUCKETS))
        one.bus.publish([commit(f"account-{n}", 1) for n in range(300)])
        await until(lambda: len(two.commits) == 300)
        assert one.bus.counts.lost == two.bus.counts.lost == 0  # type: ignore[attr-defined]


async def test_locks_are_in_one_slot_of_a_cluster(cluster: list[RedisServer]) -> None:
    urls = [f"redis+cluster://127.0.0.1:{cluster[n].port}" for n in (0, 1)]
    ends = [RedisLocks(Address(url), SECRET, realm) for url in urls]
    told: list[str] = []
    ends[1].listen(lambda change: told.append(change.why))
    for end in ends:
        await end.start()
    await until(lambda: all(end.ready for end in ends))
    await ends[0].take(KEY, ADA)
    with pytest.raises(HubError, match=r"lock\.held"):
        await ends[1].take(KEY, BOB)
    await ends[1].take(KEY, BOB, steal=True)
    ends[1].end("account", BOB.session)
    await until(lambda: ends[0].held(KEY) is None)
    for end in ends:
        end.look()
    await until(lambda: told == ["taken", "stolen", "released"])
    for end in ends:
        await end.close()


async def test_letters_and_what_waits_for_clients_are_in_one_slot_of_a_cluster(cluster: list[RedisServer]) -> None:
    url = f"redis+cluster://127.0.0.1:{cluster[0].port}"
    ends = [End(RedisPost(Address(url), random.randbytes(32) if not n else SECRET, realm)) for n in range(3)]
    for end in ends:
        await end.post.start()
    await until(lambda: all(end.post.ready for end in ends))
    stranger, one, two = ends
    assert await one.post.send(two.post.name, b"hello") == 1
    assert await two.post.send(None, b"all") == 1
    await until(lambda: (two.letters, one.letters) == ([(one.post.name, b"hello")], [(two.post.name, b"all")]))
    assert isinstance(one.post, RedisPost)
    assert isinstance(two.post, RedisPost)
    await RedisQueues(one.post).put(("account", "device", "kiosk"), "item", b"waits", 60)
    assert await RedisQueues(two.post).take(("account", "user", "kiosk")) is None
    found = await RedisQueues(two.post).take(("account", "device", "kiosk"))
    assert found is not None
    assert found[0] == b"waits"
    assert stranger.letters == []
    for end in ends:
        await end.post.close()


async def test_a_channel_that_moves_to_another_server_is_followed(cluster: list[RedisServer]) -> None:
    account = "main"
    slot = key_slot(Seal(SECRET, "epoch").channels[bucket_of(account)])
    here = slot * SERVERS // SLOTS
    there = (here + 1) % SERVERS
    node = cluster[there].run("CLUSTER", "MYID").decode()
    async with connected(bus_on(cluster), bus_on(cluster)) as (one, two):
        gaps = two.gaps
        for n in (there, here, (there + 1) % SERVERS):
            # One that has not heard of the others yet knows no such node.
            move = partial(cluster[n].run, "CLUSTER", "SETSLOT", f"{slot}", "NODE", node)
            await until(lambda: move() == b"+OK")  # noqa: B023  # called before the next one is made
        await until(lambda: two.gaps >= gaps + 2)  # it was lost, and is connected again
        await until(lambda: one.bus.healthy and two.bus.healthy)
        for seq in range(1, 100):
            one.bus.publish([commit(account, seq)])
            await asyncio.sleep(0.02)
            if two.seqs:
                break
        assert two.seqs, "the channel is heard where it is now"


async def test_a_server_that_is_killed_is_missed_and_found_again(cluster: list[RedisServer]) -> None:
    async with connected(bus_on(cluster), bus_on(cluster)) as (one, two):
        await asyncio.to_thread(cluster[1].kill)
        await until(lambda: not one.bus.healthy and not two.bus.healthy, 5)
        await asyncio.to_thread(cluster[1].start)
        await until(lambda: one.bus.healthy and two.bus.healthy)
        one.bus.publish([commit(f"account-{n}", 1) for n in range(200)])
        await until(lambda: len(two.commits) == 200)


async def test_the_line_of_presence_is_carried_by_one_server_of_them(cluster: list[RedisServer]) -> None:
    url = f"redis+cluster://127.0.0.1:{cluster[0].port},127.0.0.1:{cluster[1].port}"
    async with ends(url, "a", "b") as (one, other):
        one.line.put(Beat("one", 7))
        await until(lambda: other.beats("one") == [7])
        await until(lambda: other.linked)
        assert await one.line.claim("x", 60)
        assert not await other.line.claim("x", 60)
        lives = [await one.line.lives(name) for name in ("a", "b", "c")]
        assert lives == [True, True, False]
