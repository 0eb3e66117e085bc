"""Watches that go on where they were: resume by `since`, every way in which that cannot be, and large snapshots."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.talk import Client, Message
from tests.wire.tenant import Tenant, make_tenant


def applied(held: dict[str, Message], pushes: list[Message]) -> dict[str, Message]:
    """Return a set of records brought forward by the bodies of change pushes; fail where one does not fit."""
    held = dict(held)
    for push in pushes:
        for event in push["events"]:
            rec = event["rec"]
            if event["kind"] == "enter":
                assert rec not in held
                held[rec] = event["record"]
            elif event["kind"] == "leave":
                del held[rec]
            else:
                assert event["version"] == held[rec]["version"] + 1
                held[rec] = {**held[rec], **event["patch"], "version": event["version"]}
    return held


async def start(client: Client, **fields: Any) -> Message:
    data: Message = await client.ok("watch.start", **{"type": "event", **fields})
    return data


def since(data: Message, seq: int | None = None) -> Message:
    """Return where a watch was."""
    return {"mark": data["mark"], "seq": data["seq"] if seq is None else seq}


async def make(client: Client, *acronyms: str) -> list[str]:
    return [(await client.create("event", title=a, acronym=a))["id"] for a in acronyms]


async def everything(client: Client, **fields: Any) -> dict[str, Message]:
    found = await client.ok("record.find", **{"type": "event", "limit": 1000, **fields})
    return {r["id"]: r for r in found["records"]}


async def test_a_resumed_watch_is_told_exactly_what_it_missed(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as writer:
        await make(writer, "a", "b", "c")
        async with tenant.client("editor", codec) as reader:
            before = await start(reader)
        held = {r["id"]: r for r in before["records"]}
        a, b, _ = held
        await make(writer, "d")
        await writer.ok("record.update", type="event", rec=a, data={"title": "A2"})
        await writer.create("event_location", a, name="of another type")
        await writer.ok("record.delete", type="event", rec=b)
        async with tenant.client("editor", codec) as reader:
            message = await reader.call("watch.start", type="event", since=since(before))
            data = message["data"]
            assert data["resumed"] is True
            assert set(data) == {"watch", "mark", "seq", "resumed", "events"}
            assert (data["watch"], data["mark"]) == (before["watch"], before["mark"])
            assert [len(push["events"]) for push in data["events"]] == [1, 1, 1]
            assert all(set(push) == {"seq", "origin", "events"} for push in data["events"])
            assert {push["origin"] for push in data["events"]} == {writer.hello["session"]}
            first = before["seq"] + 1
            assert [push["seq"] for push in data["events"]] == [first, first + 1, first + 3]
            assert data["seq"] == message["seq"] == first + 3
            assert applied(held, data["events"]) == await everything(reader)
            await make(writer, "e")
            assert [e["kind"] for e in await reader.changes(data["watch"])] == ["enter"]


async def test_a_watch_that_missed_nothing_resumes_with_no_events(editor: Client) -> None:
    await make(editor, "a")
    before = await start(editor)
    again = await start(editor, since=since(before))
    assert (again["resumed"], again["events"], again["seq"]) == (True, [], before["seq"])


async def test_a_resume_may_overlap_and_is_told_again_from_there(editor: Client) -> None:
    first = await start(editor)
    await make(editor, "a", "b")
    again = await start(editor, since=since(first))
    assert [push["seq"] for push in again["events"]] == [first["seq"] + 1, first["seq"] + 2]


async def test_a_filtered_watch_resumes_with_its_own_entering_and_leaving(tenant: Tenant) -> None:
    fields = {"where": {"title": "on"}, "fields": ["title"]}
    async with tenant.client("editor") as writer:
        one, other = await make(writer, "a", "b")
        await writer.ok("record.update", type="event", rec=one, data={"title": "on"})
        async with tenant.client("editor") as reader:
            before = await start(reader, **fields)
        await writer.ok("record.update", type="event", rec=one, data={"timezone": "UTC"})
        await writer.ok("record.update", type="event", rec=one, data={"title": "off"})
        await writer.ok("record.update", type="event", rec=other, data={"title": "on"})
        async with tenant.client("editor") as reader:
            data = await start(reader, **fields, since=since(before))
            events = [event for push in data["events"] for event in push["events"]]
            assert events[0] == {"kind": "update", "rec": one, "patch": {}, "version": 3}
            assert (events[1]["kind"], events[1]["why"]) == ("leave", "filter")
            assert events[2] == {
                "kind": "enter",
                "rec": other,
                "record": {"id": other, "type": "event", "version": 2, "title": "on"},
            }
            held = {r["id"]: r for r in before["records"]}
            assert applied(held, data["events"]) == await everything(reader, **fields)


@pytest.mark.parametrize(
    ("mark", "why"),
    [
        ("of another query", "query"),
        ("of other fields", "query"),
        ("of other rights", "rights"),
        ("of another account", "query"),
        ("made up", "query"),
        ("empty", "query"),
        ("of another epoch", "epoch"),
        ("of another schema", "schema"),
    ],
)
async def test_a_mark_that_does_not_fit_gets_a_snapshot_and_the_reason(tenant: Tenant, mark: str, why: str) -> None:
    async with tenant.client("editor") as client, tenant.client("owner") as owner:
        event = (await make(client, "a"))[0]
        good = (await start(client))["mark"]
        parts = good.split(".")
        if mark == "of another account":
            async with (await make_tenant(tenant.process)).client("editor") as stranger:
                foreign = (await start(stranger))["mark"]
        else:
            foreign = ""
        marks = {
            "of another query": (await start(client, where={"title": "a"}))["mark"],
            "of other fields": (await start(client, fields=["title"]))["mark"],
            "of other rights": (await start(owner))["mark"],
            "of another account": foreign,
            "made up": "x" * 400,
            "empty": "",
            "of another epoch": ".".join([*parts[:-1], "other"]),
            "of another schema": ".".join([parts[0], parts[1], "other", *parts[3:]]),
        }
        data = await start(client, since={"mark": marks[mark], "seq": 1})
        assert (data["resumed"], data["why"]) == (False, why)
        assert [r["id"] for r in data["records"]] == [event]
        assert (data["mark"], "events" in data) == (good, False)


async def test_a_position_in_the_future_gets_a_snapshot(editor: Client) -> None:
    (event,) = await make(editor, "a")
    before = await start(editor)
    for seq in (before["seq"] + 1, before["seq"] + 1000, 2**53 - 1):
        data = await start(editor, since=since(before, seq))
        assert (data["resumed"], data["why"], [r["id"] for r in data["records"]]) == (False, "expired", [event])


async def test_missing_too_much_gets_a_snapshot(tenant: Tenant) -> None:
    async with tenant.client("editor") as editor:
        before = await start(editor)
        for part in range(4):
            ops = [
                {"op": "record.create", "type": "event", "data": {"title": "x" * 100, "acronym": f"{part}-{n}"}}
                for n in range(1000)
            ]
            await editor.ok("record.batch", ops=ops)
    async with tenant.client("editor") as editor:
        data = await start(editor, since=since(before))
        assert (data["resumed"], data["why"], data["more"]) == (False, "expired", True)


async def test_a_resume_while_others_write_has_no_gap_and_no_duplicate(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as writer:
        async with tenant.client("viewer", codec) as reader:
            data = await start(reader)
            held: dict[str, Message] = {}
        seq, count = data["seq"], 0
        for _ in range(5):
            numbers = []
            for _ in range(20):
                numbers.append(
                    await writer.send("record.create", type="event", data={"title": "x", "acronym": f"x{count}"})
                )
                count += 1
            async with tenant.client("viewer", codec) as reader:
                data = await start(reader, since={"mark": data["mark"], "seq": seq})
                assert data["resumed"] is True
                await reader.settled()
                pushes = [m for m in reader.log if m["op"] == "change"]
                held = applied(held, [*data["events"], *pushes])
                seq = max([data["seq"], *(push["seq"] for push in pushes)])
            for number in numbers:
                await writer.answer(number)
        async with tenant.client("viewer", codec) as reader:
            data = await start(reader, since={"mark": data["mark"], "seq": seq})
            assert applied(held, data["events"]) == await everything(reader)


# -- large snapshots ---------------------------------------------------------------------------------


async def many(client: Client, count: int) -> str:
    """Create an event with so many tracks; return its id."""
    (event,) = await make(client, "large")
    for first in range(0, count, 1000):
        ops = [
            {
                "op": "record.create",
                "type": "event_track",
                "data": {"name": f"{n:05} " + "x" * 100},
                "parent": {"type": "event", "rec": event},
            }
            for n in range(first, min(first + 1000, count))
        ]
        await client.ok("record.batch", ops=ops)
    return event


async def test_a_large_snapshot_comes_in_pages_that_end(editor: Client) -> None:
    event = await many(editor, 3000)
    number = await editor.send("watch.start", type="event_track", where={"event_id": event})
    data = (await editor.answer(number))["data"]
    assert (data["resumed"], data["more"]) == (False, True)
    behind = await editor.send("record.create", type="event", data={"title": "x", "acronym": "x"})
    await editor.answer(behind)
    pages = [m for m in editor.log if m["op"] == "snapshot"]
    assert all(page["watch"] == data["watch"] for page in pages)
    assert [page.get("last") for page in pages] == [None] * (len(pages) - 1) + [True]
    records = [*data["records"], *(r for page in pages for r in page["records"])]
    assert len(records) == len({r["id"] for r in records}) == 3000
    assert editor.log[-1]["id"] == behind, "an answer with a later seq comes behind the last page"
    assert max(len(f) for f in editor.frames) < 512 * 1024


async def test_what_changes_while_the_pages_come_is_told_behind_them(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as writer, tenant.client("editor", codec) as reader:
        event = await many(writer, 2000)
        track = (await writer.ok("record.find", type="event_track", limit=1))["records"][0]["id"]
        number = await reader.send("watch.start", type="event_track", parent={"type": "event", "rec": event})
        for n in range(10):
            await writer.ok("record.update", type="event_track", rec=track, data={"sort": n + 1})
        data = (await reader.answer(number))["data"]
        await reader.settled()
        held = {r["id"]: r for r in data["records"]}
        whole = "more" not in data
        for message in reader.log:
            if message["op"] == "snapshot":
                assert not whole
                held |= {r["id"]: r for r in message["records"]}
                whole = message.get("last", False)
            elif message["op"] == "change":
                assert whole, "no change before the last page"
                held = applied(held, [message])
        assert len(held) == 2000
        assert held[track]["sort"] == 10


async def test_a_watch_that_is_stopped_gets_no_further_page(editor: Client) -> None:
    event = await many(editor, 2000)
    data = await start(editor, type="event_track", parent={"type": "event", "rec": event})
    await editor.ok("watch.stop", watch=data["watch"])
    editor.pushes.clear()
    await editor.ok("session.beat")
    assert editor.pushes == []
