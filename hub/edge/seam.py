"""The seam between a connection and what carries its socket."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from channels.outlet import Writer


class Edge(Protocol):
    """A socket, as its connection sees it. What it raises is an OSError where the socket is gone."""

    @property
    def direct(self) -> Writer | None:
        """What takes bytes of the socket at once; None while the peer does not read, or where nothing does."""

    @property
    def framed(self) -> Callable[[Sequence[bytes]], bytes] | None:
        """How such bytes are made of messages; None where `direct` is always None."""

    def write(self, frames: list[bytes]) -> bool:
        """Write messages if that is possible at once; say whether it was."""

    async def send(self, frames: list[bytes]) -> None:
        """Write messages; wait while the socket is full."""

    async def shut(self, code: int, reason: str) -> None:
        """Close the socket with a code."""

    def resume(self) -> None:
        """Feed further messages: there is room again, after `feed` said that there was none."""
