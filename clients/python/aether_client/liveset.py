"""The records of one watched query, kept equal to the hub's answer by its messages.

Pure: messages in, what changed out; no socket, no time. Exactly once: the set has a position (a `seq` of the
account), and what is not above it was applied already. After a lost socket the next `watch.start` says the
position and gets what was missed, or a whole new snapshot. The old content stays until a new snapshot is
complete, and the difference is told like any other change. Source: DESIGN.md section 4, "Watch semantics".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from aether_client.codec import Message

Record = dict[str, Any]

MOST_HAVE: Final = 500
"""A window with more records than this starts again instead of resuming (limit of the wire)."""


@dataclass(frozen=True, slots=True)
class Change:
    """Exactly what became different: by one commit, or by a snapshot.

    `seq` is the position after it, `origin` the session of the writer where the hub says so. `updated` holds
    (before, after) pairs.
    """

    kind: Literal["snapshot", "change"]
    seq: int
    origin: str | None = None
    entered: tuple[Record, ...] = ()
    updated: tuple[tuple[Record, Record], ...] = ()
    left: tuple[Record, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.entered or self.updated or self.left)


@dataclass(slots=True)
class _Staged:
    """A snapshot whose pages are still coming."""

    seq: int
    mark: str
    records: dict[str, Record] = field(default_factory=dict)
    later: list[Message] = field(default_factory=list)
    """Changes that came between the pages; applied behind them, because a page may hold an older state."""


class LiveSet:
    """One watched query and its content."""

    def __init__(self, query: Mapping[str, Any], most_later: int = 10_000) -> None:
        self.query = dict(query)
        """The fields of `watch.start` without `since`."""
        self.most_later = most_later
        """How many pushes may wait for the last page; one more and the set starts again."""
        self.records: dict[str, Record] = {}
        """The content by id. A new record is a new dict, so one that was handed out never changes."""
        self.phase: Literal["idle", "starting", "loading", "live"] = "idle"
        """`idle` without a socket, `loading` while pages of a snapshot are missing."""
        self.ready = False
        """Whether the content was complete at least once."""
        self.mark: str | None = None
        """The hub's opaque mark that belongs to `seq`; None: the next start is a snapshot."""
        self.seq = 0
        """Every change up to here is in `records`."""
        self.watch: str | None = None
        """The name of the shared query on the present socket."""
        self.astray = False
        """A message came that cannot be true of what this set holds: it must start again from a snapshot."""
        self._staged: _Staged | None = None
        self._ordered: list[Record] | None = None

    @property
    def ordered(self) -> Sequence[Record]:
        """The content in the `order` of the query, `id` last."""
        if self._ordered is None:
            self._ordered = in_order(self.records.values(), self.query.get("order") or ())
        return self._ordered

    def begin(self) -> dict[str, Any]:
        """Begin on a socket: return the fields of `watch.start`."""
        self.phase = "starting"
        self._staged = None
        if self.mark is None:
            return dict(self.query)
        since: dict[str, Any] = {"mark": self.mark, "seq": self.seq}
        if self.query.get("limit") is not None:
            if len(self.records) > MOST_HAVE:
                return dict(self.query)
            since["have"] = {rec: record["version"] for rec, record in self.records.items()}
        return {**self.query, "since": since}

    def started(self, data: Mapping[str, Any]) -> list[Change]:
        """Take the answer of `watch.start`."""
        self.watch = data["watch"]
        if data["resumed"]:
            self.phase = "live"
            self.mark = data["mark"]
            changes = [change for missed in data["events"] for change in self._apply(missed)]
            self.seq = max(self.seq, data["seq"])
            return changes
        self.phase = "loading"
        self._staged = _Staged(data["seq"], data["mark"])
        return self._page(data["records"], last=not data.get("more"))

    def snapshot(self, push: Mapping[str, Any]) -> list[Change]:
        """Take a further page of a large snapshot."""
        return [] if self._staged is None else self._page(push["records"], last=bool(push.get("last")))

    def change(self, push: Message) -> list[Change]:
        """Take a `change` push."""
        if self._staged is not None:
            self._staged.later.append(push)
            if len(self._staged.later) > self.most_later:
                self.astray = True
            return []
        return self._apply(push) if self.phase == "live" else []

    def horizon(self, seq: int) -> None:
        """Note that everything owed up to `seq` was received on this socket."""
        if self.phase == "live" and seq > self.seq and not self.astray:
            self.seq = seq

    def lost(self) -> None:
        """Note that the socket is gone; the content and the position stay."""
        self.phase = "idle"
        self.watch = None
        self._staged = None

    def reset(self) -> None:
        """Start again from a snapshot next time; the content stays until it is there."""
        self.lost()
        self.mark = None
        self.astray = False

    def _page(self, records: Sequence[Record], *, last: bool) -> list[Change]:
        staged = self._staged
        if staged is None:
            return []
        staged.records.update((record["id"], record) for record in records)
        if not last:
            return []
        told = _difference(self.records, staged.records, staged.seq)
        self.records, self.seq, self.mark = staged.records, staged.seq, staged.mark
        self._staged = self._ordered = None
        self.phase = "live"
        self.ready = True
        return [told, *(change for push in staged.later for change in self._apply(push))]

    def _apply(self, body: Mapping[str, Any]) -> list[Change]:
        seq: int = body["seq"]
        if seq <= self.seq or self.astray:
            return []
        made: dict[str, Record | None] = {}
        for event in body["events"]:
            rec, kind = event["rec"], event["kind"]
            if kind == "enter":
                made[rec] = event["record"]
            elif kind == "leave":
                made[rec] = None
            elif kind == "update":
                before = made[rec] if rec in made else self.records.get(rec)
                if before is None:
                    self.astray = True
                    return []
                made[rec] = {**before, **event["patch"], "version": event["version"]}
        self._ordered = None
        entered, updated, left = [], [], []
        for rec, after in made.items():
            before = self.records.pop(rec, None) if after is None else self.records.get(rec)
            if after is not None:
                self.records[rec] = after
            if before is not None and after is not None:
                updated.append((before, after))
            elif after is not None:
                entered.append(after)
            elif before is not None:
                left.append(before)
        self.seq = seq
        return [Change("change", seq, body.get("origin"), tuple(entered), tuple(updated), tuple(left))]


def _difference(old: Mapping[str, Record], new: Mapping[str, Record], seq: int) -> Change:
    """Return what a new snapshot changes."""
    return Change(
        "snapshot",
        seq,
        None,
        tuple(record for rec, record in new.items() if rec not in old),
        tuple((old[rec], record) for rec, record in new.items() if rec in old and old[rec] != record),
        tuple(record for rec, record in old.items() if rec not in new),
    )


def in_order(records: Iterable[Record], order: Sequence[str]) -> list[Record]:
    """Return records in the hub's order, such as `["-starts_at", "title"]`: null lowest, `id` always last."""
    found = list(records)
    for key in reversed([*order, "id"]):

        def rank(record: Record, name: str = key.removeprefix("-")) -> tuple[int, Any]:
            value = record[name]  # Python's texts compare by code point, as the hub's do
            return (0, 0) if value is None else (1, value)

        found.sort(key=rank, reverse=key.startswith("-"))
    return found


def merge(first: Change, second: Change) -> Change:
    """Return the one change that has the effect of two that follow each other."""
    before: dict[str, Record | None] = {}
    after: dict[str, Record | None] = {}
    for change in (first, second):
        steps: list[tuple[Record | None, Record | None]] = [(None, record) for record in change.entered]
        steps += change.updated
        steps += [(record, None) for record in change.left]
        for old, new in steps:
            rec = (new or old or {})["id"]
            before.setdefault(rec, old)
            after[rec] = new
    entered, updated, left = [], [], []
    for rec, new in after.items():
        old = before[rec]
        if old is None and new is not None:
            entered.append(new)
        elif old is not None and new is None:
            left.append(old)
        elif old is not None and new is not None and old != new:
            updated.append((old, new))
    kind: Literal["snapshot", "change"] = "snapshot" if "snapshot" in (first.kind, second.kind) else "change"
    origin = first.origin if first.origin == second.origin else None
    return Change(kind, second.seq, origin, tuple(entered), tuple(updated), tuple(left))
