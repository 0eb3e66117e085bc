"""Budgets of accounts and addresses: one account's sockets together do not take everything, nor does one address."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

import httpx
import pytest

from hub.edge.budget import AHEAD_SECONDS
from hub.edge.fast import TURN
from tests.wire.hubprocess import HubProcess
from tests.wire.talk import connected
from tests.wire.tenant import Tenant, make_tenant

RATE = 200
SOCKETS = 4
ADDRESS_BURST = 20


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A hub with narrow budgets."""
    started = HubProcess(
        tmp_path_factory.mktemp("budgets") / "data",
        account_requests_per_second=str(RATE),
        admit_address_per_second=str(ADDRESS_BURST / 10),
    )
    yield started
    started.stop()


async def test_an_account_gets_its_rate_however_many_sockets_it_has_and_others_notice_nothing(hub: HubProcess) -> None:
    greedy, other = await make_tenant(hub), await make_tenant(hub)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(greedy.client("editor")) for _ in range(SOCKETS)]
        modest = await stack.enter_async_context(other.client("editor"))
        asked = AHEAD_SECONDS * RATE // SOCKETS + TURN + 2 * RATE // SOCKETS  # what a socket may owe is one turn
        begun = time.monotonic()
        for client in clients:
            for _ in range(asked):
                await client.send("session.beat")
        slowest = 0.0
        for _ in range(20):
            at = time.monotonic()
            await modest.ok("session.beat")
            slowest = max(slowest, time.monotonic() - at)
        for client in clients:
            for number in range(2, asked + 2):
                assert (await client.answer(number))["op"] == "ok"
        assert 1.8 <= time.monotonic() - begun < 6
        assert slowest < 0.5
        await over_http(greedy, other)


async def over_http(greedy: Tenant, other: Tenant) -> None:
    """What cannot wait is refused while the account has nothing left."""
    body = {"op": "record.find", "id": 1, "type": "event", "limit": 1}
    async with httpx.AsyncClient(base_url=greedy.process.url, trust_env=False) as http:

        async def post(tenant: Tenant) -> httpx.Response:
            return await http.post("/rpc", json=body, headers={"Authorization": f"Bearer {tenant.keys['editor']}"})

        async with greedy.client("editor") as client:
            numbers = [await client.send("session.beat") for _ in range(2 * RATE)]
            await client.answer(numbers[0])
            refused = await post(greedy)
            assert (refused.status_code, refused.json()["code"]) == (429, "rate.limited")
            assert 0 < refused.json()["retry_after"] <= 2
            assert refused.headers["retry-after"] in {"1", "2"}
            assert (await post(other)).status_code == 200
            for number in numbers[1:]:
                await client.answer(number)


async def test_an_address_gets_so_many_sockets_and_the_next_one_gets_its_own(hub: HubProcess) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(ADDRESS_BURST):
            await stack.enter_async_context(connected(hub.socket_url))
        refused = await stack.enter_async_context(connected(hub.socket_url))
        goaway = await refused.push("goaway")
        assert (goaway["why"], 0 < goaway["retry_after"] <= 10) == ("overload", True)
        assert await refused.closed() == 1013
        tenant = await make_tenant(hub)  # the operator is not counted
        async with connected(hub.socket_url, local_addr=("127.0.0.2", 0)) as client:
            await client.greet(tenant.keys["viewer"])
            await client.ok("session.beat")
