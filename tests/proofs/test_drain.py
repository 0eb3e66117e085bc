"""A hub that stops says when to come back: no answer is lost, no write fails, and nobody runs over the next hub.

Clients of the Python client write with keys all the time, and each begins one more around the signal. The hub is
started again on the same port. Without the drain (a kill) the same checks turn red.
"""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.proofs.crowd import Crowd, is_spread, spread
from tests.proofs.figures import SCALE, report
from tests.storage.mariadb_server import kept_port
from tests.wire.hubprocess import HubProcess
from tests.wire.tenant import make_tenant

CLIENTS: Final = min(2000, 100 * SCALE)
WRITES: Final = 50
"""A second, besides the one of each client around the signal."""
AROUND_SECONDS: Final = 0.3
"""For how long those go on after the signal: a hub looks for one every 0.1 s."""
SECONDS: Final = 0.5 if SCALE == 1 else 5.0
"""For how long is written before the signal."""
SHARE: Final = 0.3 if SCALE == 1 else 1.0
"""How much of the spread the clients use: a test is not meant to wait."""
LEAST, JITTER = 1.0, 5.0
"""What `goaway` says: so many seconds, and up to so many more."""


@dataclass
class Ending:
    """What was seen of a hub's end."""

    crowd: Crowd
    code: int
    exit_seconds: float
    unanswered: int
    """Requests that a socket was sent and whose answer did not come over it."""
    returned: list[int]
    """How many clients first came back in each fifth of the announced time."""
    stored: list[str]
    log: str


async def end_a_hub(folder: Path, number: signal.Signals) -> Ending:
    """Run a hub with a crowd, end it by a signal, start it again, and wait until everybody is back."""
    port = kept_port()
    hub = await asyncio.to_thread(HubProcess, folder / "data", port=port)
    tenant = await make_tenant(hub)
    crowd = Crowd(hub.url, tenant.keys["editor"], SHARE)
    try:
        await crowd.open(CLIENTS)
        back = asyncio.Event()
        writing = asyncio.create_task(crowd.keep_writing(WRITES, back.is_set))
        await asyncio.sleep(SECONDS)
        last = asyncio.create_task(crowd.all_write(AROUND_SECONDS))
        begun = time.monotonic()
        hub.signal(number)
        code = await asyncio.to_thread(hub.wait)
        ended = time.monotonic()
        log = hub.log
        hub = await asyncio.to_thread(HubProcess, folder / "data", port=port)
        async with asyncio.timeout(120):
            await crowd.online()
            back.set()
            await asyncio.gather(writing, last)
            stored = await crowd.stored()
    finally:
        await crowd.close()
        await asyncio.to_thread(hub.stop)
    first = [min(moment for moment in member.dialled if moment > begun) for member in crowd.members]
    unanswered = sum(member.unanswered for member in crowd.members)
    returned = spread(first, begun + LEAST, JITTER * SHARE)
    return Ending(crowd, code, ended - begun, unanswered, returned, stored, log)


@pytest.mark.timeout(600)
async def test_a_stopping_hub_loses_no_answer_and_its_clients_come_back_spread(tmp_path: Path) -> None:
    seen = await end_a_hub(tmp_path, signal.SIGTERM)
    report(
        "drain",
        f"SIGTERM with {CLIENTS} sockets and {WRITES} writes/s besides one of each around the signal: exit after "
        f"{seen.exit_seconds:.2f} s, {len(seen.crowd.sent)} writes, {len(seen.crowd.failed)} failed, "
        f"{seen.unanswered} answers lost; came back in each {JITTER * SHARE / 5:g} s: {seen.returned}",
    )
    assert seen.code == 0
    assert seen.exit_seconds < 15
    assert "Traceback" not in seen.log
    assert seen.crowd.failed == []
    assert seen.unanswered == 0
    assert sorted(seen.stored) == sorted(seen.crowd.sent) == sorted(seen.crowd.answers), "each write once"
    assert is_spread(seen.returned)


@pytest.mark.timeout(600)
async def test_without_the_drain_answers_are_lost_and_all_come_back_at_once(tmp_path: Path) -> None:
    seen = await end_a_hub(tmp_path, signal.SIGKILL)
    assert seen.unanswered > 0
    assert not is_spread(seen.returned)
    # What a key is for: nothing is lost or done twice all the same.
    assert seen.crowd.failed == []
    assert sorted(seen.stored) == sorted(seen.crowd.sent)
