"""Sockets that stop reading harm only themselves: what each holds is bounded, and the others are served as before.

Without the bounds, and where the hub waits for a client, the same checks turn red.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from benchmarks.load import cpu_seconds
from tests.proofs.fan import Stalled, fanned
from tests.proofs.figures import SCALE, report
from tests.proofs.unbounded import UNBOUNDED, WAITING
from tests.wire.hubprocess import HubProcess
from tests.wire.talk import Client
from tests.wire.tenant import Tenant, make_tenant

WATCHERS: Final = 200 if SCALE == 1 else 5000
SHARE: Final = 0.01
"""How many of the sockets do not read."""
ROUNDS: Final = 2 if SCALE == 1 else 12
"""How often is measured with them and without, in turn."""
SECONDS: Final = 0.5 if SCALE == 1 else 2.0
"""Less than the ten seconds after which a socket without progress is cut."""
PER_SECOND: Final = 20 if SCALE == 1 else 10
CONTROL_ROUNDS: Final = 2
LARGE: Final = 40
"""How many records of 19 KB one answer of those holds that do not read."""
ASKS: Final = 5
"""How many such answers are more than the kernel takes in."""
STALLED: Final = 8 if SCALE == 1 else 24
CHANGES: Final = 300
"""Of 19 KB each: the kernel takes in some megabytes for every socket before the hub holds anything."""
MOST_MIB: Final = 2.0
"""What one of them may cost."""


@dataclass(frozen=True)
class Hub:
    """A hub with something to watch and something large to ask for."""

    tenant: Tenant
    port: int
    rec: str
    talks: list[str]

    @property
    def process(self) -> HubProcess:
        """The hub itself."""
        return self.tenant.process

    def stall(self, count: int) -> Stalled:
        """Open sockets that watch what all watch, ask for more than the kernel takes in, and do not read."""
        watch: dict[str, object] = {"op": "watch.start", "id": 2, "type": "event", "where": {"id": self.rec}}
        find = {"op": "record.find", "type": "event_session", "limit": 1000}
        asks = [{**find, "id": 3 + n} for n in range(ASKS)]
        return Stalled(self.port, self.tenant.keys["editor"], [watch] * count, asks)

    def stall_each(self, count: int) -> Stalled:
        """Open sockets that watch a large record each, and do not read: nothing that waits is shared."""
        watches = [
            {"op": "watch.start", "id": 2, "type": "event_session", "where": {"id": rec}} for rec in self.talks[:count]
        ]
        return Stalled(self.port, self.tenant.keys["viewer"], watches, [])


async def filled(process: HubProcess) -> Hub:
    tenant = await make_tenant(process)
    port = urlsplit(process.url).port
    assert port is not None
    async with tenant.client("editor") as client:
        rec = (await client.create("event", title="A"))["id"]
        talks = [
            await client.create("event_session", rec, title="T", guid=f"{n}", abstract="x" * 19_000)
            for n in range(LARGE)
        ]
    return Hub(tenant, port, rec, [talk["id"] for talk in talks])


@contextmanager
def running(folder: Path, before: Sequence[str] = ()) -> Iterator[Hub]:
    """Run a hub, with its bounds or, behind a command, without."""
    folder.mkdir(exist_ok=True)
    process = HubProcess(
        folder / "data",
        before=before,
        log_level="info",
        admit_per_second="0",
        admit_address_per_second="0",
        durability="normal",
    )
    try:
        yield asyncio.run(filled(process))
        if not before:
            process.stop()
    finally:
        process.signal(signal.SIGKILL)
        process.wait()


@dataclass(frozen=True)
class Reading:
    """One round: CPU of the hub for each push that was owed, in microseconds, and the 99th percentile of the delays."""

    cpu: float
    p99: float


def settled(pid: int) -> None:
    """Wait until a process has nothing to do: what the sockets asked for is made."""
    before = -1.0
    while (now := cpu_seconds(pid)) > before:
        before = now + 0.02
        time.sleep(0.3)


def compared(hub: Hub, rounds: int) -> tuple[list[Reading], list[Reading]]:
    """Measure in turn without sockets that do not read, and with them."""
    core = 1 if SCALE > 1 and (os.cpu_count() or 1) > 1 else None
    if core is not None:
        os.sched_setaffinity(hub.process.pid, {0})
    count = round(WATCHERS * SHARE)
    readings: tuple[list[Reading], list[Reading]] = ([], [])
    with fanned(hub.port, hub.tenant.keys["editor"], hub.rec, WATCHERS, core=core) as fan:
        fan.play(SECONDS / 2, PER_SECOND)
        for n in [0, 1, 1, 0] * (rounds // 2):
            stalled = hub.stall(count) if n else None
            settled(hub.process.pid)
            cpu = cpu_seconds(hub.process.pid)
            seen = fan.play(SECONDS, PER_SECOND)
            used = cpu_seconds(hub.process.pid) - cpu
            owed = seen.changes * (WATCHERS + (count if stalled else 0))
            readings[n].append(Reading(used / owed * 1e6, seen.percentile(0.99)))
            if stalled is not None:
                stalled.close()
    return readings


def within_noise(name: str, alone: list[float], beside: list[float]) -> bool:
    """Say whether the median of one is within the range of the other, or below what the tests mistake for more."""
    return statistics.median(beside) <= max(*alone, LEAST[name])


def shown(values: list[float]) -> str:
    """Return a median with its range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


LEAST: Final = {"cpu": 50.0, "p99": 300.0} if SCALE == 1 else {"cpu": 0.0, "p99": 0.0}
"""The tests share the machine with other tests, and are short: below this (µs, ms) more is not told from noise."""
OF: Final[dict[str, Callable[[Reading], float]]] = {"cpu": lambda r: r.cpu, "p99": lambda r: r.p99}


@pytest.mark.timeout(600)
def test_sockets_that_do_not_read_leave_the_others_as_they_were(tmp_path: Path) -> None:
    with running(tmp_path) as hub:
        alone, beside = compared(hub, ROUNDS)
    figures = {name: ([of(r) for r in alone], [of(r) for r in beside]) for name, of in OF.items()}
    report(
        "stalled_sockets",
        f"{WATCHERS} watchers, {PER_SECOND} changes/s: CPU of a delivery {shown(figures['cpu'][0])} µs alone, "
        f"{shown(figures['cpu'][1])} beside {round(WATCHERS * SHARE)} that do not read; p99 {shown(figures['p99'][0])} "
        f"and {shown(figures['p99'][1])} ms",
    )
    for name, (before, after) in figures.items():
        assert within_noise(name, before, after)


@pytest.mark.timeout(600)
def test_a_hub_that_waits_for_its_clients_makes_the_others_late(tmp_path: Path) -> None:
    with running(tmp_path, WAITING) as hub:
        alone, beside = compared(hub, CONTROL_ROUNDS)
    before, after = [r.p99 for r in alone], [r.p99 for r in beside]
    report("stalled_sockets", f"where the hub waits for them: p99 {shown(before)} and {shown(after)} ms")
    assert not within_noise("p99", before[:1], after), "the later ones alone still suffer from those before"


async def change(hub: Hub, writer: Client, changes: int) -> int:
    """Change every record that is watched so many times; return the most memory that the hub had."""
    most = 0
    for n in range(changes):
        data = {"abstract": f"{n:05}" + "y" * 18_990}
        update = {"op": "record.update", "type": "event_session", "data": data}
        await writer.ok("record.batch", ops=[{**update, "rec": rec} for rec in hub.talks[:STALLED]])
        writer.log.clear()
        writer.frames.clear()
        most = max(most, hub.process.memory)
    return most


async def grown(hub: Hub) -> float:
    """Return what each socket that does not read costs a hub, in MiB, when far more was sent than is kept for it."""
    async with hub.tenant.client("editor") as writer:
        before = await change(hub, writer, CHANGES // 2)  # what the changes themselves leave in memory
        stalled = await asyncio.to_thread(hub.stall_each, STALLED)
        most = await change(hub, writer, CHANGES)
        await asyncio.to_thread(stalled.close)
    return (most - before) / STALLED / 2**20


@pytest.mark.timeout(600)
def test_what_a_socket_holds_that_does_not_read_is_bounded(tmp_path: Path) -> None:
    with running(tmp_path / "bounded") as hub:
        each = asyncio.run(grown(hub))
    with running(tmp_path / "unbounded", UNBOUNDED) as hub:
        unbounded = asyncio.run(grown(hub))
    report(
        "stalled_sockets",
        f"{STALLED} sockets that do not read, sent {CHANGES * 19 / 1024:.1f} MiB each: {each:.2f} MiB each, "
        f"{unbounded:.2f} without the bound",
    )
    assert each <= MOST_MIB < unbounded
