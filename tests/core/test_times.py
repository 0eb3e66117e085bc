"""Times in wire form, made of milliseconds and read back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hub.schema.times import format_time, from_millis, to_millis

FIRST, LAST = to_millis("0001-01-01T00:00:00.000Z"), to_millis("9999-12-31T23:59:59.999Z")


@example(FIRST)
@example(LAST)
@example(-1)
@example(0)
@given(st.integers(FIRST, LAST))
def test_milliseconds_are_the_time_that_they_are_of(millis: int) -> None:
    text = from_millis(millis)
    assert text == format_time(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=millis))
    assert to_millis(text) == millis


@pytest.mark.parametrize("millis", [FIRST - 1, LAST + 1])
def test_there_is_no_time_outside_the_years_1_to_9999(millis: int) -> None:
    with pytest.raises(OverflowError):
        from_millis(millis)
