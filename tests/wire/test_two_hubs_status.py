"""Who is in an account at all, at two hubs; last sights of those whose hub dies; hooks and wishes over both."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

import pytest

from hub.schema.times import parse_time
from tests.proofs.figures import report
from tests.wire.talk import Client, Message, connected
from tests.wire.test_two_hubs import Pair, pair
from tests.wire.visiting import cut

__all__ = ["pair"]


async def until(client: Client, rec: str, matches: Any, seconds: float = 10.0) -> Message:
    """Ask for the status of a device until it is as expected, and return it."""
    begun = time.monotonic()
    while True:
        found: Message = (await client.ok("presence.status", devices=[rec]))["devices"].get(rec, {})
        if matches(found):
            return found
        assert time.monotonic() - begun < seconds, found
        await asyncio.sleep(0.05)


async def device(client: Client) -> str:
    """Return under which id a key is shown."""
    channel = f"event:{(await client.create('event', title='x'))['id']}"
    (member,) = (await client.ok("channel.join", channel=channel, presence={"state": {}}))["members"]
    await client.ok("channel.leave", channel=channel)
    return str(member["rec"])


async def messages(client: Client, count: int, seconds: float = 25.0) -> list[Message]:
    """Return what was said in channels as soon as it is so much, and shortly after it."""
    async with asyncio.timeout(seconds):
        while len(said(client)) < count:
            await client.settled()
            await asyncio.sleep(0.05)
    await asyncio.sleep(1.5)
    await client.settled()
    return said(client)


def said(client: Client) -> list[Message]:
    return [p for p in client.pushes if p["op"] == "message" and not p["event"].startswith("$")]


async def wishing(client: Client, event: str, title: str) -> None:
    """Be seen in the channel of an event, and wish to rename it and to say so."""
    channel = f"event:{event}"
    await client.ok("channel.join", channel=channel, presence={"state": {}})
    wish = {"op": "record.update", "type": "event", "rec": event, "data": {"title": title}}
    word = {"op": "channel.send", "channel": channel, "event": "gone", "data": title}
    await client.ok("presence.update", channel=channel, on_drop=[wish, word])


async def test_who_is_at_one_hub_is_known_at_the_other(pair: Pair) -> None:
    async with pair.there.client("viewer") as asker, pair.tenant.client("editor") as kiosk:
        rec = await device(kiosk)
        await until(asker, rec, lambda found: found.get("status") == "active")
        await kiosk.ok("session.beat", status="idle", telemetry={"cpu": 7, "mode": "onsite"})
        found = await until(asker, rec, lambda found: found.get("telemetry"))
        assert (found["status"], found["telemetry"]) == ("idle", {"cpu": 7, "mode": "onsite"})
        event = (await kiosk.create("event", title="x"))["id"]
        await asker.ok("channel.join", channel=f"event:{event}")
        async with pair.there.client("editor", codec="msgpack") as other:
            await until(asker, rec, lambda found: found["status"] == "active")
            await wishing(kiosk, event, "dropped")
            before = (await kiosk.ok("session.beat"))["now"]
            await cut(kiosk)
            await other.ok("session.beat", status="away")
            await until(asker, rec, lambda found: found["status"] == "away")
        found = await until(asker, rec, lambda found: found["status"] == "offline", 20.0)
        assert found["last_seen"] >= before
        (message,) = await messages(asker, 1)
        assert (message["data"], message["from"]["session"]) == ("dropped", None)
        record = await asker.ok("record.get", type="event", rec=event)
        assert (record["title"], record["version"], record["updated_by"]) == ("dropped", 2, rec)


@pytest.mark.timeout(60)
async def test_whose_hub_is_killed_was_last_seen_then_and_has_wished_something(pair: Pair) -> None:
    async with pair.there.client("viewer") as asker:
        third = await asyncio.to_thread(pair.start, "third")
        async with connected(third.socket_url) as kiosk:
            await kiosk.greet(pair.tenant.keys["editor"])
            rec = await device(kiosk)
            event = (await kiosk.create("event", title="x"))["id"]
            await asker.ok("channel.join", channel=f"event:{event}")
            await wishing(kiosk, event, "killed")
            await until(asker, rec, lambda found: found.get("status") == "active")
            await asyncio.sleep(2.5)  # until the others know the wish: what they miss shows by the next beat
            before = (await kiosk.ok("session.beat"))["now"]
            third.signal(signal.SIGKILL)
            await asyncio.to_thread(third.wait)
            begun = time.monotonic()
            await until(asker, rec, lambda found: found.get("status") == "away", 6.0)
            # Until the hub that sweeps has stored it, the others answer what was stored before, if anything was.
            found = await until(asker, rec, lambda found: found.get("status", "offline") == "offline", 18.0)
            took = time.monotonic() - begun

            def late(found: Message) -> float:
                return (parse_time(found["last_seen"]) - parse_time(before)).total_seconds()

            # It was heard of each second; until the hub that sweeps has stored it, an older sight is answered.
            found = await until(asker, rec, lambda found: "last_seen" in found and late(found) > -1.5, 5.0)
            assert late(found) <= 6, "when it was last heard of, not when that was noticed"
        (message,) = await messages(asker, 1)
        assert message["data"] == "killed"
        record = await asker.ok("record.get", type="event", rec=event)
        assert (record["title"], record["version"], record["updated_by"]) == ("killed", 2, rec)
        report("two-hubs-status", f"a device of a killed hub was offline {took:.1f} s after its death")
