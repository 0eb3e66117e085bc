"""The edge of a simulated socket: two functions in place of a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from hub.edge.connection import Connection
from hub.wire.codec import Frame


class SimulatedEdge:
    """Hands frames to `down`, and a close to `shut`."""

    def __init__(
        self,
        down: Callable[[list[bytes]], Coroutine[Any, Any, None]],
        shut: Callable[[int, str], Coroutine[Any, Any, None]],
    ) -> None:
        self.send = down
        self.shut = shut
        self._resumed = asyncio.Event()

    def write(self, frames: list[bytes]) -> bool:
        """Write nothing at once: a simulated socket may have to be waited for."""
        return False

    def resume(self) -> None:
        """Let what waits in `received` go on."""
        self._resumed.set()

    async def received(self, connection: Connection, frame: Frame) -> None:
        """Feed one frame; wait while there is no room for the next."""
        if connection.feed([frame]):
            await self._resumed.wait()
            self._resumed.clear()
