"""Overlaps and free slots, against a plain calendar of single moments."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from packs.events.slots import Slot, first_overlap, next_free, overlap

LATEST = 40


@st.composite
def slots(draw: st.DrawFn, shortest: int = 0) -> Slot:
    start = draw(st.integers(0, LATEST))
    return Slot(start, start + draw(st.integers(shortest, 10)))


def moments(slot: Slot) -> set[int]:
    """The moments that lie in a slot."""
    return set(range(slot.start, slot.end))


@given(slots(), slots())
def test_two_slots_overlap_exactly_when_they_share_a_moment(one: Slot, other: Slot) -> None:
    assert overlap(one, other) == overlap(other, one) == bool(moments(one) & moments(other))


def test_slots_that_touch_do_not_overlap() -> None:
    assert not overlap(Slot(0, 5), Slot(5, 9))
    assert overlap(Slot(0, 5), Slot(4, 9))


@given(slots(), st.lists(slots()))
def test_the_first_overlap_is_the_earliest_of_all(wanted: Slot, taken: list[Slot]) -> None:
    clashes = [slot for slot in taken if moments(slot) & moments(wanted)]
    index = first_overlap(wanted, taken)
    assert (index is None) == (not clashes)
    if index is not None:
        assert taken[index] == min(clashes)


@given(slots(shortest=1), st.lists(slots()))
def test_the_next_free_slot_is_the_earliest_one_of_that_length(wanted: Slot, taken: list[Slot]) -> None:
    free = next_free(wanted, taken)
    length = wanted.end - wanted.start
    busy = {moment for slot in taken for moment in moments(slot)}
    starts = range(wanted.start, 10 * LATEST)
    assert free.start == next(start for start in starts if not busy & moments(Slot(start, start + length)))
    assert free.end - free.start == length


@given(slots(), st.lists(slots()))
def test_what_is_suggested_is_accepted(wanted: Slot, taken: list[Slot]) -> None:
    assert first_overlap(next_free(wanted, taken), taken) is None


@given(slots(), st.lists(slots()))
def test_a_free_slot_is_suggested_as_it_is(wanted: Slot, taken: list[Slot]) -> None:
    if first_overlap(wanted, taken) is None:
        assert next_free(wanted, taken) == wanted
