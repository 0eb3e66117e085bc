"""`make bench`: run every row, alternating the hub with its peer, and print a table with goals.

    python -m benchmarks [ROW …] [--rounds N] [--seconds S] [--control] [--plot FILE]

Figures are medians with their spread (lowest to highest; of contests the 95 % interval). The exit code is 1 where a
goal was missed, so the ruler can turn red; `--control` puts the peer in the hub's place, and then it must. It is 2
where none was missed and a peer could not be measured because it is not installed.
"""

from __future__ import annotations

import argparse
import functools
import platform
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks import across, calls, contests, creates, imports, matching, plot, realtime, rights, rooms, stored
from benchmarks.contest import Contest, Outcome, hold
from benchmarks.generator import NotInstalledError
from benchmarks.load import Reading
from benchmarks.stored import Mariadb, Million

Run = Callable[[], Reading]
Figure = Literal["rate", "seconds", "grown", "each", "p95", "p99"]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. With a `peer` it is a ratio of rates; else what `figure` says: a rate, seconds, grown MiB, or
    grown KiB for each.

    `aim` is what a later order asks for; it is printed and does not turn the row red. `control` takes the hub's place
    in a control run; where there is none, the peer does.
    """

    name: str
    hub: Run
    goal: float
    unit: str
    peer: Run | None = None
    figure: Figure = "rate"
    aim: float | None = None
    control: Run | None = None


def rows(seconds: float, million: Million, texts: Million, mariadb: Mariadb) -> list[Row | Contest]:
    """Return every row of the table. D1 to D5 are those of the performance goals."""
    normal, full = ("--durability", "normal"), ("--durability", "full")
    many = ("--in-flight", "256")

    def keeper(*options: str, memory: bool = False) -> Run:
        return lambda: stored.run("keeper-creates", seconds, *options, memory=memory)

    return [
        Row(
            "creates",
            lambda: creates.run_hub(100, 8, seconds),
            50,
            "× durable creates/s of naive starlette + async ORM over the socket, 100 connections × 8 in flight (D4)",
            lambda: creates.run_naive(100, 8, seconds),
        ),
        Row(
            "creates-rate", lambda: creates.run_hub(100, 8, seconds), 40_000, "the same, creates/s on one core",
            control=lambda: creates.run_naive(100, 8, seconds),
        ),
        Row(
            "creates-tuned",
            lambda: creates.run_hub(100, 8, seconds),
            20,
            "× the same, where the peer does not read its row again after the commit",
            lambda: creates.run_naive(100, 8, seconds, tuned=True),
        ),
        Row(
            "creates-below",
            lambda: creates.run_hub(100, 8, seconds, "bench_talk"),
            20,
            "× the same, of records below another, which the peer's are not",
            lambda: creates.run_naive(100, 8, seconds, tuned=True),
        ),
        Row(
            "creates-words",
            lambda: creates.run_hub(100, 8, seconds, "event_person"),
            20,
            "× the same, with names that the hub also finds by their words and the peer does not",
            lambda: creates.run_naive(100, 8, seconds, tuned=True),
        ),
        Row(
            "fanout",
            lambda: realtime.hub_fan(window=4, seconds=seconds),
            50_000,
            "deliveries/s to 1,000 watchers of one query, 4 updates open",
        ),
        Row(
            "fanout-burst",
            lambda: realtime.hub_fan(window=32, seconds=seconds),
            50_000,
            "deliveries/s to 1,000 watchers of one query, 32 updates open",
        ),
        Row(
            "beats-1", lambda: realtime.hub_beats(1, seconds), 1.8,
            "× session.beat/s of a starlette socket that parses and checks the same, 100 connections × 1 (R1)",
            lambda: realtime.plain_beats(1, seconds),
        ),
        Row(
            "beats-8", lambda: realtime.hub_beats(8, seconds), 4, "× the same, 100 connections × 8 in flight (R2)",
            lambda: realtime.plain_beats(8, seconds),
        ),
        Row("beats", lambda: realtime.hub_beats(8, seconds), 120_000, "session.beat/s, 100 connections × 8 in flight"),
        Row(
            "roster", lambda: rooms.hub_roster(seconds, rooms.crowd()), 50,
            f"ms (p99) for a join of a channel with {rooms.crowd():,} members, 1,000 of them in the answer",
            figure="p99",
        ),
        Row(
            "status", lambda: rooms.hub_status(seconds), 5,
            "ms (p95) for the status of 1,000 devices, half of them here", figure="p95",
        ),
        Row(
            "idle", lambda: realtime.hub_open(2000, 3, settle=12.0), 8,
            "KiB for each of 2,000 idle sockets with session and three watches (M1)",
            figure="each",
        ),
        Row(
            "matching",
            lambda: matching.run(matching.FILTERS, seconds / 4),
            0.67,
            f"× the commits/s among {matching.FEW_FILTERS}, where {matching.FILTERS:,} watches want different values",
            lambda: matching.run(matching.FEW_FILTERS, seconds / 4),
            control=lambda: matching.run(matching.FILTERS, seconds / 4, by_value=False),
        ),
        Row(
            "matching-ranges",
            lambda: matching.run(matching.FILTERS, seconds / 4, ranges=True),
            2_000_000,
            "different ranges matched a second (≤ 0.5 µs each)",
        ),
        Row(
            "rights", lambda: rights.run_requests(seconds / 4), 500_000,
            "requests/s whose rights are looked at (≤ 2 µs each), by a role of the ladder",
            control=lambda: rights.run_requests(seconds / 4, ruled=True, kept=False),
        ),
        Row(
            "rights-ruled", lambda: rights.run_requests(seconds / 4, ruled=True), 500_000,
            "the same of a type with a row rule and a hidden field, by a role of the account's own",
            control=lambda: rights.run_requests(seconds / 4, ruled=True, kept=False),
        ),
        Row(
            "rights-fanout", lambda: rights.run_fan(seconds / 4, ruled=True), 0.8,
            "× the deliveries/s to 1,000 sockets of a type without rules, with a row rule and a hidden field",
            lambda: rights.run_fan(seconds / 4),
            control=lambda: rights.run_fan(seconds / 4, ruled=True, apart=True),
        ),
        Row("import", imports.run_import, 10, "s for the larger sample through the command line", figure="seconds"),
        Row(
            "d1-orm", keeper(*normal), 20, "× creates/s of a naive async ORM session each, 32 in flight, NORMAL",
            lambda: stored.run("orm-creates", seconds, *normal),
        ),
        Row(
            "d1-core", keeper(*normal), 10, "× creates/s of an async Core connection each, 32 in flight, NORMAL",
            lambda: stored.run("core-creates", seconds, *normal),
        ),
        Row(
            "d1-raw", keeper(*normal), 0.4, "× creates/s of the bare driver, 32 rows to a transaction, without a log",
            lambda: stored.run("raw-creates", seconds, *normal),
        ),
        Row("d2-group-32", keeper(), 8, "× creates/s without groups, 32 in flight, FULL", keeper("--alone")),
        Row("d2-group-256", keeper(*many), 15, "× the same, 256 in flight", keeper(*many, "--alone")),
        Row("d2-full", keeper(*many, *full), 0.6, "× creates/s at NORMAL, 256 in flight", keeper(*many, *normal)),
        Row(
            "d3-gets", lambda: stored.run("keeper-gets", seconds, "--in-flight", "100"), 10,
            "× reads/s by id of an async Core connection each, 100 in flight",
            lambda: stored.run("core-gets", seconds, "--in-flight", "100"),
        ),
        Row(
            "d5-mariadb", lambda: mariadb.run("maria-creates", seconds), 3,
            "× creates/s of a transaction each on MariaDB, 32 in flight",
            lambda: mariadb.run("maria-own", seconds),
        ),
        Row(
            "page", lambda: million.run("keeper-pages", seconds), 1 / 1.5,
            f"× the bare driver's pages/s: 50 of {million.rows:,} by an indexed field, from anywhere on",
            lambda: million.run("raw-pages", seconds),
        ),
        Row(
            "page-1000", lambda: million.run("keeper-page", seconds, "--page", "1000"), 1 / 1.2,
            "× the pages/s of page 1",
            lambda: million.run("keeper-page", seconds, "--page", "1"),
        ),
        Row(
            "paging", lambda: million.run("keeper-paging", seconds), 8,
            f"MiB grown between record 100,000 and the last of {million.rows:,}, 1,000 to a page", figure="grown",
        ),
        Row(
            "search-word", lambda: texts.run("keeper-search", seconds, "--words", '"keeper"'), 0.5,
            f"× the bare driver's searches/s for a word that one in 100 of {texts.rows:,} records has, 50 hits",
            lambda: texts.run("raw-search", seconds, "--words", '"keeper"'),
        ),
        Row(
            "search-prefix", lambda: texts.run("keeper-search", seconds, "--words", "migra*"), 0.5,
            "× the same for the beginning of the words that one in 100 has",
            lambda: texts.run("raw-search", seconds, "--words", "migra*"),
        ),
        *(
            Row(
                f"across-{watchers}", functools.partial(across.run_hubs, mariadb, watchers, seconds), goal,
                f"ms (p99) from a write at one hub to {watchers:,} watchers at another, MariaDB and Redis between them",
                figure="p99",
            )
            for watchers, goal in ((100, 25), (1000, 50), (10_000, 250))
        ),
        *contests.contests(seconds),
        *calls.contests(mariadb, seconds),
    ]  # fmt: skip


def spread(values: list[float], digits: int = 0) -> str:
    """Return a median with its lowest and highest value."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f}-{high:,.{digits}f})"


_FIGURES: dict[Figure, Callable[[Reading], float]] = {
    "rate": lambda reading: reading.rate,
    "seconds": lambda reading: reading.seconds,
    "grown": lambda reading: reading.grown / 2**20,
    "p95": lambda reading: reading.percentile(0.95),
    "p99": lambda reading: reading.percentile(0.99),
    "each": lambda reading: reading.grown / 2**10 / reading.messages,
}


def measure(row: Row, rounds: int, *, control: bool) -> bool:
    """Run one row, print it, and say whether the goal was met."""
    run = (row.control or row.peer or row.hub) if control else row.hub
    mine: list[Reading] = []
    theirs: list[Reading] = []
    for _ in range(rounds):
        mine.append(run())
        if row.peer is not None:
            theirs.append(row.peer())
    values = [_FIGURES[row.figure](reading) for reading in mine]
    if row.peer is not None:
        values = [a.rate / b.rate for a, b in zip(mine, theirs, strict=True)]
    digits = 0 if row.figure == "rate" and row.peer is None else 1 if row.goal >= 2 else 2
    most = row.figure != "rate"
    middle = statistics.median(values)
    met = middle <= row.goal if most else middle >= row.goal
    print(f"\n{row.name}: {spread(values, digits)} {row.unit}")
    print(f"  goal {'≤' if most else '≥'} {row.goal:,.{0 if row.goal >= 2 else 2}f}: {'met' if met else 'MISSED'}")
    if row.aim is not None and middle < row.aim:
        print(f"  aim ≥ {row.aim:,.0f}: not reached")
    for name, readings in (("hub" if run is row.hub else "peer as hub", mine), ("peer", theirs)):
        if readings:
            cpu = spread([r.cpu_us for r in readings], 1)
            print(f"  {name:12} {spread([r.rate for r in readings])} messages/s, {cpu} µs of server CPU each", end="")
            if readings[0].latencies:
                p50, p99 = (statistics.median(r.percentile(p) for r in readings) for p in (0.5, 0.99))
                print(f", p50 {p50:.1f} ms, p99 {p99:.1f} ms", end="")
            print()
    if row.name.startswith("d2-group"):
        many = ("--in-flight", row.name.rpartition("-")[2])
        memory, alone = (
            stored.run("keeper-creates", 2.0, *many, *options, memory=True).rate for options in ((), ("--alone",))
        )
        print(
            f"  one sync     {stored.sync_micros(2.0):,.0f} µs; in memory, where a sync costs nothing, groups", end=" "
        )
        print(f"make {memory / alone:.1f} × (the negative control)")
    sys.stdout.flush()
    return met


def main() -> int:
    """Run the rows that were asked for, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("rows", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--control", action="store_true", help="put the peer in the hub's place: must miss")
    parser.add_argument("--plot", metavar="FILE", help="draw the contests that were held, as SVG")
    parser.add_argument("--rows-of-page", type=int, default=1_000_000, help="among how many rows a page is read")
    parser.add_argument("--rows-of-search", type=int, default=1_000_000, help="among how many rows is searched")
    arguments = parser.parse_args()
    million, mariadb = Million(arguments.rows_of_page), Mariadb()
    texts = Million(arguments.rows_of_search, "build-words")
    known = {row.name: row for row in rows(arguments.seconds, million, texts, mariadb)}
    # `across` is the name of three rows; a name that is a row's own is that row alone.
    asked = {
        given: [given] if given in known else [name for name in known if name.startswith(f"{given}-")]
        for given in arguments.rows
    }
    unknown = {given for given, names in asked.items() if not names}
    if unknown:
        parser.error(f"no row {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    print(f"Python {platform.python_version()}, {arguments.rounds} alternating rounds, server and load on a core each")
    wanted = [known[name] for names in asked.values() for name in names] or list(known.values())
    outcomes: set[Outcome] = set()
    held = []
    with stored.closing(million, texts, mariadb):
        for row in wanted:
            if isinstance(row, Contest):
                outcome, sides = hold(row, arguments.rounds, control=arguments.control)
                held.append((row, sides))
                outcomes.add(outcome)
                sys.stdout.flush()
                continue
            try:
                outcomes.add("met" if measure(row, arguments.rounds, control=arguments.control) else "missed")
            except NotInstalledError as missing:
                print(f"\n{row.name}: not measured: {missing}", flush=True)
                outcomes.add("not measured")
    if arguments.plot is not None:
        Path(arguments.plot).write_text(plot.drawn(held), encoding="utf-8")
    return 1 if "missed" in outcomes else 2 if "not measured" in outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
