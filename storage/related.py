"""What is read along with the records of a query: the joined fields of its view, and what it includes.

Shared by the keepers, each of which gives a way to read further queries from the same state. Live records only.
Knows images and queries, no database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from hub.schema.query import Include, Query, SortKey, parse_order
from hub.schema.record import Image, RecordType
from hub.schema.views import VALUES, Hop, Joined
from hub.schema.where import EVERYTHING, Compare, Node, both
from storage.base import Found

Read = Callable[[Query], Found]
AT_ONCE: Final = 2000
"""How many children are read at once for all records of a page, before each record is asked for by itself."""


def complete(read: Read, query: Query, images: list[Image]) -> list[dict[str, Any]]:
    """Put the joined fields of the query's view into images; return what it includes, for each of them."""
    near = Near(read)
    for field in query.view.fields.values() if query.view is not None else ():
        near.join(field, images)
    included: list[dict[str, Any]] = [{} for _ in images]
    for include in query.include:
        near.include(include, images, included)
    return included


def is_plain(query: Query) -> bool:
    """Say whether a query reads nothing along."""
    return query.view is None and not query.include


def found_of(query: Query, records: list[Image], seq: int, more: bool, counted: int | None) -> Found:
    """Return the answer of a query; `counted` is how many match, and more than its cap stands for anything above."""
    if counted is None or query.cap is None or counted <= query.cap:
        return Found(records, seq, more, counted)
    return Found(records, seq, more, query.cap, capped=True)


class Near:
    """The records that belong together with some others; each is read once."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._known: dict[str, dict[str, Image | None]] = {}

    def join(self, field: Joined, images: Sequence[Image]) -> None:
        """Put a joined field into images."""
        if not field.many:
            for image, found in zip(images, self._follow(field.hops, images), strict=True):
                image[field.name] = None if found is None else found[field.field]
            return
        first, *rest = field.hops
        order = parse_order(first.type, list(field.order))
        where = EVERYTHING if first.where is None else first.where
        pointing = self._pointing(first.type, first.far, [i["id"] for i in images], order, VALUES, where)
        for image in images:
            ends = self._follow(rest, pointing[image["id"]][0])
            image[field.name] = [end[field.field] for end in ends if end is not None and end[field.field] is not None]

    def include(self, include: Include, images: Sequence[Image], out: list[dict[str, Any]]) -> None:
        """Put what is to be included into `out`, for each image."""
        if include.limit is None:
            hop = Hop(include.type, include.near, include.far, include.where)
            for answer, found in zip(out, self._follow([hop], images), strict=True):
                answer[include.name] = found
            return
        ids = [image["id"] for image in images]
        children = self._pointing(include.type, include.far, ids, include.order, include.limit, include.where)
        for answer, rec in zip(out, ids, strict=True):
            answer[include.name] = children[rec]

    def _follow(self, hops: Iterable[Hop], images: Sequence[Image]) -> Sequence[Image | None]:
        """Return the record at the end of the hops, for each image; None where there is none."""
        found: Sequence[Image | None] = images
        for hop in hops:
            known = self._known.setdefault(hop.type.name, {})
            wanted = {i[hop.near] for i in found if i is not None and i[hop.near] is not None} - known.keys()
            if wanted:
                known |= dict.fromkeys(wanted)
                known |= {i["id"]: i for i in self._all(hop, tuple(wanted))}
            found = [None if i is None else known.get(i[hop.near]) for i in found]
        return found

    def _all(self, hop: Hop, values: tuple[str, ...]) -> list[Image]:
        node: Node = Compare("id", "id", "in", values)
        if hop.where is not None:
            node = both(hop.where, node)
        return self._read(Query(hop.type, node, limit=len(values))).records

    def _pointing(
        self, kind: RecordType, wire: str, ids: Sequence[str], order: tuple[SortKey, ...], limit: int, where: Node
    ) -> dict[str, tuple[list[Image], bool]]:
        """Return the first records that point to each of these, and whether there are more."""
        lists: dict[str, list[Image]] = {rec: [] for rec in ids}
        if not lists:
            return {}
        found = self._read(Query(kind, both(where, Compare(wire, "ref", "in", tuple(lists))), order, AT_ONCE))
        if not found.more:
            for image in found.records:
                lists[image[wire]].append(image)
            return {rec: (images[:limit], len(images) > limit) for rec, images in lists.items()}
        every: dict[str, tuple[list[Image], bool]] = {}
        for rec in lists:
            found = self._read(Query(kind, both(where, Compare(wire, "ref", "eq", rec)), order, limit))
            every[rec] = (found.records, found.more)
        return every
