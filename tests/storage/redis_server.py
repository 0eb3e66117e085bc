"""A Redis server of our own: on a free port, in a temporary folder, without persistence.

Nothing of a server that runs on this machine is used or touched. Where redis-server is not installed the tests that
need it fail; they are never left out.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.storage.own_server import OwnServer

START_SECONDS = 30.0


class RedisServer(OwnServer):
    """One server process and its folder."""

    def __init__(self, *options: str) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="aether-redis-")), free_port())
        self.options = options

    @property
    def url(self) -> str:
        """Return what the hub's setting `redis_url` would be."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = ["--port", f"{self.port}", "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command = [_program(), *settings, "--save", "", "--appendonly", "no", *self.options]
        self.run_command(command)
        until = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                if self.run("PING") == b"+PONG":
                    return
            if self.died or time.monotonic() > until:
                self.kill()
                raise AssertionError(f"redis-server did not start:\n{self.log()}")
            time.sleep(0.02)

    def run(self, *words: str) -> bytes:
        """Run one command and return its answer: the text of a text, or else the first line as it came."""
        command = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words)
        with socket.create_connection(("127.0.0.1", self.port), 30) as connection:
            connection.sendall(command)
            with connection.makefile("rb") as answer:
                line = answer.readline().strip()
                return answer.read(int(line[1:])) if line.startswith(b"$") else line


@contextlib.contextmanager
def running(*options: str) -> Iterator[RedisServer]:
    """Run a server of its own for as long as the context lasts."""
    server = RedisServer(*options)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def _program() -> str:
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    found = shutil.which("redis-server", path=path)
    if found is None:
        raise AssertionError("redis-server is missing; on Debian or Ubuntu: sudo apt-get install -y redis-server")
    return found


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
