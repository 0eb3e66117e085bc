"""Who is in which channel: members and their sessions over all instances, and what sockets here are told of it.

A member is a user or a device with one entry per session; its status is the most active of its sessions. Join and
leave fire for the first and the last session, everything between is `update`. Entries of sockets here come from
`join`, `update`, `status`, `leave`, `drop` and `expire`; those of other instances from `put` and `remove`. An entry
that goes from one instance to another is never a leave. `version` counts the pushes of one join on one socket.

Pure but for the outlets that are pushed to: time comes in as an argument, and who calls `drop` and `expire` decides
when (DESIGN.md 8). `owned` is told of every change of an entry of this instance, so that the others can be;
`happened` of what this instance has to act on, since it owns the entry that it happened to.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import msgspec

from channels.outlet import Outlet
from channels.rooms import ChannelKey, Entry, Member, MemberKey, Room, Who
from hub.wire.errors import HubError

STATE_BYTES: Final = 4096
"""The largest presence state of a session, as JSON."""
MEMBERS: Final = 1000
"""The most members that the answer of a join, or one page of a roster, lists."""
PAGE_BYTES: Final = 512 * 1024
"""After about how many bytes a page of a roster ends."""
SESSION_BYTES: Final = 300
"""About how many bytes a session and its part of a member are without the state."""
PUSHES_A_TURN: Final = 1000
"""How many pushes are made in one turn of the loop; the rest comes in the next ones."""

__all__ = ["MEMBERS", "STATE_BYTES", "ChannelKey", "Entry", "Happening", "Member", "Rosters", "Who", "check_state"]


@dataclass(frozen=True, slots=True)
class Happening:
    """What this instance, and no other, has to act on.

    `join` and `leave` are those of a member; `part` is the end of its last session here while others are known of at
    other instances: where those end at the same moment, it is the leave. `vanish` is a session that ended without a
    word, before the `leave` of its member where it was the last. `since` is the member's: with kind, channel and member
    it names the visit, the same at every instance that could tell of it. `on_drop` is what the session wanted to happen
    when it vanishes.
    """

    kind: Literal["join", "vanish", "part", "leave"]
    channel: ChannelKey
    who: Who
    session: str
    since: str
    on_drop: Any = None


class Owned(Protocol):
    """Told of what becomes of the entries of this instance."""

    def shown(self, channel: ChannelKey, session: str, who: Who, entry: Entry) -> None:
        """An entry is new or different, but for its status."""

    def hidden(self, channel: ChannelKey, session: str, *, vanished: bool) -> None:
        """An entry is gone."""


def check_state(state: dict[str, Any], path: str) -> None:
    """Raise `state.too_large` where a presence state is larger than its limit."""
    if len(msgspec.json.encode(state)) > STATE_BYTES:
        raise HubError("state.too_large", f"A state has at most {STATE_BYTES} bytes as JSON.", path=path)


def _soon(callback: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(callback)


class Rosters:
    """The rooms, as this instance knows them."""

    def __init__(self, instance: str = "", soon: Callable[[Callable[[], None]], None] = _soon) -> None:
        """`soon` calls back a turn of the loop later, when what happened in this one is told."""
        self.instance = instance
        self.owned: Owned | None = None
        self.happened: Callable[[Happening], None] = lambda happening: None
        self.moves: dict[str, int] = {}
        """How often sessions of this instance went from one to another, where they did."""
        self._soon = soon
        self._rooms: dict[ChannelKey, Room] = {}
        self._shown: dict[str, dict[ChannelKey, MemberKey]] = {}
        """Where each session is shown, wherever its socket is, and as whom."""
        self._heard: dict[Outlet, set[ChannelKey]] = {}
        """What each socket here hears."""
        self._waiting: dict[int, Room] = {}
        """The rooms in which something waits to be told."""
        self._telling: tuple[Room, Iterator[int]] | None = None
        """The room in which it is being told, and the rest of that."""
        self._counted: dict[ChannelKey, Room] = {}
        """The rooms of which somebody is told how many are there."""
        self._numbers = itertools.count(1)

    # -- reading -------------------------------------------------------------------------------------

    def members(self, channel: ChannelKey) -> list[dict[str, Any]]:
        """Return the members of a channel as the wire shows them."""
        return [m.wire() for m in self.roster(channel).values()]

    def roster(self, channel: ChannelKey) -> dict[MemberKey, Member]:
        """Return the members of a channel by kind and id, in the order in which they came; to be read only."""
        room = self._rooms.get(channel)
        return room.members if room else {}

    def page(
        self, channel: ChannelKey, after: int = 0, limit: int = MEMBERS
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Return members that came behind a number, in their order, and behind which to go on; None at the end.

        The page ends earlier where it is large. Who is there all the time is on one page of a walk; who comes back
        meanwhile, on a later one too.
        """
        found: list[dict[str, Any]] = []
        size = last = 0
        for member in self.roster(channel).values():
            if member.number <= after:
                continue
            if len(found) >= limit or size >= PAGE_BYTES:
                return found, last
            found.append(member.wire())
            size += SESSION_BYTES * len(member.sessions)
            size += sum(len(msgspec.json.encode(e.state)) for e in member.sessions.values() if e.state)
            last = member.number
        return found, None

    def some(self, channel: ChannelKey, only: frozenset[MemberKey]) -> list[dict[str, Any]]:
        """Return those of these members that are in a channel."""
        roster = self.roster(channel)
        return [roster[key].wire() for key in only if key in roster]

    def joined(self, channel: ChannelKey, outlet: Outlet) -> bool:
        """Say whether a socket hears a channel."""
        return channel in self._heard.get(outlet, ())

    def entries(self, session: str) -> Iterator[tuple[ChannelKey, Who, Entry]]:
        """Yield where a session is shown, on whichever instance its socket is; nothing may change meanwhile."""
        for channel, key in self._shown.get(session, {}).items():
            member = self._rooms[channel].members[key]
            yield channel, member.who, member.sessions[session]

    # -- sockets and sessions here -------------------------------------------------------------------

    def join(
        self,
        channel: ChannelKey,
        outlet: Outlet,
        session: str,
        who: Who | None,
        state: dict[str, Any] | None,
        now: str,
        status: str = "active",
        *,
        sees: bool = True,
        only: frozenset[MemberKey] | None = None,
        counts: bool = False,
    ) -> tuple[list[dict[str, Any]], int]:
        """Let a socket hear a channel; with `state`, show its session there. Return members and version.

        Joining again replaces the state and begins a new count of versions. Who does not see is told of nobody; with
        `only` of these members alone, with `counts` of nobody but how many there are.
        """
        room = self._rooms.get(channel)
        if room is None:
            room = self._rooms[channel] = Room(channel[1])
        if room.deaf(outlet):  # nobody is told of what they do themselves
            self._unheard(outlet, channel)
        if who is not None and state is not None:
            member = room.members.get(who.key)
            known = member.sessions.get(session) if member is not None else None
            since, here = known.since if known else now, member.since if member else now
            move = self.moves.get(session, 0)
            entry = Entry(state, status, since, here, self.instance, move, known.on_drop if known else None)
            if known is None or known.instance != self.instance or not entry.shows(known):
                self._put(channel, room, who, session, entry)
                if self.owned is not None:
                    self.owned.shown(channel, session, who, entry)
            else:
                known.returning = False
        if sees:
            if counts:
                room.count(outlet)
                self._counted[channel] = room
            else:
                room.listen(outlet, only)
            self._heard.setdefault(outlet, set()).add(channel)
        self._forget(channel, room)
        if not sees or counts:
            return [], 0
        return (self.page(channel)[0] if only is None else self.some(channel, only)), 0

    def update(self, channel: ChannelKey, session: str, state: dict[str, Any]) -> None:
        """Replace the state of a session; raise `channel.unknown` where it is not shown there."""
        room, member, entry = self._own(channel, session)
        if entry.state != state:
            entry.state = state
            self._tell(room, "update", member)
            if self.owned is not None:
                self.owned.shown(channel, session, member.who, entry)

    def on_drop(self, channel: ChannelKey, session: str, wish: Any) -> None:
        """Note what a session wants to happen when it vanishes; raise `channel.unknown` where it is not shown."""
        _, member, entry = self._own(channel, session)
        entry.on_drop = wish
        if self.owned is not None:
            self.owned.shown(channel, session, member.who, entry)

    def _own(self, channel: ChannelKey, session: str) -> tuple[Room, Member, Entry]:
        key = self._shown.get(session, {}).get(channel)
        if key is not None:
            room = self._rooms[channel]
            member = room.members[key]
            entry = member.sessions[session]
            if entry.instance == self.instance:
                return room, member, entry
        raise HubError("channel.unknown", "Join this channel with `presence` first.", path="channel")

    def leave(self, channel: ChannelKey, outlet: Outlet, session: str) -> None:
        """Take a socket and its session out of a channel at once."""
        if outlet in self._heard:
            self._deaf(outlet, channel)
            self._unheard(outlet, channel)
        self.remove(self.instance, channel, session)

    def drop(self, outlet: Outlet, session: str, *, ended: bool = False) -> None:
        """A socket broke off: its session stays as `away` until it comes back, or `expire`; `ended`: no longer."""
        self.deafen(outlet)
        if ended:
            self.expire(session)
        else:
            self.status(session, "away")

    def deafen(self, outlet: Outlet) -> None:
        """A socket hears nothing any more; whether its session is shown is another matter."""
        for channel in self._heard.pop(outlet, ()):
            self._deaf(outlet, channel)

    def _deaf(self, outlet: Outlet, channel: ChannelKey) -> None:
        room = self._rooms.get(channel)
        if room is not None and room.deaf(outlet):
            self._forget(channel, room)

    def status(self, session: str, status: str, instance: str | None = None) -> None:
        """Set the status of a session wherever it is shown, as the instance that has its socket says; None: here."""
        owner = self.instance if instance is None else instance
        for channel, key in self._shown.get(session, {}).items():
            room = self._rooms[channel]
            member = room.members[key]
            entry = member.sessions[session]
            if entry.instance == owner and entry.status != status:
                entry.status = status
                self._tell(room, "update", member)

    def expire(self, session: str, *, vanished: bool = False) -> None:
        """A session of this instance left, or with `vanished` its grace is over: take it out of every channel."""
        for channel in list(self._shown.get(session, ())):
            self.remove(self.instance, channel, session, vanished=vanished)

    def end(self, channel: ChannelKey) -> list[Outlet]:
        """The channel is no more: tell everybody in it that all leave. Return the sockets that were in it."""
        room = self._rooms.get(channel)
        if room is None:
            return []
        for member in list(room.members.values()):
            for session, entry in list(member.sessions.items()):
                self.remove(entry.instance, channel, session)
        self._rooms.pop(channel, None)
        self._waiting.pop(id(room), None)
        if self._telling is not None and self._telling[0] is room:
            for _ in self._telling[1]:
                pass
            self._telling = None
        room.flush()
        for outlet in room.outlets:
            self._unheard(outlet, channel)
        return room.outlets

    # -- entries of any instance ---------------------------------------------------------------------

    def put(self, channel: ChannelKey, who: Who, session: str, entry: Entry) -> None:
        """Show an entry of another instance, or what it has become."""
        room = self._rooms.get(channel)
        if room is None:
            room = self._rooms[channel] = Room(channel[1])
        self._put(channel, room, who, session, entry)

    def _put(self, channel: ChannelKey, room: Room, who: Who, session: str, entry: Entry) -> None:
        member = room.members.get(who.key)
        fresh = member is None
        if member is None:
            member = room.members[who.key] = Member(who, entry.here, number=next(self._numbers))
        known = member.sessions.get(session)
        elsewhere = known is not None and known.instance != entry.instance
        if known is not None and elsewhere and (known.move, known.instance) > (entry.move, entry.instance):
            return  # the session has gone on to where it is now
        renamed, member.who, member.since = member.who != who, who, min(member.since, entry.here)
        member.sessions[session] = entry
        self._shown.setdefault(session, {})[channel] = who.key
        if known is None or renamed or not known.shows(entry):
            self._tell(room, "join" if fresh else "update", member)
        if fresh and entry.instance == self.instance:
            self.happened(Happening("join", channel, who, session, member.since))

    def adopt(self, session: str, status: str, move: int) -> list[ChannelKey]:
        """Show a session of another instance as one of this, wherever it is shown: it came back here.

        Return where it has to join again, or else leaves: it may have left meanwhile, which was not heard here.
        """
        found: list[ChannelKey] = []
        for channel, who, known in list(self.entries(session)):
            if known.instance != self.instance:
                entry = Entry(known.state, status, known.since, known.here, self.instance, move, known.on_drop)
                entry.returning = ":" in channel[1]  # no client joins a room that is none of its channels
                found += [channel] if entry.returning else []
                self._put(channel, self._rooms[channel], who, session, entry)
                if self.owned is not None:
                    self.owned.shown(channel, session, who, entry)
        return found

    def settle(self, channel: ChannelKey, session: str, move: int) -> None:
        """Take out the entry of a session that came here with this move and has not joined again."""
        key = self._shown.get(session, {}).get(channel)
        if key is not None and self._rooms[channel].members[key].sessions[session].returning:
            self.remove(self.instance, channel, session, move=move)

    def rename(self, before: str, after: str, sessions: Iterable[str]) -> None:
        """This instance has another name from now on, and so have the entries of its sessions."""
        self.instance = after
        for session in sessions:
            for _, _, entry in self.entries(session):
                if entry.instance == before:
                    entry.instance = after

    def remove(
        self,
        instance: str,
        channel: ChannelKey,
        session: str,
        *,
        move: int | None = None,
        vanished: bool = False,
        acting: bool = False,
    ) -> None:
        """Take out the entry of a session, where it is still this instance's, and of this move where that is given.

        `acting`: in the place of its owner.
        """
        key = self._shown.get(session, {}).get(channel)
        room = self._rooms.get(channel)
        if room is None or key is None:
            return
        member = room.members[key]
        entry = member.sessions[session]
        if entry.instance != instance or move not in {None, entry.move}:
            return
        last = len(member.sessions) == 1
        if last:
            self._tell(room, "leave", member)
            del room.members[key]
        del member.sessions[session]
        self._unshow(session, channel)
        if not last:
            self._tell(room, "update", member)
        self._forget(channel, room)
        if instance == self.instance and self.owned is not None:
            self.owned.hidden(channel, session, vanished=vanished)
        if instance == self.instance or acting:
            if vanished:
                self.happened(Happening("vanish", channel, member.who, session, member.since, entry.on_drop))
            if last:
                self.happened(Happening("leave", channel, member.who, session, member.since))
            elif all(entry.instance != self.instance for entry in member.sessions.values()):
                self.happened(Happening("part", channel, member.who, session, member.since))

    def _unshow(self, session: str, channel: ChannelKey) -> None:
        shown = self._shown[session]
        del shown[channel]
        if not shown:
            del self._shown[session]

    def _unheard(self, outlet: Outlet, channel: ChannelKey) -> None:
        heard = self._heard[outlet]
        heard.discard(channel)
        if not heard:
            del self._heard[outlet]

    def _forget(self, channel: ChannelKey, room: Room) -> None:
        if room.empty and self._rooms.get(channel) is room:
            del self._rooms[channel]

    # -- telling -------------------------------------------------------------------------------------

    def _tell(self, room: Room, kind: Literal["join", "update", "leave"], member: Member) -> None:
        if room.note(kind, member):
            self._wait(room)

    def _wait(self, room: Room) -> None:
        idle = not self._waiting and self._telling is None
        self._waiting[id(room)] = room
        if idle:
            self._soon(self.flush)

    def tick(self) -> None:
        """Tell how many there are where somebody is told that; once a second."""
        for channel, room in list(self._counted.items()):
            if not room.counted or self._rooms.get(channel) is not room:
                del self._counted[channel]
            elif room.miscounted:
                self._wait(room)

    def flush(self) -> None:
        """Tell what happened since the last time, as much as fits into one turn of the loop; go on in the next one."""
        left = PUSHES_A_TURN
        while self._waiting or self._telling is not None:
            if self._telling is None:
                room = self._waiting.pop(next(iter(self._waiting)))
                self._telling = (room, room.telling())
            try:
                for pushes in self._telling[1]:
                    left -= pushes
                    if left <= 0:
                        self._soon(self.flush)
                        return
            except BaseException:
                self._telling = None
                if self._waiting:
                    self._soon(self.flush)  # a fault in one room is none of the others'
                raise
            self._telling = None
