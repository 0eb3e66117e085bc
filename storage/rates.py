"""How often something may be done: rates, and the promise of what counts for all hubs together.

What counts is asked for portions, not for single requests: `handlers.rates` spends them. Knows nobody's name but as a
key that it is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

MOST: Final = 10**9
"""The largest count of a rate."""
LONGEST_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so many seconds, at any time; a count of 0 limits nothing."""

    count: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.count}/{self.seconds}"


@dataclass(frozen=True, slots=True)
class Portion:
    """What was granted of a budget: `granted`, or where that is nothing, in how many seconds there is some."""

    granted: int
    wait: float = 0.0


class Away(Exception):
    """What counts for all hubs cannot be asked at the moment."""


class Shared(Protocol):
    """Counts for all hubs together."""

    async def portion(self, key: str, rate: Rate, amount: int) -> Portion:
        """Take up to `amount` (≥ 1) of what the budget under a key still has; raise `Away`."""

    async def close(self) -> None:
        """Disconnect."""
