"""Several hubs, members of one channel at them, and at each hub somebody who sees who is there."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from aether_client.roster import Roster
from tests.storage.mariadb_server import FAST
from tests.storage.mariadb_server import running as mariadb_running
from tests.storage.redis_server import RedisServer
from tests.storage.redis_server import running as redis_running
from tests.wire.hubprocess import HubProcess
from tests.wire.talk import Client, connected, data_of
from tests.wire.tenant import Tenant, make_tenant, operator

SECRET: Final = "the-secret-of-hubs-that-show-who-is-there"
CHANNEL: Final = "audience:hall"
TOGETHER: Final = 50
"""How many sockets are opened at the same time."""


@dataclass(eq=False)
class Seer:
    """Somebody at one hub who is told who is there: the roster, and when what happened."""

    client: Client
    roster: Roster = field(default_factory=Roster)
    told: list[tuple[float, str, str, str]] = field(default_factory=list)
    """When, which kind of event, which member, and its status."""

    async def watch(self) -> None:
        """Join, and take in pushes until cancelled."""
        self.client.pushes.clear()
        answer = await self.client.ok("channel.join", channel=CHANNEL)
        self.roster.open(answer["members"], answer["version"])
        while True:
            while self.client.pushes:
                push = self.client.pushes.pop(0)
                if push["op"] == "presence":
                    now = time.monotonic()
                    self.told += [(now, e["kind"], e["member"]["name"], e["member"]["status"]) for e in push["events"]]
                    self.roster.push(push["version"], push["events"])
            await self.client._hear()
            self.client.log.clear()
            self.client.frames.clear()

    def statuses(self) -> dict[str, str]:
        """Return the members and their statuses."""
        return {member["name"]: member["status"] for member in self.roster.members.values()}

    def kinds(self, since: float = 0.0) -> Counter[str]:
        """Return how many events of each kind were told since a moment."""
        return Counter(kind for at, kind, _, _ in self.told if at >= since)


@dataclass(eq=False)
class Gathering:
    """Hubs, the keys of members, and a seer at each hub."""

    redis: RedisServer
    hubs: list[HubProcess]
    tenant: Tenant
    stack: AsyncExitStack
    keys: dict[str, str] = field(default_factory=dict)
    """The key of each member, by name."""
    seers: list[Seer] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def issue(self, names: list[str]) -> None:
        """Make keys for members."""
        async with operator(self.hubs[0], self.tenant.name) as client:
            for start in range(0, len(names), TOGETHER):
                some = names[start : start + TOGETHER]
                args = [{"role": "viewer", "name": name} for name in some]
                sent = [await client.send("action.call", action="api_key.issue", args=each) for each in args]
                for name, number in zip(some, sent, strict=True):
                    self.keys[name] = data_of(await client.answer(number))["key"]

    async def see(self, hubs: list[int]) -> None:
        """Have somebody watch at each of these hubs."""
        for n in hubs:
            tenant = replace(self.tenant, process=self.hubs[n])
            client = await self.stack.enter_async_context(tenant.client("editor"))
            seer = Seer(client)
            self.seers.append(seer)
            self._tasks.append(asyncio.create_task(seer.watch()))

    async def come(self, hub: int, names: list[str]) -> dict[str, Client]:
        """Have members join at a hub; return their sockets."""
        found: dict[str, Client] = {}

        async def one(name: str) -> None:
            client = await self.stack.enter_async_context(connected(self.hubs[hub].socket_url))
            await client.greet(self.keys[name])
            await client.ok("channel.join", channel=CHANNEL, presence={"state": {}})
            found[name] = client

        for start in range(0, len(names), TOGETHER):
            await asyncio.gather(*(one(name) for name in names[start : start + TOGETHER]))
        return found

    async def until(self, expected: dict[str, str], seconds: float, seers: list[Seer] | None = None) -> float:
        """Wait until every seer sees this; return after how many seconds that was."""
        begun = time.monotonic()
        watching = self.seers if seers is None else seers
        while any(seer.statuses() != expected for seer in watching):
            for task in self._tasks:
                if task.done():
                    task.result()
            if time.monotonic() - begun > seconds:
                wrong: list[Any] = [
                    sorted(set(seer.statuses().items()) ^ set(expected.items()))[:5] for seer in watching
                ]
                raise AssertionError(f"after {seconds} s the rosters still differ: {wrong}")
            await asyncio.sleep(0.02)
        return time.monotonic() - begun

    def close(self) -> None:
        """Let nobody watch any more."""
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def gathering(folder: Path, hubs: int, ping_seconds: float) -> AsyncIterator[Gathering]:
    """Run hubs over servers of their own."""
    async with AsyncExitStack() as stack:
        mariadb = await asyncio.to_thread(stack.enter_context, mariadb_running(*FAST))
        redis = await asyncio.to_thread(stack.enter_context, redis_running())
        database = await asyncio.to_thread(mariadb.new_database)

        def start(n: int) -> HubProcess:
            return HubProcess(
                folder / f"hub{n}", database_url=mariadb.url(database), redis_url=redis.url, cluster_secret=SECRET,
                durability="normal", log_level="info", admit_per_second="5000", admit_burst="5000",
                requests_per_second="5000", ping_seconds=f"{ping_seconds:g}",
            )  # fmt: skip

        running: list[HubProcess] = []
        stack.callback(_kill, running)
        running.append(await asyncio.to_thread(start, 0))
        running += await asyncio.gather(*(asyncio.to_thread(start, n) for n in range(1, hubs)))
        tenant = await make_tenant(running[0])
        async with AsyncExitStack() as sockets:
            made = Gathering(redis, running, tenant, sockets)
            yield made
            made.close()
        for hub in running:
            hub.check_log()


def _kill(hubs: list[HubProcess]) -> None:
    for hub in hubs:
        hub.signal(signal.SIGKILL)
        hub.wait()
