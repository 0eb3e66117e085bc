"""One change at a time and bursts to 1,000 watchers of one query, beside npm-less peers: plain starlette.

`outstanding` updates of one record are open at once; each becomes one push to every watcher. A delivery is
one whole push frame received by one watcher.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from pathlib import Path

from benchmarks import servers
from benchmarks.creates import parent_event, run_pinned
from benchmarks.load import RawClient, Reading, connect, cpu_seconds, masked

PROTOCOL = "aether.v1.json"


async def _deliveries(
    server: servers.Server, key: str, event: str, watchers: int, outstanding: int, seconds: float
) -> Reading:
    state = {"answers": 0, "pushes": 0, "lost": 0}
    greeted: dict[RawClient, int] = {}
    sent: list[float] = []
    latencies: list[float] = []
    measuring = False

    def on_watcher(client: RawClient, payload: bytes) -> None:
        if payload.startswith(b'{"op":"change"'):
            state["pushes"] += 1
            if measuring and state["pushes"] % 997 == 0 and sent:
                latencies.append(time.perf_counter() - sent[-1])
        elif payload.startswith(b'{"op":"ok"'):
            greeted[client] = greeted.get(client, 0) + 1
        else:
            state["lost"] += 1

    version = 0
    publisher: RawClient

    def publish() -> None:
        nonlocal version
        version += 1
        body = {
            "op": "record.update",
            "id": version + 10,
            "type": "event",
            "rec": event,
            "data": {"title": f"Title number {version}"},
        }
        sent.append(time.perf_counter())
        publisher.transport.write(masked(json.dumps(body).encode()))

    running = True

    def on_publisher(client: RawClient, payload: bytes) -> None:
        if payload.startswith(b'{"op":"ok"'):
            greeted[client] = greeted.get(client, 0) + 1
            if greeted[client] > 1:
                state["answers"] += 1
                if running:
                    publish()

    hello = masked(json.dumps({"op": "session.hello", "id": 1, "token": key}).encode())
    watch = masked(json.dumps({"op": "watch.start", "id": 2, "type": "event"}).encode())
    clients: list[RawClient] = []
    for _ in range(watchers):
        client = await connect(server.port, "/ws", PROTOCOL, on_watcher)
        client.transport.write(hello + watch)
        clients.append(client)
    publisher = await connect(server.port, "/ws", PROTOCOL, on_publisher)
    publisher.transport.write(hello)
    async with asyncio.timeout(60):
        while sum(greeted.values()) < 2 * watchers + 1:
            await asyncio.sleep(0.02)
    for _ in range(outstanding):
        publish()
    await asyncio.sleep(1.0)
    measuring = True
    before, cpu, begun = state["pushes"], cpu_seconds(server.pid), time.perf_counter()
    await asyncio.sleep(seconds)
    elapsed, done, used = time.perf_counter() - begun, state["pushes"] - before, cpu_seconds(server.pid) - cpu
    running = measuring = False
    # Nothing may be lost: every answered update has reached every watcher.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while state["answers"] < version or state["pushes"] < version * watchers:
                await asyncio.sleep(0.05)
    missing = version * watchers - state["pushes"]
    for client in (*clients, publisher):
        client.transport.abort()
    if missing or state["lost"]:
        raise RuntimeError(f"{missing} deliveries are missing, {state['lost']} frames were something else")
    return Reading(done, elapsed, used, latencies)


def run_hub(watchers: int = 1000, outstanding: int = 1, seconds: float = 4.0) -> Reading:
    """Measure the hub's fan-out."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, servers.hub(Path(folder)) as server:
        key = servers.api_key(server.data)
        event = parent_event(server.port, key)
        return run_pinned(_deliveries(server, key, event, watchers, outstanding, seconds))
