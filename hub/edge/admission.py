"""Who may open a socket now: a bucket of admissions, and a time for everybody it has none left for.

When a hub comes back, all its clients do. Each costs a handshake and a hello; done all at once, those who are here
already would wait. So only so many come in, and each of the others is told its own time, one behind the other.
Pure: the clock is passed in.
"""

from __future__ import annotations

from typing import Final

MOST_SECONDS: Final = 30.0
"""The latest time that anybody is told; who comes behind so many others is told this one as well."""


class Admission:
    """Admits `burst` at once and `per_second` on average; 0 per second: everybody."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = float(burst)
        """How many may come in now, as of `_at`."""
        self._at = 0.0
        """When `_left` was worked out last."""
        self._told = 0.0
        """The time that was told last; the next one is told a later one."""

    def admit(self, now: float) -> float | None:
        """Admit one client: return None, or else in how many seconds it should come back."""
        if not self._per_second:
            return None
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return None
        self._told = min(max(self._told, now) + 1 / self._per_second, now + MOST_SECONDS)
        return self._told - now
