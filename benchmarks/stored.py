"""Runs of `benchmarks.storing`, each in a process of its own on the server's core, in a folder of its own."""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import servers
from benchmarks.load import Reading
from tests.storage import mariadb_server

MEMORY = Path("/dev/shm")
"""A file system that no sync waits for."""


SEARCHING = ("build-words", "keeper-search", "raw-search")
"""What `benchmarks.searching` runs; the rest is in `benchmarks.storing`."""


def _run(what: str, folder: Path, options: tuple[str, ...]) -> Reading:
    module = "benchmarks.searching" if what in SEARCHING else "benchmarks.storing"
    command = [sys.executable, "-m", module, what, str(folder), *options]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: servers.pin(servers.SERVER_CORE),
    )
    if done.returncode != 0:
        raise RuntimeError(f"{what} failed:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout)
    return Reading(found["messages"], found["seconds"], found["cpu"], found.get("latencies", []), found.get("grown", 0))


def run(what: str, seconds: float, *options: str, memory: bool = False) -> Reading:
    """Run once on an empty folder; `memory`: one that lies in memory."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-", dir=MEMORY if memory else None) as folder:
        return _run(what, Path(folder), ("--seconds", str(seconds), *options))


class Million:
    """A file with many sessions, made when it is first needed and kept until the last row was measured."""

    def __init__(self, rows: int, build: str = "build") -> None:
        self.rows = rows
        self._build = build
        self._ends = contextlib.ExitStack()

    @functools.cached_property
    def folder(self) -> Path:
        """Where the file is."""
        folder = Path(self._ends.enter_context(tempfile.TemporaryDirectory(prefix="aether-bench-")))
        made = _run(self._build, folder, ("--rows", str(self.rows)))
        print(f"\n{self.rows:,} sessions written in {made.seconds:.0f} s")
        return folder

    def run(self, what: str, seconds: float, *options: str) -> Reading:
        """Run once on the file."""
        return _run(what, self.folder, ("--seconds", str(seconds), "--rows", str(self.rows), *options))

    def close(self) -> None:
        """Remove the file."""
        self._ends.close()


class Mariadb:
    """A MariaDB server that waits for the disk at every commit, started when it is first needed."""

    def __init__(self) -> None:
        self._ends = contextlib.ExitStack()

    @functools.cached_property
    def server(self) -> mariadb_server.MariadbServer:
        """The server."""
        server = self._ends.enter_context(mariadb_server.running(*mariadb_server.DURABLE))
        servers.pin(servers.LOAD_CORE, server.pid)
        return server

    def run(self, what: str, seconds: float, *options: str) -> Reading:
        """Run once on an empty database."""
        with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder:
            url = self.server.url(self.server.new_database())
            return _run(what, Path(folder), ("--seconds", str(seconds), "--url", url, *options))

    def close(self) -> None:
        """Stop the server."""
        self._ends.close()


@contextlib.contextmanager
def closing(*parts: Million | Mariadb) -> Iterator[None]:
    """Close what was started."""
    try:
        yield
    finally:
        for part in parts:
            part.close()


def sync_micros(seconds: float) -> float:
    """Return what it takes to write one page and sync it, in microseconds."""
    reading = run("syncs", seconds)
    return reading.seconds / reading.messages * 1e6


__all__ = ["Mariadb", "Million", "closing", "run", "sync_micros"]
