"""The line between instances over a real Redis: one order, leases, claims, forged messages, a Redis that goes away."""

from __future__ import annotations

import asyncio
import hmac
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from storage.presence import Away, Beat, Bye, Closed, Message, Opened, Page, Said, Shown
from storage.redis import line as module
from storage.redis.address import Address
from storage.redis.line import RedisLine, _Envelope
from tests.storage.contract_bus import until
from tests.storage.redis_server import RedisServer, running

SECRET = b"a secret that all hubs share...."
OPENED = Opened("s1", "account", "user", "ada", "Ada", "user", "key", "active", 0, "proof")
SHOWN = Shown("s1", "room:a", {"n": [1, {"ü": None}]}, "since", "here", {"wish": 1})


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running() as server:
        yield server


class End:
    """One end, and what it heard."""

    def __init__(self, url: str, name: str, secret: bytes, epoch: str) -> None:
        async def realm() -> str:
            return epoch

        self.line = RedisLine(Address(url), secret, realm)
        self.name = name
        self.heard: list[Message] = []
        self.links: list[bool] = []
        self.line.live_as(name)
        self.line.listen(self.heard.append, self.links.append)

    @property
    def linked(self) -> bool:
        return bool(self.links) and self.links[-1]

    def beats(self, sender: str) -> list[int]:
        return [message.number for message in self.heard if isinstance(message, Beat) and message.sender == sender]


@asynccontextmanager
async def ends(
    redis: RedisServer | str, *names: str, secret: bytes = SECRET, epoch: str = "e"
) -> AsyncIterator[list[End]]:
    """Run ends that beat ten times a second, as their users would each second."""
    url = redis if isinstance(redis, str) else redis.url
    made = [End(url, name, secret, epoch) for name in names]

    async def beat() -> None:
        while True:
            for end in made:
                end.line.put(Beat(f"pulse of {end.name}", 0))
            await asyncio.sleep(0.1)

    for end in made:
        await end.line.start()
    beating = asyncio.create_task(beat())
    try:
        await until(lambda: all(end.linked for end in made))
        yield made
    finally:
        beating.cancel()
        for end in made:
            await end.line.close()


async def test_all_ends_hear_everything_in_one_order_their_own_as_well(redis: RedisServer) -> None:
    async with ends(redis, "a", "b", "c") as all_of_them:
        for n in range(300):
            all_of_them[n % 3].line.put(Beat(f"said by {n % 3}", n))
        await until(lambda: all(sum(len(end.beats(f"said by {n}")) for n in range(3)) == 300 for end in all_of_them))
        heard = [[m for m in end.heard if m.sender.startswith("said")] for end in all_of_them]
        assert heard[0] == heard[1] == heard[2]
        assert [m.number for m in heard[0] if isinstance(m, Beat) and m.sender == "said by 1"] == list(range(1, 300, 3))


async def test_every_kind_of_message_arrives_as_it_was(redis: RedisServer) -> None:
    said: list[Message] = [
        Said("x", 7, (OPENED, SHOWN, Closed("s2", moved=True))), Page("x", 9, 0, (OPENED, SHOWN), last=True),
        Bye("x", 2.5),
    ]  # fmt: skip
    async with ends(redis, "a", "b") as (one, other):
        for message in said:
            one.line.put(message)
        await until(lambda: sum(m.sender == "x" for m in other.heard) == len(said))
        assert [m for m in other.heard if m.sender == "x"] == said


async def test_a_fault_of_who_is_told_is_logged_and_the_line_connects_anew(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with ends(redis, "a", "b") as (one, other):

        def fail(message: Message) -> None:
            other.line.listen(other.heard.append, other.links.append)
            raise ValueError("no")

        other.line.listen(fail, other.links.append)
        await until(lambda: other.links == [True, False, True])  # lost, and connected again
        one.line.put(Beat("said", 2))
        await until(lambda: other.beats("said") == [2])
        assert "presence has a fault" in caplog.text


async def test_nothing_is_taken_from_who_does_not_know_the_secret(redis: RedisServer) -> None:
    async with (
        ends(redis, "a") as (one,),
        ends(redis, "x", secret=b"another secret") as (stranger,),
        ends(redis, "y", epoch="another database") as (neighbour,),
    ):
        envelope = one.line._envelope
        assert envelope is not None
        good = envelope.close(Beat("evil", 1))
        body = good[32:]
        forged = _Envelope(b"guessed", "e").close(Beat("evil", 1))
        other = bytes((module.VERSION + 1,)) + body[1:]
        wrong = [
            forged, b"", b"x" * 40, good[:-1], bytes([good[0] ^ 1]) + good[1:], good[:32] + other,
            *(random.Random(n).randbytes(n % 200) for n in range(300)),
        ]  # fmt: skip
        for data in wrong:
            one.line._lane.put(0, data)  # type: ignore[union-attr]  # it is connected
        for end in (stranger, neighbour):
            end.line.put(Beat("evil", 2))
        one.line.put(Beat("good", 3))
        await until(lambda: one.beats("good") == [3])
        assert one.beats("evil") == []
        assert one.line.dropped == len(wrong)
        others = {end.line._envelope.channel for end in (stranger, neighbour) if end.line._envelope}
        assert envelope.channel not in others, "they are not even heard"
        assert one.linked


def test_a_message_that_is_signed_and_is_none_is_not_taken() -> None:
    envelope = _Envelope(SECRET, "e")
    bodies: list[object] = [
        ["Beat", "x"],
        ["Beat", "x", "y"],
        ["Nothing", "x"],
        ["Said", "x", 1, [["Opened", 5]]],
        5,
        {},
    ]
    for body in bodies:
        encoded = bytes((module.VERSION,)) + msgspec.msgpack.encode(body)
        signed = hmac.digest(envelope._key, encoded, "sha256") + encoded
        assert envelope.open(signed) is None
    assert envelope.open(envelope.close(Beat("x", 1))) == Beat("x", 1)


async def test_a_lease_is_renewed_given_back_and_lapses(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(module, "LEASE_SECONDS", 0.4)
    async with ends(redis, "a") as (one,):
        async with ends(redis, "b") as (other,):
            await asyncio.sleep(0.8)
            assert await one.line.lives("b")
            other.line.live_as("b2")
            await asyncio.sleep(0.8)
            assert await one.line.lives("b2")
            assert not await one.line.lives("b"), "only the last name is renewed"
        assert not await one.line.lives("b2"), "who ends gives it back"


async def test_one_and_only_one_claims(redis: RedisServer) -> None:
    async with ends(redis, "a", "b", "c") as all_of_them:
        claims = [end.line.claim(f"x{n}", 60) for n in range(50) for end in all_of_them]
        won = await asyncio.gather(*claims)
        assert [sum(won[n : n + 3]) for n in range(0, 150, 3)] == [1] * 50
        assert await all_of_them[0].line.claim("short", 0.05)
        await asyncio.sleep(0.1)
        assert await all_of_them[1].line.claim("short", 0.05)


async def test_while_redis_is_gone_nothing_waits_and_then_it_is_back(redis: RedisServer) -> None:
    async with ends(redis, "a", "b") as (one, other):
        await asyncio.to_thread(redis.kill)
        await until(lambda: not one.linked and not other.linked)
        one.line.put(Beat("lost", 1))
        for asking in (one.line.lives("b"), one.line.claim("x", 1)):
            with pytest.raises(Away):
                await asking
        await asyncio.to_thread(redis.start)
        await until(lambda: one.linked and other.linked)
        one.line.put(Beat("found", 2))
        await until(lambda: other.beats("found") == [2])
        assert other.beats("lost") == []
        assert one.links == [True, False, True]
        await until(lambda: redis.run("KEYS", "aether:*lease:a") != b"*0")


async def test_a_redis_that_stands_still_is_noticed_within_three_seconds_or_so(redis: RedisServer) -> None:
    async with ends(redis, "a") as (one,):
        begun = asyncio.get_running_loop().time()
        redis.freeze()
        try:
            await until(lambda: not one.linked)
            assert asyncio.get_running_loop().time() - begun < 5
        finally:
            redis.thaw()
        await until(lambda: one.linked)


async def test_who_asks_and_leaves_gets_nobody_elses_answer(redis: RedisServer) -> None:
    async with ends(redis, "a") as (one,):
        for n in range(30):
            asking = asyncio.create_task(one.line.claim(f"left{n}", 60))
            await asyncio.sleep(random.random() / 1000)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await until(lambda: one.linked and one.line._asking is not None)
            assert not await one.line.lives("nobody")
            assert await one.line.claim(f"asked{n}", 60)
