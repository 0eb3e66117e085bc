"""The decision of one commit: each write from what is asked to what will be. Pure; `storage.decide` calls it.

Knows records, uniques, parents, references and versions; knows no table and no database.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import structs

from hub.access import SYSTEM
from hub.schema.fields import FOR_ID, FOR_TYPE
from hub.schema.hooks import Change
from hub.schema.record import Image, RecordType
from hub.schema.where import Node, has_steps, matcher
from hub.schema.writes import (
    ChangeRow,
    Commit,
    Create,
    Delete,
    DeleteWhere,
    Id,
    Import,
    Move,
    OfMany,
    Refused,
    Restore,
    Result,
    Update,
    Upsert,
    Write,
)
from hub.wire.errors import HubError
from hub.wire.requests import ItemRef
from storage.codes import check_codes, check_target
from storage.known import Births, Known, Plan, Put, RecordKey, UniqueKey, newborn, plan_of, same
from storage.loader import NotAlone
from storage.removal import bury, purge, stays_beside
from storage.revival import restore, revert


def taken(kind: RecordType, names: tuple[str, ...]) -> HubError:
    """Return the refusal of values that another record has, whether who asks may know of it or not."""
    fields = [n for n in names if n != kind.parent_wire]
    text = f"Another {kind.name} has the same {' and '.join(fields)}."
    return HubError("record.exists", text, path=f"data.{fields[0]}" if fields else None, details={"unique": fields})


class Work:
    """The decision of one commit, dropped as a whole when a write is refused."""

    __slots__ = (
        "_births", "account", "commit", "done", "first", "known", "load", "now", "puts", "records", "results", "rows",
        "rules", "uniques",
    )  # fmt: skip

    def __init__(self, known: Known, commit: Commit, now: str, whole: Work | None = None) -> None:
        self.known = known
        self.load = known.load
        self.commit = commit
        self.account = commit.account
        self.rules = commit.rules
        self.now = now
        self.records: dict[RecordKey, Image | None] = {}
        self.uniques: dict[UniqueKey, str | None] = {}
        self.rows: list[ChangeRow] = []
        # Who came under which parent in the rows; None until somebody asks.
        self._births: Births | None = None
        # Of a commit that is not atomic, whose items are decided one by one: how many rows came before this item's,
        # and what the items wrote so far.
        self.first = 0 if whole is None else len(whole.rows)
        self.done: list[Put] = []
        self.puts: dict[RecordKey, Put] = {}
        self.results: list[Result] = [] if whole is None else whole.results

    def take(self, item: Work) -> None:
        """Take over an item that was decided by itself."""
        self.records |= item.records
        self.uniques |= item.uniques
        self.rows += item.rows
        self.done += item.puts.values()

    def do(self, write: Write | Refused) -> None:
        if isinstance(write, Refused):
            raise TypeError("an item that was refused is for commits that are not atomic")
        if write.type.system != (self.account == SYSTEM):
            where = f"account {SYSTEM}" if write.type.system else "an account"
            raise HubError("access.denied", f"Records of type {write.type.name} live in {where}.", path="type")
        if isinstance(write, Create):
            self.results.append(Result(self.create(write.type, write.id, write.data, write.parent), created=True))
            return
        if isinstance(write, Upsert):
            self.results.append(self.upsert(write))
            return
        if isinstance(write, OfMany):
            self.results.append(Result({"count": self.all_of(write)}))
            return
        if isinstance(write, Import):
            self.results.append(Result(self.imported(write), created=True))
            return
        kind, rec = write.type, self.resolve(write.rec, "rec")
        match write:
            case Update():
                image = self.live(kind, rec, "rec")
                self.expect(image, write.if_version)
                image = self.change(kind, image, self.filled(plan_of(kind), write.change))
            case Delete():
                image = self.there(kind, rec) if write.hard else self.live(kind, rec, "rec")
                self.may("delete", kind, image, "rec")
                self.expect(image, write.if_version)
                image = (purge if write.hard else bury)(self, kind, image)
            case Restore():
                image = restore(self, kind, rec)
            case Move():
                image = self.move(kind, self.live(kind, rec, "rec"), write.parent)
            case _:
                image = revert(self, write, self.live(kind, rec, "rec"))
        self.results.append(Result(image))

    # -- the writes ---------------------------------------------------------------------------------

    def create(self, kind: RecordType, rec: str, data: dict[str, Any], parent: Id | None) -> Image:
        parent_id = None
        if kind.parent is not None:
            if parent is None:
                raise HubError("data.invalid", f"{kind.name} needs a parent of type {kind.parent.name}.", path="parent")
            parent_id = self.resolve(parent, "parent.rec")
            self.enter(kind, kind.parent, parent_id)
        elif parent is not None:
            raise HubError("data.invalid", f"{kind.name} belongs to the account, not to a parent.", path="parent")
        plan = plan_of(kind)
        image = newborn(kind, rec, self.account, parent_id, self.now, self.commit.actor)
        image |= self.filled(plan, data)
        secrets = self.known.concealed(kind, plan, rec, image) if plan.secrets else {}
        if self.known.registry.before:
            image |= self.hooked("create", kind, None, image)
        if plan.linked:
            self.check_references(kind, plan, image, image)
        if plan.check is not None:
            plan.check(image)
        self.may("create", kind, image, "data")
        if not self.is_new(kind, rec):
            raise HubError("record.exists", "There is already a record with this id.", path="id")
        for unique in kind.unique:
            self.claim(kind, unique, image)
        self.put(kind, image, None, secrets)
        self.log(kind, "create", image, None)
        return image

    def imported(self, write: Import) -> Image:
        image = self.create(write.type, write.id, write.data, write.parent)
        image |= {"created_at": write.created_at, "updated_at": write.updated_at}
        self.rows[-1] = structs.replace(self.rows[-1], kind="import")
        return image

    def upsert(self, write: Upsert) -> Result:
        kind = write.type
        parent = self.resolve(write.parent, "parent.rec") if write.parent is not None else None
        if kind.parent is not None:
            if parent is None:
                raise HubError("data.invalid", f"{kind.name} needs a parent of type {kind.parent.name}.", path="parent")
            self.enter(kind, kind.parent, parent)
        probe = self.filled(plan_of(kind), write.data) | {kind.parent_wire or "": parent}
        values = tuple(probe[name] for name in write.match)
        if None in values or (found := self.unique(kind, write.match, values)) is None:
            return Result(self.create(kind, write.id, write.data, parent), created=True)
        there = self.get(kind, found)
        if there is not None and self.hides(kind, there):
            raise taken(kind, write.match)
        image = self.live(kind, found, "match")
        return Result(self.change(kind, image, self.filled(plan_of(kind), write.change)))

    def change(self, kind: RecordType, old: Image, change: dict[str, Any]) -> Image:
        self.may("update", kind, old, "rec")
        plan = plan_of(kind)
        secrets = self.known.concealed(kind, plan, old["id"], change) if plan.secrets else {}
        differing = {name: value for name, value in change.items() if not same(old[name], value)}
        if not differing and not secrets:
            return old
        meta = self.meta(old)
        if self.known.registry.before:
            added = self.hooked("update", kind, old, {**old, **meta, **differing})
            differing |= {n: v for n, v in added.items() if n in differing or not same(old[n], v)}
        image = {**old, **meta, **differing}
        self.may("update", kind, image, "data")
        self.check_references(kind, plan, differing, image)
        if plan.check is not None:
            plan.check(image)
        for unique in kind.unique:
            if any(name in differing for name in unique):
                self.release(kind, unique, old)
                self.claim(kind, unique, image)
        self.put(kind, image, frozenset((*meta, *differing)), secrets)
        self.log(kind, "update", image, {name: old[name] for name in (*meta, *differing)})
        return image

    def move(self, kind: RecordType, old: Image, parent: Id) -> Image:
        if kind.parent is None or kind.parent_wire is None:
            raise HubError("data.invalid", f"{kind.name} belongs to the account, not to a parent.", path="parent")
        wire, parent_id = kind.parent_wire, self.resolve(parent, "parent.rec")
        self.may("update", kind, old, "rec")
        self.enter(kind, kind.parent, parent_id)
        if parent_id == old[wire]:
            return old
        meta = self.meta(old) | {wire: parent_id}
        meta |= self.hooked("update", kind, old, {**old, **meta})
        image, plan = {**old, **meta}, plan_of(kind)
        self.may("update", kind, image, "parent")
        beside = {name: image[name] for name in plan.siblings}
        self.check_references(kind, plan, beside | meta, image)
        stays_beside(self, kind, old)
        if plan.check is not None:
            plan.check(image)
        for unique in kind.unique:
            if not meta.keys().isdisjoint(unique):
                self.release(kind, unique, old)
                self.claim(kind, unique, image)
        self.put(kind, image, frozenset(meta), {})
        self.log(kind, "update", image, {name: old[name] for name in meta})
        return image

    def all_of(self, write: OfMany) -> int:
        """Do a write to every live record that matches; return how many those are."""
        images = self.matching(write.type, write.where, write.limit)
        for image in images:
            if isinstance(write, DeleteWhere):
                self.may("delete", write.type, image, "where")
                bury(self, write.type, image)
            else:
                self.change(write.type, image, self.filled(plan_of(write.type), write.change))
        return len(images)

    # -- what they share ----------------------------------------------------------------------------

    def hides(self, kind: RecordType, image: Image) -> bool:
        """Say whether a row rule keeps a record from who asked, so that to them it is not there."""
        return self.rules is not None and not self.rules.allows(kind, "read", image)

    def may(self, verb: str, kind: RecordType, image: Image, path: str) -> None:
        """Raise `access.denied` where a row rule stands against a write, of a record as it is or as it would be."""
        if self.rules is not None and not self.rules.allows(kind, verb, image):
            raise self.rules.refusal(kind, verb, path)

    def resolve(self, rec: Id, path: str) -> str:
        if isinstance(rec, str):
            return rec
        if rec.item >= len(self.results):
            raise HubError("data.invalid", f"$item {rec.item} is not an earlier item of this batch.", path=path)
        if "id" not in self.results[rec.item].image:
            raise HubError("data.invalid", f"Item {rec.item} was refused, so there is no record of it.", path=path)
        return str(self.results[rec.item].image["id"])

    def filled(self, plan: Plan, data: dict[str, Any]) -> dict[str, Any]:
        """Return the data as it will be stored: every `$item` resolved, numbers in one form."""
        out = data.copy()
        for name, value in data.items():
            if type(value) is ItemRef:
                out[name] = self.resolve(value, f"data.{name}")
        for name in plan.numbers:
            value = out.get(name)
            if value is not None:
                out[name] = value + 0.0  # 3 is 3.0, and -0.0 is 0.0: no database tells them apart
        return out

    def get(self, kind: RecordType, rec: str) -> Image | None:
        account = SYSTEM if kind.system else self.account
        key = (account, kind.name, rec)
        if key in self.records:
            return self.records[key]
        known = self.known.records
        if key not in known:
            known[key] = self.load.record(account, kind, rec)
        return known[key]

    def version(self, kind: RecordType, rec: str, version: int) -> Image | None:
        """Return what a record was as an earlier version, where that is still known."""
        for row in self.known.rows(self):
            if (row.type, row.rec) == (kind.name, rec):
                if row.version == version and row.after:
                    return row.after
                if row.version == version + 1:
                    return row.previous()
        return self.load.version(self.account, kind, rec, version)

    def matching(self, kind: RecordType, where: Node, limit: int) -> list[Image]:
        """Return the live records that match, by id; raise `batch.too_large` where they are more than `limit`."""
        if has_steps(where) and next(self.known.rows(self), None) is not None:
            raise NotAlone("the filter looks at records that this group may have changed")
        # What this group changed is not stored yet: of those records the newest image decides.
        newer = {row.rec for row in self.known.rows(self) if row.type == kind.name}
        stored = self.load.matching(self.account, kind, where, limit + len(newer) + 1)
        found = {image["id"]: image for image in stored if image["id"] not in newer}
        for rec in newer:
            image = self.get(kind, rec)
            if image is not None and image["deleted_at"] is None and matcher(where)(image):
                found[rec] = image
        if len(found) > limit:
            raise HubError(
                "batch.too_large",
                f"More than {limit} records match; narrow the filter, or raise `limit`.",
                path="limit",
                details={"limit": limit},
            )
        return [found[rec] for rec in sorted(found)]

    def enter(self, kind: RecordType, above: RecordType, parent: str) -> None:
        """Raise `record.not_found` where no such parent is; to link a file is to update what it belongs to."""
        image = self.live(above, parent, "parent.rec")
        if kind.file:
            self.may("update", above, image, "parent.rec")

    def there(self, kind: RecordType, rec: str) -> Image:
        image = self.get(kind, rec)
        if image is None or self.hides(kind, image):
            raise HubError("record.not_found", f"There is no {kind.name} with this id.", path="rec")
        return image

    def live(self, kind: RecordType, rec: str, path: str) -> Image:
        image = self.get(kind, rec)
        if image is None or image["deleted_at"] is not None or self.hides(kind, image):
            raise HubError("record.not_found", f"There is no {kind.name} with this id.", path=path)
        return image

    def expect(self, image: Image, version: int | None) -> None:
        if version is not None and image["version"] != version:
            raise HubError(
                "record.conflict",
                f"The record has version {image['version']}, not {version}; read it and decide again.",
                path="if_version",
                details={"version": image["version"]},
            )

    def check_references(self, kind: RecordType, plan: Plan, data: dict[str, Any], image: Image) -> None:
        for name, target in plan.references:
            value = data.get(name)
            if value is None:
                continue
            found = self.live(target, value, f"data.{name}")
            wire = kind.parent_wire
            if name in plan.siblings and wire is not None and found[wire] != image[wire]:
                text = f"This {target.name} belongs to another {wire.removesuffix('_id')}."
                raise HubError("data.invalid", text, path=f"data.{name}")
        if plan.targets and (FOR_ID in data or FOR_TYPE in data):
            self.live(plan.targets[image[FOR_TYPE]], image[FOR_ID], f"data.{FOR_ID}")
        if plan.targeted:
            check_target(self, data, image)
        if plan.codes:
            check_codes(self, kind, plan, data, image)

    def unique(self, kind: RecordType, names: tuple[str, ...], values: tuple[Any, ...]) -> str | None:
        key = (self.account, kind.name, names, values)
        if key in self.uniques:
            return self.uniques[key]
        if key not in self.known.uniques:
            self.known.uniques[key] = self.load.unique(self.account, kind, names, values)
        return self.known.uniques[key]

    def claim(self, kind: RecordType, names: tuple[str, ...], image: Image) -> None:
        values = tuple(image[name] for name in names)
        if None in values:
            return
        holder = self.unique(kind, names, values)
        if holder is not None and holder != image["id"]:
            raise taken(kind, names)
        self.uniques[(self.account, kind.name, names, values)] = image["id"]

    def release(self, kind: RecordType, names: tuple[str, ...], image: Image) -> None:
        values = tuple(image[name] for name in names)
        if None not in values:
            self.uniques[(self.account, kind.name, names, values)] = None

    def hooked(self, what: str, kind: RecordType, before: Image | None, after: Image | None) -> dict[str, Any]:
        """Return what the hooks of a type want set besides; raise what they refuse with."""
        given: dict[str, Any] = {}
        for hook in self.known.registry.before.get(kind.name, ()):
            proposed = None if after is None else {**after, **given}
            values = hook.run(Change(what, kind.name, before and {**before}, proposed, self.commit.actor))
            if values:
                if not plan_of(kind).secrets.isdisjoint(values):
                    raise TypeError(f"a hook of {kind.name} sets a secret field")
                given |= self.filled(plan_of(kind), kind.accept_change(values, trusted=True))
        return given

    def came_under(self, kind: RecordType, parent: str) -> Iterator[str]:
        """Yield the ids of records that came under a parent in this group, not those that came there before."""
        yield from self.known.came_under(self.account, kind.name, parent)
        if self._births is None:
            self._births = Births(self.known.registry)
        self._births.look_on(self.account, self.rows)
        yield from self._births.under(self.account, kind.name, parent)

    def is_new(self, kind: RecordType, rec: str) -> bool:
        """Say whether no record has an id that a creation brings."""
        key = (self.account, kind.name, rec)
        return self.records[key] is None if key in self.records else self.known.is_new(key, kind)

    def meta(self, old: Image) -> dict[str, Any]:
        """Return what every change of a record changes."""
        return {"version": old["version"] + 1, "updated_at": self.now, "updated_by": self.commit.actor}

    def put(self, kind: RecordType, image: Image, changed: frozenset[str] | None, secrets: dict[str, Any]) -> None:
        key = (self.account, kind.name, image["id"])
        self.records[key] = image
        earlier = self.puts.get(key)
        if earlier is None:
            self.puts[key] = Put(kind, image, changed, secrets)
            return
        if earlier.gone:
            text = "This commit removes the record with this id; create the new one in the next commit."
            raise HubError("record.exists", text, path="id")
        earlier.image = image
        earlier.secrets |= secrets
        if earlier.changed is not None and changed is not None:
            earlier.changed |= changed

    def drop(self, kind: RecordType, old: Image) -> None:
        """Decide that a record is gone; its images go with it, so the log row says only that."""
        key = (self.account, kind.name, old["id"])
        self.records[key] = None
        earlier = self.puts.get(key)
        fresh = earlier is not None and earlier.changed is None
        self.puts[key] = Put(kind, old, None if fresh else frozenset(), {}, gone=True)
        part = self.first + len(self.rows)
        self.rows.append(ChangeRow(part, kind.name, old["id"], "purge", old["version"] + 1, {}, old))

    def log(self, kind: RecordType, what: str, image: Image, before: dict[str, Any] | None) -> None:
        part = self.first + len(self.rows)
        self.rows.append(ChangeRow(part, kind.name, image["id"], what, image["version"], image, before))
