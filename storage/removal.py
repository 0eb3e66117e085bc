"""Deciding deletions: what goes with a record, what stands against it, what loses its reference. Pure.

Softly, a record becomes a tombstone; its live children stand against it, or go along where they are declared
`on_delete="cascade"`. Hard, it is gone: so are the tombstones under it, and every reference to it is settled by
the rule of its field, or of the type where its records are for one of several types. A cascade takes at most
`CASCADE` records.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from hub.schema.fields import FOR_ID
from hub.schema.record import Image, RecordType
from hub.schema.writes import ChangeRow, ChangeSet
from hub.wire.errors import HubError

if TYPE_CHECKING:
    from storage.known import RecordKey
    from storage.work import Work

CASCADE: Final = 10_000
"""How many records one deletion takes along."""


def _restricted(kind: RecordType, how: str) -> HubError:
    return HubError(
        "relation.restricted",
        f"Records of type {kind.name} still {how} it; delete them first.",
        path="rec",
        details={"type": kind.name},
    )


def _bound(count: int) -> None:
    if count > CASCADE:
        raise HubError(
            "batch.too_large",
            f"More than {CASCADE} records would go with it; delete some of them first.",
            path="rec",
            details={"limit": CASCADE},
        )


def bury(work: Work, kind: RecordType, old: Image) -> Image:
    """Delete a live record softly, and the live children that are declared to go along."""
    wire_of = {child.name: child.parent_wire or "" for child in work.known.registry.children(kind)}
    for child in work.known.registry.children(kind):
        wire = wire_of[child.name]
        stored = work.load.children(work.account, child, wire, old["id"])
        for rec in dict.fromkeys((*stored, *work.came_under(child, old["id"]))):
            image = work.get(child, rec)
            if image is None or image["deleted_at"] is not None or image[wire] != old["id"]:
                continue
            if child.on_delete != "cascade":
                raise _restricted(child, "belong to")
            bury(work, child, image)
            _bound(len(work.rows))
    meta = work.meta(old) | {"deleted_at": work.now}
    image = {**old, **meta}
    work.hooked("delete", kind, old, image)
    for unique in kind.unique:
        work.release(kind, unique, old)
    work.put(kind, image, frozenset(meta), {})
    work.log(kind, "delete", image, {name: old[name] for name in meta})
    return image


def purge(work: Work, kind: RecordType, old: Image) -> Image:
    """Remove a record, live or a tombstone, and what goes with it; return what an answer may say of it."""
    fall = _Fall(work)
    fall.take(kind, old)
    fall.settle()
    return {"id": old["id"], "type": kind.name, "version": old["version"] + 1}


def stays_beside(work: Work, kind: RecordType, image: Image) -> None:
    """Raise `relation.restricted` where live records of the same parent refer to one that is to leave it."""
    beside = [(t, w) for t, w in work.known.registry.referrers(kind) if t.fields[w].option.same_parent]
    fall = _Fall(work) if beside else None
    for other, wire in beside:
        if fall is not None and any(i["deleted_at"] is None for i in fall.referring(other, wire, image["id"])):
            raise HubError(
                "relation.restricted",
                f"Records of type {other.name} under the same parent refer to it; change them first.",
                path="rec",
                details={"type": other.name},
            )


def reborn(logs: Iterable[ChangeSet]) -> dict[RecordKey, tuple[int, int]]:
    """Return where the last removal of a record stands, `seq` and part, if these commits created it once more.

    What the log says of a record up to its removal is emptied; what stands behind is of another record.
    """
    ends: dict[RecordKey, tuple[int, int]] = {}
    again: set[RecordKey] = set()
    for log in logs:
        for row in log.rows:
            key = (log.account, row.type, row.rec)
            if row.kind == "purge":
                ends[key] = (log.seq, row.part)
                again.discard(key)
            elif row.version == 1 and key in ends:
                again.add(key)
    return {key: ends[key] for key in again}


class _Fall:
    """What falls with a record: first collected as a whole, then decided."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.doomed: dict[RecordKey, tuple[RecordType, Image]] = {}
        # Fields that will refer to nothing, by record.
        self.emptied: dict[RecordKey, tuple[RecordType, set[str]]] = {}
        # Live records that stand against it, unless they fall as well; and how they depend on it.
        self.against: dict[RecordKey, tuple[RecordType, str]] = {}
        # What this group changed and is not stored yet: ids by (type, field, id that it refers to).
        self.near: dict[tuple[str, str, str], list[str]] = {}
        for row in work.known.rows(work):
            self._notice(row)

    def _notice(self, row: ChangeRow) -> None:
        kind = self.work.known.registry.types[row.type]
        for wire in (*kind.linking, *([kind.parent_wire] if kind.parent_wire else [])):
            if row.after.get(wire) is not None:
                self.near.setdefault((kind.name, wire, row.after[wire]), []).append(row.rec)

    def take(self, kind: RecordType, image: Image) -> None:
        """Collect a record and everything that falls with it."""
        registry = self.work.known.registry
        waiting = [(kind, image)]
        while waiting:
            kind, image = waiting.pop()
            key = (self.work.account, kind.name, image["id"])
            if key in self.doomed:
                continue
            self.doomed[key] = (kind, image)
            _bound(len(self.doomed))
            for child in registry.children(kind):
                for found in self.referring(child, child.parent_wire or "", image["id"]):
                    if found["deleted_at"] is None and child.on_delete != "cascade":
                        self._stands(child, found, "belong to")
                    else:
                        waiting.append((child, found))
            for other, wire in registry.referrers(kind):
                rule, nullable = other.fields[wire].option.on_delete, other.fields[wire].nullable
                for found in self.referring(other, wire, image["id"]):
                    if rule == "cascade" or (found["deleted_at"] is not None and not nullable):
                        waiting.append((other, found))
                    elif rule == "set_null" or found["deleted_at"] is not None:
                        place = (self.work.account, other.name, str(found["id"]))
                        self.emptied.setdefault(place, (other, set()))[1].add(wire)
                    else:
                        self._stands(other, found, "refer to")

            for other in registry.attached(kind):
                for found in self.referring(other, FOR_ID, image["id"]):
                    if found["deleted_at"] is None and other.on_delete != "cascade":
                        self._stands(other, found, "are for")
                    else:
                        waiting.append((other, found))

    def _stands(self, kind: RecordType, image: Image, how: str) -> None:
        self.against[self.work.account, kind.name, image["id"]] = (kind, how)

    def referring(self, kind: RecordType, wire: str, rec: str) -> list[Image]:
        """Return the records, tombstones too, whose field or parent is `rec`."""
        work = self.work
        stored = work.load.referring(work.account, kind, wire, rec)
        ids = dict.fromkeys((*stored, *self.near.get((kind.name, wire, rec), ())))
        images = (work.get(kind, one) for one in ids)
        return [image for image in images if image is not None and image[wire] == rec]

    def settle(self) -> None:
        """Decide what was collected; raise `relation.restricted` where something stands against it."""
        work = self.work
        for key, (kind, how) in self.against.items():
            if key not in self.doomed:
                raise _restricted(kind, how)
        for key, (kind, wires) in self.emptied.items():
            old = work.get(kind, key[2])
            if key in self.doomed or old is None:
                continue
            meta = work.meta(old)
            image = {**old, **meta, **dict.fromkeys(wires)}
            for unique in kind.unique:
                if old["deleted_at"] is None and wires.intersection(unique):
                    work.release(kind, unique, old)
            work.put(kind, image, frozenset((*meta, *wires)), {})
            work.log(kind, "update", image, {name: old[name] for name in (*meta, *wires)})
        for kind, old in self.doomed.values():
            work.hooked("purge", kind, old, None)
            if old["deleted_at"] is None:
                for unique in kind.unique:
                    work.release(kind, unique, old)
            work.drop(kind, old)
