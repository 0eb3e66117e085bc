"""The peers of the realtime rows: npm ws, socket.io, NATS and a floor in C, started on free ports and pinned to a core.

The two of npm are installed from `node/package.json` into `var/` (ignored) when they are first needed. What is not on
the machine raises `NotInstalledError`, and the row says so.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
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
    wanted = (NODE / "package.json").read_bytes()
    here = INSTALLED / "package.json"
    if not here.exists() or here.read_bytes() != wanted or not (INSTALLED / "complete").exists():
        INSTALLED.mkdir(parents=True, exist_ok=True)
        here.write_bytes(wanted)
        command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel", "error"]
        try:
            done = subprocess.run(
                command, check=False, cwd=INSTALLED, capture_output=True, text=True, timeout=INSTALL_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise NotInstalledError("npm install did not end") from None
        if done.returncode:
            raise NotInstalledError(f"npm install failed: {done.stderr.strip()[-300:]}")
        (INSTALLED / "complete").touch()
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
def npm_ws(data: Path, database: Path | None = None) -> Iterator[servers.Server]:
    """Run the peer on npm ws, which reads records from a database where one is given."""
    with _node(data, "ws.js", *([str(database)] if database else [])) as server:
        yield server


@contextlib.contextmanager
def socket_io(data: Path, redis: str | None = None) -> Iterator[servers.Server]:
    """Run the peer on socket.io, with its Redis adapter where the address of a Redis is given."""
    with _node(data, "socketio.js", *([redis] if redis else [])) as server:
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
