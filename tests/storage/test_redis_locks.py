"""The locks over a real Redis: the promise, one holder for all instances, and a Redis that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from random import Random

import pytest

from hub.wire.errors import HubError
from storage.locks import Change, Holder, InProcessLocks
from storage.redis.address import Address
from storage.redis.lock_scripts import LOOK
from storage.redis.locks import RedisLocks
from tests.storage.contract_bus import until
from tests.storage.contract_locks import ADA, BOB, KEY, OTHER, End, LocksContract, Opened
from tests.storage.redis_server import RedisServer, running
from tests.storage.test_channel_log import Clock

LATER = """
for _, field in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  redis.call('ZINCRBY', KEYS[1], -1000 * ARGV[1], field)
end
return 1
"""
"""Lets every lease end so many seconds earlier, as if these had passed."""


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running() as server:
        yield server


def locks_of(end: End) -> RedisLocks:
    assert isinstance(end.locks, RedisLocks)
    return end.locks


def tick(redis: RedisServer, locks: RedisLocks, seconds: float) -> None:
    assert locks._names is not None
    redis.run("EVAL", LATER, "1", locks._names.keys[1], f"{seconds}")


async def settled(locks: RedisLocks) -> None:
    """Return when this end heard everything that was done before."""
    assert locks._names is not None
    run, count = await locks._mouth.ask(*locks._words(locks._names, LOOK))
    await until(lambda: locks._copy.run == run.decode() and locks._copy.count >= count)


@asynccontextmanager
async def ends_of(redis: RedisServer, count: int, secret: bytes = b"secret") -> AsyncIterator[list[End]]:
    async def realm() -> str:
        return "epoch of a database"

    ends = []
    for _ in range(count):
        locks = RedisLocks(Address(redis.url), secret, realm)
        ends.append(End(locks, partial(tick, redis, locks), partial(settled, locks)))
        await locks.start()
    await until(lambda: all(locks_of(end).ready for end in ends))
    yield ends
    for end in ends:
        await end.locks.close()


@pytest.fixture
def opened(redis: RedisServer) -> Opened:
    redis.run("FLUSHALL")
    return lambda count: ends_of(redis, count)


class TestRedisLocks(LocksContract):
    """The promise."""


@pytest.mark.parametrize("seed", range(3))
async def test_the_scripts_decide_as_the_book_does(opened: Opened, seed: int) -> None:
    random, told = Random(seed), list[Change]()
    clock = Clock()
    book = InProcessLocks(clock)
    book.listen(told.append)
    people = [Holder("user", f"u{n}", f"U{n}", f"s{n}") for n in range(4)]
    keys = [("account", "event", f"{n}") for n in range(3)]
    async with opened(1) as (end,):
        for _ in range(300):
            key, who = random.choice(keys), random.choice(people)
            deed = random.choices(("take", "steal", "release", "end", "forget", "tick"), (8, 3, 3, 1, 1, 3))[0]
            answers: list[str] = []
            for locks in (end.locks, book):
                try:
                    if deed in {"take", "steal"}:
                        answers.append((await locks.take(key, who, steal=deed == "steal")).holder.session)
                    elif deed == "release":
                        await locks.release(key, who.session)
                    elif deed == "end":
                        locks.end("account", who.session)
                    elif deed == "forget":
                        locks.forget(key)
                except HubError as refused:
                    answers.append(f"{refused.code} {refused.details}")
            if deed == "tick":
                seconds = random.choice((5, 11, 23))
                for tick in (end.tick, clock.tick):
                    tick(seconds)
            assert answers[1:] == answers[: len(answers) // 2], deed
            await end.settled()
            book.look()
            for one in keys:
                mine, theirs = end.locks.held(one), book.held(one)
                assert (mine and mine.holder) == (theirs and theirs.holder), deed
        story = [(c.key, c.why, c.holder, c.was) for c in end.told]
        # What lapses together lapses in any order.
        assert sorted(map(str, story)) == sorted(str((c.key, c.why, c.holder, c.was)) for c in told)
        assert {c.why for c in end.told} == {"taken", "stolen", "released", "lapsed", "deleted"}


async def test_one_holder_for_all_instances_and_all_of_them_are_told(opened: Opened) -> None:
    async with opened(3) as (one, other, third):
        mine = await one.take(ADA)
        assert await other.refused(BOB) == ("lock.held", "session-a")
        theirs = await other.take(BOB, steal=True)
        await one.locks.release(OTHER, ADA.session)
        with pytest.raises(HubError, match=r"lock\.held"):
            await one.locks.release(KEY, ADA.session)
        await other.take(BOB, OTHER)
        third.tick(31)
        third.locks.look()
        stories = [await end.story() for end in (one, other, third)]
        assert stories[0][:3] == [
            ("taken", "session-a", None),
            ("stolen", "session-b", "session-a"),
            ("taken", "session-b", None),
        ]
        assert stories[0][3:] == [("lapsed", None, "session-b")] * 2
        assert stories[1] == stories[2] == stories[0]
        assert theirs.number > mine.number


async def test_of_many_who_ask_at_once_one_gets_it(opened: Opened) -> None:
    async with opened(3) as ends:
        holders = [type(ADA)("user", f"u{n}", f"U{n}", f"s{n}") for n in range(30)]
        asked = [ends[n % 3].take(one) for n, one in enumerate(holders)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(not isinstance(one, BaseException) for one in found) == 1
        assert {one.code for one in found if isinstance(one, HubError)} == {"lock.held"}
        await asyncio.gather(*(end.settled() for end in ends))
        assert len({end.locks.held(KEY) for end in ends}) == 1


async def test_who_comes_late_learns_who_holds_what(redis: RedisServer, opened: Opened) -> None:
    async with opened(1) as (one,):
        mine, other = await one.take(ADA), await one.take(BOB, OTHER)
        async with ends_of(redis, 1) as (late,):
            assert (late.locks.held(KEY), late.locks.held(OTHER)) == (mine, other)
            late.locks.end("account", ADA.session)  # a session that came back here, and left
            await one.settled()
            assert one.locks.held(KEY) is None


async def test_while_redis_is_away_nobody_waits_and_what_is_known_is_shown(redis: RedisServer, opened: Opened) -> None:
    async with opened(2) as (one, other):
        mine = await one.take(ADA)
        await one.take(BOB, OTHER)
        await other.settled()
        redis.kill()
        await until(lambda: not locks_of(one).ready and not locks_of(other).ready)
        for end in (one, other):
            with pytest.raises(HubError) as refused:
                await end.take(ADA)
            assert (refused.value.code, refused.value.retry_after) == ("server.unavailable", 1)
            with pytest.raises(HubError, match=r"server\.unavailable"):
                await end.locks.release(KEY, ADA.session)
            assert end.locks.held(OTHER) is not None
        assert other.locks.held(KEY) == mine
        one.locks.end("account", BOB.session)
        for end in (one, other):
            end.locks.forget(OTHER)
            end.locks.look()
        redis.start()
        await until(lambda: locks_of(one).ready and locks_of(other).ready)
        for end in (one, other):
            await end.settled()
            assert end.locks.held(OTHER) is None, "its session has ended"


async def test_after_a_flush_holders_have_their_locks_again(redis: RedisServer, opened: Opened) -> None:
    async with opened(2) as (one, other):
        mine = await one.take(ADA)
        await one.take(ADA, OTHER)
        await other.settled()
        one.told.clear()
        redis.run("FLUSHALL")
        theirs = await other.take(BOB, OTHER)  # who is quicker has it
        for end in (one, other):
            end.locks.look()
        await until(lambda: one.locks.held(OTHER) == theirs and locks_of(one).ready and locks_of(other).ready)
        assert await other.refused(BOB) == ("lock.held", "session-a")
        assert await one.refused(ADA, OTHER) == ("lock.held", "session-b")
        await other.settled()
        again = other.locks.held(KEY)
        assert again is not None
        assert (again.holder, again.number > mine.number) == (ADA, True), "others may have had it meanwhile"
        assert await one.take(ADA) == again
        assert ("stolen", "session-b", "session-a") in await one.story()


async def test_a_change_that_was_not_heard_is_noticed(redis: RedisServer, opened: Opened) -> None:
    async with opened(2) as (one, other):
        await one.take(ADA)
        await other.settled()
        locks_of(other)._copy.count -= 1  # as if it had missed one
        await one.take(BOB, OTHER)
        await until(lambda: other.locks.held(OTHER) is not None)
        assert locks_of(other).lost == 1
        await until(lambda: locks_of(other).ready)
        copy = locks_of(other)._copy
        copy.table.remove(KEY)
        copy.count -= 1
        other.locks.look()  # nothing more is told: it looks
        await asyncio.wait([locks_of(other)._looking or asyncio.get_running_loop().create_future()], timeout=5)
        other.locks.look()
        await until(lambda: other.locks.held(KEY) is not None)


async def test_nobody_hears_or_believes_another_cluster(redis: RedisServer, opened: Opened) -> None:
    async with opened(1) as (end,), ends_of(redis, 1, b"another secret") as (stranger,):
        await stranger.take(BOB)
        assert (await end.take(ADA)).holder == ADA
        names, copy = locks_of(end)._names, locks_of(end)._copy
        assert names is not None
        head = (names.keys[3], "count", "1")
        redis.run("HINCRBY", *head)
        forged = f"{copy.run}|{copy.count + 1}|stolen|99|account:event:one|{'x' * 80}"
        redis.run("PUBLISH", names.channel, forged)
        redis.run("HSET", names.keys[0], "account:event:two", f"session-b|5|{'x' * 80}")
        await until(lambda: end.locks.held(KEY) is None)
        assert end.locks.held(OTHER) is None
        redis.run("PUBLISH", names.channel, "no change at all")
        await until(lambda: locks_of(end).lost == 1 and locks_of(end).ready)
        held = end.locks.held(KEY)
        assert held is not None, "it was read again"
        assert held.holder == ADA


async def test_what_is_no_lock_is_left_out_and_the_others_stand(redis: RedisServer, opened: Opened) -> None:
    async with opened(1) as (one,):
        held = await one.locks.take(KEY, ADA)
        names = locks_of(one)._names
        assert names is not None
        for field, value in (("a:b:c", "garbage"), ("garbage", "s|1|x"), ("a:b:d", "s|many|x"), ("a:b:e", "||")):
            redis.run("HSET", names.keys[0], field, value)
        async with opened(1) as (late,):
            assert late.locks.held(KEY) == held
            assert await late.locks.take(OTHER, BOB) == late.locks.held(OTHER)
