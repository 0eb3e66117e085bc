"""How long to wait before the next try: full jitter, so that a crowd that was cut at once comes back spread out.

Pure: the clock and the dice are passed in.
"""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """The waits between tries.

    `first_seconds` bounds the first wait, doubled per failure up to `most_seconds`. A connection counts as good
    only after `stable_seconds`, so that a hub which accepts and cuts at once is not hammered.
    """

    def __init__(
        self,
        first_seconds: float = 0.25,
        most_seconds: float = 30.0,
        stable_seconds: float = 10.0,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.first_seconds = first_seconds
        self.most_seconds = most_seconds
        self.stable_seconds = stable_seconds
        self.dice = dice
        """Returns a number in [0, 1)."""
        self.failures = 0
        """Tries since the last stable connection."""
        self.online_since: float | None = None
        """When the present connection came up, on the caller's clock."""

    @property
    def bound_seconds(self) -> float:
        """The longest that the next wait can be."""
        return min(self.most_seconds, self.first_seconds * 2.0 ** min(self.failures, 32))

    def online(self, now: float) -> None:
        """Note that the connection works."""
        self.online_since = now

    def lost(self, now: float) -> float:
        """Note that the connection is gone, or never came; return the seconds to wait before the next try."""
        if self.online_since is not None and now - self.online_since >= self.stable_seconds:
            self.failures = 0
        self.online_since = None
        bound = self.bound_seconds
        self.failures += 1
        return bound * self.dice()
