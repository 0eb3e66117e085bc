"""presence.status, and what beats say of people and devices."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.wire.talk import Client, Message, connected
from tests.wire.tenant import Tenant, make_tenant, operator


async def cut(client: Client) -> None:
    """Break a socket off without a word."""
    client.socket.transport.abort()
    await client.socket.wait_closed()


async def status(client: Client, kind: str, rec: str) -> Message:
    """Return the status of one user or device."""
    found: Message = await client.ok("presence.status", **{f"{kind}s": [rec]})
    assert found[{"user": "devices", "device": "users"}[kind]] == {}
    return dict(found[f"{kind}s"][rec])


async def until(client: Client, kind: str, rec: str, expected: str) -> Message:
    """Return the status of somebody as soon as it is the expected one."""
    async with asyncio.timeout(20):
        while (found := await status(client, kind, rec))["status"] != expected:
            await asyncio.sleep(0.05)
    return found


async def device(client: Client) -> str:
    """Return under which id a key is shown."""
    data = await client.ok("channel.join", channel="audience:x", presence={"state": {}})
    return str(next(m["rec"] for m in data["members"] if client.hello["session"] in str(m["sessions"])))


async def test_a_user_is_here_with_any_session_and_no_channel(tenant: Tenant, codec: str) -> None:
    token = await tenant.sign_in()
    async with tenant.client("viewer", codec) as asker, connected(tenant.process.socket_url, codec) as one:
        user = (await one.greet(token))["user"]
        found = await status(asker, "user", user)
        assert set(found) == {"status", "last_seen"}
        assert found["status"] == "active"
        async with connected(tenant.process.socket_url, codec) as two:
            await two.greet(token)
            for first, second, both in (
                ("idle", "away", "idle"),
                ("away", "away", "away"),
                ("away", "active", "active"),
                ("idle", "idle", "idle"),
            ):
                await one.ok("session.beat", status=first)
                await two.ok("session.beat", status=second)
                assert (await status(asker, "user", user))["status"] == both
            await one.ok("session.beat", status="active")
            await cut(one)
            await until(asker, "user", user, "idle")
        before = (await asker.ok("session.beat"))["now"]
        gone = await until(asker, "user", user, "away")
        assert gone["last_seen"] <= before, "the other tab was closed, and this one broke off before"


async def test_who_left_was_last_seen_then(tenant: Tenant, codec: str) -> None:
    token = await tenant.sign_in()
    async with tenant.client("viewer", codec) as asker:
        async with connected(tenant.process.socket_url, codec) as one:
            user = (await one.greet(token))["user"]
            here = (await one.ok("session.beat"))["now"]
        found = await until(asker, "user", user, "offline")
        assert here <= found["last_seen"] <= (await asker.ok("session.beat"))["now"]
        await asyncio.sleep(2.2)  # it is stored, and no longer in memory
        assert await status(asker, "user", user) == found


async def test_who_was_never_here_is_not_told_from_who_does_not_exist(tenant: Tenant, codec: str) -> None:
    elsewhere = await make_tenant(tenant.process)
    theirs = await elsewhere.sign_in()
    async with (
        tenant.client("viewer", codec) as asker,
        connected(tenant.process.socket_url, codec) as other,
        elsewhere.client("editor", codec) as kiosk,
    ):
        user = (await other.greet(theirs))["user"]
        rec = await device(kiosk)
        for _ in range(2):
            found = await asker.ok("presence.status", users=[user, "nobody", "ü"], devices=[rec, "nobody", user])
            assert found == {"users": {}, "devices": {}}
            await asyncio.sleep(1.2)  # until the sights of the other account are stored


async def test_who_switches_the_account_is_gone_from_the_first_one(tenant: Tenant) -> None:
    elsewhere = await make_tenant(tenant.process)
    token = await tenant.sign_in()
    async with tenant.client("viewer") as asker, connected(tenant.process.socket_url) as one:
        user = (await one.greet(token))["user"]
        await one.greet(elsewhere.keys["editor"])
        assert (await status(asker, "user", user))["status"] == "offline"
        rec = await device(one)
        async with elsewhere.client("viewer") as there:
            assert (await status(there, "device", rec))["status"] == "active"
            assert await there.ok("presence.status", users=[user]) == {"users": {}, "devices": {}}
        assert await asker.ok("presence.status", devices=[rec]) == {"users": {}, "devices": {}}


async def test_a_person_who_is_removed_is_offline_at_once(tenant: Tenant) -> None:
    token = await tenant.sign_in()
    async with tenant.client("viewer") as asker, connected(tenant.process.socket_url) as one:
        user = (await one.greet(token))["user"]
        async with operator(tenant.process, tenant.account) as hand:
            await hand.ok("action.call", action="user.sign_out", args={"user": user})
        await until(asker, "user", user, "offline")


async def test_a_withdrawn_key_is_offline_at_once(tenant: Tenant) -> None:
    async with tenant.client("viewer") as asker, tenant.client("editor") as kiosk, tenant.client("owner") as owner:
        rec = await device(kiosk)
        assert (await status(asker, "device", rec))["status"] == "active"
        await owner.ok("record.delete", type="api_key", rec=rec)
        await until(asker, "device", rec, "offline")


async def test_a_device_tells_how_it_is(tenant: Tenant, codec: str) -> None:
    said = {"cpu": 12.5, "memory": 50, "disk": 0, "version": "2.1", "mode": "onsite"}
    async with tenant.client("viewer", codec) as asker, tenant.client("editor", codec) as kiosk:
        rec = await device(kiosk)
        assert "telemetry" not in await status(asker, "device", rec)
        channel = f"event:{(await kiosk.create('event', title='A', acronym='a'))['id']}"
        await asker.ok("channel.join", channel=channel)
        await kiosk.ok("channel.join", channel=channel, presence={"state": {}})
        await asker.push("presence")
        await kiosk.ok("session.beat", telemetry=said)
        assert (await status(asker, "device", rec))["telemetry"] == said
        push = await asker.push("presence")
        (event,) = push["events"]
        assert (event["kind"], event["member"]["sessions"][0]["state"]) == ("update", {"telemetry": said})
        await kiosk.ok("session.beat", telemetry={**said, "cpu": 99})
        assert (await status(asker, "device", rec))["telemetry"]["cpu"] == 99
        assert await asker.settled() == [], "numbers are told once a minute"
        await kiosk.ok("session.beat", telemetry={"mode": "native"})
        push = await asker.push("presence")
        assert push["events"][0]["member"]["sessions"][0]["state"] == {"telemetry": {"mode": "native"}}
        await kiosk.ok("presence.update", channel=channel, state={"page": 2})
        push = await asker.push("presence")
        assert push["events"][0]["member"]["sessions"][0]["state"] == {"page": 2, "telemetry": {"mode": "native"}}


async def test_what_a_person_says_as_telemetry_is_shown_to_nobody(tenant: Tenant) -> None:
    token = await tenant.sign_in()
    async with tenant.client("viewer") as asker, connected(tenant.process.socket_url) as one:
        user = (await one.greet(token))["user"]
        await one.ok("session.beat", telemetry={"cpu": 5})
        assert "telemetry" not in await status(asker, "user", user)


@pytest.mark.parametrize(
    ("telemetry", "path"),
    [
        ({"cpu": 101}, "telemetry.cpu"),
        ({"memory": -1}, "telemetry.memory"),
        ({"disk": "full"}, "telemetry.disk"),
        ({"version": "x" * 65}, "telemetry.version"),
        ({"mode": "x" * 33}, "telemetry.mode"),
        ({"gpu": 1}, "telemetry.gpu"),
        ([], "telemetry"),
    ],
)
async def test_telemetry_that_is_none_is_refused_and_changes_nothing(
    shared: Tenant, codec: str, telemetry: Any, path: str
) -> None:
    async with shared.client("editor", codec) as kiosk:
        rec = await device(kiosk)
        refused = await kiosk.refused("session.beat", status="idle", telemetry=telemetry)
        assert refused == ("data.invalid", path)
        found = await status(kiosk, "device", rec)
        assert (found["status"], "telemetry" in found) == ("active", False)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, "users"),
        ({"users": "x"}, "users"),
        ({"users": [""]}, "users.0"),
        ({"users": ["x" * 65]}, "users.0"),
        ({"users": ["x"] * 1001}, "users"),
        ({"devices": ["x"] * 1001}, "devices"),
        ({"users": ["x"] * 500, "devices": ["x"] * 501}, "devices"),
        ({"users": [], "nope": 1}, "nope"),
    ],
)
async def test_a_question_that_is_none_is_refused(shared: Tenant, codec: str, fields: Message, path: str) -> None:
    async with shared.client("viewer", codec) as client:
        assert await client.refused("presence.status", **fields) == ("data.invalid", path)


async def test_a_thousand_are_answered_and_a_stranger_is_not(shared: Tenant, codec: str) -> None:
    async with shared.client("editor", codec) as client, shared.client(None, codec) as guest:
        users = [f"u{n}" for n in range(600)]
        rec = await device(client)
        found = await client.ok("presence.status", users=users, devices=[rec, *(f"d{n}" for n in range(399))])
        assert (found["users"], set(found["devices"])) == ({}, {rec})
        assert await client.ok("presence.status", users=[]) == {"users": {}, "devices": {}}
        assert await guest.refused("presence.status", users=users) == ("auth.required", None)
