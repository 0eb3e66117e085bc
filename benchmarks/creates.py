"""Durable creates over the socket, 100 connections × 8 in flight, beside starlette with an async ORM."""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
from pathlib import Path

import uvloop

from benchmarks import servers
from benchmarks.load import Reading, pipelined


def _parent(port: int, key: str) -> str:
    import httpx  # noqa: PLC0415  # only for this one request

    body = {"op": "record.create", "id": 1, "type": "event", "data": {"title": "Bench", "acronym": "bench"}}
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.post(f"http://127.0.0.1:{port}/rpc", json=body, headers=headers)
    return str(answer.json()["data"]["id"])


def run_hub(connections: int, depth: int, seconds: float, codec: str = "json") -> Reading:
    """Measure the hub."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, servers.hub(Path(folder)) as server:
        key = servers.api_key(server.data)
        event = _parent(server.port, key)
        hello = json.dumps({"op": "session.hello", "id": 1, "token": key}).encode()
        count = itertools.count()

        def frame(connection: int, slot: int) -> bytes:
            data = {"session_id": event, "name": f"Track {next(count)}"}
            body = {"op": "record.create", "id": slot + 2, "type": "event_person", "data": {"name": data["name"]}}
            return json.dumps(body | {"parent": {"type": "event", "rec": event}}).encode()

        return asyncio_run(
            pipelined(
                server.port, server.pid, "/ws", "aether.v1.json", hello, frame,
                connections=connections, depth=depth, seconds=seconds, is_answer=lambda p: p.startswith(b'{"op":"ok"'),
            )  # fmt: skip
        )


def run_naive(connections: int, depth: int, seconds: float) -> Reading:
    """Measure the peer."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, servers.naive(Path(folder)) as server:

        def frame(connection: int, slot: int) -> bytes:
            return json.dumps({"op": "create", "id": slot + 2, "data": {"name": "Track", "sort": 0}}).encode()

        return asyncio_run(
            pipelined(
                server.port, server.pid, "/ws", None, None, frame,
                connections=connections, depth=depth, seconds=seconds, is_answer=lambda p: p.startswith(b'{"op": "ok"'),
            )  # fmt: skip
        )


def asyncio_run(work):  # type: ignore[no-untyped-def]  # any coroutine
    """Run a coroutine on uvloop, on the load generator's core."""
    servers.pin(servers.LOAD_CORE)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


if __name__ == "__main__":
    r = run_hub(100, 8, 4)
    print("hub", round(r.rate), round(r.cpu_us, 1), r.percentile(0.5), r.percentile(0.99))
    r = run_naive(100, 8, 4)
    print("naive", round(r.rate), round(r.cpu_us, 1), r.percentile(0.5), r.percentile(0.99))
