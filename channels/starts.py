"""How a watch begins: with a snapshot, or with what a client has missed.

Record what the group is told from now on; read one consistent snapshot, or the log since the client's position, once
for all who ask at that time (`channels.replays`); wait until the dispatcher has reached it; fold what was recorded
into it. A window is begun by its group, whose content is exact at all times; it is resumed by comparing what the
client has with what is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from channels.dispatch import Dispatcher
from channels.outlet import Outlet
from channels.refills import WindowGroup, Windows
from channels.replays import Shared, missed
from channels.watches import Recorder, Unsaid, WatchGroup
from hub.schema.record import Image
from hub.wire.errors import HubError
from storage.base import Storage

REPLAY_EVENTS: Final = 10_000
REPLAY_BYTES: Final = 768 * 1024
REPLAY_CHANGES: Final = 20_000
"""How many changes of the log are looked at for a resume, whatever they mean to it."""
_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Since:
    """Where a client was: its mark and position, and of a window the versions of the records that it has."""

    mark: str
    seq: int
    have: Mapping[str, int] | None = None


@dataclass(slots=True)
class Started:
    """What a watch start answers. Exactly one of `records` and `events` is set."""

    group: WatchGroup
    mark: str
    seq: int
    records: list[Image] | None = None
    events: list[dict[str, Any]] | None = None
    why: str | None = None


class Starts:
    """Begins watches over one keeper."""

    def __init__(
        self, storage: Storage, dispatcher: Dispatcher, windows: Windows, resume_from: Callable[[], str]
    ) -> None:
        self.shared = Shared(storage)
        self._storage = storage
        self._dispatcher = dispatcher
        self._windows = windows
        self._resume_from = resume_from

    async def start(
        self, group: WatchGroup, recorder: Recorder, outlet: Outlet | None, epoch: str, since: Since | None
    ) -> Started:
        """Return what a watch begins with; nothing is waited for behind the state that it tells.

        `recorder` is one of the group, whose account is followed. Raises `watch.too_large`, `server.unavailable`.
        """
        started = why = None
        if since is not None:
            why = group.query.mismatch(since.mark, epoch)
            if why is None:
                if isinstance(group, WindowGroup):
                    started = await self._compare(group, outlet, since)
                else:
                    started = await self._replay(group, recorder, outlet, epoch, since.seq)
                why = "expired" if started is None else None
        if started is None:
            if isinstance(group, WindowGroup):
                started = await self._shown(group, outlet)
            else:
                started = await self._snapshot(group, outlet)
        if recorder.lost:
            raise HubError("server.unavailable", "Records were purged while this was read; ask again.", retry_after=1)
        started.mark, started.why = group.query.mark(epoch), why
        return started

    async def _catches_up(self, account: str, since: int) -> bool:
        """Wait until this instance stands where a client does; return False where that is of another history."""
        if since > self._dispatcher.position(account):
            # The client comes from an instance that is ahead of this one, or from another history.
            head = (await self._storage.heads([account]))[account]
            if since > head.seq:
                return False
            await self._dispatcher.reached(account, since)
        return True

    async def _snapshot(self, group: WatchGroup, outlet: Outlet | None) -> Started:
        account = group.query.account
        async with self.shared.snapshot(group) as kept:
            await self._dispatcher.reached(account, kept.seq)
            await self._windows.settled(outlet)
            seq = max(self._dispatcher.position(account), kept.seq)
            return Started(group, "", seq, records=kept.brought_to(seq))

    async def _replay(
        self, group: WatchGroup, recorder: Recorder, outlet: Outlet | None, epoch: str, since: int
    ) -> Started | None:
        """Return what was missed since a position, or None where only a snapshot can help."""
        query = group.query
        if not await self._catches_up(query.account, since):
            return None
        target = self._dispatcher.position(query.account)
        told: list[dict[str, Any]] = []
        position, count, size, looked = since, 0, 0, 0
        while position < target:
            stretch = await self.shared.stretch(query.account, epoch, position, target)
            first = stretch.after(position)
            if first is None or first.seq != position + 1 or first.at < self._resume_from():
                return None
            try:
                passed = stretch.missed(query, position)
            except Unsaid:
                return None
            for each in passed:
                told.append(each.told)
                count += each.events
                size += each.size
            looked += stretch.changes(position)
            position = stretch.last
            if count > REPLAY_EVENTS or size > REPLAY_BYTES or (looked > REPLAY_CHANGES and position < target):
                return None
        await self._dispatcher.reached(query.account, position)
        await self._windows.settled(outlet)
        told += [missed(n, origin, events) for n, origin, events in recorder.commits if n > position]
        return Started(group, "", max(self._dispatcher.position(query.account), position), events=told)

    async def _shown(self, group: WindowGroup, outlet: Outlet | None) -> Started:
        """Return what a window shows, when it is filled."""
        await self._windows.ready(group, outlet)
        shown = list(group.window.shown.values())
        return Started(group, "", self._dispatcher.position(group.query.account), records=shown)

    async def _compare(self, group: WindowGroup, outlet: Outlet | None, since: Since) -> Started | None:
        """Return what brings a window from what its client has to now, or None where only a snapshot can help."""
        account = group.query.account
        if since.have is None or not await self._catches_up(account, since.seq):
            return None
        events = await self._windows.resumed(group, outlet, since.have)
        if len(_ENCODER.encode(events)) > REPLAY_BYTES:
            return None
        seq = self._dispatcher.position(account)
        return Started(group, "", seq, events=[missed(seq, None, events)] if events else [])
