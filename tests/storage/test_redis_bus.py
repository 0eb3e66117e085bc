"""The Redis bus and its double in memory keep one promise; from Redis only what is signed is believed."""

from __future__ import annotations

import asyncio
import hmac
import logging
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import pytest
from redis.asyncio.connection import DefaultParser

from hub.schema.writes import ChangeRow, ChangeSet
from hub.wire.errors import HubError
from storage.bus import Bus, BusAway, InProcessBus, NoBus
from storage.redis import bus as redis_bus
from storage.redis import lane, messages
from storage.redis.address import Address, AddressError
from storage.redis.bus import RedisBus
from storage.redis.lane import Lost
from storage.redis.messages import BUCKETS, RIGHTS, Message, Seal, Untrusted, bucket_of
from tests.simulation.network import Faults, LossyBus
from tests.storage.contract_bus import BusContract, End, Opened, commit, until
from tests.storage.redis_server import RedisServer, free_port, running

SECRET = b"a secret that all hubs share...."


async def realm() -> str:
    """Return the epoch of a database."""
    return "epoch"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """Return a server for the tests that do not harm it."""
    with running() as server:
        yield server


def bus_on(server: RedisServer, secret: bytes = SECRET) -> RedisBus:
    """Return one end of the bus over a server."""
    return RedisBus(Address(server.url), secret, realm)


@asynccontextmanager
async def connected(*buses: Bus) -> AsyncIterator[list[End]]:
    """Start buses, and return them when all of them are healthy."""
    ends = [End(bus) for bus in buses]
    async with AsyncExitStack() as stack:
        for end in ends:
            await end.bus.start()
            stack.push_async_callback(end.bus.close)
        await until(lambda: all(end.bus.healthy for end in ends))
        yield ends


class TestRedis(BusContract):
    """The bus over one server."""

    @pytest.fixture
    def opened(self, server: RedisServer) -> Opened:
        """Each test has a secret of its own, so that none hears the others' ends."""
        secret = random.randbytes(32)
        return lambda count: connected(*(bus_on(server, secret) for _ in range(count)))


class TestMemory(BusContract):
    """The bus of the simulations, without any fault."""

    @pytest.fixture
    def opened(self) -> Opened:
        """Return ends that lose nothing."""

        @asynccontextmanager
        async def open_ends(count: int) -> AsyncIterator[list[End]]:
            known: list[LossyBus] = []
            made = [LossyBus(random.Random(n), Faults(), known) for n in range(count)]
            yield [End(bus) for bus in made]
            for bus in made:
                if bus in known:
                    await bus.close()

        return open_ends


@pytest.mark.parametrize(("bus", "healthy"), [(InProcessBus(), True), (NoBus(), False)])
async def test_a_bus_with_nobody_to_tell_takes_everything(bus: Bus, healthy: bool) -> None:
    end = End(bus)
    await bus.start()
    bus.publish([commit()])
    bus.beat({"main": 1})
    await bus.probe()
    assert (bus.healthy, end.commits, end.heads, end.gaps) == (healthy, [], {}, 0)
    await bus.close()


async def test_commits_of_an_account_arrive_in_order_and_few_messages_carry_many(server: RedisServer) -> None:
    async with connected(bus_on(server), bus_on(server)) as (one, two):
        assert isinstance(one.bus, RedisBus)
        for first in range(1, 2001, 100):
            one.bus.publish([commit(seq=n) for n in range(first, first + 100)])
            await asyncio.sleep(0)
        await until(lambda: len(two.commits) == 2000)
        assert two.seqs == list(range(1, 2001))
        assert one.bus.counts.sent < 100


async def test_being_connected_is_a_reason_to_look_at_the_logs(server: RedisServer) -> None:
    async with connected(bus_on(server)) as (end,):
        assert end.gaps == 1


async def test_what_says_who_may_do_what_is_told_by_its_number_only(server: RedisServer) -> None:
    async with connected(bus_on(server), bus_on(server)) as (one, two):
        for n, kind in enumerate(sorted(RIGHTS)):
            one.bus.publish([commit(f"account-{n}", 5, kind, role="owner"), commit(f"account-{n}", 6)])
        await until(lambda: len(two.commits) == len(RIGHTS) and len(two.heads) == len(RIGHTS))
        assert {row.type for heard in two.commits for row in heard.rows} == {"event"}
        assert all(two.heads[f"account-{n}"] >= 5 for n in range(len(RIGHTS)))


def test_the_types_that_say_who_may_do_what_are_those_that_end_sessions() -> None:
    from channels.reviews import WATCHED

    assert WATCHED.keys() < RIGHTS


async def test_forged_and_garbled_messages_are_counted_and_dropped_and_logged_once(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "hub.bus")
    seal, other = Seal(SECRET, "epoch"), Seal(b"another secret", "epoch")
    good = seal.close(Message("else", commits=(commit(seq=1),)))
    body = msgspec.msgpack.encode

    def signed(data: bytes, version: int = messages.VERSION) -> bytes:
        return bytes((version,)) + hmac.digest(seal._key, bytes((version,)) + data, "sha256") + data

    forged = [
        other.close(Message("else", commits=(commit(seq=2),))),
        Seal(SECRET, "another database").close(Message("else", commits=(commit(seq=2),))),
        *(good[:n] + bytes((good[n] ^ 1,)) + good[n + 1 :] for n in range(0, len(good), 7)),
        *(random.Random(n).randbytes(n) for n in range(33, 400, 9)),
    ]
    garbled = [
        b"", b"hello", good[:20], good + bytes(2 * messages.MESSAGE_BYTES),
        signed(b""), signed(body(1)), signed(body({"sender": 1})), signed(body({"sender": "x", "kind": "else"})),
        signed(body({"sender": "x", "commits": [{}]})), signed(body({"sender": "x", "more": 1})),
        signed(body({"sender": "x", "heads": {"a": "1"}})), signed(b"\x91" * 200_000),
        signed(b"\x81\xa6sender\xa1\xff"),
        signed(body(Message("x", commits=(commit(kind="user", role="owner"),)))),
        signed(body(Message("x", commits=(commit(seq=0),)))),
    ]  # fmt: skip
    async with connected(bus_on(server)) as (end,):
        bus = end.bus
        assert isinstance(bus, RedisBus)
        connection = Address(server.url)._seeds[0].connection()
        await connection.connect()  # type: ignore[no-untyped-call]
        for data in (*forged, *garbled, signed(good[33:], messages.VERSION + 1), good):
            await connection.send_command("PUBLISH", seal.channels[0], data)
            assert await connection.read_response() == 1
        await connection.disconnect()
        await until(lambda: end.seqs == [1])
        counts = bus.counts
        assert (counts.forged, counts.garbled, counts.version, counts.lost) == (len(forged), len(garbled), 1, 0)
        assert not bus.healthy, "hubs of another version are not understood, so the logs are asked"
        await bus.probe()
        said = [record.message for record in caplog.records if "dropped messages" in record.message]
        assert len(said) == 1


async def test_forged_beats_keep_no_connection_alive(server: RedisServer) -> None:
    seal = Seal(b"another secret", "epoch")
    async with connected(bus_on(server)) as (end,):
        bus = end.bus
        assert isinstance(bus, RedisBus)
        assert not bus._heard(seal.close(Message("else", "beat")))
        assert bus._heard(bus._seal.close(Message(bus._sender, "beat")) if bus._seal else b"")


def test_the_version_of_messages_stands_for_their_fields() -> None:
    """Whoever changes what a commit holds makes another version of the messages that carry it."""
    assert messages.VERSION == 1
    assert ChangeSet.__struct_fields__ == ("account", "seq", "at", "actor", "session", "request", "rows")
    assert ChangeRow.__struct_fields__ == ("part", "type", "rec", "kind", "version", "after", "before")
    assert Message.__struct_fields__ == ("sender", "kind", "commits", "heads")


def test_messages_are_bounded_and_hold_everything() -> None:
    seal = Seal(SECRET, "epoch")
    said = [commit(f"a{n % 3}", n, text="x" * (n * 997 % 120_000)) for n in range(1, 300)]
    said.append(commit("a0", 300, text="x" * messages.MESSAGE_BYTES))
    heard: list[ChangeSet] = []
    heads: dict[str, int] = {}
    for bucket, data in seal.news("x", said):
        assert len(data) <= messages.MESSAGE_BYTES
        message = seal.open(data)
        assert {bucket_of(c.account) for c in message.commits} <= {bucket}
        assert len(message.commits) <= messages.MESSAGE_COMMITS
        heard += message.commits
        heads |= message.heads
    assert sorted(heard, key=lambda c: c.seq) == said[:-1]
    assert heads == {"a0": 300}
    for account in ("a0", "a1", "a2"):
        mine = [c.seq for c in heard if c.account == account]
        assert mine == sorted(mine)


def test_accounts_are_spread_over_all_buckets() -> None:
    found = [bucket_of(f"account-{n}") for n in range(6400)]
    assert {found.count(bucket) > 50 for bucket in range(BUCKETS)} == {True}


def test_a_seal_opens_only_its_own() -> None:
    seal = Seal(SECRET, "epoch")
    assert seal.open(seal.close(Message("x"))) == Message("x")
    for other in (Seal(SECRET + b"!", "epoch"), Seal(SECRET, "epoch2")):
        assert not set(other.channels) & set(seal.channels)
        with pytest.raises(Untrusted, match="forged"):
            other.open(seal.close(Message("x")))


async def test_too_much_that_waits_is_told_by_beats(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "WAITING_BYTES", 100_000)
    async with connected(bus_on(server), bus_on(server)) as (one, two):
        assert isinstance(one.bus, RedisBus)
        await until(lambda: not one.bus._lanes[0]._waiting)  # type: ignore[attr-defined]
        one.bus.publish([commit(f"account-{n}", 1, text="x" * 3000) for n in range(200)])
        await until(lambda: len(two.heads) == 200)
        counts = one.bus.counts
        assert counts.dropped > 10
        assert len(two.commits) < 200


async def test_heads_that_wait_are_bounded_and_told_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_bus, "HEADS", 50)
    bus = RedisBus(Address("redis://127.0.0.1:1"), SECRET, realm)
    bus.publish([commit(f"account-{n}", 1) for n in range(200)])
    bus.beat({f"other-{n}": 1 for n in range(20)})
    assert len(bus._moved) == 50
    assert bus._fresh == [], "nothing waits where there is no connection"
    bus.beat({f"other-{n}": 1 for n in range(20)})
    assert [bus._moved[f"other-{n}"] for n in range(20)] == [(1, redis_bus.REPEATS)] * 20


async def test_where_there_is_no_redis_the_bus_says_so_and_goes_on_trying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_bus, "LONGEST_WAIT", 0.2)
    port = free_port()
    end = End(RedisBus(Address(f"redis://127.0.0.1:{port}"), SECRET, realm))
    await end.bus.start()
    end.bus.publish([commit(seq=n) for n in range(1, 100)])
    with pytest.raises(BusAway, match="Redis is away for 0 s"):
        await end.bus.probe()
    await asyncio.sleep(0.3)
    with pytest.raises(BusAway, match="ConnectionError"):
        await end.bus.probe()
    assert (end.bus.healthy, end.gaps) == (False, 0)
    server = RedisServer()
    server.port = port
    try:
        await asyncio.to_thread(server.start)
        await until(lambda: end.bus.healthy)
        await end.bus.probe()
        assert end.gaps == 1
    finally:
        await end.bus.close()
        server.remove()


async def test_a_bus_waits_for_the_database_to_know_whose_it_is(server: RedisServer) -> None:
    asked = 0

    async def late() -> str:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise HubError("server.unavailable")
        return "epoch"

    async with connected(RedisBus(Address(server.url), SECRET, late), bus_on(server)) as (one, two):
        one.bus.publish([commit(seq=4)])
        await until(lambda: two.seqs == [4])
    assert asked == 3


async def test_a_fault_of_who_listens_is_logged_and_the_bus_goes_on(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(bus_on(server), bus_on(server)) as (one, two):
        real = two.commits.extend

        def fail(commits: list[ChangeSet]) -> None:
            two.bus.listen(real, two._on_heads, two._on_gap)
            raise ValueError("no")

        two.bus.listen(fail, two._on_heads, two._on_gap)
        one.bus.publish([commit(seq=1)])
        await until(lambda: two.gaps >= 3)  # lost, and connected again
        one.bus.publish([commit(seq=2)])
        await until(lambda: two.seqs == [2])
        assert "the bus has a fault" in caplog.text


async def test_the_parser_is_the_one_in_c() -> None:
    assert "Hiredis" in DefaultParser.__name__


@pytest.mark.parametrize(
    "url",
    ["redis://host:port", "redis://host?socket_timeout=never", "redis://h/0?no_such_option=1", "redis+cluster://",
     "unix+cluster:///x", "http://host"],
)  # fmt: skip
def test_an_address_that_cannot_be_used_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(AddressError) as refused:
        Address(url)
    assert url not in str(refused.value)


async def test_a_wrong_password_is_a_reason_like_any_other(server: RedisServer) -> None:
    url = server.url.replace("redis://", "redis://:wrong@")
    end = End(RedisBus(Address(url), SECRET, realm))
    await end.bus.start()
    await asyncio.sleep(0.3)
    with pytest.raises(BusAway, match="Authentication") as away:
        await end.bus.probe()
    assert "wrong@" not in str(away.value)
    await end.bus.close()


class _Closed:
    """A connection whose transport is closed under it, as uvloop's is."""

    is_connected = True

    async def send_packed_command(self, commands: object, check_health: bool) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")


async def test_what_is_sent_over_a_closed_transport_means_a_lost_connection() -> None:
    with pytest.raises(Lost, match="it was closed"):
        await lane.send(_Closed(), [])
