"""What is said in channels: who hears it on this instance, from where on, and in which order.

    send -> ChannelLog.append -> told -> every socket that joined, encoded once per codec

Those who are to hear the same are told together (`channels.fanout`). Who is apart, because its join was ahead of what
is told or because a send of its own without echo is open, is looked at alone until it is as far as the others.

The log gives the order (storage/channel_log.py); a join takes its place in it and hears everything behind that place
once. A socket that cannot keep up loses messages with a hole in the offsets that it sees, and recovers them by joining
again; where the log itself may have lost something, they are told with a `reset`. Nothing here waits for a client.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal

import msgspec

from channels.fanout import Fanout, Run
from channels.outlet import Encoded, Outlet
from channels.rosters import Who
from hub.schema.channels import Channel
from hub.wire import frames
from hub.wire.errors import HubError
from storage.channel_log import NOWHERE, ChannelKey, ChannelLog, Entry, Past, Place

HELD: Final = 1000
"""How many messages wait for the answer of a `send` without echo; beyond, the channel is joined again."""


@dataclass(slots=True, eq=False)
class Join:
    """A socket in a channel. `place`, while it is apart from the others: everything up to it was told."""

    session: str
    who: Who | None
    channel: Channel
    place: Place
    sees: bool = False
    """Whether it is told who is there, and so of locks."""
    sending: int = 0
    """How many sends without echo are not yet answered."""
    passed: int = 0
    """How many of them were told to the others: the answer comes before whatever is told next."""
    held: list[Encoded] = field(default_factory=list)
    """What waits for these answers."""


@dataclass(slots=True, eq=False)
class _Recorder:
    """What is told of a channel while somebody is joining it."""

    entries: list[Entry] = field(default_factory=list)
    broken: bool = False
    ended: bool = False


@dataclass(slots=True, eq=False)
class _Room:
    """One channel. Everything up to `place` was told to those in `outlets`, who hear all the same from there on."""

    key: ChannelKey
    place: Place = NOWHERE
    outlets: dict[Outlet, Join] = field(default_factory=dict)
    apart: dict[Outlet, Join] = field(default_factory=dict)
    """Those who are looked at alone."""
    sessions: dict[str, list[Outlet]] = field(default_factory=dict)
    """The socket of each session, in `outlets` or `apart`; two while a session moves from one to another."""
    recorders: list[_Recorder] = field(default_factory=list)
    run: Run | None = None

    @property
    def owner(self) -> tuple[str, str]:
        return "message", self.key[1]

    def everybody(self) -> list[tuple[Outlet, Join]]:
        return [*self.outlets.items(), *self.apart.items()]

    def find(self, outlet: Outlet) -> Join | None:
        return self.outlets.get(outlet) or self.apart.get(outlet)

    def pop(self, outlet: Outlet) -> Join | None:
        """Take a socket out; what was told before is queued for it."""
        if outlet.shared is not None and outlet.shared.runs:
            outlet.shared.settle(outlet)
        join = self.outlets.pop(outlet, None) or self.apart.pop(outlet, None)
        if join is not None:
            self.sessions[join.session].remove(outlet)
            if not self.sessions[join.session]:
                del self.sessions[join.session]
        return join

    def put(self, outlet: Outlet, join: Join) -> None:
        """Take a socket in, which is looked at alone for now."""
        self.apart[outlet] = join
        self.sessions.setdefault(join.session, []).append(outlet)

    def part(self, outlet: Outlet) -> None:
        """Look at a socket alone from now on, with what was told so far."""
        if outlet in self.outlets:
            join = self.pop(outlet)
            if join is not None:  # else it had no room for what was told, and was closed
                join.place = self.place
                self.put(outlet, join)


class Messages:
    """The channels in which somebody of this instance is, as far as messages go."""

    def __init__(self, log: ChannelLog, too_slow: Callable[[Outlet], None], fanout: Fanout | None = None) -> None:
        """Hear of a log; `too_slow` closes a socket that does not keep up with a channel which wants that.

        `fanout` is the one of the watches: what a socket is sent has one order.
        """
        self.log = log
        self._fanout = fanout or Fanout()
        self._too_slow = too_slow
        self._rooms: dict[ChannelKey, _Room] = {}
        self._by_outlet: dict[Outlet, set[ChannelKey]] = {}
        log.listen(self._told, self._broken)

    async def join(
        self,
        key: ChannelKey,
        outlet: Outlet,
        session: str,
        who: Who | None,
        channel: Channel,
        after: Place | None,
        *,
        sees: bool = False,
    ) -> Past:
        """Let a socket hear a channel; return what was said, behind a place where it is known.

        What is told from the return on is queued for the socket: the caller queues its answer in the same turn of
        the loop, and has to leave again where it does not. Raises `server.unavailable`, `channel.unknown`.
        """
        self.leave(key, outlet)  # what is told meanwhile is in the answer
        room = self._rooms.get(key) or self._rooms.setdefault(key, _Room(key))
        recorder = _Recorder()
        room.recorders.append(recorder)
        self.log.follow(key)
        try:
            past = await self.log.past(key, channel.kept, after, channel.last)
            while recorder.broken:
                recorder.broken = False
                recorder.entries.clear()
                past = await self.log.past(key, channel.kept, after, channel.last)
        except BaseException:
            self.log.unfollow(key)
            self._tidy(key, room)
            raise
        finally:
            room.recorders.remove(recorder)
        if recorder.ended:
            self.log.unfollow(key)
            self._tidy(key, room)
            raise HubError("channel.unknown", path="channel")
        place, missed = past.place, list[Entry]()
        for entry in recorder.entries:
            if entry.place == (place.epoch, place.offset + 1):  # a hole shows with the next that is told
                missed.append(entry)
                place = entry.place
        if room.pop(outlet) is not None:  # joined twice at a time: the later answer counts
            self.log.unfollow(key)
        if outlet.framed is not None:
            outlet.shared = self._fanout
        if not room.outlets:
            room.place = place
        joined = Join(session, who, channel, place, sees)
        room.put(outlet, joined)
        self._settle_in(room, outlet, joined)
        self._by_outlet.setdefault(outlet, set()).add(key)
        own = [e for e in (*past.entries, *missed) if e.echo or e.sender != session]
        return Past(place, tuple(own), past.recovered, past.why)

    def leave(self, key: ChannelKey, outlet: Outlet) -> None:
        """Let a socket hear a channel no more."""
        room = self._rooms.get(key)
        if room is None or room.pop(outlet) is None:
            return
        found = self._by_outlet[outlet]
        found.discard(key)
        if not found:
            del self._by_outlet[outlet]
        self.log.unfollow(key)
        self._tidy(key, room)

    def drop(self, outlet: Outlet) -> None:
        """Take a socket out of all channels."""
        for key in list(self._by_outlet.get(outlet, ())):
            self.leave(key, outlet)

    def heard_by(self, key: ChannelKey) -> list[Outlet]:
        """Return the sockets that are in a channel."""
        room = self._rooms.get(key)
        return [] if room is None else [outlet for outlet, _ in room.everybody()]

    def end(self, key: ChannelKey) -> list[Outlet]:
        """The record of a channel is gone: what was said is forgotten. Return who was in it; they are told."""
        room = self._rooms.get(key)
        outlets: list[Outlet] = []
        if room is not None:
            outlets += [outlet for outlet, _ in room.everybody()]
            for recorder in room.recorders:
                recorder.ended = True
        for outlet in outlets:
            self._reset(key, outlet, "ended")
        self.log.forget(key)
        return outlets

    async def send(
        self, key: ChannelKey, channel: Channel, entry: Entry, outlet: Outlet | None
    ) -> tuple[int, Callable[[], None] | None]:
        """Say something; return its offset, 0 where it is not kept, and what to call when the answer is queued.

        Raises `server.unavailable`, `write.unknown`.
        """
        join = self._join_of(key, outlet) if not entry.echo and entry.to is None else None
        if join is None or outlet is None:
            return (await self.log.append(key, entry, channel.kept)).offset, None
        sender, room = join, self._rooms[key]
        sender.sending += 1
        room.part(outlet)
        try:
            place = await self.log.append(key, entry, channel.kept)
        except BaseException:
            self._answered(key, outlet, sender)
            raise
        return place.offset, lambda: self._answered(key, outlet, sender)

    def beside(self, key: ChannelKey, message: Encoded) -> set[Outlet]:
        """Tell what is no message of anybody to those who are told who is there; return whom that concerned.

        A socket that does not keep up joins again, and learns from the answer how things stand.
        """
        room = self._rooms.get(key)
        outlets = set() if room is None else {outlet for outlet, join in room.everybody() if join.sees}
        for outlet in outlets:
            # Not with the messages of the channel, which go where they are too many: no hole would show this one.
            if not outlet.push(message.frame(outlet.codec), None):
                self._reset(key, outlet, "slow")
        return outlets

    def _join_of(self, key: ChannelKey, outlet: Outlet | None) -> Join | None:
        room = self._rooms.get(key)
        return room.find(outlet) if room is not None and outlet is not None else None

    def _answered(self, key: ChannelKey, outlet: Outlet, join: Join) -> None:
        """A send without echo was answered: what was told after it may be told to the sender."""
        join.sending -= 1
        join.passed = min(max(join.passed - 1, 0), join.sending)
        room = self._rooms.get(key)
        if room is None or room.apart.get(outlet) is not join:
            return  # it left meanwhile
        if join.passed == 0 and join.held:
            held, join.held = join.held, []
            for message in held:
                self._push(key, outlet, join, message)
                if room.apart.get(outlet) is not join:
                    return
        self._settle_in(room, outlet, join)

    def _settle_in(self, room: _Room, outlet: Outlet, join: Join) -> None:
        """Tell a socket with the others from now on, where it is as far as they are; else alone."""
        if not join.sending and join.place == room.place:
            room.outlets[outlet] = room.apart.pop(outlet)
            if self._fanout.runs:
                self._fanout.begins(room, outlet)

    def _told(self, key: ChannelKey, entry: Entry) -> None:
        """Tell a message to everybody here whom it concerns."""
        room = self._rooms.get(key)
        if room is None:
            return
        for recorder in room.recorders:
            recorder.entries.append(entry)
        if not room.outlets and not room.apart:
            return
        message = Encoded(message_of(key[1], entry))
        if entry.to is not None:
            for outlet, join in room.everybody():
                if _for(join, entry.to) and (entry.echo or entry.sender != join.session):
                    self._pass(key, outlet, join, message)
            return
        if not entry.echo and entry.sender in room.sessions:
            for outlet in list(room.sessions[entry.sender]):
                room.part(outlet)
        alone = list(room.apart.items())
        if room.outlets:
            self._tell_together(key, room, entry, message)
        elif entry.place.offset:
            room.place = entry.place
        for outlet, join in alone:
            self._tell_alone(key, room, outlet, join, entry, message)

    def _tell_together(self, key: ChannelKey, room: _Room, entry: Entry, message: Encoded) -> None:
        """Tell a message to those who hear all the same."""
        if entry.place.offset:
            if entry.place.epoch == room.place.epoch and entry.place.offset <= room.place.offset:
                return  # it was in the answers of their joins
            if entry.place != (room.place.epoch, room.place.offset + 1):
                for outlet in list(room.outlets):
                    self._reset(key, outlet, "gap")
                room.place = entry.place
                return
            room.place = entry.place
        if len(room.outlets) >= self._fanout.many and self._fanout.add(room, message, partial(self._full, room)):
            return
        for outlet, join in list(room.outlets.items()):
            self._push(key, outlet, join, message)

    def _tell_alone(
        self, key: ChannelKey, room: _Room, outlet: Outlet, join: Join, entry: Entry, message: Encoded
    ) -> None:
        """Tell a message to one who is apart; where it is as far as the others then, it joins them."""
        if entry.place.offset:
            if entry.place.epoch == join.place.epoch and entry.place.offset <= join.place.offset:
                if room.apart.get(outlet) is join:
                    self._settle_in(room, outlet, join)
                return  # it was in the answer of the join
            if entry.place != (join.place.epoch, join.place.offset + 1):
                self._reset(key, outlet, "gap")
                return
            join.place = entry.place
        if not entry.echo and entry.sender == join.session:
            join.passed = min(join.passed + 1, join.sending)
        else:
            self._pass(key, outlet, join, message)
        if room.apart.get(outlet) is join:
            self._settle_in(room, outlet, join)

    def _pass(self, key: ChannelKey, outlet: Outlet, join: Join, message: Encoded) -> None:
        """Push a message, or hold it until the answer that it has to go behind."""
        if not join.passed:
            self._push(key, outlet, join, message)
            return
        join.held.append(message)
        if len(join.held) > HELD:
            self._reset(key, outlet, "slow")

    def _full(self, room: _Room, run: Run, outlet: Outlet) -> None:
        """A socket has no room for what was told together: the last of it will show the hole."""
        join = room.outlets.get(outlet)
        if join is not None:
            self._push(room.key, outlet, join, run.pushes[-1])

    def _push(self, key: ChannelKey, outlet: Outlet, join: Join, message: Encoded) -> None:
        frame, owner = message.frame(outlet.codec), ("message", key[1])
        if outlet.push(frame, owner):
            return
        if join.channel.slow == "close":
            self._reset(key, outlet, "slow")
            self._too_slow(outlet)
            return
        # What waits of this channel is forgotten. The hole in the offsets tells the client to join again, and no more
        # than one message a channel waits for it.
        outlet.drop(owner)
        outlet.push(frame, owner, force=True)

    def _reset(self, key: ChannelKey, outlet: Outlet, why: Literal["gap", "slow", "ended"]) -> None:
        """A socket's messages do not go on: it has to join again, with the place that it has."""
        self.leave(key, outlet)
        outlet.push(Encoded(frames.channel_reset(key[1], why)).frame(outlet.codec), None, force=True)

    def _broken(self, key: ChannelKey) -> None:
        """Messages may be missing: everybody joins again."""
        room = self._rooms.get(key)
        if room is None:
            return
        for recorder in room.recorders:
            recorder.broken = True
        for outlet, _ in room.everybody():
            self._reset(key, outlet, "gap")

    def _tidy(self, key: ChannelKey, room: _Room) -> None:
        if not room.outlets and not room.apart and not room.recorders and self._rooms.get(key) is room:
            del self._rooms[key]


def message_of(channel: str, entry: Entry) -> frames.Message:
    """Return the push of a message."""
    return frames.message(channel, entry.place.offset, msgspec.msgpack.decode(entry.body))


def told_of(entry: Entry) -> dict[str, Any]:
    """Return a message as the answer of a join lists it."""
    return {"offset": entry.place.offset, **msgspec.msgpack.decode(entry.body)}


def entry_of(
    body: dict[str, Any],
    channel: Channel,
    sender: str | None,
    to: tuple[str, str] | None,
    *,
    echo: bool,
    ttl: float | None,
) -> Entry:
    """Return a message that is ready to be ordered; raise `message.too_large`."""
    if len(msgspec.json.encode(body["data"])) > channel.message_bytes:
        text = f"The data of a message in {channel.namespace} has at most {channel.message_bytes} bytes as JSON."
        raise HubError("message.too_large", text, path="data")
    return Entry(msgspec.msgpack.encode(body), len(msgspec.json.encode(body)), sender, echo, to, ttl)


def _for(join: Join, to: tuple[str, str]) -> bool:
    kind, rec = to
    if kind == "session":
        return join.session == rec
    return join.who is not None and (join.who.kind, join.who.rec) == (kind, rec)
