"""The promise of the bus between instances: a hint that something was committed, never the truth.

A bus may lose, double, delay and reorder what it carries; `channels.dispatch` heals that from the log.
The in-process bus has nobody to tell. The Redis keeper comes beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from hub.schema.writes import ChangeSet

OnCommits = Callable[[list[ChangeSet]], None]
OnHeads = Callable[[Mapping[str, int]], None]


class Bus(Protocol):
    """Carries commits, and beats with the heads of logs, to the other instances."""

    def listen(self, on_commits: OnCommits, on_heads: OnHeads) -> None:
        """Set who is told of what others published; before `start`."""

    async def start(self) -> None:
        """Connect; a bus that cannot connect says so in `healthy` and goes on trying."""

    async def close(self) -> None:
        """Disconnect."""

    @property
    def healthy(self) -> bool:
        """Whether others hear of commits without waiting for a poll."""

    def publish(self, commits: list[ChangeSet]) -> None:
        """Tell the other instances of commits; returns at once."""

    def beat(self, heads: Mapping[str, int]) -> None:
        """Tell the other instances where logs stand; returns at once."""


class InProcessBus:
    """The bus of a hub that is alone: there is nobody to tell, so it is always healthy."""

    healthy = True

    def listen(self, on_commits: OnCommits, on_heads: OnHeads) -> None:
        """Nobody will ever be told."""

    async def start(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to disconnect from."""

    def publish(self, commits: list[ChangeSet]) -> None:
        """Nobody to tell."""

    def beat(self, heads: Mapping[str, int]) -> None:
        """Nobody to tell."""
