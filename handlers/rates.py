"""What requests cost, and budgets of it: per socket, user, key, account and address, of all hubs together.

    class of cost   what                                                  unit
    cheap           every request over a socket or HTTP                   one request
    search          record.search, record.aggregate                       one request
    write           creations, changes, deletions, batches, bulk          one record
    upload          PUT /files                                            one MiB begun
    generate        actions that are declared with cost="generate"        one call
    sign-in         exchanging a link or a password, guests' actions      one try

A budget is a rate. Without Redis it is a bucket. With it, this hub takes portions of what all hubs have together
(`storage.rates`) and spends them without asking; until a portion comes, and while Redis is away, a bucket of a quarter
of the budget decides. So no request waits for Redis, and a hub takes a quarter and a portion too much at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, get_args

from hub.wire.errors import HubError
from storage.rates import LONGEST_SECONDS, MOST, Away, Rate, Shared

if TYPE_CHECKING:
    from handlers.base import Peer

Cost = Literal["cheap", "search", "write", "upload", "generate", "sign-in"]
Scope = Literal["socket", "user", "key", "account", "address"]
COSTS: Final[tuple[Cost, ...]] = get_args(Cost)
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
NONE: Final = Rate(0, 1)

RATES: Final[dict[tuple[Cost, Scope], Rate]] = {
    ("search", "socket"): Rate(1000, 10),
    ("search", "user"): Rate(2000, 10),
    ("search", "key"): Rate(5000, 10),
    ("search", "account"): Rate(20_000, 10),
    ("upload", "user"): Rate(20_480, 60),
    ("upload", "key"): Rate(20_480, 60),
    ("upload", "account"): Rate(102_400, 60),
    ("generate", "user"): Rate(60, 60),
    ("generate", "key"): Rate(300, 60),
    ("generate", "account"): Rate(600, 60),
    ("sign-in", "address"): Rate(1000, 60),
}
"""The budgets where the setting `rates` says nothing; what is not here is not limited."""

METERS: Final = 20_000
"""How many budgets are kept; more, and those are forgotten that are full, or else the oldest."""
QUESTIONS: Final = 64
"""How many questions to Redis are under way at a time; beyond, buckets decide."""
PORTION: Final = 16
"""A portion is this part of a budget."""
AT_ONCE: Final = 4
"""This part of a budget may be spent before the first portion comes."""
SOON_SECONDS: Final = 0.05
"""After how long to come back where a portion is on its way."""


class Meter:
    """One budget as this hub knows it."""

    __slots__ = ("_at", "_bucket", "_given_at", "_left", "_most", "asking", "key", "rate", "shared", "until")

    def __init__(self, key: str, rate: Rate, now: float, *, shared: bool) -> None:
        self.key = key
        self.rate = rate
        self.shared = shared
        """Whether it is one budget of all hubs."""
        self._most = float(max(1, rate.count // AT_ONCE) if shared else rate.count)
        self._bucket = self._most
        """What there is without asking, as of `_at`; filled at the rate."""
        self._at = now
        self._left = 0.0
        """What is left of the last portion; below nothing: spent before it came."""
        self._given_at = now
        self.asking = False
        self.until = 0.0
        """Until when Redis has said that there is nothing."""

    @property
    def portion(self) -> int:
        """How much is asked for at a time."""
        return max(1, self.rate.count // PORTION)

    def _fill(self, now: float) -> None:
        self._bucket = min(self._most, self._bucket + (now - self._at) * self.rate.count / self.rate.seconds)
        self._at = now
        if self._left > 0 and now - self._given_at >= self.rate.seconds:
            self._left = 0.0  # it was of a window that is over

    def lacks(self, cost: int, now: float) -> float:
        """Return in how many seconds so much can be spent, 0 where it can now."""
        self._fill(now)
        if self._left >= cost:
            return 0.0
        if now < self.until:
            return self.until - now
        lacking = min(cost, self._most) - self._bucket
        if lacking <= 0:
            return 0.0
        return SOON_SECONDS if self.asking else lacking * self.rate.seconds / self.rate.count

    def take(self, cost: int) -> bool:
        """Spend; return whether another portion is to be asked for."""
        if not self.shared:
            self._bucket -= min(cost, self._most)
            return False
        if self._left < cost:
            self._bucket -= min(cost, self._most)
        self._left -= cost
        return not self.asking and self._left < self.portion / 2 and self._at >= self.until

    @property
    def owed(self) -> int:
        """How much to ask for now: a portion, and what was spent ahead."""
        return self.portion + int(max(0.0, -self._left))

    def given(self, granted: int, wait: float, now: float) -> None:
        """Take in an answer; what was spent ahead and is not granted is what this hub took too much."""
        self._left = max(0.0, self._left + granted)
        self._given_at = now
        self.until = 0.0 if granted else now + wait

    def alone(self) -> None:
        """Go on without an answer: the bucket decides."""
        self._left = max(0.0, self._left)
        self.until = 0.0

    def rested(self, now: float) -> bool:
        """Whether it is as a new one is."""
        self._fill(now)
        return self._bucket >= self._most and self._left <= 0 and now >= self.until


def _monotonic() -> float:
    return asyncio.get_running_loop().time()


@dataclass(slots=True)
class Rates:
    """The budgets of one hub."""

    table: dict[tuple[Cost, Scope], Rate] = field(default_factory=lambda: dict(RATES))
    shared: Shared | None = None
    clock: Callable[[], float] = _monotonic
    _meters: dict[tuple[str, str, str], Meter] = field(default_factory=dict)
    _questions: set[asyncio.Task[None]] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self._meters)

    def limits(self, cost: Cost) -> bool:
        """Say whether there is any budget of a class."""
        return any(self.table.get((cost, scope), NONE).count for scope in SCOPES)

    def charge(self, peer: Peer, cost: Cost, units: int = 1) -> None:
        """Take the price of a request out of every budget that it is of; raise `rate.limited`, and take none."""
        wait = self.wait(peer, cost, units)
        if wait > 0:
            text = f"Too much at once (cost class {cost}); wait for `retry_after` seconds."
            raise HubError("rate.limited", text, retry_after=round(max(wait, 0.001), 3))

    def wait(self, peer: Peer, cost: Cost, units: int = 1) -> float:
        """Take it, or return in how many seconds it can be taken."""
        if peer.operator or not units:
            return 0.0
        now = self.clock()
        meters = self._of(peer, cost, now)
        longest = max([meter.lacks(units, now) for meter in meters], default=0.0)
        if longest <= 0:
            for meter in meters:
                if meter.take(units):
                    self._ask(meter)
        return longest

    def owe(self, peer: Peer, cost: Cost, units: int) -> float:
        """Take the price of what has come already, whether it is there or not; return for how long to take no more."""
        if peer.operator:
            return 0.0
        now = self.clock()
        meters = self._of(peer, cost, now)
        for meter in meters:
            if meter.take(units):
                self._ask(meter)
        return max([meter.lacks(0, now) for meter in meters], default=0.0)

    def _of(self, peer: Peer, cost: Cost, now: float) -> tuple[Meter, ...]:
        """Return the meters of a peer, which are looked up again when it is somebody else, or elsewhere."""
        who = (peer.identity, peer.account)
        if peer.meters is None or peer.meters[0] != who:
            peer.meters = (who, {})
        known = peer.meters[1]
        if cost not in known:
            own = self.table.get((cost, "socket"), NONE)
            found = [self._meter(cost, scope, name, now) for scope, name in _names(peer)]
            if own.count and peer.outlet is not None:
                found.append(Meter("", own, now, shared=False))
            known[cost] = tuple(meter for meter in found if meter is not None)
        meters: tuple[Meter, ...] = known[cost]
        return meters

    def _meter(self, cost: Cost, scope: Scope, name: str | None, now: float) -> Meter | None:
        rate = self.table.get((cost, scope), NONE)
        if not rate.count or not name:
            return None
        place = (cost, scope, name)
        meter = self._meters.get(place)
        if meter is None:
            if len(self._meters) >= METERS:
                self._forget(now)
            key = ":".join(place)
            meter = self._meters[place] = Meter(key, rate, now, shared=self.shared is not None)
        return meter

    def _forget(self, now: float) -> None:
        self._meters = {place: meter for place, meter in self._meters.items() if not meter.rested(now)}
        if len(self._meters) > METERS - METERS // 10:
            for place in list(self._meters)[: METERS // 10]:
                del self._meters[place]

    def _ask(self, meter: Meter) -> None:
        if len(self._questions) >= QUESTIONS:
            return
        meter.asking = True
        task = asyncio.get_running_loop().create_task(self._answered(meter))
        self._questions.add(task)
        task.add_done_callback(self._questions.discard)

    async def _answered(self, meter: Meter) -> None:
        shared = self.shared
        try:
            if shared is not None:
                portion = await shared.portion(meter.key, meter.rate, meter.owed)
                meter.given(portion.granted, portion.wait, self.clock())
        except Away:
            meter.alone()
        finally:
            meter.asking = False

    async def close(self) -> None:
        """Stop asking."""
        for task in list(self._questions):
            task.cancel()
        if self._questions:
            await asyncio.wait(self._questions)
        if self.shared is not None:
            await self.shared.close()


def _names(peer: Peer) -> Iterable[tuple[Scope, str | None]]:
    """Yield the scopes that a peer is in, but for its socket, and who it is there."""
    identity = peer.identity
    yield "user", identity.user
    yield "key", identity.credential if identity.source == "key" else None
    yield "account", peer.account
    yield "address", peer.address


def table_of(given: Iterable[str]) -> dict[tuple[Cost, Scope], Rate]:
    """Return the budgets where these lines of the setting `rates` change the usual ones; raise `ValueError`."""
    table = dict(RATES)
    for line in given:
        name, _, rate = line.partition("=")
        cost, _, scope = name.partition(".")
        count, _, seconds = rate.partition("/")
        found = [(c, s) for c in COSTS for s in SCOPES if (c, s) == (cost, scope)]
        if not found:
            raise ValueError(f"{name}: the classes are {', '.join(COSTS)}, and their budgets {', '.join(SCOPES)}")
        if not (0 <= int(count) <= MOST and 1 <= int(seconds) <= LONGEST_SECONDS):
            raise ValueError(f"{name}: at most {MOST} in 1 to {LONGEST_SECONDS} seconds")
        table[found[0]] = Rate(int(count), int(seconds))
    return table
