"""The bus of several hubs over Redis: quick news, which may be lost, and knowing when that is so (rule R1).

    commit -> publish -> one message per bucket and turn of the loop -> PUBLISH -> Redis -> every instance
    each second a beat over the same subscription: "I am here, and these logs moved"

What came over a connection is complete only as long as the connection stood. So nothing is healed here: a lost
connection, a subscription that was confirmed twice, three seconds in which nothing was heard (one's own beats come
back too), or an instance whose beats stop mean a gap; the logs are asked, and a new connection is made. Nothing that
is wrong with Redis makes a commit fail or wait.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import random
from typing import Final

from redis.exceptions import RedisError

from hub.schema.writes import ChangeSet
from hub.wire.errors import HubError
from storage.bus import BusAway, OnCommits, OnGap, OnHeads
from storage.redis.address import Address, Unready
from storage.redis.lane import Lane, Lost
from storage.redis.messages import Message, Seal, Untrusted

log = logging.getLogger("hub.bus")

BEAT_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.25
LATE_LOOKS: Final = 3.0
SILENT_LOOKS: Final = 12
"""After so many looks that found nothing heard, three seconds, a connection is given up."""
SILENT_SECONDS: Final = 2.5
"""After so long without a beat, another instance counts as missing: within three seconds of its death, for its last
beat may be as young as that."""
MISSING_SECONDS: Final = 3600.0
"""How long logs are asked often after an instance went without a farewell: it may only be cut off from Redis."""
INSTANCES: Final = 1000
"""How many other instances are kept count of."""
HEADS: Final = 10_000
"""How many accounts that moved are remembered for the next beats; those beyond are found by asking the logs."""
BEAT_HEADS: Final = 2000
"""How many accounts one beat tells of."""
REPEATS: Final = 5
"""In how many beats a head is told: as many as can be sent before a broken connection shows."""
FIRST_WAIT, LONGEST_WAIT = 0.1, 2.0
"""How long to wait before connecting again, in seconds, with a random share taken off."""
SAY_SECONDS: Final = 60.0
"""How often the log says that messages were dropped."""
FAREWELL_SECONDS: Final = 0.5


@dataclass(slots=True)
class Counts:
    """What happened since the start: messages by what became of them, and connections that were lost."""

    sent: int = 0
    dropped: int = 0
    heard: int = 0
    forged: int = 0
    garbled: int = 0
    version: int = 0
    lost: int = 0


class RedisBus:
    """One instance's end of the bus.

    `realm` returns what is the same for all hubs over one database and for no other: its epoch.
    """

    def __init__(self, address: Address, secret: bytes, realm: Callable[[], Awaitable[str]]) -> None:
        self._address = address
        self._secret = secret
        self._realm = realm
        self._sender = secrets.token_hex(8)
        self._on_commits: OnCommits = lambda commits: None
        self._on_heads: OnHeads = lambda heads: None
        self._on_gap: OnGap = lambda: None
        self._seal: Seal | None = None
        self._running: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._lanes: list[Lane] = []
        """Empty while there is no connection."""
        self._by_bucket: dict[int, Lane] = {}
        self._away: tuple[float, str] = (time.monotonic(), "it is being connected to")
        """Since when there is no connection, and why."""
        self._fresh: list[ChangeSet] = []
        """What was committed in this turn of the loop."""
        self._moved: dict[str, tuple[int, int]] = {}
        """Heads that are to be told: the number, and in how many more beats."""
        self._beaten: dict[str, int] = {}
        """What the last call of `beat` said."""
        self._others: dict[str, float] = {}
        """When each other instance was last heard."""
        self._missing: dict[str, float] = {}
        """Since when instances that took no leave are not heard any more."""
        self._strange = -MISSING_SECONDS
        """When a message of another version was heard last."""
        self._said = -SAY_SECONDS
        self.counts = Counts()

    def listen(self, on_commits: OnCommits, on_heads: OnHeads, on_gap: OnGap) -> None:
        """Set who is told of what others published, and of gaps in it; before `start`."""
        self._on_commits, self._on_heads, self._on_gap = on_commits, on_heads, on_gap

    async def start(self) -> None:
        """Begin to connect."""
        self._running = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Take leave of the others, where Redis takes it within half a second, and disconnect."""
        if self._running is None:
            return
        self._flush()
        self._put_all("bye")
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                for lane in self._lanes:
                    await lane.told()
        except TimeoutError:
            log.info("Redis did not take the farewell in time")
        self._stop.set()
        self._running.cancel()  # so that nothing is waited for; where that is swallowed, `_stop` ends it
        await asyncio.wait([self._running])
        self._running, self._lanes, self._by_bucket = None, [], {}

    @property
    def healthy(self) -> bool:
        """Whether every instance hears of the others' commits, as far as this one can know."""
        return bool(self._lanes) and not self._missing and time.monotonic() - self._strange > MISSING_SECONDS

    async def probe(self) -> None:
        """Raise `BusAway` where there is no connection."""
        if not self._lanes:
            since, why = self._away
            seconds = time.monotonic() - since
            raise BusAway(f"Redis is away for {seconds:.0f} s ({why}); the database is asked for changes of others.")

    def publish(self, commits: list[ChangeSet]) -> None:
        """Have the others told of commits at the end of this turn of the loop, where there is a connection."""
        for commit in commits:
            self._note(commit.account, commit.seq)
        if not self._lanes:
            return
        if not self._fresh:
            asyncio.get_running_loop().call_soon(self._flush)
        self._fresh += commits

    def beat(self, heads: Mapping[str, int]) -> None:
        """Have the next beats tell of the heads that moved since the last call."""
        for account, seq in heads.items():
            if self._beaten.get(account) != seq:
                self._note(account, seq)
        self._beaten = dict(heads)

    def _note(self, account: str, seq: int) -> None:
        known = self._moved.pop(account, None)
        if known is not None and known[0] > seq:
            seq = known[0]
        self._moved[account] = (seq, REPEATS)
        if len(self._moved) > HEADS:
            del self._moved[next(iter(self._moved))]

    def _flush(self) -> None:
        commits, self._fresh = self._fresh, []
        if self._seal is None:
            return
        for bucket, data in self._seal.news(self._sender, commits):
            self._put(bucket, data)

    def _put(self, bucket: int, data: bytes) -> None:
        lane = self._by_bucket.get(bucket)
        if lane is not None and lane.put(bucket, data):
            self.counts.sent += 1
        else:
            self.counts.dropped += 1

    # -- being connected -----------------------------------------------------------------------------

    async def _run(self) -> None:
        """Be connected, again and again."""
        wait = FIRST_WAIT
        while not self._stop.is_set():
            why = await self._once()
            if self._lanes:
                log.warning("the connection to Redis is lost: %s", why)
                self.counts.lost += 1
                self._lanes, self._by_bucket = [], {}
                self._away = (time.monotonic(), why)
                self._on_gap()
                wait = FIRST_WAIT
            elif why != self._away[1]:
                log.warning("Redis cannot be used: %s", why)
                self._away = (self._away[0], why)
            await asyncio.sleep(wait * (1 - random() / 2))
            wait = min(2 * wait, LONGEST_WAIT)

    async def _once(self) -> str:
        """Connect and stay connected; return why that is over."""
        lanes: list[Lane] = []
        tasks: list[asyncio.Task[None]] = []
        start = asyncio.get_running_loop().create_task
        try:
            if self._seal is None:
                self._seal = Seal(self._secret, await self._realm())
            nodes = await self._address.nodes(self._seal.channels)
            lanes = [Lane(node, self._seal.channels, self._heard) for node in nodes]
            tasks = [start(lane.open()) for lane in lanes]
            for task in tasks:
                await task
            self._connected(lanes)
            tasks = [start(work) for lane in lanes for work in (lane.listen(), lane.tell())]
            tasks += [start(self._beat()), start(self._watch()), start(self._stopped())]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except (Lost, Unready) as fault:
            return str(fault)
        except (RedisError, HubError, OSError) as fault:
            return f"{type(fault).__name__}: {fault}"
        except Exception:
            # A fault of ours, or of who is told: were this task to die of it, the hub would hear of nobody until it is
            # started again, and say nothing. So the logs are asked, `/health` tells it, and the bus connects anew.
            log.exception("the bus has a fault")
            return "the bus has a fault; see the log"
        finally:
            for lane in lanes:
                await lane.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return "it is closed"

    async def _stopped(self) -> None:
        await self._stop.wait()

    def _connected(self, lanes: list[Lane]) -> None:
        self._lanes = lanes
        self._by_bucket = {bucket: lane for lane in lanes for bucket in lane.buckets}
        now = time.monotonic()
        self._others = dict.fromkeys(self._others, now)  # they could not be heard
        log.info("connected to Redis over %d servers", len(lanes))
        self._on_gap()  # what was committed before the subscription stood was told to nobody here

    async def _beat(self) -> None:
        """Say each second that this instance is there, and which logs moved."""
        while True:
            self._put_all("beat")
            await asyncio.sleep(BEAT_SECONDS)

    def _put_all(self, kind: str) -> None:
        """Queue a beat or a farewell at every server, each over a channel that it carries."""
        if self._seal is None or not self._lanes:
            return
        heads: dict[str, int] = {}
        for account in list(self._moved)[:BEAT_HEADS]:
            seq, times = self._moved.pop(account)
            heads[account] = seq
            if times > 1:
                self._moved[account] = (seq, times - 1)
        data = self._seal.close(Message(self._sender, "bye" if kind == "bye" else "beat", heads=heads))
        for lane in self._lanes:
            self._put(lane.buckets[0], data)

    async def _watch(self) -> None:
        """Give up a connection over which nothing was heard for three seconds, by raising `Lost`; count who else is."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            # A loop that stood still for long has not listened either, so a late look counts as three at most.
            looks, last = min((now - last) / LOOK_SECONDS, LATE_LOOKS), now
            self._count_others()
            for lane in self._lanes:
                lane.silence += looks
                if lane.silence >= SILENT_LOOKS:
                    raise Lost(f"nothing was heard for {SILENT_LOOKS * LOOK_SECONDS:.0f} s")

    def _count_others(self) -> None:
        now = time.monotonic()
        for sender in [sender for sender, at in self._others.items() if now - at > SILENT_SECONDS]:
            del self._others[sender]
            if len(self._missing) < INSTANCES:
                self._missing[sender] = now
            log.warning("instance %s is not heard any more", sender)
            self._on_gap()  # it may have committed something and been killed before it told
        for sender in [sender for sender, at in self._missing.items() if now - at > MISSING_SECONDS]:
            del self._missing[sender]

    # -- hearing -------------------------------------------------------------------------------------

    def _heard(self, data: bytes) -> bool:
        """Take in a message; say whether it is a sign of life."""
        assert self._seal is not None  # there is no connection without it
        try:
            message = self._seal.open(data)
        except Untrusted as untrusted:
            self._drop(untrusted.why)
            return False
        sender = message.sender
        if sender == self._sender:
            return True
        self.counts.heard += 1
        if message.kind == "bye":
            self._others.pop(sender, None)
            self._missing.pop(sender, None)
            self._on_gap()
        elif sender in self._others or len(self._others) < INSTANCES:
            self._others[sender] = time.monotonic()
            if self._missing.pop(sender, None) is not None:
                self._on_gap()
        if message.commits:
            self._on_commits(list(message.commits))
        if message.heads:
            self._on_heads(message.heads)
        return True

    def _drop(self, why: str) -> None:
        setattr(self.counts, why, getattr(self.counts, why) + 1)
        now = time.monotonic()
        if why == "version":
            self._strange = now
        if now - self._said >= SAY_SECONDS:
            self._said = now
            counts = self.counts
            log.warning(
                "dropped messages from Redis so far: %d not signed with our secret, %d of another version, %d garbled",
                counts.forged,
                counts.version,
                counts.garbled,
            )
