"""Start the real hub and its peers on free ports in temporary folders, pinned to a core, and stop them."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE, LOAD_CORE = 0, 1


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    port: int
    pid: int
    data: Path


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def most_sockets() -> int:
    """Return how many sockets a process may have open beside a few hundred other files."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 500


def pin(core: int, pid: int = 0) -> None:
    """Keep a process (0: this one) to one core where the machine has several."""
    cores = range(os.cpu_count() or 1)
    if len(cores) > 1:
        os.sched_setaffinity(pid, {cores[core % len(cores)]})


@contextlib.contextmanager
def running(command: list[str], port: int, data: Path, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """Run a server until the block ends; raise where it does not listen within 20 s."""
    log = data / "server.log"
    with log.open("wb") as out:
        # Pinned before it runs: threads that it starts at once (Go, Node) have the core of their process.
        here = os.sched_getaffinity(0)
        pin(SERVER_CORE)
        try:
            process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **(environment or {})})
        finally:
            os.sched_setaffinity(0, here)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(command)} does not listen: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield Server(port, process.pid, data)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def hub(data: Path, **settings: str) -> Iterator[Server]:
    """Run the real hub."""
    port = free_port()
    settings = {
        "admit_per_second": "0",
        "admit_address_per_second": "0",
        "account_requests_per_second": "10000000",  # one account has all the load
    } | settings  # the load comes as fast as it can
    environment = {f"AETHER_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-c", "from hub.cli.main import app; app()", "serve", "--port", str(port), "--data"]
    with running([*command, str(data / "hub")], port, data, environment) as server:
        yield Server(server.port, server.pid, data / "hub")


@contextlib.contextmanager
def naive(data: Path, *, tuned: bool = False) -> Iterator[Server]:
    """Run the starlette and async ORM peer."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.naive", str(port), str(data / "naive.db")]
    command += ["--tuned"] if tuned else []
    with running(command, port, data) as server:
        yield server


def api_key(data: Path, role: str = "owner") -> str:
    """Return a fresh API key of account `main` of a running hub."""
    command = [sys.executable, "-c", "from hub.cli.main import app; app()", "key", "create"]
    done = subprocess.run([*command, "--role", role, "--data", str(data)], capture_output=True, text=True, check=True)
    return done.stdout.strip()
