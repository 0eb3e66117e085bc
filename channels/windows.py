"""The content of a sorted window, and what each change of it means to those who watch. Pure.

A window shows the first `limit` records of a query in its order. Behind them it holds some more in reserve, so that
when one leaves, the next is at hand. Whatever stands behind the last one that is held is not known: where the window
would show less than its limit and there may be more, it is dry and must be filled by a query.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import cmp_to_key
from typing import Any, Final

import msgspec

from hub.schema.query import SortKey
from hub.schema.record import Image

LEAST_RESERVE: Final = 20
Event = dict[str, Any]
Ends = Mapping[str, tuple[str, int]]
"""By id of a changed record: why it leaves if it does (`deleted`, `filter`, `rights`, `window`), and its version."""
_ENCODER: Final = msgspec.msgpack.Encoder()


def capacity(limit: int) -> int:
    """Return how many records a window holds."""
    return limit + max(LEAST_RESERVE, limit // 2)


def ranking(order: tuple[SortKey, ...]) -> Callable[[Image], Any]:
    """Return what makes of an image a value to compare: null is lowest, text goes by code point."""
    names = tuple(key.field for key in order)
    signs = tuple(-1 if key.descending else 1 for key in order)

    def compare(left: tuple[Any, ...], right: tuple[Any, ...]) -> int:
        for mine, other, sign in zip(left, right, signs, strict=True):
            if mine == other:
                continue
            if mine is None:
                return -sign
            if other is None:
                return sign
            return -sign if mine < other else sign
        return 0

    rank = cmp_to_key(compare)
    return lambda image: rank(tuple([image[name] for name in names]))


class Window:
    """The first records of a query; it knows all that match up to the last one it holds.

    `order` ends in `id`, and every image has its fields. Until it was filled for the first time it is empty and shows
    nothing.
    """

    def __init__(self, order: tuple[SortKey, ...], limit: int) -> None:
        self.limit = limit
        self.capacity = capacity(limit)
        self.shown: dict[str, Image] = {}
        """What those who watch were told, in order."""
        self._rank = ranking(order)
        self._ranks: list[Any] = []
        self._ids: list[str] = []
        self._images: dict[str, Image] = {}
        self._edge: Any = None
        """The rank up to which everything that matches is held; None: everything there is."""

    @property
    def dry(self) -> bool:
        """Whether it shows less than its limit although there may be more."""
        return self._edge is not None and len(self._ids) < self.limit

    def fill(self, images: Sequence[Image], *, more: bool) -> None:
        """Hold these images, in order, instead of all others; `more`: others that match stand behind them."""
        self._ids = [image["id"] for image in images]
        self._ranks = [self._rank(image) for image in images]
        self._images = dict(zip(self._ids, images, strict=True))
        self._edge = self._ranks[-1] if more else None

    def put(self, rec: str, image: Image | None) -> bool:
        """Hold a record as it is now, None where it does not match; return whether what is shown may differ."""
        touched = False
        before = self._images.pop(rec, None)
        if before is not None:
            at = bisect_left(self._ranks, self._rank(before))
            del self._ranks[at], self._ids[at]
            touched = at < self.limit
        if image is None:
            return touched
        rank = self._rank(image)
        if self._edge is not None and self._edge < rank:
            return touched
        at = bisect_left(self._ranks, rank)
        self._ranks.insert(at, rank)
        self._ids.insert(at, rec)
        self._images[rec] = image
        if len(self._ids) > self.capacity:
            self._ranks.pop()
            del self._images[self._ids.pop()]
            self._edge = self._ranks[-1]
        return touched or at < self.limit

    def tell(self, ends: Ends) -> list[Event]:
        """Show what is held now; return what that means to those who were told what was shown before."""
        now = {rec: self._images[rec] for rec in self._ids[: self.limit]}
        events = differences(self.shown, now, ends)
        self.shown = now
        return events


def differences(old: Mapping[str, Image], now: Mapping[str, Image], ends: Ends) -> list[Event]:
    """Return the events between two contents: who leaves, then who enters or differs, in the order of `now`."""
    events: list[Event] = []
    for rec, image in old.items():
        if rec not in now:
            why, version = ends.get(rec, ("window", image["version"]))
            event = {"kind": "leave", "rec": rec, "why": why, "version": version}
            if why == "rights":
                del event["version"]  # of what is not seen any more, nothing but its id is told
            events.append(event)
    for rec, image in now.items():
        before = old.get(rec)
        if before is None:
            events.append({"kind": "enter", "rec": rec, "record": image})
        elif before is not image and (before["version"] != image["version"] or before != image):
            events.append({"kind": "update", "rec": rec, "patch": patch(before, image), "version": image["version"]})
    return events


def patch(before: Image, after: Image) -> Image:
    """Return the fields of `after` that differ, but for the version."""
    return {k: v for k, v in after.items() if k != "version" and _differ(before.get(k), v)}


def _differ(a: Any, b: Any) -> bool:
    # In Python 1 == True == 1.0, in a list or an object too.
    return bool(a != b) or (type(b) in {list, dict} and _ENCODER.encode(a) != _ENCODER.encode(b))
