"""The seam between a connection and what carries its socket."""

from __future__ import annotations

from typing import Protocol


class Edge(Protocol):
    """A socket, as its connection sees it. What it raises is an OSError where the socket is gone."""

    def write(self, frames: list[bytes]) -> bool:
        """Write messages if that is possible at once; say whether it was."""

    async def send(self, frames: list[bytes]) -> None:
        """Write messages; wait while the socket is full."""

    async def shut(self, code: int, reason: str) -> None:
        """Close the socket with a code."""

    def resume(self) -> None:
        """Feed further messages: there is room again, after `feed` said that there was none."""
