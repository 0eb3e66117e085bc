"""Time slots in a room: whether two overlap, and where the next free one is.

Pure. Times are whole milliseconds; a slot holds its start and not its end, so slots that touch do not overlap and a
slot without length overlaps nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Slot(NamedTuple):
    """From `start` up to, not including, `end`."""

    start: int
    end: int


def overlap(one: Slot, other: Slot) -> bool:
    """Tell whether there is a moment that lies in both."""
    return max(one.start, other.start) < min(one.end, other.end)


def first_overlap(wanted: Slot, taken: Iterable[Slot]) -> int | None:
    """Return the index of the earliest of the `taken` slots that overlaps `wanted`, None where it is free."""
    clashes = [(slot, index) for index, slot in enumerate(taken) if overlap(wanted, slot)]
    return min(clashes)[1] if clashes else None


def next_free(wanted: Slot, taken: Iterable[Slot]) -> Slot:
    """Return the earliest slot of the same length that starts at or after `wanted` and overlaps none `taken`.

    There always is one: after the last slot that is taken.
    """
    length = wanted.end - wanted.start
    start = wanted.start
    for slot in sorted(taken):
        if overlap(Slot(start, start + length), slot):
            start = slot.end
    return Slot(start, start + length)
