"""Two hub cores over one database and a bus that loses, doubles, delays and reorders: nobody notices.

Each schedule is drawn from one number and plays in virtual time. A schedule that fails names its number;
`SIMULATION_SEED=n scripts/test.sh tests/simulation/test_schedules.py` plays just that one again.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from tests.proofs.figures import SCALE, report
from tests.simulation.world import play

SCHEDULES: Final = 1000 * SCALE
CHUNK: Final = 50
"""How many schedules a process plays before it reports."""
CONTROLS: Final = 20
"""How many schedules the negative control plays."""


@dataclass
class Played:
    """What came of some schedules: the first difference of each that had one, and counts of what happened."""

    wrong: dict[int, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)


def play_many(first: int, count: int) -> Played:
    """Play `count` schedules from number `first` on."""
    played = Played()
    for seed in range(first, first + count):
        world = play(seed)
        played.counts.update(world.counts)
        if world.wrong:
            played.wrong[seed] = world.wrong[0]
    return played


def test_no_schedule_leaves_a_difference() -> None:
    asked = os.environ.get("SIMULATION_SEED")
    total = Played()
    if asked is not None:
        total = play_many(int(asked), 1)
    else:
        # Processes of their own, started afresh: threads of other tests are not theirs.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(4, os.cpu_count() or 1), mp_context=context) as pool:
            starts = range(0, SCHEDULES, CHUNK)
            for played in pool.map(play_many, starts, [min(CHUNK, SCHEDULES - s) for s in starts]):
                total.wrong |= played.wrong
                total.counts += played.counts
    report("schedules", f"{SCHEDULES} schedules, {len(total.wrong)} with differences; {dict(total.counts)}")
    for seed, wrong in total.wrong.items():
        print(f"SIMULATION_SEED={seed}: {wrong}")
    assert total.wrong == {}
    if asked is None:
        happened = {name for name, n in total.counts.items() if n >= SCHEDULES / 50}
        assert happened >= {"writes", "change", "cuts", "crashes", "resumed", "reset", "snapshot", "visits"}


def test_the_same_number_plays_the_same_schedule() -> None:
    first, second = play(7), play(7)
    assert first.counts == second.counts
    assert first.database.log == second.database.log


def test_without_reading_gaps_from_the_log_the_same_check_finds_differences() -> None:
    worlds = [play(seed, read_gaps=False) for seed in range(CONTROLS)]
    differ = [world for world in worlds if any("differs" in wrong for wrong in world.wrong)]
    assert len(differ) > CONTROLS / 2, [world.wrong for world in worlds]
