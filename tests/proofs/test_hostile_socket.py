"""One socket that floods the hub, in every way that we know: the others are answered in time, and memory stays flat.

The attacker comes back as often as it is cut. Without the bounds at the door the same check turns red.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.proofs.attackers import FLOODS, attacking
from tests.proofs.bystanders import Seen, bystanders
from tests.proofs.figures import SCALE, report
from tests.proofs.unbounded import UNBOUNDED
from tests.wire.hubprocess import HubProcess
from tests.wire.tenant import Tenant, make_tenant

SECONDS: Final = 0.4 if SCALE == 1 else 4.0
"""How long each flood is kept up."""
P99_MILLIS: Final = 300 if SCALE == 1 else 100
"""How long the others may wait; more in the tests, which share the machine with other tests."""
GROWN_MIB: Final = 32
RECORDS: Final = 1000


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    """A hub with a thousand records."""
    hub = HubProcess(tmp_path_factory.mktemp("bounded") / "data", log_level="info")
    yield asyncio.run(filled(hub))
    hub.stop()


async def filled(hub: HubProcess) -> Tenant:
    tenant = await make_tenant(hub)
    async with tenant.client("editor") as client:
        create = {"op": "record.create", "type": "event", "data": {"title": "t" * 100}}
        await client.ok("record.batch", ops=[create] * RECORDS)
    return tenant


async def flooded(tenant: Tenant, flood: str, seconds: float = SECONDS, *, reads: bool = True) -> Seen:
    """Return what others meet while a hub is flooded."""
    port = urlsplit(tenant.process.url).port
    assert port is not None
    async with bystanders(tenant.process, tenant) as seen:
        await asyncio.sleep(0.1)
        with attacking(port, tenant.keys["editor"], flood, reads=reads):
            await asyncio.sleep(seconds)
    return seen


@pytest.mark.timeout(300)
@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_harms_nobody_else(bounded: Tenant, flood: str) -> None:
    for reads in (True, False) if SCALE > 1 else (True,):
        seen = await flooded(bounded, flood, reads=reads)
        report("hostile_socket", f"{flood}{'' if reads else ', nothing read'}: the others' {seen}")
        assert seen.percentile(0.99) <= P99_MILLIS
        assert seen.grown <= GROWN_MIB


async def test_without_bounds_the_others_wait(tmp_path: Path) -> None:
    hub = await asyncio.to_thread(HubProcess, tmp_path / "data", before=UNBOUNDED, log_level="info")
    try:
        seen = await flooded(await make_tenant(hub), "pings", 1.5)
        report("hostile_socket", f"pings, without bounds: the others' {seen}")
        assert seen.percentile(0.99) > P99_MILLIS
    finally:
        hub.signal(signal.SIGKILL)  # it may be far behind
        await asyncio.to_thread(hub.wait)
