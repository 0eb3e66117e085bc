"""What must be written so that the hub holds a programme: a comparison of three states, without I/O.

Knows: the source now (a programme), the source at the last import (the rows of `event_import`) and the hub now (its
live records). Does not know storage, rights or the wire; the writes it returns are values.

The rules:
- A field is written only if the *source* changed it since the last import; an edit made in the hub stays until then.
  Start and end of a session go together: where only one is changed and would not fit the other, both are written.
- What the source has for the first time is created. If the hub has a live record with the same natural key (made by
  hand), that record is adopted: only its empty fields are filled.
- What disappeared from the source is deleted softly and forgotten; when it comes back it is new. It is kept as long
  as a record that stays refers to it; only presenters go with their session or person.
- A record deleted in the hub stays deleted while its source is unchanged. When the source changes it, or a record that
  is written refers to it, it is made again (`restored`) under a new id, with the presenters that were deleted with it.
  Records of the source that still pointed at the old id then point at the new one.
- Rows, records and references are written in one batch. The same programme again gives no write at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from packs.events.import_items import (
    ENTITIES,
    EVENT,
    IMPORT,
    NATURAL_KEYS,
    PRESENTER,
    REFERENCES,
    SESSION,
    Ident,
    Item,
    items_of,
    label,
    wire,
)
from packs.events.import_summary import Summary
from packs.events.programme import Programme

Image = Mapping[str, Any]
"""A record as it stands on the wire."""

Operation = dict[str, Any]
"""One item of `record.batch`; `{"$item": n}` stands for the id that item n creates."""


class Plan(Struct, frozen=True):
    """The writes that bring the hub up to the source, each possible after those before it, and what they amount to."""

    operations: list[Operation]
    summary: Summary


def plan(programme: Programme, event: Image | None, known: Iterable[Image], current: Mapping[str, Image]) -> Plan:
    """Compare a consistent programme with what was imported last and with the hub.

    `event` is the live event it belongs to, None if there is none yet. `known` are the rows of `event_import` below it,
    `current` its live children by id; a record in neither is taken to be deleted.
    """
    return _Comparison(programme, event, known, current).result()


class _Comparison:
    def __init__(
        self, programme: Programme, event: Image | None, known: Iterable[Image], current: Mapping[str, Image]
    ) -> None:
        self.items = items_of(programme)
        self.event = event
        self.rows: dict[Ident, Image] = {(row["entity"], row["key"]): row for row in known}
        self.live: dict[str, Image] = {rec: image for rec, image in current.items() if not image.get("deleted_at")}
        if event is not None:
            self.live[event["id"]] = event
        self.bound: dict[Ident, Image] = {}  # items that have a live record
        self.adopted: set[Ident] = set()  # those of them that had no row
        self.in_source: set[str] = set()  # ids of the records in `bound`
        self.making: dict[Ident, Item] = {}  # items whose record will be created
        self.place: dict[Ident, int] = {}  # number of the operation that creates the item's record
        self.operations: list[Operation] = []
        self.summary = Summary(event=event["id"] if event else None, title=label(event or self.items[0].values))

    def result(self) -> Plan:
        self._bind()
        self._choose()
        changes = self._changes()
        for entity in ENTITIES:
            self._create(entity)
        gone = self._gone(changes)
        for rec, data in changes.items():
            self._operation("record.update", self.live[rec], rec=rec, data=data)
        self._delete(gone)
        self._remember()
        self.summary.writes = len(self.operations)
        return Plan(self.operations, self.summary)

    def _bind(self) -> None:
        """Find the live record of each item: by its row, else by its natural key."""
        by_key = {
            (image["type"], image[NATURAL_KEYS[image["type"]]]): image
            for image in self.live.values()
            if image["type"] in NATURAL_KEYS
        }
        pairs = {
            (image["session_id"], image["person_id"]): image
            for image in self.live.values()
            if image["type"] == PRESENTER
        }
        for item in self.items:
            row = self.rows.get(item.ident)
            image = self.event if item.entity == EVENT else None
            if row is not None:
                image = image or self._live(row["rec"], item.entity)
            if image is None and item.entity == PRESENTER:
                ids = tuple(self.bound[target]["id"] for _, target in item.targets if target in self.bound)
                image = pairs.get(ids) if len(ids) == 2 else None
            elif image is None:
                image = by_key.get(item.ident)
            if image is not None:
                self.bound[item.ident] = image
                if row is None:
                    self.adopted.add(item.ident)
        self.in_source = {image["id"] for image in self.bound.values()}

    def _choose(self) -> None:
        """Decide which records are made: the new, the changed, and what a written record refers to."""
        items = {item.ident: item for item in self.items}
        waiting = [item for item in self.items if item.ident not in self.bound and self._wanted(item)]
        for item in self.items:
            if item.ident in self.bound:
                waiting += [items[target] for target in self._written_targets(item) if target not in self.bound]
        while waiting:
            item = waiting.pop()
            if item.ident not in self.making:
                self.making[item.ident] = item
                waiting += [items[target] for _, target in item.targets if target not in self.bound]
        for item in self.items:
            targets = [target for _, target in item.targets]
            if item.entity == PRESENTER and item.ident not in self.bound and item.ident not in self.making:
                there = all(target in self.bound or target in self.making for target in targets)
                if there and any(target in self.making for target in targets):
                    self.making[item.ident] = item  # it was deleted together with what is made again

    def _wanted(self, item: Item) -> bool:
        row = self.rows.get(item.ident)
        return row is None or self._differs(item, row)

    def _written_targets(self, item: Item) -> list[Ident]:
        return [target for field, target in item.targets if self._field_is_due(item, field, item.refs[field])]

    def _field_is_due(self, item: Item, field: str, value: Any) -> bool:
        """Tell whether the source may write this field of a live record."""
        return self._changed(item, field, value) or self._goes_along(item, field)

    def _goes_along(self, item: Item, field: str) -> bool:
        """Tell whether the start or end of a session has to follow the other one, which the source has changed."""
        if item.entity != SESSION or field not in {"starts_at", "ends_at"}:
            return False
        other = "ends_at" if field == "starts_at" else "starts_at"
        if not self._changed(item, other, item.values[other]):
            return False
        times = {field: self.bound[item.ident][field], other: item.values[other]}
        return None not in times.values() and bool(times["ends_at"] < times["starts_at"])

    def _changed(self, item: Item, field: str, value: Any) -> bool:
        row = self.rows.get(item.ident)
        if row is not None and field in row["values"]:
            return bool(row["values"][field] != value)
        there = self.bound[item.ident].get(wire(field) if field in item.refs else field)
        return not there and bool(value)

    def _changes(self) -> dict[str, dict[str, Any]]:
        """Return the fields to write by id of the live record, and count what stays as it is."""
        changes: dict[str, dict[str, Any]] = {}
        for item in self.items:
            image = self.bound.get(item.ident)
            if image is None:
                continue
            data: dict[str, Any] = {}
            for field, value in item.values.items():
                self._compare(item, field, field, value, value, data)
            for field, key in item.refs.items():
                target = None if key is None else (REFERENCES[item.entity][field], key)
                self._compare(item, field, wire(field), key, self._resolved(target), data, self._old_id(target))
            counts = self.summary.count(item.entity)
            if data:
                counts.updated += item.ident not in self.adopted
                changes[image["id"]] = changes.get(image["id"], {}) | data
            elif item.ident not in self.adopted:
                counts.unchanged += 1
            counts.adopted += item.ident in self.adopted
        return changes

    def _compare(
        self, item: Item, field: str, name: str, source: Any, wanted: Any, data: dict[str, Any], old: str | None = None
    ) -> None:
        there = self.bound[item.ident].get(name)
        if there == wanted:
            return
        row = self.rows.get(item.ident)
        counts = self.summary.count(item.entity)
        if self._field_is_due(item, field, source):
            data[name] = wanted
            before = row["values"].get(field) if row else None
            if row is not None and field not in item.refs and there != before:
                counts.overwritten += 1
                self.summary.name("overwritten", item.entity, label(self.bound[item.ident]), field)
        elif old is not None and there == old:
            if wanted is not None:
                data[name] = wanted  # it points at a record that is made again
        else:
            counts.kept += 1
            self.summary.name("kept", item.entity, label(self.bound[item.ident]), field)

    def _resolved(self, target: Ident | None) -> Any:
        """Return the id of an item's record, a marker where it will be made, None where it stays deleted."""
        if target is None:
            return None
        if target in self.bound:
            return self.bound[target]["id"]
        return _Later(target) if target in self.making else None

    def _old_id(self, target: Ident | None) -> str | None:
        """Return the id of a record that was deleted in the hub."""
        row = self.rows.get(target) if target is not None and target not in self.bound else None
        return row["rec"] if row else None

    def _create(self, entity: str) -> None:
        for item in self.items:
            if item.entity != entity or item.ident not in self.making:
                continue
            data = dict(item.values)
            for field, key in item.refs.items():
                target = None if key is None else (REFERENCES[entity][field], key)
                data[wire(field)] = self._resolved(target)
            self.place[item.ident] = len(self.operations)
            self._operation("record.create", {"type": entity}, data=data, parent=entity != EVENT)
            counts = self.summary.count(entity)
            if item.ident in self.rows:
                counts.restored += 1
            else:
                counts.created += 1
        for item in self.items:
            if item.entity == entity and item.ident not in self.bound and item.ident not in self.making:
                self.summary.count(entity).absent += 1
                self.summary.name("absent", entity, self._described(item))

    def _described(self, item: Item) -> str:
        """Return the text by which people know an item of the source: of a presenter, who and where."""
        if item.entity != PRESENTER:
            return label(item.values) or item.key
        names = {other.ident: label(other.values) for other in self.items}
        return " in ".join(names.get(target, "") for _, target in reversed([*item.targets]))

    def _gone(self, changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Image]:
        """Return the records to delete: gone from the source, and nothing that stays refers to them."""
        present = {item.ident for item in self.items}
        gone: dict[str, Image] = {}
        for (entity, key), row in self.rows.items():
            image = self._live(row["rec"], entity)
            if (entity, key) not in present and image is not None and image["id"] not in self.in_source:
                gone[image["id"]] = image
        for image in list(self.live.values()):
            if image["type"] != PRESENTER or image["id"] in self.in_source:
                continue
            if image["session_id"] in gone or image["person_id"] in gone:
                gone.setdefault(image["id"], image)
        while used := self._used(gone, changes):
            for rec in used:
                image = gone.pop(rec)
                self.summary.count(image["type"]).in_use += 1
                self.summary.name("in_use", image["type"], label(image))
        return gone

    def _used(self, gone: Mapping[str, Image], changes: Mapping[str, Mapping[str, Any]]) -> set[str]:
        return {
            value
            for rec, image in self.live.items()
            if rec not in gone
            for field in REFERENCES.get(image["type"], {})
            if isinstance(value := changes.get(rec, {}).get(wire(field), image.get(wire(field))), str) and value in gone
        }

    def _delete(self, gone: Mapping[str, Image]) -> None:
        for entity in reversed(ENTITIES):
            for rec, image in gone.items():
                if image["type"] == entity:
                    self._operation("record.delete", image, rec=rec)
                    self.summary.count(entity).deleted += 1

    def _remember(self) -> None:
        """Write the rows: what the source held this time, and the record that stands for it."""
        for item in self.items:
            row = self.rows.get(item.ident)
            rec = self._resolved(item.ident)
            if row is None:
                data = {"entity": item.entity, "key": item.key, "rec": rec, "values": item.source}
                self._operation("record.create", {"type": IMPORT}, data=data, parent=True)
                continue
            data = {"rec": rec} if rec is not None and rec != row["rec"] else {}
            if self._differs(item, row):
                data["values"] = item.source
            if data:
                self._operation("record.update", row, rec=row["id"], data=data)
        present = {item.ident for item in self.items}
        deleted = {operation["rec"] for operation in self.operations if operation["op"] == "record.delete"}
        for ident, row in self.rows.items():
            kept = row["rec"] not in deleted | self.in_source and self._live(row["rec"], ident[0]) is not None
            if ident not in present and not kept:
                self._operation("record.delete", row, rec=row["id"])

    def _differs(self, item: Item, row: Image) -> bool:
        return bool(row["values"] != item.source)

    def _live(self, rec: str, entity: str) -> Image | None:
        image = self.live.get(rec)
        return image if image is not None and image["type"] == entity else None

    def _operation(
        self, op: str, image: Image, *, rec: str | None = None, data: dict[str, Any] | None = None, parent: bool = False
    ) -> None:
        operation: Operation = {"op": op, "type": image["type"]}
        if rec is not None:
            operation["rec"] = rec
            operation["if_version"] = image["version"]
        if data is not None:
            operation["data"] = {
                name: {"$item": self.place[value.ident]} if isinstance(value, _Later) else value
                for name, value in data.items()
            }
        if parent:
            at = self.event["id"] if self.event is not None else {"$item": self.place[self.items[0].ident]}
            operation["parent"] = {"type": EVENT, "rec": at}
        self.operations.append(operation)


class _Later(Struct, frozen=True):
    """Stands for the id of a record that this batch creates."""

    ident: Ident
