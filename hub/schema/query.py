"""A query as storage takes it, the order of records, and the cursor that goes on behind a page.

The order always ends in `id`, so it is total; null is lowest; text orders by code point. A cursor is
the sort key of the last record of a page, signed and bound to its query. Knows no database.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from hub.schema.record import Image, RecordType
from hub.schema.views import Joined, Sight
from hub.schema.where import EVERYTHING, Node, canonical
from hub.wire.errors import HubError

SORT_KEYS: Final = 8


@dataclass(frozen=True, slots=True)
class SortKey:
    """One step of an order: a wire name, and whether it runs from high to low. `joined`: it is a field of a view."""

    field: str
    descending: bool = False
    joined: Joined | None = None


ById: Final = (SortKey("id"),)


@dataclass(frozen=True, slots=True)
class Include:
    """Records to read along with each record of a query: live ones of `type` whose `far` equals its `near`, in `where`.

    `limit` None: the one that its parent or a reference is; else at most so many children, in order.
    """

    name: str
    type: RecordType
    near: str
    far: str
    limit: int | None = None
    order: tuple[SortKey, ...] = ById
    where: Node = EVERYTHING


@dataclass(frozen=True, slots=True)
class Query:
    """What to read of one type in one account.

    `order` ends in id. `limit` None reads everything up to `ceiling` records; `after` holds the sort key
    values of the record before the first wanted one. `deleted` reads tombstones too. `count` counts all that
    match, with `cap` no further than to there. `view` shows its joined fields, `include` what belongs together.
    """

    type: RecordType
    where: Node = EVERYTHING
    order: tuple[SortKey, ...] = ById
    limit: int | None = None
    after: tuple[Any, ...] | None = None
    deleted: bool = False
    count: bool = False
    cap: int | None = None
    view: Sight | None = None
    include: tuple[Include, ...] = ()

    def digest(self) -> bytes:
        """Return what binds a cursor to this query: everything but the page."""
        plain = [
            self.type.name,
            canonical(self.where),
            [[k.field, k.descending] for k in self.order],
            self.deleted,
            self.view.name if self.view is not None else None,
        ]
        return hashlib.sha256(msgspec.json.encode(plain)).digest()[:12]


def parse_order(
    kind: RecordType, order: list[str] | None, hidden: frozenset[str] = frozenset(), view: Sight | None = None
) -> tuple[SortKey, ...]:
    """Return the sort keys of `["-start", "title"]`, with `id` appended; raise `order.invalid`."""
    joined = view.fields if view is not None else {}
    keys: list[SortKey] = []
    for n, text in enumerate(order or []):
        name = text.removeprefix("-")
        known = joined[name].sortable if name in joined else name in kind.sortable and name not in hidden
        if not known:
            raise HubError("order.invalid", f"{kind.name} cannot be sorted by {name[:48]!r}.", path=f"order.{n}")
        if any(k.field == name for k in keys):
            raise HubError("order.invalid", f"{name} is named twice; name it once.", path=f"order.{n}")
        keys.append(SortKey(name, text.startswith("-"), joined.get(name)))
    if not any(k.field == "id" for k in keys):
        keys.append(SortKey("id"))
    return tuple(keys)


def sort_value(image: Image, key: SortKey) -> tuple[int, Any]:
    """Return what Python sorts by for one step, without regard to direction: null first."""
    value = image[key.field]
    return (0, 0) if value is None else (1, value)


def sort_images(images: list[Image], order: tuple[SortKey, ...]) -> list[Image]:
    """Return the images in order."""
    result = images
    for key in reversed(order):

        def rank(image: Image, key: SortKey = key) -> tuple[int, Any]:
            return sort_value(image, key)

        result = sorted(result, key=rank, reverse=key.descending)
    return result


def is_after(image: Image, order: tuple[SortKey, ...], after: tuple[Any, ...]) -> bool:
    """Say whether an image stands behind the sort key `after`."""
    for key, bound in zip(order, after, strict=True):
        mine, other = sort_value(image, key), (0, 0) if bound is None else (1, bound)
        if mine != other:
            return (mine < other) if key.descending else (mine > other)
    return False


def key_values(image: Image, order: tuple[SortKey, ...]) -> tuple[Any, ...]:
    """Return the sort key of an image."""
    return tuple(image[key.field] for key in order)


class Paged(Protocol):
    """What is answered in pages, and so has cursors."""

    def digest(self) -> bytes:
        """Return what binds a cursor to it."""


_SIGNATURE: Final = 12


def make_cursor(query: Paged, after: tuple[Any, ...], secret: bytes) -> str:
    """Return the opaque cursor that goes on behind `after`."""
    return seal(query.digest(), after, secret)


def read_cursor(query: Paged, cursor: str, secret: bytes) -> tuple[Any, ...]:
    """Return the sort key in a cursor of this query; raise `cursor.invalid`."""
    return unseal(query.digest(), cursor, secret)


def seal(digest: bytes, after: tuple[Any, ...], secret: bytes) -> str:
    """Return a cursor that holds `after`, signed and bound to what `digest` stands for."""
    body = msgspec.msgpack.encode(after)
    signature = hmac.new(secret, digest + body, hashlib.sha256).digest()[:_SIGNATURE]
    return base64.urlsafe_b64encode(signature + body).rstrip(b"=").decode("ascii")


def unseal(digest: bytes, cursor: str, secret: bytes) -> tuple[Any, ...]:
    """Return what a cursor of this digest holds; raise `cursor.invalid`."""
    refusal = HubError("cursor.invalid", path="after")
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except (ValueError, binascii.Error):
        raise refusal from None
    signature, body = raw[:_SIGNATURE], raw[_SIGNATURE:]
    good = hmac.new(secret, digest + body, hashlib.sha256).digest()[:_SIGNATURE]
    if not hmac.compare_digest(signature, good):
        raise refusal
    return tuple(msgspec.msgpack.decode(body))
