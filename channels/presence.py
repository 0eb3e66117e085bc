"""Runs the lists of who is here (channels/lists.py): their clock, their line to the other instances, and what Redis is
asked.

A hub without others has the same lists and nobody to tell. With others it has to be started; whatever befalls the line,
nothing here makes a request fail or wait.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Final

from channels.lists import Lists
from channels.rosters import Rosters
from hub.access import Identity
from storage.presence import Away, Line, Message, Opened

log = logging.getLogger("hub.presence")

LOOK_SECONDS: Final = 0.25
LOOKS_A_BEAT: Final = 4
CROWDED_SECONDS: Final = 0.01
CLAIM_SECONDS: Final = 3600.0
"""For how long it is remembered who sweeps an instance."""
RESUME_SECONDS: Final = 120.0
"""For how long it is remembered that a session was taken over: longer than its old entry can be shown anywhere."""


class Presence:
    """The lists of one instance. `instance` names it to the others, in its first life."""

    def __init__(
        self, rosters: Rosters, line: Line | None, superseded: Callable[[str], None], instance: str = ""
    ) -> None:
        """`superseded` is told of a session of this instance that goes on at another one."""
        self._line = line
        self._instance = instance or secrets.token_hex(8)
        self.lists = Lists(f"{self._instance}.0", rosters, superseded, alone=line is None)
        self._told = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._working: asyncio.Task[None] | None = None
        self._flushing = False
        if line is not None:
            self.lists.own.stirred = self._stirred
            self.lists.reborn = self._reborn
            line.live_as(self.lists.me)
            line.listen(self._heard, self._linked)

    async def start(self) -> None:
        """Begin to connect and to look."""
        if self._line is not None:
            await self._line.start()
            self._keep(asyncio.create_task(self._look()))

    async def close(self, seconds: float) -> None:
        """Tell the others that this instance ends, and that its sessions may come back for so many seconds."""
        for task in (*self._tasks, *([self._working] if self._working is not None else ())):
            task.cancel()
        if self._line is not None:
            self.lists.farewell(seconds)
            self._send()
            await self._line.close()

    # -- sessions ------------------------------------------------------------------------------------

    def elsewhere(self, proof: str) -> Opened | None:
        """Return the session of another instance that a proof brings back, as that one told it."""
        found = self.lists.elsewhere(proof)
        return found if found is not None and found.source in {"user", "key"} else None

    async def claim(self, proof: str) -> bool:
        """Say whether this instance may take over the session of a proof: one may, once, and none without Redis."""
        try:
            return self._line is not None and await self._line.claim(f"resume:{proof}", RESUME_SECONDS)
        except Away:
            return False

    async def first(self, name: str, seconds: float) -> bool:
        """Say whether this instance is the first to do what has this name; where nobody can tell, it is."""
        try:
            return self._line is None or await self._line.claim(name, seconds)
        except Away:
            return True

    # -- the line ------------------------------------------------------------------------------------

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _reborn(self, before: str) -> str:
        life = int(before.rpartition(".")[2]) + 1
        name = f"{self._instance}.{life}"
        log.warning("the others took this instance for dead; it begins again as %s", name)
        if self._line is not None:
            self._line.live_as(name)
        return name

    def _stirred(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self.lists.flush()
        self._send()

    def _send(self) -> None:
        sent, self.lists.outbox = self.lists.outbox, []
        if self._line is not None:
            for message in sent:
                self._line.put(message)

    def _heard(self, message: Message) -> None:
        self.lists.heard(message, self._now())
        self._go_on()

    def _linked(self, connected: bool) -> None:
        self.lists.link(connected=connected, now=self._now())
        self._go_on()

    def _go_on(self) -> None:
        """Send what there is to send, and have done what there is to do, a piece in each turn of the loop."""
        if self.lists.outbox:
            self._send()
        if self.lists.busy and self._working is None:
            self._working = asyncio.get_running_loop().create_task(self._work())
            self._working.add_done_callback(self._worked)

    async def _work(self) -> None:
        while self.lists.busy:
            worked = self.lists.work()
            crowded = self._line is not None and self._line.crowded
            paged = not crowded and self.lists.next_page()
            self._send()
            await asyncio.sleep(0 if worked or paged else CROWDED_SECONDS)

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._working = None
        _log_fault(task)

    def when_gone(self, told: Callable[[str, str], None]) -> None:
        """Set who is told, by account and id, of sessions gone with their instance; one instance is told of each."""

        def gone(account: str, session: str) -> None:
            lists = self.lists
            if session not in lists.own.cards and not any(session in peer.cards for peer in lists.peers.values()):
                told(account, session)

        self.lists.ended = gone

    async def _look(self) -> None:
        looks = 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            looks += 1
            if looks % LOOKS_A_BEAT == 0:
                self.lists.beat()
            suspects = self.lists.tick(self._now())
            self._go_on()
            for name in suspects:
                await self._examine(name)

    async def _examine(self, name: str) -> None:
        """Look whether an instance that is silent is gone, and whether it is for this one to sweep it."""
        if self._line is None:
            return
        try:
            if await self._line.lives(name):
                return
            mine = await self._line.claim(f"sweep:{name}", CLAIM_SECONDS)
        except Away:
            return
        if name in self.lists.peers:
            log.warning("instance %s is gone; its members leave%s", name, ", and this one tells" if mine else "")
            self.lists.lapsed(name, self._now(), mine=mine)
            self._go_on()

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_log_fault)


def _log_fault(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (fault := task.exception()) is not None:
        log.error("presence between instances has a fault", exc_info=fault)


def identity_of(opened: Opened) -> Identity:
    """Return whom a session stood for, as another instance tells it; nothing is allowed by that."""
    user = opened.rec if opened.kind == "user" else None
    return Identity(opened.source, user=user, roles=((opened.account, ""),), credential=opened.credential)
