"""What a decision may ask of the open write transaction, and what is kept of a keyed commit."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from msgspec import UNSET

from hub.schema.record import Image, RecordType
from hub.schema.where import Node
from hub.schema.writes import Committed, KeyClaim, Result
from hub.wire.errors import HubError


class KeyRow(msgspec.Struct, frozen=True, gc=False):
    """What is kept of a keyed commit: the hash of its request, and its results.

    Of a commit that makes its answer itself, the answer is kept and no results; UNSET where that was shown once.
    """

    digest: bytes
    seq: int
    results: tuple[Result, ...]
    answer: Any = UNSET


class NotAlone(Exception):
    """A write has to see what the commits before it in its group changed; the keeper decides it by itself."""


def repeated(row: KeyRow, claim: KeyClaim) -> Committed:
    """Return what was committed under a key; raise `key.reused` where another request was."""
    if row.digest != claim.digest:
        raise HubError("key.reused", path="key")
    return Committed(row.seq, row.results, replayed=True, answer=row.answer)


class Loader(Protocol):
    """What a decision may ask of the open write transaction. Called synchronously; answers are cached."""

    def record(self, account: str, kind: RecordType, rec: str) -> Image | None:
        """Return a record, tombstones too."""

    def is_new(self, account: str, kind: RecordType, rec: str) -> bool:
        """Say whether no record, not even a tombstone, has an id that a creation brings.

        A keeper may take ids for new without looking, since they are random, where its unique index refuses the group
        if one is not.
        """

    def unique(self, account: str, kind: RecordType, names: tuple[str, ...], values: tuple[Any, ...]) -> str | None:
        """Return the id of the live record with these values."""

    def children(self, account: str, kind: RecordType, parent_wire: str, parent: str) -> list[str]:
        """Return the ids of live records of `kind` under a parent."""

    def referring(self, account: str, kind: RecordType, wire: str, rec: str) -> list[str]:
        """Return the ids of records of `kind`, tombstones too, whose parent or reference `wire` is `rec`."""

    def matching(self, account: str, kind: RecordType, where: Node, limit: int) -> list[Image]:
        """Return the stored live records that match, at most `limit` of them."""

    def key(self, account: str, scope: str, key: str) -> KeyRow | None:
        """Return the stored answer of a keyed commit that is still kept."""

    def head(self, account: str) -> int:
        """Return the account's last committed `seq`."""

    def version(self, account: str, kind: RecordType, rec: str, version: int) -> Image | None:
        """Return the image that a record had as that version, where the log still says it."""
