"""Writes as storage takes them: what should become of which record, checked for form, not yet decided.

Handlers and actions build them from validated data; `storage.decide` decides them inside the write
transaction. `ItemRef(n)` stands for the id that write n of the same commit created.

Structs, because a write makes a dozen of them and theirs are the cheapest to make; none is ever part of a
cycle, so the collector need not look at them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from hub.schema.record import RecordType
from hub.schema.rows import RowRules
from hub.schema.where import Node
from hub.wire.requests import ItemRef

Id = str | ItemRef


class Create(msgspec.Struct, frozen=True, gc=False):
    """A new record: `id` is chosen by the caller, `data` holds every field, `parent` the parent's id."""

    type: RecordType
    id: str
    data: dict[str, Any]
    parent: Id | None = None


class Upsert(msgspec.Struct, frozen=True, gc=False):
    """A new record, or a change of the live one whose `match` fields (a declared unique) are equal.

    `data` holds every field for creation, `change` only the given ones.
    """

    type: RecordType
    id: str
    data: dict[str, Any]
    change: dict[str, Any]
    match: tuple[str, ...]
    parent: Id | None = None


class Update(msgspec.Struct, frozen=True, gc=False):
    """Replace the given fields of a record; `if_version` refuses any other version."""

    type: RecordType
    rec: Id
    change: dict[str, Any]
    if_version: int | None = None


class Delete(msgspec.Struct, frozen=True, gc=False):
    """Delete a record: softly, or `hard`, so that neither it nor its tombstone is left."""

    type: RecordType
    rec: Id
    if_version: int | None = None
    hard: bool = False


class Restore(msgspec.Struct, frozen=True, gc=False):
    """Bring a deleted record back; one that is live stays as it is."""

    type: RecordType
    rec: Id


class Revert(msgspec.Struct, frozen=True, gc=False):
    """Give these fields of a live record the values that they had as an earlier version."""

    type: RecordType
    rec: Id
    version: int
    fields: tuple[str, ...]


class Move(msgspec.Struct, frozen=True, gc=False):
    """Put a live record under another parent."""

    type: RecordType
    rec: Id
    parent: Id


class UpdateWhere(msgspec.Struct, frozen=True, gc=False):
    """Replace the given fields of every live record that matches; refused where that is more than `limit`."""

    type: RecordType
    where: Node
    change: dict[str, Any]
    limit: int


class DeleteWhere(msgspec.Struct, frozen=True, gc=False):
    """Delete softly every live record that matches; refused where that is more than `limit`."""

    type: RecordType
    where: Node
    limit: int


class Import(msgspec.Struct, frozen=True, gc=False):
    """A record of an older system under the id and with the times (in wire form) that it had there.

    In the log it is of the kind `import`, since its creation is not of that time.
    """

    type: RecordType
    id: str
    data: dict[str, Any]
    parent: str | None
    created_at: str
    updated_at: str


class Refused(msgspec.Struct, frozen=True, gc=False):
    """Stands for an item that was refused beforehand, so that the items behind it keep their numbers."""

    body: dict[str, Any]


OfOne = Update | Delete | Restore | Revert | Move
"""The writes that name one record by its id."""
OfMany = UpdateWhere | DeleteWhere
"""The writes that find their records by a filter."""
Write = Create | Upsert | OfOne | OfMany | Import


class KeyClaim(msgspec.Struct, frozen=True, gc=False):
    """The idempotency key of a request: who asked (`scope`), the key, and a hash of what was asked."""

    scope: str
    key: str
    digest: bytes


class Commit(msgspec.Struct, frozen=True, gc=False):
    """Writes that become true together, or not at all, as one `seq` of one account.

    If it is not `atomic`, a write that is refused leaves the others alone: its result says so.

    `actor` is the id of the user or of the API key, `session` the session's, `request` a text for logs and history.

    `answer` makes of what was committed what the caller is answered. It is called inside the write transaction,
    on any thread and perhaps twice, so it is pure; where it raises, nothing is committed. With a key, the answer is
    kept instead of the results, unless it is `shown_once`: then only that it was given is.

    `extra` is how many records it may change beyond one per write, so that no group gets too large.

    `rules` are the row rules of who asked; None where the hub asks itself, or none concerns these writes.
    """

    account: str
    writes: tuple[Write | Refused, ...]
    actor: str | None = None
    session: str | None = None
    request: str | None = None
    key: KeyClaim | None = None
    answer: Callable[[Committed], Any] | None = None
    shown_once: bool = False
    extra: int = 0
    atomic: bool = True
    rules: RowRules | None = None


class Result(msgspec.Struct, frozen=True, gc=False):
    """What became of one write: the record as it now is, and whether it was created.

    Of a write by filter `image` is `{"count": …}`; of an item that was refused it is empty, and `refused` says why.
    """

    image: dict[str, Any]
    created: bool = False
    refused: dict[str, Any] | None = None


class Committed(msgspec.Struct, frozen=True, gc=False):
    """What became of a commit: its `seq` (the current one where nothing changed) and a result per write.

    `replayed`: the key had been used before and this is the outcome of then. `answer` is what the commit's `answer`
    made, as plain values; UNSET where it had none, and in a replay of what was shown once.
    """

    seq: int
    results: tuple[Result, ...]
    replayed: bool = False
    answer: Any = UNSET


class ChangeRow(msgspec.Struct, frozen=True, gc=False):
    """One changed record in a commit: `after` is its image now, `before` the old values of what changed.

    `before` is None for a creation. `kind` is create, import, update, delete, restore or purge. A purge says `before`
    what the record was only where it is told; in the log every image of that record is empty from then on.
    """

    part: int
    type: str
    rec: str
    kind: str
    version: int
    after: dict[str, Any]
    before: dict[str, Any] | None

    def previous(self) -> dict[str, Any] | None:
        """Return the whole image before this change, or None for a creation."""
        return None if self.before is None else {**self.after, **self.before}

    def difference(self, hidden: frozenset[str]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """Return `before` and `after` of what changed, without hidden fields; `before` is None for a creation."""
        if self.before is None:
            return None, {name: value for name, value in self.after.items() if name not in hidden}
        before = {name: value for name, value in self.before.items() if name not in hidden}
        return before, {name: self.after[name] for name in before if name in self.after}

    def within(self, test: Callable[[dict[str, Any]], bool]) -> ChangeRow | None:
        """Return this change as somebody is told it who may know of the records that pass the test; None: not at all.

        A record that was kept from them before is to them as if it were created; of one that is kept from them from
        now on they learn that it left.
        """
        before = self.previous() if self.after else self.before
        was, is_now = bool(before) and test(before or {}), bool(self.after) and test(self.after)
        if was == is_now or (self.before is None and is_now) or (was and not self.after):
            return self if was or is_now else None
        if is_now:
            return ChangeRow(self.part, self.type, self.rec, self.kind, self.version, self.after, None)
        return ChangeRow(self.part, self.type, self.rec, "leave", self.version, {}, {})

    def emptied(self) -> ChangeRow:
        """Return this row as the log holds it once the record is purged."""
        before: dict[str, Any] | None = None if self.before is None else {}
        return ChangeRow(self.part, self.type, self.rec, self.kind, self.version, {}, before)


class ChangeSet(msgspec.Struct, frozen=True, gc=False):
    """One commit in the log of an account: what every watcher and every instance is told."""

    account: str
    seq: int
    at: str
    actor: str | None
    session: str | None
    request: str | None
    rows: tuple[ChangeRow, ...] = ()
