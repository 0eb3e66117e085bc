"""The channel log over a real Redis: the promise, one order for all instances, and a Redis that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from hub.wire.errors import HubError
from storage.channel_log import Entry, Place
from storage.redis.address import Address
from storage.redis.streams import RedisLog
from tests.storage.contract_bus import until
from tests.storage.contract_channel_log import KEY, OTHER, ChannelLogContract, End, Opened, texts
from tests.storage.redis_server import RedisServer
from tests.storage.test_channel_log import Clock


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.remove()


@asynccontextmanager
async def ends_of(redis: RedisServer, count: int, secret: bytes = b"secret") -> AsyncIterator[list[End]]:
    clock = Clock()

    async def realm() -> str:
        return "epoch of a database"

    ends = [End(RedisLog(Address(redis.url), secret, realm, clock), clock.tick) for _ in range(count)]
    for end in ends:
        await end.log.start()
    await until(lambda: all(log_of(end).ready for end in ends))
    yield ends
    for end in ends:
        await end.log.close()


def log_of(end: End) -> RedisLog:
    assert isinstance(end.log, RedisLog)
    return end.log


@pytest.fixture
def opened(redis: RedisServer) -> Opened:
    redis.run("FLUSHALL")
    return lambda count: ends_of(redis, count)


class TestRedisLog(ChannelLogContract):
    """The promise."""


async def test_all_instances_hear_one_order_without_a_hole(opened: Opened) -> None:
    async with opened(3) as ends:
        for end in ends:
            end.log.follow(KEY)
        await asyncio.gather(*(end.say(f"{n}.{m}") for n, end in enumerate(ends) for m in range(100)))
        await until(lambda: all(len(end.told) == 300 for end in ends))
        first, *others = [end.heard() for end in ends]
        assert all(other == first for other in others)
        assert [found.place.offset for _, found in ends[0].told] == list(range(1, 301))
        for n in range(3):
            assert [said for said in first if said.startswith(f"{n}.")] == [f"{n}.{m}" for m in range(100)]
        assert texts(await ends[1].past(last=5)) == first[-5:]
        assert not any(end.broken for end in ends)


async def test_after_a_flush_everybody_joins_another_epoch(redis: RedisServer, opened: Opened) -> None:
    async with opened(2) as (one, other):
        other.log.follow(KEY)
        (before,) = await one.say("a")
        await until(lambda: other.heard() == ["a"])
        redis.run("FLUSHALL")
        (after,) = await one.say("b")
        assert after.offset == 1
        assert after.epoch != before.epoch
        await until(lambda: other.broken == [KEY])
        past = await other.past(after=before, last=1)
        assert (texts(past), past.recovered, past.why, past.place) == (["b"], False, "epoch", after)
        await one.say("c")
        await until(lambda: other.heard()[-1] == "c")


async def test_while_redis_is_away_who_speaks_is_refused_and_who_joins_joins_again_later(
    redis: RedisServer, opened: Opened
) -> None:
    async with opened(1) as (end,):
        end.log.follow(KEY)
        (before,) = await end.say("a")
        redis.kill()
        await until(lambda: not log_of(end).ready)
        with pytest.raises(HubError, match=r"server\.unavailable"):
            await end.say("b")
        past = await end.past(after=before)
        assert (past.place, past.recovered, past.why, past.entries) == (before, False, None, ())
        redis.start()
        await until(lambda: log_of(end).ready)
        await until(lambda: KEY in end.broken)
        assert (await end.past(after=before)).why == "epoch"
        assert (await end.say("c"))[0].offset == 1


async def test_a_broken_connection_costs_nothing_that_was_said(redis: RedisServer, opened: Opened) -> None:
    async with opened(2) as (one, other):
        other.log.follow(KEY)
        await other.past()
        said, codes = 0, set[str]()
        for _ in range(5):
            lost = log_of(other).lost
            redis.run("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            for _ in range(20):
                try:
                    await one.say(f"{said}")
                    said += 1
                except HubError as refused:
                    codes.add(refused.code)
                    await asyncio.sleep(0.02)
            await until(lambda before=lost: log_of(other).ready and log_of(other).lost > before)  # type: ignore[misc]
        await until(lambda: log_of(one).ready)
        (last,) = await one.say("last")
        await until(lambda: "last" in other.heard())
        offsets = [found.place.offset for _, found in other.told]
        assert offsets == list(range(1, last.offset + 1))
        assert other.broken == []
        assert codes <= {"server.unavailable", "write.unknown"}


async def test_a_hole_in_what_is_read_is_noticed(opened: Opened) -> None:
    async with opened(2) as (one, other):
        other.log.follow(KEY)
        await one.say("a")
        await until(lambda: other.heard() == ["a"])
        log_of(other)._last -= 2  # as if it had read nothing of that
        await one.say("b")
        await until(lambda: other.heard()[-1:] == ["b"])
        assert other.broken == [KEY]


async def test_a_fault_of_who_listens_makes_everybody_join_again(opened: Opened) -> None:
    async with opened(1) as (end,):
        end.log.follow(KEY)
        told: list[int] = []

        def faulty(key: object, entry: Entry) -> None:
            told.append(entry.place.offset)
            if len(told) == 1:
                raise ZeroDivisionError

        end.log.listen(faulty, end.broken.append)
        await end.say("a")
        await until(lambda: end.broken == [KEY] and log_of(end).ready)
        await end.say("b")
        assert told == [1, 2]


async def test_nobody_hears_or_believes_another_cluster(redis: RedisServer, opened: Opened) -> None:
    async with opened(1) as (end,), ends_of(redis, 1, b"another secret") as (stranger,):
        for one in (end, stranger):
            one.log.follow(KEY)
        await stranger.say("x")
        (place,) = await end.say("a")
        assert (place.offset, end.heard(), stranger.heard()) == (1, ["a"], ["x"])
        names = log_of(end)._names
        assert names is not None
        forged = ("run", log_of(end)._run, "epoch", "e", "offset", "2", "said", "x" * 80)
        redis.run("HINCRBY", names.head.decode(), "number", "1")
        redis.run("XADD", names.stream.decode(), f"{log_of(end)._last + 1}-0", *forged)
        await end.say("b")
        assert end.heard() == ["a", "b"]


async def test_the_channels_of_an_account_are_bounded(redis: RedisServer, opened: Opened) -> None:
    async with opened(1) as (end,):
        (first,) = await end.say("a")
        end.tick(1)
        await end.say("x", key=OTHER)
        await asyncio.gather(*(end.say("x", key=("account", f"event:{n}")) for n in range(999)))
        assert (await end.past(after=first)).why == "epoch"
        assert (await end.past(after=Place("e", 1), key=("other", "event:1"))).why == "epoch"
        assert int(redis.run("DBSIZE")[1:]) <= 2 * 1001 + 4
