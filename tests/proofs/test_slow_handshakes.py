"""Connections that begin and do not go on are cut, every one within eleven seconds, and health answers throughout.

A second hub, without the deadlines, keeps them: the negative control, in the same eleven seconds.
"""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from tests.proofs.dawdlers import all_kept
from tests.proofs.figures import SCALE, report
from tests.proofs.unbounded import UNBOUNDED
from tests.wire.hubprocess import HubProcess

CONNECTIONS: Final = 120 if SCALE == 1 else 1000
MOST_SECONDS: Final = 13.0 if SCALE == 1 else 11.0
"""Among other tests the machine is late itself; the promise is held where nothing else runs."""
LONGEST: Final = MOST_SECONDS + 1
"""For how long a connection is waited for."""
HEALTH_SECONDS: Final = 1.0
"""How long a probe may take."""


def port_of(hub: HubProcess) -> int:
    port = urlsplit(hub.url).port
    assert port is not None
    return port


async def probed(hub: HubProcess, until: asyncio.Event) -> list[float]:
    """Ask for health again and again, each time on a connection of its own; return how long each answer took."""
    times = []
    while not until.is_set():
        for path in ("/livez", "/readyz", "/health"):
            begun = time.monotonic()
            async with httpx.AsyncClient(base_url=hub.url, trust_env=False) as http:
                assert (await http.get(path)).status_code == 200
            times.append(time.monotonic() - begun)
        await asyncio.sleep(0.2)
    return times


async def test_slow_connections_are_cut_and_health_answers_throughout(tmp_path: Path) -> None:
    hub, lax = await asyncio.gather(
        asyncio.to_thread(HubProcess, tmp_path / "data", log_level="info"),
        asyncio.to_thread(HubProcess, tmp_path / "lax", before=UNBOUNDED, log_level="info"),
    )
    try:
        over = asyncio.Event()
        probing = asyncio.create_task(probed(hub, over))
        control = asyncio.create_task(all_kept(port_of(lax), 12, LONGEST))
        found = await all_kept(port_of(hub), CONNECTIONS, LONGEST)
        over.set()
        probes, unbounded = await probing, await control
    finally:
        lax.signal(signal.SIGKILL)
        await asyncio.to_thread(lax.wait)
        await asyncio.to_thread(hub.stop)
    last = {name: round(max(times), 1) for name, times in found.items()}
    report(
        "slow_handshakes",
        f"{CONNECTIONS} connections, the last of each kind cut after (s): {last}; {len(probes)} probes of health, the "
        f"slowest {max(probes) * 1000:.0f} ms",
    )
    assert max(last.values()) <= MOST_SECONDS
    assert max(probes) <= HEALTH_SECONDS
    assert [name for name, times in unbounded.items() if max(times) < LONGEST] == [], "without deadlines all are kept"
