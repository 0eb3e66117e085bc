"""What a socket costs that does nothing: resident memory for each, with a session and three watches."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path

from benchmarks import servers
from benchmarks.creates import run_pinned
from benchmarks.load import RawClient, Reading, connect, cpu_seconds, masked

WATCHES = 3
SETTLE_SECONDS = 12.0
"""How long nothing happens before the memory is read: until the deadlines of the hellos are over."""


def _resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


async def _opened(server: servers.Server, frames: bytes, sockets: int) -> Reading:
    answers = 0

    def on_message(client: RawClient, payload: bytes) -> None:
        nonlocal answers
        answers += payload.startswith(b'{"op":"ok"')

    async def open_some(count: int) -> list[RawClient]:
        expected, clients = answers + count * (1 + WATCHES), []
        for _ in range(count):
            client = await connect(server.port, "/ws", "aether.v1.json", on_message)
            client.transport.write(frames)
            clients.append(client)
        async with asyncio.timeout(60):
            while answers < expected:
                await asyncio.sleep(0.02)
        return clients

    first = await open_some(50)  # what the first sockets load stays loaded
    await asyncio.sleep(1.0)
    before, cpu, begun = _resident(server.pid), cpu_seconds(server.pid), time.perf_counter()
    clients = await open_some(sockets)
    elapsed, used = time.perf_counter() - begun, cpu_seconds(server.pid) - cpu
    await asyncio.sleep(SETTLE_SECONDS)
    grown = _resident(server.pid) - before
    for client in (*first, *clients):
        if client.lost:
            raise RuntimeError("the hub closed a socket")
        client.transport.abort()
    return Reading(sockets, elapsed, used, [], grown)


def run(sockets: int) -> Reading:
    """Measure the hub: `messages` are sockets, the CPU is that of opening one with its hello and its watches."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, servers.hub(Path(folder)) as server:
        requests = [{"op": "session.hello", "id": 1, "token": servers.api_key(server.data)}]
        requests += [
            {"op": "watch.start", "id": n + 2, "type": "event_session", "where": {"slug": f"talk-{n}"}}
            for n in range(WATCHES)
        ]
        frames = b"".join(masked(json.dumps(request).encode()) for request in requests)
        return run_pinned(_opened(server, frames, sockets))
