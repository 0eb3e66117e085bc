"""Who comes while too many come is told when to come again, and comes in then; those who are in notice nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from aether_client import Client
from tests.wire.hubprocess import HubProcess
from tests.wire.talk import connected
from tests.wire.tenant import Tenant, make_tenant

BURST = 4


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    """A hub that lets four sockets in, and four more a second."""
    hub = HubProcess(tmp_path_factory.mktemp("narrow") / "data", admit_per_second="4", admit_burst=str(BURST))
    yield asyncio.run(make_tenant(hub))
    hub.stop()


async def test_a_socket_too_many_is_told_when_to_come_again(narrow: Tenant, codec: str) -> None:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(connected(narrow.process.socket_url, codec)) for _ in range(3 * BURST)
        ]
        refused = clients[-1]
        goaway = await refused.push("goaway")
        assert (goaway["why"], 0 < goaway["retry_after"] <= 5, goaway["jitter"]) == ("overload", True, 1.0)
        assert await refused.closed() == 1013
        await make_tenant(narrow.process)  # the operator's socket is not among those that are counted
    await asyncio.sleep(goaway["retry_after"])
    async with narrow.client("editor", codec) as client:
        await client.ok("session.beat")


async def test_a_crowd_of_clients_comes_in_by_itself(narrow: Tenant) -> None:
    async with AsyncExitStack() as stack:
        begun = time.monotonic()
        clients = [Client(narrow.process.url, token=narrow.keys["editor"]) for _ in range(4 * BURST)]
        for client in clients:
            await stack.enter_async_context(client)
        async with asyncio.timeout(30):
            await asyncio.gather(*(client.call("record.find", type="event", limit=1) for client in clients))
        assert time.monotonic() - begun >= 1.2, "they were not all let in at once"
