"""The promise of `storage.channel_log`, for every keeper of it: one order, a bounded memory, offsets without a hole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from hub.schema.channels import Kept
from storage.channel_log import ENTRY_BYTES, ChannelKey, ChannelLog, Entry, Past, Place

KEPT = Kept(5, 60)
KEY = ("account", "event:one")
OTHER = ("account", "event:two")


def entry(text: str, *, size: int = 10, to: tuple[str, str] | None = None, ttl: float | None = None) -> Entry:
    return Entry(text.encode(), size, "session", echo=False, to=to, ttl=ttl)


class End:
    """One end of a log, and what it was told."""

    def __init__(self, log: ChannelLog, tick: Callable[[float], None]) -> None:
        self.log = log
        self.tick = tick
        """Lets so many seconds pass."""
        self.told: list[tuple[ChannelKey, Entry]] = []
        self.broken: list[ChannelKey] = []
        log.listen(lambda key, entry: self.told.append((key, entry)), self.broken.append)

    async def say(self, *texts: str, key: ChannelKey = KEY, kept: Kept = KEPT) -> list[Place]:
        """Append messages one after the other."""
        return [await self.log.append(key, entry(text), kept) for text in texts]

    async def past(self, after: Place | None = None, last: int = 0, key: ChannelKey = KEY, kept: Kept = KEPT) -> Past:
        return await self.log.past(key, kept, after, last)

    def heard(self, key: ChannelKey = KEY) -> list[str]:
        """What was told of a channel, in order."""
        return [found.body.decode() for channel, found in self.told if channel == key]


def texts(past: Past) -> list[str]:
    return [found.body.decode() for found in past.entries]


Opened = Callable[[int], AbstractAsyncContextManager[list[End]]]
"""Opens so many ends of a log of their own."""


class ChannelLogContract:
    """Subclasses give the fixture `opened`."""

    async def test_offsets_count_from_one_without_a_hole_in_each_channel(self, opened: Opened) -> None:
        async with opened(1) as (end,):
            places = await end.say("a", "b", "c")
            assert [place.offset for place in places] == [1, 2, 3]
            assert len({place.epoch for place in places}) == 1
            assert places[0].epoch
            (other,) = await end.say("x", key=OTHER)
            assert other.offset == 1
            assert other.epoch != places[0].epoch

    async def test_what_is_followed_is_told_in_order_before_the_append_returns(self, opened: Opened) -> None:
        async with opened(1) as (end,):
            await end.say("before")
            end.log.follow(KEY)
            end.log.follow(KEY)
            assert (await end.past()).place.offset == 1
            for n in range(20):
                (place,) = await end.say(f"{n}")
                key, found = end.told[-1]
                assert (key, found.body, found.place) == (KEY, f"{n}".encode(), place)
                assert (found.sender, found.echo, found.size) == ("session", False, 10)
            appends = [end.log.append(KEY, entry(f"{n}"), KEPT) for n in range(20, 40)]
            await asyncio.gather(*appends)
            assert end.heard() == [f"{n}" for n in range(40)]
            end.log.unfollow(KEY)
            await end.say("counted")
            end.log.unfollow(KEY)
            end.log.unfollow(KEY)  # once too often: nothing happens
            await end.say("said to nobody")
            assert end.heard() == [*(f"{n}" for n in range(40)), "counted"]

    async def test_past_is_all_behind_a_place_that_is_kept(self, opened: Opened) -> None:
        async with opened(1) as (end,):
            nothing = await end.past()
            assert (nothing.place.offset, nothing.entries, nothing.recovered, nothing.why) == (0, (), False, None)
            begun = await end.past(after=nothing.place)
            assert (begun.recovered, begun.place) == (True, nothing.place)
            places = await end.say("a", "b", "c")
            assert places[0].epoch == nothing.place.epoch
            for n, place in enumerate([nothing.place, *places]):
                past = await end.past(after=place, last=1)
                assert (texts(past), past.recovered, past.why) == (["a", "b", "c"][n:], True, None)
                assert past.place == places[-1]
                assert [found.place for found in past.entries] == places[n:]

    async def test_a_place_of_another_epoch_or_ahead_or_too_old_brings_the_last_ones(self, opened: Opened) -> None:
        async with opened(1) as (end,):
            places = await end.say(*"abcdefg")
            epoch = places[0].epoch
            for after, why in (
                (Place("another", 5), "epoch"),
                (Place(epoch, 8), "epoch"),
                (Place(epoch, 1), "expired"),
                (None, None),
            ):
                past = await end.past(after=after, last=2)
                assert (texts(past), past.recovered, past.why) == (["f", "g"], False, why)
            assert texts(await end.past(after=Place(epoch, 2))) == ["c", "d", "e", "f", "g"]
            assert texts(await end.past(last=100)) == ["c", "d", "e", "f", "g"]

    async def test_what_is_kept_is_bounded_in_bytes(self, opened: Opened) -> None:
        async with opened(1) as (end,):
            kept = Kept(100, 60, bytes=3 * (ENTRY_BYTES + 10) + 5)
            places = await end.say(*"abcdef", kept=kept)
            assert texts(await end.past(last=100, kept=kept)) == ["d", "e", "f"]
            assert (await end.past(after=places[1], kept=kept)).why == "expired"
            assert (await end.past(after=places[2], kept=kept)).recovered

    async def test_what_is_kept_ends_with_its_age(self, opened: Opened) -> None:
        async with opened(1) as (end,):
            (first,) = await end.say("a")
            end.tick(40)
            (second,) = await end.say("b")
            end.tick(21)
            assert texts(await end.past(last=10)) == ["b"]
            assert (await end.past(after=Place(first.epoch, 0))).why == "expired"
            assert texts(await end.past(after=first)) == ["b"]
            end.tick(60)
            past = await end.past(after=second)
            assert (past.recovered, past.place, past.entries) == (True, second, ())
            assert (await end.say("c"))[0].offset == 3

    async def test_a_message_with_an_end_is_not_recovered_after_it_and_leaves_no_gap(self, opened: Opened) -> None:
        async with opened(1) as (end,):
            (first,) = await end.say("a")
            await end.log.append(KEY, entry("short", ttl=10), KEPT)
            await end.say("c")
            assert texts(await end.past(after=first)) == ["short", "c"]
            end.tick(10)
            past = await end.past(after=first)
            assert (texts(past), past.recovered) == (["c"], True)
            assert texts(await end.past(last=2)) == ["a", "c"]

    async def test_what_is_for_one_or_in_a_channel_without_history_is_told_and_not_kept(self, opened: Opened) -> None:
        async with opened(1) as (end,):
            for key in (KEY, OTHER):
                end.log.follow(key)
                await end.past(key=key)
            assert (await end.log.append(KEY, entry("whisper", to=("session", "s")), KEPT)).offset == 0
            assert (await end.say("gone", key=OTHER, kept=Kept()))[0].offset == 0
            assert [(found.place.offset, found.to) for _, found in end.told] == [(0, ("session", "s")), (0, None)]
            assert (await end.past(last=10)).entries == ()
            assert (await end.past(last=10, key=OTHER, kept=Kept())).entries == ()
            assert (await end.say("kept"))[0].offset == 1

    async def test_a_forgotten_channel_begins_another_epoch(self, opened: Opened) -> None:
        async with opened(1) as (end,):
            (before,) = await end.say("a")
            end.log.forget(KEY)
            past = await end.past(after=before, last=10)
            assert (past.why, past.place.offset, past.entries) == ("epoch", 0, ())
            assert past.place.epoch != before.epoch
            (after,) = await end.say("b")
            assert after == (past.place.epoch, 1)
