"""Writes as storage takes them: what should become of which record, checked for form, not yet decided.

Handlers and actions build them from validated data; `storage.decide` decides them inside the write
transaction. `ItemRef(n)` stands for the id that write n of the same commit created.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hub.schema.record import RecordType
from hub.wire.requests import ItemRef

Id = str | ItemRef


@dataclass(frozen=True, slots=True)
class Create:
    """A new record: `id` is chosen by the caller, `data` holds every field, `parent` the parent's id."""

    type: RecordType
    id: str
    data: dict[str, Any]
    parent: Id | None = None


@dataclass(frozen=True, slots=True)
class Upsert:
    """A new record, or a change of the live one whose `match` fields (a declared unique) are equal.

    `data` holds every field for creation, `change` only the given ones.
    """

    type: RecordType
    id: str
    data: dict[str, Any]
    change: dict[str, Any]
    match: tuple[str, ...]
    parent: Id | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """Replace the given fields of a record; `if_version` refuses any other version."""

    type: RecordType
    rec: Id
    change: dict[str, Any]
    if_version: int | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a record softly."""

    type: RecordType
    rec: Id
    if_version: int | None = None


Write = Create | Upsert | Update | Delete


@dataclass(frozen=True, slots=True)
class KeyClaim:
    """The idempotency key of a request: who asked (`scope`), the key, and a hash of what was asked."""

    scope: str
    key: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """Writes that become true together, or not at all, as one `seq` of one account.

    `actor` is the user's id, `session` the session's, `request` a text for logs and history.
    """

    account: str
    writes: tuple[Write, ...]
    actor: str | None = None
    session: str | None = None
    request: str | None = None
    key: KeyClaim | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one write: the record as it now is, and whether it was created."""

    image: dict[str, Any]
    created: bool = False


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of a commit: its `seq` (the current one where nothing changed) and a result per write.

    `replayed`: the key had been used before and these are the results of then.
    """

    seq: int
    results: tuple[Result, ...]
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One changed record in a commit: `after` is its image now, `before` the old values of what changed.

    `before` is None for a creation. `kind` is create, update, delete or restore.
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


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """One commit in the log of an account: what every watcher and every instance is told."""

    account: str
    seq: int
    at: str
    actor: str | None
    session: str | None
    request: str | None
    rows: tuple[ChangeRow, ...] = field(default=())
