"""The promise of `storage.bus`, for every bus that has somebody to tell: what one end says, every other end hears.

A bus may lose, so a test says it again until it was heard; what is heard is what was said, and never one's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from hub.schema.writes import ChangeRow, ChangeSet
from storage.bus import Bus

WAIT_SECONDS = 20.0


def commit(account: str = "main", seq: int = 1, kind: str = "event", **after: Any) -> ChangeSet:
    """Return a commit of one update."""
    row = ChangeRow(0, kind, "r1", "update", seq, {"id": "r1", **after}, {"title": "before"})
    return ChangeSet(account, seq, "2026-11-21T09:00:00.000Z", "actor", "session", None, (row,))


class End:
    """One end of a bus, and what it heard."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.commits: list[ChangeSet] = []
        self.heads: dict[str, int] = {}
        self.gaps = 0
        bus.listen(self.commits.extend, self._on_heads, self._on_gap)

    def _on_heads(self, heads: Mapping[str, int]) -> None:
        for account, seq in heads.items():
            self.heads[account] = max(seq, self.heads.get(account, 0))

    def _on_gap(self) -> None:
        self.gaps += 1

    @property
    def seqs(self) -> list[int]:
        """The numbers of the commits that were heard, in the order of arrival."""
        return [heard.seq for heard in self.commits]


async def until(fact: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    """Wait for a fact."""
    async with asyncio.timeout(seconds):
        while not fact():
            await asyncio.sleep(0.005)


Opened = Callable[[int], AbstractAsyncContextManager[list[End]]]
"""Opens so many ends of a bus of their own, each able to hear the others."""


class BusContract:
    """Subclasses give the fixture `opened`."""

    async def test_what_one_end_tells_every_other_end_hears_as_it_was(self, opened: Opened) -> None:
        made = ChangeRow(0, "event", "r", "create", 1, {"n": 2**53 - 1}, None)
        purged = ChangeRow(0, "event", "r", "purge", 2, {}, {"n": -1.5e300})
        said = [
            commit(seq=1, title="😀 ü", price=0.1, tags=["a", "b"], nothing=None, deep={"a": [1, {"b": True}]}),
            ChangeSet("main", 2, "t", None, None, "request", (made,)),
            ChangeSet("main", 3, "t", None, None, None, (purged, purged)),
        ]
        async with opened(3) as ends:
            ends[0].bus.publish(said)
            for end in ends[1:]:
                await until(lambda end=end: len(end.commits) >= 3)  # type: ignore[misc]  # bound early
                assert sorted(end.commits, key=lambda heard: heard.seq) == said
            assert ends[0].commits == []

    async def test_every_end_may_tell(self, opened: Opened) -> None:
        async with opened(3) as ends:
            for n, end in enumerate(ends):
                end.bus.publish([commit(f"account-{n}", 7)])
            for n, end in enumerate(ends):
                await until(lambda end=end: len(end.commits) == 2)  # type: ignore[misc]  # bound early
                assert {heard.account for heard in end.commits} == {f"account-{m}" for m in range(3) if m != n}

    async def test_beats_tell_where_logs_stand(self, opened: Opened) -> None:
        async with opened(2) as ends:
            ends[0].bus.beat({"main": 3, "other": 1})
            await until(lambda: ends[1].heads == {"main": 3, "other": 1})
            ends[0].bus.beat({"main": 4, "other": 1})
            await until(lambda: ends[1].heads == {"main": 4, "other": 1})
            assert ends[0].heads == {}

    async def test_accounts_keep_apart_however_many_there_are(self, opened: Opened) -> None:
        async with opened(2) as ends:
            said = [commit(f"account-{n % 200}", n // 200 + 1) for n in range(600)]
            for first in range(0, 600, 50):
                ends[0].bus.publish(said[first : first + 50])
                await asyncio.sleep(0)
            await until(lambda: len(ends[1].commits) == 600)
            assert sorted((c.account, c.seq) for c in ends[1].commits) == sorted((c.account, c.seq) for c in said)

    async def test_a_commit_of_any_size_is_heard_of(self, opened: Opened) -> None:
        async with opened(2) as ends:
            ends[0].bus.publish([commit(seq=1), commit(seq=2, text="x" * 3_000_000), commit(seq=3)])
            await until(lambda: {1, 3} <= set(ends[1].seqs))
            await until(lambda: 2 in ends[1].seqs or ends[1].heads.get("main", 0) >= 2)

    async def test_an_end_that_is_closed_tells_and_hears_no_more_and_harms_nobody(self, opened: Opened) -> None:
        async with opened(3) as ends:
            await ends[1].bus.close()
            heard = list(ends[1].commits)
            ends[1].bus.publish([commit(seq=8)])
            ends[1].bus.beat({"main": 8})
            ends[0].bus.publish([commit(seq=9)])
            await until(lambda: 9 in ends[2].seqs)
            await asyncio.sleep(0.05)
            assert (ends[1].commits, ends[2].seqs) == (heard, [9])
            assert ends[2].heads.get("main", 9) == 9

    async def test_telling_is_no_matter_of_waiting_or_failing_at_any_time(self, opened: Opened) -> None:
        async with opened(2) as ends:
            for end in ends:
                await end.bus.close()
        for end in ends:
            end.bus.publish([commit(seq=n) for n in range(1, 500)])
            end.bus.beat({"main": 500})
        assert [end.commits for end in ends] == [[], []]
