"""The channel log of one process: the promise, and the bounds of its memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hub.schema.channels import Kept
from storage import channel_log
from storage.channel_log import ENTRY_BYTES, InProcessLog
from tests.storage.contract_channel_log import KEPT, KEY, ChannelLogContract, End, Opened, entry, texts


class Clock:
    """A clock that goes only when it is told to."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += seconds


def end_of_one() -> End:
    clock = Clock()
    return End(InProcessLog(clock), clock.tick)


class TestInProcessLog(ChannelLogContract):
    @pytest.fixture
    def opened(self) -> Opened:
        @asynccontextmanager
        async def opened(count: int) -> AsyncIterator[list[End]]:
            ends = [end_of_one() for _ in range(count)]
            yield ends
            for end in ends:
                await end.log.close()

        return opened


async def test_of_channels_that_nobody_is_in_the_ones_unused_for_longest_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channel_log, "IDLE_CHANNELS", 3)
    end = end_of_one()
    end.log.follow(KEY)
    (kept,) = await end.say("followed")
    places = [(await end.say("x", key=("account", f"event:{n}")))[0] for n in range(3)]
    await end.past(key=("account", "event:0"))
    await end.say("x", key=("other", "event:1"))  # another account has its own bound
    assert (await end.past(after=places[1], key=("account", "event:1"))).recovered
    await end.say("x", key=("account", "event:3"))
    assert (await end.past(after=kept)).recovered, "somebody is in it"
    assert (await end.past(after=places[2], key=("account", "event:2"))).why == "epoch"
    end.log.unfollow(KEY)
    for n in range(3):
        await end.say("x", key=("account", f"event:{n + 10}"))
    assert (await end.past(after=kept)).why == "epoch"


async def test_the_bytes_of_an_account_and_of_all_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    size = ENTRY_BYTES + 10
    monkeypatch.setattr(channel_log, "ACCOUNT_BYTES", 4 * size)
    monkeypatch.setattr(channel_log, "TOTAL_BYTES", 6 * size)
    end = end_of_one()
    log = end.log
    assert isinstance(log, InProcessLog)
    one, two, three = ("a", "event:1"), ("a", "event:2"), ("b", "event:1")
    first = (await end.say("x", "y", key=one))[-1]
    await end.say("x", "y", key=two)
    assert log.bytes == 4 * size
    (place,) = await end.say("z", key=two)
    assert (log.bytes, (await end.past(last=9, key=one)).entries) == (3 * size, ())
    assert (await end.past(after=first, key=one)).recovered, "nothing was missed by who had all of it"
    assert texts(await end.past(last=9, key=two)) == ["x", "y", "z"]
    await end.say("1", "2", "3", "4", key=three)
    assert log.bytes == 4 * size
    past = await end.past(after=place, last=9, key=two)
    assert (past.recovered, past.place, past.entries) == (True, place, ())
    for key in (one, two, three):
        log.forget(key)
    assert log.bytes == 0


async def test_of_a_flood_the_last_ones_are_kept_and_the_books_are_right() -> None:
    end = end_of_one()
    kept = Kept(1000, 60, bytes=50_000)
    for n in range(3000):
        await end.log.append(KEY, entry(f"{n}", size=n % 400), kept)
    past = await end.past(last=5000, kept=kept)
    log = end.log
    assert isinstance(log, InProcessLog)
    assert log.bytes == sum(found.size + ENTRY_BYTES for found in past.entries) <= 50_000
    assert past.entries[-1].place.offset == 3000
    assert (await end.past(kept=KEPT)).place == past.place
