"""What lies between the parts, and everything that can go wrong there, drawn from one seed.

`Faults` says how bad it is; `heal` makes it good. The bus loses, doubles, delays and reorders; a link is
one socket, in order until it is cut; storage answers late or not at all, and tells of commits late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from hub.schema.query import Query
from hub.schema.registry import Registry
from hub.schema.writes import ChangeSet, Commit, Committed
from hub.wire.codec import Frame
from hub.wire.errors import HubError
from storage.base import Found, Head
from storage.bus import OnCommits, OnGap, OnHeads
from storage.decide import Decider
from storage.memory import MemoryDatabase, MemoryStorage
from tests.simulation.clock import wire_clock

TICK = 1e-6
"""What keeps two things in order that would happen at the same virtual moment."""


@dataclass
class Faults:
    """How bad things are. Chances are between 0 and 1, times are virtual seconds."""

    lose: float = 0.0
    double: float = 0.0
    bus_seconds: float = 0.001
    read_seconds: float = 0.001
    read_fails: float = 0.0
    write_seconds: float = 0.001
    link_seconds: float = 0.001
    bus_down: bool = False

    @classmethod
    def drawn(cls, rng: Random) -> Faults:
        """Return random faults."""
        return cls(
            lose=rng.choice((0.0, 0.1, 0.5, 0.9)),
            double=rng.choice((0.0, 0.2)),
            bus_seconds=rng.choice((0.001, 0.05, 2.0)),
            read_seconds=rng.choice((0.001, 0.02, 0.2)),
            read_fails=rng.choice((0.0, 0.0, 0.1)),
            write_seconds=rng.choice((0.001, 0.02)),
            link_seconds=rng.choice((0.001, 0.02)),
            bus_down=rng.random() < 0.1,
        )

    def heal(self, rng: Random) -> None:
        """Make everything good from now on; but the bus may stay down, or silent without knowing it."""
        vars(self).update(vars(Faults(lose=rng.choice((0.0, 0.0, 1.0)), bus_down=rng.random() < 0.2)))


class LossyBus:
    """One instance's end of the bus. `storage.bus.Bus` with every fault that the promise allows."""

    def __init__(self, rng: Random, faults: Faults, ends: list[LossyBus]) -> None:
        self._rng = rng
        self._faults = faults
        self._ends = ends
        self._on_commits: OnCommits = lambda commits: None
        self._on_heads: OnHeads = lambda heads: None
        ends.append(self)

    def listen(self, on_commits: OnCommits, on_heads: OnHeads, on_gap: OnGap) -> None:
        self._on_commits, self._on_heads = on_commits, on_heads

    async def start(self) -> None:
        """There is nothing to connect to."""

    async def close(self) -> None:
        self._ends.remove(self)

    @property
    def healthy(self) -> bool:
        return not self._faults.bus_down

    async def probe(self) -> None:
        """Nobody asks."""

    def publish(self, commits: list[ChangeSet]) -> None:
        for end in self._others():
            for commit in commits:
                self._carry(end, partial(_give_commits, end, commit))

    def beat(self, heads: Mapping[str, int]) -> None:
        for end in self._others():
            self._carry(end, partial(_give_heads, end, dict(heads)))

    def _others(self) -> list[LossyBus]:
        return [end for end in self._ends if end is not self] if self in self._ends else []

    def _carry(self, end: LossyBus, deliver: Callable[[], None]) -> None:
        faults, loop = self._faults, asyncio.get_running_loop()
        if faults.bus_down:
            return
        for _ in range(2 if self._rng.random() < faults.double else 1):
            if self._rng.random() >= faults.lose:
                loop.call_later(self._rng.random() * faults.bus_seconds, self._arrive, end, deliver)

    def _arrive(self, end: LossyBus, deliver: Callable[[], None]) -> None:
        if end in self._ends:
            deliver()


def _give_commits(end: LossyBus, commit: ChangeSet) -> None:
    end._on_commits([commit])


def _give_heads(end: LossyBus, heads: Mapping[str, int]) -> None:
    end._on_heads(heads)


class SlowStorage(MemoryStorage):
    """`MemoryStorage` whose reads answer late, with what was true before, and whose commits are told of late."""

    def __init__(self, registry: Registry, database: MemoryDatabase, rng: Random, faults: Faults) -> None:
        super().__init__(registry, wire_clock, database)
        self._rng = rng
        self._faults = faults
        self._told_at = 0.0
        self.crashed = False

    def submit(self, commit: Commit) -> asyncio.Future[Committed]:
        if not self.ready:
            raise HubError("server.unavailable", retry_after=1)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Committed] = loop.create_future()
        if not self._queue:
            loop.call_later(self._rng.random() * self._faults.write_seconds, self._run)
        self._queue.append((commit, future))
        return future

    def _run(self) -> None:
        """Commit a group now; tell of it later, in order."""
        if self.crashed:
            return
        decider = Decider(self._registry, self.database, self._clock())
        logs: list[ChangeSet] = []
        outcomes: list[tuple[asyncio.Future[Committed], Committed | HubError]] = []
        while self._queue:
            commit, future = self._queue.popleft()
            try:
                decision = decider.decide(commit)
            except HubError as refusal:
                outcomes.append((future, refusal))
                continue
            self.database.write(decision)
            if decision.log is not None:
                logs.append(decision.log)
            outcomes.append((future, decision.committed))
        loop = asyncio.get_running_loop()
        self._told_at = max(loop.time() + self._rng.random() * self._faults.write_seconds, self._told_at + TICK)
        loop.call_at(self._told_at, self._tell, logs, outcomes)

    def _tell(
        self, logs: list[ChangeSet], outcomes: list[tuple[asyncio.Future[Committed], Committed | HubError]]
    ) -> None:
        if self.crashed:
            return
        if logs:
            self._listener(logs)
        for future, outcome in outcomes:
            if future.done():
                continue
            if isinstance(outcome, HubError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    async def find(self, account: str, query: Query) -> Found:
        found = await super().find(account, query)
        await self._late()
        return found

    async def changes(self, account: str, after: int, limit: int) -> list[ChangeSet]:
        found = await super().changes(account, after, limit)
        await self._late()
        return found

    async def heads(self, accounts: Sequence[str]) -> dict[str, Head]:
        found = await super().heads(accounts)
        await self._late()
        return found

    async def _late(self) -> None:
        faults = self._faults
        if self._rng.random() < 0.8:
            await asyncio.sleep(self._rng.random() * faults.read_seconds)
        if self.crashed or self._rng.random() < faults.read_fails:
            raise HubError("server.unavailable", retry_after=1)


class Link:
    """One socket: frames in order, each after a delay, until it is cut. Holds at most `window` bytes unread."""

    def __init__(self, rng: Random, faults: Faults, window: int, seconds: float) -> None:
        self._rng = rng
        self._faults = faults
        self._window = window
        self._seconds = seconds
        self._unread = 0
        self._room = asyncio.Event()
        self._last = {"up": 0.0, "down": 0.0}
        self.frames: asyncio.Queue[Frame | None] = asyncio.Queue()
        """What the server reads; None at the end."""
        self.receive: Callable[[bytes], None] = lambda frame: None
        """How the client takes a frame."""
        self.lost: Callable[[], None] = lambda: None
        """How the client learns that the link is gone."""
        self.cut = False

    def up(self, frame: Frame) -> None:
        """Send a frame to the server."""
        self._later("up", self.frames.put_nowait, frame)

    async def down(self, frames: list[bytes]) -> None:
        """Send frames to the client; wait while too much is unread."""
        for frame in frames:
            while self._unread > self._window and not self.cut:
                self._room.clear()
                await self._room.wait()
            self._unread += len(frame)
            self._later("down", self._arrive, frame)

    def at_once(self, frames: list[bytes]) -> bool:
        """Send frames to the client without waiting; say whether there is room for more."""
        for frame in frames:
            self._unread += len(frame)
            self._later("down", self._arrive, frame)
        return self._unread <= self._window

    async def shut(self, code: int, reason: str) -> None:
        """The server closes the socket, after everything that it sent."""
        self._later("down", self.break_off)

    def break_off(self) -> None:
        """Cut the link: what is under way is lost; the server learns of it later, the client now."""
        if self.cut:
            return
        self.cut = True
        self._room.set()
        asyncio.get_running_loop().call_later(self._rng.random() * 0.5, self.frames.put_nowait, None)
        self.lost()

    def _arrive(self, frame: bytes) -> None:
        self._unread -= len(frame)
        self._room.set()
        self.receive(frame)

    def _later(self, way: str, call: Callable[..., None], *args: Any) -> None:
        loop = asyncio.get_running_loop()
        delay = self._rng.random() * (self._faults.link_seconds + self._seconds)
        self._last[way] = max(loop.time() + delay, self._last[way] + TICK)
        loop.call_at(self._last[way], self._unless_cut, call, args)

    def _unless_cut(self, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        if not self.cut:
            call(*args)
