"""Durable creates over the socket, 100 connections × 8 in flight, beside starlette with an async ORM."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import httpx

from benchmarks import servers
from benchmarks.generator import NUMBER, Talk, run, text
from benchmarks.load import Reading


def parent_event(port: int, key: str) -> str:
    """Create an event in a running hub; return its id."""
    body = {"op": "record.create", "id": 1, "type": "event", "data": {"title": "Bench", "acronym": "bench"}}
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.post(f"http://127.0.0.1:{port}/rpc", json=body, headers=headers)
    return str(answer.json()["data"]["id"])


def run_hub(connections: int, depth: int, seconds: float, kind: str = "bench_note") -> Reading:
    """Measure the hub with records of a type that has a name, and an event above it where it is declared so."""
    packs = "packs.events,benchmarks.talks"
    with (
        tempfile.TemporaryDirectory(prefix="aether-bench-") as folder,
        servers.hub(Path(folder), packs=packs) as server,
    ):
        key = servers.api_key(server.data)
        above = {} if kind == "bench_note" else {"parent": {"type": "event", "rec": parent_event(server.port, key)}}
        send = [
            text({"op": "record.create", "id": NUMBER, "type": kind, "data": {"name": f"Person {n}"}} | above)
            for n in range(connections * depth)
        ]
        hello = json.dumps({"op": "session.hello", "id": 1, "token": key}).encode()
        good = b'{"op":"ok"'
        talk = Talk(
            server, send, b'"id":', protocol="aether.v1.json", greeting=[hello], ready=1, ready_mark=good, good=good
        )  # fmt: skip
        return run("pipe", talk, connections=connections, depth=depth, seconds=seconds)


def run_naive(connections: int, depth: int, seconds: float, *, tuned: bool = False) -> Reading:
    """Measure the peer."""
    with (
        tempfile.TemporaryDirectory(prefix="aether-bench-") as folder,
        servers.naive(Path(folder), tuned=tuned) as server,
    ):
        send = [text({"op": "create", "id": NUMBER, "data": {"name": "Track", "sort": 0}})]
        talk = Talk(server, send, b'"id": ', good=b'{"op": "ok"')
        return run("pipe", talk, connections=connections, depth=depth, seconds=seconds)
