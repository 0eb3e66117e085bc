"""records.import: records of an older system under their own ids, for `aether import records`. On DIR/hub.sock only.

The command sends a file in stretches: first all of them to be checked, then all of them to be written. A stretch is
checked as far as it can be by itself: what it needs of other stretches is answered, for the command to look up. What
is there already is left as it is, so an import that was broken off, or is done twice, ends the same.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from handlers.operator import services_of
from hub.access import SYSTEM
from hub.context import Context
from hub.schema.access import NOBODY
from hub.schema.actions import action
from hub.schema.query import Query
from hub.schema.record import Image, RecordType, referred
from hub.schema.times import format_time
from hub.schema.where import both, equals
from hub.schema.writes import Commit, Import
from hub.wire.codec import refine
from hub.wire.errors import HubError
from hub.wire.names import PUBLIC_ID
from storage.base import Storage

STRETCH: Final = 1000
"""The most records of one call."""


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One record. `parent` is the parent's id; times that are not given are the time of the import."""

    type: Annotated[str, Meta(max_length=48)]
    id: str
    data: dict[str, Any]
    parent: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class ImportRecords(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`lines`: records, parents before their children. `check`: say only what stands against them."""

    lines: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=STRETCH)]
    check: bool


class Problem(msgspec.Struct, frozen=True):
    """What stands against the record at the place `n` of the stretch."""

    n: int
    code: str
    message: str
    path: str | None = None


class Wanted(msgspec.Struct, frozen=True):
    """A record that the one at `n` needs, and that is neither in this stretch before it nor in the account."""

    n: int
    path: str
    type: str
    id: str


class ImportedRecords(msgspec.Struct, frozen=True):
    """`made` are or would be created, `kept` were there. `uniques`: what no two new records may share, by place."""

    made: int
    kept: int
    problems: list[Problem] = []
    wanted: list[Wanted] = []
    uniques: list[tuple[int, str]] = []


class _Stretch:
    """One stretch under check: what it holds so far, and what was found."""

    def __init__(self, ctx: Context) -> None:
        self.services = services_of(ctx)
        self.account = ctx.account
        self.now = ctx.now()
        self.writes: dict[int, Import] = {}
        self.problems: list[Problem] = []

    @property
    def storage(self) -> Storage:
        return self.services.storage

    def refuse(self, n: int, error: HubError) -> None:
        self.problems.append(Problem(n, error.code, error.message, error.path))
        self.writes.pop(n, None)

    def read(self, lines: list[dict[str, Any]]) -> None:
        """Take in what is well formed."""
        for n, plain in enumerate(lines):
            try:
                self.writes[n] = self._write(plain)
            except HubError as error:
                self.refuse(n, error)

    def _write(self, plain: dict[str, Any]) -> Import:
        try:
            line = msgspec.convert(plain, Line)
        except msgspec.ValidationError as error:
            raise refine(error, kind=Line) from None
        kind = self.services.registry.type(line.type, "type")
        if kind.system != (self.account == SYSTEM) or kind.access.create == NOBODY:
            raise HubError("access.denied", f"Records of type {kind.name} are not imported.", path="type")
        if not PUBLIC_ID.match(line.id):
            raise HubError("data.invalid", "An id is 11 to 22 letters, digits, - and _.", path="id")
        if kind.parent is None and line.parent is not None:
            raise HubError("data.invalid", f"{kind.name} belongs to the account, not to a parent.", path="parent")
        if kind.parent is not None and line.parent is None:
            raise HubError("data.invalid", f"{kind.name} needs a parent of type {kind.parent.name}.", path="parent")
        try:
            created = self.now if line.created_at is None else format_time(_aware(line.created_at))
            updated = created if line.updated_at is None else format_time(_aware(line.updated_at))
        except ValueError as error:
            raise HubError("data.invalid", f"{error}.".capitalize(), path="created_at") from None
        if updated < created:
            raise HubError("data.invalid", "It cannot have been updated before it was created.", path="updated_at")
        return Import(kind, line.id, kind.accept_create(line.data, trusted=True), line.parent, created, updated)

    async def drop_known(self) -> int:
        """Leave out what is there already; return how many."""
        kept = 0
        by_type: dict[RecordType, list[int]] = {}
        for n, write in self.writes.items():
            by_type.setdefault(write.type, []).append(n)
        for kind, places in by_type.items():
            ids = [self.writes[n].id for n in places]
            there = await self.storage.get(self.account, kind, ids, deleted=True)
            for n in places:
                if self.writes[n].id in there:
                    kept += 1
                    del self.writes[n]
        return kept

    async def wanted(self) -> list[Wanted]:
        """Return what these records need and have not, neither here before them nor in the account."""
        needed: list[tuple[int, str, RecordType, str]] = []
        made: set[tuple[str, str]] = set()
        for n, write in self.writes.items():
            for path, target, rec in _references(write):
                if (target.name, rec) not in made:
                    needed.append((n, path, target, rec))
            made.add((write.type.name, write.id))
        there: set[tuple[str, str]] = set()
        for target in {target.name: target for _, _, target, _ in needed}.values():
            ids = sorted({rec for _, _, kind, rec in needed if kind is target})
            account = SYSTEM if target.system else self.account
            there |= {(target.name, rec) for rec in await self.storage.get(account, target, ids)}
        return [Wanted(n, path, kind.name, rec) for n, path, kind, rec in needed if (kind.name, rec) not in there]

    async def uniques(self) -> list[tuple[int, str]]:
        """Return what no two may share, and refuse what a record in the account has already."""
        found: list[tuple[int, str]] = []
        for n, write in list(self.writes.items()):
            values = write.data | ({write.type.parent_wire: write.parent} if write.type.parent_wire else {})
            for names in write.type.unique:
                if any(values[name] is None for name in names):
                    continue
                where = equals(write.type, names[0], values[names[0]])
                for name in names[1:]:
                    where = both(where, equals(write.type, name, values[name]))
                if (await self.storage.find(self.account, Query(write.type, where, limit=1))).records:
                    text = f"Another {write.type.name} has the same {' and '.join(names)}."
                    self.refuse(n, HubError("record.exists", text, path=f"data.{names[-1]}"))
                    break
                plain = msgspec.json.encode([write.type.name, names, [values[name] for name in names]])
                found.append((n, hashlib.sha256(plain).hexdigest()[:32]))
            else:
                self._check(n, write, values)
        return [(n, digest) for n, digest in found if n in self.writes]

    def _check(self, n: int, write: Import, values: Image) -> None:
        """Refuse what the type's own check refuses."""
        if write.type.check is None:
            return
        head = {"id": write.id, "type": write.type.name, "version": 1, "account_id": self.account, "deleted_at": None}
        try:
            write.type.check({**head, "created_at": write.created_at, "updated_at": write.updated_at, **values})
        except HubError as error:
            self.refuse(n, error)


def _references(write: Import) -> list[tuple[str, RecordType, str]]:
    """Return what a record refers to: path, type and id."""
    kind = write.type
    found: list[tuple[str, RecordType, str]] = []
    if kind.parent is not None and write.parent is not None:
        found.append(("parent", kind.parent, write.parent))
    for wire in sorted(kind.references):
        if (rec := write.data.get(wire)) is not None:
            found.append((f"data.{wire}", referred(kind.fields[wire]), rec))
    return found


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a time needs an offset, such as Z or +01:00")
    return moment


@action("records.import", needs="account.create", operator=True)
async def import_records(ctx: Context, args: ImportRecords) -> ImportedRecords:
    """Check a stretch of records of an older system, or write it as one commit, under the ids that they had."""
    stretch = _Stretch(ctx)
    stretch.read(args.lines)
    kept = await stretch.drop_known()
    if args.check:
        uniques = await stretch.uniques()
        return ImportedRecords(len(stretch.writes), kept, stretch.problems, await stretch.wanted(), uniques)
    if not stretch.problems and stretch.writes:
        writes = tuple(stretch.writes.values())
        try:
            await stretch.storage.submit(Commit(ctx.account, writes))
        except HubError as error:
            place, _, path = (error.path or "").removeprefix("ops.").partition(".")
            n = list(stretch.writes)[int(place) if place.isdecimal() else 0]
            return ImportedRecords(0, kept, [Problem(n, error.code, error.message, path or error.path)])
    made = 0 if stretch.problems else len(stretch.writes)
    return ImportedRecords(made, kept, stretch.problems)
