"""The truth to compare with: what a watch should hold at any `seq`, from the log of a `MemoryDatabase`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hub.access import Rights
from hub.schema.query import SortKey, parse_order, sort_images
from hub.schema.record import Image, RecordType
from hub.schema.where import Matcher, both, equals, matcher, parse_where
from storage.memory import MemoryDatabase


@dataclass(frozen=True, eq=False)
class Spec:
    """What a client asks to watch, and what the hub should make of it."""

    request: dict[str, Any]
    kind: RecordType
    rights: Rights
    matches: Matcher
    order: tuple[SortKey, ...]

    @classmethod
    def of(cls, request: dict[str, Any], kind: RecordType, rights: Rights) -> Spec:
        """Return the spec of the `type, where, parent, fields, order, limit` of a watch.start or record.find."""
        node = parse_where(kind, request.get("where"), rights.hidden(kind))
        if request.get("parent") is not None:
            node = both(equals(kind, kind.parent_wire or "", request["parent"]["rec"]), node)
        return cls(request, kind, rights, matcher(node), parse_order(kind, request.get("order")))

    @property
    def fields(self) -> list[str] | None:
        """The fields that a watch sends: those asked for, and those of the order."""
        fields = self.request.get("fields")
        if fields is None or not self.request.get("order"):
            return fields
        return list(dict.fromkeys([*fields, *(key.field for key in self.order)]))

    @property
    def find(self) -> dict[str, Any]:
        """The request of a find of the same."""
        found = {"op": "record.find", "limit": 1000, **self.request}
        return found if self.fields is None else {**found, "fields": self.fields}

    def view(self, image: Image) -> Image:
        """Return what the caller sees of an image."""
        return self.rights.view(self.kind, image, self.fields)

    def first(self, found: dict[str, Image]) -> dict[str, Image]:
        """Return of the images that match those that are shown: all, or the first in order."""
        limit = self.request.get("limit")
        if limit is None:
            return found
        return {image["id"]: image for image in sort_images(list(found.values()), self.order)[:limit]}


class History:
    """Every image that an account's records ever had."""

    def __init__(self, database: MemoryDatabase, account: str) -> None:
        self._database = database
        self._account = account
        self._known = 0
        self._images: dict[str, dict[str, list[tuple[int, Image]]]] = {}

    @property
    def head(self) -> int:
        """Return the `seq` of the last commit."""
        return self._database.head(self._account)

    def _read(self) -> None:
        for commit in self._database.log.get(self._account, [])[self._known :]:
            for row in commit.rows:
                self._images.setdefault(row.type, {}).setdefault(row.rec, []).append((commit.seq, row.after))
            self._known = commit.seq

    def state(self, spec: Spec, seq: int) -> dict[str, Image]:
        """Return what a query finds when the account stands at `seq`, by id."""
        self._read()
        found: dict[str, Image] = {}
        for rec, images in self._images.get(spec.kind.name, {}).items():
            image = _at(images, seq)
            if image is not None and image["deleted_at"] is None and spec.matches(image):
                found[rec] = image
        return {rec: spec.view(image) for rec, image in spec.first(found).items()}

    def image(self, kind: str, rec: str, seq: int) -> Image | None:
        """Return a record as it was at `seq`, tombstones too."""
        self._read()
        return _at(self._images.get(kind, {}).get(rec, []), seq)

    def created_with(self, kind: str, field: str, value: str) -> list[str]:
        """Return the ids of all records that were ever created with this value."""
        self._read()
        return [rec for rec, images in self._images.get(kind, {}).items() if images[0][1][field] == value]


def _at(images: list[tuple[int, Image]], seq: int) -> Image | None:
    for n, image in reversed(images):
        if n <= seq:
            return image
    return None


def difference(held: dict[str, Image], wanted: dict[str, Image]) -> str | None:
    """Return one sentence about how two states differ, or None."""
    missing, extra = sorted(wanted.keys() - held.keys()), sorted(held.keys() - wanted.keys())
    if missing or extra:
        return f"missing {missing}, too many {extra}"
    for rec, image in wanted.items():
        if held[rec] != image:
            fields = sorted(k for k in {*image, *held[rec]} if image.get(k, "absent") != held[rec].get(k, "absent"))
            seen = {k: (held[rec].get(k, "absent"), image.get(k, "absent")) for k in fields}
            return f"{rec} differs, held and true: {seen}"
    return None
