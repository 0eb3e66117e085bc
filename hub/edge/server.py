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

from channels.outlet import Encoded
from hub.edge.connection import Hub
from hub.edge.door import DoorProtocol
from hub.edge.fast import FastSocket
from hub.edge.protocol import HubProtocol
from hub.wire import close, frames
from hub.wire.codec import FRAME_BYTES

log = logging.getLogger("hub.edge")
HEADER_BYTES: Final = 32 * 1024
SPREAD_SECONDS: Final = 5.0
"""Over how many seconds the clients of a stopping hub are asked to come back, at least."""
MOST_SPREAD_SECONDS: Final = 60.0
BACK_PER_SECOND: Final = 400
"""How many clients a second come back, where there are more than fit into the least spread."""
LINGER_SECONDS: Final = 0.5
"""How long a socket stays after it was told to go, for the answers to what was on its way meanwhile."""
END_SECONDS: Final = 5.0
"""How long a stopping hub takes at most for what comes behind the drain: closes, and what runs over HTTP."""


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
        """Tell every client, let what is open be answered, then close.

        A socket is closed as soon as all that it asked was answered and written, but not before what was on its way
        when it was told could arrive. The whole takes `drain_seconds` and `END_SECONDS` at most.
        """
        begun = asyncio.get_running_loop().time()
        end = begun + self._drain_seconds + END_SECONDS
        self._hub.draining = True
        for server in self.servers:
            server.close()
        await self._drain(begun)
        await self._farewell(end)
        self.config.timeout_graceful_shutdown = max(1, int(end - asyncio.get_running_loop().time()))
        await super().shutdown(sockets)
        # uvicorn would now raise the signal again, which would end the process before storage is closed.
        self._captured_signals.clear()

    async def _drain(self, begun: float) -> None:
        """Say goodbye to every socket, and close each when it is owed nothing more, or when the time is over."""
        loop = asyncio.get_running_loop()
        waiting = list(self._hub.connections)
        spread = spread_seconds(len(waiting))
        self._hub.services.live.goes_away(1.0 + spread)
        goodbye = Encoded(frames.goaway("restart", 1.0, spread))
        for connection in waiting:
            connection.outlet.answer(goodbye.frame(connection.outlet.codec))
        while waiting and not self.force_exit and (passed := loop.time() - begun) < self._drain_seconds:
            if passed >= min(LINGER_SECONDS, self._drain_seconds):
                for connection in waiting:
                    if connection.settled:
                        connection.close(close.RESTART.code, close.RESTART.reason)
                waiting = [connection for connection in waiting if connection.closing is None]
            await asyncio.sleep(0.01)
        if owed := sum(not connection.settled for connection in waiting):
            log.warning("%d sockets were still owed something after %s s", owed, self._drain_seconds)
        for connection in waiting:
            connection.close(close.RESTART.code, close.RESTART.reason)

    async def _farewell(self, end: float) -> None:
        """Let the clients answer the close, so that nobody's last frames are lost to a reset connection.

        A client that does not read would hold up the end: who could not even be sent the close is cut after a second.
        """
        loop = asyncio.get_running_loop()
        patience = loop.time() + 1.0
        while (sockets := self._sockets()) and not self.force_exit and loop.time() < end:
            if loop.time() >= patience:
                for protocol in sockets:
                    if not protocol.over:
                        protocol.transport.abort()
            await asyncio.sleep(0.01)
        for protocol in self._sockets():
            protocol.transport.abort()

    def _sockets(self) -> list[FastSocket]:
        connections: set[object] = {*self.server_state.connections}
        return [c for c in connections if isinstance(c, FastSocket)]


def spread_seconds(sockets: int) -> float:
    """Return over how many seconds so many clients are asked to come back, so that no hub is run over by them."""
    return min(MOST_SPREAD_SECONDS, max(SPREAD_SECONDS, sockets / BACK_PER_SECOND))


def make_server(
    app: ASGIApp, hub: Hub, *, drain_seconds: float, on_started: Callable[[], None], compress: bool = False
) -> HubServer:
    """Return the server of an application; with `compress` its sockets may be compressed (`hub.edge.compressed`)."""
    config = Config(
        app,
        loop="uvloop",
        http=DoorProtocol,
        ws=HubProtocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        ws_max_size=FRAME_BYTES,
        ws_per_message_deflate=compress,
        ws_ping_interval=None,  # `Hub.wheel` asks
        h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=10,
        proxy_headers=False,
        server_header=False,
        backlog=2048,
    )
    return HubServer(config, hub, drain_seconds, on_started)
