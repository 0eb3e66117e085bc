"""Requests of many accounts at one hub at the same time: each is answered in its own, and with its own rights."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from typing import Any, Final

import httpx

from tests.wire.hubprocess import HubProcess
from tests.wire.talk import Client, Message
from tests.wire.tenant import Tenant, make_tenant, operator

ACCOUNTS: Final = 5
SOCKETS: Final = 4
"""For each of two roles of each account."""
FRAMES: Final = 500


async def test_five_hundred_frames_of_several_accounts_never_mix(process: HubProcess) -> None:
    tenants = [await make_tenant(process) for _ in range(ACCOUNTS)]
    rng = random.Random(6)
    async with AsyncExitStack() as stack:
        made: dict[str, str] = {}
        sockets: list[tuple[Tenant, str, Client]] = []
        for tenant in tenants:
            for role in ("editor", "viewer"):
                for _ in range(SOCKETS):
                    sockets.append((tenant, role, await stack.enter_async_context(tenant.client(role))))
            event = await sockets[-2 * SOCKETS][2].create("event", title=tenant.name, acronym="a")
            made[tenant.account] = event["id"]
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=process.url, trust_env=False))
        desk = await stack.enter_async_context(operator(process, tenants[0].name))

        def request(tenant: Tenant) -> tuple[str, Any]:
            others = rng.choice([t for t in tenants if t is not tenant])
            return rng.choice(
                [
                    ("record.find", {"type": "event"}),
                    ("record.get", {"type": "event", "rec": made[tenant.account]}),
                    ("record.get", {"type": "event", "rec": made[others.account]}),
                    ("record.update", {"type": "event", "rec": made[tenant.account], "data": {"title": tenant.name}}),
                    ("record.update", {"type": "event", "rec": made[others.account], "data": {"title": "mixed"}}),
                    ("record.find", {"type": "membership"}),
                    ("watch.start", {"type": "event"}),
                ]
            )

        async def over_socket(tenant: Tenant, role: str, client: Client) -> None:
            asked = [request(tenant) for _ in range(FRAMES // len(sockets))]
            numbers = [await client.send(op, **fields) for op, fields in asked]
            for number, (op, fields) in zip(numbers, asked, strict=True):
                check(tenant, role, op, fields, await client.answer(number))

        async def over_rpc(tenant: Tenant, role: str) -> None:
            op, fields = request(tenant)
            if op != "watch.start":
                head = {"authorization": f"Bearer {tenant.keys[role]}"}
                answer = await http.post("/rpc", json={"op": op, "id": 1, **fields}, headers=head)
                check(tenant, role, op, fields, answer.json())

        async def moving() -> None:
            """Ask as one socket that goes from account to account, with requests on their way."""
            for _ in range(20):
                tenant = rng.choice(tenants)
                hello = await desk.send("session.hello", account=tenant.name)
                asked = [await desk.send("record.find", type="event") for _ in range(3)]
                assert (await desk.answer(hello))["data"]["account"] == tenant.account
                for number in asked:
                    check(tenant, "editor", "record.find", {}, await desk.answer(number))

        def check(tenant: Tenant, role: str, op: str, fields: dict[str, Any], answer: Message) -> None:
            foreign = fields.get("rec", made[tenant.account]) != made[tenant.account]
            if op == "record.update" and role == "viewer":
                assert answer["code"] == "access.denied"
                assert answer["details"]["role"] == "viewer"
            elif foreign:
                assert answer["code"] == "record.not_found"
            else:
                data = answer["data"]
                found = data.get("records", [data])
                assert [record["account_id"] for record in found] == [tenant.account] * len(found)
                assert found != []

        work = [over_socket(*each) for each in sockets]
        work += [over_rpc(tenant, role) for tenant, role, _ in sockets for _ in range(2)]
        await asyncio.gather(*work, moving())
