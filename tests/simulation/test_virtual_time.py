"""The loop that simulations run on: hours pass at once, in order, and a hang is an error."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.simulation.clock import Stalled, run, wire_clock


def test_an_hour_passes_at_once() -> None:
    async def wait() -> tuple[float, str]:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await asyncio.sleep(3600)
        return loop.time() - begun, wire_clock()

    begun = time.monotonic()
    passed, shown = run(wait())
    assert passed == pytest.approx(3600)
    assert shown == "2026-11-21T10:00:00.000Z"
    assert time.monotonic() - begun < 5


def test_timers_fire_in_the_order_of_their_times() -> None:
    async def race() -> list[int]:
        order: list[int] = []

        async def arrive(n: int, seconds: float) -> None:
            await asyncio.sleep(seconds)
            order.append(n)

        await asyncio.gather(arrive(3, 7.5), arrive(1, 0.25), arrive(2, 0.5))
        return order

    assert run(race()) == [1, 2, 3]


def test_waiting_for_what_can_never_happen_is_an_error() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stalled):
        run(hang())
