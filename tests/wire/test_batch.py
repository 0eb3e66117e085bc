"""record.batch: all of it as one commit, or nothing; items that refer to earlier ones."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.talk import Client
from tests.wire.tenant import Tenant

Op = dict[str, Any]
EVENT: Op = {"op": "record.create", "type": "event", "data": {"title": "A", "acronym": "a"}}


def room(parent: Any, name: Any = "Hall") -> Op:
    """Return an item that creates a location."""
    fields = {"type": "event_location", "data": {"name": name}, "parent": {"type": "event", "rec": parent}}
    return {"op": "record.create", **fields}


def talk(parent: Any, guid: str = "g", **data: Any) -> Op:
    """Return an item that creates a session."""
    data = {"title": "T", "guid": guid, **data}
    return {"op": "record.create", "type": "event_session", "data": data, "parent": {"type": "event", "rec": parent}}


async def test_a_batch_is_one_commit_and_answers_item_by_item(editor: Client) -> None:
    watch = (await editor.ok("watch.start", type="event_location"))["watch"]
    before = (await editor.ok("session.beat"))["seq"]
    ops = [EVENT, room({"$item": 0}), room({"$item": 0}, "Attic"), talk({"$item": 0}, location_id={"$item": 1})]
    message = await editor.call("record.batch", ops=ops)
    assert (message["op"], message["seq"]) == ("ok", before + 1)
    event, hall, attic, session = message["data"]["results"]
    assert {r["event_id"] for r in (hall, attic, session)} == {event["id"]}
    assert session["location_id"] == hall["id"]
    (change,) = (m for m in editor.log if m["op"] == "change" and m["watch"] == watch)
    assert [e["rec"] for e in change["events"]] == [hall["id"], attic["id"]]
    assert change["seq"] == before + 1


async def test_a_batch_may_update_what_it_created_and_delete_what_it_found(editor: Client) -> None:
    old = (await editor.create("event", title="old", acronym="old"))["id"]
    results = (
        await editor.ok(
            "record.batch",
            ops=[
                EVENT,
                {"op": "record.update", "type": "event", "rec": {"$item": 0}, "data": {"title": "B"}},
                {"op": "record.delete", "type": "event", "rec": old},
                {"op": "record.upsert", "type": "event", "match": ["acronym"], "data": {"acronym": "a", "title": "C"}},
            ],
        )
    )["results"]
    assert [r.get("version") for r in results] == [1, 2, 2, 3]
    assert (results[3]["title"], results[3]["created"], results[2]["rec"]) == ("C", False, old)


async def test_an_empty_batch_does_nothing(editor: Client) -> None:
    before = (await editor.ok("session.beat"))["seq"]
    data, seq = await editor.seq("record.batch", ops=[])
    assert (data, seq) == ({"results": []}, before)


async def test_a_batch_holds_a_thousand_items_and_no_more(editor: Client) -> None:
    event = (await editor.create("event", title="A", acronym="x"))["id"]
    ops = [{"op": "record.create", "type": "event_track", "data": {"name": str(n)}} for n in range(1001)]
    for op in ops:
        op["parent"] = {"type": "event", "rec": event}
    assert await editor.refused("record.batch", ops=ops) == ("batch.too_large", "ops")
    assert len((await editor.ok("record.batch", ops=ops[:1000]))["results"]) == 1000


BAD: dict[str, tuple[Any, str, str]] = {
    "no object": (5, "data.invalid", "ops.1"),
    "no op": ({"type": "event", "data": {}}, "op.unknown", "ops.1.op"),
    "a read": ({"op": "record.get", "type": "event", "rec": "x"}, "op.unknown", "ops.1.op"),
    "a batch": ({"op": "record.batch", "ops": []}, "op.unknown", "ops.1.op"),
    "an id": ({**EVENT, "id": 5}, "data.invalid", "ops.1.id"),
    "a key": ({**EVENT, "key": "k"}, "data.invalid", "ops.1.id"),
    "an unknown type": ({**EVENT, "type": "nope"}, "type.unknown", "ops.1.type"),
    "an unknown field": ({**EVENT, "data": {"title": "B", "nope": 1}}, "data.invalid", "ops.1.data.nope"),
    "an unknown part": ({**EVENT, "nope": 1}, "data.invalid", "ops.1.nope"),
    "a unique that is taken by an earlier item": (EVENT, "record.exists", "ops.1.data.acronym"),
    "a parent that is not there": (room("AAAAAAAAAAA"), "record.not_found", "ops.1.parent.rec"),
    "an item of another type": (
        talk({"$item": 0}, location_id={"$item": 0}),
        "record.not_found",
        "ops.1.data.location_id",
    ),
    "itself": (room({"$item": 1}), "data.invalid", "ops.1.parent.rec"),
    "a later item": (room({"$item": 7}), "data.invalid", "ops.1.parent.rec"),
    "an item below zero": (room({"$item": -1}), "data.invalid", "ops.1.parent.rec.$item"),
    "an item that is no number": (room({"$item": "0"}), "data.invalid", "ops.1.parent.rec.$item"),
    "an item with more": (room({"$item": 0, "x": 1}), "data.invalid", "ops.1.parent.rec.x"),
    "an item where none belongs": (room({"$item": 0}, {"$item": 0}), "data.invalid", "ops.1.data.name"),
    "a record that is not there": (
        {"op": "record.delete", "type": "event", "rec": "AAAAAAAAAAA"},
        "record.not_found",
        "ops.1.rec",
    ),
    "a wrong version": (
        {"op": "record.update", "type": "event", "rec": {"$item": 0}, "data": {"title": "x"}, "if_version": 9},
        "record.conflict",
        "ops.1.if_version",
    ),
}


@pytest.mark.parametrize("name", list(BAD))
async def test_one_bad_item_refuses_the_whole_batch_and_is_named(shared: Tenant, codec: str, name: str) -> None:
    bad, code, path = BAD[name]
    async with shared.client("editor", codec) as client:
        watch = (await client.ok("watch.start", type="event"))["watch"]
        before = (await client.ok("session.beat"))["seq"]
        last = {**EVENT, "data": {"title": "L", "acronym": "last"}}
        assert await client.refused("record.batch", ops=[EVENT, bad, last]) == (code, path)
        found = await client.ok("record.find", type="event", count=True)
        assert (found["total"], found["seq"]) == (0, before)
        assert await client.changes(watch) == []


@pytest.mark.parametrize("name", ["a parent that is not there", "a record that is not there", "an unknown field"])
async def test_the_only_item_of_a_batch_is_named_too(shared: Tenant, name: str) -> None:
    bad, code, path = BAD[name]
    async with shared.client("editor") as client:
        assert await client.refused("record.batch", ops=[bad]) == (code, path.replace("ops.1", "ops.0"))


async def test_a_right_that_one_item_lacks_refuses_the_whole_batch(tenant: Tenant) -> None:
    async with tenant.client("viewer") as viewer, tenant.client("editor") as editor:
        assert await viewer.refused("record.batch", ops=[EVENT]) == ("access.denied", "ops.0")
        key = {"op": "record.create", "type": "api_key", "data": {"name": "x", "role": "owner"}}
        assert await editor.refused("record.batch", ops=[EVENT, key]) == ("access.denied", "ops.1")


async def test_a_batch_is_a_list_and_atomic_unless_it_says_otherwise(editor: Client) -> None:
    assert await editor.refused("record.batch", ops=[EVENT], atomic=0) == ("data.invalid", "atomic")
    assert await editor.refused("record.batch", ops="x") == ("data.invalid", "ops")
    assert await editor.refused("record.batch") == ("data.invalid", "ops")
    await editor.ok("record.batch", ops=[EVENT], atomic=True)


async def test_a_batch_with_a_key_is_written_once(editor: Client) -> None:
    ops = [EVENT, room({"$item": 0})]
    first = await editor.call("record.batch", ops=ops, key="k")
    again = await editor.call("record.batch", ops=ops, key="k")
    assert (again["seq"], again["data"]) == (first["seq"], first["data"])
    assert await editor.refused("record.batch", ops=[*ops, room({"$item": 0}, "B")], key="k") == ("key.reused", "key")
    assert await editor.refused("record.batch", ops=[{**EVENT, "data": {}}], key="k") == (
        "data.invalid",
        "ops.0.data.title",
    )
