"""One channel while somebody is in it: its members, and what the sockets in it are told of them.

What happens in one turn of the loop is told in as few pushes as it takes, in the order in which it happened; a member
that changes several times in a turn is told once, as it is at the end of it. A socket that joins within the turn has
what happened before in the answer of its join, and is told only what happens after.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from channels.outlet import Outlet
from hub.wire import frames
from hub.wire.codec import Codec
from hub.wire.errors import HubError

PUSH_EVENTS: Final = 500
"""The most events that one push tells."""
PUSH_BYTES: Final = 64 * 1024
"""After how many bytes of events a push is full; one event alone may be larger."""
SOME: Final = 250
"""After about how many pushes others may have their turn."""
MEMBER_SESSIONS: Final = 100
"""The most sessions of one member that a client can show in a channel: what is told of a member tells all of them."""
MEMBER_BYTES: Final = 64 * 1024
"""The most that the states of these have as JSON together."""
_ACTIVITY: Final = ("active", "idle", "away")

ChannelKey = tuple[str, str]
"""(account, channel name)"""
MemberKey = tuple[str, str]
"""(kind, public id)"""
# What there are very many of is no concern of the collector of cycles, since it is in none: looking through a hundred
# thousand members would hold up everybody.


class Who(msgspec.Struct, frozen=True, gc=False):
    """A member as others see it: `kind` is user or device, `rec` its public id."""

    kind: str
    rec: str
    name: str

    @property
    def key(self) -> MemberKey:
        """What tells members apart."""
        return self.kind, self.rec


class Entry(msgspec.Struct, gc=False):
    """One session of a member in a channel, owned by the instance that has its socket.

    `since` is the wire time at which the session joined, `here` that since which its member is in the channel, as far
    as its instance knew. `move` counts how often the session went to another instance: of two entries of one session
    the one that moved further stands. `on_drop` is what the session wants to happen when it vanishes.
    """

    state: dict[str, Any]
    status: str
    since: str
    here: str
    instance: str = ""
    move: int = 0
    on_drop: Any = None
    returning: bool = False
    """Whether the session came from another instance and has not joined here again."""

    def shows(self, other: Entry) -> bool:
        """Say whether others would see no difference between this entry and another."""
        return (self.state, self.status, self.since) == (other.state, other.status, other.since)


class Member(msgspec.Struct, gc=False):
    """A user or device in a channel, with its sessions wherever their sockets are. `since`: when the first joined."""

    who: Who
    since: str
    sessions: dict[str, Entry] = msgspec.field(default_factory=dict)
    number: int = 0
    """Counts up over all members that come to this instance: the order in which a roster is paged."""

    @property
    def status(self) -> str:
        """The status of the most active session."""
        return min((e.status for e in self.sessions.values()), key=_ACTIVITY.index)

    def wire(self) -> dict[str, Any]:
        """Return the member as the wire shows it."""
        return {
            "kind": self.who.kind,
            "rec": self.who.rec,
            "name": self.who.name,
            "status": self.status,
            "since": self.since,
            "sessions": [
                {"session": s, "state": e.state, "status": e.status, "since": e.since} for s, e in self.sessions.items()
            ],
        }


def check_member(member: Member | None, session: str, state: dict[str, Any], path: str) -> None:
    """Raise `state.too_large` where a member would show too much in a channel with this state of a session."""
    if member is None:
        return
    states = [entry.state for other, entry in member.sessions.items() if other != session]
    size = sum(len(msgspec.json.encode(shown)) for shown in (*states, state)) if states else 0
    if len(states) >= MEMBER_SESSIONS or size > MEMBER_BYTES:
        text = f"A user or key shows at most {MEMBER_SESSIONS} sessions in a channel, with {MEMBER_BYTES} bytes in all."
        raise HubError("state.too_large", text, path=path)


@dataclass(slots=True)
class _Join:
    """A socket in a channel: `version` counts what it was pushed since it joined.

    `start`: how many of the events that wait were in the answer of its join. `only`: the members that it is told of,
    None for all.
    """

    start: int
    only: frozenset[MemberKey] | None = None
    version: int = 0


@dataclass(slots=True)
class _Count:
    """A socket that is told how many there are, and no more; `told` is what it was told last."""

    told: int
    version: int = 0


@dataclass(slots=True)
class _Event:
    """What happened to a member; `wire` is the member as it was, None where it is told as it is when that begins."""

    kind: Literal["join", "update", "leave"]
    member: Member
    wire: dict[str, Any] | None = None


class Room:
    """One channel: `members` by (kind, id) in the order in which they came, over all instances."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: dict[MemberKey, Member] = {}
        self._joins: dict[Outlet, _Join] = {}
        self._counts: dict[Outlet, _Count] = {}
        self.miscounted = False
        """Whether somebody may have been told another number than there are."""
        self._events: list[_Event] = []
        self._latest: dict[MemberKey, int] = {}
        """Which of the events that wait is the last one of a member."""
        self._fence = 0
        """What was told before this event is in the answer of a join."""

    @property
    def empty(self) -> bool:
        """Whether nobody is shown here and nobody hears it."""
        return not self.members and not self._joins and not self._counts

    @property
    def outlets(self) -> list[Outlet]:
        """The sockets that hear it."""
        return [*self._joins, *self._counts]

    @property
    def counted(self) -> bool:
        """Whether somebody is told how many there are."""
        return bool(self._counts)

    def hears(self, outlet: Outlet) -> bool:
        """Say whether a socket hears it."""
        return outlet in self._joins or outlet in self._counts

    def listen(self, outlet: Outlet, only: frozenset[MemberKey] | None = None) -> None:
        """Let a socket hear what happens from now on (to some members `only`), with a new count of versions."""
        self._fence = len(self._events)
        self._joins[outlet] = _Join(self._fence, only)

    def count(self, outlet: Outlet) -> None:
        """Let a socket hear from now on how many there are."""
        self._counts[outlet] = _Count(len(self.members))

    def deaf(self, outlet: Outlet) -> bool:
        """Let a socket hear nothing any more, not even what waits; say whether it heard."""
        return bool(self._joins.pop(outlet, None) or self._counts.pop(outlet, None))

    def note(self, kind: Literal["join", "update", "leave"], member: Member) -> bool:
        """Have it told at the end of the turn; say whether there is anybody to tell. A leave before it is done."""
        self.miscounted = True
        if not self._joins:
            # Nobody is left who waits for the rest, and its members may be gone before anybody listens again.
            self._events, self._fence = [], 0
            self._latest.clear()
            return False
        key = member.who.key
        latest = self._latest.get(key, -1)
        last = self._events[latest] if latest >= 0 else None
        if last is not None and last.wire is None:
            if kind == "update" and latest >= self._fence:
                return True  # what waits tells the member as it is then
            last.wire = member.wire()
        self._events.append(_Event(kind, member, member.wire() if kind == "leave" else None))
        self._latest[key] = len(self._events) - 1
        return True

    def flush(self) -> None:
        """Tell what waits, at once."""
        for _ in self.telling():
            pass

    def _counting(self) -> Iterator[int]:
        self.miscounted = False
        done, now, made = 0, len(self.members), dict[tuple[str, int], bytes]()
        for outlet, count in list(self._counts.items()):
            if done >= SOME:
                yield done
                done = 0
            if count.told == now or self._counts.get(outlet) is not count:
                continue
            count.told, count.version = now, count.version + 1
            codec = outlet.codec
            frame = made.get((codec.subprotocol, count.version))
            if frame is None:
                frame = codec.encode(frames.presence_count(self.name, count.version, now))
                made[codec.subprotocol, count.version] = frame
            self._push(outlet, frame)
            done += 1
        yield done

    def telling(self) -> Iterator[int]:
        """Tell what waits when this begins, and how many there are; yield after some pushes how many."""
        if self._counts and self.miscounted:
            yield from self._counting()
        events, self._events, self._fence = self._events, [], 0
        self._latest.clear()
        if not events:
            return
        for event in events:
            if event.wire is None:
                event.wire = event.member.wire()  # as it is now: before the last are told, the member may have left
        whole: dict[str, list[bytes]] = {}
        # Kept for the next only: those who are told the same stand one behind the other, since who joined later has
        # heard of less. Of all of them it would be too much: who joins in this turn begins at an event of their own.
        bodies: dict[str, tuple[int, list[msgspec.Raw]]] = {}
        pushes: dict[str, tuple[tuple[int, int], list[bytes]]] = {}
        concerned = {event.member.who.key for event in events}
        done = 0
        for outlet, join in list(self._joins.items()):
            if done >= SOME:
                yield done
                done = 0
            if self._joins.get(outlet) is not join:
                continue  # it has left meanwhile, or joined again
            start, join.start = join.start, 0
            if join.only is not None and join.only.isdisjoint(concerned):
                continue
            codec = outlet.codec
            if join.only is not None:
                done += self._tell_some(outlet, join, events[start:])
                continue
            known = pushes.get(codec.subprotocol)
            if known is not None and known[0] == (start, join.version):
                made = known[1]
            else:
                body = bodies.get(codec.subprotocol)
                if body is None or body[0] != start:
                    if codec.subprotocol not in whole:
                        whole[codec.subprotocol] = [_encoded(codec, event) for event in events]
                    body = bodies[codec.subprotocol] = (start, _parts(codec, whole[codec.subprotocol][start:]))
                made = [
                    codec.encode(frames.presence(self.name, join.version + n, part))
                    for n, part in enumerate(body[1], 1)
                ]
                pushes[codec.subprotocol] = ((start, join.version), made)
            join.version += len(made)
            for frame in made:
                self._push(outlet, frame)
            done += len(made)
        yield done

    def _tell_some(self, outlet: Outlet, join: _Join, events: list[_Event]) -> int:
        """Tell a socket of the members that it asked for; return in how many pushes."""
        codec, only = outlet.codec, join.only or frozenset()
        told = [_encoded(codec, event) for event in events if event.member.who.key in only]
        parts = _parts(codec, told)
        for part in parts:
            join.version += 1
            self._push(outlet, codec.encode(frames.presence(self.name, join.version, part)))
        return max(1, len(parts))

    def _push(self, outlet: Outlet, frame: bytes) -> None:
        owner = ("presence", self.name)
        if not outlet.push(frame, owner):
            # The socket is behind. What waits of this channel is forgotten; the hole in the versions tells the client
            # to join again, and no more than one push a channel waits for it.
            outlet.drop(owner)
            outlet.push(frame, owner, force=True)


def _encoded(codec: Codec, event: _Event) -> bytes:
    return codec.encode({"kind": event.kind, "member": event.wire})


def _parts(codec: Codec, events: list[bytes]) -> list[msgspec.Raw]:
    """Return the bodies of the pushes that tell events: as few as bounds allow."""
    found: list[msgspec.Raw] = []
    some: list[msgspec.Raw] = []
    size = 0
    for event in events:
        if some and (len(some) >= PUSH_EVENTS or size + len(event) > PUSH_BYTES):
            found.append(msgspec.Raw(codec.encode(some)))
            some, size = [], 0
        some.append(msgspec.Raw(event))
        size += len(event)
    if some:
        found.append(msgspec.Raw(codec.encode(some)))
    return found
