"""Live queries: who watches what, and what each commit means for them.

Watches with the same account, query and rights are one group: evaluated once per commit, encoded once
per codec. A group's id is the watch id on the wire, the same for every socket. For each changed record
the image before and the image after are matched: enter, update or leave (DESIGN.md 4 and 6).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from channels.fanout import MAX_PUSH, Fanout, Run
from channels.matching import Index
from channels.outlet import Encoded, Outlet
from hub.access import Identity, Rights
from hub.schema.query import ById, SortKey
from hub.schema.record import Image, RecordType
from hub.schema.where import EVERYTHING, Matcher, Node, canonical, matcher
from hub.schema.writes import ChangeRow, ChangeSet
from hub.wire import frames

_HEAD = frozenset({"id", "type", "version"})
"""What every record of a watch has."""

Event = dict[str, Any]
Reset = Callable[["WatchGroup", Outlet, str], None]
"""Ends a watch of one socket: the group, the socket, why."""


def _short(*parts: Any) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(msgspec.json.encode(parts)).digest()[:9]).decode("ascii")


@dataclass(frozen=True, eq=False)
class WatchQuery:
    """What is watched, by whose rights. `fields` are wire names or None for all that may be seen.

    `where` holds the row rule that binds whoever watches, and `rule` is that rule by itself, so that it can be told
    why a record leaves. With a `limit` it is a window: the first records in `order`, whose fields are among `fields`.
    """

    account: str
    type: RecordType
    where: Node
    fields: tuple[str, ...] | None
    rights: Rights
    order: tuple[SortKey, ...] = ById
    limit: int | None = None
    rule: Node = EVERYTHING

    @cached_property
    def id(self) -> str:
        """The watch id: equal exactly for equal account, query and rights."""
        return _short(self.account, self._asked, self.rights.fingerprint)

    @property
    def _asked(self) -> list[Any]:
        fields = sorted({*self.fields} - _HEAD) if self.fields is not None else None
        asked = [self.type.name, canonical(self.where), fields]
        if self.limit is not None:
            asked += [[[key.field, key.descending] for key in self.order], self.limit]
        return asked

    def mark(self, epoch: str) -> str:
        """Return the opaque mark: query, rights, schema, epoch."""
        schema, rights = self.rights.registry.hash, self.rights.fingerprint
        if self.ruled:
            rights = _short(rights, canonical(self.rule))
        return ".".join((_short(self.account, self._asked), rights, schema, epoch))

    def mismatch(self, mark: str, epoch: str) -> str | None:
        """Return why a client's mark does not fit (`query`, `rights`, `schema`, `epoch`), or None."""
        mine = self.mark(epoch).split(".")
        theirs = mark.split(".")
        if len(theirs) != len(mine):
            return "query"
        for name, a, b in zip(("query", "rights", "schema", "epoch"), mine, theirs, strict=True):
            if a != b:
                return name
        return None

    def is_seen_by(self, rights: Rights, identity: Identity) -> bool:
        """Say whether somebody with these rights would see the same of it."""
        return rights.sight(self.type, identity, self.account) == (
            self.rights.allows(f"{self.type.name}.read"),
            self.rights.hidden(self.type),
            self.rule,
        )

    @cached_property
    def test(self) -> Matcher:
        """Whether an image matches the filter, a tombstone's too."""
        return matcher(self.where)

    @property
    def ruled(self) -> bool:
        """Whether a row rule binds it."""
        return self.rule != EVERYTHING

    @cached_property
    def permits(self) -> Matcher:
        """Whether the row rule lets an image through."""
        return matcher(self.rule)

    def leaves(self, rec: str, image: Image | None, why: str, version: int) -> Event:
        """Return that a record leaves; where the row rule keeps it from view now, nothing but its id is told."""
        if self.ruled and (not image or not self.permits(image)):
            return {"kind": "leave", "rec": rec, "why": "rights"}
        return {"kind": "leave", "rec": rec, "why": why, "version": version}

    def matches(self, image: Image) -> bool:
        """Say whether an image is live and matches the filter."""
        return image["deleted_at"] is None and self.test(image)

    @cached_property
    def visible(self) -> frozenset[str] | None:
        """The names that a record of this watch has, or None for all."""
        if self.fields is not None:
            return _HEAD.union(self.fields)
        hidden = self.rights.hidden(self.type)
        return None if not hidden else frozenset((*self.type.kinds, "type", "account_id")) - hidden

    def view(self, image: Image) -> Image:
        """Return what this watch shows of an image."""
        visible = self.visible
        return image if visible is None else {k: v for k, v in image.items() if k in visible}

    def event(self, row: ChangeRow) -> Event | None:
        """Return what a changed record means for this watch, or None."""
        if not row.after:
            return self._purged(row)
        before = row.previous()
        was = before is not None and self.matches(before)
        after = row.after
        if self.matches(after):
            if not was:
                return {"kind": "enter", "rec": row.rec, "record": self.view(after)}
            visible = self.visible
            patch = {
                name: after[name]
                for name in row.before or ()
                if name != "version" and (visible is None or name in visible)
            }
            return {"kind": "update", "rec": row.rec, "patch": patch, "version": row.version}
        if was:
            why = "deleted" if after["deleted_at"] is not None else "filter"
            return self.leaves(row.rec, after, why, row.version)
        return None

    def _purged(self, row: ChangeRow) -> Event | None:
        """Return what a row means that has no image, because its record was purged.

        Where it is not said what the record was, everybody is told that it is gone: it is the last word on it. Only
        where a row rule binds the watch, its id alone would tell of a record that may not be known: raise `Unsaid`.
        """
        if row.kind != "purge" or (row.before and not self.matches(row.before)):
            return None
        if self.ruled and not row.before:
            raise Unsaid
        return {"kind": "leave", "rec": row.rec, "why": "deleted", "version": row.version}

    def events(self, commit: ChangeSet) -> list[Event]:
        """Return what a commit means for this watch, in the order of its changes."""
        name = self.type.name
        return self.events_of(row for row in commit.rows if row.type == name)

    def events_of(self, rows: Iterable[ChangeRow]) -> list[Event]:
        """Return what changed records of the type mean for this watch, in their order."""
        return [event for event in map(self.event, rows) if event is not None]


class Unsaid(Exception):
    """The log does not say whether a record that was purged was one that this watch may know of."""


class Recorder:
    """Collects what a group is told while a snapshot or the log is being read."""

    def __init__(self) -> None:
        self.commits: list[tuple[int, str | None, list[Event]]] = []
        self.lost = False
        """Whether there was something that the group could not be told; then it is read once more."""


class WatchGroup:
    """The sockets that watch one query, and the starts that are under way."""

    def __init__(self, query: WatchQuery) -> None:
        self.query = query
        self.where = query.where
        self.test = query.test
        self.outlets: dict[Outlet, int] = {}
        """How many times each socket started this watch."""
        self.recorders: list[Recorder] = []
        self.fanout: Fanout | None = None
        """Where pushes to many sockets are kept once, if a socket of this group can be written to so."""
        self.run: Run | None = None
        """What takes in this group's pushes in this turn of the loop."""

    @property
    def owner(self) -> str:
        """The tag of its pushes: the id of the watch."""
        return self.query.id

    def join(self, outlet: Outlet, fanout: Fanout) -> None:
        """Push to a socket from now on; count how often it was asked for."""
        count = self.outlets.get(outlet, 0)
        self.outlets[outlet] = count + 1
        if outlet.framed is not None:
            outlet.shared = self.fanout = fanout
            if count == 0 and fanout.runs:
                fanout.begins(self, outlet)

    @property
    def idle(self) -> bool:
        """Whether nobody needs this group any more."""
        return not self.outlets and not self.recorders

    def tell(self, commit: ChangeSet, rows: Sequence[ChangeRow], reset: Reset) -> None:
        """Hand what a commit changed to everybody who watches, where it means anything to them."""
        try:
            events = self.query.events_of(rows)
        except Unsaid:
            for recorder in self.recorders:
                recorder.lost = True
            for outlet in list(self.outlets):
                reset(self, outlet, "expired")
            return
        if not events:
            return
        for recorder in self.recorders:
            recorder.commits.append((commit.seq, commit.session, events))
        self.push(commit.seq, commit.session, events, reset)

    def push(self, seq: int, origin: str | None, events: list[Event], reset: Reset) -> None:
        """Push events to every socket, encoded once per codec."""
        if not self.outlets:
            return
        watch = self.query.id
        shared = Encoded(frames.change(watch, seq, origin, events))
        if self.fanout is not None and len(self.outlets) >= self.fanout.many:

            def full(run: Run, outlet: Outlet) -> None:
                reset(self, outlet, "slow")

            if self.fanout.add(self, shared, full):
                return
        for outlet in list(self.outlets):
            frame = shared.frame(outlet.codec)
            if len(frame) > MAX_PUSH or not outlet.push(frame, watch):
                reset(self, outlet, "slow")


class Watches:
    """Every group, by account and type."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], dict[str, WatchGroup]] = {}
        self._indexes: dict[tuple[str, str], Index[WatchGroup]] = {}
        self._on_reset: Callable[[Outlet, str], None] = lambda outlet, watch: None
        self.fanout = Fanout()

    def listen(self, on_reset: Callable[[Outlet, str], None]) -> None:
        """Set who is told that a socket lost a watch."""
        self._on_reset = on_reset

    def group(self, query: WatchQuery, make: Callable[[WatchQuery], WatchGroup] = WatchGroup) -> WatchGroup:
        """Return the group of a query; where there is none, the one that `make` makes."""
        key = (query.account, query.type.name)
        groups = self._groups.setdefault(key, {})
        group = groups.get(query.id)
        if group is None:
            group = groups[query.id] = make(query)
            if key not in self._indexes:
                self._indexes[key] = Index(query.type)
            self._indexes[key].add(group)
        return group

    def release(self, group: WatchGroup) -> None:
        """Forget a group that nobody needs."""
        if group.idle:
            self.forget(group)

    def forget(self, group: WatchGroup) -> None:
        """Forget a group: whoever asks for its query gets a new one."""
        key = (group.query.account, group.query.type.name)
        if self._groups.get(key, {}).get(group.query.id) is group:
            del self._groups[key][group.query.id]
            self._indexes[key].remove(group)
            if not self._groups[key]:
                del self._groups[key], self._indexes[key]

    def stop(self, group: WatchGroup, outlet: Outlet) -> None:
        """Take a socket out of a group."""
        group.outlets.pop(outlet, None)
        outlet.drop(group.query.id)
        self.release(group)

    def tell(self, commit: ChangeSet) -> None:
        """Hand a commit to every group that it concerns."""
        rows, account = commit.rows, commit.account
        if len(rows) == 1:
            index = self._indexes.get((account, rows[0].type))
            if index is not None:
                for group in index.concerned(rows[0]):
                    group.tell(commit, rows, self.reset)
            return
        indexes = {kind: self._indexes.get((account, kind)) for kind in dict.fromkeys([row.type for row in rows])}
        if not any(indexes.values()):
            return
        concerned: dict[WatchGroup, list[ChangeRow]] = {}
        for row in rows:
            index = indexes[row.type]
            if index is not None:
                for group in index.concerned(row):
                    concerned.setdefault(group, []).append(row)
        for group, changed in concerned.items():
            group.tell(commit, changed, self.reset)

    def reset(self, group: WatchGroup, outlet: Outlet, why: str) -> None:
        """End a watch of one socket, which is told to start it again from a snapshot."""
        watch = group.query.id
        group.outlets.pop(outlet, None)
        outlet.replace(watch, outlet.codec.encode(frames.reset(watch, why)))
        self.release(group)
        self._on_reset(outlet, watch)

    def __len__(self) -> int:
        return sum(len(groups) for groups in self._groups.values())
