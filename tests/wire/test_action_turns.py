"""Many calls of actions that touch the same records at once: all that can be done are, and whoever loses is told so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from handlers import actions
from hub import ChangeRecord, Context, HubError, NewRecord
from packs.events.records import Event
from tests.wire.deeds import Ask, Deed
from tests.wire.inside import Inside, assembled, assembled_in_memory
from tests.wire.talk import Client, Message, connected


@pytest.fixture(params=["sqlite", "memory"])
def inside(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """A hub over each keeper."""
    memory = request.param == "memory"
    return assembled_in_memory(tmp_path / "data", monkeypatch) if memory else assembled(tmp_path / "data")


async def lengthen(ctx: Context, args: Ask) -> int:
    """Add a letter to the titles of some records, at the versions that were read."""
    found = [await ctx.get(Event, rec) for rec in args.recs]
    writes = [ChangeRecord(Event, e["id"], {"title": e["title"] + "x"}, e["version"]) for e in found]
    return await ctx.submit(writes, lambda done: len(done.results))


async def asked(client: Client, calls: list[Message]) -> list[Message]:
    """Call the deed so often at once; return the answers."""
    numbers = [await client.send("action.call", action="event.deed", args=args) for args in calls]
    return [await client.answer(number) for number in numbers]


async def test_calls_that_touch_the_same_records_in_any_order_are_all_done(inside: Inside) -> None:
    deed = Deed(inside, lengthen)
    async with inside.running(), connected(inside.socket_url) as client:
        await client.greet((await inside.make_account("mine"))[1])
        recs = [(await client.create("event", title="A"))["id"] for _ in range(4)]
        pairs = [[recs[n % 4], recs[(n + step) % 4]] for n in range(20) for step in (1, 3)]
        answers = await asked(client, [{"recs": pair} for pair in pairs])
        assert [a.get("data", a.get("code")) for a in answers] == [2] * 40
        titles = [r["title"] for r in (await client.ok("record.find", type="event"))["records"]]
        assert titles == ["A" + "x" * 20] * 4
        assert deed.runs < 40 * actions.RUNS
        turns = inside.parts.hub.services.turns
        assert not [rec for rec in recs if turns.taken((client.hello["account"], "event", rec))]


async def test_who_always_loses_is_told_to_come_again_and_of_no_path_inside_the_hub(inside: Inside) -> None:
    async with inside.running(), connected(inside.socket_url) as client:
        await client.greet((await inside.make_account("mine"))[1])
        rec = (await client.create("event", title="A"))["id"]
        other = (await client.create("event", title="B"))["id"]

        async def lose(ctx: Context, args: Ask) -> Any:
            await ctx.get(Event, rec)
            version = 10**6 if len(args.recs) == 1 else (await ctx.get(Event, other))["version"]
            writes = [ChangeRecord(Event, r, {"title": "C"}, v) for r, v in ((other, version), (rec, 10**6))]
            return await ctx.submit(writes[: len(args.recs)], str)

        deed = Deed(inside, lose)
        for recs in ([rec], [rec, rec]):
            deed.runs = 0
            (answer,) = await asked(client, [{"recs": recs}])
            answer.pop("id")
            message = answer.pop("message")
            assert answer == {"op": "error", "code": "record.conflict", "retry_after": 1}
            assert "call it again" in message
            assert deed.runs == actions.RUNS


@pytest.mark.parametrize("many", [1, 2])
async def test_a_write_that_is_refused_names_no_path_that_the_caller_did_not_write(inside: Inside, many: int) -> None:
    async def clash(ctx: Context, args: Ask) -> Any:
        return await ctx.submit([NewRecord(Event, {"title": "A", "acronym": "taken"})] * many, str)

    async def refuse(ctx: Context, args: Ask) -> Any:
        raise HubError("record.conflict", "Not this title.", path="args.title")

    deed = Deed(inside, clash)
    async with inside.running(), connected(inside.socket_url) as client:
        await client.greet((await inside.make_account("mine"))[1])
        await client.create("event", title="A", acronym="taken")
        (answer,) = await asked(client, [{}])
        assert (answer["code"], answer.get("path"), answer["details"]) == (
            "record.exists",
            None,
            {"unique": ["acronym"]},
        )
        deed.run, deed.runs = refuse, 0
        (answer,) = await asked(client, [{}])
        assert (answer["code"], answer.get("path"), deed.runs) == ("record.conflict", "args.title", 1)


async def test_an_action_submits_once(inside: Inside) -> None:
    async def twice(ctx: Context, args: Ask) -> Any:
        for _ in range(2):
            await ctx.submit([NewRecord(Event, {"title": args.title})], str)

    Deed(inside, twice)
    async with inside.running(), connected(inside.socket_url) as client:
        await client.greet((await inside.make_account("mine"))[1])
        (answer,) = await asked(client, [{}])
        assert answer["code"] == "server.error"
        assert len((await client.ok("record.find", type="event"))["records"]) == 1


async def test_a_deadline_ends_the_wait_for_a_turn_too(inside: Inside) -> None:
    deed = Deed(inside, lengthen)
    async with inside.running(), connected(inside.socket_url) as client:
        account, key = await inside.make_account("mine")
        await client.greet(key)
        rec = (await client.create("event", title="A"))["id"]
        held = (account, "event", rec)
        call = {"action": "event.deed", "args": {"recs": [rec]}}
        async with inside.parts.hub.services.turns.of([held]):
            late = await client.call("action.call", **call, timeout=0.05)
            assert (late["code"], late["retry_after"]) == ("action.timeout", 1)
            number = await client.send("action.call", **call)
            await deed.begun(2)
        assert (await client.answer(number))["data"] == 1
        assert (await client.ok("record.get", type="event", rec=rec))["title"] == "Ax"
