"""`session.beat` at 100 connections, beside a starlette socket that parses and checks the same message."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks import servers
from benchmarks.creates import run_pinned
from benchmarks.load import Reading, pipelined

CONNECTIONS = 100


def _frame(connection: int, slot: int) -> bytes:
    return json.dumps({"op": "session.beat", "id": slot + 2}).encode()


def run_hub(depth: int, seconds: float) -> Reading:
    """Measure the hub: session, account and position are looked up for each."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, servers.hub(Path(folder)) as server:
        hello = json.dumps({"op": "session.hello", "id": 1, "token": servers.api_key(server.data)}).encode()
        return run_pinned(
            pipelined(
                server.port,
                server.pid,
                "/ws",
                "aether.v1.json",
                hello,
                _frame,
                connections=CONNECTIONS,
                depth=depth,
                seconds=seconds,
                is_answer=lambda p: p.startswith(b'{"op":"ok"'),
            )
        )


def run_plain(depth: int, seconds: float) -> Reading:
    """Measure the peer, which knows no session."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, servers.naive(Path(folder)) as server:
        return run_pinned(
            pipelined(
                server.port,
                server.pid,
                "/beat",
                None,
                None,
                _frame,
                connections=CONNECTIONS,
                depth=depth,
                seconds=seconds,
                is_answer=lambda p: p.startswith(b'{"op":"ok"'),
            )
        )
