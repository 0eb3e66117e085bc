"""The uvicorn server of a hub: listens on TCP and on DIR/hub.sock, and drains before it closes.

SIGTERM: not ready, no new sockets, `goaway` with a spread, flush, 1012, exit (DESIGN.md 13).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import Config

from hub.edge.connection import Hub
from hub.edge.door import DoorProtocol
from hub.edge.fast import FastSocket
from hub.edge.protocol import HubProtocol
from hub.wire import close, frames
from hub.wire.codec import FRAME_BYTES

log = logging.getLogger("hub.edge")
HEADER_BYTES: Final = 32 * 1024
SPREAD_SECONDS: Final = 5.0


class ListenError(Exception):
    """An address cannot be listened on; the text is one sentence."""


def listen_tcp(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise `ListenError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, every loop turns Nagle off for what it accepts; without, asyncio waits 40 ms an answer.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(2048)
    except (OSError, OverflowError) as error:
        sock.close()
        not_ours = isinstance(error, socket.gaierror) or getattr(error, "errno", None) == errno.EADDRNOTAVAIL
        step = (
            "Choose another --host: 127.0.0.1 is this machine alone, 0.0.0.0 every network it is in."
            if not_ours
            else "Choose another --port."
        )
        raise ListenError(f"Cannot listen on {host}:{port}: {_why(error)}. {step}") from None
    sock.setblocking(False)
    return sock


def listen_unix(path: Path) -> socket.socket:
    """Return a listening Unix socket that only its owner may open; raise `ListenError`.

    The caller holds the lock of the data folder, so a socket that is there already is left over.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()
        before = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
        sock.listen(128)
    except OSError as error:
        sock.close()
        raise ListenError(
            f"Cannot listen on {path}: {_why(error)}. Choose a shorter or writable --data folder."
        ) from None
    sock.setblocking(False)
    return sock


def _why(error: Exception) -> str:
    """Return what the system says, without its number."""
    return getattr(error, "strerror", None) or str(error)


class HubServer(uvicorn.Server):
    """uvicorn's server, drained by us: clients hear of the end before their sockets close."""

    def __init__(self, config: Config, hub: Hub, drain_seconds: float, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._hub = hub
        self._drain_seconds = drain_seconds
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell every client, let what is open be answered, then close."""
        self._hub.draining = True
        for server in self.servers:
            server.close()
        connections = list(self._hub.connections)
        for connection in connections:
            push = frames.goaway("restart", 1.0, SPREAD_SECONDS)
            connection.outlet.answer(connection.outlet.codec.encode(push))
        if connections and not self.force_exit:
            idle = asyncio.gather(*(connection.idle() for connection in connections))
            try:
                async with asyncio.timeout(self._drain_seconds):
                    await idle
            except TimeoutError:
                log.warning("some requests were still open after %s s", self._drain_seconds)
        for connection in connections:
            connection.close(close.RESTART.code, close.RESTART.reason)
        await self._farewell()
        await super().shutdown(sockets)
        # uvicorn would now raise the signal again, which would end the process before storage is closed.
        self._captured_signals.clear()

    async def _farewell(self) -> None:
        """Give the clients a moment to answer the close, so that nobody's last frame resets a connection.

        Who has not answered then is cut: a client that does not read would hold up the end.
        """
        for _ in range(100):
            if not self._sockets():
                return
            await asyncio.sleep(0.01)
        for protocol in self._sockets():
            protocol.transport.abort()

    def _sockets(self) -> list[FastSocket]:
        connections: set[object] = {*self.server_state.connections}
        return [c for c in connections if isinstance(c, FastSocket)]


def make_server(app: ASGIApp, hub: Hub, *, drain_seconds: float, on_started: Callable[[], None]) -> HubServer:
    """Return the server of an application."""
    config = Config(
        app,
        loop="uvloop",
        http=DoorProtocol,
        ws=HubProtocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        ws_max_size=FRAME_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=None,  # `Hub.wheel` asks
        h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=10,
        proxy_headers=False,
        server_header=False,
        backlog=2048,
    )
    return HubServer(config, hub, drain_seconds, on_started)
