"""Sorted windows over the socket: exact after every change, before the `ok` that caused it, and over a lost socket."""

from __future__ import annotations

from random import Random
from typing import Any

from aether_client.liveset import LiveSet
from tests.wire.talk import Client, Message
from tests.wire.tenant import Tenant, make_tenant
from tests.wire.test_watch_resume import make, since, start


async def found(client: Client, **fields: Any) -> list[Message]:
    """Return what a find of the same answers."""
    records: list[Message] = (await client.ok("record.find", **{"type": "event", **fields}))["records"]
    return records


class Held:
    """A client's window: its records, by id."""

    def __init__(self, client: Client, data: Message, asked: Message) -> None:
        self.client, self.data, self.asked = client, data, asked
        self.records = {record["id"]: record for record in data["records"]}
        self.seen = len(client.log)

    async def differs(self) -> bool:
        """Take in what was pushed, and compare with a find; there must be nothing that was not told before its `ok`."""
        answer = await found(self.client, **self.asked)
        for push in self.client.log[self.seen :]:
            if push["op"] == "change" and push["watch"] == self.data["watch"]:
                self.records = window_applied(self.records, push)
        self.seen = len(self.client.log)
        return sorted(self.records.values(), key=lambda r: str(r["id"])) != sorted(answer, key=lambda r: str(r["id"]))


def window_applied(held: dict[str, Message], push: Message) -> dict[str, Message]:
    """Return a window brought forward by a push; its updates may stand for several changes."""
    held = dict(held)
    for event in push["events"]:
        rec = event["rec"]
        if event["kind"] == "enter":
            assert rec not in held
            held[rec] = event["record"]
        elif event["kind"] == "leave":
            assert event["why"] in {"deleted", "filter", "window"}
            del held[rec]
        else:
            assert event["version"] > held[rec]["version"]
            held[rec] = {**held[rec], **event["patch"], "version": event["version"]}
    return held


async def test_a_window_begins_with_the_first_in_order(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as editor:
        await make(editor, *"cadb")
        data = await start(editor, order=["-title"], limit=3)
        assert [record["title"] for record in data["records"]] == ["d", "c", "b"]
        assert data["records"] == await found(editor, order=["-title"], limit=3)
        assert set(data) == {"watch", "mark", "seq", "resumed", "records"}


async def test_another_one_comes_before_and_the_last_one_leaves(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as editor:
        b, d = (await make(editor, "b", "d", "f"))[:2]
        watch = (await start(editor, order=["title"], limit=2))["watch"]
        number = await editor.send("record.create", type="event", data={"title": "c", "acronym": "c"})
        answer = await editor.answer(number)
        push, last = editor.log[-2:]
        assert last == answer
        assert (push["watch"], push["seq"], push["origin"]) == (watch, answer["seq"], editor.hello["session"])
        assert push["events"] == [
            {"kind": "leave", "rec": d, "why": "window", "version": 1},
            {"kind": "enter", "rec": answer["data"]["id"], "record": answer["data"]},
        ]
        await editor.ok("record.update", type="event", rec=b, data={"title": "bb"})
        (event,) = (await editor.changes(watch))[-1:]
        assert (event["kind"], event["rec"], event["patch"]["title"]) == ("update", b, "bb")


async def test_the_fields_of_the_order_are_sent_with_the_fields_that_were_asked_for(editor: Client) -> None:
    (event,) = await make(editor, "a")
    watches = []
    for window in ({"order": ["-title"], "limit": 5}, {"order": ["-title"]}):
        data = await start(editor, fields=["acronym"], **window)
        assert data["records"] == [{"id": event, "type": "event", "version": 1, "acronym": "a", "title": "a"}]
        watches.append(data["watch"])
    plain = await start(editor, fields=["acronym", "title"])
    assert plain["watch"] == watches[1] != watches[0], "without a limit, the order is the client's"


async def test_deleting_whole_stretches_leaves_it_exact_before_every_answer(tenant: Tenant, codec: str) -> None:
    """The reserve of a window of 3 is 20; whole stretches go, so that it is dry while others write."""
    rng = Random(codec)
    async with tenant.client("editor", codec) as editor, tenant.client("editor", codec) as other:
        data = [{"title": f"{n:02}", "acronym": f"e{n}"} for n in range(70)]
        made = await editor.ok("record.batch", ops=[{"op": "record.create", "type": "event", "data": d} for d in data])
        recs = [record["id"] for record in made["results"]]
        held = []
        for client in (editor, other):
            for asked in ({"order": ["title"], "limit": 3}, {"order": ["-title"], "limit": 5, "fields": ["title"]}):
                held.append(Held(client, await start(client, **asked), asked))
        for _ in range(8):
            gone = [recs.pop(rng.choice((0, -1))) for _ in range(8)]
            for rec in gone[:4]:
                await editor.send("record.delete", type="event", rec=rec)
            await other.send("record.update", type="event", rec=recs[len(recs) // 2], data={"title": rng.choice("05z")})
            await editor.ok("record.batch", ops=[{"op": "record.delete", "type": "event", "rec": r} for r in gone[4:]])
            await other.settled()
            assert not any([await window.differs() for window in held])


async def test_a_window_goes_on_where_it_was_on_another_socket(tenant: Tenant, codec: str) -> None:
    asked = {"order": ["title"], "limit": 3}
    async with tenant.client("editor", codec) as writer:
        recs = await make(writer, *"bdfh")
        async with tenant.client("editor", codec) as reader:
            before = await start(reader, **asked)
        held = {record["id"]: record for record in before["records"]}
        versions = {rec: record["version"] for rec, record in held.items()}
        await make(writer, "a")
        await writer.ok("record.update", type="event", rec=recs[1], data={"timezone": "UTC"})
        await writer.ok("record.delete", type="event", rec=recs[0])
        async with tenant.client("editor", codec) as reader:
            data = await start(reader, **asked, since={**since(before), "have": versions})
            assert (data["resumed"], data["mark"], len(data["events"])) == (True, before["mark"], 1)
            (body,) = data["events"]
            assert body["seq"] == data["seq"] == before["seq"] + 3
            held = window_applied(held, body)
            assert list(held) != [record["id"] for record in await found(reader, **asked)]
            assert sorted(held) == sorted(record["id"] for record in await found(reader, **asked))
            assert all([held[record["id"]] == record for record in await found(reader, **asked)])
            for given in (since(before), {**since(before, 2**53 - 1), "have": versions}):
                again = await start(reader, **asked, since=given)
                assert (again["resumed"], again["why"], len(again["records"])) == (False, "expired", 3)
            wrong = await start(reader, order=["-title"], limit=3, since={**since(before), "have": versions})
            assert (wrong["resumed"], wrong["why"]) == (False, "query")


async def test_a_window_under_a_parent_shows_its_children_only(editor: Client) -> None:
    one, two = await make(editor, "a", "b")
    data = await start(editor, type="event_location", parent={"type": "event", "rec": one}, order=["-name"], limit=1)
    for event, name in ((one, "Hall"), (two, "Zoo"), (one, "Lobby"), (one, "Attic")):
        await editor.create("event_location", event, name=name)
    events = await editor.changes(data["watch"])
    assert [event["record"]["name"] for event in events if event["kind"] == "enter"] == ["Hall", "Lobby"]
    assert [event["why"] for event in events if event["kind"] == "leave"] == ["window"]


async def test_the_windows_of_a_socket_show_ten_thousand_records_together(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as editor:
        watches = [
            (await start(editor, order=["title"], limit=1000, where={"title": {"$gt": str(n)}}))["watch"]
            for n in range(10)
        ]
        assert await editor.refused("watch.start", type="event", limit=1) == ("watch.too_many", "limit")
        await start(editor)  # without a limit there is nothing to hold
        await editor.ok("watch.stop", watch=watches[3])
        await start(editor, limit=1000)


async def test_a_large_window_comes_in_pages_in_order(editor: Client) -> None:
    for part in range(3):
        await editor.ok("record.batch", ops=[
            {"op": "record.create", "type": "event", "data": {"title": f"{n * 7 % 600:03}", "acronym": f"e{n}"}}
            for n in range(part * 200, part * 200 + 200)
        ])  # fmt: skip
    data = (await editor.call("watch.start", type="event", order=["title"], limit=550))["data"]
    assert data["more"] is True
    await editor.settled()
    pages = [message for message in editor.log if message["op"] == "snapshot"]
    records = [*data["records"], *(record for page in pages for record in page["records"])]
    assert [record["title"] for record in records] == [f"{n:03}" for n in range(550)]


async def test_a_window_says_nothing_of_records_of_another_account(tenant: Tenant, codec: str) -> None:
    stranger = await make_tenant(tenant.process)
    async with tenant.client("editor", codec) as editor, stranger.client("editor", codec) as other:
        (foreign,) = await make(other, "a")
        await other.ok("record.update", type="event", rec=foreign, data={"title": "b"})
        before = await start(editor, order=["title"], limit=3)
        given = {**since(before), "have": {foreign: 1, "AAAAAAAAAAA": 1}}
        data = await start(editor, order=["title"], limit=3, since=given)
        (body,) = data["events"]
        assert body["events"] == [
            {"kind": "leave", "rec": rec, "why": "deleted", "version": 1} for rec in (foreign, "AAAAAAAAAAA")
        ]
        await make(other, "0")
        assert await editor.changes(data["watch"]) == []


async def test_a_second_start_of_a_window_counts_and_a_lost_one_begins_again(editor: Client) -> None:
    asked: Message = {"order": ["title"], "limit": 2}
    first, second = await start(editor, **asked), await start(editor, **asked)
    assert (first["watch"], first["mark"]) == (second["watch"], second["mark"])
    await make(editor, "b")
    assert len(await editor.changes(first["watch"])) == 1
    await editor.ok("watch.stop", watch=first["watch"])
    await make(editor, "a")
    assert len(await editor.changes(first["watch"])) == 1
    await editor.ok("watch.stop", watch=first["watch"])
    assert await editor.refused("watch.stop", watch=first["watch"]) == ("record.not_found", "watch")
    again = await start(editor, **asked)
    assert [record["title"] for record in again["records"]] == ["a", "b"]


async def test_a_window_of_another_epoch_is_a_snapshot(editor: Client) -> None:
    (event,) = await make(editor, "a")
    before = await start(editor, limit=2)
    other = {"mark": before["mark"].rpartition(".")[0] + ".other", "seq": before["seq"], "have": {event: 1}}
    data = await start(editor, limit=2, since=other)
    assert (data["resumed"], data["why"], [record["id"] for record in data["records"]]) == (False, "epoch", [event])


async def test_the_python_client_keeps_a_window_in_order_over_lost_sockets(tenant: Tenant, codec: str) -> None:
    rng = Random(f"client {codec}")
    asked: Message = {"type": "event", "order": ["-timezone", "title"], "limit": 4, "fields": ["acronym"]}
    live, resumed = LiveSet(asked), 0
    async with tenant.client("editor", codec) as writer:
        recs = await make(writer, *"abcdefgh")
        for turn in range(4):
            async with tenant.client("editor", codec) as reader:
                data = await reader.ok("watch.start", **live.begin())
                resumed += data["resumed"]
                live.started(data)
                for n in range(6):
                    if turn % 2:
                        change = {"timezone": rng.choice(("", "UTC", "Europe/Berlin")), "title": rng.choice("xyzÄß😀")}
                        await writer.ok("record.update", type="event", rec=rng.choice(recs), data=change)
                    else:
                        await writer.ok("record.delete", type="event", rec=recs.pop(rng.randrange(len(recs))))
                        recs += await make(writer, f"new{turn}{n}")
                    answer = await found(reader, **{**asked, "fields": ["acronym", "timezone", "title"]})
                    for push in reader.pushes:
                        live.change(push)
                    reader.pushes.clear()
                    assert list(live.ordered) == answer
            live.lost()
            await writer.ok("record.update", type="event", rec=recs[-1], data={"title": str(turn)})
    assert resumed == 3
    assert not live.astray
