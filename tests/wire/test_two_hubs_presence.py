"""Who is here, at two hubs: one roster for both, sessions that go from one to the other, a Redis that dies.

Hubs that are killed, a thousand cuts and a Redis that stands still are in tests/proofs/test_presence.py.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from hub.wire import close
from tests.proofs.figures import report
from tests.wire.talk import Client, Message, connected
from tests.wire.test_two_hubs import Pair, both, pair

__all__ = ["pair"]

BACK_SECONDS = 5.0
"""How long after Redis is back rosters may be wrong."""


async def join(client: Client, channel: str, state: Any = None) -> list[Message]:
    """Join, visible where a state is given; return the members."""
    presence = {} if state is None else {"presence": {"state": state}}
    members: list[Message] = (await client.ok("channel.join", channel=channel, **presence))["members"]
    return members


async def event(client: Client) -> str:
    """Return the channel of a new event."""
    return f"event:{(await client.create('event', title='x'))['id']}"


async def heard(client: Client, count: int) -> list[tuple[str, str, str, int]]:
    """Return what a client is told next of members: kind of event, name, status, number of sessions."""
    found: list[tuple[str, str, str, int]] = []
    while len(found) < count:
        for told in (await client.push("presence"))["events"]:
            member = told["member"]
            found.append((told["kind"], member["name"], member["status"], len(member["sessions"])))
    return found


async def until_members(client: Client, channel: str, names: list[str], seconds: float = 8.0) -> float:
    """Join until these are the members; return after how many seconds they were."""
    begun = time.monotonic()
    members = await join(client, channel)
    while sorted(m["name"] for m in members) != sorted(names):
        assert time.monotonic() - begun < seconds, [(m["name"], m["status"]) for m in members]
        await asyncio.sleep(0.05)
        members = await join(client, channel)
    return time.monotonic() - begun


async def cut(client: Client) -> None:
    """Break a socket off without a word."""
    client.socket.transport.abort()
    await client.socket.wait_closed()


async def nothing_more(*clients: Client) -> None:
    """Whoever is asked has been told nothing more of members."""
    await asyncio.sleep(0.3)
    for client in clients:
        assert [push for push in await client.settled() if push["op"] == "presence"] == []


async def test_both_hubs_show_one_roster(pair: Pair, codec: str) -> None:
    async with both(pair, codec) as (here, there), pair.there.client("viewer", codec) as seer:
        channel = await event(here)
        assert await join(seer, channel) == []
        await join(here, channel, {"n": 1})
        assert await heard(seer, 1) == [("join", "editor", "active", 1)]
        (member,) = await join(there, channel)
        assert member["sessions"][0]["session"] == here.hello["session"]
        await join(there, channel, {"n": 2})
        await there.ok("session.beat", status="idle")
        await here.ok("presence.update", channel=channel, state={"n": 3})
        assert await heard(seer, 3) == [("update", "editor", "active", 2)] * 3
        (member,) = await join(seer, channel)
        assert {s["session"]: (s["state"], s["status"]) for s in member["sessions"]} == {
            here.hello["session"]: ({"n": 3}, "active"),
            there.hello["session"]: ({"n": 2}, "idle"),
        }
        await here.ok("channel.leave", channel=channel)
        assert await heard(seer, 1) == [("update", "editor", "idle", 1)]
        await there.ok("channel.leave", channel=channel)
        assert await heard(seer, 1) == [("leave", "editor", "idle", 1)]


async def test_a_session_comes_back_at_the_other_hub_and_nobody_sees_it_leave(pair: Pair, codec: str) -> None:
    async with pair.tenant.client("editor", codec) as here, pair.there.client("viewer", codec) as seer:
        channel = await event(here)
        await join(here, channel)
        await join(seer, channel)
        url = pair.hubs[0].socket_url
        async with connected(url, codec) as one:
            await one.greet(pair.tenant.keys["owner"])
            since = (await join(one, channel, {"n": 1}))[0]["since"]
            await one.ok("session.beat", status="idle")
            await heard(seer, 2)
            await cut(one)
        assert await heard(seer, 1) == [("update", "owner", "away", 1)]
        async with connected(pair.hubs[1].socket_url, codec) as back:
            await back.greet(resume=one.hello["resume"])
            assert back.hello["session"] == one.hello["session"]
            assert back.hello["resume"] != one.hello["resume"]
            assert await heard(seer, 1) == [("update", "owner", "idle", 1)]
            members = await join(back, channel, {"n": 1})
            assert [(m["since"], m["sessions"][0]["since"]) for m in members] == [(since, since)]
            async with connected(url, codec) as thief:
                assert (await thief.greet(pair.tenant.keys["owner"], resume=one.hello["resume"]))["session"] not in {
                    one.hello["session"]
                }, "a secret is good for once"
            async with connected(url, codec) as again:
                await again.greet(resume=back.hello["resume"])
                assert again.hello["session"] == one.hello["session"]
                assert await back.closed() == close.RESUMED.code
                assert await join(again, channel, {"n": 1}) == members
                await nothing_more(seer)
        assert await heard(seer, 1) == [("leave", "owner", "idle", 1)]


async def test_who_may_not_come_in_any_more_does_not_come_back_elsewhere(pair: Pair) -> None:
    async with pair.tenant.client("owner") as owner:
        issued = await owner.ok("action.call", action="api_key.issue", args={"role": "editor", "name": "short"})
        pair.hubs[0].secrets.add(issued["key"])
        async with connected(pair.hubs[0].socket_url) as client:
            await client.greet(issued["key"])
            secret, session = client.hello["resume"], client.hello["session"]
            await cut(client)
            await owner.ok("record.delete", type="api_key", rec=issued["id"])
        async with connected(pair.hubs[1].socket_url) as client:
            answer = await client.call("session.hello", resume=secret)
            # The other hub may have heard that the session ended; then this is a guest's.
            if answer["op"] == "error":
                assert (answer["code"], answer["path"]) == ("auth.invalid", "resume")
            else:
                assert answer["data"]["session"] != session
                assert answer["data"]["account"] is None
    for hub in pair.hubs:
        assert secret not in hub.log


async def test_redis_may_die_and_forget_and_nobody_leaves(pair: Pair) -> None:
    async with both(pair) as (here, there), pair.there.client("viewer") as seer:
        channel = await event(here)
        await join(here, channel, {})
        await until_members(seer, channel, ["editor"])
        seer.pushes.clear()
        await asyncio.to_thread(pair.redis.run, "FLUSHALL")
        await asyncio.to_thread(pair.redis.kill)
        async with pair.tenant.client("owner") as late:
            await join(late, channel, {})
            await join(there, channel, {})
            await here.ok("presence.update", channel=channel, state={"n": 5})
            await asyncio.sleep(4)
            await asyncio.to_thread(pair.redis.start)
            seconds = await until_members(seer, channel, ["editor", "owner"], BACK_SECONDS)
            report("two-hubs-presence", f"rosters right {seconds:.2f} s after Redis was back")
            (member,) = [m for m in await join(seer, channel) if m["name"] == "editor"]
            assert {"n": 5} in [s["state"] for s in member["sessions"]]
            kinds = [e["kind"] for p in await seer.settled() if p["op"] == "presence" for e in p["events"]]
            assert "leave" not in kinds


async def test_a_hub_that_stops_lets_its_sessions_come_back_elsewhere(pair: Pair) -> None:
    third = await asyncio.to_thread(pair.start, "stops")
    async with pair.there.client("viewer") as seer, AsyncExitStack() as stack:
        channel = await event_of(pair)
        await join(seer, channel)
        clients = [
            await stack.enter_async_context(replace(pair.tenant, process=third).client(n)) for n in ("owner", "editor")
        ]
        for client in clients:
            await join(client, channel, {})
        await heard(seer, 2)
        await asyncio.to_thread(third.stop)
        assert sorted(await heard(seer, 2)) == [("update", "editor", "away", 1), ("update", "owner", "away", 1)]
        back = await stack.enter_async_context(connected(pair.hubs[0].socket_url))
        await back.greet(resume=clients[0].hello["resume"])
        assert await heard(seer, 1) == [("update", "owner", "active", 1)]
        await join(back, channel, {})
        await nothing_more(seer)


async def event_of(pair: Pair) -> str:
    """Return the channel of a new event."""
    async with pair.tenant.client("editor") as client:
        return await event(client)
