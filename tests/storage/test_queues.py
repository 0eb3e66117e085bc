"""The queues of one process, and what bounds all of them."""

from __future__ import annotations

import pytest

from hub.wire.errors import HubError
from storage.queues import IN_ALL, PER_TARGET, InProcess
from tests.storage.contract_queues import KEY, Kept, QueuesContract


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    async def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def kept() -> Kept:
    clock = Clock()
    return Kept(InProcess(lambda: clock.now), clock.wait)


class TestInProcess(QueuesContract):
    """The promise."""


async def test_so_much_waits_in_all_and_no_more(kept: Kept) -> None:
    for n in range(IN_ALL // PER_TARGET):
        for item in range(PER_TARGET):
            await kept.put(f"{item}", key=(f"account {n % 8}", "device", f"{n}"))
    with pytest.raises(HubError):
        await kept.put("x", key=("a further account", "device", "x"))
    await kept.wait(61)
    await kept.put("x", key=("a further account", "device", "x"))
    assert await kept.all(KEY) == []
    assert set(await kept.queues.waiting()) == {("a further account", "device", "x")}
