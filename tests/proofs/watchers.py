"""A crowd of clients with a watch each, who are cut off all the time, and hold the hubs to every push.

Each client keeps its books as the wire says (`tests.simulation.client`), so it finds every gap, duplicate and step
back by the versions of the records. Beside that, what each was told is kept by number: who watches the same must
have been told of the same commits, and who watches everything of every single one.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import msgspec

from storage.memory import MemoryDatabase
from tests.proofs.line import Line, open_line
from tests.simulation.client import Socket, Wanted, Wrong
from tests.simulation.history import History, Spec

TICK_SECONDS: Final = 0.25
BEAT_SECONDS: Final = 4.0
ANSWER_SECONDS: Final = 8.0
"""After so long without an answer a client takes its socket for dead."""
LONGEST_WAIT: Final = 4.0
STALL_SECONDS: Final = 3.0
"""For how long at most a client reads nothing."""
HELLO: Final = 1
AGAIN: Final = frozenset({"server.unavailable", "server.draining", "rate.limited", "write.unknown"})
"""Refusals after which one comes again."""
KEPT_FRAMES: Final = 2000
_DECODER: Final = msgspec.json.Decoder()


class _Books(Socket):
    """The books of one socket; the end of the proof compares them with a fresh find."""

    def __init__(self) -> None:
        super().__init__(History(MemoryDatabase(), ""), lambda: False, True)

    def _true(self, wanted: Wanted) -> None:
        """The proof compares."""


@dataclass(slots=True)
class Span:
    """What a client was told without a gap: the commits among those after `begin` and up to `end`."""

    begin: int
    seqs: array[int] = field(default_factory=lambda: array("q"))
    end: int = 0


@dataclass(eq=False)
class Crowd:
    """What the clients share."""

    places: Callable[[bool], list[int]]
    """The ports of hubs that can be reached; True: those behind a proxy."""
    life_seconds: float
    """How long a socket lives on average."""
    members: list[Member] = field(default_factory=list)
    over: bool = False
    calm: bool = False
    """Whether nobody is cut any more."""
    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    acknowledged: dict[tuple[str, int], float] = field(default_factory=dict)
    """When the writer of a commit had its answer, by account and number."""
    delays: array[float] = field(default_factory=lambda: array("f"))
    """How much later than that somebody who watches everything was told, in seconds."""
    _frames: dict[bytes, list[dict[str, Any]]] = field(default_factory=dict)

    def decode(self, payload: bytes) -> list[dict[str, Any]]:
        """Return the messages of a frame. Many get the same one; whoever gets it must not change it."""
        known = self._frames.get(payload)
        if known is None:
            value = _DECODER.decode(payload)
            known = value if isinstance(value, list) else [value]
            if len(self._frames) >= KEPT_FRAMES:
                self._frames.clear()
            self._frames[payload] = known
        return known

    async def tick(self) -> None:
        """Beat for everybody, give up those who are not answered, and cut off those whose time has come."""
        while not self.over:
            begun = time.monotonic()
            for member in self.members:
                member.look(begun)
            await asyncio.sleep(max(0.01, TICK_SECONDS - (time.monotonic() - begun)))


@dataclass(eq=False)
class Member:
    """One client."""

    crowd: Crowd
    account: str
    spec: Spec
    token: str
    rng: Random
    behind_proxy: bool
    spans: list[Span] = field(default_factory=list)
    _line: Line | None = None
    _books: _Books = field(default_factory=_Books)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(HELLO))
    _asked: dict[int, str] = field(default_factory=dict)
    """What each request without an answer is: hello, watch, resume, beat."""
    _since: float = 0.0
    """Since when the oldest of them waits."""
    _beat_at: float = 0.0
    _cut_at: float = 0.0
    _stalled: float = 0.0
    """Until when nothing is read."""

    def __post_init__(self) -> None:
        self.wanted = Wanted(self.spec)
        self.sees_all = set(self.spec.request) == {"type"}
        self.crowd.members.append(self)

    @property
    def stands(self) -> int:
        """The number up to which everything is here, on an open socket; -1 where there is none."""
        here = self._line is not None and not self._line.over.done() and self._books.watches
        return self.wanted.seq if here and self.wanted.whole and not self._stalled else -1

    async def run(self) -> None:
        """Come back after every cut, until the crowd goes home or something is wrong."""
        wait = 0.0
        while not self.crowd.over:
            await asyncio.sleep(wait * self.rng.random())
            ports = self.crowd.places(self.behind_proxy)
            wait = min(LONGEST_WAIT, 2 * wait + 0.1)
            if not ports:
                continue
            try:
                line = await open_line(self.rng.choice(ports), self._heard)
            except (OSError, TimeoutError):
                continue
            if await self._visit(line):
                wait = 0.1

    async def _visit(self, line: Line) -> bool:
        """Be there until the socket is gone; say whether the watch had begun."""
        if self.crowd.over:
            line.leave()
            return False
        now = time.monotonic()
        self._line, self._books, self._asked, self._stalled = line, _Books(), {}, 0.0
        self._cut_at = now + self.rng.expovariate(1 / self.crowd.life_seconds)
        self._beat_at = now + self.rng.random() * BEAT_SECONDS
        self._ask("hello", op="session.hello", token=self.token)
        self._watch()
        await line.over
        self._line = None
        return bool(self._books.watches)

    def leave(self) -> None:
        """Close the socket in good order."""
        if self._line is not None:
            self._line.leave()

    # -- on the clock ----------------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """Do what is due."""
        line = self._line
        if line is None or line.over.done():
            return
        if self._stalled:
            if now >= self._stalled:
                self._stalled, self._since = 0.0, now
                line.read_on()
        elif self._asked and now - self._since > ANSWER_SECONDS:
            self._cut("silent")
        elif now >= self._cut_at and not self.crowd.calm:
            draw = self.rng.random()
            if draw < 0.6:
                self._cut("reset")
            elif draw < 0.8:
                self.crowd.counts["left"] += 1
                line.leave()
            else:
                self.crowd.counts["stalled"] += 1
                self._stalled = now + self.rng.random() * STALL_SECONDS
                self._cut_at = now + self.rng.expovariate(1 / self.crowd.life_seconds)
                line.read_no_more()
        elif (now >= self._beat_at or self.crowd.calm) and not self._asked:
            self._beat_at = now + BEAT_SECONDS
            self._ask("beat", op="session.beat")

    def _cut(self, why: str) -> None:
        self.crowd.counts[why] += 1
        assert self._line is not None
        self._line.reset()

    def _ask(self, what: str, **fields: Any) -> None:
        number = next(self._numbers)
        if not self._asked:
            self._since = time.monotonic()
        self._asked[number] = what
        assert self._line is not None
        self._line.send(msgspec.json.encode({"id": number, **fields}))

    def _watch(self) -> None:
        since = self.wanted.since()
        more = {"since": since} if since else {}
        self._ask("resume" if since else "watch", op="watch.start", **self.spec.request, **more)

    # -- what arrives ----------------------------------------------------------------------------------

    def _heard(self, payload: bytes) -> None:
        try:
            for message in self.crowd.decode(payload):
                self._take(message)
        except Wrong as wrong:
            self.crowd.counts["wrong"] += 1
            if len(self.crowd.wrong) < 20:
                self.crowd.wrong.append(f"{self.spec.request} at {self.wanted.seq}: {wrong}")
            self.wanted.forget()
            self._span_ends(self.wanted.seq)
            if self._line is not None:
                self._line.reset()

    def _take(self, message: dict[str, Any]) -> None:
        op, before = message["op"], self.wanted.seq
        if op == "change":
            self._books.push(message)
            self._told(message["seq"])
            if self.sees_all:
                at = self.crowd.acknowledged.get((self.account, message["seq"]))
                self.crowd.delays.append(time.monotonic() - at if at is not None else 0.0)
        elif op == "ok":
            self._answered(self._asked.pop(message["id"], ""), message, before)
        elif op == "error":
            if message["code"] not in AGAIN:
                raise Wrong(f"{self._asked.get(message.get('id', 0))} was answered {message}")
            self._cut(message["code"])
        elif op == "goaway":
            pass
        elif self._books.push(message) is not None:
            self.crowd.counts[f"reset {message['why']}"] += 1
            self._span_ends(before)
            self._watch()

    def _answered(self, what: str, message: dict[str, Any], before: int) -> None:
        self._since = time.monotonic()
        if what == "beat":
            self._books.horizon(message["seq"])
        elif what in {"watch", "resume"}:
            data = message["data"]
            self._books.started(self.wanted, data, what == "resume")
            if data["resumed"]:
                self.crowd.counts["resumed"] += 1
                for push in data["events"]:
                    self._told(push["seq"])
            else:
                self.crowd.counts["snapshots" if what == "watch" else f"snapshots {data['why']}"] += 1
                self._span_ends(before)
                self.spans.append(Span(data["seq"]))
        elif what != "hello":
            raise Wrong(f"an answer to nothing: {message}")

    def _told(self, seq: int) -> None:
        self.crowd.counts["pushes"] += 1
        self.spans[-1].seqs.append(seq)

    def _span_ends(self, at: int) -> None:
        if self.spans and not self.spans[-1].end:
            self.spans[-1].end = at

    def finish(self) -> None:
        """Note where the client stands at the end."""
        self._span_ends(self.wanted.seq)


def unlike(members: list[Member]) -> list[str]:
    """Compare what clients were told who watch the same, which is no window; return what is wrong, by sentences."""
    wrong: list[str] = []
    groups: dict[tuple[str, str], list[Member]] = {}
    for member in members:
        if not member.wanted.windowed:
            groups.setdefault((member.account, str(member.spec.request)), []).append(member)
    for (_, request), group in groups.items():
        spans = [span for member in group for span in member.spans]
        every = sorted({seq for span in spans for seq in span.seqs})
        if group[0].sees_all and spans:
            every = list(range(min(span.begin for span in spans) + 1, max(span.end for span in spans) + 1))
        for member in group:
            for span in member.spans:
                wanted = every[bisect_right(every, span.begin) : bisect_right(every, span.end)]
                if span.seqs.tolist() != wanted:
                    differ = sorted(set(wanted) ^ set(span.seqs))
                    wrong.append(f"{request} was not told of each once and in order: {differ[:10]} of {span.end}")
    return wrong
