"""The locks of one process: the promise, and the bound over all accounts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from storage import locks
from storage.locks import InProcessLocks
from tests.storage.contract_locks import ADA, BOB, KEY, OTHER, End, LocksContract, Opened
from tests.storage.test_channel_log import Clock


def end_of_one() -> End:
    clock = Clock()

    async def settled() -> None:
        """All is done at once."""

    return End(InProcessLocks(clock), clock.tick, settled)


class TestInProcessLocks(LocksContract):
    @pytest.fixture
    def opened(self) -> Opened:
        @asynccontextmanager
        async def opened(count: int) -> AsyncIterator[list[End]]:
            ends = [end_of_one() for _ in range(count)]
            for end in ends:
                await end.locks.start()
            yield ends
            for end in ends:
                await end.locks.close()

        return opened


async def test_all_accounts_together_hold_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "IN_ALL", 2)
    end = end_of_one()
    await end.take(ADA)
    await end.take(ADA, OTHER)
    assert await end.refused(BOB, ("other", "event", "one")) == ("server.unavailable", None)
    assert (await end.take(BOB, KEY, steal=True)).holder == BOB
    await end.locks.release(OTHER, ADA.session)
    assert (await end.take(BOB, ("other", "event", "one"))).holder == BOB


async def test_numbers_grow_over_a_restart_of_the_hub() -> None:
    clock = Clock()
    first = await InProcessLocks(clock).take(KEY, ADA)
    clock.tick(0.001)
    assert (await InProcessLocks(clock).take(KEY, BOB)).number > first.number
