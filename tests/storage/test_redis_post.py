"""The post and the queues over a real Redis: their promises, a Redis that goes away, and letters that are not ours."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from hub.wire.errors import HubError
from storage.post import Alone, Away, Lost
from storage.redis import post as redis_post
from storage.redis.address import Address
from storage.redis.post import Names, RedisPost, _Bag
from storage.redis.queues import RedisQueues
from tests.storage.contract_bus import until
from tests.storage.contract_post import End, Opened, PostContract
from tests.storage.contract_queues import KEY, Kept, QueuesContract
from tests.storage.proxy import Proxy
from tests.storage.redis_server import RedisServer, running

SECRET = b"a secret that all hubs share...."


async def realm() -> str:
    """Return the epoch of a database."""
    return "epoch"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@asynccontextmanager
async def ends_of(url: str, count: int, secret: bytes = SECRET) -> AsyncIterator[list[End]]:
    ends = [End(RedisPost(Address(url), secret, realm)) for _ in range(count)]
    for end in ends:
        await end.post.start()
    await until(lambda: all(end.post.ready for end in ends))
    yield ends
    for end in ends:
        await end.post.close()


@pytest.fixture
def opened(redis: RedisServer) -> Opened:
    return lambda count: ends_of(redis.url, count)


class TestRedisPost(PostContract):
    """The promise."""


class TestRedisQueues(QueuesContract):
    """The promise."""

    @pytest.fixture
    async def kept(self, redis: RedisServer) -> AsyncIterator[Kept]:
        redis.run("FLUSHALL")
        async with ends_of(redis.url, 1) as (end,):
            assert isinstance(end.post, RedisPost)
            yield Kept(RedisQueues(end.post), asyncio.sleep)


async def test_what_waits_is_seen_at_all_instances_and_leaves_nothing_behind(redis: RedisServer) -> None:
    redis.run("FLUSHALL")
    async with ends_of(redis.url, 2) as ends:
        one, two = (Kept(RedisQueues(end.post), asyncio.sleep) for end in ends if isinstance(end.post, RedisPost))
        await one.put("a", "b")
        assert set(await two.queues.waiting()) == {KEY}
        assert await two.all() == ["a", "b"]
        await one.put("c", seconds=0.05)
        await until(lambda: redis.run("DBSIZE") == b":0")


async def test_what_waits_and_is_not_signed_is_not_taken(redis: RedisServer) -> None:
    redis.run("FLUSHALL")
    async with ends_of(redis.url, 1) as (end,):
        assert isinstance(end.post, RedisPost)
        kept, names = Kept(RedisQueues(end.post), asyncio.sleep), end.post.names
        assert names is not None
        await kept.put("a", "b", "c")
        redis.run("SET", f"{names.prefix}waits:item:b", "x" * 40)
        assert await kept.all() == ["a", "c"]


async def test_without_redis_letters_are_refused_at_once_and_go_again_when_it_is_back(redis: RedisServer) -> None:
    with running() as server:
        async with ends_of(server.url, 2) as (one, two):
            assert isinstance(one.post, RedisPost)
            queues = RedisQueues(one.post)
            server.kill()
            await until(lambda: not one.post.ready and not two.post.ready)
            with pytest.raises(Away):
                await one.post.send(None, b"hello")
            for asked in (queues.take(KEY), queues.waiting(), queues.put(KEY, "a", b"a", 5)):
                with pytest.raises(HubError) as refused:
                    await asked
                assert (refused.value.code, refused.value.retry_after) == ("server.unavailable", 1)
            server.start()
            await until(lambda: one.post.ready and two.post.ready)
            assert await one.post.send(two.post.name, b"again") == 1
            await until(lambda: two.letters == [(one.post.name, b"again")])
            assert (one.readied, two.readied, one.post.lost) == (2, 2, 1)


async def test_a_redis_that_stands_still_is_noticed_within_four_seconds(redis: RedisServer) -> None:
    async with Proxy(redis.port) as proxy, ends_of(f"redis://127.0.0.1:{proxy.port}", 1) as (one,):
        loop = asyncio.get_running_loop()
        proxy.hold()
        begun = loop.time()
        with pytest.raises(Lost):
            await one.post.send("somebody", b"hello")
        assert loop.time() - begun < 4
        assert not one.post.ready
        proxy.let_go()
        await until(lambda: one.post.ready)


async def test_a_connection_that_only_hears_nothing_any_more_is_given_up(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_post, "LOOK_SECONDS", 0.02)
    async with ends_of(redis.url, 1) as (one,):
        assert isinstance(one.post, RedisPost)
        post, names = one.post, one.post.names
        assert names is not None
        monkeypatch.setattr(names, "open", lambda data: None)  # nothing of what comes is a sign of life
        await until(lambda: post.lost == 1)


async def test_what_is_not_ours_or_old_or_for_somebody_else_is_not_read(redis: RedisServer) -> None:
    async with ends_of(redis.url, 1) as (one,):
        assert isinstance(one.post, RedisPost)
        post, names = one.post, one.post.names
        assert names is not None
        box, good = names.box(post.name), _Bag("other", post.name, 5, [b"good"])
        data = names.close(good)
        strange = bytes((2,)) + names.sign(bytes((2,)), data[33:]) + data[33:]
        messages = [
            data,
            data,  # again
            names.close(_Bag("other", post.name, 4, [b"older"])),
            names.close(_Bag("other", "somebody else", 6, [b"not ours"])),
            Names(b"another secret", "epoch").close(good),
            Names(SECRET, "another database").close(good),
            data[:-1] + b"x",
            strange,
            b"",
            b"hello",
            data + bytes(redis_post.MESSAGE_BYTES),
            names.close(_Bag("other", "", 7, [b"to all"])),
        ]
        with socket.create_connection(("127.0.0.1", redis.port), 10) as connection:
            for message in messages:
                words = (b"PUBLISH", box, message)
                connection.sendall(b"*3\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
            await until(lambda: len(one.letters) == 2)
        assert one.letters == [("other", b"good"), ("other", b"to all")]
        assert post.refused == 10


async def test_a_hub_that_is_alone_has_nobody_to_write_to(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    alone = Alone()
    end = End(alone)
    await alone.start()
    assert (await alone.send(None, b"x"), await alone.send("a", b"x"), alone.alone, alone.ready) == (0, 0, True, True)
    await alone.close()
    assert end.letters == []
