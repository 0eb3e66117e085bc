"""What many who start the same watch at once read only once: the log since a client's position, and snapshots.

When a hub goes away, its clients come to another one within seconds, and most of them ask for the same. A part of the
log is read and understood once for all who resume behind it at about that time, and forgotten a moment after. The
state of a query is read for all who asked before the reading began, so that nobody gets one that is older than the
question.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import msgspec

from channels.watches import Event, Recorder, WatchGroup, WatchQuery
from hub.schema.query import Query
from hub.schema.record import Image
from hub.schema.writes import ChangeSet
from hub.wire.errors import HubError
from storage.base import FIND_CEILING, Storage

STRETCH: Final = 50
"""How many commits make a stretch: those from 1 on, from 51 on, and so on."""
STRETCHES: Final = 32
"""How many stretches are kept; the one that was used longest ago makes room."""
KEPT_SECONDS: Final = 1.0
"""How long what was read is kept after its last use."""
_ENCODER: Final = msgspec.json.Encoder()


class Missed(NamedTuple):
    """What one commit means to a watch: its number, as a resume tells it, how many events and about how many bytes."""

    seq: int
    told: dict[str, Any]
    events: int
    size: int


def missed(seq: int, origin: str | None, events: list[Event]) -> dict[str, Any]:
    """Return a commit's events as a resume tells them."""
    if origin is None:
        return {"seq": seq, "events": events}
    return {"seq": seq, "origin": origin, "events": events}


class Stretch:
    """Commits of an account in a row, as far as they were there to be read."""

    def __init__(self, storage: Storage, account: str, number: int) -> None:
        self._storage = storage
        self._account = account
        self._end = (number + 1) * STRETCH
        self._reading = asyncio.Lock()
        self._commits: list[ChangeSet] = []
        self._missed: dict[str, tuple[int, list[Missed]]] = {}
        """By watch: how many commits were looked at, and what they mean."""
        self.last = number * STRETCH
        """The number of the last commit that was read."""
        self.used = 0.0

    async def reach(self, seq: int) -> None:
        """Read up to a commit, or the end of the stretch; once for all who ask. Raise `server.unavailable`."""
        seq = min(seq, self._end)
        async with self._reading:
            while self.last < seq:
                commits = await self._storage.changes(self._account, self.last, self._end - self.last)
                commits = [commit for commit in commits if commit.seq <= self._end]
                if not commits:
                    return  # it is forgotten
                self._commits += commits
                self.last = commits[-1].seq

    def changes(self, since: int) -> int:
        """Return how many records were changed by the commits behind a number."""
        return sum(len(commit.rows) for commit in self._commits if commit.seq > since)

    def after(self, seq: int) -> ChangeSet | None:
        """Return the first commit behind a number."""
        at = bisect_left(self._commits, seq + 1, key=lambda commit: commit.seq)
        return self._commits[at] if at < len(self._commits) else None

    def missed(self, query: WatchQuery, since: int) -> list[Missed]:
        """Return what the commits behind a number mean to a watch; raise `Unsaid` where one of them does not say it."""
        looked, found = self._missed.get(query.id, (0, []))
        meant = [(commit, query.events(commit)) for commit in self._commits[looked:]]
        for commit, events in meant:
            if events:
                told = missed(commit.seq, commit.session, events)
                found.append(Missed(commit.seq, told, len(events), len(_ENCODER.encode(events))))
        self._missed[query.id] = len(self._commits), found
        return found[bisect_left(found, since + 1, key=lambda each: each.seq) :]


class Snapshot:
    """The records of a query as they were at `seq`, and everything that its group was told since it was asked for."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.records: list[Image] | None = None
        """None until it was read."""
        self.seq = 0
        self.users = 0
        """How many starts begin with it."""

    def brought_to(self, seq: int) -> list[Image]:
        """Return the records as they are at `seq`, up to which the group was told of everything."""
        assert self.records is not None
        late = [events for n, _, events in self.recorder.commits if n > self.seq]
        if late:
            self.records = fold(self.records, late)
        self.recorder.commits.clear()
        self.seq = max(self.seq, seq)
        return self.records


class _Readings:
    """The snapshots of one group: one is read at a time, and who asks meanwhile waits for the next one."""

    def __init__(self) -> None:
        self.reading = asyncio.Lock()
        self.next: Snapshot | None = None
        self.users = 0


class Shared:
    """What is read once for all who ask at the same time."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._stretches: dict[tuple[str, str, int], Stretch] = {}
        self._readings: dict[WatchGroup, _Readings] = {}
        self._sweep: asyncio.TimerHandle | None = None

    async def stretch(self, account: str, epoch: str, after: int, target: int) -> Stretch:
        """Return the stretch that begins at or before the commit behind `after`, read up to `target` or to its end."""
        key = (account, epoch, after // STRETCH)
        stretch = self._stretches.pop(key, None) or Stretch(self._storage, account, after // STRETCH)
        self._stretches[key] = stretch
        if len(self._stretches) > STRETCHES:
            del self._stretches[next(iter(self._stretches))]
        loop = asyncio.get_running_loop()
        stretch.used = loop.time()
        if self._sweep is None:
            self._sweep = loop.call_later(KEPT_SECONDS, self._forget_unused)
        await stretch.reach(target)
        return stretch

    @asynccontextmanager
    async def snapshot(self, group: WatchGroup) -> AsyncIterator[Snapshot]:
        """Yield the state of a group's query, read after this was asked; raise `watch.too_large`.

        The group's account is followed; everything that is told behind its number meanwhile is in its recorder.
        """
        readings = self._readings.setdefault(group, _Readings())
        if readings.next is None:
            readings.next = Snapshot()
            group.recorders.append(readings.next.recorder)
        snapshot = readings.next
        readings.users += 1
        snapshot.users += 1
        try:
            async with readings.reading:
                if snapshot.records is None:
                    if readings.next is snapshot:
                        readings.next = None  # it is begun: who asks from now on gets a later one
                    snapshot.records, snapshot.seq = await self._find(group.query)
            yield snapshot
        finally:
            snapshot.users -= 1
            readings.users -= 1
            if not snapshot.users:
                group.recorders.remove(snapshot.recorder)
                if readings.next is snapshot:
                    readings.next = None
            if not readings.users:
                del self._readings[group]

    async def _find(self, query: WatchQuery) -> tuple[list[Image], int]:
        found = await self._storage.find(query.account, Query(query.type, query.where))
        if found.more:
            raise HubError(
                "watch.too_large",
                f"The query matches more than {FIND_CEILING} records; narrow the filter, or give it a limit.",
                path="where",
            )
        return [query.view(image) for image in found.records], found.seq

    def _forget_unused(self) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time() - KEPT_SECONDS
        for key in [key for key, stretch in self._stretches.items() if stretch.used <= before]:
            del self._stretches[key]
        self._sweep = loop.call_later(KEPT_SECONDS, self._forget_unused) if self._stretches else None

    def forget(self, account: str) -> None:
        """Forget what was read of the log of an account: it holds images of records that were purged."""
        for key in [key for key in self._stretches if key[0] == account]:
            del self._stretches[key]

    def close(self) -> None:
        """Forget everything."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self._stretches.clear()


def fold(records: list[Image], commits: list[list[Event]]) -> list[Image]:
    """Return a snapshot brought forward by the events of later commits."""
    by_id = {record["id"]: record for record in records}
    for events in commits:
        for event in events:
            rec = event["rec"]
            if event["kind"] == "enter":
                by_id[rec] = event["record"]
            elif event["kind"] == "leave":
                by_id.pop(rec, None)
            elif rec in by_id:
                by_id[rec] = {**by_id[rec], **event["patch"], "version": event["version"]}
    return list(by_id.values())
