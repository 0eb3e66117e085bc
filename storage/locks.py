"""The promise of locks: at most one session at a time says that it edits a record. Advisory: no write looks at them.

    take, keep -> Lock          the lock is the session's for `LEASE_SECONDS` more
    release, end, forget        it is nobody's any more
    held                        what this instance knows of a lock, without waiting

A lock that is not kept lapses. `Book` has the rules, pure; `InProcessLocks` is a book with a clock, for a hub that is
alone; `storage/redis/locks.py` is the one between hubs, whose scripts have the same rules. Nothing here is durable.
Held to this by `tests/storage/contract_locks.py`.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, Protocol

from hub.wire.errors import HubError

LEASE_SECONDS: Final = 30.0
"""For how long a lock is held without being kept."""
PER_SESSION: Final = 100
PER_ACCOUNT: Final = 1000
IN_ALL: Final = 20_000
"""How many locks there are at most; beyond, who takes one is refused."""

LockKey = tuple[str, str, str]
"""(account, record type, public id)"""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, as others see it: `kind` is user or device, `rec` its public id."""

    kind: str
    rec: str
    name: str
    session: str

    def wire(self) -> dict[str, Any]:
        """Return it as the wire shows it."""
        return {"kind": self.kind, "rec": self.rec, "name": self.name, "session": self.session}


class Lock(NamedTuple):
    """A lock that is held. `number` is another for every holder of a record, and larger than the one before."""

    holder: Holder
    number: int


Why = Literal["taken", "stolen", "released", "lapsed", "deleted"]


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a lock: `holder` has it now, `was` had it before; None is nobody."""

    key: LockKey
    why: Why
    number: int
    holder: Holder | None = None
    was: Holder | None = None


OnChange = Callable[[Change], None]
"""Told what became of a lock anywhere; must not wait for anything."""


class Locks(Protocol):
    """Says who holds which lock."""

    def listen(self, on_change: OnChange) -> None:
        """Set who is told; before `start`."""

    async def start(self) -> None:
        """Begin, without waiting for anything; locks that cannot be asked for yet are refused."""

    async def close(self) -> None:
        """Tell nothing more."""

    async def take(self, key: LockKey, holder: Holder, *, steal: bool = False) -> Lock:
        """Hold a lock for a lease from now; with `steal` also one that another session has.

        Whoever holds it keeps it: the number stays the same. Raises `lock.held`, `rate.limited` beyond a bound,
        `server.unavailable`.
        """

    async def release(self, key: LockKey, session: str) -> None:
        """Let a lock go, which nobody may hold; raise `lock.held` where another has it, `server.unavailable`."""

    def end(self, account: str, session: str) -> None:
        """Let every lock of a session go, as soon as that can be done."""

    def forget(self, key: LockKey) -> None:
        """The record of a lock is deleted."""

    def held(self, key: LockKey) -> Lock | None:
        """Return who holds a lock, as far as this instance knows."""

    def look(self) -> None:
        """Look what has lapsed; called once a second."""


def refusal(reason: str) -> HubError:
    """Return what is raised beyond the bound of a `session`, an `account`, or of `all`."""
    if reason == "all":
        return HubError("server.unavailable", "The hub holds as many locks as it may.", retry_after=5)
    most, what = (PER_SESSION, "A session") if reason == "session" else (PER_ACCOUNT, "An account")
    return HubError("rate.limited", f"{what} holds at most {most} locks; release one first.", retry_after=1)


def held_by(holder: Holder) -> HubError:
    """Return what is raised where another session holds a lock."""
    text = f"{holder.name or 'Somebody else'} holds the lock; wait until it is free, or take it with `steal`."
    return HubError("lock.held", text, details={"holder": holder.wire()})


class Table:
    """Locks that are held, and the keys of each session's."""

    def __init__(self) -> None:
        self.locks: dict[LockKey, Lock] = {}
        self._sessions: dict[tuple[str, str], set[LockKey]] = {}

    def of(self, account: str, session: str) -> tuple[LockKey, ...]:
        """Return the keys of a session's locks."""
        return tuple(self._sessions.get((account, session), ()))

    def put(self, key: LockKey, lock: Lock) -> Holder | None:
        """Hold a lock; return who held it before."""
        was = self.remove(key)
        self.locks[key] = lock
        self._sessions.setdefault((key[0], lock.holder.session), set()).add(key)
        return was

    def remove(self, key: LockKey) -> Holder | None:
        """Hold a lock no more; return who held it."""
        lock = self.locks.pop(key, None)
        if lock is None:
            return None
        session = (key[0], lock.holder.session)
        mine = self._sessions[session]
        mine.discard(key)
        if not mine:
            del self._sessions[session]
        return lock.holder


class Book:
    """The rules: every lock of a hub, and until when. Time comes in, in seconds; what changed comes out."""

    def __init__(self, lease: float = LEASE_SECONDS) -> None:
        self.table = Table()
        self.number = 0
        """The largest that was given."""
        self._lease = lease
        self._until: OrderedDict[LockKey, float] = OrderedDict()
        """All leases are as long: who was kept last, lapses last."""
        self._counts: Counter[str] = Counter()

    def lapse(self, now: float) -> Iterator[Change]:
        """End what was not kept; comes before everything else."""
        while self._until:
            key, until = next(iter(self._until.items()))
            if until > now:
                return
            yield self._drop(key, "lapsed")

    def take(self, key: LockKey, holder: Holder, now: float, *, steal: bool = False) -> Change | None:
        """Hold a lock, or keep it; return what changed."""
        known = self.table.locks.get(key)
        if known is not None and known.holder.session == holder.session:
            self._renew(key, now)
            return None
        if known is not None and not steal:
            raise held_by(known.holder)
        if len(self.table.of(key[0], holder.session)) >= PER_SESSION:
            raise refusal("session")
        if known is None and self._counts[key[0]] >= PER_ACCOUNT:
            raise refusal("account")
        if known is None and len(self._until) >= IN_ALL:
            raise refusal("all")
        self.number = max(self.number + 1, int(now * 1_000_000))
        was = self.table.put(key, Lock(holder, self.number))
        self._counts[key[0]] += was is None
        self._renew(key, now)
        return Change(key, "taken" if was is None else "stolen", self.number, holder, was)

    def release(self, key: LockKey, session: str) -> Change | None:
        """Let a lock go; return what changed."""
        known = self.table.locks.get(key)
        if known is None:
            return None
        if known.holder.session != session:
            raise held_by(known.holder)
        return self._drop(key, "released")

    def end(self, account: str, session: str) -> list[Change]:
        """Let every lock of a session go."""
        return [self._drop(key, "released") for key in self.table.of(account, session)]

    def forget(self, key: LockKey) -> Change | None:
        """The record is deleted."""
        return self._drop(key, "deleted") if key in self.table.locks else None

    def _renew(self, key: LockKey, now: float) -> None:
        self._until[key] = now + self._lease
        self._until.move_to_end(key)

    def _drop(self, key: LockKey, why: Why) -> Change:
        number = self.table.locks[key].number
        del self._until[key]
        self._counts[key[0]] -= 1
        if not self._counts[key[0]]:
            del self._counts[key[0]]
        return Change(key, why, number, None, self.table.remove(key))


class InProcessLocks:
    """The locks of one process, in memory."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Keep time by `clock`, in seconds since 1970."""
        self._clock = clock
        self._book = Book()
        self._on_change: OnChange = lambda change: None

    def listen(self, on_change: OnChange) -> None:
        """Set who is told."""
        self._on_change = on_change

    async def start(self) -> None:
        """Nothing to begin."""

    async def close(self) -> None:
        """Tell nothing more."""
        self._on_change = lambda change: None

    async def take(self, key: LockKey, holder: Holder, *, steal: bool = False) -> Lock:
        """Hold a lock."""
        self.look()
        self._tell(self._book.take(key, holder, self._clock(), steal=steal))
        return self._book.table.locks[key]

    async def release(self, key: LockKey, session: str) -> None:
        """Let a lock go."""
        self.look()
        self._tell(self._book.release(key, session))

    def end(self, account: str, session: str) -> None:
        """Let every lock of a session go."""
        for change in self._book.end(account, session):
            self._tell(change)

    def forget(self, key: LockKey) -> None:
        """The record of a lock is deleted."""
        self._tell(self._book.forget(key))

    def held(self, key: LockKey) -> Lock | None:
        """Return who holds a lock."""
        self.look()
        return self._book.table.locks.get(key)

    def look(self) -> None:
        """Look what has lapsed."""
        for change in self._book.lapse(self._clock()):
            self._tell(change)

    def _tell(self, change: Change | None) -> None:
        if change is not None:
            self._on_change(change)


HOLE: Final = "hole"


class Copy:
    """What one instance knows of locks that live elsewhere: all of them as they were read, and what was told since."""

    def __init__(self) -> None:
        self.table = Table()
        self.run = ""
        """Which life of the locks this is of."""
        self.count = 0
        """The number of the last change of that life."""

    def open(self, run: str, count: int, locks: dict[LockKey, Lock]) -> list[Change]:
        """Take over all locks as they were read; return what is another than what was known."""
        self.run, self.count = run, count
        changes = [self._gone(key, "lapsed") for key in list(self.table.locks) if key not in locks]
        for key, lock in locks.items():
            known = self.table.locks.get(key)
            if known != lock:
                was = self.table.put(key, lock)
                stolen = was is not None and was.session != lock.holder.session
                changes.append(Change(key, "stolen" if stolen else "taken", lock.number, lock.holder, was))
        return changes

    def hear(self, run: str, count: int, key: LockKey, why: Why, lock: Lock | None) -> Change | Literal["hole"] | None:
        """Take over one change, once; `HOLE` where one before it was missed: then all are to be read."""
        if run == self.run and count <= self.count:
            return None
        if run != self.run or count != self.count + 1:
            return HOLE
        self.count = count
        if lock is not None:
            return Change(key, why, lock.number, lock.holder, self.table.put(key, lock))
        return self._gone(key, why) if key in self.table.locks else None

    def _gone(self, key: LockKey, why: Why) -> Change:
        number = self.table.locks[key].number
        return Change(key, why, number, None, self.table.remove(key))
