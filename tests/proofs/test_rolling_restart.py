"""Two hubs over one MariaDB and one Redis are restarted one after the other: no client sees a write fail.

The clients know one address, behind which a tiny load balancer stands. A kill, and clients that do not repeat, is what
turns the same check red.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from aether_client import requests
from tests.proofs.crowd import Crowd
from tests.proofs.figures import SCALE, report
from tests.proofs.front import Front
from tests.storage.mariadb_server import FAST, MariadbServer
from tests.storage.mariadb_server import running as mariadb_running
from tests.storage.redis_server import RedisServer
from tests.storage.redis_server import running as redis_running
from tests.wire.hubprocess import HubProcess
from tests.wire.tenant import make_tenant

SECRET: Final = "a-secret-of-the-cluster-that-nobody-else-knows"
CLIENTS: Final = min(500, 30 * SCALE)
WRITES: Final = 50
"""A second."""
ROUNDS: Final = min(10, SCALE)
"""How often both hubs are restarted."""
SHARE: Final = 0.2 if SCALE == 1 else 1.0
"""How much of the announced spread the clients use."""


@dataclass
class Parts:
    """What the hubs share."""

    mariadb: MariadbServer
    redis: RedisServer
    folder: Path
    started: int = 0

    def start(self, database: str) -> HubProcess:
        """Start one more hub."""
        self.started += 1
        return HubProcess(
            self.folder / f"{self.started}",
            database_url=self.mariadb.url(database),
            redis_url=self.redis.url,
            cluster_secret=SECRET,
            durability="normal",
        )


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """Return a database server and a Redis."""
    with ExitStack() as stack:
        mariadb = stack.enter_context(mariadb_running(*FAST))
        redis = stack.enter_context(redis_running())
        yield Parts(mariadb, redis, tmp_path_factory.mktemp("rolling"))


def port_of(hub: HubProcess) -> int:
    port = urlsplit(hub.url).port
    assert port is not None
    return port


async def roll(parts: Parts, number: signal.Signals, rounds: int) -> tuple[Crowd, list[str], Front]:
    """Restart each hub in its turn while a crowd writes; return the crowd, what is stored, and who was let through."""
    database = parts.mariadb.new_database()
    hubs = [await asyncio.to_thread(parts.start, database) for _ in range(2)]
    tenant = await make_tenant(hubs[0])
    async with Front([port_of(hub) for hub in hubs]) as front:
        crowd = Crowd(f"http://127.0.0.1:{front.port}", tenant.keys["editor"], SHARE)
        done = asyncio.Event()
        try:
            await crowd.open(CLIENTS)
            writing, more = asyncio.create_task(crowd.keep_writing(WRITES, done.is_set)), []
            for n in list(range(len(hubs))) * rounds:
                await asyncio.sleep(0.3)
                if number == signal.SIGKILL:
                    hubs[n].signal(signal.SIGSTOP)  # so that there is something that it did not answer
                more.append(asyncio.create_task(crowd.all_write(0.1)))
                await asyncio.sleep(0.05)
                hubs[n].signal(number)
                code = await asyncio.to_thread(hubs[n].wait)
                assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL)
                hubs[n].check_log()
                hubs[n] = await asyncio.to_thread(parts.start, database)
                front.targets = [port_of(hub) for hub in hubs]
                async with asyncio.timeout(60):
                    await crowd.online()
            done.set()
            async with asyncio.timeout(60):
                await asyncio.gather(writing, *more)
            stored = await crowd.stored()
        finally:
            await crowd.close()
            for hub in hubs:
                await asyncio.to_thread(hub.stop)
    return crowd, stored, front


@pytest.mark.timeout(600)
async def test_a_rolling_restart_fails_no_write(parts: Parts) -> None:
    crowd, stored, front = await roll(parts, signal.SIGTERM, ROUNDS)
    dials = sum(len(member.dialled) - 1 for member in crowd.members)
    report(
        "rolling_restart",
        f"{2 * ROUNDS} restarts of two hubs under {WRITES} writes/s of {CLIENTS} clients, and one of each around each: "
        f"{len(crowd.sent)} writes, {len(crowd.failed)} failed; {dials} times a client came back",
    )
    assert crowd.failed == []
    assert sorted(stored) == sorted(crowd.sent) == sorted(crowd.answers), "each write once"
    assert sum(member.unanswered for member in crowd.members) == 0
    assert len(front.served) > 2, "those that were started had clients"
    assert dials >= CLIENTS * ROUNDS


@pytest.mark.timeout(600)
async def test_without_drain_and_repetition_writes_fail(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "repeat_of", lambda op: "once")
    crowd, _, _ = await roll(parts, signal.SIGKILL, 1)
    assert {error.code for error in crowd.failed} == {"write.unknown"}
