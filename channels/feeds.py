"""Feeds: every change of an account for a service that must miss none, a bounded number of commits at a time.

A feed reads the log behind its position, whether that is a year or a moment old, and pushes what its rights show of
each commit. It stops when a window of pushes is not acknowledged, and goes on with each acknowledgement; so what
waits for a service that does not read is bounded, and nobody else waits. The acknowledged position is kept in storage
by name: whoever starts the feed again, wherever, gets what lies behind it. One socket at a time has a feed here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec

from channels.outlet import Outlet
from hub.access import Rights
from hub.schema.record import RecordType
from hub.schema.rows import FREE, RowRules
from hub.schema.writes import ChangeRow, ChangeSet
from hub.wire import frames
from hub.wire.errors import HubError
from storage.base import FeedPosition, Storage

FEEDS_PER_SOCKET: Final = 10
WINDOW_COMMITS: Final = 1000
"""How many commits may be pushed and not yet acknowledged."""
WINDOW_BYTES: Final = 256 * 1024
"""How many bytes of pushes may be unacknowledged before the next commit waits."""
PUSH_BYTES: Final = 256 * 1024
"""How large a push gets before the rest of its commit comes in the next."""
PAGE: Final = 50
"""How many commits are read from the log at a time."""
UNSEEN: Final = 1000
"""After how many commits of which nothing was shown the position is kept by itself."""
RETRY_SECONDS: Final = 0.5

SAID_ABOVE: Final = frozenset({"id", "type", "version", "account_id", "updated_at", "updated_by"})
"""What the history of a record says in fields of its own, or what is the same for every entry."""

log = logging.getLogger("hub.feeds")
_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class FeedStarted:
    """Where a feed begins: behind `position`. `why` says why that is not where it was left, else None."""

    position: FeedPosition
    why: str | None = None


class Feed:
    """One feed on one socket."""

    def __init__(
        self, account: str, name: str, rights: Rights, outlet: Outlet, start: FeedPosition, rules: RowRules = FREE
    ) -> None:
        self.account = account
        self.name = name
        self.rights = rights
        self.rules = rules
        self.outlet = outlet
        self.epoch = start.epoch
        self.read = start.seq
        """The last commit that was read from the log."""
        self.kept = start.seq
        """Up to where the position is kept, or need not be."""
        self.open: deque[tuple[int, int]] = deque()
        """The commits that were pushed and not acknowledged: number and bytes."""
        self.size = 0
        """Their bytes."""
        self.woken = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def is_full(self) -> bool:
        """Say whether the next commit waits for an acknowledgement."""
        return len(self.open) >= WINDOW_COMMITS or self.size >= WINDOW_BYTES

    def acknowledge(self, seq: int) -> int:
        """Take commits up to `seq` out of the window; return up to where the position may be kept now.

        That is further than `seq` where nothing of what follows it was shown.
        """
        while self.open and self.open[0][0] <= seq:
            self.size -= self.open.popleft()[1]
        self.woken.set()
        return self.open[0][0] - 1 if self.open else self.read

    def push(self, commit: ChangeSet) -> None:
        """Push what the rights show of a commit, if that is anything."""
        events = [event for row in commit.rows if (event := self._event(row)) is not None]
        if not events:
            return
        said = {
            "seq": commit.seq, "at": commit.at, "actor": commit.actor, "session": commit.session,
            "request": commit.request,
        }  # fmt: skip
        size, pages = 0, _pages(events)
        for n, page in enumerate(pages, 1):
            push = frames.feed(self.name, self.epoch, said, page, n < len(pages))
            frame = self.outlet.codec.encode(push)
            size += len(frame)
            self.outlet.push(frame, ("feed", self.name), force=True)  # the window is the bound
        self.open.append((commit.seq, size))
        self.size += size

    def _event(self, row: ChangeRow) -> dict[str, Any] | None:
        kind: RecordType | None = self.rights.registry.types.get(row.type)
        if kind is None or not self.rights.allows(f"{row.type}.read"):
            return None
        if self.rules.binds(kind) and (row.kind != "purge" or row.before):
            # A purge that the log says nothing of any more is told with its id: nobody could tell it otherwise.
            seen = row.within(partial(self.rules.allows, kind, "read"))
            if seen is None:
                return None
            row = seen
        before, after = row.difference(self.rights.hidden(kind) | SAID_ABOVE)
        if before is not None and not before and row.kind == "update":
            return None  # only what this role does not see has changed
        what = {"kind": row.kind, "type": row.type, "rec": row.rec, "version": row.version}
        return {**what, "before": before, "after": after}


def _pages(events: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the events of a commit in pages that are bounded in bytes; an event larger than that is a page."""
    pages: list[list[dict[str, Any]]] = [[]]
    size = 0
    for event in events:
        more = len(_ENCODER.encode(event))
        if pages[-1] and size + more > PUSH_BYTES:
            pages.append([])
            size = 0
        pages[-1].append(event)
        size += more
    return pages


class Feeds:
    """The feeds of one hub, by account and name."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._feeds: dict[str, dict[str, Feed]] = {}

    def tell(self, account: str) -> None:
        """Wake the feeds of an account: there is something behind what they have read."""
        feeds = self._feeds.get(account)
        if feeds:
            for feed in feeds.values():
                feed.woken.set()

    async def begin(self, account: str, name: str, since: FeedPosition | int | None) -> FeedStarted:
        """Return where a feed begins: behind `since`, or behind its kept position, or, with `why`, at the head.

        A number alone is one of the present epoch.
        """
        head = (await self._storage.heads([account]))[account]
        now = FeedPosition(head.epoch, head.seq)
        if isinstance(since, int):
            since = FeedPosition(head.epoch, since)
        wanted = since if since is not None else await self._storage.feed_position(account, name)
        if wanted is None:
            return FeedStarted(now, "new")
        if wanted.epoch != head.epoch or wanted.seq > head.seq:
            return FeedStarted(now, "epoch")
        if wanted.seq < head.seq:
            first = await self._storage.changes(account, wanted.seq, 1)
            if not first or first[0].seq != wanted.seq + 1:
                return FeedStarted(now, "expired")
        return FeedStarted(wanted)

    def open(self, feed: Feed) -> None:
        """Begin to push, taking the feed from whoever has it here; in the turn in which its answer is queued."""
        feeds = self._feeds.setdefault(feed.account, {})
        if (other := feeds.get(feed.name)) is not None:
            self.close(other)
            _end(other, "taken")
        self._feeds.setdefault(feed.account, {})[feed.name] = feed
        feed.task = asyncio.get_running_loop().create_task(self._run(feed))

    def of(self, account: str, name: str, outlet: Outlet | None) -> Feed | None:
        """Return a feed, where this socket has it."""
        feed = self._feeds.get(account, {}).get(name)
        return feed if feed is not None and feed.outlet is outlet else None

    def close(self, feed: Feed) -> None:
        """Stop pushing; again does nothing."""
        feeds = self._feeds.get(feed.account, {})
        if feeds.get(feed.name) is feed:
            del feeds[feed.name]
            if not feeds:
                del self._feeds[feed.account]
        if feed.task is not None:
            feed.task.cancel()
        feed.outlet.drop(("feed", feed.name))

    def close_all(self) -> None:
        """Stop every feed."""
        for feeds in list(self._feeds.values()):
            for feed in list(feeds.values()):
                self.close(feed)

    def drop(self, outlet: Outlet, why: str | None = None) -> None:
        """Stop every feed of a socket, which is told `why`."""
        for feeds in list(self._feeds.values()):
            for feed in [feed for feed in feeds.values() if feed.outlet is outlet]:
                self.close(feed)
                if why is not None:
                    _end(feed, why)

    def count(self, outlet: Outlet) -> int:
        """Return how many feeds a socket has."""
        return sum(feed.outlet is outlet for feeds in self._feeds.values() for feed in feeds.values())

    async def acknowledge(self, feed: Feed, seq: int) -> int:
        """Keep that everything up to `seq` is done, which was pushed or is the start; return up to where."""
        target = feed.acknowledge(seq)
        feed.kept = max(feed.kept, target)
        kept = await self._storage.move_feed(feed.account, feed.name, FeedPosition(feed.epoch, target))
        return target if kept is None else kept.seq

    async def _run(self, feed: Feed) -> None:
        """Read the log and push what it says, until cancelled or until the log does not reach back far enough."""
        failed = False
        while True:
            try:
                ended = await self._step(feed)
                failed = False
            except HubError as error:
                if not failed:
                    log.warning(
                        "the feed %s of account %s waits: %s", feed.name, feed.account, error.__cause__ or error
                    )
                failed = True
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if ended:
                feed.task = None
                self.close(feed)
                _end(feed, "expired")
                return

    async def _step(self, feed: Feed) -> bool:
        """Push the next commits; say whether there is a hole before them."""
        feed.woken.clear()
        if feed.is_full():
            await feed.woken.wait()
            return False
        commits = await self._storage.changes(feed.account, feed.read, PAGE)
        if not commits:
            await feed.woken.wait()
            return False
        for commit in commits:
            if commit.seq != feed.read + 1:
                return True
            while feed.is_full():
                feed.woken.clear()
                await feed.woken.wait()
            feed.push(commit)
            feed.read = commit.seq
        if not feed.open and feed.read - feed.kept >= UNSEEN:
            feed.kept = feed.read
            await self._storage.move_feed(feed.account, feed.name, FeedPosition(feed.epoch, feed.read))
        return False


def _end(feed: Feed, why: str) -> None:
    """Tell a socket that it has a feed no more."""
    feed.outlet.answer(feed.outlet.codec.encode(frames.feed_reset(feed.name, why)))
