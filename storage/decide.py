"""Decide commits: from what is stored and what is asked to what will be. Pure; used by every keeper.

A keeper opens its write transaction, makes a `Decider` over a `Loader`, decides each commit of the group
in order, writes the `puts` and log rows of those that were not refused, and commits once. A refusal is a
`HubError` and leaves no trace in the others. Knows records, uniques, parents, versions and keys; knows
no table and no database.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import msgspec
from msgspec import UNSET

from hub.access import SYSTEM
from hub.schema.record import Image, RecordType, referred
from hub.schema.registry import Registry
from hub.schema.writes import (
    ChangeRow,
    ChangeSet,
    Commit,
    Committed,
    Create,
    Id,
    KeyClaim,
    Result,
    Update,
    Upsert,
    Write,
)
from hub.wire.errors import HubError
from hub.wire.requests import ItemRef


class KeyRow(msgspec.Struct, frozen=True, gc=False):
    """What is kept of a keyed commit: the hash of its request, and its results.

    Of a commit that makes its answer itself, the answer is kept and no results; UNSET where that was shown once.
    """

    digest: bytes
    seq: int
    results: tuple[Result, ...]
    answer: Any = UNSET


def repeated(row: KeyRow, claim: KeyClaim) -> Committed:
    """Return what was committed under a key; raise `key.reused` where another request was."""
    if row.digest != claim.digest:
        raise HubError("key.reused", path="key")
    return Committed(row.seq, row.results, replayed=True, answer=row.answer)


class Loader(Protocol):
    """What a decision may ask of the open write transaction. Called synchronously; answers are cached."""

    def record(self, account: str, kind: RecordType, rec: str) -> Image | None:
        """Return a record, tombstones too."""

    def unique(self, account: str, kind: RecordType, names: tuple[str, ...], values: tuple[Any, ...]) -> str | None:
        """Return the id of the live record with these values."""

    def children(self, account: str, kind: RecordType, parent_wire: str, parent: str) -> list[str]:
        """Return the ids of live records of `kind` under a parent."""

    def key(self, account: str, scope: str, key: str) -> KeyRow | None:
        """Return the stored answer of a keyed commit that is still kept."""

    def head(self, account: str) -> int:
        """Return the account's last committed `seq`."""


class Put(msgspec.Struct, gc=False):
    """A row to write: insert where `before` is None, else replace `changed` columns.

    `secrets` holds the values of secret fields, which are in no image.
    """

    type: RecordType
    image: Image
    changed: frozenset[str] | None
    secrets: dict[str, Any]


class Decision(msgspec.Struct, gc=False):
    """What to write for one commit. `log` is None where nothing changed; `key` where no key was given."""

    commit: Commit
    committed: Committed
    puts: list[Put] = []
    log: ChangeSet | None = None
    key: tuple[KeyClaim, KeyRow] | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """What deciding needs of a record type, worked out once."""

    secrets: frozenset[str]
    references: tuple[tuple[str, RecordType], ...]
    # Those of them whose record has the same parent.
    siblings: frozenset[str]
    # Fields that hold a number with a fraction, also where it is given as a whole one.
    numbers: tuple[str, ...]
    check: Callable[[Image], None] | None


@lru_cache(1024)
def _plan(kind: RecordType) -> _Plan:
    fields = kind.fields.items()
    return _Plan(
        secrets=frozenset(name for name, spec in fields if spec.option.secret),
        references=tuple((name, referred(spec)) for name, spec in fields if spec.kind == "ref"),
        siblings=frozenset(name for name, spec in fields if spec.option.same_parent),
        numbers=tuple(name for name, spec in fields if spec.kind == "number"),
        check=kind.check,
    )


_RecordKey = tuple[str, str, str]
_UniqueKey = tuple[str, str, tuple[str, ...], tuple[Any, ...]]


class Decider:
    """Decides the commits of one group, in order; later ones see what earlier ones decided."""

    def __init__(self, registry: Registry, load: Loader, now: str) -> None:
        self._registry = registry
        self._load = load
        self._now = now
        # What earlier commits of the group decided, on top of what is stored.
        self._records: dict[_RecordKey, Image | None] = {}
        self._uniques: dict[_UniqueKey, str | None] = {}
        self._keys: dict[tuple[str, str, str], KeyRow] = {}
        self._heads: dict[str, int] = {}
        # Ids of records that earlier commits created, by (account, type, parent).
        self._born: dict[_RecordKey, list[str]] = {}

    def decide(self, commit: Commit) -> Decision:
        """Return what to write for a commit; raise `HubError` where it is refused."""
        account = commit.account
        head = self._heads.get(account)
        if head is None:
            head = self._heads[account] = self._load.head(account)
        if commit.key is not None:
            kept = self._keys.get((account, commit.key.scope, commit.key.key))
            kept = kept or self._load.key(account, commit.key.scope, commit.key.key)
            if kept is not None:
                return Decision(commit, repeated(kept, commit.key))
        work = _Work(self, commit, self._now)
        many = len(commit.writes) > 1
        for n, write in enumerate(commit.writes):
            try:
                work.do(write)
            except HubError as refusal:
                raise refusal.at(f"ops.{n}") if many else refusal from None
        seq = head + 1 if work.rows else head
        results = tuple(work.results)
        log = None
        if work.rows:
            log = ChangeSet(account, seq, self._now, commit.actor, commit.session, commit.request, tuple(work.rows))
        committed = Committed(seq, results)
        if commit.answer is not None:
            # Through JSON, so that the first answer is the one that is kept.
            answer = msgspec.json.decode(msgspec.json.encode(commit.answer(committed)))
            committed = Committed(seq, results, answer=answer)
        decision = Decision(commit, committed, list(work.puts.values()), log)
        if commit.key is not None:
            row = KeyRow(commit.key.digest, seq, results)
            if commit.answer is not None:
                row = KeyRow(commit.key.digest, seq, (), UNSET if commit.shown_once else committed.answer)
            decision.key = (commit.key, row)
            self._keys[(account, commit.key.scope, commit.key.key)] = row
        # Only a commit that was decided to its end becomes visible to the next one.
        self._heads[account] = seq
        self._records |= work.records
        self._uniques |= work.uniques
        for parent, born in work.born.items():
            self._born.setdefault(parent, []).extend(born)
        return decision


class _Work:
    """The decision of one commit, dropped as a whole when a write is refused."""

    __slots__ = ("account", "born", "commit", "decider", "load", "now", "puts", "records", "results", "rows", "uniques")

    def __init__(self, decider: Decider, commit: Commit, now: str) -> None:
        self.decider = decider
        self.load = decider._load
        self.commit = commit
        self.account = commit.account
        self.now = now
        self.records: dict[_RecordKey, Image] = {}
        self.uniques: dict[_UniqueKey, str | None] = {}
        self.born: dict[_RecordKey, list[str]] = {}
        self.rows: list[ChangeRow] = []
        self.puts: dict[_RecordKey, Put] = {}
        self.results: list[Result] = []

    def do(self, write: Write) -> None:
        if write.type.system != (self.account == SYSTEM):
            where = f"account {SYSTEM}" if write.type.system else "an account"
            raise HubError("access.denied", f"Records of type {write.type.name} live in {where}.", path="type")
        if isinstance(write, Create):
            self.results.append(Result(self.create(write.type, write.id, write.data, write.parent), created=True))
            return
        if isinstance(write, Upsert):
            self.results.append(self.upsert(write))
            return
        image = self.live(write.type, self.resolve(write.rec, "rec"), "rec")
        self.expect(image, write.if_version)
        if isinstance(write, Update):
            change = self.filled(_plan(write.type), write.change)
            self.results.append(Result(self.change(write.type, image, change)))
        else:
            self.results.append(Result(self.delete(write.type, image)))

    # -- the writes ---------------------------------------------------------------------------------

    def create(self, kind: RecordType, rec: str, data: dict[str, Any], parent: Id | None) -> Image:
        account = self.account
        image: Image = {"id": rec, "type": kind.name, "version": 1, "account_id": account}
        if kind.parent is not None and kind.parent_wire is not None:
            if parent is None:
                raise HubError("data.invalid", f"{kind.name} needs a parent of type {kind.parent.name}.", path="parent")
            parent_id = self.resolve(parent, "parent.rec")
            self.live(kind.parent, parent_id, "parent.rec")
            image[kind.parent_wire] = parent_id
        elif parent is not None:
            raise HubError("data.invalid", f"{kind.name} belongs to the account, not to a parent.", path="parent")
        image["created_at"] = image["updated_at"] = self.now
        image["created_by"] = image["updated_by"] = self.commit.actor
        image["deleted_at"] = None
        plan = _plan(kind)
        image |= self.filled(plan, data)
        secrets = {n: image.pop(n) for n in plan.secrets if n in image} if plan.secrets else {}
        if plan.references:
            self.check_references(kind, plan, image, image)
        if plan.check is not None:
            plan.check(image)
        if self.get(kind, rec) is not None:
            raise HubError("record.exists", "There is already a record with this id.", path="id")
        for unique in kind.unique:
            self.claim(kind, unique, image)
        if kind.parent_wire is not None:
            self.born.setdefault((account, kind.name, image[kind.parent_wire]), []).append(rec)
        self.put(kind, image, None, secrets)
        self.log(kind, "create", image, None)
        return image

    def upsert(self, write: Upsert) -> Result:
        kind = write.type
        parent = self.resolve(write.parent, "parent.rec") if write.parent is not None else None
        if kind.parent is not None:
            if parent is None:
                raise HubError("data.invalid", f"{kind.name} needs a parent of type {kind.parent.name}.", path="parent")
            self.live(kind.parent, parent, "parent.rec")
        probe = self.filled(_plan(kind), write.data) | {kind.parent_wire or "": parent}
        values = tuple(probe[name] for name in write.match)
        found = None if None in values else self.unique(kind, write.match, values)
        if found is None:
            return Result(self.create(kind, write.id, write.data, parent), created=True)
        image = self.live(kind, found, "match")
        return Result(self.change(kind, image, self.filled(_plan(kind), write.change)))

    def change(self, kind: RecordType, old: Image, change: dict[str, Any]) -> Image:
        plan = _plan(kind)
        secrets = {n: change.pop(n) for n in plan.secrets if n in change}
        differing = {name: value for name, value in change.items() if not _same(old[name], value)}
        if not differing and not secrets:
            return old
        meta = {"version": old["version"] + 1, "updated_at": self.now, "updated_by": self.commit.actor}
        image = {**old, **meta, **differing}
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

    def delete(self, kind: RecordType, old: Image) -> Image:
        for child in self.decider._registry.children(kind):
            account = self.account
            key = (account, child.name, str(old["id"]))
            stored = self.load.children(account, child, child.parent_wire or "", old["id"])
            for rec in (*stored, *self.decider._born.get(key, ()), *self.born.get(key, ())):
                image = self.get(child, rec)
                if image is not None and image["deleted_at"] is None:
                    raise HubError(
                        "relation.restricted",
                        f"Records of type {child.name} still belong to it; delete them first.",
                        path="rec",
                        details={"type": child.name},
                    )
        meta = {
            "version": old["version"] + 1,
            "updated_at": self.now,
            "updated_by": self.commit.actor,
            "deleted_at": self.now,
        }
        image = {**old, **meta}
        for unique in kind.unique:
            self.release(kind, unique, old)
        self.put(kind, image, frozenset(meta), {})
        self.log(kind, "delete", image, {name: old[name] for name in meta})
        return image

    # -- what they share ----------------------------------------------------------------------------

    def resolve(self, rec: Id, path: str) -> str:
        if isinstance(rec, str):
            return rec
        if rec.item >= len(self.results):
            raise HubError("data.invalid", f"$item {rec.item} is not an earlier item of this batch.", path=path)
        return str(self.results[rec.item].image["id"])

    def filled(self, plan: _Plan, data: dict[str, Any]) -> dict[str, Any]:
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
        image = self.records.get(key)
        if image is not None:
            return image
        known = self.decider._records
        if key not in known:
            known[key] = self.load.record(account, kind, rec)
        return known[key]

    def live(self, kind: RecordType, rec: str, path: str) -> Image:
        image = self.get(kind, rec)
        if image is None or image["deleted_at"] is not None:
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

    def check_references(self, kind: RecordType, plan: _Plan, data: dict[str, Any], image: Image) -> None:
        for name, target in plan.references:
            value = data.get(name)
            if value is None:
                continue
            found = self.live(target, value, f"data.{name}")
            wire = kind.parent_wire
            if name in plan.siblings and wire is not None and found[wire] != image[wire]:
                text = f"This {target.name} belongs to another {wire.removesuffix('_id')}."
                raise HubError("data.invalid", text, path=f"data.{name}")

    def unique(self, kind: RecordType, names: tuple[str, ...], values: tuple[Any, ...]) -> str | None:
        key = (self.account, kind.name, names, values)
        if key in self.uniques:
            return self.uniques[key]
        if key not in self.decider._uniques:
            self.decider._uniques[key] = self.load.unique(self.account, kind, names, values)
        return self.decider._uniques[key]

    def claim(self, kind: RecordType, names: tuple[str, ...], image: Image) -> None:
        values = tuple(image[name] for name in names)
        if None in values:
            return
        holder = self.unique(kind, names, values)
        if holder is not None and holder != image["id"]:
            fields = [n for n in names if n != kind.parent_wire]
            raise HubError(
                "record.exists",
                f"Another {kind.name} has the same {' and '.join(fields)}.",
                path=f"data.{fields[0]}" if fields else None,
                details={"unique": fields},
            )
        self.uniques[(self.account, kind.name, names, values)] = image["id"]

    def release(self, kind: RecordType, names: tuple[str, ...], image: Image) -> None:
        values = tuple(image[name] for name in names)
        if None not in values:
            self.uniques[(self.account, kind.name, names, values)] = None

    def put(self, kind: RecordType, image: Image, changed: frozenset[str] | None, secrets: dict[str, Any]) -> None:
        key = (self.account, kind.name, image["id"])
        self.records[key] = image
        earlier = self.puts.get(key)
        if earlier is None:
            self.puts[key] = Put(kind, image, changed, secrets)
            return
        earlier.image = image
        earlier.secrets |= secrets
        if earlier.changed is not None and changed is not None:
            earlier.changed |= changed

    def log(self, kind: RecordType, what: str, image: Image, before: dict[str, Any] | None) -> None:
        self.rows.append(ChangeRow(len(self.rows), kind.name, image["id"], what, image["version"], image, before))


def _same(old: Any, new: Any) -> bool:
    """Say whether two plain values are the same on the wire: true is not 1, inside lists and objects too."""
    if type(old) is not type(new):
        return False
    if type(old) is list:
        return len(old) == len(new) and all(map(_same, old, new))
    if type(old) is dict:
        return old.keys() == new.keys() and all(_same(v, new[k]) for k, v in old.items())
    return bool(old == new)
