"""A real `aether serve` as a process of its own, and a road to it that can be slow or cut."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import httpx

from aether_client import Client
from tests.clients.reference_harness import environment, wait_for
from tests.forked import Forked, aether


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class HubProcess:
    """A hub on a port and a data folder that stay the same over kills."""

    def __init__(self, folder: Path, port: int = 0, **settings: str) -> None:
        self._settings = {f"AETHER_{name.upper()}": value for name, value in settings.items()}
        self.data, self.log = folder / "data", folder / "hub.log"
        self.port = port or free_port()
        self.process: Forked | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        words = ["serve", "--port", str(self.port), "--data", str(self.data)]
        self.log.touch()
        self.process = Forked(words, environment() | self._settings, self.data.parent, self.log, self.log)
        wait_for(self._is_ready, f"the hub is ready; it said:\n{self.log.read_text()}", 60)

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200
        return False

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """End it in good order: it says goaway to everybody first."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.process = None

    def member(self, name: str, role: str = "owner") -> tuple[str, str]:
        """Make an API key; return it and the id under which its bearer is seen."""
        made = self.call("action.call", action="api_key.issue", args={"name": name, "role": role})
        return made["key"], made["id"]

    def key(self) -> str:
        """Make an API key of an owner."""
        done = aether("key", "create", "--account", "main", "--role", "owner", "--data", str(self.data))
        assert done.returncode == 0, done.stdout + done.stderr
        found = re.search(r"\baek_[\w-]+", done.stdout)
        assert found is not None, done.stdout
        return found.group()

    def event(self) -> str:
        """Make an event; return its id."""
        made = self.call("record.create", type="event", data={"title": "Sync"})
        return str(made["id"])

    def call(self, op: str, **fields: Any) -> Any:
        """Ask the hub over its Unix socket."""

        async def ask() -> Any:
            async with Client(self.data / "hub.sock") as hub:
                return (await hub.call(op, **fields)).data

        return asyncio.run(ask())


class SlowRoad:
    """Passes TCP on to a port, so many bytes a second towards the client, and counts them; 0: as fast as they come."""

    def __init__(self, port: int, bytes_per_second: int = 0) -> None:
        self._target, self.rate = port, bytes_per_second
        self.passed = 0
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    near.close()
                    continue
                self._ends += (near, far)
                for source, sink, rate in ((near, far, 0), (far, near, self.rate)):
                    threading.Thread(target=self._pass, args=(source, sink, rate), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, rate: int) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(64 * 1024):
                sink.sendall(data)
                if rate:
                    self.passed += len(data)
                    self._open.wait(len(data) / rate)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def cut(self) -> None:
        """Break what is connected, without a word to either side."""
        ends, self._ends = self._ends, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Take no more connections."""
        self._open.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # or a last one would be taken
        self._listener.close()
