"""watch.start and watch.stop: a snapshot, then every change, in order and once; and what cannot be watched."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.talk import Client, Message
from tests.wire.tenant import Tenant


async def make_event(client: Client, acronym: str = "a", **data: Any) -> str:
    return str((await client.create("event", **{"title": acronym.upper(), "acronym": acronym, **data}))["id"])


async def start(client: Client, kind: str = "event", **fields: Any) -> Message:
    """Start a watch that must begin with a whole snapshot."""
    data: Message = await client.ok("watch.start", type=kind, **fields)
    assert data["resumed"] is False
    assert "events" not in data
    assert "more" not in data
    return data


async def test_a_watch_begins_with_what_a_find_would_answer(editor: Client) -> None:
    for acronym in "abc":
        await make_event(editor, acronym)
    message = await editor.call("watch.start", type="event")
    data = message["data"]
    assert set(data) == {"watch", "mark", "seq", "resumed", "records"}
    assert message["seq"] == data["seq"]
    found = await editor.ok("record.find", type="event")
    assert sorted(data["records"], key=lambda r: r["id"]) == found["records"]
    assert data["seq"] == found["seq"]


async def test_a_change_reaches_the_watch_before_the_answer_of_the_write(editor: Client) -> None:
    watch = (await start(editor))["watch"]
    number = await editor.send("record.create", type="event", data={"title": "A", "acronym": "a"})
    answer = await editor.answer(number)
    change, last = editor.log[-2:]
    assert last == answer
    assert change == {
        "op": "change",
        "watch": watch,
        "seq": answer["seq"],
        "origin": editor.hello["session"],
        "events": [{"kind": "enter", "rec": answer["data"]["id"], "record": answer["data"]}],
    }


async def test_every_answer_with_a_seq_comes_after_the_pushes_up_to_it(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as writer, tenant.client("viewer", codec) as reader:
        await start(reader)
        for n in range(40):
            number = await writer.send("record.create", type="event", data={"title": "x", "acronym": f"x{n}"})
            for op in ("session.beat", "record.find"):
                await reader.send(op, **({"type": "event"} if op == "record.find" else {}))
            await writer.answer(number)
        await reader.settled()
        position = 0
        for message in reader.log:
            if message["op"] == "change":
                assert message["seq"] > position, "in order, and each commit once"
                position = message["seq"]
            elif message["op"] == "ok" and message.get("seq"):
                total = sum(m["op"] == "change" and m["seq"] <= message["seq"] for m in reader.log)
                seen = sum(m["op"] == "change" for m in reader.log[: reader.log.index(message)])
                assert seen >= total


async def test_an_update_tells_what_changed_and_the_new_version(editor: Client) -> None:
    event = await make_event(editor)
    watch = (await start(editor))["watch"]
    updated = await editor.ok("record.update", type="event", rec=event, data={"title": "B", "timezone": ""})
    (change,) = await editor.changes(watch)
    assert (change["kind"], change["rec"], change["version"]) == ("update", event, 2)
    assert set(change) == {"kind", "rec", "patch", "version"}
    assert change["patch"].pop("title") == "B"
    assert change["patch"].pop("updated_at") == updated["updated_at"]
    assert change["patch"] in ({}, {"updated_by": updated["updated_by"]})


async def test_records_enter_and_leave_a_filter(editor: Client) -> None:
    event = await make_event(editor, title="draft")
    watch = (await start(editor, where={"title": {"$istarts": "FINAL"}}))["watch"]
    other = (await start(editor, where={"title": "draft"}))["watch"]
    record = await editor.ok("record.update", type="event", rec=event, data={"title": "Final cut"})
    assert await editor.changes(watch) == [{"kind": "enter", "rec": event, "record": record}]
    (gone,) = await editor.changes(other)
    assert (gone["kind"], gone["rec"], gone["why"]) == ("leave", event, "filter")
    await editor.ok("record.update", type="event", rec=event, data={"title": "final"})
    assert [e["kind"] for e in await editor.changes(watch)] == ["update"]
    await editor.ok("record.update", type="event", rec=event, data={"title": "draft"})
    (gone,) = await editor.changes(watch)
    assert (gone["kind"], gone["rec"], gone["why"]) == ("leave", event, "filter")
    assert [e["kind"] for e in await editor.changes(other)] == ["enter"]


async def test_a_deletion_leaves_with_its_reason(editor: Client) -> None:
    event = await make_event(editor)
    watch = (await start(editor))["watch"]
    await editor.ok("record.delete", type="event", rec=event)
    (gone,) = await editor.changes(watch)
    assert (gone["kind"], gone["rec"], gone["why"]) == ("leave", event, "deleted")


async def test_a_watch_of_fields_hears_of_other_fields_by_their_version_only(editor: Client) -> None:
    event = await make_event(editor)
    data = await start(editor, fields=["title"])
    assert data["records"] == [{"id": event, "type": "event", "version": 1, "title": "A"}]
    await editor.ok("record.update", type="event", rec=event, data={"timezone": "UTC"})
    assert await editor.changes(data["watch"]) == [{"kind": "update", "rec": event, "patch": {}, "version": 2}]
    await editor.ok("record.update", type="event", rec=event, data={"title": "B", "timezone": ""})
    assert await editor.changes(data["watch"]) == [
        {"kind": "update", "rec": event, "patch": {"title": "B"}, "version": 3}
    ]


async def test_a_watch_under_a_parent_hears_of_its_children_only(editor: Client) -> None:
    one, other = await make_event(editor, "a"), await make_event(editor, "b")
    watch = (await start(editor, "event_location", parent={"type": "event", "rec": one}))["watch"]
    room = await editor.create("event_location", one, name="Hall")
    await editor.create("event_location", other, name="Hall")
    assert [e["rec"] for e in await editor.changes(watch)] == [room["id"]]


async def test_a_batch_is_one_push(editor: Client) -> None:
    event = await make_event(editor)
    watch = (await start(editor))["watch"]
    ops: list[Message] = [{"op": "record.create", "type": "event", "data": {"title": "x", "acronym": x}} for x in "bcd"]
    ops.append({"op": "record.update", "type": "event", "rec": event, "data": {"title": "Z"}})
    _, seq = await editor.seq("record.batch", ops=ops)
    (push,) = (m for m in editor.log if m["op"] == "change")
    assert (push["watch"], push["seq"]) == (watch, seq)
    assert [e["kind"] for e in push["events"]] == ["enter"] * 3 + ["update"]


async def test_what_enters_and_leaves_in_one_batch_comes_out_right(editor: Client) -> None:
    watch = (await start(editor, where={"title": "on"}))["watch"]
    ops = [
        {"op": "record.create", "type": "event", "data": {"title": "on", "acronym": "a"}},
        {"op": "record.update", "type": "event", "rec": {"$item": 0}, "data": {"title": "off"}},
        {"op": "record.update", "type": "event", "rec": {"$item": 0}, "data": {"title": "on"}},
    ]
    results = (await editor.ok("record.batch", ops=ops))["results"]
    held: dict[str, Any] = {}
    for event in await editor.changes(watch):
        if event["kind"] == "enter":
            held[event["rec"]] = event["record"]
        elif event["kind"] == "leave":
            del held[event["rec"]]
        else:
            held[event["rec"]] = {**held[event["rec"]], **event["patch"], "version": event["version"]}
    assert held == {results[2]["id"]: results[2]}


# -- shared watches ----------------------------------------------------------------------------------


async def test_the_same_query_with_the_same_rights_has_one_id_and_the_same_bytes(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as one, tenant.client("editor", codec) as other:
        where = {"$or": [{"title": "A"}, {"title": "B"}]}
        first, second = await start(one, where=where), await start(other, where=where)
        assert first["watch"] == second["watch"]
        event = await make_event(one)
        await one.ok("record.update", type="event", rec=event, data={"title": "B"})
        frames = []
        for client in (one, other):
            await client.settled()
            frames.append([f for f, m in zip(client.frames, client.log, strict=True) if m["op"] == "change"])
        assert len(frames[0]) == 2
        assert frames[0] == frames[1]


async def test_another_query_or_other_rights_have_another_id(tenant: Tenant) -> None:
    async with tenant.client("editor") as editor, tenant.client("viewer") as viewer:
        ids = [
            (await start(editor))["watch"],
            (await start(editor, where={"title": "A"}))["watch"],
            (await start(editor, fields=["title"]))["watch"],
            (await start(editor, "event_track"))["watch"],
            (await start(viewer))["watch"],
        ]
        assert len(set(ids)) == len(ids)


async def test_a_second_identical_start_counts_and_stop_counts_down(editor: Client) -> None:
    first, second = await start(editor), await start(editor)
    assert (first["watch"], first["mark"]) == (second["watch"], second["mark"])
    watch = first["watch"]
    event = await make_event(editor)
    assert len(await editor.changes(watch)) == 1, "one push, however often it was started"
    assert await editor.ok("watch.stop", watch=watch) in ({}, None)
    await editor.ok("record.update", type="event", rec=event, data={"title": "B"})
    assert len(await editor.changes(watch)) == 1
    await editor.ok("watch.stop", watch=watch)
    await editor.ok("record.update", type="event", rec=event, data={"title": "C"})
    assert await editor.changes(watch) == []
    assert await editor.refused("watch.stop", watch=watch) == ("record.not_found", "watch")


async def test_a_watch_id_of_somebody_else_stops_nothing(tenant: Tenant) -> None:
    async with tenant.client("editor") as one, tenant.client("editor") as other:
        watch = (await start(one))["watch"]
        assert await other.refused("watch.stop", watch=watch) == ("record.not_found", "watch")
        await make_event(other)
        assert len(await one.changes(watch)) == 1


async def test_a_socket_holds_a_hundred_watches(editor: Client) -> None:
    numbers = [await editor.send("watch.start", type="event", where={"title": str(n)}) for n in range(100)]
    watches = [(await editor.answer(number))["data"]["watch"] for number in numbers]
    assert len(set(watches)) == 100
    assert (await editor.refused("watch.start", type="event"))[0] == "watch.too_many"
    await start(editor, where={"title": "0"})  # one that is held already
    await editor.ok("watch.stop", watch=watches[5])
    await start(editor)


async def test_watching_what_changes_meanwhile_loses_nothing(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as writer, tenant.client("viewer", codec) as reader:

        async def write(first: int, last: int) -> list[int]:
            data = [{"title": "x", "acronym": f"x{n}"} for n in range(first, last)]
            return [await writer.send("record.create", type="event", data=one) for one in data]

        numbers = await write(0, 30)
        started = await reader.send("watch.start", type="event")
        numbers += await write(30, 60)
        for number in numbers:
            assert (await writer.answer(number))["op"] == "ok"
        data = (await reader.answer(started))["data"]
        held = {r["id"]: r for r in data["records"]}
        for event in await reader.changes(data["watch"]):
            assert event["kind"] == "enter"
            assert event["rec"] not in held
            held[event["rec"]] = event["record"]
        found = await reader.ok("record.find", type="event", limit=1000)
        assert sorted(held.values(), key=lambda r: str(r["id"])) == found["records"]


# -- what cannot be watched --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({"order": ["nope"]}, "order.invalid", "order.0"),
        ({"order": ["name", "-name"]}, "order.invalid", "order.1"),
        ({"order": ["name", "-"]}, "order.invalid", "order.1"),
        ({"order": "name"}, "data.invalid", "order"),
        ({"order": ["name"] * 9}, "data.invalid", "order"),
        ({"type": "event_session", "order": ["links"], "limit": 5}, "order.invalid", "order.0"),
        ({"limit": 0}, "data.invalid", "limit"),
        ({"limit": 1001}, "data.invalid", "limit"),
        ({"limit": 1.5}, "data.invalid", "limit"),
        ({"limit": 1, "after": "x"}, "where.not_watchable", "after"),
        ({"limit": 1, "where": {"parent": {"title": "A"}}}, "where.not_watchable", "where.parent"),
        ({"limit": 1, "since": {"mark": "x", "seq": 1, "have": 5}}, "data.invalid", "since.have"),
        ({"limit": 1, "since": {"mark": "x", "seq": 1, "have": {"a": "b"}}}, "data.invalid", "since.have.*"),
        (
            {"limit": 1, "since": {"mark": "x", "seq": 1, "have": {str(n): 1 for n in range(501)}}},
            "data.invalid",
            "since.have",
        ),
        ({"include": ["x"]}, "where.not_watchable", "include"),
        ({"view": "x"}, "where.not_watchable", "view"),
        ({"after": "x"}, "where.not_watchable", "after"),
        ({"count": True}, "where.not_watchable", "count"),
        ({"deleted": True}, "where.not_watchable", "deleted"),
        ({"where": {"parent": {"title": "A"}}}, "where.not_watchable", "where.parent"),
        ({"where": {"children": {"$some": {}}}}, "where.not_watchable", "where.children"),
        (
            {"type": "event_session", "where": {"$not": {"location": {"name": "A"}}}},
            "where.not_watchable",
            "where.$not.location",
        ),
        (
            {"where": {"$or": [{"name": "x"}, {"$not": {"parent": {}}}]}},
            "where.not_watchable",
            "where.$or.1.$not.parent",
        ),
        ({"where": {"nope": 1}}, "where.invalid", "where.nope"),
        ({"where": {"name": {"$regex": "x"}}}, "where.invalid", "where.name.$regex"),
        ({"fields": ["nope"]}, "data.invalid", "fields.0"),
        ({"type": "nope"}, "type.unknown", "type"),
        ({"type": "user"}, "access.denied", None),
        ({"type": "api_key"}, "access.denied", None),
        ({"parent": {"type": "event", "rec": "AAAAAAAAAAA"}}, "record.not_found", "parent.rec"),
        ({"parent": {"type": "event_track", "rec": "AAAAAAAAAAA"}}, "data.invalid", "parent.type"),
        ({"since": 5}, "data.invalid", "since"),
        ({"since": {"seq": 1}}, "data.invalid", "since.mark"),
        ({"since": {"mark": "x", "seq": -1}}, "data.invalid", "since.seq"),
        ({"since": {"mark": "x", "seq": 1, "nope": 1}}, "data.invalid", "since.nope"),
        ({"nope": 1}, "data.invalid", "nope"),
    ],
)
async def test_a_watch_that_cannot_work_is_refused_with_its_path(
    shared: Tenant, codec: str, fields: dict[str, Any], code: str, path: str | None
) -> None:
    async with shared.client("editor", codec) as client:
        assert await client.refused("watch.start", **{"type": "event_location", **fields}) == (code, path)


async def test_stop_needs_a_watch(editor: Client) -> None:
    assert await editor.refused("watch.stop", watch="nope") == ("record.not_found", "watch")
    assert await editor.refused("watch.stop") == ("data.invalid", "watch")
