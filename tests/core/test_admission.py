"""Admission: so many at once and so many a second, a time of its own for everybody else, and a crowd that obeys.

A crowd of clients that was cut at once is played in virtual time, with the back-off of the Python client.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from aether_client import Backoff
from hub.edge.admission import MOST_SECONDS, Admission

PER_SECOND, BURST = 500.0, 1000


def test_the_bucket_is_filled_over_time_and_never_beyond_its_size() -> None:
    admission = Admission(10.0, 3)
    assert [admission.admit(100.0) for _ in range(3)] == [None] * 3
    assert admission.admit(100.0) is not None
    assert admission.admit(100.11) is None
    assert admission.admit(100.11) is not None
    assert [admission.admit(5000.0) for _ in range(4)].count(None) == 3


def test_everybody_is_told_a_time_of_their_own_and_nobody_a_very_late_one() -> None:
    admission = Admission(10.0, 1)
    admission.admit(50.0)
    told = [admission.admit(50.0) or 0.0 for _ in range(1000)]
    assert [round(seconds, 6) for seconds in told[:3]] == [0.1, 0.2, 0.3]
    assert told == sorted(told)
    assert max(told) == MOST_SECONDS
    # Those who come when they were told find room.
    assert admission.admit(50.1) is None
    assert admission.admit(50.2) is None


def test_without_a_rate_everybody_comes_in() -> None:
    admission = Admission(0.0, 1)
    assert all(admission.admit(0.0) is None for _ in range(1000))


@dataclass
class Storm:
    """How a crowd came back: when each was let in, and how often each had tried."""

    admitted: list[float] = field(default_factory=list)
    tries: Counter[int] = field(default_factory=Counter)

    @property
    def most_in_a_second(self) -> int:
        """How many were let in within one second at most."""
        return max(Counter(int(moment) for moment in self.admitted).values())


def storm(clients: int, admission: Admission, *, obedient: bool = True) -> Storm:
    """Cut a crowd at once and let everybody come back; who is not `obedient` does not wait as told, only backs off."""
    rng, seen = Random(clients), Storm()
    backoffs = [Backoff(dice=rng.random) for _ in range(clients)]
    due = [(backoff.lost(0.0), n) for n, backoff in enumerate(backoffs)]
    heapq.heapify(due)
    while due:
        now, n = heapq.heappop(due)
        seen.tries[n] += 1
        told = admission.admit(now)
        if told is None:
            seen.admitted.append(now)
            continue
        wait = backoffs[n].lost(now)
        if obedient:
            wait = max(wait, told + max(1.0, told / 4) * rng.random())
        heapq.heappush(due, (now + wait, n))
    return seen


def test_a_crowd_that_was_cut_at_once_comes_back_at_the_rate_and_in_time() -> None:
    for clients in (100, 5_000):
        seen = storm(clients, Admission(PER_SECOND, BURST))
        assert len(seen.admitted) == clients
        assert seen.most_in_a_second <= BURST + PER_SECOND + 1
        for n, moment in enumerate(seen.admitted):
            assert n <= BURST + PER_SECOND * moment
        assert max(seen.admitted) <= 2 * clients / PER_SECOND + 5, "no longer than twice what the rate takes"
        assert sum(seen.tries.values()) <= 2 * clients


def test_without_the_bucket_all_are_there_in_the_first_second_and_without_the_time_they_knock_in_vain() -> None:
    assert storm(5_000, Admission(0.0, 1)).most_in_a_second == 5_000
    told, deaf = (storm(5_000, Admission(PER_SECOND, BURST), obedient=obedient) for obedient in (True, False))
    assert sum(deaf.tries.values()) > 1.5 * sum(told.tries.values())
