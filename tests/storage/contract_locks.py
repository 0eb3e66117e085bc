"""The promise of `storage.locks`, for every keeper of it: at most one holder, a lease, and everybody is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from hub.wire.errors import HubError
from storage.locks import LEASE_SECONDS, PER_ACCOUNT, PER_SESSION, Change, Holder, Lock, LockKey, Locks

KEY: LockKey = ("account", "event", "one")
OTHER: LockKey = ("account", "event", "two")
ADA = Holder("user", "ada", "Ada", "session-a")
BOB = Holder("user", "bob", "Bob | O'Hara\n:é", "session-b")


class End:
    """One end of the locks, and what it was told."""

    def __init__(self, locks: Locks, tick: Callable[[float], None], settled: Callable[[], Awaitable[None]]) -> None:
        self.locks = locks
        self.tick = tick
        """Lets so many seconds pass."""
        self.settled = settled
        """Returns when everything that was asked for is done and told."""
        self.told: list[Change] = []
        locks.listen(self.told.append)

    async def take(self, holder: Holder, key: LockKey = KEY, *, steal: bool = False) -> Lock:
        return await self.locks.take(key, holder, steal=steal)

    async def refused(self, holder: Holder, key: LockKey = KEY) -> tuple[str, str | None]:
        """Return the code with which a lock is refused, and who holds it."""
        with pytest.raises(HubError) as error:
            await self.take(holder, key)
        return error.value.code, (error.value.details or {}).get("holder", {}).get("session")

    async def story(self) -> list[tuple[str, str | None, str | None]]:
        """Return what was told since the last time: why, who has it, who had it."""
        await self.settled()
        told, self.told[:] = list(self.told), []
        return [(c.why, session_of(c.holder), session_of(c.was)) for c in told]


def session_of(holder: Holder | None) -> str | None:
    return None if holder is None else holder.session


Opened = Callable[[int], AbstractAsyncContextManager[list[End]]]
"""Opens so many ends of locks of their own."""


class LocksContract:
    """Subclasses give the fixture `opened`."""

    async def test_a_lock_is_of_the_first_who_takes_it_until_it_is_released(self, opened: Opened) -> None:
        async with opened(1) as (end,):
            assert end.locks.held(KEY) is None
            mine = await end.take(ADA)
            assert (mine.holder, end.locks.held(KEY)) == (ADA, mine)
            assert await end.refused(BOB) == ("lock.held", "session-a")
            assert (await end.take(BOB, OTHER)).number > mine.number, "another record"
            with pytest.raises(HubError, match=r"lock\.held"):
                await end.locks.release(KEY, BOB.session)
            await end.locks.release(KEY, ADA.session)
            assert end.locks.held(KEY) is None
            await end.locks.release(KEY, ADA.session)  # nobody has it, which is what was wanted
            theirs = await end.take(BOB)
            assert theirs.number > mine.number
            assert end.locks.held(KEY) == (BOB, theirs.number)
            assert await end.story() == [
                ("taken", "session-a", None),
                ("taken", "session-b", None),
                ("released", None, "session-a"),
                ("taken", "session-b", None),
            ]

    async def test_who_holds_it_takes_it_again_without_news(self, opened: Opened) -> None:
        async with opened(1) as (end,):
            mine = await end.take(ADA)
            assert await end.take(ADA) == mine
            assert await end.take(ADA, steal=True) == mine
            assert await end.story() == [("taken", "session-a", None)]

    async def test_a_lock_that_is_not_kept_lapses(self, opened: Opened) -> None:
        async with opened(1) as (end,):
            first = await end.take(ADA)
            kept = await end.take(ADA, OTHER)
            end.tick(LEASE_SECONDS - 5)
            assert await end.refused(BOB) == ("lock.held", "session-a")
            assert await end.take(ADA, OTHER) == kept
            end.tick(6)
            end.locks.look()
            assert await end.story() == [
                ("taken", "session-a", None),
                ("taken", "session-a", None),
                ("lapsed", None, "session-a"),
            ]
            assert (end.locks.held(KEY), end.locks.held(OTHER)) == (None, kept)
            assert (await end.take(BOB)).number > first.number
            assert await end.refused(ADA) == ("lock.held", "session-b")
            end.tick(LEASE_SECONDS + 1)
            assert (await end.take(ADA)).holder == ADA, "it lapsed, though nobody looked"
            story = await end.story()
            assert story[0] == ("taken", "session-b", None)
            assert sorted(map(str, story[1:])) == sorted(
                map(str, [("lapsed", None, "session-a"), ("lapsed", None, "session-b"), ("taken", "session-a", None)])
            )

    async def test_it_can_be_taken_away_and_who_had_it_cannot_keep_it(self, opened: Opened) -> None:
        async with opened(1) as (end,):
            mine = await end.take(ADA)
            theirs = await end.take(BOB, steal=True)
            assert theirs.number > mine.number
            assert await end.refused(ADA) == ("lock.held", "session-b")
            end.locks.end("account", ADA.session)
            assert await end.story() == [("taken", "session-a", None), ("stolen", "session-b", "session-a")]
            assert end.locks.held(KEY) == theirs

    async def test_the_end_of_a_session_ends_its_locks_and_no_others(self, opened: Opened) -> None:
        async with opened(1) as (end,):
            await end.take(ADA)
            await end.take(ADA, OTHER)
            theirs = await end.take(BOB, ("account", "event", "three"))
            elsewhere = await end.take(ADA, ("other", "event", "one"))
            end.told.clear()
            end.locks.end("account", ADA.session)
            end.locks.end("account", "nobody")
            assert await end.story() == [("released", None, "session-a")] * 2
            assert end.locks.held(("account", "event", "three")) == theirs
            assert end.locks.held(("other", "event", "one")) == elsewhere
            assert (await end.take(BOB)).holder == BOB

    async def test_a_deleted_record_has_no_lock(self, opened: Opened) -> None:
        async with opened(1) as (end,):
            await end.take(ADA)
            end.told.clear()
            end.locks.forget(KEY)
            end.locks.forget(OTHER)
            assert await end.story() == [("deleted", None, "session-a")]
            assert end.locks.held(KEY) is None

    async def test_a_session_and_an_account_hold_so_many(self, opened: Opened) -> None:
        async with opened(1) as (end,):
            for n in range(PER_SESSION):
                await end.take(ADA, ("account", "event", f"{n}"))
            assert await end.refused(ADA, OTHER) == ("rate.limited", None)
            assert (await end.take(BOB, OTHER)).holder == BOB
            with pytest.raises(HubError, match=r"rate\.limited"):
                await end.take(ADA, OTHER, steal=True)
            assert end.locks.held(OTHER) is not None
            await end.take(ADA, ("account", "event", "7"))  # kept
            await end.locks.release(("account", "event", "7"), ADA.session)
            await end.take(ADA, OTHER, steal=True)
            others = [Holder("user", f"u{n}", "U", f"s{n}") for n in range(PER_ACCOUNT - PER_SESSION)]
            await asyncio.gather(*(end.take(one, ("account", "event", f"{one.session}")) for one in others))
            assert await end.refused(BOB, ("account", "event", "more")) == ("rate.limited", None)
            assert (await end.take(BOB, OTHER, steal=True)).holder == BOB, "there are not more of them"
            assert (await end.take(BOB, ("other", "event", "more"))).holder == BOB
            await end.locks.release(OTHER, BOB.session)
            assert (await end.take(BOB, ("account", "event", "more"))).holder == BOB
            end.tick(LEASE_SECONDS + 1)
            end.locks.look()
            end.told.clear()
            await end.settled()
            assert (await end.take(BOB, KEY)).holder == BOB
            assert end.locks.held(("account", "event", "s1")) is None
