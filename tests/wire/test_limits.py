"""The limits of docs/wire.md, as numbers: what is just within is taken, what is just beyond is refused by name."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.wire.talk import Client, Message
from tests.wire.tenant import Tenant

SAFE = 2**53 - 1
MISSING = "AAAAAAAAAAA"


def nested(levels: int) -> Any:
    """Return lists within each other."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def deep(levels: int) -> Message:
    """Return a filter that nests so deep."""
    where: Message = {"title": "x"}
    for _ in range(levels - 1):
        where = {"$not": where}
    return where


async def test_a_message_nests_thirty_two_levels(shared: Tenant, codec: str) -> None:
    async with shared.client("viewer", codec) as client:
        assert await client.refused("session.beat", telemetry={"a": nested(30)}) == ("data.invalid", "telemetry.a")
        number = await client.send("session.beat", telemetry={"a": nested(31)})
        refused = await client.heard()
        assert (refused["code"], refused["id"]) == ("frame.malformed", number)
        await client.ok("session.beat")


async def test_a_frame_holds_a_thousand_messages(shared: Tenant, codec: str) -> None:
    async with shared.client("viewer", codec) as client:
        beats = [{"op": "session.beat", "id": 100 + n} for n in range(1001)]
        await client.send_raw(beats[:1000])
        assert [(await client.answer(100 + n))["op"] for n in range(1000)] == ["ok"] * 1000
        await client.send_raw(beats)
        assert (await client.push("error"))["code"] == "frame.malformed"
        await client.ok("session.beat")


async def test_integers_are_those_that_every_client_can_hold(shared: Tenant, codec: str) -> None:
    async with shared.client("editor", codec) as client:
        event = (await client.ok("record.create", type="event", data={"title": "A"}))["id"]
        parent = {"type": "event", "rec": event}
        for sort in (SAFE, -SAFE):
            room = await client.ok(
                "record.create", type="event_location", parent=parent, data={"name": str(sort), "sort": sort}
            )
            assert room["sort"] == sort
        for sort in (SAFE + 1, -SAFE - 1):
            data = {"name": "x", "sort": sort}
            asked = {"type": "event_location", "parent": parent, "data": data}
            assert await client.refused("record.create", **asked) == ("data.invalid", "data.sort")


NUMBERS: dict[str, tuple[str, Message, str]] = {
    "a version": ("record.update", {"type": "event", "rec": MISSING, "data": {}, "if_version": SAFE + 1}, "if_version"),
    "a version to delete": ("record.delete", {"type": "event", "rec": MISSING, "if_version": SAFE + 1}, "if_version"),
    "a limit": ("record.find", {"type": "event", "limit": SAFE + 1}, "limit"),
    "a place in the log": ("watch.start", {"type": "event", "since": {"mark": "m", "seq": SAFE + 1}}, "since.seq"),
    "a place in a channel": (
        "channel.join",
        {"channel": f"event:{MISSING}", "recover": {"epoch": "e", "offset": SAFE + 1}},
        "recover.offset",
    ),
    "a time to live": ("file.grant", {"hash": "0" * 64, "ttl": SAFE + 1}, "ttl"),
    "a number in a filter": ("record.find", {"type": "event_location", "where": {"sort": SAFE + 1}}, "where.sort"),
    "a number in a state": (
        "channel.join",
        {"channel": f"event:{MISSING}", "presence": {"state": {"n": SAFE + 1}}},
        "presence.state.n",
    ),
    "a number in an argument": (
        "action.call",
        {"action": "event.import_programme", "args": {"programme": {"event": {"sort": SAFE + 1}}}},
        "args.programme.event.sort",
    ),
    "an item of a batch": (
        "record.batch",
        {"ops": [{"op": "record.update", "type": "event", "rec": MISSING, "data": {}, "if_version": SAFE + 1}]},
        "ops.0.if_version",
    ),
}


@pytest.mark.parametrize("name", list(NUMBERS))
async def test_an_integer_beyond_is_refused_wherever_it_stands(shared: Tenant, codec: str, name: str) -> None:
    op, fields, path = NUMBERS[name]
    async with shared.client("editor", codec) as client:
        assert await client.refused(op, **fields) == ("data.invalid", path)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
async def test_a_number_that_is_not_finite_is_refused_wherever_it_stands(shared: Tenant, number: float) -> None:
    async with shared.client("editor", "msgpack") as client:
        for op, fields, path in (
            ("action.call", {"action": "event.import_programme", "timeout": number}, "timeout"),
            ("record.find", {"type": "event_location", "where": {"sort": number}}, "where.sort"),
            ("record.update", {"type": "event", "rec": MISSING, "data": {"title": number}}, "data.title"),
            ("session.beat", {"telemetry": {"a": [number]}}, "telemetry.a.0"),
        ):
            assert await client.refused(op, **fields) == ("data.invalid", path), op


@pytest.mark.parametrize("op", ["record.find", "watch.start"])
async def test_a_filter_is_five_deep_with_two_hundred_terms_and_a_thousand_values(
    shared: Tenant, codec: str, op: str
) -> None:
    def terms(count: int) -> Message:
        return {"$or": [{"title": str(n)} for n in range(count)]}

    def values(count: int) -> Message:
        return {"title": {"$in": [str(n) for n in range(count)]}}

    async with shared.client("viewer", codec) as client:
        for within, beyond, path in (
            (deep(5), deep(6), "where.$not.$not.$not.$not.$not"),
            (terms(200), terms(201), "where.$or.200.title"),
            (values(1000), values(1001), "where.title.$in"),
        ):
            await client.ok(op, type="event", where=within)
            assert await client.refused(op, type="event", where=beyond) == ("where.invalid", path)


async def test_a_key_has_sixty_four_characters(editor: Client) -> None:
    for key, taken in (("k" * 64, True), ("k" * 65, False), ("é" * 64, True), ("é" * 65, False)):
        asked = {"type": "event", "data": {"title": "A"}, "key": key}
        if taken:
            first = await editor.ok("record.create", **asked)
            assert (await editor.ok("record.create", **asked))["id"] == first["id"]
        else:
            assert await editor.refused("record.create", **asked) == ("data.invalid", "key")
