"""presence.roster, and what a join tells of a roster: all, some, how many, or nothing."""

from __future__ import annotations

import httpx
import pytest

from tests.wire.talk import Client, Message
from tests.wire.tenant import Tenant


async def event(client: Client) -> str:
    """Return the channel of a new event."""
    return f"event:{(await client.create('event', title='x'))['id']}"


async def seen(client: Client, channel: str, **more: object) -> Message:
    """Join, to be seen."""
    data: Message = await client.ok("channel.join", channel=channel, presence={"state": {}}, **more)
    return data


async def test_a_roster_is_read_in_pages_and_counted(tenant: Tenant, codec: str) -> None:
    async with (
        tenant.client("owner", codec) as one,
        tenant.client("editor", codec) as two,
        tenant.client("viewer", codec) as three,
    ):
        channel = await event(one)
        assert await one.ok("presence.roster", channel=channel) == {"members": []}
        assert await one.ok("presence.roster", channel=channel, count=True) == {"count": 0}
        for client in (one, two):
            await seen(client, channel)
        data = await seen(three, channel)
        assert "next" not in data
        first = await three.ok("presence.roster", channel=channel, limit=2)
        assert [m["name"] for m in first["members"]] == ["owner", "editor"]
        rest = await three.ok("presence.roster", channel=channel, limit=2, after=first["next"])
        assert [m["name"] for m in rest["members"]] == ["viewer"]
        assert set(rest) == {"members"}
        assert await three.ok("presence.roster", channel=channel) == {"members": data["members"]}
        assert await one.ok("presence.roster", channel=channel, count=True) == {"count": 3}
        async with httpx.AsyncClient(base_url=tenant.process.url, trust_env=False) as http:
            body = {"op": "presence.roster", "id": 1, "channel": channel, "count": True}
            answer = await http.post("/rpc", json=body, headers={"authorization": f"Bearer {tenant.keys['viewer']}"})
            assert answer.json()["data"] == {"count": 3}


async def test_a_join_says_of_whom_it_wants_to_hear(tenant: Tenant, codec: str) -> None:
    async with (
        tenant.client("owner", codec) as one,
        tenant.client("editor", codec) as two,
        tenant.client("viewer", codec) as three,
    ):
        channel = await event(one)
        (member,) = (await seen(one, channel))["members"]
        assert (await two.ok("channel.join", channel=channel, roster="none"))["members"] == []
        data = await two.ok("channel.join", channel=channel, roster="count")
        assert (data["members"], data["count"]) == ([], 1)
        only = {"devices": [member["rec"], "absent"], "users": [member["rec"]]}
        assert (await three.ok("channel.join", channel=channel, roster=only))["members"] == [member]
        async with tenant.client("editor", codec) as four:
            await seen(four, channel)
            push = await two.push("presence")
            assert {k: push[k] for k in ("version", "count")} == {"version": 1, "count": 2}
            await one.ok("channel.leave", channel=channel)
            push = await three.push("presence")
            assert [(e["kind"], e["member"]["name"]) for e in push["events"]] == [("leave", "owner")]
            await four.ok("channel.leave", channel=channel)
        push = await two.push("presence", lambda push: push["count"] == 0)
        assert await three.settled() == []


async def test_a_cursor_of_elsewhere_is_refused(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as client:
        channel = await event(client)
        instance = client.hello["server"]["instance"]
        for after in (
            "",
            "x",
            "1",
            f"{instance}.",
            f"{instance}.-1",
            f"{instance}.1x",
            "other.1",
            f"{instance}.{'9' * 20}",
        ):
            assert await client.refused("presence.roster", channel=channel, after=after) == ("cursor.invalid", "after")
        assert await client.ok("presence.roster", channel=channel, after=f"{instance}.5") == {"members": []}


@pytest.mark.parametrize(
    ("op", "fields", "code", "path"),
    [
        ("presence.roster", {"channel": "nope:x"}, "channel.unknown", "channel"),
        ("presence.roster", {"channel": "event:absent"}, "channel.unknown", "channel"),
        ("presence.roster", {"channel": "no name"}, "channel.unknown", "channel"),
        ("presence.roster", {"channel": "cursors:x"}, "data.invalid", "channel"),
        ("presence.roster", {"channel": "audience:x"}, "access.denied", "channel"),
        ("presence.roster", {"channel": "audience:x", "limit": 0}, "data.invalid", "limit"),
        ("presence.roster", {"channel": "audience:x", "limit": 1001}, "data.invalid", "limit"),
        ("presence.roster", {"channel": "audience:x", "after": "x" * 101}, "data.invalid", "after"),
        ("presence.roster", {}, "data.invalid", "channel"),
        ("channel.join", {"channel": "audience:x", "roster": "all"}, "data.invalid", "roster"),
        ("channel.join", {"channel": "audience:x", "roster": 5}, "data.invalid", "roster"),
        ("channel.join", {"channel": "audience:x", "roster": {"users": ["x"] * 501}}, "data.invalid", "roster.users"),
        ("channel.join", {"channel": "audience:x", "roster": {"all": True}}, "data.invalid", "roster.all"),
    ],
)
async def test_what_is_no_roster_is_refused_with_its_path(
    shared: Tenant, codec: str, op: str, fields: Message, code: str, path: str
) -> None:
    async with shared.client("viewer", codec) as client:
        assert await client.refused(op, **fields) == (code, path)


async def test_who_may_not_see_counts_nobody(shared: Tenant) -> None:
    async with shared.client("viewer") as client:
        data = await client.ok("channel.join", channel="audience:x", roster="count")
        assert (data["members"], "count" in data) == ([], False)
