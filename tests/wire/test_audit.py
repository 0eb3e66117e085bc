"""Audit entries on a whole hub: sign-ins, keys, refusals, read by managers; and no secret anywhere among them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from tests.wire.hubprocess import HubProcess
from tests.wire.signing import OTHER_PASSWORD, enter, make_person, refusal
from tests.wire.talk import connected
from tests.wire.tenant import make_tenant, operator


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A hub that keeps an audit."""
    started = HubProcess(tmp_path_factory.mktemp("audit") / "data", audit_days="1")
    yield started
    started.stop()


async def test_what_happens_at_the_door_is_kept_for_managers(hub: HubProcess) -> None:
    tenant = await make_tenant(hub)
    async with tenant.client("owner") as owner, tenant.client("viewer") as viewer:
        watch = (await owner.ok("watch.start", type="audit_entry"))["watch"]
        token = await tenant.sign_in()
        found: dict[str, list[dict[str, object]]] = {}
        async with asyncio.timeout(10):
            while not {"session.signed_in", "key.created", "membership.created"} <= found.keys():
                told = await owner.push("change", lambda push: push["watch"] == watch)
                for event in told["events"]:
                    found.setdefault(event["record"]["what"], []).append(event["record"])
        assert found["session.signed_in"][0]["actor"]
        for _ in range(5):
            assert (await viewer.refused("record.create", type="event", data={"title": "x"}))[0] == "access.denied"
        assert (await viewer.refused("record.find", type="audit_entry"))[0] == "access.denied"
        kept = (await owner.ok("record.find", type="audit_entry", limit=100))["records"]
        assert {entry["what"] for entry in kept} >= {"key.created", "membership.created", "session.signed_in"}
        assert not any(secret in repr(kept) for secret in (token, *tenant.keys.values()))
        code, path = await owner.refused("record.delete", type="audit_entry", rec=kept[0]["id"])
        assert code == "access.denied", path


async def test_refusals_are_written_when_the_hub_stops(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("audited") / "data"
    hub = HubProcess(data, audit_days="1")
    tenant = await make_tenant(hub)
    async with tenant.client("viewer") as viewer:
        for _ in range(300):
            await viewer.call("record.create", type="event", data={"title": "x"})
    async with connected(hub.socket_url) as guest:
        email = await make_person(tenant)
        await guest.greet()
        await guest.greet((await enter(tenant, guest, email))["access"])
        for _ in range(2):
            refused = await refusal(guest, "user.set_password", new=OTHER_PASSWORD, old="wrong")
            assert refused == ("auth.invalid", "args.old")
    async with httpx.AsyncClient(base_url=hub.url, trust_env=False) as http:
        upload = {"type": "event", "rec": "AAAAAAAAAAA", "name": "x"}
        key = {"Authorization": f"Bearer {tenant.keys['viewer']}"}
        assert (await http.put("/files", params=upload, content=b"x", headers=key)).status_code == 403
        for _ in range(20):
            answer = await http.post("/rpc", json={"op": "record.find", "id": 1, "type": "event"},
                                     headers={"Authorization": "Bearer aek_canary-of-a-guess"})  # fmt: skip
            assert answer.status_code == 401
    hub.secrets.add("canary-of-a-guess")
    hub.stop()
    again = HubProcess(data, audit_days="1")
    async with operator(again, tenant.name) as client:
        found = (await client.ok("record.find", type="audit_entry", limit=100))["records"]
        counts = {(entry["what"], entry["subject"].split(":")[0]): entry["count"] for entry in found}
        assert counts["access.denied", "record.create event.create"] == 300
        assert [count for (what, subject), count in counts.items() if subject.startswith("PUT /files")] == [1]
        assert counts["password.failed", "user"] == 2
        assert counts["session.signed_in", "user"] >= 1
    again.stop()
