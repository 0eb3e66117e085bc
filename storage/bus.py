"""The promise of the bus between instances: a hint that something was committed, never the truth.

A bus may lose, double, delay and reorder what it carries; `channels.dispatch` heals that from the log. What it
must not do is to lose in silence for long: where it may have lost something, it says so (`OnGap`), and while it
cannot know, it is not `healthy`, so that the logs are asked often.

The keepers here have nobody to tell; `storage/redis` is the one between instances. Held to this by
`tests/storage/contract_bus.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from hub.schema.writes import ChangeSet

OnCommits = Callable[[list[ChangeSet]], None]
"""Told of commits of other instances; must not wait for anything."""
OnHeads = Callable[[Mapping[str, int]], None]
"""Told up to which `seq` others know the logs of some accounts."""
OnGap = Callable[[], None]
"""Told that news of others may have been lost: the logs themselves have to be asked."""


class Bus(Protocol):
    """Carries commits, and beats with the heads of logs, to the other instances."""

    def listen(self, on_commits: OnCommits, on_heads: OnHeads, on_gap: OnGap) -> None:
        """Set who is told of what others published, and of gaps in it; before `start`."""

    async def start(self) -> None:
        """Begin to connect, without waiting for it; a bus that cannot says so in `healthy` and goes on trying."""

    async def close(self) -> None:
        """Tell what waits, where that can be done at once, and disconnect; afterwards nothing is told any more."""

    @property
    def healthy(self) -> bool:
        """Whether every instance hears of the others' commits without asking the logs."""

    async def probe(self) -> None:
        """Raise `BusAway` with a sentence where this instance is not connected to the others."""

    def publish(self, commits: list[ChangeSet]) -> None:
        """Tell the other instances of commits; returns at once, at any time, whatever the bus is like."""

    def beat(self, heads: Mapping[str, int]) -> None:
        """Say where logs stand, to be told to the others with the next beat; returns at once."""


class BusAway(Exception):
    """This instance is not connected to the others; the text says since when and what that means."""


class InProcessBus:
    """The bus of a hub that is alone: there is nobody to tell, so it is always healthy."""

    healthy = True

    def listen(self, on_commits: OnCommits, on_heads: OnHeads, on_gap: OnGap) -> None:
        """Nobody will ever be told."""

    async def start(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to disconnect from."""

    async def probe(self) -> None:
        """Nothing that could be away."""

    def publish(self, commits: list[ChangeSet]) -> None:
        """Nobody to tell."""

    def beat(self, heads: Mapping[str, int]) -> None:
        """Nobody to tell."""


class NoBus(InProcessBus):
    """The bus of a hub that may share its database with others and cannot tell them: the logs are asked often."""

    healthy = False
