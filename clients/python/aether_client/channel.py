"""Channels on a connection: joined with a state, joined again on every new socket, roster kept.

A `Channel` is read with `async for`: each item is a `RosterChange`, a `ChannelMessage`, a `ChannelLock`, or a
`ChannelGap` where messages were lost for good, in order. What was said while the socket was away is recovered by the
place that was kept. What waits for a slow reader is bounded; the roster itself is always current.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal

from aether_client.codec import Message
from aether_client.connection import Connection
from aether_client.errors import HubError
from aether_client.requests import Answer
from aether_client.roster import Hole, Member, Roster, RosterChange

AGAIN_SECONDS: Final = 1.0
MOST_WAITING: Final = 1_000
"""How many items wait for a reader; the oldest go first, as channels are not durable anyway."""


@dataclass(frozen=True, slots=True)
class ChannelMessage:
    """What somebody sent into a channel. `offset` is None in a channel without history."""

    event: str
    data: Any
    sender: Any
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class ChannelGap:
    """Messages were missed that the hub no longer has. `why`: they are of another `epoch`, or `expired`."""

    why: str


@dataclass(frozen=True, slots=True)
class ChannelLock:
    """The lock of the channel's record changed hands: `why` is taken, stolen, released, lapsed or deleted.

    `holder` has it now; None: nobody.
    """

    why: str
    holder: Mapping[str, Any] | None


Wanted = Literal["full", "count", "none"] | Mapping[str, Sequence[str]]
"""Of whom to be told: everybody, how many there are, nobody, or some `users` and `devices`."""

_Item = RosterChange | ChannelMessage | ChannelLock | ChannelGap


class Channel:
    """One joined channel. Leave it with `leave`, or use it as a context manager."""

    def __init__(self, channels: Channels, name: str, state: Mapping[str, Any] | None, wanted: Wanted = "full") -> None:
        self.name = name
        self.wanted = wanted
        self.state = state
        """What the others see about this session; None: joined without being seen."""
        self.on_drop: list[Mapping[str, Any]] | None = None
        """What the hub does in this session's name when it vanishes; None: nothing."""
        self.lock_holder: Mapping[str, Any] | None = None
        """Who has the lock of the channel's record, as was heard last; None: nobody."""
        self.error: HubError | None = None
        """Why the hub refused the channel, or why the connection ended."""
        self._channels = channels
        self._roster = Roster()
        self._joining = False
        """Whether a join is under way on the present socket."""
        self._early: list[Message] = []
        """Presence pushes that overtook the answer of the join."""
        self._reading: object = None
        """Stands for the page of the roster that is being read; None: none is."""
        self._place: dict[str, Any] | None = None
        """Where the history of messages stands: epoch and offset."""
        self._waiting: deque[_Item] = deque(maxlen=MOST_WAITING)
        self._left = False
        self._wake = asyncio.Event()

    @property
    def members(self) -> list[Member]:
        """Who is here, in the order they came."""
        return list(self._roster.members.values())

    @property
    def count(self) -> int:
        """How many members there are, as far as is told: more than `members` while a long list of them is read."""
        return self._roster.count

    @property
    def joined(self) -> bool:
        """Whether the roster is live on the present socket."""
        return self._roster.version is not None

    async def set_state(self, state: Mapping[str, Any]) -> None:
        """Say something new about this session; kept for the next join too, with which it goes out where it can't now.

        Raises `HubError` where the hub does not take it.
        """
        unseen, self.state = self.state is None, state
        if not self.joined:
            return
        if unseen:
            self.join()
        else:
            await self._update({"state": state})

    async def set_on_drop(self, wishes: Sequence[Mapping[str, Any]] | None) -> None:
        """Say what the hub shall do in this session's name when it vanishes from here, for good and without a word.

        Wishes are `record.update` and `channel.send` requests; None: no longer anything. They are kept for every
        session to come. Raises `HubError` where the hub does not take them.
        """
        self.on_drop = None if wishes is None else list(wishes)
        if self.joined:
            await self._update({"on_drop": self.on_drop})

    async def _update(self, fields: Mapping[str, Any]) -> None:
        try:
            await self._channels.connection.call("presence.update", {"channel": self.name, **fields}, 30.0)
        except HubError as error:
            if not error.may_pass or self.joined:
                raise  # else it goes out with the next join

    async def send(
        self,
        event: str,
        data: Any,
        *,
        to: Mapping[str, str] | None = None,
        echo: bool = True,
        ttl: float | None = None,
    ) -> Answer:
        """Send a message to everybody in the channel; its place is `offset` of the answer's data, where it is kept.

        `to` names one `session`, `user` or `device` instead, `echo=False` leaves this session out, and after `ttl`
        seconds nobody is told any more who comes late.
        """
        fields: dict[str, Any] = {"channel": self.name, "event": event, "data": data}
        given = {"to": to, "echo": None if echo else False, "ttl": ttl}
        fields |= {name: value for name, value in given.items() if value is not None}

        def heard(result: Answer | HubError) -> None:
            if not echo and isinstance(result, Answer) and "offset" in result.data:
                self._pass(result.data["offset"])  # the answer stands where the message would

        return await self._channels.connection.call("channel.send", fields, 30.0, heard)

    def leave(self) -> None:
        """Leave for good; a running `async for` ends."""
        self._left = True
        self._wake.set()
        self._channels.forget(self)

    async def __aiter__(self) -> AsyncIterator[_Item]:
        while True:
            while self._waiting and not self._left:
                yield self._waiting.popleft()
            if self._left:
                return
            if self.error is not None:
                raise self.error
            self._wake.clear()
            await self._wake.wait()

    async def __aenter__(self) -> Channel:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def _put(self, item: _Item) -> None:
        self._waiting.append(item)
        self._wake.set()

    def join(self) -> None:
        """Join on the present socket."""
        connection = self._channels.connection
        socket = connection.sockets
        fields: dict[str, Any] = {"channel": self.name}
        state = self.state
        if state is not None:
            fields["presence"] = {"state": state}
        if self.wanted != "full":
            fields["roster"] = self.wanted
        if self._place is not None:
            fields["recover"] = dict(self._place)
        self._joining, self._reading = True, None
        self._early.clear()

        def ok(answer: Answer) -> None:
            if connection.sockets == socket:
                self._joined(answer.data)
                news: dict[str, Any] = {}
                if self.state is not state and self.state is not None:  # it was set while the join was on its way
                    news["state"] = self.state
                if self.on_drop is not None:
                    news["on_drop"] = self.on_drop
                if news:
                    connection.ask("presence.update", {"channel": self.name, **news}, lambda _: None, lambda _: None)

        def fail(error: HubError) -> None:
            if connection.sockets != socket or connection.state != "online":
                return  # joins again with the next socket
            self._joining = False
            if error.may_pass:
                loop = asyncio.get_running_loop()
                loop.call_later(error.retry_after or AGAIN_SECONDS, self._channels.join_later, self, socket)
            else:
                self._channels.forget(self)
                self.end(error)

        connection.ask("channel.join", fields, ok, fail)

    def _joined(self, data: Mapping[str, Any]) -> None:
        self._joining = False
        again, self._place = self._place is not None, {"epoch": data["epoch"], "offset": data["offset"]}
        self._put(self._roster.open(data["members"], data["version"], data.get("count"), data.get("next")))
        if again and "why" in data:
            self._put(ChannelGap(data["why"]))
        self.lock_holder = (data.get("lock") or {}).get("holder")
        for message in data.get("messages") or ():
            self._put(_message(message))
        early, self._early = self._early, []
        for push in early:
            self.presence(push)
        if not self._joining:
            self._read(data.get("next"))

    def _read(self, after: str | None) -> None:
        """Read the roster's next page, if there is one, and so on, one at a time."""
        self._reading = None
        if after is None or not self._channels.holds(self):
            return
        self._reading = reading = object()

        def ok(answer: Answer) -> None:
            if self._reading is reading:
                following = answer.data.get("next")
                change = self._roster.page(answer.data["members"], following)
                if change:
                    self._put(change)
                self._read(following)

        def fail(error: HubError) -> None:
            if self._reading is reading:
                again = functools.partial(self._read, after) if error.may_pass else self.join
                asyncio.get_running_loop().call_later(error.retry_after or AGAIN_SECONDS, later, again)

        def later(again: Callable[[], None]) -> None:
            if self._reading is reading and self._channels.holds(self):
                again()  # a join begins the list again, or says why not

        fields = {"channel": self.name, "after": after}
        # The next socket joins anew, so the page is not asked for there.
        self._channels.connection.ask("presence.roster", fields, ok, fail, "socket")

    def presence(self, push: Message) -> None:
        """Take a `presence` push."""
        if self._joining:
            if len(self._early) < MOST_WAITING:  # a hole in what follows makes the channel join again
                self._early.append(push)
            return
        try:
            change = self._roster.push(push["version"], push.get("events", []), push.get("count"))
        except Hole:
            self.join()
            return
        if change:
            self._put(change)

    def message(self, push: Message) -> None:
        """Take a `message` push: once, and in the order of the channel."""
        if push["event"] == "$lock":
            data = push["data"]
            self.lock_holder = data["holder"]
            self._put(ChannelLock(data["why"], data["holder"]))
            return
        if "offset" not in push or self._pass(push["offset"]):
            self._put(_message(push))

    def _pass(self, offset: int) -> bool:
        """Move on to an offset and say whether it was the next; where there is a hole before it, recover."""
        if self._joining or self._place is None or offset <= self._place["offset"]:
            return False  # it is, or was, in the answer of a join
        if offset > self._place["offset"] + 1:
            self.join()
            return False
        self._place["offset"] = offset
        return True

    def reset(self, why: str) -> None:
        """Note that messages do not go on by themselves."""
        if why == "ended":
            self._channels.forget(self)
            self.end(HubError("channel.unknown", "The record of this channel was deleted."))
        elif not self._joining:
            self.join()

    def lost(self) -> None:
        """Note that the socket is gone."""
        self._joining, self._reading = False, None
        self._roster.lost()

    def end(self, error: HubError) -> None:
        """Note that the channel will not come back."""
        self.error = error
        self._wake.set()


def _message(message: Message) -> ChannelMessage:
    return ChannelMessage(message["event"], message["data"], message.get("from"), message.get("offset"))


class Channels:
    """The joined channels of a connection; a listener of it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._joined: dict[str, Channel] = {}
        connection.listeners.append(self)

    def join(self, name: str, state: Mapping[str, Any] | None, wanted: Wanted = "full") -> Channel:
        """Join a channel; one that is joined already must be left first."""
        if name in self._joined:
            raise ValueError(f"{name} is joined already; leave it first")
        channel = Channel(self, name, state, wanted)
        if self.connection.state == "ended":
            channel.end(self.connection.error or HubError("server.unavailable", "The client was stopped."))
            return channel
        self._joined[name] = channel
        if self.connection.state == "online":
            channel.join()
        return channel

    def join_later(self, channel: Channel, socket: int) -> None:
        """Try again to join, if nothing has changed since."""
        same = self.connection.state == "online" and self.connection.sockets == socket
        if same and self.holds(channel):
            channel.join()

    def holds(self, channel: Channel) -> bool:
        """Say whether a channel is still one of these."""
        return self._joined.get(channel.name) is channel

    def forget(self, channel: Channel) -> None:
        """Leave a channel."""
        if not self.holds(channel):
            return
        del self._joined[channel.name]
        if channel.joined and self.connection.state == "online":
            # Leaving what is left already is no mistake, so the answer does not matter.
            self.connection.ask("channel.leave", {"channel": channel.name}, lambda _: None, lambda _: None)

    def online(self, session: Mapping[str, Any]) -> None:
        """Join everything on the new socket."""
        for channel in self._joined.values():
            channel.join()

    def offline(self) -> None:
        """Keep the rosters as last seen."""
        for channel in self._joined.values():
            channel.lost()

    def horizon(self, seq: int) -> None:
        """Nothing: channels have no place in the account's order."""

    def push(self, message: Message) -> None:
        """Take what belongs to a channel."""
        channel = self._joined.get(message.get("channel", ""))
        if channel is None:
            return
        if message["op"] == "presence":
            channel.presence(message)
        elif message["op"] == "message":
            channel.message(message)
        elif message["op"] == "reset":
            channel.reset(message["why"])

    def ended(self, error: HubError) -> None:
        """Tell every reader."""
        joined, self._joined = self._joined, {}
        for channel in joined.values():
            channel.end(error)
