"""How long somebody waits before the next try: the promise, its rule, and its keeper in process.

Every try counts as failed as soon as it begins, so that a thousand at once are no more than one after the other;
whoever passed is forgiven. Behind a few free ones each failure doubles the wait, up to a bound. Pure but for the
clock, which is passed in as monotonic seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

FORGET_SECONDS: Final = 3600
"""After how long without a failure all of them are forgotten."""
TRIED: Final = 20_000
"""How many are remembered in process; more, and a tenth is forgotten, those first that have failed least."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How long failures make wait: `free` of them nothing, the next `first` seconds, then twice as long each time."""

    free: int
    first: float
    most: float

    def seconds(self, failures: int) -> float:
        """Return for how long the next try has to wait behind so many failures."""
        beyond = failures - self.free
        return 0.0 if beyond <= 0 else min(self.most, self.first * 2 ** min(beyond - 1, 30))


PAIR: Final = Rule(free=5, first=1.0, most=900.0)
"""One name from one address."""
NAME: Final = Rule(free=10, first=1.0, most=60.0)
"""One name from everywhere: bounded low, or anybody could lock anybody out."""
PLACE: Final = Rule(free=50, first=1.0, most=300.0)
"""One address with whatever names: bounded high, since a whole conference may be behind it."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What is counted: a key that tells no name, with its rule; `forgiven` whether a success empties it."""

    key: str
    rule: Rule
    forgiven: bool


def tried(name: str, place: str | None) -> tuple[Tried, ...]:
    """Return what a try of a name (empty: none is known) from a place counts for."""
    counted = []
    if name:
        counted.append(Tried(_key("name", name), NAME, True))
        if place:
            counted.append(Tried(_key("pair", place, name), PAIR, True))
    if place:
        counted.append(Tried(_key("place", place), PLACE, False))
    return tuple(counted)


def _key(*parts: str) -> str:
    text = "\n".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


class BackOff(Protocol):
    """Who counts failures. Whatever it counts with may be away: then it counts by itself, and never raises."""

    async def begin(self, what: Sequence[Tried]) -> float:
        """Count a try as failed and return 0; or count nothing, and return in how many seconds one may be made."""

    async def passed(self, what: Sequence[Tried]) -> None:
        """Take back what `begin` counted; of what is forgiven, everything."""

    async def close(self) -> None:
        """Disconnect from what it counts with."""


class InProcessBackOff:
    """Counts for one hub."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[str, tuple[int, float, float]] = {}
        """By key: the failures, until when to wait, and when all is forgotten."""

    def __len__(self) -> int:
        return len(self._known)

    async def begin(self, what: Sequence[Tried]) -> float:
        """Count a try as failed, unless it has to wait."""
        now = self._clock()
        waits = [self._at(one.key, now)[1] - now for one in what]
        if (longest := max(waits, default=0.0)) > 0:
            return longest
        for one in what:
            failures = self._at(one.key, now)[0] + 1
            if one.key not in self._known and len(self._known) >= TRIED:
                self._forget(now)
            self._known[one.key] = (failures, now + one.rule.seconds(failures), now + FORGET_SECONDS)
        return 0.0

    async def passed(self, what: Sequence[Tried]) -> None:
        """Take back what `begin` counted."""
        now = self._clock()
        for one in what:
            failures, _, forgotten = self._at(one.key, now)
            if one.forgiven or failures <= 1:
                self._known.pop(one.key, None)
            else:
                self._known[one.key] = (failures - 1, now + one.rule.seconds(failures - 1), forgotten)

    async def close(self) -> None:
        """There is nothing to disconnect from."""

    def _at(self, key: str, now: float) -> tuple[int, float, float]:
        found = self._known.get(key)
        return found if found is not None and found[2] > now else (0, now, now)

    def _forget(self, now: float) -> None:
        self._known = {key: kept for key, kept in self._known.items() if kept[2] > now}
        if len(self._known) > TRIED - TRIED // 10:
            least = sorted(self._known, key=lambda key: self._known[key][0])
            for key in least[: TRIED // 10]:
                del self._known[key]


__all__ = ["FORGET_SECONDS", "NAME", "PAIR", "PLACE", "TRIED", "BackOff", "InProcessBackOff", "Rule", "Tried", "tried"]
