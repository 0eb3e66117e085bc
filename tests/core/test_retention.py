"""What a hub forgets of the past, by its settings and by what its types say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hub.app import retention_of
from hub.schema.access import Access
from hub.schema.fields import DeclarationError
from hub.schema.record import Record, type_of
from hub.schema.times import to_millis
from hub.settings import Settings
from storage.memory import MemoryStorage
from tests.storage.declared import Use, registry_of

_RULE = Access(read="viewer", create="editor", update="editor", delete="editor")
_HOUR = timedelta(hours=1)


class Beat(Record, access=_RULE, history_days=60):
    """A type whose past is of no use for long."""

    at: int = 0


class Plan(Record, access=_RULE):
    """A type whose past is kept."""

    step: int = 0


beat, plan = type_of(Beat), type_of(Plan)


def days_ago(days: int, later: timedelta = timedelta()) -> Callable[[], str]:
    """Return a clock that stands still."""
    moment = datetime.now(UTC) - timedelta(days=days) + later
    return lambda: moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("plain", "age", "left"),
    [
        ({}, days_ago(60, _HOUR), ["beat", "plan"]),
        ({}, days_ago(60, -_HOUR), ["plan"]),
        ({"resume_days": 90}, days_ago(90, _HOUR), ["beat", "plan"]),
        ({"resume_days": 90}, days_ago(90, -_HOUR), ["plan"]),
        ({"history_days": 70}, days_ago(70, _HOUR), ["plan"]),
        ({"history_days": 70}, days_ago(70, -_HOUR), []),
        ({"history_days": 40}, days_ago(40, _HOUR), ["beat", "plan"]),
        ({"history_days": 40}, days_ago(40, -_HOUR), []),
    ],
)
async def test_a_type_is_forgotten_when_it_says_and_never_while_somebody_may_resume(
    plain: dict[str, Any], age: Callable[[], str], left: list[str]
) -> None:
    registry = registry_of(beat, plan)
    use = Use(MemoryStorage(registry, age))
    await use.storage.start()
    await use.commit(use.new(beat), use.new(plan))
    assert to_millis((await use.log())[0].at) == to_millis(age())
    retention = retention_of(use.storage, registry, Settings(**plain))
    assert retention is not None
    await retention.round()
    assert [row.type for commit in await use.log() for row in commit.rows if row.after] == left


def test_nothing_is_forgotten_where_nothing_says_so() -> None:
    registry = registry_of(plan)
    storage = MemoryStorage(registry, days_ago(0))
    assert retention_of(storage, registry, Settings()) is None
    assert retention_of(storage, registry, Settings(history_days=1)) is not None


@pytest.mark.parametrize("days", [0, -1, 36_501])
def test_a_time_that_is_none_is_refused_when_it_is_declared(days: int) -> None:
    with pytest.raises(DeclarationError, match="history_days is 1 to 36500; leave it out for no bound"):
        type("Odd", (Record,), {"__module__": __name__, "__annotations__": {}}, access=_RULE, history_days=days)


def test_a_time_of_the_least_and_of_the_most_is_taken() -> None:
    for days in (1, 36_500):
        odd = type("Odd", (Record,), {"__module__": __name__, "__annotations__": {}}, access=_RULE, history_days=days)
        assert type_of(odd).history_days == days
