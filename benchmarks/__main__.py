"""`make bench`: run every row, alternating the hub with its peer, and print a table with goals.

    python -m benchmarks [ROW …] [--rounds N] [--seconds S] [--control]

Figures are medians with their spread (lowest to highest). The exit code is 1 where a goal was missed, so
the ruler can turn red; `--control` puts the peer in the hub's place, and then it must.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import creates, fanout, imports
from benchmarks.load import Reading

Run = Callable[[], Reading]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. With a `peer` the goal is a ratio of rates, else a rate, or seconds where `seconds`."""

    name: str
    hub: Run
    goal: float
    unit: str
    peer: Run | None = None
    seconds: bool = False


def rows(seconds: float) -> list[Row]:
    """Return every row of the table."""
    return [
        Row(
            "creates",
            lambda: creates.run_hub(100, 8, seconds),
            20,
            "× durable creates/s of starlette + async ORM, 100 connections × 8 in flight",
            lambda: creates.run_naive(100, 8, seconds),
        ),
        Row(
            "fanout",
            lambda: fanout.run_hub(1000, 4, seconds),
            50_000,
            "deliveries/s to 1,000 watchers of one query, 4 updates open",
        ),
        Row(
            "fanout-burst",
            lambda: fanout.run_hub(1000, 32, seconds),
            50_000,
            "deliveries/s to 1,000 watchers of one query, 32 updates open",
        ),
        Row("import", imports.run_import, 10, "s for the larger sample through the command line", seconds=True),
    ]


def spread(values: list[float], digits: int = 0) -> str:
    """Return a median with its lowest and highest value."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f}-{high:,.{digits}f})"


def measure(row: Row, rounds: int, *, control: bool) -> bool:
    """Run one row, print it, and say whether the goal was met."""
    run = row.peer if control and row.peer else row.hub
    mine: list[Reading] = []
    theirs: list[Reading] = []
    for _ in range(rounds):
        mine.append(run())
        if row.peer is not None:
            theirs.append(row.peer())
    if row.peer is not None:
        ratios = [a.rate / b.rate for a, b in zip(mine, theirs, strict=True)]
        figure, met = spread(ratios, 1), statistics.median(ratios) >= row.goal
    elif row.seconds:
        figure, met = spread([r.seconds for r in mine], 2), statistics.median(r.seconds for r in mine) <= row.goal
    else:
        figure, met = spread([r.rate for r in mine]), statistics.median(r.rate for r in mine) >= row.goal
    print(f"\n{row.name}: {figure} {row.unit}")
    print(f"  goal {'≤' if row.seconds else '≥'} {row.goal:,.0f}: {'met' if met else 'MISSED'}")
    for name, readings in (("hub" if run is row.hub else "peer as hub", mine), ("peer", theirs)):
        if readings:
            cpu = spread([r.cpu_us for r in readings], 1)
            print(f"  {name:12} {spread([r.rate for r in readings])} messages/s, {cpu} µs of server CPU each", end="")
            if readings[0].latencies:
                p50, p99 = (statistics.median(r.percentile(p) for r in readings) for p in (0.5, 0.99))
                print(f", p50 {p50:.1f} ms, p99 {p99:.1f} ms", end="")
            print()
    sys.stdout.flush()
    return met


def main() -> int:
    """Run the rows that were asked for, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("rows", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--control", action="store_true", help="put the peer in the hub's place: must miss")
    arguments = parser.parse_args()
    known = {row.name: row for row in rows(arguments.seconds)}
    unknown = set(arguments.rows) - set(known)
    if unknown:
        parser.error(f"no row {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    print(f"Python {platform.python_version()}, {arguments.rounds} alternating rounds, server and load on a core each")
    wanted = [known[name] for name in arguments.rows] or list(known.values())
    met = [measure(row, arguments.rounds, control=arguments.control) for row in wanted]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
