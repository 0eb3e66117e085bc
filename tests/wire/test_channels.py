"""channel.join, channel.leave, presence.update: who is here, as truly as a socket can tell."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.wire.talk import Client, Message, connected
from tests.wire.tenant import Tenant, make_tenant


async def make_event(client: Client, acronym: str = "a") -> str:
    return str((await client.create("event", title="A", acronym=acronym))["id"])


async def join(client: Client, channel: str, state: Any = None) -> Message:
    """Join, visible where a state is given."""
    presence = {} if state is None else {"presence": {"state": state}}
    data: Message = await client.ok("channel.join", channel=channel, **presence)
    return data


async def cut(client: Client) -> None:
    """Break a socket off without a word."""
    client.socket.transport.abort()
    await client.socket.wait_closed()


async def test_a_join_answers_who_is_there_and_tells_the_others(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as one, tenant.client("viewer", codec) as other:
        channel = f"event:{await make_event(one)}"
        data = await join(one, channel, {"page": 1})
        assert set(data) == {"members", "version", "epoch", "offset", "recovered"}
        assert (data["version"], data["offset"], data["recovered"]) == (0, 0, False)
        (me,) = data["members"]
        assert set(me) == {"kind", "rec", "name", "status", "since", "sessions"}
        assert (me["kind"], me["name"], me["status"]) == ("device", "editor", "active")
        (session,) = me["sessions"]
        assert session == {
            "session": one.hello["session"],
            "state": {"page": 1},
            "status": "active",
            "since": me["since"],
        }
        seen = await join(other, channel, {})
        assert [m["name"] for m in seen["members"]] == ["editor", "viewer"]
        push = await one.push("presence")
        assert (push["channel"], push["version"]) == (channel, 1)
        (event,) = push["events"]
        assert (event["kind"], event["member"]["name"]) == ("join", "viewer")
        await other.ok("session.beat")
        assert [m for m in other.pushes if m["op"] == "presence"] == [], "nobody is told of themselves joining"


async def test_versions_count_the_pushes_of_one_join(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as one, tenant.client("viewer", codec) as other:
        channel = f"event:{await make_event(one)}"
        await join(one, channel)
        await join(other, channel, {})
        for n in range(3):
            assert await other.ok("presence.update", channel=channel, state={"n": n}) in ({}, None)
        await other.ok("channel.leave", channel=channel)
        pushes = [await one.push("presence") for _ in range(5)]
        assert [p["version"] for p in pushes] == [1, 2, 3, 4, 5]
        assert [p["events"][0]["kind"] for p in pushes] == ["join", "update", "update", "update", "leave"]
        assert pushes[3]["events"][0]["member"]["sessions"][0]["state"] == {"n": 2}
        again = await join(one, channel)
        assert (again["version"], again["members"]) == (0, [])


async def test_one_who_only_listens_is_not_seen(tenant: Tenant) -> None:
    async with tenant.client("editor") as one, tenant.client("viewer") as other:
        channel = f"event:{await make_event(one)}"
        assert (await join(one, channel))["members"] == []
        assert (await join(other, channel))["members"] == []
        await one.settled()
        assert one.pushes == []
        assert await one.refused("presence.update", channel=channel, state={}) == ("channel.unknown", "channel")


async def test_a_session_is_shown_with_the_status_that_it_declared_last(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as one, tenant.client("viewer", codec) as other:
        first, second = [f"event:{await make_event(one, acronym)}" for acronym in ("first", "second")]
        await join(other, first)
        await one.ok("session.beat", status="away")
        assert [m["status"] for m in (await join(one, first, {}))["members"]] == ["away"]
        await one.ok("session.beat", status="idle")
        await one.ok("session.beat")
        for channel in (second, first):
            assert [m["status"] for m in (await join(one, channel, {}))["members"]] == ["idle"], channel
        await cut(one)
        async with connected(tenant.process.socket_url, codec) as back:
            events = [(await other.push("presence"))["events"][0] for _ in range(3)]
            await back.greet(tenant.keys["editor"], resume=one.hello["resume"])
            assert (await join(back, first, {}))["members"][0]["status"] == "idle"
            events.append((await other.push("presence"))["events"][0])
            assert [e["member"]["status"] for e in events] == ["away", "idle", "away", "idle"]
            await other.settled()
            assert [m for m in other.pushes if m["op"] == "presence"] == [], "joining again was no news"


async def test_several_sessions_of_one_user_are_one_member(tenant: Tenant) -> None:
    token = await tenant.sign_in()
    url = tenant.process.socket_url
    async with connected(url) as first, connected(url) as second, tenant.client("viewer") as other:
        await first.greet(token)
        await second.greet(token)
        channel = f"event:{await make_event(first)}"
        await join(other, channel)
        await join(first, channel, {"n": 1})
        assert len((await join(second, channel, {"n": 2}))["members"][0]["sessions"]) == 2
        await first.ok("session.beat", status="idle")
        await second.ok("session.beat", status="away")
        await second.ok("channel.leave", channel=channel)
        await first.ok("channel.leave", channel=channel)
        events = [(await other.push("presence"))["events"][0] for _ in range(6)]
        assert [e["kind"] for e in events] == ["join", "update", "update", "update", "update", "leave"]
        assert [e["member"]["status"] for e in events][:4] == ["active", "active", "active", "idle"]
        assert {e["member"]["rec"] for e in events} == {first.hello["user"]}
        assert [len(e["member"]["sessions"]) for e in events[:5]] == [1, 2, 2, 2, 1]


async def test_a_clean_end_of_the_socket_leaves_at_once(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as one:
        channel = f"event:{await make_event(one)}"
        await join(one, channel)
        async with tenant.client("viewer", codec) as other:
            await join(other, channel, {})
        kinds = [(await one.push("presence"))["events"][0]["kind"] for _ in range(2)]
        assert kinds == ["join", "leave"]


async def test_a_cut_shows_away_and_coming_back_shows_active_without_leaving(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as one:
        channel = f"event:{await make_event(one)}"
        await join(one, channel)
        async with tenant.client("viewer", codec) as other:
            await join(other, channel, {"n": 1})
            await cut(other)
        events = [(await one.push("presence"))["events"][0] for _ in range(2)]
        assert [(e["kind"], e["member"]["status"]) for e in events] == [("join", "active"), ("update", "away")]
        async with tenant.client("viewer", codec, resume=other.hello["resume"]) as back:
            (event,) = (await one.push("presence"))["events"]
            assert (event["kind"], event["member"]["status"]) == ("update", "active")
            assert (await join(back, channel, {"n": 1}))["members"][0]["since"] == events[0]["member"]["since"]
            await one.settled()
            assert [m for m in one.pushes if m["op"] == "presence"] == [], "the same again is no news"


async def test_after_the_grace_a_cut_session_leaves_once(tenant: Tenant) -> None:
    async with tenant.client("editor") as one:
        channel = f"event:{await make_event(one)}"
        await join(one, channel)
        async with tenant.client("viewer") as other:
            await join(other, channel, {})
            await cut(other)
            begun = asyncio.get_running_loop().time()
        assert [(await one.push("presence"))["events"][0]["kind"] for _ in range(2)] == ["join", "update"]
        async with asyncio.timeout(15):
            while not any(m["op"] == "presence" for m in one.pushes):
                await one.ok("session.beat")
                await asyncio.sleep(0.1)
        assert 8.5 < asyncio.get_running_loop().time() - begun < 13
        assert (await one.push("presence"))["events"][0]["kind"] == "leave"
        assert (await join(one, channel))["members"] == []


async def test_a_channel_ends_where_its_account_ends(tenant: Tenant) -> None:
    stranger = await make_tenant(tenant.process)
    async with tenant.client("editor") as mine, stranger.client("editor") as theirs:
        event = await make_event(mine)
        missing = "AAAAAAAAAAA"
        answers = [await theirs.call("channel.join", channel=f"event:{rec}") for rec in (event, missing)]
        assert {(a["code"], a["path"], a["message"]) for a in answers} == {
            ("channel.unknown", "channel", answers[0]["message"])
        }


@pytest.mark.parametrize(
    ("op", "fields", "code", "path"),
    [
        ("channel.join", {"channel": "event"}, "channel.unknown", "channel"),
        ("channel.join", {"channel": "event:"}, "channel.unknown", "channel"),
        ("channel.join", {"channel": ":x"}, "channel.unknown", "channel"),
        ("channel.join", {"channel": "Event:x"}, "channel.unknown", "channel"),
        ("channel.join", {"channel": "event:a/b"}, "channel.unknown", "channel"),
        ("channel.join", {"channel": "event:x\n"}, "channel.unknown", "channel"),
        ("channel.join", {"channel": "nope:x"}, "channel.unknown", "channel"),
        ("channel.join", {"channel": "event:" + "x" * 65}, "channel.unknown", "channel"),
        ("channel.join", {"channel": "event:" + "x" * 200}, "data.invalid", "channel"),
        ("channel.join", {"channel": "api_key:x"}, "access.denied", "channel"),
        ("channel.join", {}, "data.invalid", "channel"),
        ("channel.join", {"channel": "event:EVENT", "presence": {"state": []}}, "data.invalid", "presence.state"),
        ("channel.join", {"channel": "event:EVENT", "presence": {"x": 1}}, "data.invalid", "presence.x"),
        (
            "channel.join",
            {"channel": "event:EVENT", "presence": {"state": {"a": "x" * 4096}}},
            "state.too_large",
            "presence.state",
        ),
        ("channel.leave", {"channel": "event:EVENT"}, "channel.unknown", "channel"),
        ("presence.update", {"channel": "event:EVENT", "state": {}}, "channel.unknown", "channel"),
        ("presence.update", {"channel": "event:EVENT", "state": 5}, "data.invalid", "state"),
    ],
)
async def test_what_is_no_channel_is_refused_with_its_path(
    shared: Tenant, codec: str, op: str, fields: Message, code: str, path: str | None
) -> None:
    async with shared.client("editor", codec) as client:
        data = {"title": "T", "acronym": "taken"}
        event = (await client.ok("record.upsert", type="event", data=data, match=["acronym"]))["id"]
        if "channel" in fields:
            fields = {**fields, "channel": fields["channel"].replace("EVENT", event)}
        assert await client.refused(op, **fields) == (code, path)


async def test_a_state_may_have_four_kibibytes(editor: Client) -> None:
    channel = f"event:{await make_event(editor)}"
    await join(editor, channel, {"a": "x" * (4096 - len('{"a":""}'))})
    assert await editor.refused("presence.update", channel=channel, state={"a": "x" * 4096}) == (
        "state.too_large",
        "state",
    )
    assert await editor.refused("presence.update", channel=channel, state={"a": "ü" * 2048}) == (
        "state.too_large",
        "state",
    )
