"""How fast the SQLite keeper writes and reads, measured by hand; no test. Decision 0010 quotes it.

    python -m tests.storage.speed [--durability normal] [--in-flight 800] [--count 40000] [--keyed]

Creates records of an event's programme through `submit`, each acknowledged after its transaction is on
disk, with their rows of the log; then reads them. The CPU time is that of the whole process.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from hub.schema.query import Query, parse_order
from hub.schema.registry import Registry
from hub.schema.times import format_time
from hub.schema.where import equals
from hub.schema.writes import Commit, Create, KeyClaim
from hub.wire.names import public_id
from storage.sql.sqlite import SqliteStorage

registry = Registry.of(["hub.schema.core", "packs.events"])
EVENT, SESSION, LOCATION = (registry.types[n] for n in ("event", "event_session", "event_location"))
_random = random.Random(1)


def new_id() -> str:
    """Return a public id."""
    return public_id(_random.randbytes(8))


def clock() -> str:
    """Return the time in wire form."""
    return format_time(datetime.now(UTC))


def cpu() -> float:
    """Return the seconds of CPU that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measured(name: str, count: int, many: int, one: Callable[[], Awaitable[object]]) -> None:
    """Call `one` `count` times, `many` at once, and print rate, CPU and latency."""
    left, taken = count, []

    async def client() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            began = time.perf_counter()
            await one()
            taken.append(time.perf_counter() - began)

    began, used = time.perf_counter(), cpu()
    await asyncio.gather(*(client() for _ in range(many)))
    seconds, used = time.perf_counter() - began, cpu() - used
    taken.sort()
    p50, p99 = taken[len(taken) // 2] * 1e3, taken[len(taken) * 99 // 100] * 1e3
    print(
        f"{name:34} {len(taken) / seconds:10,.0f}/s   {used / len(taken) * 1e6:8.1f} µs CPU   "
        f"p50 {p50:.1f} ms   p99 {p99:.1f} ms"
    )


async def main(options: argparse.Namespace, folder: Path) -> None:
    """Measure."""
    storage = SqliteStorage(registry, folder / "hub.sqlite", clock, durability=options.durability)
    await storage.start()
    event, hall = new_id(), new_id()
    accept = LOCATION.accept_create({"name": "hall"}, trusted=True)
    await storage.submit(
        Commit(
            "main",
            (
                Create(EVENT, event, EVENT.accept_create({"title": "Camp"}, trusted=True)),
                Create(LOCATION, hall, accept, event),
            ),
        )
    )
    given: dict[str, Any] = {
        "title": "A talk about something",
        "abstract": "x" * 200,
        "language": "en",
        "location_id": hall,
    }
    given |= {"starts_at": "2026-11-21T08:54:49.123Z", "ends_at": "2026-11-21T09:54:49.123Z", "tags": ["a", "b"]}
    data = SESSION.accept_create(given, trusted=True)
    made: list[str] = []

    async def create() -> None:
        made.append(new_id())
        key = KeyClaim("user", made[-1], b"x" * 32) if options.keyed else None
        await storage.submit(
            Commit("main", (Create(SESSION, made[-1], data.copy(), event),), "user", "session", "request", key)
        )

    async def get() -> None:
        await storage.get("main", SESSION, [_random.choice(made)])

    page = Query(SESSION, equals(SESSION, "event_id", event), parse_order(SESSION, ["-starts_at", "title"]), limit=50)

    async def find() -> None:
        await storage.find("main", page)

    many = options.in_flight
    await measured(f"create, {many} in flight", options.count, many, create)
    await measured("create, 1 in flight", 200, 1, create)
    await measured(f"get by id, {many} in flight", options.count, many, get)
    await measured("get by id, 1 in flight", 2000, 1, get)
    await measured(f"find 50 of {len(made):,}, 4 in flight", 100, 4, find)
    await storage.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--durability", choices=["full", "normal"], default="full")
    parser.add_argument("--in-flight", type=int, default=800)
    parser.add_argument("--count", type=int, default=40_000)
    parser.add_argument("--keyed", action="store_true")
    parser.add_argument("--folder", default=None, help="where to measure; it decides which disk")
    arguments = parser.parse_args(sys.argv[1:])
    # As the hub does it: what is there at start is no garbage, and what comes is looked at less often.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        uvloop.run(main(arguments, Path(temporary)))
