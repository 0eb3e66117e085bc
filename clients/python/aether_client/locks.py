"""Locks: what this session says that it edits, kept for as long as it is held.

    async with hub.lock("event", rec) as lock:       # HubError `lock.held` where somebody else has it
        …
        if not lock.held: …                          # somebody took it over, or the record is gone

A lock is advice: it keeps nobody from writing. Each is kept alive by itself, over reconnects too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final

from aether_client.codec import Message
from aether_client.connection import Connection
from aether_client.errors import HubError
from aether_client.requests import Answer

SECONDS: Final = 30.0
"""How long taking or releasing may take."""


class Lock:
    """The lock of one record. Take it with `async with`, or with `take` and `release`."""

    def __init__(self, locks: Locks, type: str, rec: str, *, steal: bool) -> None:
        self.type, self.rec, self.steal = type, rec, steal
        self.held = False
        """Whether this session has the lock, as far as is known."""
        self.number = 0
        """The number of this holding; where it has changed, the lock was lost in between: read the record again."""
        self.holder: Mapping[str, Any] | None = None
        """Who has the lock, as was heard last; None: nobody, or not known."""
        self.why: str | None = None
        """Why it was lost: `stolen`, `lapsed` or `deleted`, or a code of the hub."""
        self._locks = locks
        self._lost = asyncio.Event()

    async def take(self) -> Lock:
        """Take the lock; raise `HubError`: `lock.held` (`details` has the `holder`), `access.denied`, …"""
        fields = {"type": self.type, "rec": self.rec, **({"steal": True} if self.steal else {})}
        answer = await self._locks.connection.call("lock.take", fields, SECONDS)
        self._lost.clear()
        self.why = None
        self.taken(answer.data)
        self._locks.hold(self, float(answer.data["lease"]))
        return self

    async def release(self) -> None:
        """Let the lock go; where it is lost already, nothing."""
        if self.held:
            self.held = False
            self._locks.forget(self)
            await self._locks.connection.call("lock.release", {"type": self.type, "rec": self.rec}, SECONDS)

    async def lost(self) -> str:
        """Wait until the lock is lost; return why."""
        await self._lost.wait()
        return self.why or ""

    async def __aenter__(self) -> Lock:
        return await self.take()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release()

    def taken(self, data: Mapping[str, Any]) -> None:
        """Note that the hub says that it is held."""
        self.held, self.number, self.holder = True, data["number"], data["holder"]

    def lose(self, why: str, holder: Mapping[str, Any] | None) -> None:
        """Note that it is lost."""
        self.held, self.holder, self.why = False, holder, why
        self._locks.forget(self)
        self._lost.set()


class Locks:
    """The locks that are held; a listener of the connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._held: dict[tuple[str, str], Lock] = {}
        self._timer: asyncio.TimerHandle | None = None
        connection.listeners.append(self)

    def hold(self, lock: Lock, lease: float) -> None:
        """Keep a lock alive from now on, three times in each lease."""
        self._held[lock.type, lock.rec] = lock
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(lease / 3, self._keep_all, lease)

    def forget(self, lock: Lock) -> None:
        """Keep a lock alive no more."""
        if self._held.get((lock.type, lock.rec)) is lock:
            del self._held[lock.type, lock.rec]

    def _keep_all(self, lease: float) -> None:
        self._timer = None
        if self._held:
            self._timer = asyncio.get_running_loop().call_later(lease / 3, self._keep_all, lease)
        if self.connection.state == "online":
            for lock in list(self._held.values()):
                self._keep(lock)

    def _keep(self, lock: Lock) -> None:
        def ok(answer: Answer) -> None:
            if lock.held:
                lock.taken(answer.data)

        def fail(error: HubError) -> None:
            if lock.held and not error.may_pass:
                lock.lose(error.code, (error.details or {}).get("holder"))

        self.connection.ask("lock.keep", {"type": lock.type, "rec": lock.rec}, ok, fail)

    def online(self, session: Mapping[str, Any]) -> None:
        """Keep everything on the new socket: another session takes anew what is free."""
        for lock in list(self._held.values()):
            self._keep(lock)

    def push(self, message: Message) -> None:
        """Take the news of a lock."""
        if message["op"] != "message" or message["event"] != "$lock":
            return
        data = message["data"]
        lock = self._held.get((data["type"], data["rec"]))
        mine = (self.connection.session or {}).get("session")
        if lock is None or (data["holder"] or {}).get("session") == mine:
            return
        if (data["was"] or {}).get("session") == mine and data["number"] >= lock.number:
            lock.lose(data["why"], data["holder"])

    def offline(self) -> None:
        """Nothing: the hub leaves the locks to the session for its grace."""

    def horizon(self, seq: int) -> None:
        """Nothing: locks have no place in the account's order."""

    def ended(self, error: HubError) -> None:
        """Tell every holder."""
        if self._timer is not None:
            self._timer.cancel()
        for lock in list(self._held.values()):
            lock.lose(error.code, None)
