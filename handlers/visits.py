"""What is done once when members come and go: hooks of packs, and the wishes of those who vanished.

The rosters say on one instance what happened (`Rosters.happened`); this queues it and runs it there. Of one member
everything runs in order, of several at the same time. A hook commits under a key made of the visit, so that a second
run, here or on another instance, changes nothing.

Where several hubs share their rosters, each waits `settle_seconds` before it acts: sessions of one member that come or
go on two of them in the same moment are then one event, and those who are told of it agree whose it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from base64 import urlsafe_b64encode
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final

from channels.hall import HALL
from channels.rosters import Happening
from handlers.action_context import ActionContext, Course, Repeated, Stale
from handlers.base import Call, Operations, Peer, Services
from handlers.wishes import fulfil, wish_id
from hub.access import OPERATOR
from hub.schema.hooks import Visit, VisitHook
from hub.schema.writes import KeyClaim
from hub.wire.errors import HubError
from hub.wire.names import split_channel

SETTLE_SECONDS: Final = 1.0
"""How long hubs that share their rosters wait until all have heard of what happened."""
SHARDS: Final = 8
"""How many run at a time; those of one member one after the other."""
WAITING: Final = 100_000
"""How many may wait; what comes then is not run, which is logged."""
TRIES: Final = 5
"""How often something is tried that storage refuses for a while."""
FIRST_PAUSE_SECONDS: Final = 0.5
"""How long to wait before the second try; each time twice as long."""
RUN_SECONDS: Final = 30.0
"""How long one hook may take."""
CLOSE_SECONDS: Final = 5.0
"""How long a hub that stops gives to what waits."""
CLAIM_SECONDS: Final = 3600.0
"""For how long other hubs know that this one does it."""
KNOWN: Final = 10_000
"""How many of the last hooks that ran are known, so that none runs twice here."""

log: Final = logging.getLogger("hub.visits")


@dataclass(frozen=True, slots=True)
class _Job:
    happening: Happening
    due: float
    """Not before this time of the loop."""


class Visits:
    """The queue of one instance. Let `Rosters.happened` be its `happened`."""

    def __init__(self, services: Services, operations: Operations, settle_seconds: float = 0.0) -> None:
        self._services = services
        self._operations = operations
        self._settle = settle_seconds
        self._shards: list[deque[_Job]] = [deque() for _ in range(SHARDS)]
        self._tasks: list[asyncio.Task[None] | None] = [None] * SHARDS
        self._waiting = 0
        self._ran: OrderedDict[str, None] = OrderedDict()
        self.lost = 0
        """How many were not run because too many waited."""

    def happened(self, happening: Happening) -> None:
        """Queue what there is to do about it, if anything."""
        if happening.channel[1] == HALL:
            if happening.kind == "leave":
                self._services.live.hall.swept(happening.channel[0], happening.who)
            return
        if not self._hooks(happening) and (happening.kind != "vanish" or happening.on_drop is None):
            return
        if self._waiting >= WAITING:
            self.lost += 1
            if self.lost == 1 or self.lost % 1000 == 0:
                log.error("%d hooks of who came or went were not run: too many wait", self.lost)
            return
        self._waiting += 1
        loop = asyncio.get_running_loop()
        n = hash((happening.channel, happening.who.key)) % SHARDS
        self._shards[n].append(_Job(happening, loop.time() + self._settle))
        if self._tasks[n] is None:
            self._tasks[n] = loop.create_task(self._work(n))

    def _hooks(self, happening: Happening) -> list[VisitHook]:
        kind = "leave" if happening.kind == "part" else happening.kind
        return self._services.registry.visits.get((kind, happening.channel[1].partition(":")[0]), [])

    async def close(self) -> None:
        """Give what waits some time, then let it go."""
        running = [task for task in self._tasks if task is not None]
        if running:
            await asyncio.wait(running, timeout=CLOSE_SECONDS)
        for task in running:
            task.cancel()
        if self._waiting:
            log.error("%d hooks of who came or went were not run: the hub stops", self._waiting)

    async def _work(self, n: int) -> None:
        jobs, loop = self._shards[n], asyncio.get_running_loop()
        while jobs:
            await asyncio.sleep(max(0.0, jobs[0].due - loop.time()))
            job = jobs.popleft()
            try:
                await self._do(job.happening)
            finally:
                self._waiting -= 1
        self._tasks[n] = None

    async def _do(self, happening: Happening) -> None:
        if happening.kind == "vanish":
            await self._tried(happening, None)
        elif self._is_ours(happening):
            for hook in self._hooks(happening):
                await self._tried(happening, hook)

    def _is_ours(self, happening: Happening) -> bool:
        """Say whether it is so still, now that every instance has heard of it."""
        member = self._services.live.rosters.roster(happening.channel).get(happening.who.key)
        if happening.kind == "join":
            return member is None or member.since >= happening.since  # else they were there, at another instance
        return member is None or member.since > happening.since  # else they are there, at another instance

    async def _tried(self, happening: Happening, hook: VisitHook | None) -> None:
        """Run a hook, or do the wishes, until it is done or refused for good."""
        what = "the wishes of a session" if hook is None else f"the hook {hook.name}"
        key, done = wish_id(happening) if hook is None else _key(happening, hook), set[int]()
        if not self._first(key):
            return
        if self._settle and not await self._services.live.presence.first(f"visit:{key}", CLAIM_SECONDS):
            return
        for n in range(1, TRIES + 1):
            try:
                async with asyncio.timeout(RUN_SECONDS):
                    if hook is None:
                        await fulfil(self._services, self._operations, happening, done)
                    else:
                        await self._run(happening, hook, key)
                return
            except Stale:
                continue
            except HubError as refusal:
                if refusal.retry_after is None or n == TRIES:
                    log.warning("%s in %s is not done: %s", what, happening.channel[1], refusal)
                    return
            except Exception:
                # A pack's code, which may fail in any way: the others who come and go are not at fault.
                log.exception("%s in %s failed", what, happening.channel[1])
                return
            await asyncio.sleep(FIRST_PAUSE_SECONDS * 2 ** (n - 1))

    def _first(self, key: str) -> bool:
        if key in self._ran:
            return False
        self._ran[key] = None
        if len(self._ran) > KNOWN:
            self._ran.popitem(last=False)
        return True

    async def _run(self, happening: Happening, hook: VisitHook, key: str) -> None:
        """Run a hook in the hub's own name."""
        account, name = happening.channel
        parts = split_channel(name)
        if parts is None:
            return
        who = happening.who
        visit = Visit(hook.kind, name, parts[1], who.kind, who.rec, who.name, happening.since)
        services = self._services
        peer = Peer(identity=OPERATOR, account=account, role="owner", rights=services.rights.of("owner"))
        course = Course(KeyClaim("visit", key, hashlib.sha256(key.encode()).digest()))
        async with services.turns.of(course.holds):
            try:
                await hook.run(ActionContext(Call(services, peer), course, None), visit)
            except Repeated:
                log.debug("the hook %s in %s was done before", hook.name, name)


def _key(happening: Happening, hook: VisitHook) -> str:
    """Return what names this run of a hook, the same on every instance that could run it."""
    parts = (hook.name, hook.kind, *happening.channel, *happening.who.key, happening.since)
    return urlsafe_b64encode(hashlib.sha256("\0".join(parts).encode()).digest()).decode().rstrip("=")
