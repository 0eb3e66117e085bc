"""The budget of one socket: so many requests a second, twice as many at once, and what comes faster is read later."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.edge.connection import AHEAD_SECONDS, Connection, Hub
from hub.wire.codec import JSON
from tests.simulation.clock import run

RATE = 10
BEAT = '{"op":"session.beat","id":1}'
"""Before a hello it is refused at once, which counts as well."""


class Edge:
    """Takes down what is written, and when it may be read again."""

    direct = None
    framed = None

    def __init__(self) -> None:
        self.resumed: list[float] = []

    def write(self, frames: list[bytes]) -> bool:
        return True

    async def send(self, frames: list[bytes]) -> None:
        raise AssertionError("it is never full")

    async def shut(self, code: int, reason: str) -> None: ...

    def resume(self) -> None:
        self.resumed.append(asyncio.get_running_loop().time())


def opened(rate: int, *, operator: bool = False) -> tuple[Connection, Edge]:
    nothing: Any = None
    edge = Edge()
    hub = Hub(nothing, nothing, set(), requests_per_second=rate)
    return Connection(hub, JSON, edge, operator=operator), edge


def test_a_socket_that_sends_too_much_is_read_at_the_rate() -> None:
    async def story() -> None:
        connection, edge = opened(RATE)
        for _ in range(RATE * AHEAD_SECONDS):
            assert not connection.feed([BEAT])
        assert connection.feed([BEAT]), "one more than may come at once"
        await asyncio.sleep(1)
        assert edge.resumed == [pytest.approx(0.1, abs=0.01)]
        taken = 0
        while asyncio.get_running_loop().time() < 6:
            taken += 1
            if connection.feed([BEAT]):
                before = len(edge.resumed)
                while len(edge.resumed) == before:
                    await asyncio.sleep(0.01)
        assert abs(taken - 5 * RATE) <= 2 * RATE
        connection.end(clean=True)

    run(story())


def test_many_requests_in_one_frame_count_as_many() -> None:
    async def story() -> None:
        connection, edge = opened(RATE)
        many = f"[{','.join([BEAT] * 50)}]"
        assert connection.feed([many])
        await asyncio.sleep(5)
        assert edge.resumed == [pytest.approx((50 - RATE * AHEAD_SECONDS) / RATE, abs=0.01)]
        connection.end(clean=True)

    run(story())


def test_a_socket_within_its_rate_is_never_held() -> None:
    async def story() -> None:
        connection, edge = opened(RATE)
        for _ in range(9 * RATE):
            assert not connection.feed([BEAT])
            await asyncio.sleep(1 / RATE)
        assert edge.resumed == []
        connection.end(clean=True)

    run(story())


def test_the_operator_and_a_hub_without_a_limit_take_what_comes() -> None:
    async def story() -> None:
        for connection, _ in (opened(RATE, operator=True), opened(0)):
            for _ in range(100 * RATE):
                assert not connection.feed([BEAT]) or connection.outlet.size > 0
            connection.end(clean=True)

    run(story())


def test_a_socket_that_ends_while_it_is_held_leaves_no_timer() -> None:
    async def story() -> None:
        connection, edge = opened(RATE)
        connection.feed([f"[{','.join([BEAT] * 999)}]"])
        connection.end(clean=False)
        before = len(edge.resumed)
        await asyncio.sleep(200)
        assert len(edge.resumed) == before

    run(story())
