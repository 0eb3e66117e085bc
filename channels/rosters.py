"""Who is in which channel: members, their sessions, and what each socket is told of it.

A member is a user or a device with one entry per session; its status is the most active of its
sessions. Join and leave fire for the first and the last session, everything between is `update`.
`version` counts the pushes of one join on one socket. Pure but for the outlets it pushes to: time comes
in as an argument, and who calls `drop` and `expire` decides when (DESIGN.md 8).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from channels.outlet import Outlet
from hub.wire import frames
from hub.wire.errors import HubError

STATE_BYTES: Final = 4096
"""The largest presence state of a session, as JSON."""
MEMBERS: Final = 1000
"""The most members that the answer of a join lists."""
LEAVES: Final = 100
"""The most members that one push takes leave of where a channel ends."""
_ACTIVITY: Final = ("active", "idle", "away")

ChannelKey = tuple[str, str]
"""(account, channel name)"""


@dataclass(frozen=True, slots=True)
class Who:
    """A member as others see it: `kind` is user or device, `rec` its public id."""

    kind: str
    rec: str
    name: str


@dataclass(slots=True)
class _Entry:
    """One session of a member. `since` is the wire time at which it joined."""

    state: dict[str, Any]
    status: str
    since: str


@dataclass(slots=True)
class _Member:
    who: Who
    since: str
    sessions: dict[str, _Entry] = field(default_factory=dict)

    def wire(self) -> dict[str, Any]:
        status = min((e.status for e in self.sessions.values()), key=_ACTIVITY.index)
        return {
            "kind": self.who.kind,
            "rec": self.who.rec,
            "name": self.who.name,
            "status": status,
            "since": self.since,
            "sessions": [
                {"session": s, "state": e.state, "status": e.status, "since": e.since} for s, e in self.sessions.items()
            ],
        }


@dataclass(slots=True)
class _Join:
    """A socket in a channel: `version` counts what it was pushed since it joined."""

    session: str
    version: int = 0


class _Room:
    """One channel while somebody is in it."""

    def __init__(self) -> None:
        self.members: dict[tuple[str, str], _Member] = {}
        self.joins: dict[Outlet, _Join] = {}

    @property
    def empty(self) -> bool:
        return not self.members and not self.joins


def check_state(state: dict[str, Any], path: str) -> None:
    """Raise `state.too_large` where a presence state is larger than its limit."""
    if len(msgspec.json.encode(state)) > STATE_BYTES:
        raise HubError("state.too_large", f"A state has at most {STATE_BYTES} bytes as JSON.", path=path)


class Rosters:
    """The rooms of this instance."""

    def __init__(self) -> None:
        self._rooms: dict[ChannelKey, _Room] = {}

    def members(self, channel: ChannelKey) -> list[dict[str, Any]]:
        """Return the members of a channel as the wire shows them."""
        room = self._rooms.get(channel)
        return [m.wire() for m in room.members.values()] if room else []

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
    ) -> tuple[list[dict[str, Any]], int]:
        """Let a socket hear a channel; with `state`, show its session there. Return members and version.

        Joining again replaces the state and begins a new count of versions. Who does not see is told of nobody.
        """
        room = self._rooms.setdefault(channel, _Room())
        if sees:
            room.joins[outlet] = _Join(session)
        if who is not None and state is not None:
            key = (who.kind, who.rec)
            member = room.members.get(key)
            fresh = member is None
            if member is None:
                member = room.members[key] = _Member(who, now)
            known = member.sessions.get(session)
            entry = _Entry(state, status, known.since if known else now)
            if known != entry:
                member.sessions[session] = entry
                self._tell(channel, room, "join" if fresh else "update", member, but=outlet)
        self._forget(channel, room)
        return [m.wire() for m in list(room.members.values())[:MEMBERS]] if sees else [], 0

    def joined(self, channel: ChannelKey, outlet: Outlet) -> bool:
        """Say whether a socket hears a channel."""
        room = self._rooms.get(channel)
        return room is not None and outlet in room.joins

    def update(self, channel: ChannelKey, session: str, state: dict[str, Any]) -> None:
        """Replace the state of a session; raise `channel.unknown` where it is not shown there."""
        room = self._rooms.get(channel)
        found = self._entry(room, session) if room else None
        if room is None or found is None:
            raise HubError("channel.unknown", "Join this channel with `presence` first.", path="channel")
        member, entry = found
        if entry.state != state:
            entry.state = state
            self._tell(channel, room, "update", member)

    def status(self, session: str, status: str) -> None:
        """Set the status of a session wherever it is shown."""
        for channel, room in list(self._rooms.items()):
            found = self._entry(room, session)
            if found is not None and found[1].status != status:
                found[1].status = status
                self._tell(channel, room, "update", found[0])

    def leave(self, channel: ChannelKey, outlet: Outlet, session: str) -> None:
        """Take a socket and its session out of a channel at once."""
        room = self._rooms.get(channel)
        if room is not None:
            room.joins.pop(outlet, None)
            self._remove(channel, room, session)

    def drop(self, outlet: Outlet, session: str, *, ended: bool = False) -> None:
        """A socket broke off: its session stays as `away` until it comes back, or `expire`; `ended`: no longer."""
        for channel, room in list(self._rooms.items()):
            if room.joins.pop(outlet, None) is not None:
                self._forget(channel, room)
        if ended:
            self.expire(session)
        else:
            self.status(session, "away")

    def expire(self, session: str) -> None:
        """The session left, or its grace is over: take it out of every channel."""
        for channel, room in list(self._rooms.items()):
            self._remove(channel, room, session)

    def end(self, channel: ChannelKey) -> list[Outlet]:
        """The channel is no more: tell everybody in it that all leave. Return the sockets that were in it."""
        room = self._rooms.pop(channel, None)
        if room is None:
            return []
        events = [{"kind": "leave", "member": member.wire()} for member in room.members.values()]
        for start in range(0, len(events), LEAVES):
            self._push(channel, room, events[start : start + LEAVES])
        return list(room.joins)

    def _remove(self, channel: ChannelKey, room: _Room, session: str) -> None:
        found = self._entry(room, session)
        if found is not None:
            member, _ = found
            last = member.wire()
            del member.sessions[session]
            if member.sessions:
                self._tell(channel, room, "update", member)
            else:
                del room.members[(member.who.kind, member.who.rec)]
                self._push(channel, room, [{"kind": "leave", "member": last}])
        self._forget(channel, room)

    def _forget(self, channel: ChannelKey, room: _Room) -> None:
        if room.empty and self._rooms.get(channel) is room:
            del self._rooms[channel]

    @staticmethod
    def _entry(room: _Room, session: str) -> tuple[_Member, _Entry] | None:
        for member in room.members.values():
            entry = member.sessions.get(session)
            if entry is not None:
                return member, entry
        return None

    def _tell(self, channel: ChannelKey, room: _Room, kind: str, member: _Member, but: Outlet | None = None) -> None:
        self._push(channel, room, [{"kind": kind, "member": member.wire()}], but)

    def _push(self, channel: ChannelKey, room: _Room, events: list[dict[str, Any]], but: Outlet | None = None) -> None:
        encoded: dict[str, msgspec.Raw] = {}
        for outlet, join in list(room.joins.items()):
            if outlet is but:
                continue
            join.version += 1
            codec = outlet.codec
            body = encoded.get(codec.subprotocol)
            if body is None:
                body = encoded[codec.subprotocol] = msgspec.Raw(codec.encode(events))
            frame = codec.encode(frames.presence(channel[1], join.version, body))
            owner = ("presence", channel[1])
            if not outlet.push(frame, owner):
                # The socket is behind. What waits of this channel is forgotten; the hole in the versions
                # tells the client to join again, and no more than one push a channel waits for it.
                outlet.drop(owner)
                outlet.push(frame, owner, force=True)
