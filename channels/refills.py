"""The windows that are watched: kept by every commit, filled by one query when they are dry.

While a window is being filled, the commits that concern it are held back, and with them every answer to its sockets
that may not overtake their pushes (the horizon rule). What was committed up to the state that the query read becomes
one push that carries the last number; what came later follows one by one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final

from channels.dispatch import REACH_SECONDS, Dispatcher
from channels.outlet import Outlet
from channels.watches import Event, Reset, Watches, WatchGroup, WatchQuery
from channels.windows import Window
from hub.schema.query import Query
from hub.schema.record import Image
from hub.schema.writes import ChangeRow, ChangeSet
from hub.wire.errors import HubError
from storage.base import Found, Storage

log = logging.getLogger("hub.live")

ATTEMPTS: Final = 3
"""How often a window is asked for before it is given up."""
RETRY_SECONDS: Final = 0.2
_HEAD: Final = frozenset({"id", "type", "version"})
_EVERY: Final = 2**53
HELD_COMMITS: Final = 10_000
"""How many commits are held back for one window; one more and it begins again."""


class WindowGroup(WatchGroup):
    """The sockets that watch one window. It is being filled from its beginning on, until its first content is there."""

    def __init__(self, query: WatchQuery, windows: Windows) -> None:
        super().__init__(query)
        self.window = Window(query.order, query.limit or 0)
        self.filling = False
        self.failed: HubError | None = None
        """Why it was given up; whoever asks for the query again gets a new group."""
        self.since = 0
        """Every commit above this that concerns the window is in `held`, while it is being filled."""
        self.held: list[tuple[ChangeSet, Sequence[ChangeRow]]] = []
        self.overflown = False
        """Whether more was held back than can be."""
        self._windows = windows

    def tell(self, commit: ChangeSet, rows: Sequence[ChangeRow], reset: Reset) -> None:
        """Take in what a commit changed, and push what that means; or hold it back while the window is filled."""
        if self.filling:
            if len(self.held) < HELD_COMMITS:
                self.held.append((commit, rows))
            else:
                self.overflown = True
            return
        touched = [self.window.put(rec, image) for rec, image in self._images(rows).items()]
        if self.window.dry:
            self.held.append((commit, rows))
            self._windows.fill(self, commit.seq - 1)
        elif any(touched):
            events = self.window.tell(self._ends(rows))
            if events:
                self.push(commit.seq, commit.session, events, reset)

    def _images(self, rows: Sequence[ChangeRow]) -> dict[str, Image | None]:
        """Return what each changed record is to this watch at the end of its commit, None where it does not match."""
        query = self.query
        return {row.rec: query.view(row.after) if row.after and query.matches(row.after) else None for row in rows}

    def _ends(self, rows: Sequence[ChangeRow]) -> dict[str, tuple[str, int]]:
        return {row.rec: (self.why(row.after), row.version) for row in rows}

    def why(self, image: Image | None) -> str:
        """Return why a record that is like this now, None or empty where it is gone, is not shown."""
        if image and self.query.ruled and not self.query.permits(image):
            return "rights"
        if not image or image["deleted_at"] is not None:
            return "deleted"
        return "window" if self.query.test(image) else "filter"

    def filled(self, found: Found, reset: Reset) -> None:
        """Take in what the query read, then what was held back; that may leave the window dry once more."""
        held, self.held, self.filling = self.held, [], False
        early = [(commit, rows) for commit, rows in held if commit.seq <= found.seq]
        self.window.fill([self.query.view(image) for image in found.records], more=found.more)
        ends: dict[str, tuple[str, int]] = {}
        for _, rows in early:
            ends |= self._ends(rows)
        events = self.window.tell(ends)
        if events and early:
            writers = {commit.session for commit, _ in early}
            self.push(early[-1][0].seq, writers.pop() if len(writers) == 1 else None, events, reset)
        for commit, rows in held[len(early) :]:
            self.tell(commit, rows, reset)


class Windows:
    """Every window that is being filled, and who waits for it."""

    def __init__(self, storage: Storage, dispatcher: Dispatcher, watches: Watches) -> None:
        self._storage = storage
        self._dispatcher = dispatcher
        self._watches = watches
        self.filling: set[WindowGroup] = set()
        self.holding: set[WindowGroup] = set()
        """Those of them that hold pushes back for somebody."""
        self.refills = 0
        """How often a window that was watched already was filled again."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiters: list[asyncio.Future[None]] = []

    def group(self, query: WatchQuery) -> WindowGroup:
        """Return the group of a window, new or not; a new one begins to be filled."""
        group = self._watches.group(query, self._make)
        if not isinstance(group, WindowGroup):
            raise TypeError("the limit is part of what a group is found by")
        return group

    def _make(self, query: WatchQuery) -> WindowGroup:
        group = WindowGroup(query, self)
        self.fill(group, self._dispatcher.position(query.account))
        return group

    def owes(self, outlet: Outlet, seq: int) -> bool:
        """Say whether a push up to `seq` is held back for a socket."""
        return any(group.held and group.held[0][0].seq <= seq and outlet in group.outlets for group in self.holding)

    async def settled(self, outlet: Outlet | None, seq: int | None = None) -> None:
        """Return when no push up to `seq` (None: none at all) is held back for a socket.

        Raises `server.unavailable` after 10 s.
        """
        deadline = asyncio.get_running_loop().time() + REACH_SECONDS
        while self._owes_any(outlet, seq):
            await self._turn(deadline)

    def _owes_any(self, outlet: Outlet | None, seq: int | None) -> bool:
        return outlet is not None and bool(self.holding) and self.owes(outlet, _EVERY if seq is None else seq)

    async def ready(self, group: WindowGroup, outlet: Outlet | None) -> None:
        """Return when a window is filled and nothing is held back for a socket; raise why that cannot be."""
        deadline = asyncio.get_running_loop().time() + REACH_SECONDS
        while group.failed is None and (group.filling or self._owes_any(outlet, None)):
            await self._turn(deadline)
        if group.failed is not None:
            failed = group.failed
            raise HubError(failed.code, failed.message, retry_after=failed.retry_after) from failed.__cause__

    async def _turn(self, deadline: float) -> None:
        """Wait until some window was filled or given up."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiters.append(future)
        # A plain timer: this may run before its caller is a task, where asyncio.timeout cannot be used.
        timer = loop.call_at(deadline, _give_up, future)
        try:
            await future
        finally:
            timer.cancel()
            self._waiters.remove(future)

    def fill(self, group: WindowGroup, since: int) -> None:
        """Begin to fill a window; every commit above `since` that concerns it is or will be held back."""
        group.filling, group.since = True, since
        self.filling.add(group)
        if group.outlets:
            self.holding.add(group)
        task = asyncio.get_running_loop().create_task(self._fill(group))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fill(self, group: WindowGroup) -> None:
        failed: HubError | None = None
        try:
            found = await self._read(group)
            if group.overflown:
                failed = HubError("server.unavailable", "Too much changes in this window; ask again.", retry_after=2)
            elif not group.idle:
                self.refills += bool(group.outlets)
                group.filled(found, self._watches.reset)
        except HubError as error:
            failed = error
        except Exception as fault:
            # Nobody awaits this task, and who is shown the window would wait for ever: they begin again instead, and
            # who starts it is told of the incident.
            log.exception("a window of account %s cannot be filled", group.query.account)
            failed = HubError("server.error")
            failed.__cause__ = fault
        if failed is not None:
            group.failed, group.filling, group.held = failed, False, []
            self._watches.forget(group)
            for outlet in list(group.outlets):
                self._watches.reset(group, outlet, "expired")
        if not group.filling or group.idle:
            self.filling.discard(group)
            self.holding.discard(group)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _read(self, group: WindowGroup) -> Found:
        """Return the records to hold, as they were when everybody here was told of as much."""
        query = group.query
        asked = Query(query.type, query.where, query.order, group.window.capacity)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                found = await self._storage.find(query.account, asked)
                await self._dispatcher.reached(query.account, found.seq)
                if found.seq >= group.since:
                    return found
            except HubError:
                if attempt == ATTEMPTS:
                    raise
            await asyncio.sleep(RETRY_SECONDS)
        raise HubError("server.unavailable", "What is read lags behind what is told; ask again.", retry_after=2)

    async def resumed(self, group: WindowGroup, outlet: Outlet | None, have: Mapping[str, int]) -> list[Event]:
        """Return what brings somebody who has these versions to what is shown, when `ready`. Nothing waits after it."""
        await self.ready(group, outlet)
        query = group.query
        gone = [rec for rec in have if rec not in group.window.shown]
        images = await self._storage.get(query.account, query.type, gone, deleted=True) if gone else {}
        await self.ready(group, outlet)
        shown, events = group.window.shown, []
        for rec, version in have.items():
            if rec not in shown:
                image = images.get(rec)
                at = version if image is None else image["version"]
                events.append(query.leaves(rec, image, group.why(image), at))
        for rec, image in shown.items():
            if rec not in have:
                events.append({"kind": "enter", "rec": rec, "record": image})
            elif have[rec] != image["version"]:
                patch = {name: value for name, value in image.items() if name not in _HEAD}
                events.append({"kind": "update", "rec": rec, "patch": patch, "version": image["version"]})
        return events

    def close(self) -> None:
        """Stop filling."""
        for task in self._tasks:
            task.cancel()


def _give_up(future: asyncio.Future[None]) -> None:
    if not future.done():
        text = "A sorted window cannot be read at the moment; ask again."
        future.set_exception(HubError("server.unavailable", text, retry_after=2))
