"""Three instances, people who come and go at them, and a Redis in between that loses things, all in virtual time.

What is real: the lists, the rosters and the pushes. What is played: sockets, Redis, and the few lines of `Live` and
`Presence` that say when which of them is called. `Crowd.faults` compares what each instance shows, and what a listener
at each was pushed, with the sockets that live.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from aether_client.roster import Hole, Roster
from channels.lists import LEASE_SECONDS, Lists
from channels.rosters import Happening, Rosters, Who
from storage.presence import Message, Opened
from tests.channels.scene import ACCOUNT, Listener

STEP: Final = 0.25
GRACE: Final = 10.0
NOTICE: Final = 3.0
"""After how long without Redis an instance knows that it is without."""
RENEW: Final = 3.0
CHANNELS: Final = ("room:a", "room:b")
PEOPLE: Final = 4


@dataclass(eq=False)
class Session:
    """One client. `at` is where its socket is, None while it has none; `rooms` what it shows in which channel."""

    id: str
    who: Who
    proof: str
    at: Node | None
    move: int = 0
    status: str = "active"
    rooms: dict[str, int] = field(default_factory=dict)
    gone_at: float = 0.0
    """When its client gives up coming back."""
    given_up: bool = False
    """Whether its client is another session now."""


@dataclass(eq=False)
class Stay:
    """A session as an instance has it. `broken`: its socket is gone, noticed at `until`; then it has its grace."""

    broken: bool = False
    cut: bool = False
    until: float = 0.0


class Redis:
    """What all messages go through, in one order."""

    def __init__(self) -> None:
        self.leases: dict[str, float] = {}
        self.claims: dict[str, str] = {}
        self.up = True


class Node:
    """One instance: its lists and rosters, a listener in each channel, and its way to Redis."""

    def __init__(self, crowd: Crowd, name: str) -> None:
        self.crowd = crowd
        self.name = name
        self.alive = True
        self.flushes: list[object] = []
        self.rosters = Rosters(name, self.flushes.append)
        self.lists = Lists(name, self.rosters, self.superseded)
        self.lives = itertools.count(1)
        self.lists.reborn = lambda before: f"{name}.{next(self.lives)}"
        self.inbox: deque[Message] = deque()
        self.lossy = 0
        """How many of the next messages for it are lost."""
        self.way = True
        """Whether its way to Redis is good."""
        self.linked = False
        self.since = crowd.now
        """Since when the way has been as it is."""
        self.held: dict[str, Stay] = {}
        self.acted: list[Happening] = []
        self.rosters.happened = self.acted.append
        self.beaten = self.renewed = -RENEW
        self.listeners = {name: Listener() for name in CHANNELS}
        self.seen = {name: Roster() for name in CHANNELS}
        self.left: list[tuple[str, str]] = []
        """Who was told to have left, by channel and member."""
        for channel in CHANNELS:
            self.listen(channel)

    def listen(self, channel: str) -> None:
        outlet = self.listeners[channel].outlet
        members, version = self.rosters.join((ACCOUNT, channel), outlet, "listener", None, None, "now")
        self.seen[channel].open(members, version)

    def superseded(self, session: str) -> None:
        self.held.pop(session, None)

    def read(self) -> None:
        """Take what the listeners were pushed."""
        while self.flushes:
            self.flushes.clear()
            self.rosters.flush()
        for channel, listener in self.listeners.items():
            for push in listener.heard():
                try:
                    change = self.seen[channel].push(push["version"], push["events"])
                except Hole:
                    raise AssertionError("a push is missing") from None
                self.left += [(channel, member["rec"]) for member in change.left]

    def step(self, now: float) -> None:
        """What `Presence` does four times a second, and whenever there is something to do."""
        good = self.way and self.crowd.redis.up
        if good and not self.linked:
            self.linked, self.since = True, now
            self.inbox.clear()
            self.lists.link(connected=True, now=now)
            self.renewed = -RENEW
        elif not good and self.linked and now - self.since >= NOTICE:
            self.linked = False
            self.lists.link(connected=False, now=now)
        if good:
            self.since = now
            while self.inbox:
                message = self.inbox.popleft()
                if self.lossy:
                    self.lossy -= 1
                else:
                    self.lists.heard(message, now)
        if now - self.renewed >= RENEW and good:
            self.renewed = now
            self.crowd.redis.leases[self.lists.me] = now + LEASE_SECONDS
        if now - self.beaten >= 1.0:
            self.beaten = now
            self.lists.beat()
        for name in self.lists.tick(now):
            if good and self.crowd.redis.leases.get(name, 0.0) <= now and self.crowd.control != "sweep":
                mine = self.crowd.redis.claims.setdefault(name, self.name) == self.name
                self.lists.lapsed(name, now, mine=mine)
        while self.lists.work() or self.lists.next_page():
            pass
        self.lists.flush()
        sent, self.lists.outbox = self.lists.outbox, []
        if good:
            for message in sent:
                for other in self.crowd.nodes:
                    if other.alive and other.way:
                        other.inbox.append(message)


class Crowd:
    """Everything. `control` breaks what keeps it right: "numbers" takes no notice of holes, "sweep" sweeps nobody."""

    def __init__(self, control: str = "") -> None:
        self.now = 1000.0
        self.redis = Redis()
        self.control = control
        self.count = itertools.count(1)
        self.nodes: list[Node] = []
        self.sessions: list[Session] = []
        self.steps = 0
        for _ in range(3):
            self.start()
        self.pass_time(3)

    def start(self) -> None:
        node = Node(self, f"node{next(self.count)}")
        if self.control == "numbers":
            node.lists._ask = lambda peer, now: setattr(peer, "whole", True)  # type: ignore[method-assign]
        self.nodes.append(node)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, for everybody."""
        for _ in range(max(1, round(seconds / STEP))):
            self.now += STEP
            for session in list(self.sessions):
                node = session.at
                if node is None and session.gone_at <= self.now:
                    self.sessions.remove(session)
            for node in self.nodes:
                if node.alive:
                    self._expire(node)
                    node.step(self.now)
                    node.read()

    def _expire(self, node: Node) -> None:
        for session, stay in list(node.held.items()):
            if stay.broken and stay.until <= self.now:
                if stay.cut:
                    del node.held[session]
                    node.lists.closed(session, vanished=True)
                else:
                    self._noticed(node, session)

    def _noticed(self, node: Node, session: str) -> None:
        """An instance learns that a socket is gone."""
        node.held[session] = Stay(broken=True, cut=True, until=self.now + GRACE)
        node.lists.stands(session, node.lists.own.cards[session].opened.status, cut=True)

    # -- what clients do -----------------------------------------------------------------------------

    def alive(self) -> list[Node]:
        return [node for node in self.nodes if node.alive]

    def pick(self, n: int) -> Session | None:
        open_ = [session for session in self.sessions if session.at is not None]
        return open_[n % len(open_)] if open_ else None

    def open(self, n: int) -> None:
        """A client comes."""
        node = self.alive()[n % len(self.alive())]
        number = next(self.count)
        who = Who("user", f"user{n % PEOPLE}", "U")
        session = Session(f"s{number}", who, f"proof{number}", node)
        self.sessions.append(session)
        node.held[session.id] = Stay()
        node.lists.opened(self._card(session))
        self.join(n, session)

    def _card(self, session: Session) -> Opened:
        who = session.who
        return Opened(
            session.id, ACCOUNT, who.kind, who.rec, who.name, "user", "c", session.status, session.move, session.proof
        )

    def join(self, n: int, session: Session | None = None) -> None:
        """A client joins a channel, or says something else there."""
        session = session or self.pick(n)
        if session is not None and session.at is not None:
            channel = CHANNELS[n % len(CHANNELS)]
            session.rooms[channel] = n
            self._rejoin(session, channel)

    def _rejoin(self, session: Session, channel: str) -> None:
        assert session.at is not None
        session.at.rosters.join(
            (ACCOUNT, channel), Listener().outlet, session.id, session.who, {"n": session.rooms[channel]},
            f"{self.now:09.2f}", session.status, sees=False,
        )  # fmt: skip

    def update(self, n: int) -> None:
        session = self.pick(n)
        if session is not None and session.at is not None and session.rooms:
            channel = sorted(session.rooms)[n % len(session.rooms)]
            session.rooms[channel] = n
            session.at.rosters.update((ACCOUNT, channel), session.id, {"n": n})

    def stand(self, n: int) -> None:
        """A client says another status."""
        session = self.pick(n)
        if session is not None and session.at is not None:
            session.status = ("active", "idle", "away")[n % 3]
            session.at.lists.stands(session.id, session.status)

    def leave(self, n: int) -> None:
        """A client leaves a channel."""
        session = self.pick(n)
        if session is not None and session.at is not None and session.rooms:
            channel = sorted(session.rooms)[n % len(session.rooms)]
            del session.rooms[channel]
            session.at.rosters.leave((ACCOUNT, channel), Listener().outlet, session.id)

    def quit(self, n: int) -> None:
        """A client goes in good order."""
        session = self.pick(n)
        if session is not None and session.at is not None:
            self.sessions.remove(session)
            session.at.held.pop(session.id, None)
            session.at.lists.closed(session.id)

    def cut(self, n: int) -> None:
        """A client's socket breaks off."""
        session = self.pick(n)
        if session is not None:
            self._cut(session)

    def _cut(self, session: Session) -> None:
        assert session.at is not None
        session.gone_at = self.now + GRACE
        if session.at.alive and session.id in session.at.held:
            self._noticed(session.at, session.id)
        session.at = None

    def back(self, n: int) -> None:
        """A client that was cut, or believes so, comes back somewhere, with what it has to bring it back."""
        there = [session for session in self.sessions if not session.given_up]
        if not there:
            return
        session = there[n % len(there)]
        node = self.alive()[(n // 7) % len(self.alive())]
        if session.id in node.held and node.lists.own.cards[session.id].opened.proof == session.proof:
            node.held[session.id] = Stay()
            self._proved(session)
            session.at = node
            node.lists.opened(self._card(session))
            node.lists.stands(session.id, session.status)
        else:
            found = node.lists.elsewhere(session.proof)
            claimed = found is not None and node.linked and node.way and self.redis.up
            if found is None or not claimed:
                self._anew(session, node)
                return
            before = session.at
            session.move, session.at = found.move + 1, node
            self._proved(session)
            node.held[session.id] = Stay()
            node.lists.opened(self._card(session))
            if before is not None and session.id in before.held:
                before.held[session.id] = Stay(broken=True, until=self.now + NOTICE)
        for channel in session.rooms:
            self._rejoin(session, channel)

    def _proved(self, session: Session) -> None:
        session.proof = f"proof{next(self.count)}"

    def _anew(self, session: Session, node: Node) -> None:
        """It is not known here: its client is another session, and the former one is left to its grace."""
        if session.at is not None:
            self._cut(session)
        fresh = Session(
            f"s{next(self.count)}", session.who, f"proof{next(self.count)}", node, rooms=dict(session.rooms)
        )
        session.given_up = True
        self.sessions.append(fresh)
        node.held[fresh.id] = Stay()
        node.lists.opened(self._card(fresh))
        for channel in fresh.rooms:
            self._rejoin(fresh, channel)

    # -- what befalls instances ----------------------------------------------------------------------

    def kill(self, n: int) -> None:
        """An instance dies; another one starts."""
        node = self.alive()[n % len(self.alive())]
        node.alive = False
        for session in self.sessions:
            if session.at is node:
                self._cut(session)
        self.start()

    def lose(self, n: int) -> None:
        """Some of the next messages for an instance are lost, and nobody notices."""
        self.alive()[n % len(self.alive())].lossy += 1 + n % 4

    def part(self, n: int) -> None:
        """The way of an instance to Redis breaks, or is good again."""
        node = self.alive()[n % len(self.alive())]
        node.way = not node.way

    def redis_dies(self, n: int) -> None:
        """Redis is gone, or is back knowing nothing."""
        if self.redis.up:
            self.redis.up = False
        else:
            self.redis.leases.clear()
            self.redis.claims.clear()
            self.redis.up = True

    def flush(self, n: int) -> None:
        """Redis forgets everything."""
        self.redis.leases.clear()
        self.redis.claims.clear()

    def wait(self, n: int) -> None:
        """Some time passes."""
        self.pass_time((0.25, 0.5, 1, 2, 4, 9, 16)[n % 7])

    # -- the truth -----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Everything is well again, for as long as it takes."""
        self.redis.up = True
        for node in self.alive():
            node.way, node.lossy = True, 0
        self.pass_time(40)

    def expected(self, channel: str) -> dict[str, dict[str, tuple[int, str]]]:
        """Return who is in a channel: by member and session the state and the status."""
        found: dict[str, dict[str, tuple[int, str]]] = {}
        for session in self.sessions:
            if session.at is not None and channel in session.rooms:
                found.setdefault(session.who.rec, {})[session.id] = (session.rooms[channel], session.status)
        return found

    def faults(self) -> list[str]:
        """Return how what is shown differs from who lives."""
        found: list[str] = []
        for node, channel in itertools.product(self.alive(), CHANNELS):
            expected = self.expected(channel)
            lists = {"shown": node.rosters.members((ACCOUNT, channel)), "told": [*node.seen[channel].members.values()]}
            for how, members in lists.items():
                shown = {
                    member["rec"]: {e["session"]: (e["state"]["n"], e["status"]) for e in member["sessions"]}
                    for member in members
                }
                if shown != expected:
                    found.append(f"{node.name} {how} {channel}: {shown} instead of {expected}")
        return found

    def acts(self) -> list[Happening]:
        """Return what was acted on, anywhere."""
        return [happening for node in self.nodes for happening in node.acted]
