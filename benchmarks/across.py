"""From a write at one hub to the watchers at another, over MariaDB and Redis: how late is what they see?

One update at a time; the next one follows when every watcher has the one before. A latency runs from the moment that
the update is sent at the first hub to the moment that its push is read by a watcher of the second. So it holds the
commit (on disk), the way over Redis, and the fan-out to all watchers before this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import servers
from benchmarks.creates import parent_event, run_pinned
from benchmarks.load import RawClient, Reading, connect, cpu_seconds, masked
from benchmarks.stored import Mariadb
from tests.storage import redis_server

PROTOCOL = "aether.v1.json"
SECRET = "the-secret-of-the-cluster-of-benchmarks"
AT_ONCE = 100
"""How many watchers are opened together."""
SAMPLES = 100_000
"""About how many latencies are kept."""


@contextlib.contextmanager
def _pair(mariadb: Mariadb, folder: Path) -> Iterator[tuple[servers.Server, servers.Server]]:
    """Run two hubs over one database and one Redis: the second on the server's core, all else on the other."""
    with redis_server.running() as redis:
        servers.pin(servers.LOAD_CORE, redis.pid)
        url = mariadb.server.url(mariadb.server.new_database())
        settings = {"database_url": url, "redis_url": redis.url, "cluster_secret": SECRET, "admit_per_second": "0"}
        with contextlib.ExitStack() as stack:
            hubs = []
            for name in ("one", "two"):
                (folder / name).mkdir()
                hubs.append(stack.enter_context(servers.hub(folder / name, **settings)))
            servers.pin(servers.LOAD_CORE, hubs[0].pid)
            yield hubs[0], hubs[1]


async def _latencies(
    one: servers.Server, two: servers.Server, key: str, event: str, watchers: int, seconds: float
) -> Reading:
    greeted: dict[RawClient, int] = {}
    latencies: list[float] = []
    heard, sent, updates, wrong = 0, 0.0, 0, 0
    complete = asyncio.Event()
    every = 1

    def on_watcher(client: RawClient, payload: bytes) -> None:
        nonlocal heard, wrong
        if payload.startswith(b'{"op":"change"'):
            heard += 1
            if heard % every == 0 or heard == watchers:
                latencies.append(time.perf_counter() - sent)
            if heard == watchers:
                complete.set()
        elif payload.startswith(b'{"op":"ok"'):
            greeted[client] = greeted.get(client, 0) + 1
        else:
            wrong += 1

    def on_publisher(client: RawClient, payload: bytes) -> None:
        nonlocal wrong
        if payload.startswith(b'{"op":"ok"'):
            greeted[client] = greeted.get(client, 0) + 1
        else:
            wrong += 1

    hello = masked(json.dumps({"op": "session.hello", "id": 1, "token": key}).encode())
    watch = masked(json.dumps({"op": "watch.start", "id": 2, "type": "event"}).encode())
    clients: list[RawClient] = []
    while len(clients) < watchers:
        many = min(AT_ONCE, watchers - len(clients))
        opened = [connect(two.port, "/ws", PROTOCOL, on_watcher) for _ in range(many)]
        for client in await asyncio.gather(*opened):
            client.transport.write(hello + watch)
            clients.append(client)
        async with asyncio.timeout(60):  # nobody's hello waits for long behind the others'
            while sum(greeted.values()) < 2 * len(clients):
                await asyncio.sleep(0.002)
    publisher = await connect(one.port, "/ws", PROTOCOL, on_publisher)
    publisher.transport.write(hello)
    async with asyncio.timeout(60):
        while sum(greeted.values()) < 2 * watchers + 1:
            await asyncio.sleep(0.02)

    async def update() -> None:
        nonlocal heard, sent, updates
        updates += 1
        heard = 0
        complete.clear()
        body = {"op": "record.update", "id": updates + 10, "type": "event", "rec": event}
        frame = masked(json.dumps({**body, "data": {"title": f"Title number {updates}"}}).encode())
        sent = time.perf_counter()
        publisher.transport.write(frame)
        async with asyncio.timeout(20):
            await complete.wait()

    for _ in range(5):
        await update()
    latencies.clear()
    per_update = max(1, SAMPLES // max(1, int(seconds * 20)))
    every = max(1, watchers // per_update)
    before, cpu, begun = updates, cpu_seconds(two.pid), time.perf_counter()
    while time.perf_counter() - begun < seconds:
        await update()
    elapsed, used = time.perf_counter() - begun, cpu_seconds(two.pid) - cpu
    await asyncio.sleep(0.2)
    for client in (*clients, publisher):
        client.transport.abort()
    if wrong or heard != watchers:
        raise RuntimeError(f"{wrong} frames were something else, {heard} of {watchers} heard the last update")
    return Reading((updates - before) * watchers, elapsed, used, latencies)


def run_hubs(mariadb: Mariadb, watchers: int, seconds: float) -> Reading:
    """Measure once, on an empty database."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as name, _pair(mariadb, Path(name)) as (one, two):
        key = servers.api_key(one.data)
        event = parent_event(one.port, key)
        return run_pinned(_latencies(one, two, key, event, watchers, seconds))
