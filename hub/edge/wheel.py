"""One timer for the heartbeats of all sockets.

A socket that was silent for a whole interval is sent a ping, and one that stays silent is cut, at most one and a half
intervals after its last word. Who talks once in an interval, as a client with its heartbeats does, is never asked. A
socket is looked at when it would be due had it been silent since the last look, so about once in an interval: ten
thousand idle sockets are not in any cache, and looking costs more than what is done about it.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

TICKS: Final = 64
"""How many ticks an interval has."""
PING_TICKS: Final = TICKS + 1
"""After how many ticks of silence a socket is sent a ping: a little more than the interval in which clients talk."""
SPREAD: Final = 8
"""Over how many ticks more those are asked that fell silent together."""
CUT_TICKS: Final = PING_TICKS + 20
"""After how many ticks of silence it is cut, some 0.3 intervals after the ping; later by its share of the spread."""
RING: Final = 128
"""More than any socket waits for its next look."""
WINDOW_TICKS: Final = TICKS // 2
"""Over how many ticks it is counted what a socket may do so often in ten seconds."""
LATE_SECONDS: Final = 1.0
"""A loop that is later than this with a tick does not catch up on what it missed."""
GONE: Final = -1


class Heart(Protocol):
    """What is looked at. `slot` is the wheel's own."""

    slot: int

    def beat(self) -> int:
        """Look whether the peer was heard of; return after how many ticks to look again, at least 1."""


class Wheel:
    """Sockets by the tick at which they are looked at; `seconds` is the interval."""

    def __init__(self, seconds: float) -> None:
        self.tens = seconds / 20
        """How many times ten seconds pass in a window of counting."""
        self.now = 0
        """The number of ticks so far; it stands still while there is nobody, and while the loop does."""
        self.window = 0
        """The number of the window of counting."""
        self._step = seconds / TICKS
        self._due = 0.0
        """When the next tick is; ticks that are a little late do not make the next ones later."""
        self._slots: list[set[Heart]] = [set() for _ in range(RING)]
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return self._count

    def add(self, heart: Heart) -> None:
        """Look at a socket from now on, first when it has been silent for an interval."""
        self._count += 1
        self._put(heart, PING_TICKS)
        if self._timer is None:
            self._due = asyncio.get_running_loop().time()
            self._schedule()

    def discard(self, heart: Heart) -> None:
        """Look at a socket no longer."""
        if heart.slot != GONE:
            self._slots[heart.slot].discard(heart)
            heart.slot = GONE
            self._count -= 1

    def _put(self, heart: Heart, ticks: int) -> None:
        heart.slot = slot = (self.now + ticks) % RING
        self._slots[slot].add(heart)

    def _tick(self) -> None:
        self.now += 1
        self.window = self.now // WINDOW_TICKS
        slot = self.now % RING
        hearts, self._slots[slot] = self._slots[slot], set()
        for heart in hearts:
            ticks = heart.beat()
            if heart.slot != GONE:
                self._put(heart, ticks)
        self._timer = None
        if self._count:  # else nobody is there: an idle hub stays idle
            self._schedule()

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = max(self._due + self._step, loop.time() - LATE_SECONDS)
        self._timer = loop.call_at(self._due, self._tick)
