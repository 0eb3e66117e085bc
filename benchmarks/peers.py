"""The peers of the realtime rows, started on free ports and pinned to a core: npm ws, socket.io, Feathers, starlette,
python-socketio, NATS, and a floor in C.

Those of npm are installed as `node/package-lock.json` has them into `var/` (ignored) when they are first needed, those
of Python are in requirements/dev.txt. What is not on the machine raises `NotInstalledError`, and the row says so.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks import servers
from benchmarks.generator import NotInstalledError, compiled

NODE: Final = Path(__file__).parent / "node"
INSTALLED: Final = NODE.parents[1] / "var" / "bench-node"
INSTALL_SECONDS: Final = 600


@functools.cache
def modules() -> Path:
    """Return the folder with the installed modules of npm; raise `NotInstalledError` where that cannot be."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise NotInstalledError("node and npm are not installed")
    wanted, here = NODE / "package-lock.json", INSTALLED / "complete"
    if not here.exists() or here.read_bytes() != wanted.read_bytes():
        INSTALLED.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(NODE / name, INSTALLED)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel", "error"]
        try:
            done = subprocess.run(
                command, check=False, cwd=INSTALLED, capture_output=True, text=True, timeout=INSTALL_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise NotInstalledError("npm ci did not end") from None
        if done.returncode:
            raise NotInstalledError(f"npm ci failed: {done.stderr.strip()[-300:]}")
        shutil.copy(wanted, here)
    return INSTALLED / "node_modules"


@contextlib.contextmanager
def _node(data: Path, script: str, *arguments: str) -> Iterator[servers.Server]:
    port = servers.free_port()
    # Modules are looked for from where the script stands: in a folder beside theirs.
    environment = {"NODE_PATH": str(modules()), "NODE_ENV": "production"}
    command = ["node", str(NODE / script), str(port), *arguments]
    with servers.running(command, port, data, environment) as server:
        yield server


@contextlib.contextmanager
def npm_ws(data: Path, database: Path | None = None, *, deflate: bool = False) -> Iterator[servers.Server]:
    """Run the peer on npm ws, which reads records from a database where one is given, or compresses."""
    more = ["deflate"] if deflate else [str(database)] if database else []
    with _node(data, "ws.js", *more) as server:
        yield server


@contextlib.contextmanager
def socket_io(data: Path, redis: str | None = None) -> Iterator[servers.Server]:
    """Run the peer on socket.io, with its Redis adapter where the address of a Redis is given."""
    with _node(data, "socketio.js", *([redis] if redis else [])) as server:
        yield server


@contextlib.contextmanager
def feathers(data: Path) -> Iterator[servers.Server]:
    """Run the peer on Feathers."""
    with _node(data, "feathers.js") as server:
        yield server


@contextlib.contextmanager
def python_socketio(data: Path) -> Iterator[servers.Server]:
    """Run the peer on python-socketio."""
    if importlib.util.find_spec("socketio") is None:
        raise NotInstalledError("python-socketio is not installed (requirements/dev.txt)")
    port = servers.free_port()
    with servers.running([sys.executable, "-m", "benchmarks.pysocketio", str(port)], port, data) as server:
        yield server


@contextlib.contextmanager
def floor(data: Path) -> Iterator[servers.Server]:
    """Run the program that only writes."""
    port = servers.free_port()
    with servers.running([compiled("floor"), str(port)], port, data) as server:
        yield server


@contextlib.contextmanager
def nats(data: Path) -> Iterator[servers.Server]:
    """Run a NATS server with its websocket door."""
    found = shutil.which("nats-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise NotInstalledError("nats-server is not installed")
    port = servers.free_port()
    settings = data / "nats.conf"
    settings.write_text(
        f'listen: "127.0.0.1:{servers.free_port()}"\nwebsocket {{\n  listen: "127.0.0.1:{port}"\n  no_tls: true\n}}\n'
    )
    with servers.running([found, "-c", str(settings)], port, data) as server:
        yield server


@contextlib.contextmanager
def plain(data: Path, *, deflate: bool = False) -> Iterator[servers.Server]:
    """Run the peer on starlette and uvicorn, which compresses where it is told to."""
    port = servers.free_port()
    command = [sys.executable, "-m", "benchmarks.plain", str(port), *(["deflate"] if deflate else [])]
    with servers.running(command, port, data) as server:
        yield server
