"""A contest: the hub and several peers in turn, in one run, each beside the hub of its own round.

What is compared is the server's CPU time for a message, since the rate of a shared machine says more of its other
guests; the rate is printed too. Figures are medians with the 95 % interval of the median, which the order of the
values gives alone.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from benchmarks.generator import NotInstalledError
from benchmarks.load import Reading

Run = Callable[[], Reading]
Outcome = Literal["met", "missed", "not measured"]


@dataclass(frozen=True, slots=True)
class Against:
    """One peer, and how many times its CPU (or memory) for a message the hub's must go into it."""

    name: str
    run: Run
    goal: float | None
    """None where the peer is only shown."""


@dataclass(frozen=True, slots=True)
class Contest:
    """One row with several peers. With `each`, memory is compared in the place of CPU; `most` bounds the hub's own.

    `least` and `most_p99` are goals of the hub alone: messages a second, and milliseconds. `control` takes the hub's
    place in a control run.
    """

    name: str
    what: str
    hub: Run
    peers: tuple[Against, ...]
    control: Run
    each: bool = False
    most: float | None = None
    least: float | None = None
    most_p99: float | None = None


@dataclass(slots=True)
class Seen:
    """What one side showed in every round."""

    readings: list[Reading] = field(default_factory=list)
    trouble: str | None = None
    """Why it was not measured, or failed."""
    absent: bool = False


def interval(values: list[float]) -> tuple[float, float]:
    """Return the 95 % interval of a median: the innermost pair of ordered values that holds it so often.

    With fewer than six values no pair does, and the lowest and the highest are returned.
    """
    ordered, count = sorted(values), len(values)
    below, rank = 0.0, 0
    while rank < count // 2:
        below += math.comb(count, rank) / 2**count
        if below > 0.025:
            break
        rank += 1
    rank = max(rank, 1)
    return ordered[rank - 1], ordered[count - rank]


def told(values: list[float], digits: int) -> str:
    """Return a median with its interval."""
    low, high = interval(values)
    return f"{statistics.median(values):,.{digits}f} ({low:,.{digits}f}-{high:,.{digits}f})"


def cost(contest: Contest, reading: Reading) -> float:
    """Return what a contest compares: µs of CPU for a message, or KiB for a socket."""
    return reading.grown / 1024 / reading.messages if contest.each else reading.cpu_us


def ratios(contest: Contest, mine: Seen, theirs: Seen) -> list[float]:
    """Return, round by round, how many times the hub's cost goes into a peer's."""
    pairs = zip(mine.readings, theirs.readings, strict=True)
    return [cost(contest, b) / max(1e-9, cost(contest, a)) for a, b in pairs]


def _try(run: Run, seen: Seen) -> None:
    if seen.trouble is not None:
        return
    try:
        seen.readings.append(run())
    except NotInstalledError as missing:
        seen.trouble, seen.absent = f"peer not installed: {missing}", True
    except RuntimeError as failed:
        seen.trouble = str(failed)


def _line(contest: Contest, name: str, seen: Seen) -> None:
    if not seen.readings:
        return
    readings = seen.readings
    costs = told([cost(contest, r) for r in readings], 2)
    rates = told([r.rate for r in readings], 0)
    print(f"  {name:12} {costs} {'KiB' if contest.each else 'µs of server CPU'} each, {rates}/s", end="")
    if readings[0].latencies:
        p50, p99 = (statistics.median(r.percentile(p) for r in readings) for p in (0.5, 0.99))
        print(f", p50 {p50:.1f} ms, p99 {p99:.1f} ms", end="")
    share = statistics.median(r.load_cpu / r.seconds for r in readings)
    print(f", load {share:.0%} of its core" if share else "", end="")
    print(f", frames of {max(r.frame for r in readings)} B" if readings[0].frame else "")


def hold(contest: Contest, rounds: int, *, control: bool) -> tuple[Outcome, dict[str, Seen]]:
    """Run one contest and print it; return whether every goal was met, and what each side showed."""
    hub = Seen()
    sides = {"hub": hub} | {peer.name: Seen() for peer in contest.peers}
    for _ in range(rounds):
        _try(contest.control if control else contest.hub, hub)
        for peer in contest.peers:
            _try(peer.run, sides[peer.name])
    print(f"\n{contest.name}: {contest.what}")
    outcome: Outcome = "met"
    for name, seen in sides.items():
        _line(contest, "peer as hub" if control and seen is hub else name, seen)
        if seen.trouble is not None:
            print(f"  {name:12} {seen.trouble}")
            outcome = "not measured" if seen.absent and outcome == "met" else outcome if seen.absent else "missed"
    if hub.readings and not hub.trouble:
        for met in _goals(contest, sides):
            outcome = outcome if met else "missed"
    return outcome, sides


def _goals(contest: Contest, sides: dict[str, Seen]) -> list[bool]:
    hub, met = sides["hub"], []

    def goal(figure: str, unit: str, *, reached: bool) -> None:
        print(f"  {figure} {unit}: {'met' if reached else 'MISSED'}")
        met.append(reached)

    for peer in contest.peers:
        seen = sides[peer.name]
        if seen.trouble is None and seen.readings:
            values = ratios(contest, hub, seen)
            if peer.goal is None:
                print(f"  {told(values, 2)}× {peer.name}")
            else:
                reached = statistics.median(values) >= peer.goal
                goal(f"{told(values, 2)}×", f"{peer.name} (goal ≥ {peer.goal:.2f}×)", reached=reached)
    if contest.most is not None:
        values = [cost(contest, r) for r in hub.readings]
        unit = f"{'KiB' if contest.each else 'µs'} (goal ≤ {contest.most:,.0f})"
        goal(told(values, 1), unit, reached=statistics.median(values) <= contest.most)
    if contest.least is not None:
        values = [r.rate for r in hub.readings]
        goal(told(values, 0), f"/s (goal ≥ {contest.least:,.0f})", reached=statistics.median(values) >= contest.least)
    if contest.most_p99 is not None:
        values = [r.percentile(0.99) for r in hub.readings]
        unit = f"ms p99 (goal ≤ {contest.most_p99:,.0f})"
        goal(told(values, 1), unit, reached=statistics.median(values) <= contest.most_p99)
    return met
