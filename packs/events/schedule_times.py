"""The dates, times, durations and time zones of schedule files.

Knows: the spellings that exporters use, and the one spelling of the hub (RFC 3339, UTC, milliseconds).
Does not know where in a file a text stood. Every function raises `ValueError` with a sentence when it cannot read one.
"""

from __future__ import annotations

import math
import re
import zoneinfo
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo

EARLIEST_YEAR = 1970
LATEST_YEAR = 2199
LONGEST = timedelta(days=366)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_LENGTH = 10
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?", re.ASCII)
_TWO_PARTS = re.compile(r"(\d{1,6}):(\d{1,2})", re.ASCII)
_THREE_PARTS = re.compile(r"(\d{1,3}):(\d{1,2}):(\d{1,2})", re.ASCII)
_MINUTES = re.compile(r"\d{1,9}", re.ASCII)
_ZONE_NAME = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}", re.ASCII)
_SPACE_BEFORE_OFFSET = re.compile(r"\s+(?=[+-]\d{2}:?\d{2}$)")
_LATEST_HOUR = 47  # "25:30" is half past one in the night after the day


def parse_day(text: str) -> date:
    """Read a date, also from the front of a date and time."""
    try:
        return _sane(datetime.fromisoformat(_SPACE_BEFORE_OFFSET.sub("", text.strip()))).date()
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a date (expected like 2026-12-27)") from None


def parse_time(text: str) -> datetime:
    """Read a date and time; without an offset it is naive. A bare date is refused by `is_day`, not here."""
    try:
        return _sane(datetime.fromisoformat(_SPACE_BEFORE_OFFSET.sub("", text.strip())))
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a time (expected like 2026-12-27T16:00:00+01:00)") from None


def is_day(text: str) -> bool:
    """Tell whether a text that `parse_time` reads is a date without a time of day."""
    return len(text.strip()) <= _DAY_LENGTH and ":" not in text


def parse_clock(text: str) -> timedelta:
    """Read a time of day as the time since midnight; hours up to 47 reach into the next day."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a time of day (expected like 16:00)")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    if hours > _LATEST_HOUR or minutes > 59 or seconds > 59:
        raise ValueError(f"{text[:40]!r} is not a time of day (expected like 16:00)")
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def parse_duration(value: str | float) -> timedelta:
    """Read a duration: `HH:MM`, `D:HH:MM`, or minutes as a number or text.

    Three parts are days, hours and minutes, as this family of formats has it. They are hours, minutes and seconds where
    they can be nothing else: the first part has a leading zero, or the middle one is no hour.
    """
    found = _duration(value)
    if found is None:
        raise ValueError(f"{str(value)[:40]!r} is not a duration (expected like 00:45)")
    if found > LONGEST:
        raise ValueError(f"a duration of {str(value)[:40]!r} is longer than {LONGEST.days} days")
    return found


def _duration(value: str | float) -> timedelta | None:
    if isinstance(value, int | float):
        if not math.isfinite(value) or value < 0:
            return None
        return timedelta(minutes=min(float(value), 1e9))
    text = value.strip()
    if _MINUTES.fullmatch(text):
        return timedelta(minutes=int(text))
    if match := _TWO_PARTS.fullmatch(text):
        hours, minutes = map(int, match.groups())
        return timedelta(hours=hours, minutes=minutes) if minutes < 60 else None
    if match := _THREE_PARTS.fullmatch(text):
        first, middle, last = map(int, match.groups())
        if last > 59 or middle > 59:
            return None
        if middle > 23 or (text[0] == "0" and len(match[1]) > 1):
            return timedelta(hours=first, minutes=middle, seconds=last)
        return timedelta(days=first, hours=middle, minutes=last)
    return None


def find_zone(name: str) -> zoneinfo.ZoneInfo:
    """Look up an IANA time zone."""
    if _ZONE_NAME.fullmatch(name):
        try:
            return zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            pass  # told below, in the same words as a name that cannot be one
    raise ValueError(f"{name[:40]!r} is not a time zone (expected like Europe/Berlin)")


def fixed_zone(offsets: Iterable[timedelta]) -> str:
    """Return the fixed zone that all the offsets agree on, "" where they do not or no zone has that offset.

    The sign of `Etc/GMT-1` is turned round: it is one hour *before* UTC on the clock, `+01:00` in a time.
    """
    distinct = set(offsets)
    if len(distinct) != 1:
        return ""
    minutes = distinct.pop() / timedelta(minutes=1)
    if minutes == 0:
        return "UTC"
    if minutes % 60 or not -12 <= minutes / 60 <= 14:
        return ""
    return f"Etc/GMT{int(-minutes // 60):+d}"


def instant(moment: datetime, zone: tzinfo) -> str:
    """Return the moment as it stands on the wire; a naive one is taken to be in `zone`."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
    utc = aware.astimezone(UTC)
    return f"{utc.isoformat(timespec='milliseconds')[:-6]}Z"


def to_millis(wire: str) -> int:
    """Return the milliseconds since 1970 of a time as it stands on the wire."""
    return (datetime.fromisoformat(wire) - _EPOCH) // timedelta(milliseconds=1)


def from_millis(millis: int) -> str:
    """Return milliseconds since 1970 as they stand on the wire; raise `OverflowError` after the year 9999."""
    return instant(_EPOCH + timedelta(milliseconds=millis), UTC)


def _sane(moment: datetime) -> datetime:
    if not EARLIEST_YEAR <= moment.year <= LATEST_YEAR:
        raise ValueError
    return moment
