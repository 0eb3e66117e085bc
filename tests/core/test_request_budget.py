"""The budgets of a socket and of an account: so many requests a second, twice as many at once, the rest read later."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from handlers.rates import Rates
from hub.edge.budget import ACCOUNTS, AHEAD_SECONDS, LUMP, Accounts, Budgets
from hub.edge.connection import Connection, Hub
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
    services: Any = SimpleNamespace(rates=Rates())
    edge = Edge()
    hub = Hub(services, nothing, set(), budgets=Budgets(rate))
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


# -- accounts ----------------------------------------------------------------------------------------------------------


class Crowd:
    """Sockets of accounts, each of which sends as fast as it may, in less time than a hello may take."""

    def __init__(self, per_socket: int, per_account: int) -> None:
        nothing: Any = None
        services: Any = SimpleNamespace(rates=Rates())
        self.hub = Hub(services, nothing, set(), budgets=Budgets(per_socket, per_account))
        self.taken: dict[str, list[int]] = {}
        self.longest = 0.0
        """The longest time for which one of them was held."""

    async def _send(self, account: str, number: int, frame: str, count: int) -> None:
        loop, edge = asyncio.get_running_loop(), Edge()
        connection = Connection(self.hub, JSON, edge)
        connection.peer.account = account
        try:
            while True:
                before, at = len(edge.resumed), loop.time()
                self.taken[account][number] += count
                if connection.feed([frame]):
                    while len(edge.resumed) == before:
                        await asyncio.sleep(0.01)
                    self.longest = max(self.longest, loop.time() - at)
                await asyncio.sleep(0.001)
        finally:
            connection.end(clean=False)

    async def send(self, seconds: float, sockets: dict[str, int], frame: str = BEAT, count: int = 1) -> None:
        """Have so many sockets of each account send for some time."""
        self.taken = {account: [0] * many for account, many in sockets.items()}
        tasks = [
            asyncio.create_task(self._send(account, n, frame, count))
            for account, many in sockets.items()
            for n in range(many)
        ]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_the_sockets_of_an_account_together_get_its_rate_and_share_it() -> None:
    async def story() -> None:
        rate, seconds, many = 100, 9, 10
        crowd = Crowd(0, rate)
        await crowd.send(seconds, {"one": many, "other": 1})
        for account, taken in crowd.taken.items():
            sockets = len(taken)
            most = rate * (seconds + AHEAD_SECONDS) + sockets
            assert rate * seconds - sockets <= sum(taken) <= most, account
        assert min(crowd.taken["one"]) > 0.5 * max(crowd.taken["one"]) - LUMP
        assert crowd.longest <= 1 + many / rate

    run(story())


def test_without_the_bound_an_account_takes_what_it_can() -> None:
    """The negative control."""

    async def story() -> None:
        crowd = Crowd(0, 0)
        await crowd.send(2, {"one": 10})
        assert sum(crowd.taken["one"]) > 1000 * 10

    run(story())


def test_the_smaller_of_both_budgets_counts() -> None:
    async def story() -> None:
        for per_socket, per_account, sockets, rate in ((50, 1000, 4, 200), (50, 100, 4, 100)):
            crowd = Crowd(per_socket, per_account)
            await crowd.send(8, {"one": sockets})
            assert sum(crowd.taken["one"]) == pytest.approx(10 * rate, rel=0.1)

    run(story())


def test_who_sends_much_at_once_is_paid_for_in_turn_and_nobody_waits_for_ever() -> None:
    async def story() -> None:
        rate, many, sockets, seconds = 10_000, 500, 20, 9
        crowd = Crowd(0, rate)
        await crowd.send(seconds, {"one": sockets}, f"[{','.join([BEAT] * many)}]", many)
        assert crowd.longest <= sockets * many / rate + 1
        assert sum(crowd.taken["one"]) <= rate * (seconds + AHEAD_SECONDS) + sockets * many
        assert min(crowd.taken["one"]) >= 0.5 * max(crowd.taken["one"])

    run(story())


def test_who_cannot_wait_is_refused_and_told_when_to_come_again() -> None:
    accounts = Accounts(10)
    assert [accounts.refusal("one", 100.0) for _ in range(10 * AHEAD_SECONDS)] == [None] * 20
    assert accounts.refusal("one", 100.0) == pytest.approx(0.1)
    assert accounts.refusal("other", 100.0) is None
    assert accounts.refusal(None, 100.0) is None
    assert accounts.refusal("one", 100.11) is None
    assert Accounts(0).refusal("one", 100.0) is None


def test_so_many_accounts_are_remembered_those_that_owe_before_those_that_had_a_rest() -> None:
    accounts = Accounts(1)
    for n in range(ACCOUNTS):
        accounts.refusal(f"{n}", 0.0)
    busy = accounts.bucket("7", 0.0)
    assert busy is not None
    busy.take(10_000, 0.0)
    accounts.refusal("one more", 100.0)
    assert accounts.bucket("7", 100.0) is busy
    for n in range(3 * ACCOUNTS):  # all of them busy: still no more than so many
        accounts.refusal(f"next {n}", 100.0)
    assert len(accounts._buckets) <= ACCOUNTS
