"""feed.start, feed.ack, feed.stop: a service that is stopped anywhere misses nothing and sees nothing twice."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

from channels.feeds import FEEDS_PER_SOCKET, WINDOW_BYTES, WINDOW_COMMITS
from tests.wire.hubprocess import HubProcess
from tests.wire.talk import Client, Message, Refused
from tests.wire.tenant import Tenant, make_tenant, operator


async def pushed(client: Client, name: str, *, owed: bool = False) -> list[Message]:
    """Take and return what a feed pushed until nothing more came for a while; where something is owed, wait for it."""
    quiet = 0
    found: list[Message] = []
    until = time.monotonic() + 10
    while quiet < 3 or (owed and not found and time.monotonic() < until):
        await client.settled()
        mine = [m for m in client.pushes if m["op"] == "feed" and m["name"] == name]
        client.pushes = [m for m in client.pushes if m not in mine]
        found += mine
        quiet = 0 if mine else quiet + 1
        await asyncio.sleep(0.03)
    return found


async def test_a_feed_says_who_changed_what_when_and_from_what(tenant: Tenant, codec: str) -> None:
    async with tenant.client("owner", codec) as owner, tenant.client("editor", codec) as editor:
        started = await owner.ok("feed.start", name="crm")
        assert started == {"epoch": owner.hello["epoch"], "seq": owner.hello["seq"], "resumed": False, "why": "new"}
        event, seq = await editor.seq("record.create", type="event", data={"title": "a", "acronym": "a"})
        first = await owner.push("feed")
        assert (first["name"], first["epoch"], first["seq"], first["at"]) == (
            "crm", started["epoch"], seq, event["created_at"],
        )  # fmt: skip
        assert (first["actor"], first["session"]) == (event["created_by"], editor.hello["session"])
        (made,) = first["events"]
        assert (made["kind"], made["type"], made["rec"], made["version"]) == ("create", "event", event["id"], 1)
        assert (made["before"], made["after"]["title"]) == (None, "a")
        await editor.ok("record.update", type="event", rec=event["id"], data={"title": "b"})
        (changed,) = (await owner.push("feed"))["events"]
        assert (changed["before"], changed["after"], changed["version"]) == ({"title": "a"}, {"title": "b"}, 2)
        good = {"op": "record.create", "type": "event", "data": {"title": "c"}}
        await editor.ok("record.batch", ops=[good, good])
        batch = await owner.push("feed")
        assert [e["kind"] for e in batch["events"]] == ["create", "create"]
        await editor.ok("record.delete", type="event", rec=event["id"])
        (gone,) = (await owner.push("feed"))["events"]
        assert (gone["kind"], gone["before"]) == ("delete", {"deleted_at": None})
        entries = (await owner.ok("record.history", type="event", rec=event["id"]))["entries"]
        shown = [{k: e[k] for k in ("kind", "version", "before", "after")} for e in reversed(entries)]
        assert shown == [{k: e[k] for k in ("kind", "version", "before", "after")} for e in (made, changed, gone)]


async def test_a_feed_that_is_started_again_goes_on_behind_what_was_acknowledged(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as editor:
        async with tenant.client("owner", codec) as owner:
            await owner.ok("feed.start", name="crm")
            seqs = [(await editor.seq("record.create", type="event", data={"title": f"{n}"}))[1] for n in range(6)]
            assert [m["seq"] for m in await pushed(owner, "crm")] == seqs
            assert await owner.ok("feed.ack", name="crm", seq=seqs[2]) == {"seq": seqs[2]}
            assert await owner.ok("feed.ack", name="crm", seq=seqs[0]) == {"seq": seqs[2]}
        seqs.append((await editor.seq("record.create", type="event", data={"title": "meanwhile"}))[1])
        async with tenant.client("owner", codec) as owner:
            started = await owner.ok("feed.start", name="crm")
            assert (started["seq"], started["resumed"], "why" in started) == (seqs[2], True, False)
            assert [m["seq"] for m in await pushed(owner, "crm")] == seqs[3:]
            await owner.ok("feed.ack", name="crm", seq=seqs[-1])
            await owner.ok("feed.stop", name="crm")
            assert await owner.refused("feed.ack", name="crm", seq=seqs[-1]) == ("record.not_found", "name")
            await editor.create("event", title="not heard")
            assert await pushed(owner, "crm") == []
            since = {"epoch": owner.hello["epoch"], "seq": seqs[4]}
            assert (await owner.ok("feed.start", name="own-books", since=since))["resumed"] is True
            plain = await owner.ok("feed.start", name="own-number", since=seqs[4])
            assert plain == {**since, "resumed": True}
            assert [m["seq"] for m in await pushed(owner, "own-books")] == [*seqs[5:], seqs[-1] + 1]
            await owner.ok("feed.stop", name="crm", forget=True)
            assert (await owner.ok("feed.start", name="crm"))["why"] == "new"


async def test_what_is_pushed_and_not_acknowledged_is_bounded_in_number(tenant: Tenant) -> None:
    async with tenant.client("editor") as editor, tenant.client("owner") as owner:
        start = (await owner.ok("feed.start", name="crm"))["seq"]
        total = WINDOW_COMMITS + 300
        asked = [await editor.send("record.create", type="event", data={"title": f"{n}"}) for n in range(900)]
        for number in asked:
            await editor.answer(number)
        asked = [await editor.send("record.create", type="event", data={"title": f"{n}"}) for n in range(total - 900)]
        for number in asked:
            await editor.answer(number)
        found = await pushed(owner, "crm")
        size = sum(len(owner.encode(m)) for m in found)
        assert len(found) == WINDOW_COMMITS or size >= WINDOW_BYTES
        assert size < WINDOW_BYTES * 1.1
        seqs = [m["seq"] for m in found]
        while len(seqs) < total:
            await owner.ok("feed.ack", name="crm", seq=seqs[-1])
            more = await pushed(owner, "crm")
            assert more, "an acknowledgement opens the window"
            seqs += [m["seq"] for m in more]
        assert seqs == [*range(start + 1, start + total + 1)]


async def test_large_commits_come_in_parts_and_wait_for_acknowledgement(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as editor, tenant.client("owner", codec) as owner:
        await owner.ok("feed.start", name="crm")
        ops = [{"op": "record.create", "type": "event", "data": {"title": "x" * 150}} for _ in range(1000)]
        seqs = [(await editor.seq("record.batch", ops=ops))[1] for _ in range(2)]
        first = await pushed(owner, "crm")
        assert {m["seq"] for m in first} == {seqs[0]}, "the second waits"
        assert [m.get("more", False) for m in first] == [True] * (len(first) - 1) + [False]
        assert len(first) > 1
        assert max(len(owner.encode(m)) for m in first) < 400_000
        assert len({e["rec"] for m in first for e in m["events"]}) == 1000
        await owner.ok("feed.ack", name="crm", seq=seqs[0])
        assert {m["seq"] for m in await pushed(owner, "crm", owed=True)} == {seqs[1]}


async def test_only_who_may_follow_the_log_does_and_sees_what_they_may_read(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as editor:
        for op, more in (("feed.start", {}), ("feed.stop", {"forget": True})):
            assert await editor.refused(op, name="crm", **more) == ("access.denied", None)
        assert await editor.refused("feed.ack", name="crm", seq=1) == ("record.not_found", "name")
    async with operator(tenant.process, tenant.name) as boss:
        issue = {"action": "api_key.issue", "args": {"role": "manager", "name": "m"}}
        key = (await boss.ok("action.call", **issue))["key"]
        tenant.process.secrets.add(key)
        async with tenant.client("owner", codec) as owner, tenant.client(None, codec) as manager:
            await manager.greet(key)
            await owner.ok("feed.start", name="all")
            await manager.ok("feed.start", name="some")
            made = await boss.ok("action.call", **issue)
            tenant.process.secrets.add(made["key"])
            await owner.create("event", title="seen by both")
            seen = [e for m in await pushed(owner, "all") for e in m["events"]]
            assert [e["type"] for e in seen] == ["api_key", "event"]
            assert seen[0]["rec"] == made["id"]
            assert "digest" not in seen[0]["after"]
            assert made["key"] not in str(owner.log)
            found = await pushed(manager, "some")
            assert [e["type"] for m in found for e in m["events"]] == ["event"]
            # What was not shown is acknowledged with what was.
            assert await manager.ok("feed.ack", name="some", seq=found[0]["seq"]) == {"seq": found[0]["seq"]}


@pytest.mark.parametrize(
    ("op", "fields", "refusal"),
    [
        ("feed.start", {"name": ""}, ("data.invalid", "name")),
        ("feed.start", {"name": "a" * 65}, ("data.invalid", "name")),
        ("feed.start", {"name": "a b"}, ("data.invalid", "name")),
        ("feed.start", {"name": "../a"}, ("data.invalid", "name")),
        ("feed.start", {"name": "é"}, ("data.invalid", "name")),
        ("feed.start", {"name": "a", "since": {"seq": 1}}, ("data.invalid", "since.epoch")),
        ("feed.start", {"name": "a", "since": {"epoch": "e", "seq": -1}}, ("data.invalid", "since.seq")),
        ("feed.ack", {"name": "none", "seq": 1}, ("record.not_found", "name")),
        ("feed.ack", {"name": "crm", "seq": 10_000}, ("data.invalid", "seq")),
        ("feed.ack", {"name": "crm"}, ("data.invalid", "seq")),
        ("feed.stop", {"name": "none"}, ("record.not_found", "name")),
    ],
    ids=str,
)
async def test_what_is_asked_wrongly_is_refused(
    tenant: Tenant, codec: str, op: str, fields: dict[str, Any], refusal: tuple[str, str]
) -> None:
    async with tenant.client("owner", codec) as owner:
        await owner.ok("feed.start", name="crm")
        code, path = await owner.refused(op, **fields)
        assert (code, path) in {refusal, (refusal[0], refusal[1].partition(".")[0])}
        await owner.create("event", title="a")
        assert len(await pushed(owner, "crm")) == 1


async def test_a_socket_has_a_bounded_number_of_feeds_and_a_feed_one_socket(tenant: Tenant) -> None:
    async with tenant.client("owner") as first, tenant.client("owner") as second:
        for n in range(FEEDS_PER_SOCKET):
            await first.ok("feed.start", name=f"f{n}")
        await first.ok("feed.start", name="f0")
        await first.push("reset", lambda m: m == {"op": "reset", "feed": "f0", "why": "taken"})
        assert await first.refused("feed.start", name="more") == ("rate.limited", "name")
        await second.ok("feed.start", name="f1")
        assert (await first.push("reset"))["feed"] == "f1"
        made = (await second.create("event", title="a"))["id"]
        assert [m["events"][0]["rec"] for m in await pushed(second, "f1")] == [made]
        assert [m["name"] for m in await pushed(first, "f0")] == ["f0"]
        assert await pushed(first, "f1") == []
        assert await first.refused("feed.ack", name="f1", seq=1) == ("record.not_found", "name")
        await first.greet(account=tenant.name)  # a second hello ends what was begun
        await second.create("event", title="b")
        assert await pushed(first, "f0") == []


async def test_numbers_of_another_history_are_not_gone_on_from(tenant: Tenant) -> None:
    async with tenant.client("owner") as owner:
        head = (await owner.ok("session.beat"))["seq"]
        other = {"epoch": "another", "seq": 1}
        assert await owner.ok("feed.start", name="a", since=other) == {
            "epoch": owner.hello["epoch"], "seq": head, "resumed": False, "why": "epoch",
        }  # fmt: skip
        ahead = {"epoch": owner.hello["epoch"], "seq": head + 5}
        assert (await owner.ok("feed.start", name="b", since=ahead))["why"] == "epoch"
        whole = {"epoch": owner.hello["epoch"], "seq": 0}
        assert (await owner.ok("feed.start", name="c", since=whole))["resumed"] is True
        assert (await pushed(owner, "c"))[0]["seq"] == 1


async def test_a_service_that_is_cut_and_a_hub_that_is_killed_leave_no_hole_and_nothing_twice(tmp_path: Path) -> None:
    """The service acknowledges now and then, and is cut; the hub is killed. What it has done is checked at the end."""
    hub = HubProcess(tmp_path / "data")
    tenant = await make_tenant(hub)
    rng = Random(11)
    written: list[int] = []

    async def write(count: int) -> None:
        async with tenant.client("editor") as editor:
            for n in range(count):
                written.append((await editor.seq("record.create", type="event", data={"title": f"{n}"}))[1])

    done: list[int] = []
    acknowledged = 0
    async with tenant.client("owner") as owner:
        begun = (await owner.ok("feed.start", name="crm"))["seq"]
        acknowledged = (await owner.ok("feed.ack", name="crm", seq=begun))["seq"]
    for turn in range(6):
        writing = asyncio.create_task(write(40))
        async with tenant.client("owner") as owner:
            started = await owner.ok("feed.start", name="crm")
            assert (started["seq"], started["resumed"]) == (acknowledged, True)
            seen: list[int] = []
            for _ in range(rng.randrange(1, 30)):
                seen.append((await owner.push("feed"))["seq"])
                if rng.random() < 0.3:
                    acknowledged = (await owner.ok("feed.ack", name="crm", seq=seen[-1]))["seq"]
            assert seen == [*range(started["seq"] + 1, seen[-1] + 1)]
            done = [seq for seq in done if seq <= started["seq"]] + seen
        await writing
        if turn % 2:
            hub.signal(signal.SIGKILL)
            hub.wait()
            hub = HubProcess(hub.data)
            tenant.process = hub
    async with tenant.client("owner") as owner:
        started = await owner.ok("feed.start", name="crm")
        rest = [m["seq"] for m in await pushed(owner, "crm")]
    assert started["seq"] == acknowledged
    assert [seq for seq in done if seq <= acknowledged] + rest == written
    hub.stop()


async def test_a_feed_is_for_sockets(tenant: Tenant) -> None:
    async with tenant.client("owner") as owner:
        with pytest.raises(Refused):
            await owner.ok("feed.start", name="crm", nope=1)
