"""Two hubs and their locks in virtual time, over a Redis that is a book of the rules and connections that fail.

What runs is `RedisLocks` itself. Of Redis there is what its scripts are held to by the contract of locks; between the
two are connections that are slow, break with what is on its way, and lose what is published.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import TimeoutError as LateAnswer

from hub.wire.errors import HubError
from storage.locks import LEASE_SECONDS, Book, Change, Holder, LockKey
from storage.redis.address import ANSWER_SECONDS
from storage.redis.lock_scripts import ALL, END, FORGET, LOOK, RELEASE, TAKE
from storage.redis.locks import RedisLocks

TROUBLE: Final = ("cut", "cut", "loss", "freeze", "away")
KEYS: Final[list[LockKey]] = [("account", "event", f"{n}") for n in range(3)]


def key_of(field: str) -> LockKey:
    account, kind, rec = field.split(":")
    return account, kind, rec


class FakeRedis:
    """The book behind the scripts. `away`: nobody connects; `frozen`: nothing is done, and answers come late."""

    def __init__(self, random: Random, book: type[Book] = Book) -> None:
        self.random = random
        self._kind = book
        self.book, self.run, self.count = book(), "", 0
        self.blobs: dict[str, bytes] = {}
        self.wires: list[Wire] = []
        self.away = self.frozen = False
        self.loss = 0.0
        """Which share of what is published is lost on its way to one hub."""
        self.stolen: dict[tuple[LockKey, str], float] = {}
        """When a session's lock was last stolen from it."""

    def flush(self) -> None:
        self.book, self.run, self.count = self._kind(), "", 0

    def cut(self, wire: Wire) -> None:
        wire.broken.set()
        if wire in self.wires:
            self.wires.remove(wire)

    def execute(self, words: tuple[Any, ...]) -> Any:
        if words[0] == "SUBSCRIBE":
            return [b"subscribe", words[1].encode(), 1]
        _, script, _, _, _, _, _, _, _, fresh, *given = words
        now = asyncio.get_running_loop().time()
        if not self.run:
            self.run, self.count = fresh, 0
        for change in self.book.lapse(now):
            self._publish(change)
        if script is LOOK:
            return [self.run.encode(), self.count]
        if script is ALL:
            found: list[bytes] = []
            for key, lock in self.book.table.locks.items():
                found += [":".join(key).encode(), b"%s|%d|" % (lock.holder.session.encode(), lock.number)]
                found[-1] += self.blobs[f"{':'.join(key)}|{lock.holder.session}"]
            return [self.run.encode(), self.count, found]
        return self._change(script, given, now)

    def _change(self, script: str, given: list[Any], now: float) -> Any:
        if script is END:
            for change in self.book.end(*given):
                self._publish(change)
            return [b"ok", b"", 0]
        key = key_of(given[0])
        try:
            if script is FORGET:
                done = self.book.forget(key)
            elif script is RELEASE:
                done = self.book.release(key, given[1])
            else:
                assert script is TAKE
                _, session, blob, steal = given
                self.blobs[f"{given[0]}|{session}"] = blob
                before = self.book.table.locks.get(key)
                done = self.book.take(key, Holder("user", session, session, session), now, steal=bool(steal))
                if steal and before is not None and done is not None:
                    self.stolen[(key, before.holder.session)] = now
        except HubError:  # another has it: three locks break no bound
            return [b"held", self.blobs[f"{given[0]}|{self.book.table.locks[key].holder.session}"], 0]
        if done is not None:
            self._publish(done)
        held = self.book.table.locks.get(key)
        return [b"ok", b"" if held is None else b"%d" % held.number, 0 if done is None else self.count]

    def _publish(self, change: Change) -> None:
        self.count += 1
        field = ":".join(change.key)
        said = f"{self.run}|{self.count}|{change.why}|{change.number}|{field}|".encode()
        if change.holder is not None:
            said += self.blobs[f"{field}|{change.holder.session}"]
        for wire in self.wires:
            if wire.subscribed and self.random.random() >= self.loss:
                wire.deliver([b"message", b"", said])


class Wire:
    """A connection: what is sent arrives later and in order, or not at all once it is broken."""

    def __init__(self, redis: FakeRedis) -> None:
        self.redis = redis
        self.broken = asyncio.Event()
        self.subscribed = False
        self._in: deque[Any] = deque()
        self._asked: deque[tuple[Any, ...]] = deque()
        self._came = asyncio.Event()
        self._free = [0.0, 0.0]
        self.is_connected = False

    def _later(self, way: int) -> float:
        """When what is sent now arrives: behind what was sent before."""
        now = asyncio.get_running_loop().time()
        self._free[way] = max(self._free[way] + 1e-6, now + self.redis.random.choice((0.001, 0.01, 0.3)))
        return self._free[way]

    async def connect(self) -> None:
        if self.redis.away:
            raise LostConnection("away")
        self.is_connected = True
        self.redis.wires.append(self)

    def pack_commands(self, commands: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        return list(commands)

    async def send_packed_command(self, commands: list[tuple[Any, ...]], check_health: bool) -> None:
        assert not check_health
        for words in commands:
            asyncio.get_running_loop().call_at(self._later(0), self._arrive, words)

    def _arrive(self, words: tuple[Any, ...] | None) -> None:
        """Do what has come, in order, unless Redis is frozen."""
        if words is not None:
            self._asked.append(words)
        if self.redis.frozen:
            asyncio.get_running_loop().call_later(0.5, self._arrive, None)
            return
        while self._asked and not self.broken.is_set():
            words = self._asked.popleft()
            self.subscribed |= words[0] == "SUBSCRIBE"
            self.deliver(self.redis.execute(words))

    def deliver(self, said: Any) -> None:
        def take() -> None:
            self._in.append(said)
            self._came.set()

        asyncio.get_running_loop().call_at(self._later(1), take)

    async def read_response(
        self, disable_decoding: bool, timeout: float = ANSWER_SECONDS, disconnect_on_error: bool = True
    ) -> Any:
        until = asyncio.get_running_loop().time() + timeout
        while not self._in:
            self._came.clear()
            waits = [asyncio.ensure_future(event.wait()) for event in (self._came, self.broken)]
            left = None if timeout == float("inf") else until - asyncio.get_running_loop().time()
            try:
                await asyncio.wait(waits, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
            if self.broken.is_set():
                raise LostConnection("broken")
            if not self._in and timeout != float("inf") and asyncio.get_running_loop().time() > until - 1e-6:
                raise LateAnswer("late")
        return self._in.popleft()

    async def disconnect(self, nowait: bool) -> None:
        assert nowait
        self.is_connected = False
        self.redis.cut(self)


class Place:
    """Where Redis is: stands for an address, its node and its place."""

    def __init__(self, redis: FakeRedis) -> None:
        self.redis = redis
        self.place = self

    async def nodes(self, channels: object) -> list[Place]:
        return [self]

    def connection(self) -> Wire:
        return Wire(self.redis)


@dataclass
class Claim:
    """What a session may believe: it has a lock, by what it was answered."""

    session: str
    number: int
    asked: float
    flushes: int
    """How often Redis had been flushed when it was asked for."""
    flushes_then: int
    """And when it was answered."""

    @property
    def until(self) -> float:
        """How long it lasts at least: its lease began after it was asked for."""
        return self.asked + LEASE_SECONDS


class Hub:
    """One instance: its locks, what it told, and the sessions on it."""

    def __init__(self, redis: FakeRedis, world: World) -> None:
        async def realm() -> str:
            return "realm"

        place: Any = Place(redis)
        self.world = world
        self.locks = RedisLocks(place, b"secret", realm)
        self.told: dict[LockKey, Holder] = {}
        """Who holds what, by what was told."""
        self.sessions: set[str] = set()
        self.locks.listen(self._told)

    def _told(self, change: Change) -> None:
        if change.holder is None:
            self.told.pop(change.key, None)
        else:
            self.told[change.key] = change.holder
        was = change.was
        if was is not None and was.session in self.sessions and was != change.holder:
            self.world.lost(change, was.session)


class World:
    """Hubs, people, and what the answers say."""

    def __init__(self, seed: int, *, trouble: tuple[str, ...] = TROUBLE, book: type[Book] = Book) -> None:
        self.random = Random(seed)
        self.redis = FakeRedis(self.random, book)
        self.hubs = [Hub(self.redis, self) for _ in range(2)]
        self.kinds = trouble
        self.flushed = 0
        self.claims: dict[LockKey, dict[str, Claim]] = {key: {} for key in KEYS}
        self.faults: list[str] = []
        self.steps = self.granted = self.refused = 0
        self._names = 0

    def lost(self, change: Change, session: str) -> None:
        """A session is told that it has a lock no more; no lease is shorter than was said."""
        now, claim = asyncio.get_running_loop().time(), self.claims[change.key].pop(session, None)
        stolen = self.redis.stolen.get((change.key, session), -1.0)
        early = claim is not None and claim.until > now and claim.asked > stolen and claim.flushes == self.flushed
        if change.why == "lapsed" and early:
            self.faults.append(f"{now:.3f} {change.key[2]}: {claim} has lapsed")

    def end_claim(self, key: LockKey, session: str) -> None:
        self.claims[key].pop(session, None)

    def grant(self, key: LockKey, claim: Claim) -> None:
        """A session was answered that it has a lock: whoever else believes so must have lost it to a theft."""
        now = asyncio.get_running_loop().time()
        claims = self.claims[key]
        for other in [found for found in claims.values() if found.session != claim.session and found.until > now]:
            low, high = sorted((claim, other), key=lambda found: found.number)
            stolen = self.redis.stolen.get((key, low.session), -1.0) >= low.asked
            excused = stolen or high.flushes_then > low.flushes
            if low.number == high.number or not excused:
                self.faults.append(f"{now:.3f} {key[2]}: {claim} beside {other}")
        claims[claim.session] = claim

    async def person(self, hub: Hub, seconds: float) -> None:
        """Take, keep, release and come again until the time is over."""
        loop, random = asyncio.get_running_loop(), self.random
        until = loop.time() + seconds
        session = self._new(hub)
        while loop.time() < until:
            await asyncio.sleep(random.choice((0.01, 0.2, 1.0, 5.0, 12.0)))
            self.steps += 1
            key = random.choice(KEYS)
            deed = random.choices(("take", "keep", "steal", "release", "end"), (6, 8, 2, 3, 1))[0]
            if deed == "end":
                hub.locks.end("account", session)
                hub.sessions.discard(session)
                for one in KEYS:
                    self.end_claim(one, session)
                session = self._new(hub)
            elif deed == "release":
                self.end_claim(key, session)
                await self._quietly(hub.locks.release(key, session))
            else:
                if deed == "keep" and (mine := [one for one in KEYS if session in self.claims[one]]):
                    key = random.choice(mine)
                await self._take(hub, key, session, steal=deed == "steal")

    def _new(self, hub: Hub) -> str:
        self._names += 1
        session = f"s{self._names}"
        hub.sessions.add(session)
        return session

    async def _take(self, hub: Hub, key: LockKey, session: str, *, steal: bool) -> None:
        asked, flushed = asyncio.get_running_loop().time(), self.flushed
        holder = Holder("user", session, session, session)
        try:
            lock = await hub.locks.take(key, holder, steal=steal)
        except HubError as refused:
            self.refused += 1
            if refused.code == "lock.held":
                self.end_claim(key, session)
            return
        self.granted += 1
        self.grant(key, Claim(session, lock.number, asked, flushed, self.flushed))

    @staticmethod
    async def _quietly(work: Any) -> None:
        try:
            await work
        except HubError:
            pass  # another has it, or Redis is away: the session believes nothing either way

    async def trouble(self, seconds: float) -> None:
        """Break things until the time is over; then leave them whole."""
        loop, redis, random = asyncio.get_running_loop(), self.redis, self.random
        until = loop.time() + seconds
        while loop.time() < until:
            await asyncio.sleep(random.uniform(0.5, 15.0))
            what = random.choice(self.kinds)
            if what == "cut" and redis.wires:
                redis.cut(random.choice(redis.wires))
            elif what == "loss":
                redis.loss = random.choice((0.0, 0.2, 0.5))
            elif what == "flush":
                self.flushed += 1
                redis.flush()
            elif what in {"freeze", "away"}:
                await self._while(what, random.choice((0.3, 1.0, 4.0, 40.0)))
        redis.loss = 0.0

    async def _while(self, what: str, seconds: float) -> None:
        redis = self.redis
        redis.frozen, redis.away = what == "freeze", what == "away"
        for wire in [*redis.wires] if what == "away" else ():
            redis.cut(wire)
        await asyncio.sleep(seconds)
        redis.frozen = redis.away = False

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(1)
            for hub in self.hubs:
                hub.locks.look()

    async def play(self, seconds: float, people: int = 6) -> list[str]:
        """Run; return every fault that was found."""
        for hub in self.hubs:
            await hub.locks.start()
        looking = asyncio.create_task(self._look())
        await asyncio.gather(*(self.person(self.hubs[n % 2], seconds) for n in range(people)), self.trouble(seconds))
        await asyncio.sleep(8)
        self._check_end()
        looking.cancel()
        for hub in self.hubs:
            await hub.locks.close()
        return self.faults

    def _check_end(self) -> None:
        """Everybody knows what is true, by what it has and by what it told; nobody believes anything else."""
        now = asyncio.get_running_loop().time()
        for change in self.redis.book.lapse(now):
            self.redis._publish(change)  # what has just lapsed is not heard yet
        truth = {key: lock.holder for key, lock in self.redis.book.table.locks.items()}
        for n, hub in enumerate(self.hubs):
            copy = {key: lock.holder for key, lock in hub.locks._copy.table.locks.items() if key in truth}
            told = {key: holder for key, holder in hub.told.items() if key in truth}
            if copy != truth:
                self.faults.append(f"hub {n} has {copy}, and not {truth}")
            if told != truth:
                self.faults.append(f"hub {n} told {told}, and not {truth}")
        for key, claims in self.claims.items():
            for claim in claims.values():
                holder = truth.get(key)
                if claim.until > now and (holder.session if holder else None) not in {
                    claim.session,
                    None if self.flushed else claim.session,
                }:
                    self.faults.append(f"{key[2]}: {claim} though it is of {holder}")
