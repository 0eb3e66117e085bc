"""The client's side of watches on one socket, exactly as the wire says, without a socket.

Takes what arrives, in order, and raises `Wrong` at the first thing that a correct hub would not have sent:
a gap, a duplicate, a step back, a push for nobody, an answer that overtook a push.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hub.schema.record import Image
from tests.simulation.history import History, Spec, difference


class Wrong(AssertionError):
    """The hub broke a promise; the text says which."""


@dataclass(eq=False)
class Wanted:
    """A watch that the client wants to hold, over any number of sockets. `mark` None: begin with a snapshot."""

    spec: Spec
    mark: str | None = None
    seq: int = 0
    records: dict[str, Image] = field(default_factory=dict)
    whole: bool = False
    """Whether `records` is everything, so that the watch can be resumed."""
    starting: bool = False
    """Whether a watch.start of it is under way."""
    hopeless: str = ""
    """Why nothing may be resumed with what we have: `query`, a mark of another one; `expired`, another history."""

    def forget(self) -> None:
        """Begin again with a snapshot next time."""
        self.mark, self.seq, self.records, self.whole, self.hopeless = None, 0, {}, False, ""

    def since(self) -> dict[str, Any] | None:
        """Return the `since` to resume with."""
        if self.mark is None or not self.whole:
            return None
        if not self.windowed:
            return {"mark": self.mark, "seq": self.seq}
        have = {rec: image["version"] for rec, image in self.records.items()}
        return {"mark": self.mark, "seq": self.seq, "have": have}

    @property
    def windowed(self) -> bool:
        """Whether it shows only the first records in an order."""
        return "limit" in self.spec.request


class Socket:
    """Which watches live on one socket, and what each holds."""

    def __init__(self, history: History, check: Callable[[], bool], may_expire: bool) -> None:
        self._history = history
        self._check = check
        self._may_expire = may_expire
        self.watches: dict[str, Wanted] = {}
        self.counts: Counter[str] = Counter()
        """How many answered starts of each watch were not stopped."""
        self.stopping: Counter[str] = Counter()
        """Stops under way: such a watch may lack what was queued, but no push in the middle."""
        self.resets: Counter[str] = Counter()
        """How often each watch was reset. A reset stands where the first lost push stood, so before answers to
        stops and starts that the hub had looked at earlier."""
        self.leaving = False
        """Whether a hello to another account is under way, which ends every watch."""
        self.hellos = 0
        """How many times the account was changed."""

    def left(self) -> None:
        """The account was changed: every watch has ended."""
        self.hellos += 1
        self.watches.clear()
        self.counts.clear()
        self.leaving = False

    def stopped(self, watch: str) -> bool:
        """A stop was answered `ok`; say whether it has ended the watch."""
        if self.counts[watch] < 1:
            if not self.resets[watch]:
                raise Wrong("a watch was stopped that was not held")
            return False
        self.counts[watch] -= 1
        if self.counts[watch] == 0:
            del self.watches[watch]
            return True
        return False

    def started(self, wanted: Wanted, data: dict[str, Any], asked_since: bool) -> None:
        """Take in the answer of a watch.start."""
        watch, seq = str(data["watch"]), int(data["seq"])
        if data["resumed"]:
            if not asked_since or wanted.hopeless:
                raise Wrong("resumed from where this query never was")
            for push in data["events"]:
                self._apply(wanted, push)
        else:
            expected = {wanted.hopeless} if wanted.hopeless else {"expired"} if self._may_expire else set()
            if asked_since and data["why"] not in expected:
                raise Wrong(f"not resumed from {wanted.seq}: {data.get('why')}")
            if wanted.hopeless:
                wanted.forget()
            wanted.records, wanted.whole = {}, not data.get("more", False)
            self._page(wanted, data["records"])
        if seq < wanted.seq:
            raise Wrong(f"a watch was answered at {seq} but holds {wanted.seq} already")
        wanted.mark, wanted.seq = str(data["mark"]), seq
        before = self.watches.get(watch)
        if before is not None and before is not wanted and self._complete(watch):
            self._same(before, wanted)
        self.watches[watch] = wanted
        self.counts[watch] += 1
        if wanted.whole:
            self._true(wanted)

    def _complete(self, watch: str) -> bool:
        """Say whether a watch must hold everything up to the last answer."""
        return not self.leaving and not self.stopping[watch]

    @staticmethod
    def _same(before: Wanted, now: Wanted) -> None:
        if before.seq > now.seq:
            raise Wrong("the second start of a watch is older than the first")
        wrong = difference(before.records, now.records) if before.whole and now.whole else None
        if wrong is not None:
            raise Wrong(f"a second start of the same watch holds something else: {wrong}")

    def push(self, message: dict[str, Any]) -> Wanted | None:
        """Take in a push; return the watch that ended by it."""
        watch = message["watch"]
        wanted = self.watches.get(watch)
        if message["op"] == "reset":
            self.resets[watch] += 1
            if wanted is None and self.resets[watch] > 1:
                return None
        if wanted is None:
            raise Wrong(f"a {message['op']} push for a watch that nobody holds")
        if message["op"] == "reset":
            del self.watches[watch], self.counts[watch]
            wanted.forget()
            return wanted
        if message["op"] == "snapshot":
            if wanted.whole:
                raise Wrong("a page of a snapshot that was whole already")
            self._page(wanted, message["records"])
            wanted.whole = bool(message.get("last", False))
        elif wanted.whole:
            self._apply(wanted, message)
        else:
            raise Wrong("a change before the snapshot was whole")
        return None

    @staticmethod
    def _page(wanted: Wanted, records: list[Image]) -> None:
        for record in records:
            if record["id"] in wanted.records:
                raise Wrong("a snapshot holds a record twice")
            wanted.records[record["id"]] = record

    @staticmethod
    def _apply(wanted: Wanted, push: dict[str, Any]) -> None:
        seq = int(push["seq"])
        if seq <= wanted.seq:
            raise Wrong(f"a change of {seq} after the watch stood at {wanted.seq}")
        if not push["events"]:
            raise Wrong("a change without events")
        for event in push["events"]:
            rec, kind = event["rec"], event["kind"]
            held = wanted.records.get(rec)
            if kind == "enter":
                if held is not None:
                    raise Wrong(f"{rec} entered twice")
                wanted.records[rec] = event["record"]
                continue
            if held is None:
                raise Wrong(f"{kind} of {rec}, which is not held")
            # A window says what has become of a record, which may have been changed several times.
            late = wanted.windowed and event["version"] > held["version"]
            same = wanted.windowed and kind == "leave" and event["version"] == held["version"]
            if event["version"] != held["version"] + 1 and not late and not same:
                raise Wrong(f"{kind} of {rec} to version {event['version']} while {held['version']} is held")
            if kind == "leave":
                del wanted.records[rec]
            else:
                wanted.records[rec] = {**held, **event["patch"], "version": event["version"]}
        wanted.seq = seq

    def horizon(self, seq: int) -> None:
        """Take in that an answer carried `seq`: everything up to it has arrived for every watch."""
        check = self._check()
        for watch, wanted in self.watches.items():
            if not self._complete(watch):
                continue
            if not wanted.whole:
                raise Wrong("an answer overtook a page of a snapshot")
            wanted.seq = max(wanted.seq, seq)
            if check:
                self._true(wanted)

    def _true(self, wanted: Wanted) -> None:
        wrong = difference(wanted.records, self._history.state(wanted.spec, wanted.seq))
        if wrong is not None:
            raise Wrong(f"a watch of {wanted.spec.request} at {wanted.seq}: {wrong}")
