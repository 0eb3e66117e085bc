"""ASGI servers that are not ours, each with the face of uvicorn's server: `serve`, `started`, `should_exit`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final, Protocol

import hypercorn
import uvicorn
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server as GranianServer
from hypercorn.asyncio import serve as serve_by_hypercorn
from starlette.types import ASGIApp


class Carrier(Protocol):
    """What serves an application over a socket that listens, until it is told to stop."""

    started: bool
    should_exit: bool

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `should_exit`."""


class Hypercorn:
    """Hypercorn on asyncio."""

    def __init__(self, app: ASGIApp) -> None:
        self._app: Any = app
        self.started = False
        self.should_exit = False

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `should_exit`."""
        assert sockets is not None
        config = hypercorn.Config()
        config.bind = [f"fd://{sockets[0].detach()}"]
        config.accesslog = config.errorlog = None
        config.graceful_timeout = 1.0
        self.started = True  # the socket listens
        await serve_by_hypercorn(self._app, config, shutdown_trigger=self._told, mode="asgi")

    async def _told(self) -> None:
        while not self.should_exit:
            await asyncio.sleep(0.01)


class Granian:
    """Granian, whose sockets are handled by threads of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.started = False
        self.should_exit = False

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `should_exit`."""
        assert sockets is not None
        host, port = sockets[0].getsockname()[:2]
        sockets[0].close()  # it binds for itself
        server = GranianServer(
            self._app, address=host, port=port, interface=Interfaces.ASGINL, http=HTTPModes.http1, log_enabled=False
        )
        serving = asyncio.create_task(server.serve())
        while not (self.started or serving.done()):
            await asyncio.sleep(0.01)
            with socket.socket() as probe:
                probe.setblocking(True)
                self.started = probe.connect_ex((host, port)) == 0
        while not (self.should_exit or serving.done()):
            await asyncio.sleep(0.01)
        server.stop()  # type: ignore[no-untyped-call]  # as granian declares it
        await serving


def _uvicorn(app: ASGIApp) -> uvicorn.Server:
    return uvicorn.Server(uvicorn.Config(app, ws="websockets-sansio", lifespan="off", log_config=None))


CARRIERS: Final[dict[str, Callable[[ASGIApp], Carrier]]] = {
    "uvicorn": _uvicorn,
    "hypercorn": Hypercorn,
    "granian": Granian,
}
