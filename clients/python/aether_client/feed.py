"""Feeds on a connection: every commit of the account for a service, started again on every new socket.

    async with hub.feed("crm") as feed:
        async for item in feed:
            if isinstance(item, FeedBegun):
                ...  # read with record.find what the service needs: what was before is not pushed
            else:
                ...  # do what the commit's events ask for
            await feed.ack(item.seq)

The hub keeps what was acknowledged, and pushes again what was not; what this feed has handed out already it does not
hand out twice. What waits for a slow reader is bounded by the hub.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from aether_client.codec import Message
from aether_client.connection import Connection
from aether_client.errors import HubError
from aether_client.requests import Answer

AGAIN_SECONDS: Final = 1.0
ACK_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class FeedBegun:
    """The feed begins behind `seq`, and not where it was left: `why` is new, epoch or expired."""

    epoch: str
    seq: int
    why: str


@dataclass(frozen=True, slots=True)
class FeedCommit:
    """A commit: who made it, when, and the changes of records as the wire has them. `actor` None: the operator."""

    epoch: str
    seq: int
    at: str
    actor: str | None
    session: str | None
    request: str | None
    events: list[dict[str, Any]]


class Feed:
    """One feed. Stop it with `stop`, or use it as a context manager; its position is kept."""

    def __init__(self, feeds: Feeds, name: str, since: Mapping[str, Any] | None) -> None:
        self.name = name
        self.error: HubError | None = None
        """Why the feed has ended."""
        self._feeds = feeds
        self._since = since
        """Where it begins instead of where it was acknowledged; until the first start was answered."""
        self._handed = ("", -1)
        """Epoch and number of what was put before the reader last."""
        self._pushed = -1
        """Up to where the hub has pushed on the present socket; -1: not started there."""
        self._part: list[dict[str, Any]] = []
        """The first events of a commit that comes in several pushes."""
        self._waiting: deque[FeedBegun | FeedCommit] = deque()
        self._stopped = False
        self._wake = asyncio.Event()

    async def ack(self, seq: int) -> None:
        """Have the hub keep, on disk, that everything up to `seq` is done; raise `HubError`.

        Waits for a connection, and on a new one until the hub has come as far again.
        """
        while True:
            while self._pushed < seq:
                if self.error is not None or self._stopped:
                    raise self.error or HubError("action.cancelled", "The feed was stopped.")
                self._wake.clear()
                await self._wake.wait()
            fields = {"name": self.name, "seq": seq}
            try:
                await self._feeds.connection.call("feed.ack", fields, ACK_SECONDS)
            except HubError as error:
                if error.code != "write.unknown":
                    raise  # else the socket was lost: again on the next one, twice is as once
            else:
                return

    def stop(self) -> None:
        """Stop for good; a running `async for` ends."""
        self._stopped = True
        self._wake.set()
        self._feeds.forget(self)

    async def __aiter__(self) -> AsyncIterator[FeedBegun | FeedCommit]:
        while True:
            while self._waiting and not self._stopped:
                yield self._waiting.popleft()
            if self._stopped:
                return
            if self.error is not None:
                raise self.error
            self._wake.clear()
            await self._wake.wait()

    async def __aenter__(self) -> Feed:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start on the present socket."""
        connection = self._feeds.connection
        socket = connection.sockets
        fields: dict[str, Any] = {"name": self.name}
        if self._since is not None:
            fields["since"] = dict(self._since)

        def ok(answer: Answer) -> None:
            if connection.sockets == socket:
                self._begun(answer.data)

        def fail(error: HubError) -> None:
            if connection.sockets != socket or connection.state != "online":
                return  # starts again with the next socket
            if error.may_pass:
                loop = asyncio.get_running_loop()
                loop.call_later(error.retry_after or AGAIN_SECONDS, self._feeds.start_later, self, socket)
            else:
                self.end(error)

        connection.ask("feed.start", fields, ok, fail)

    def _begun(self, data: Mapping[str, Any]) -> None:
        epoch, seq = str(data["epoch"]), int(data["seq"])
        if self._handed[0] != epoch or not data["resumed"]:
            self._handed = (epoch, seq)
        if not data["resumed"]:
            self._waiting.append(FeedBegun(epoch, seq, str(data.get("why"))))
        self._pushed = seq
        self._wake.set()

    def push(self, message: Message) -> None:
        """Take a `feed` push."""
        self._part += message["events"]
        if message.get("more"):
            return
        events, self._part = self._part, []
        epoch, seq = message["epoch"], message["seq"]
        self._pushed = seq
        if (epoch, seq) > self._handed or epoch != self._handed[0]:
            self._handed = (epoch, seq)
            said = {name: message[name] for name in ("at", "actor", "session", "request")}
            self._waiting.append(FeedCommit(epoch, seq, events=events, **said))
        self._wake.set()

    def lost(self) -> None:
        """Note that the socket is gone, or that the feed must be started again on it."""
        # By its own books a service goes on from what it was handed, as long as this feed lives.
        if self._since is not None and self._handed[1] >= 0:
            self._since = {"epoch": self._handed[0], "seq": self._handed[1]}
        self._pushed = -1
        self._part.clear()

    def end(self, error: HubError) -> None:
        """Note that the feed will not come back."""
        self._feeds.forget(self)
        self.error = error
        self._wake.set()


class Feeds:
    """The feeds of a connection; a listener of it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._feeds: dict[str, Feed] = {}
        connection.listeners.append(self)

    def follow(self, name: str, since: Mapping[str, Any] | None) -> Feed:
        """Start a feed; one that is running already must be stopped first."""
        if name in self._feeds:
            raise ValueError(f"the feed {name} is running already; stop it first")
        feed = Feed(self, name, since)
        if self.connection.state == "ended":
            feed.end(self.connection.error or HubError("server.unavailable", "The client was stopped."))
            return feed
        self._feeds[name] = feed
        if self.connection.state == "online":
            feed.start()
        return feed

    def start_later(self, feed: Feed, socket: int) -> None:
        """Try again to start, if nothing has changed since."""
        same = self.connection.state == "online" and self.connection.sockets == socket
        if same and self._feeds.get(feed.name) is feed:
            feed.start()

    def forget(self, feed: Feed) -> None:
        """Stop a feed."""
        if self._feeds.get(feed.name) is not feed:
            return
        del self._feeds[feed.name]
        if self.connection.state == "online":
            # Stopping what has ended is no mistake, so the answer does not matter.
            self.connection.ask("feed.stop", {"name": feed.name}, lambda _: None, lambda _: None)

    def online(self, session: Mapping[str, Any]) -> None:
        """Start everything on the new socket."""
        for feed in self._feeds.values():
            feed.start()

    def offline(self) -> None:
        """Note that everything is to be started again."""
        for feed in self._feeds.values():
            feed.lost()

    def horizon(self, seq: int) -> None:
        """Nothing: feeds are paced by their acknowledgements."""

    def push(self, message: Message) -> None:
        """Take what belongs to a feed."""
        if message["op"] == "feed":
            feed = self._feeds.get(message["name"])
            if feed is not None:
                feed.push(message)
        elif message["op"] == "reset" and "feed" in message:
            feed = self._feeds.get(message["feed"])
            if feed is None:
                return
            if message["why"] == "taken":
                feed.end(HubError("action.cancelled", "Somebody else has started this feed."))
            else:
                feed.lost()
                feed.start()

    def ended(self, error: HubError) -> None:
        """Tell every reader."""
        for feed in list(self._feeds.values()):
            feed.end(error)
