"""Budgets on whole hubs: refused with a time, over the socket and over HTTP; too many sockets; a flood of presence."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

import httpx
import pytest

from tests.wire.hubprocess import REPOSITORY, HubProcess
from tests.wire.talk import connected
from tests.wire.tenant import Tenant, make_tenant

SOCKETS = 6
PER_ADDRESS = 25
RATES = ("search.key=5/60", "write.key=20/60", "upload.key=2/60", "sign-in.address=6/60")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A hub with narrow budgets."""
    started = HubProcess(
        tmp_path_factory.mktemp("rates") / "data",
        rates=",".join(RATES),
        sockets_per_identity=str(SOCKETS),
        sockets_per_address=str(PER_ADDRESS),
    )
    yield started
    started.stop()


@pytest.fixture
async def narrow(hub: HubProcess) -> Tenant:
    """An account of it."""
    return await make_tenant(hub)


async def test_a_budget_is_refused_with_a_time_and_another_class_goes_on(narrow: Tenant, codec: str) -> None:
    async with narrow.client("editor", codec) as client, narrow.client("viewer", codec) as other:
        for _ in range(5):
            await client.ok("record.search", q="x", types=["event"])
        refused = await client.call("record.aggregate", type="event", values={"n": {"$count": "*"}})
        assert (refused["code"], 0 < refused["retry_after"] <= 60) == ("rate.limited", True)
        await client.ok("record.find", type="event")
        await other.ok("record.search", q="x", types=["event"])
        async with narrow.client("editor", codec) as again:
            assert (await again.refused("record.search", q="x"))[0] == "rate.limited"
        batch = [{"op": "record.create", "type": "event", "data": {"title": f"{n}"}} for n in range(15)]
        await client.ok("record.batch", ops=batch)
        assert (await client.refused("record.batch", ops=batch))[0] == "rate.limited", "a batch costs what is in it"
        for n in range(5):
            await client.create("event", title=f"one {n}")
        assert (await client.refused("record.create", type="event", data={"title": "x"}))[0] == "rate.limited"


async def test_over_http_it_is_429_with_retry_after(narrow: Tenant) -> None:
    headers = {"Authorization": f"Bearer {narrow.keys['editor']}"}
    async with httpx.AsyncClient(base_url=narrow.process.url, trust_env=False) as http:
        answers = [
            await http.post("/rpc", json={"op": "record.search", "id": 1, "q": "x"}, headers=headers) for _ in range(6)
        ]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        refused = answers[-1].json()
        assert (refused["code"], refused["id"]) == ("rate.limited", 1)
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        made = await http.post(
            "/rpc", json={"op": "record.create", "id": 1, "type": "event", "data": {"title": "e"}}, headers=headers
        )
        where = {"type": "event", "rec": made.json()["data"]["id"]}
        sizes = (10, 1024 * 1024 + 1, 10)
        puts = [
            await http.put("/files", params={**where, "name": f"{n}.txt"}, content=b"x" * size, headers=headers)
            for n, size in enumerate(sizes)
        ]
        assert [answer.status_code for answer in puts] == [201, 429, 201], [answer.text for answer in puts]
        tries = [await http.post("/auth/signin", json={"code": "aec_x"}) for _ in range(8)]
        assert {answer.status_code for answer in tries} == {401, 429}
        assert tries[-1].status_code == 429
        assert "retry-after" in tries[-1].headers


async def test_too_many_sockets_of_one_key_or_address_are_closed_with_4506(hub: HubProcess) -> None:
    tenant = await make_tenant(hub)
    async with AsyncExitStack() as stack:
        mine = [await stack.enter_async_context(tenant.client("viewer")) for _ in range(SOCKETS)]
        late = await stack.enter_async_context(connected(hub.socket_url))
        await late.greet(tenant.keys["viewer"])
        assert await late.closed() == 4506
        async with tenant.client("editor") as client:
            await client.ok("session.beat")
        await mine[0].ok("session.beat")
    async with AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(connected(hub.socket_url)) for _ in range(PER_ADDRESS)]
        late = await stack.enter_async_context(connected(hub.socket_url))
        assert await late.closed() == 4506
        async with connected(hub.socket_url, local_addr=("127.0.0.2", 0)) as elsewhere:
            await elsewhere.greet(tenant.keys["viewer"])
        await crowd[0].greet(tenant.keys["viewer"])
    async with tenant.client("viewer") as client:
        await client.ok("session.beat")


async def test_floods_of_presence_from_ten_sockets_leave_a_bystander_alone(process: HubProcess) -> None:
    """What is dear to tell is read more slowly: the flood waits in its own sockets."""
    flooding, calm = await make_tenant(process), await make_tenant(process)
    words = ("-m", "tests.wire.flooder", process.socket_url, flooding.keys["editor"])
    flooder = await asyncio.create_subprocess_exec(
        sys.executable, *words, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE
    )
    assert flooder.stdout is not None
    try:
        assert await flooder.stdout.readline() == b"flooding\n"
        async with calm.client("editor") as bystander:
            took, until = [], time.monotonic() + 1.5
            while time.monotonic() < until:
                at = time.monotonic()
                await bystander.ok("session.beat")
                took.append(time.monotonic() - at)
                await asyncio.sleep(0.01)
        assert flooder.returncode is None, "it floods to the end"
    finally:
        flooder.kill()
        await flooder.communicate()
    took.sort()
    assert took[int(len(took) * 0.99)] < 0.2, f"{took[-5:]}"
