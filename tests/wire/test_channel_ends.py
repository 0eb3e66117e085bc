"""What ends a stay in a channel, and what joining again changes: seen by somebody who stays."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.wire.talk import Client, Message, connected
from tests.wire.tenant import Tenant, make_tenant
from tests.wire.test_channels import cut, join, make_event

AT_ONCE_SECONDS = 2.0
"""How long an end that nobody has to wait for may take; a broken socket is away for ten seconds."""


async def kinds(client: Client, count: int) -> list[str]:
    """Take so many presence pushes; return the kinds of their events, and fail where there are more."""
    events = [(await client.push("presence"))["events"][0] for _ in range(count)]
    await client.settled()
    assert [m for m in client.pushes if m["op"] == "presence"] == []
    return [event["kind"] for event in events]


async def test_joining_again_replaces_the_state_and_counts_anew(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as one, tenant.client("viewer", codec) as other:
        channel = f"event:{await make_event(one)}"
        first = await join(one, channel, {"n": 1})
        await join(other, channel, {"n": 1})
        assert (await one.push("presence"))["version"] == 1
        again = await join(one, channel, {"n": 2})
        assert (again["version"], again["epoch"]) == (0, first["epoch"])
        me, _ = again["members"]
        assert me["since"] == first["members"][0]["since"]
        assert me["sessions"] == [{**first["members"][0]["sessions"][0], "state": {"n": 2}}]
        push = await other.push("presence")
        assert (push["version"], [e["kind"] for e in push["events"]]) == (1, ["update"])
        assert push["events"][0]["member"]["sessions"] == me["sessions"]
        await other.ok("presence.update", channel=channel, state={"n": 3})
        assert (await one.push("presence"))["version"] == 1, "what is pushed after a second join is its first push"
        await one.ok("channel.leave", channel=channel)
        assert await one.refused("channel.leave", channel=channel) == ("channel.unknown", "channel"), "not counted"
        assert await kinds(other, 2) == ["update", "leave"]


async def test_who_left_hears_nothing_more_and_is_no_longer_shown(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as one, tenant.client("viewer", codec) as other:
        channel = f"event:{await make_event(one)}"
        await join(one, channel, {})
        await join(other, channel, {})
        await one.ok("channel.leave", channel=channel)
        for fields in ({"state": {"n": 1}}, {}):
            assert await one.refused("presence.update", channel=channel, **fields) == ("channel.unknown", "channel")
        await other.ok("presence.update", channel=channel, state={"n": 1})
        assert await kinds(one, 1) == ["join"]
        assert await kinds(other, 2) == ["leave", "update"]
        assert [m["name"] for m in (await join(other, channel, {}))["members"]] == ["viewer"]


async def test_a_channel_is_heard_alone(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as one, tenant.client("viewer", codec) as other:
        here, there = [f"event:{await make_event(one, acronym)}" for acronym in ("here", "there")]
        await join(one, here)
        await join(other, there, {})
        await join(other, here, {})
        await other.ok("presence.update", channel=there, state={"n": 1})
        await other.ok("channel.leave", channel=there)
        assert await kinds(one, 1) == ["join"]


async def test_a_hello_into_another_account_ends_a_stay_at_once(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as one, tenant.client("viewer", codec) as other:
        channel = f"event:{await make_event(one)}"
        await join(one, channel)
        await join(other, channel, {})
        await other.greet(tenant.keys["viewer"])
        begun = asyncio.get_running_loop().time()
        assert await kinds(one, 2) == ["join", "leave"]
        assert asyncio.get_running_loop().time() - begun < AT_ONCE_SECONDS
        assert await other.refused("presence.update", channel=channel, state={}) == ("channel.unknown", "channel")
        await join(one, channel, {})
        assert [m for m in await other.settled() if m["op"] == "presence"] == []


async def test_a_withdrawn_key_is_no_longer_shown_at_once(tenant: Tenant, codec: str) -> None:
    async with tenant.client("owner", codec) as one, tenant.client("viewer", codec) as other:
        channel = f"event:{await make_event(one)}"
        await join(one, channel)
        await join(other, channel, {})
        (key,) = (await one.ok("record.find", type="api_key", where={"name": "viewer"}))["records"]
        begun = asyncio.get_running_loop().time()
        await one.ok("record.delete", type="api_key", rec=key["id"])
        assert await other.closed() == 4505
        assert await kinds(one, 2) == ["join", "leave"]
        assert asyncio.get_running_loop().time() - begun < AT_ONCE_SECONDS
        assert (await join(one, channel))["members"] == []


async def test_of_two_sessions_that_break_off_the_member_goes_by_the_one_that_lives(tenant: Tenant) -> None:
    token = await tenant.sign_in()
    url = tenant.process.socket_url
    async with connected(url) as first, connected(url) as second, tenant.client("viewer") as other:
        await first.greet(token)
        await second.greet(token)
        channel = f"event:{await make_event(first)}"
        await join(other, channel)
        await join(first, channel, {})
        await join(second, channel, {})
        await first.ok("session.beat", status="idle")
        await cut(second)
        events = [(await other.push("presence"))["events"][0] for _ in range(4)]
        assert [e["kind"] for e in events] == ["join", "update", "update", "update"]
        assert [e["member"]["status"] for e in events] == ["active", "active", "active", "idle"]
        (one, two) = events[-1]["member"]["sessions"]
        assert (one["status"], two["status"]) == ("idle", "away")


async def test_where_two_accounts_are_in_their_channels_neither_sees_the_other(tenant: Tenant, codec: str) -> None:
    stranger = await make_tenant(tenant.process)
    async with tenant.client("editor", codec) as mine, stranger.client("editor", codec) as theirs:
        events = {client: f"event:{await make_event(client)}" for client in (mine, theirs)}
        for client, channel in events.items():
            assert [m["rec"] for m in (await join(client, channel, {"n": 1}))["members"]] != []
        for client, channel in ((mine, events[theirs]), (theirs, events[mine])):
            asked: dict[str, dict[str, Any]] = {
                "channel.join": {"presence": {"state": {}}},
                "channel.leave": {},
                "presence.update": {"state": {"n": 2}},
            }
            for op, fields in asked.items():
                assert await client.refused(op, channel=channel, **fields) == ("channel.unknown", "channel")
        for client, channel in events.items():
            await client.ok("presence.update", channel=channel, state={"n": 3})
            (member,) = (await join(client, channel, {"n": 3}))["members"]
            assert [s["session"] for s in member["sessions"]] == [client.hello["session"]]
        for client, channel in events.items():
            told = [m for m in await client.settled() if m["op"] == "presence"]
            assert [(m["channel"], m["version"]) for m in told] == [(channel, 1)], "of the own update, and no more"


async def test_the_channel_of_a_deleted_record_ends(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as one, tenant.client("viewer", codec) as other:
        rec = await make_event(one)
        channel, beside = f"event:{rec}", f"event:{await make_event(one, 'beside')}"
        await join(one, beside, {})
        await join(one, channel)
        await join(other, channel, {"n": 1})
        assert await kinds(one, 1) == ["join"]
        await one.ok("record.delete", type="event", rec=rec)
        for client, version in ((one, 2), (other, 1)):
            push = await client.push("presence")
            assert (push["channel"], push["version"]) == (channel, version)
            assert [(e["kind"], e["member"]["name"]) for e in push["events"]] == [("leave", "viewer")]
        for client in (one, other):
            assert await client.refused("presence.update", channel=channel, state={}) == ("channel.unknown", "channel")
            for op in ("presence.update", "channel.leave", "channel.join"):
                assert await client.refused(op, channel=channel) == ("channel.unknown", "channel")
        await other.ok("session.beat", status="idle")
        for client in (one, other):
            assert [m for m in await client.settled() if m["op"] == "presence"] == []
        await one.ok("presence.update", channel=beside, state={"n": 1})
        assert await kinds(one, 1) == ["update"], "other channels go on"


async def test_a_broken_off_member_of_a_channel_that_ended_is_not_there_when_it_comes_back(tenant: Tenant) -> None:
    async with tenant.client("editor") as one, tenant.client("viewer") as other:
        rec = await make_event(one)
        await join(one, f"event:{rec}")
        await join(other, f"event:{rec}", {})
        await cut(other)
        assert await kinds(one, 2) == ["join", "update"]
        await one.ok("record.delete", type="event", rec=rec)
        assert await kinds(one, 1) == ["leave"]
        async with connected(tenant.process.socket_url) as back:
            await back.greet(tenant.keys["viewer"], resume=other.hello["resume"])
            assert back.hello["session"] == other.hello["session"]
            assert [m for m in await one.settled() if m["op"] == "presence"] == []


async def test_a_role_that_may_not_read_the_records_joins_none_of_their_channels(tenant: Tenant, codec: str) -> None:
    async with tenant.client("owner", codec) as owner, tenant.client("viewer", codec) as viewer:
        (key,) = (await owner.ok("record.find", type="api_key", where={"name": "viewer"}))["records"]
        channel = f"api_key:{key['id']}"
        await join(owner, channel, {})
        answers: list[Message] = []
        for rec in (key["id"], "AAAAAAAAAAA"):
            answers.append(await viewer.call("channel.join", channel=f"api_key:{rec}", presence={"state": {}}))
        (said,) = {(a["code"], a["message"], str(a["details"])) for a in answers}
        assert said[0] == "access.denied"
        assert "'needs': 'api_key.read'" in said[2]
        assert [m["name"] for m in (await join(owner, channel, {}))["members"]] == ["owner"]


async def test_a_socket_joins_a_hundred_channels(tenant: Tenant) -> None:
    async with tenant.client("editor") as editor:
        ops: list[dict[str, Any]] = [
            {"op": "record.create", "type": "event", "data": {"title": "A", "acronym": str(n)}} for n in range(101)
        ]
        made = [r["id"] for r in (await editor.ok("record.batch", ops=ops))["results"]]
        for rec in made[:100]:
            await join(editor, f"event:{rec}")
        refused = await editor.call("channel.join", channel=f"event:{made[100]}")
        assert (refused["code"], refused["retry_after"]) == ("rate.limited", 1)
        await join(editor, f"event:{made[0]}")
        await editor.ok("channel.leave", channel=f"event:{made[0]}")
        await join(editor, f"event:{made[100]}")


async def test_who_comes_back_into_the_same_epoch_is_told_that_nothing_was_missed(editor: Client) -> None:
    channel = f"event:{await make_event(editor)}"
    epoch = (await join(editor, channel))["epoch"]
    for recover, recovered in (({"epoch": epoch, "offset": 0}, True), ({"epoch": "another", "offset": 0}, False)):
        assert (await editor.ok("channel.join", channel=channel, recover=recover))["recovered"] is recovered
