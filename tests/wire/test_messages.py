"""channel.send and the push `message`: who may speak, who hears what, and what is told to who comes late or back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.wire.talk import Client, Message, connected
from tests.wire.tenant import Tenant, make_tenant
from tests.wire.test_channels import cut, join, make_event


async def say(client: Client, channel: str, event: str = "said", data: Any = None, **more: Any) -> Message:
    """Send a message; return the answer's data."""
    answer: Message = await client.ok("channel.send", channel=channel, event=event, data=data, **more)
    return answer


async def told(client: Client, channel: str) -> list[Message]:
    """Take and return the messages of a channel that came by now."""
    await client.settled()
    mine = [m for m in client.pushes if m["op"] == "message" and m["channel"] == channel]
    client.pushes = [m for m in client.pushes if m not in mine]
    return mine


def datas(messages: list[Message]) -> list[Any]:
    return [m["data"] for m in messages]


async def test_a_message_reaches_everybody_in_the_channel_with_its_offset_and_sender(
    tenant: Tenant, codec: str
) -> None:
    async with tenant.client("editor", codec) as one, tenant.client("viewer") as other, tenant.client("owner") as away:
        channel = f"event:{await make_event(one)}"
        for client in (one, other):
            await join(client, channel)
        (me,) = (await join(one, channel, {}))["members"]
        assert await say(one, channel, "said", {"text": "ü", "n": [1, None]}) == {"offset": 1}
        expected = {
            "op": "message",
            "channel": channel,
            "offset": 1,
            "event": "said",
            "data": {"text": "ü", "n": [1, None]},
            "from": {"kind": "device", "rec": me["rec"], "name": "editor", "session": one.hello["session"]},
        }
        assert await told(one, channel) == await told(other, channel) == [expected]
        assert await told(away, channel) == [], "who has not joined hears nothing"
        await other.ok("channel.leave", channel=channel)
        assert await say(one, channel) == {"offset": 2}
        assert await told(other, channel) == [], "nor who has left"


async def test_who_comes_back_gets_what_was_missed_once_and_in_order(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as one:
        channel = f"event:{await make_event(one)}"
        first = await join(one, channel)
        assert (first["offset"], first["recovered"]) == (0, False)
        async with tenant.client("viewer", codec) as other:
            await join(other, channel)
            for n in range(3):
                await say(one, channel, data=n)
            assert datas(await told(other, channel)) == [0, 1, 2]
            await cut(other)
        for n in range(3, 6):
            await say(one, channel, data=n)
        async with tenant.client("viewer", codec) as other:
            back = await other.ok("channel.join", channel=channel, recover={"epoch": first["epoch"], "offset": 3})
            assert (back["recovered"], back["offset"], back["epoch"]) == (True, 6, first["epoch"])
            assert [(m["offset"], m["data"], m["event"]) for m in back["messages"]] == [
                (4, 3, "said"),
                (5, 4, "said"),
                (6, 5, "said"),
            ]
            await say(one, channel, data=6)
            assert [(m["offset"], m["data"]) for m in await told(other, channel)] == [(7, 6)]
            nothing = await other.ok("channel.join", channel=channel, recover={"epoch": first["epoch"], "offset": 7})
            assert nothing["recovered"]
            assert "messages" not in nothing
            all_of_it = await other.ok("channel.join", channel=channel, recover={"epoch": first["epoch"], "offset": 0})
            assert datas(all_of_it["messages"]) == list(range(7))


async def test_a_place_of_another_epoch_or_no_longer_kept_is_not_recovered(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as one:
        channel = f"event:{await make_event(one)}"
        epoch = (await join(one, channel))["epoch"]
        for n in range(102):
            await say(one, channel, data=n)
        for recover, why in (
            ({"epoch": "another", "offset": 1}, "epoch"),
            ({"epoch": epoch, "offset": 103}, "epoch"),
            ({"epoch": epoch, "offset": 1}, "expired"),
        ):
            data = await one.ok("channel.join", channel=channel, recover=recover)
            assert (data["recovered"], data["why"], data["offset"], data.get("messages")) == (False, why, 102, None)
        data = await one.ok("channel.join", channel=channel, recover={"epoch": epoch, "offset": 2})
        assert (data["recovered"], len(data["messages"]), "why" in data) == (True, 100, False)
        assert await one.refused("channel.join", channel=channel, recover={"epoch": epoch, "offset": -1}) == (
            "data.invalid",
            "recover.offset",
        )


async def test_who_comes_late_gets_the_last_ones_where_the_namespace_says_so(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as one, tenant.client("viewer", codec) as late:
        for n in range(7):
            await say(one, "audience:hall", data=n)
        data = await join(late, "audience:hall")
        assert (datas(data["messages"]), data["offset"], data["recovered"]) == ([2, 3, 4, 5, 6], 7, False)
        assert "messages" not in await join(late, f"event:{await make_event(one)}")


async def test_a_message_that_has_expired_is_not_recovered_and_leaves_no_gap(tenant: Tenant) -> None:
    async with tenant.client("editor") as one, tenant.client("viewer") as other:
        channel = f"event:{await make_event(one)}"
        epoch = (await join(one, channel))["epoch"]
        await say(one, channel, data="short", ttl=0.05)
        await say(one, channel, data="long", ttl=600)
        recover = {"epoch": epoch, "offset": 0}
        assert datas(await told(one, channel)) == ["short", "long"]
        async with asyncio.timeout(5):
            while True:
                back = await other.ok("channel.join", channel=channel, recover=recover)
                assert back["recovered"]
                if datas(back["messages"]) == ["long"]:
                    break
        for ttl in (0, -1, 604_801, "1"):
            assert await one.refused("channel.send", channel=channel, event="a", data=1, ttl=ttl) == (
                "data.invalid",
                "ttl",
            )


async def test_without_echo_the_sender_is_not_told_but_answered_before_what_follows(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as one, tenant.client("editor", codec) as other:
        channel = f"event:{await make_event(one)}"
        epoch = (await join(one, channel))["epoch"]
        await join(other, channel)
        numbers = []
        for n in range(20):
            numbers.append(await one.send("channel.send", channel=channel, event="said", data=n, echo=False))
            await other.send("channel.send", channel=channel, event="said", data=n + 100)
        for number in numbers:
            await one.answer(number)
        while sum(m["op"] == "message" for m in other.log) < 40 or sum(m["op"] == "message" for m in one.log) < 20:
            await asyncio.gather(one.settled(), other.settled())
        assert [m["offset"] for m in other.log if m["op"] == "message"] == list(range(1, 41))
        seen = [m["offset"] if m["op"] == "message" else m["data"]["offset"] for m in one.log if _places(m, numbers)]
        assert seen == list(range(1, 41)), "the answers stand where the messages would"
        mine = {m["data"] for m in one.log if m["op"] == "message"}
        assert mine == set(range(100, 120))
        back = await one.ok("channel.join", channel=channel, recover={"epoch": epoch, "offset": 0})
        assert set(datas(back["messages"])) == mine, "nor when it recovers"


def _places(message: Message, numbers: list[int]) -> bool:
    return message["op"] == "message" or (message["op"] == "ok" and message["id"] in numbers)


async def test_a_message_for_one_reaches_that_one_alone_and_is_not_kept(tenant: Tenant, codec: str) -> None:
    token = await tenant.sign_in()
    url = tenant.process.socket_url
    async with (
        tenant.client("editor", codec) as one,
        tenant.client("viewer", codec) as other,
        connected(url, codec) as tab,
        connected(url, codec) as phone,
    ):
        for client in (tab, phone):
            await client.greet(token)
        channel = f"event:{await make_event(one)}"
        for client in (one, other, tab, phone):
            await join(client, channel, {})
        members = {m["name"]: m for m in (await join(one, channel, {}))["members"]}
        for to in (
            {"session": tab.hello["session"]},
            {"user": tab.hello["user"]},
            {"device": members["viewer"]["rec"]},
            {"user": members["viewer"]["rec"]},
            {"session": "nobody"},
        ):
            assert await say(one, channel, data=to, to=to) == {}
        heard = {name: await told(c, channel) for name, c in (("tab", tab), ("phone", phone), ("other", other))}
        assert {name: [*m["data"]] for name, ms in heard.items() for m in ms[:1]} == {
            "tab": ["session"],
            "phone": ["user"],
            "other": ["device"],
        }
        assert [len(ms) for ms in heard.values()] == [2, 1, 1]
        assert not any("offset" in m for ms in heard.values() for m in ms)
        assert await told(one, channel) == []
        assert await say(one, channel, data="all") == {"offset": 1}
        for to in ({}, {"session": "a", "user": "b"}):
            assert await one.refused("channel.send", channel=channel, event="a", data=1, to=to) == (
                "data.invalid",
                "to",
            )


async def test_a_channel_that_keeps_nothing_has_no_offsets_and_an_anonymous_one_no_sender(
    tenant: Tenant, codec: str
) -> None:
    async with tenant.client("editor", codec) as one, tenant.client("viewer", codec) as other:
        await join(one, "cursors:map")
        data = await join(other, "cursors:map")
        assert (data["offset"], data["members"], data["recovered"]) == (0, [], False)
        assert await say(one, "cursors:map", "moved", [1, 2]) == {}
        (push,) = await told(other, "cursors:map")
        assert push == {"op": "message", "channel": "cursors:map", "event": "moved", "data": [1, 2], "from": None}
        again = await other.ok("channel.join", channel="cursors:map", recover={"epoch": data["epoch"], "offset": 0})
        assert not again["recovered"], "messages may have been missed"
        assert await one.refused("channel.join", channel="cursors:map", presence={"state": {}}) == (
            "data.invalid",
            "presence",
        )


async def test_who_may_not_see_who_is_there_is_shown_nobody(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as editor, tenant.client("viewer", codec) as viewer:
        assert [m["name"] for m in (await join(editor, "audience:hall", {}))["members"]] == ["editor"]
        assert (await join(viewer, "audience:hall", {}))["members"] == []
        (event,) = (await editor.push("presence"))["events"]
        assert (event["kind"], event["member"]["name"]) == ("join", "viewer")
        await editor.ok("presence.update", channel="audience:hall", state={"n": 1})
        await say(editor, "audience:hall", data=1)
        assert [m["op"] for m in await viewer.settled() if m.get("channel") == "audience:hall"] == ["message"]
        await viewer.ok("channel.leave", channel="audience:hall")
        assert [e["kind"] for e in (await editor.push("presence", lambda m: m["version"] == 3))["events"]] == ["leave"]


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({"channel": "nowhere:a"}, "channel.unknown", "channel"),
        ({"channel": "event"}, "channel.unknown", "channel"),
        ({"channel": "cursors:"}, "channel.unknown", "channel"),
        ({"channel": "cursors:a b"}, "channel.unknown", "channel"),
        ({"channel": "Cursors:a"}, "channel.unknown", "channel"),
        ({"channel": "cursors:a\n"}, "channel.unknown", "channel"),
        ({"channel": "event:AAAAAAAAAAA"}, "channel.unknown", "channel"),
        ({"channel": "event_track:AAAAAAAAAAA"}, "access.denied", "channel"),
        ({"event": ""}, "data.invalid", "event"),
        ({"event": "1a"}, "data.invalid", "event"),
        ({"event": "a b"}, "data.invalid", "event"),
        ({"event": "a\n"}, "data.invalid", "event"),
        ({"event": "a" * 65}, "data.invalid", "event"),
        ({"data": "x" * 1023}, "message.too_large", "data"),
        ({"data": "ü" * 512}, "message.too_large", "data"),
        ({"echo": 1}, "data.invalid", "echo"),
        ({"to": {"account": "x"}}, "data.invalid", "to.account"),
        ({"to": "x"}, "data.invalid", "to"),
    ],
)
async def test_what_cannot_be_sent_is_refused_and_heard_by_nobody(
    shared: Tenant, codec: str, fields: Message, code: str, path: str
) -> None:
    async with shared.client("editor", codec) as one:
        await join(one, "cursors:a")
        good = {"channel": "cursors:a", "event": "said", "data": "x" * 1022}
        assert await one.refused("channel.send", **{**good, **fields}) == (code, path)
        assert await told(one, "cursors:a") == []
        await say(one, **good)
        assert len(await told(one, "cursors:a")) == 1


async def test_who_may_not_send_or_join_is_denied_without_effect(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as one, tenant.client("viewer", codec) as viewer:
        channel = f"event:{await make_event(one)}"
        await join(one, channel)
        await join(viewer, channel)
        for name in (channel, "audience:hall", "cursors:a"):
            refused = await viewer.refused("channel.send", channel=name, event="a", data=1)
            assert refused == ("access.denied", "channel")
        assert await told(one, channel) == []
        assert await say(one, channel) == {"offset": 1}
        async with connected(tenant.process.socket_url, codec) as guest:
            await guest.greet()
            assert (await guest.refused("channel.send", channel=channel, event="a", data=1))[0] == "auth.required"


async def test_a_channel_ends_with_its_record_and_begins_anew_with_it(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as one, tenant.client("viewer", codec) as other:
        event = await make_event(one)
        channel = f"event:{event}"
        before = await join(other, channel)
        await say(one, channel, data=1)
        await one.ok("record.delete", type="event", rec=event)
        assert (await other.push("reset"))["why"] == "ended"
        assert await one.refused("channel.send", channel=channel, event="a", data=1) == ("channel.unknown", "channel")
        assert await other.refused("channel.leave", channel=channel) == ("channel.unknown", "channel")
        await one.ok("record.restore", type="event", rec=event)
        after = await other.ok("channel.join", channel=channel, recover={"epoch": before["epoch"], "offset": 0})
        assert (after["recovered"], after["why"], after["offset"]) == (False, "epoch", 0)
        assert after["epoch"] != before["epoch"]


async def test_another_account_hears_nothing_of_a_channel_of_the_same_name(tenant: Tenant, codec: str) -> None:
    stranger = await make_tenant(tenant.process)
    async with tenant.client("editor", codec) as mine, stranger.client("editor", codec) as theirs:
        first, other = await join(mine, "audience:hall", {}), await join(theirs, "audience:hall", {})
        assert first["epoch"] != other["epoch"]
        await say(mine, "audience:hall", data="secret")
        await say(mine, "audience:hall", data="secret", to={"session": theirs.hello["session"]})
        assert await theirs.settled() == []
        back = await theirs.ok("channel.join", channel="audience:hall", recover={"epoch": first["epoch"], "offset": 0})
        assert (back["recovered"], back["offset"], "messages" in back) == (False, 0, False)


async def test_a_session_that_changes_its_account_hears_no_more(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as one, tenant.client("editor", codec) as other:
        await join(other, "audience:hall")
        await other.greet(tenant.keys["editor"])
        await say(one, "audience:hall", data=1)
        assert await told(other, "audience:hall") == []
