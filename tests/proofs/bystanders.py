"""Clients that ask small things all the time: how long they wait is how well a hub serves while others harm it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.wire.hubprocess import HubProcess
from tests.wire.tenant import Tenant

CLIENTS: Final = 10
EVERY_SECONDS: Final = 0.02


@dataclass
class Seen:
    """What bystanders met: how long each of their requests took, and by how much the hub grew."""

    seconds: list[float] = field(default_factory=list)
    before: int = 0
    most: int = 0

    def percentile(self, share: float) -> float:
        """Return a percentile of what their requests took, in milliseconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000

    @property
    def grown(self) -> float:
        """By how much the hub grew at most, in MiB."""
        return (self.most - self.before) / 2**20

    def __str__(self) -> str:
        figures = f"p50 {self.percentile(0.5):.1f} p99 {self.percentile(0.99):.1f} max {self.percentile(1):.1f} ms"
        return f"{figures}, memory +{self.grown:.1f} MiB"


@asynccontextmanager
async def bystanders(hub: HubProcess, tenant: Tenant) -> AsyncIterator[Seen]:
    """Let clients ask until the block ends; what they met is complete then."""
    seen = Seen(before=hub.memory)
    over = False

    async def ask(n: int) -> None:
        await asyncio.sleep(EVERY_SECONDS * n / CLIENTS)
        async with tenant.client("viewer") as client:
            while not over:
                begun = time.perf_counter()
                await client.ok("session.beat")
                seen.seconds.append(time.perf_counter() - begun)
                client.log.clear()
                client.frames.clear()
                await asyncio.sleep(EVERY_SECONDS)

    async def weigh() -> None:
        while not over:
            seen.most = max(seen.most, hub.memory)
            await asyncio.sleep(0.05)

    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        group.create_task(weigh())
        for n in range(CLIENTS):
            group.create_task(ask(n))
        try:
            yield seen
        finally:
            over = True
