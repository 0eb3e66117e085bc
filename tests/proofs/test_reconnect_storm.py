"""A hub dies with all its sockets and is started again: everybody comes back, spread, in a time that is known.

Clients of the Python client lose a hub by kill -9 and come back as they do by themselves: after a wait of any length up
to a bound that doubles (full jitter), which is only small again after a connection that lasted; and the hub lets so
many in a second and tells the others when to come. Without these two all come at the same moment, as the control shows.
"""

from __future__ import annotations

import asyncio
import signal
import time
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import pytest

from aether_client import Backoff, Client, HubError
from aether_client.connection import State
from benchmarks.load import cpu_seconds
from tests.proofs.figures import SCALE, report
from tests.storage.mariadb_server import kept_port
from tests.wire.hubprocess import HubProcess
from tests.wire.tenant import make_tenant, operator

CLIENTS: Final = 100 if SCALE == 1 else min(2000, 200 * SCALE)
ADMIT: Final = CLIENTS // 4
"""How many the hub lets in a second, and a fifth of that at once."""
TOGETHER: Final = 100
"""How many open their sockets at the same time before the storm."""
DOWN_SECONDS: Final = 1.0
"""How long nobody listens, besides the start."""
STEP: Final = 0.1
"""Within how many seconds tries count as simultaneous."""
MOST: Final = 1.4 * (ADMIT + ADMIT // 5)
"""How many may come in within a second: what is admitted, and some more, since a busy crowd notices it late."""
BOUND_SECONDS: Final = 30.0
"""Within what time of the hub's return everybody is back."""


class Visitor:
    """One client; when it tried, and when it was in."""

    def __init__(self, url: str, token: str, backoff: Backoff) -> None:
        self.tried: list[float] = []
        self.came: list[float] = []
        self.backoff = backoff
        self.client = Client(url, token=token, backoff=backoff, on_state=self._told)
        self.client.start()

    def _told(self, state: State, error: HubError | None) -> None:
        if state == "connecting":
            self.tried.append(time.monotonic())
        elif state == "online":
            self.came.append(time.monotonic())


@dataclass(frozen=True, slots=True)
class Storm:
    """What was seen. Times count from the moment at which the hub was started again."""

    came: list[float]
    """When each was back, in order."""
    tries: list[float]
    """Every try of everybody."""
    vain: int
    """How many tries there were before."""
    hub_cpu: float
    """Seconds of CPU that the hub used until all were back."""
    slowest: float
    """The longest that somebody who was there already waited for an answer, in seconds."""
    longest: float
    """The longest time between two tries of anybody."""
    failures: list[int]
    """What each still counts as failures once it is back."""

    @property
    def peak(self) -> int:
        """How many tried at once at most."""
        return max(Counter(int(at / STEP) for at in self.tries).values())

    @property
    def rush(self) -> int:
        """How many came in within any second at most."""
        return max(bisect_right(self.came, at + 1.0) - n for n, at in enumerate(self.came))

    @property
    def refused(self) -> int:
        """How many tries were refused: by the hub, or because it did not listen yet."""
        return len(self.tries) - len(self.came)


async def storm(folder: Path, *, jitter: bool, admit: int) -> Storm:
    """Cut a crowd off by a kill, start the hub again, and wait until everybody is back."""

    def started(per_second: int) -> HubProcess:
        return HubProcess(
            folder / "data",
            port=port,
            log_level="info",
            admit_per_second=str(per_second),
            admit_burst=str(ADMIT // 5),
        )

    def backoff(n: int) -> Backoff:
        return Backoff(dice=Random(n).random) if jitter else Backoff(dice=lambda: 1.0)

    port = kept_port()
    hub = await asyncio.to_thread(started, 0)
    key = (await make_tenant(hub)).keys["viewer"]
    visitors: list[Visitor] = []
    try:
        for n in range(CLIENTS):
            visitors.append(Visitor(hub.url, key, backoff(n)))
            if n % TOGETHER == TOGETHER - 1:
                await asyncio.gather(*(visitor.client.online() for visitor in visitors))
        hub.signal(signal.SIGKILL)
        killed = time.monotonic()
        await asyncio.to_thread(hub.wait)
        await asyncio.sleep(DOWN_SECONDS)
        begun = time.monotonic()
        hub = await asyncio.to_thread(started, admit)
        cpu = cpu_seconds(hub.pid)
        async with operator(hub) as bystander, asyncio.timeout(2 * BOUND_SECONDS):
            slowest = 0.0
            while not all(visitor.came[-1] > killed for visitor in visitors):
                asked = time.monotonic()
                await bystander.ok("session.beat")
                slowest = max(slowest, time.monotonic() - asked)
                await asyncio.sleep(0.02)
        cpu = cpu_seconds(hub.pid) - cpu
        log = hub.log
        failures = [visitor.backoff.failures for visitor in visitors]
    finally:
        await asyncio.gather(*(visitor.client.close() for visitor in visitors))
        await asyncio.to_thread(hub.stop)
    assert "Traceback" not in log
    tries = [[at for at in visitor.tried if at > killed] for visitor in visitors]
    return Storm(
        came=sorted(visitor.came[-1] - begun for visitor in visitors),
        tries=[at - begun for mine in tries for at in mine if at >= begun],
        vain=sum(at < begun for mine in tries for at in mine),
        hub_cpu=cpu,
        slowest=slowest,
        longest=max(b - a for mine in tries for a, b in zip([killed, *mine], mine, strict=False)),
        failures=failures,
    )


def told(name: str, seen: Storm) -> None:
    """Report what was seen."""
    half, most = seen.came[len(seen.came) // 2], seen.came[-1]
    each = seen.hub_cpu / len(seen.tries) * 1e6
    report(
        "reconnect-storm",
        f"{name}: {CLIENTS} sockets lost by kill -9, {ADMIT} admitted a second: half are back {half:.1f} s after the "
        f"hub's start, all after {most:.1f} s; {len(seen.tries)} tries, {seen.refused} refused, and {seen.vain} "
        f"before; at most {seen.peak} tries in {STEP:g} s, and {seen.rush} who came in within a second; longest wait "
        f"{seen.longest:.1f} s; hub {seen.hub_cpu:.2f} s of CPU, {each:,.0f} µs a try; somebody else's slowest answer "
        f"{seen.slowest * 1000:.0f} ms",
    )


@pytest.mark.timeout(300)
async def test_everybody_is_back_in_a_time_that_is_known_and_not_at_once(tmp_path: Path) -> None:
    seen = await storm(tmp_path, jitter=True, admit=ADMIT)
    told("with jitter and admission", seen)
    assert len(seen.came) == CLIENTS
    assert seen.came[-1] <= BOUND_SECONDS
    assert seen.longest <= BOUND_SECONDS
    assert seen.rush <= MOST
    assert seen.refused <= 2 * CLIENTS
    assert seen.slowest < 1.0
    assert min(seen.failures) >= 1, "who is back a moment ago is not trusted yet"


@pytest.mark.timeout(300)
async def test_without_jitter_and_admission_all_come_at_once(tmp_path: Path) -> None:
    """The negative control."""
    seen = await storm(tmp_path, jitter=False, admit=0)
    told("the control, without both", seen)
    assert seen.rush > 1.5 * MOST
