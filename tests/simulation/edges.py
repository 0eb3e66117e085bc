"""The edge of a simulated socket: a few functions in place of a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from channels.outlet import Writer
from hub.edge.connection import Connection
from hub.wire.codec import Frame


def framed(frames: Sequence[bytes]) -> bytes:
    """Return bytes of which more can follow, as those of a socket can."""
    return b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)


def unframed(data: bytes) -> list[bytes]:
    """Return the frames again."""
    found, at = [], 0
    while at < len(data):
        stop = at + 4 + int.from_bytes(data[at : at + 4], "big")
        found.append(data[at + 4 : stop])
        at = stop
    return found


class SimulatedEdge:
    """Hands frames to `down`, and a close to `shut`.

    With `at_once` it takes what many sockets are sent without waiting, for as long as that returns that there is room.
    """

    def __init__(
        self,
        down: Callable[[list[bytes]], Coroutine[Any, Any, None]],
        shut: Callable[[int, str], Coroutine[Any, Any, None]],
        at_once: Callable[[list[bytes]], bool] | None = None,
    ) -> None:
        self.send = down
        self.shut = shut
        self._at_once = at_once
        self.framed: Callable[[Sequence[bytes]], bytes] | None = None if at_once is None else framed
        self.connection: Connection | None = None
        """Whose `direct` ends where there is no room."""
        self._resumed = asyncio.Event()

    @property
    def direct(self) -> Writer | None:
        """Return what takes bytes at once, where there is room."""
        return _AtOnce(self) if self._at_once is not None and self._at_once([]) else None

    def take(self, frames: list[bytes]) -> None:
        """Take frames at once."""
        if self._at_once is not None and not self._at_once(frames) and self.connection is not None:
            self.connection.outlet.direct = None

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


class _AtOnce:
    """A writer that knows the frames again."""

    def __init__(self, edge: SimulatedEdge) -> None:
        self._edge = edge

    def write(self, data: bytes) -> None:
        """Take what `framed` made."""
        self._edge.take(unframed(data))
