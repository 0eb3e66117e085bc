"""Wishes: what a client has registered to be done in its name when it vanishes (`on_drop`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from handlers import people
from tests.wire.inside import Inside
from tests.wire.talk import Message, connected
from tests.wire.tenant import Tenant
from tests.wire.visiting import GRACE, Place, cut, join, opened, title, with_short_grace


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inside]:
    hub = with_short_grace(tmp_path, monkeypatch)
    yield hub
    hub.close()


@pytest.fixture
async def place(inside: Inside) -> AsyncIterator[Place]:
    async with opened(inside) as found:
        yield found


def rename(event: str, to: str) -> Message:
    return {"op": "record.update", "type": "event", "rec": event, "data": {"title": to}}


async def test_who_vanishes_has_wished_something_once(place: Place, codec: str) -> None:
    rec, key = await place.key("editor")
    async with place.client(codec=codec) as watcher, place.client(key, codec) as one:
        await watcher.ok("channel.join", channel=place.channel)
        watch = (await watcher.ok("watch.start", type="event"))["watch"]
        await join(one, place.channel)
        words = {"op": "channel.send", "channel": place.channel, "event": "gone", "data": {"n": 1}}
        await one.ok("presence.update", channel=place.channel, on_drop=[words, rename(place.event, "dropped")])
        await cut(one)
        message = await watcher.push("message")
        assert (message["event"], message["data"], message["from"]["rec"]) == ("gone", {"n": 1}, rec)
        change = await watcher.push("change", lambda push: push["watch"] == watch and "dropped" in str(push))
        assert change["events"][0]["patch"]["updated_by"] == rec
        record = await watcher.ok("record.get", type="event", rec=place.event)
        assert (record["title"], record["version"], record["updated_by"]) == ("dropped", 2, rec)
        await asyncio.sleep(0.1)
        assert [push for push in watcher.pushes if push["op"] == "message"] == []


@pytest.mark.parametrize("how", ["leave", "close", "switch", "taken back", "replaced", "come back"])
async def test_who_goes_in_order_has_wished_nothing(place: Place, how: str) -> None:
    _, key = await place.key("editor")
    channel = "audience:x"
    async with place.client(key) as one, place.client() as watcher:
        await join(one, channel)
        await one.ok("presence.update", channel=channel, on_drop=[rename(place.event, "dropped")])
        if how == "leave":
            await one.ok("channel.leave", channel=channel)
        elif how == "close":
            await one.socket.close()
        elif how == "switch":
            await one.greet((await place.inside.make_account("two"))[1])
        elif how == "taken back":
            await one.ok("presence.update", channel=channel, on_drop=None)
        elif how == "replaced":
            await one.ok("presence.update", channel=channel, on_drop=[])
        if how not in {"close"}:
            await cut(one)
        if how == "come back":
            async with connected(place.inside.socket_url) as again:
                await again.greet(key, resume=one.hello["resume"])
                await asyncio.sleep(2 * GRACE)
                await again.ok("channel.join", channel=channel)
                await again.ok("channel.leave", channel=channel)
        await asyncio.sleep(2 * GRACE)
        assert await title(watcher, place.event) == "A"


async def test_a_wish_is_not_done_by_who_may_not_any_more(place: Place) -> None:
    rec, key = await place.key("editor")
    async with place.client(key) as one, place.client() as watcher:
        await join(one, "audience:x")
        await one.ok("presence.update", channel="audience:x", on_drop=[rename(place.event, "dropped")])
        await cut(one)
        await watcher.ok("record.delete", type="api_key", rec=rec)
        await asyncio.sleep(3 * GRACE)
        assert await title(watcher, place.event) == "A"


async def test_one_wish_that_cannot_be_done_is_not_in_the_way_of_another(place: Place) -> None:
    _, key = await place.key("editor")
    async with place.client(key) as one, place.client() as watcher:
        other = (await watcher.create("event", title="B", acronym="b"))["id"]
        await join(one, "audience:x")
        await one.ok("presence.update", channel="audience:x", on_drop=[rename(other, "x"), rename(place.event, "y")])
        await watcher.ok("record.delete", type="event", rec=other)
        await cut(one)
        async with asyncio.timeout(10):
            while await title(watcher, place.event) != "y":
                await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("wish", "code", "path"),
    [
        ({"op": "record.update", "type": "event", "rec": "EVENT", "data": {"nope": 1}}, "data.invalid", "0.data.nope"),
        ({"op": "record.update", "type": "event", "rec": "absent", "data": {}}, "record.not_found", "0.rec"),
        ({"op": "record.update", "type": "event", "rec": {"$item": 0}, "data": {}}, "data.invalid", "0.rec"),
        ({"op": "record.update", "type": "nope", "rec": "x", "data": {}}, "type.unknown", "0.type"),
        ({"op": "record.update", "type": "api_key", "rec": "x", "data": {}}, "access.denied", "0"),
        ({"op": "record.update", "type": "event"}, "data.invalid", "0.rec"),
        ({"op": "record.delete", "type": "event", "rec": "EVENT"}, "data.invalid", "0.op"),
        ({"op": "nope"}, "op.unknown", "0.op"),
        ({"op": 5}, "data.invalid", "0.op"),
        ({}, "data.invalid", "0.op"),
        ({"op": "record.update", "id": 1, "type": "event", "rec": "EVENT", "data": {}}, "data.invalid", "0.id"),
        ({"op": "record.update", "key": "k", "type": "event", "rec": "EVENT", "data": {}}, "data.invalid", "0.key"),
        ({"op": "channel.send", "channel": "nope:x", "event": "a", "data": 1}, "channel.unknown", "0.channel"),
        ({"op": "channel.send", "channel": "event:absent", "event": "a", "data": 1}, "channel.unknown", "0.channel"),
        (
            {"op": "channel.send", "channel": "event:EVENT", "event": "a", "data": 1, "echo": False},
            "data.invalid",
            "0.to",
        ),
        (
            {"op": "channel.send", "channel": "cursors:x", "event": "a", "data": "x" * 2000},
            "message.too_large",
            "0.data",
        ),
        (
            {"op": "channel.send", "channel": "event:EVENT", "event": "a", "data": "x" * 5000},
            "state.too_large",
            None,
        ),
    ],
)
async def test_a_wish_that_could_not_be_done_now_is_refused(
    place: Place, wish: Message, code: str, path: str | None
) -> None:
    _, key = await place.key("editor")
    async with place.client(key) as one:
        await join(one, "audience:x")
        wish = {k: v.replace("EVENT", place.event) if isinstance(v, str) else v for k, v in wish.items()}
        refused = await one.refused("presence.update", channel="audience:x", state={"n": 1}, on_drop=[wish])
        assert refused == (code, f"on_drop.{path}" if path is not None else "on_drop")
        roster = place.services.live.rosters.members((place.account, "audience:x"))
        assert roster[0]["sessions"][0]["state"] == {}, "nothing is half done"


async def test_wishes_are_bounded_over_all_channels_of_a_session(place: Place) -> None:
    wish = rename(place.event, "x")
    async with place.client() as one:
        for name in ("audience:x", "audience:y"):
            await join(one, name)
        assert await one.refused("presence.update", channel="audience:x", on_drop=[wish] * 9) == (
            "data.invalid",
            "on_drop",
        )
        await one.ok("presence.update", channel="audience:x", on_drop=[wish] * 5)
        await one.ok("presence.update", channel="audience:x", on_drop=[wish] * 5)
        await one.ok("presence.update", channel="audience:y", on_drop=[wish] * 3)
        assert await one.refused("presence.update", channel="audience:y", on_drop=[wish] * 4) == (
            "data.invalid",
            "on_drop",
        )
        await one.ok("channel.join", channel="event:" + place.event)
        assert await one.refused("presence.update", channel="event:" + place.event, on_drop=[wish]) == (
            "data.invalid",
            "on_drop",
        )


async def test_who_is_not_shown_wishes_nothing(place: Place) -> None:
    async with place.client() as one:
        wish = [rename(place.event, "x")]
        assert await one.refused("presence.update", channel="audience:x", on_drop=wish) == (
            "channel.unknown",
            "channel",
        )
        await one.ok("channel.join", channel="audience:x")
        assert await one.refused("presence.update", channel="audience:x", on_drop=wish) == (
            "channel.unknown",
            "channel",
        )


async def test_wishes_that_are_made_at_the_same_time_are_counted_together(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as one:
        event = (await one.create("event", title="A"))["id"]
        channels = [f"audience:{n}" for n in range(3)]
        for channel in channels:
            await join(one, channel)
        wishes = [rename(event, "dropped")] * 8
        asked = [{"op": "presence.update", "channel": channel, "on_drop": wishes} for channel in channels]
        await one.send_raw([{**request, "id": 100 + n} for n, request in enumerate(asked)])
        answers = [await one.answer(100 + n) for n in range(len(asked))]
        assert sorted(m["op"] for m in answers) == ["error", "error", "ok"]
        assert {(m["code"], m["path"]) for m in answers if m["op"] == "error"} == {("data.invalid", "on_drop")}


@pytest.mark.parametrize("how", ["session.auth", "session.hello"])
async def test_a_wish_outlives_the_token_that_it_was_made_with(place: Place, how: str) -> None:
    services = place.inside.parts.hub.services
    user = (await people.create_user(services, place.account, "Mia", "editor"))["id"]
    codes = [(await people.create_signin_code(services, user))[0] for _ in range(2)]
    first, second = [(await people.redeem_code(services, code))[0] for code in codes]
    async with place.client() as watcher, place.client(first) as one:
        await join(one, place.channel)
        await one.ok("presence.update", channel=place.channel, on_drop=[rename(place.event, "dropped")])
        old = await people.authenticate(services, first)
        if how == "session.auth":
            await one.ok("session.auth", token=second)
            await people.sign_out(services, old)
            await one.ok("session.beat")
            await cut(one)
        else:
            async with connected(place.inside.socket_url) as again:
                await again.greet(second, resume=one.hello["resume"])
                assert again.hello["session"] == one.hello["session"]
                await people.sign_out(services, old)
                await again.ok("session.beat")
                await cut(again)
        async with asyncio.timeout(10):
            while await title(watcher, place.event) != "dropped":
                await asyncio.sleep(0.05)
