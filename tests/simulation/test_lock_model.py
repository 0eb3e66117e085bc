"""Locks of two hubs that lose what they are told: at most one holder by the answers given, and all end up right.

`AETHER_PROOF` multiplies the virtual time. The controls break one rule each, and are caught.
"""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest

from storage import locks as rules
from storage.locks import Book, Change, Copy, Holder, Lock, LockKey, Why
from storage.redis import tether as shell
from tests.proofs.figures import SCALE, report
from tests.simulation.clock import run
from tests.simulation.lock_world import TROUBLE, World

SECONDS = 1500
SEEDS = range(4 * SCALE)


@pytest.fixture(autouse=True)
def _dice_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "random", lambda: 0.5)


async def played(world: World, seconds: float) -> World:
    await world.play(seconds)
    return world


@pytest.mark.parametrize("flushes", [False, True], ids=["kept", "flushed"])
@pytest.mark.parametrize("seed", SEEDS)
def test_at_most_one_session_holds_a_lock_by_the_answers_given(seed: int, flushes: bool) -> None:
    world = run(played(World(seed, trouble=(*TROUBLE, "flush") if flushes else TROUBLE), SECONDS))
    report("locks", f"seed {seed}: {world.steps} steps, {world.granted} granted, {world.refused} refused")
    assert world.faults == []
    assert world.granted > SECONDS / 10
    assert sum(hub.locks.lost for hub in world.hubs) > SECONDS / 60, "there was trouble"


class Generous(Book):
    """A control: whoever asks has it."""

    def take(self, key: LockKey, holder: Holder, now: float, *, steal: bool = False) -> Change | None:
        return super().take(key, holder, now, steal=True)


class Forgetful(Book):
    """A control: leases end early."""

    def __init__(self) -> None:
        super().__init__(rules.LEASE_SECONDS / 3)


@pytest.mark.parametrize("book", [Generous, Forgetful])
def test_a_book_with_another_rule_is_caught(book: type[Book]) -> None:
    assert run(played(World(1, book=book), 600)).faults != []


def test_a_hub_that_takes_no_note_of_holes_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    hear = Copy.hear

    def deaf(
        self: Copy, run: str, count: int, key: LockKey, why: Why, lock: Lock | None
    ) -> Change | Literal["hole"] | None:
        self.run, self.count = run, count - 1
        return hear(self, run, count, key, why, lock)

    monkeypatch.setattr(Copy, "hear", deaf)
    # What was missed is soon overtaken by the next change of that lock, so many short stories see more than a long one.
    assert any("hub" in fault for seed in range(80) for fault in run(played(World(seed, trouble=("loss",)), 25)).faults)


def test_a_hub_that_never_looks_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    async def blind(self: World) -> None:
        await asyncio.sleep(1e9)

    monkeypatch.setattr(World, "_look", blind)
    assert any("hub" in fault for seed in range(6) for fault in run(played(World(seed, trouble=("loss",)), 300)).faults)
