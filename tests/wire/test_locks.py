"""lock.take, lock.keep, lock.release: one session says that it edits a record, and whoever is there sees it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from storage.locks import LEASE_SECONDS, InProcessLocks
from tests.wire.inside import Inside, assembled_in_memory
from tests.wire.talk import Client, Message, connected
from tests.wire.tenant import Tenant, make_tenant, operator
from tests.wire.test_channels import cut, join, make_event

OPS = ("lock.take", "lock.keep", "lock.release")


async def news(client: Client, count: int) -> list[tuple[str, str | None, str | None]]:
    """Take so many pushes of locks; return why, who has it, who had it; fail where there are more."""
    pushes = [await client.push("message", lambda m: m["event"] == "$lock") for _ in range(count)]
    await client.settled()
    assert [m for m in client.pushes if m["op"] == "message"] == []
    return [(d["why"], session(d["holder"]), session(d["was"])) for d in (push["data"] for push in pushes)]


def session(holder: Message | None) -> str | None:
    return None if holder is None else str(holder["session"])


async def test_a_lock_is_taken_kept_taken_over_and_released_and_who_is_there_is_told(
    tenant: Tenant, codec: str
) -> None:
    async with (
        tenant.client("editor", codec) as one,
        tenant.client("owner", codec) as other,
        tenant.client("viewer", codec) as seer,
    ):
        rec = await make_event(one)
        of, channel = {"type": "event", "rec": rec}, f"event:{rec}"
        assert "lock" not in await join(seer, channel)
        mine = await one.ok("lock.take", **of)
        assert set(mine) == {"holder", "number", "lease"}
        assert mine["lease"] == LEASE_SECONDS
        holder = mine["holder"]
        assert (holder["kind"], holder["name"], holder["session"]) == ("device", "editor", one.hello["session"])
        push = await seer.push("message")
        data = {**of, "why": "taken", "number": mine["number"], "holder": holder, "was": None}
        assert push == {"op": "message", "channel": channel, "event": "$lock", "data": data, "from": holder}
        assert await one.ok("lock.keep", **of) == mine
        assert (await join(seer, channel))["lock"] == {"holder": holder, "number": mine["number"]}
        for op in OPS:
            message = await other.call(op, **of)
            assert (message["code"], message["details"]) == ("lock.held", {"holder": holder}), op
        theirs = await other.ok("lock.take", **of, steal=True)
        assert (theirs["holder"]["name"], theirs["number"] > mine["number"]) == ("owner", True)
        # The loser is told though it has not joined; it has nothing to keep or to release.
        assert await news(one, 1) == [("stolen", other.hello["session"], one.hello["session"])]
        for op in OPS:
            assert await one.refused(op, **of) == ("lock.held", None)
        await one.ok("record.update", **of, data={"title": "B"})  # a lock is advice
        assert await other.ok("lock.release", **of) == {}
        assert await other.ok("lock.release", **of) == {}
        assert "lock" not in await join(seer, channel)
        assert (await one.ok("lock.keep", **of))["number"] > theirs["number"], "nobody has it: keeping is taking"
        assert [why for why, _, _ in await news(seer, 3)] == ["stolen", "released", "taken"]


async def test_a_lock_ends_with_its_session_and_outlives_a_short_cut(tenant: Tenant, codec: str) -> None:
    async with tenant.client("viewer", codec) as seer, tenant.client("editor", codec) as one:
        rec = await make_event(one)
        of, channel = {"type": "event", "rec": rec}, f"event:{rec}"
        await join(seer, channel)
        async with tenant.client("editor", codec) as gone:
            await gone.ok("lock.take", **of)
        assert await news(seer, 2) == [
            ("taken", gone.hello["session"], None),
            ("released", None, gone.hello["session"]),
        ]
        first = await one.ok("lock.take", **of)
        await cut(one)
        async with connected(tenant.process.socket_url, codec) as back:
            await back.greet(tenant.keys["editor"], resume=one.hello["resume"])
            assert await back.ok("lock.keep", **of) == first
            assert await news(seer, 1) == [("taken", one.hello["session"], None)]
            await back.greet(tenant.keys["editor"])  # a second hello: everything of before is over
            assert await news(seer, 1) == [("released", None, one.hello["session"])]


async def test_a_deleted_record_has_no_lock(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as one, tenant.client("owner", codec) as other:
        rec = await make_event(one)
        of = {"type": "event", "rec": rec}
        await one.ok("lock.take", **of)
        await other.ok("record.delete", **of)
        assert await news(one, 1) == [("deleted", None, one.hello["session"])]
        for op in OPS:
            assert await one.refused(op, **of) == ("record.not_found", "rec")
        await other.ok("record.restore", **of)
        assert (await other.ok("lock.take", **of))["holder"]["name"] == "owner"


async def test_who_may_not_edit_may_not_lock_and_nobody_locks_what_is_not_theirs(tenant: Tenant, codec: str) -> None:
    stranger = await make_tenant(tenant.process)
    async with (
        tenant.client("editor", codec) as one,
        tenant.client("viewer", codec) as viewer,
        stranger.client("owner", codec) as other,
    ):
        rec = await make_event(one)
        of = {"type": "event", "rec": rec}
        mine = await one.ok("lock.take", **of)
        for op in OPS:
            for rec_ in (rec, "nobodyhasit"):
                assert (await viewer.call(op, type="event", rec=rec_))["details"]["needs"] == "event.update"
            assert await other.refused(op, **of) == ("record.not_found", "rec")
            assert await other.refused(op, type="event", rec="a:b|c") == ("record.not_found", "rec")
            assert await other.refused(op, type="nothing", rec=rec) == ("type.unknown", "type")
            assert await other.refused(op, type="event", rec="") == ("data.invalid", "rec")
            assert await other.refused(op, type="event") == ("data.invalid", "rec")
        for refused in ({"steal": "yes"}, {"lease": 5}):
            assert (await one.refused("lock.take", **of, **refused))[0] == "data.invalid"
        assert (await one.refused("lock.keep", **of, steal=True))[0] == "data.invalid"
        async with operator(tenant.process, tenant.account) as console:
            assert (await console.refused("lock.take", **of, steal=True))[0] == "access.denied"
        assert await one.ok("lock.keep", **of) == mine, "none of that had an effect"
        assert one.pushes == []


async def test_the_event_of_a_lock_cannot_be_sent(tenant: Tenant) -> None:
    async with tenant.client("editor") as one:
        rec = await make_event(one)
        refused = await one.refused("channel.send", channel=f"event:{rec}", event="$lock", data={})
        assert refused == ("data.invalid", "event")


async def test_a_session_holds_so_many(tenant: Tenant) -> None:
    async with tenant.client("editor") as one:
        recs = [(await one.create("event", title="A", acronym=f"a{n}"))["id"] for n in range(101)]
        asked = [await one.send("lock.take", type="event", rec=rec) for rec in recs]
        codes = [(await one.answer(number)).get("code") for number in asked]
        assert codes == [None] * 100 + ["rate.limited"]
        await one.ok("lock.release", type="event", rec=recs[0])
        await one.ok("lock.take", type="event", rec=recs[100])


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    return assembled_in_memory(tmp_path / "data", monkeypatch)


async def test_a_lock_that_is_not_kept_lapses(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    async with inside.running():
        _, key = await inside.make_account("main")
        async with connected(inside.socket_url) as one, connected(inside.socket_url) as other:
            await one.greet(key)
            await other.greet(key)
            rec = await make_event(one)
            await join(other, f"event:{rec}")
            await one.ok("lock.take", type="event", rec=rec)
            locks = inside.parts.hub.services.live.locks
            assert isinstance(locks, InProcessLocks)
            monkeypatch.setattr(locks, "_clock", lambda: time.time() + LEASE_SECONDS)
            lapsed = ("lapsed", None, one.hello["session"])
            assert await news(other, 2) == [("taken", one.hello["session"], None), lapsed]
            assert await news(one, 1) == [lapsed]
            assert "lock" not in await join(other, f"event:{rec}")
