"""Signing in too often has to wait: twice as long each time, up to a bound, and only for who it was."""

from __future__ import annotations

import asyncio

import pytest

from handlers.guard import Guard
from hub.wire.errors import HubError
from storage import backoff
from storage.backoff import FORGET_SECONDS, NAME, PAIR, PLACE, InProcessBackOff, Rule, tried


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def guarded() -> tuple[Guard, Clock]:
    clock = Clock()
    return Guard(InProcessBackOff(clock)), clock


async def refusal(guard: Guard, user: str, address: str | None) -> float:
    """Return for how long a try has to wait, 0 where it was let through."""
    try:
        await guard.sign_in(user, address)
    except HubError as error:
        return error.retry_after or -1.0
    return 0.0


@pytest.mark.parametrize("rule", [PAIR, NAME, PLACE])
def test_each_failure_doubles_the_wait_up_to_a_bound(rule: Rule) -> None:
    assert [rule.seconds(n) for n in range(rule.free + 1)] == [0.0] * (rule.free + 1)
    assert [rule.seconds(rule.free + n) for n in (1, 2, 3)] == [rule.first, rule.first * 2, rule.first * 4]
    assert rule.seconds(10**6) == rule.most


async def test_guesses_at_once_are_no_more_than_guesses_one_after_the_other() -> None:
    guard, _ = guarded()
    waits = await asyncio.gather(*(refusal(guard, "ada@x.test", "192.0.2.1") for _ in range(100)))
    assert waits.count(0.0) == PAIR.free + 1


async def test_a_wait_is_as_long_as_it_says_and_then_one_more_try_is_there() -> None:
    guard, clock = guarded()
    for _ in range(PAIR.free + 1):
        assert await refusal(guard, "ada", "192.0.2.1") == 0
    seconds = await refusal(guard, "ada", "192.0.2.1")
    assert seconds == PAIR.first
    clock.now += seconds - 0.01
    assert 0 < await refusal(guard, "ada", "192.0.2.1") <= 0.011
    clock.now += 0.02
    assert await refusal(guard, "ada", "192.0.2.1") == 0
    assert await refusal(guard, " ADA ", "192.0.2.1") == 2 * PAIR.first


async def test_who_guesses_from_many_places_is_slowed_down_by_the_name_and_nobody_is_locked_out_for_long() -> None:
    guard, clock = guarded()
    let = 0
    for n in range(5000):
        let += await refusal(guard, "ada", f"198.51.{n // 250}.{n % 250}") == 0
        clock.now += 1
    assert let <= NAME.free + 8 + 5000 / NAME.most
    clock.now += NAME.most
    assert await refusal(guard, "ada", "192.0.2.9") == 0


async def test_who_guesses_many_names_is_slowed_down_by_the_address_and_others_are_not() -> None:
    guard, _ = guarded()
    waits = [await refusal(guard, f"user{n}", "192.0.2.1") for n in range(PLACE.free + 10)]
    assert waits.count(0.0) == PLACE.free + 1
    assert await refusal(guard, "user1", "192.0.2.2") == 0


async def test_whoever_passed_is_forgiven_but_not_what_others_did_at_the_address() -> None:
    guard, _ = guarded()
    for n in range(PLACE.free - 2):
        await guard.sign_in(f"user{n}", "192.0.2.1")
    for _ in range(100):
        attempt = await guard.sign_in("ada", "192.0.2.1")
        await attempt.passed()
    waits = [await refusal(guard, f"more{n}", "192.0.2.1") for n in range(10)]
    assert waits.count(0.0) == 3


async def test_failures_are_forgotten_after_a_quiet_hour() -> None:
    guard, clock = guarded()
    while await refusal(guard, "ada", "192.0.2.1") == 0:
        pass
    clock.now += FORGET_SECONDS
    for _ in range(PAIR.free):
        assert await refusal(guard, "ada", "192.0.2.1") == 0


async def test_what_is_remembered_is_bounded_and_those_who_failed_most_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backoff, "TRIED", 1000)
    clock = Clock()
    known = InProcessBackOff(clock)
    victim = tried("ada", None)
    for _ in range(NAME.free + 1):
        assert await known.begin(victim) == 0
    for n in range(5000):
        await known.begin(tried(f"user{n}", None))
        assert len(known) <= 1000
    assert await known.begin(victim) == NAME.first


def test_no_name_is_kept_in_plain() -> None:
    assert not any("ada" in one.key or "192" in one.key for one in tried("ada@x.test", "192.0.2.1"))
