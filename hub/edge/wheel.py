"""One timer for the heartbeats of all sockets.

A socket that said something in the last half of the interval is alive; one that was silent is sent a ping, and
one that stays silent is cut. So a dead peer is gone after one and a half intervals, and a busy one is never asked.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

SLOTS: Final = 64
"""Into how many turns the sockets are spread."""


class Heart(Protocol):
    """What is asked at every round whether it lives."""

    def beat(self) -> None:
        """Look whether the peer was heard of since the last time."""


class Wheel:
    """Sockets by the turn in which they are looked at; each is looked at twice in `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.tens = seconds / 20
        """How many times ten seconds pass between two looks at a socket."""
        self._step = seconds / 2 / SLOTS
        self._slots: list[set[Heart]] = [set() for _ in range(SLOTS)]
        self._at = 0
        self._next = 0
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return self._count

    def add(self, heart: Heart) -> int:
        """Look at a socket from now on; return its slot, for `discard`."""
        # Where those that came together would all be asked at once, they are spread.
        self._next = (self._next + 1) % SLOTS
        self._slots[self._next].add(heart)
        self._count += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._step, self._turn)
        return self._next

    def discard(self, heart: Heart, slot: int) -> None:
        """Look at a socket no longer."""
        if heart in self._slots[slot]:
            self._slots[slot].discard(heart)
            self._count -= 1

    def _turn(self) -> None:
        self._at = (self._at + 1) % SLOTS
        for heart in tuple(self._slots[self._at]):
            heart.beat()
        # Nobody is there: an idle hub stays idle.
        self._timer = asyncio.get_running_loop().call_later(self._step, self._turn) if self._count else None
