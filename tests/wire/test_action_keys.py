"""The key of an action.call: done once, answered the same again, over both keepers and over two instances."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from handlers.base import system_clock
from hub import ChangeRecord, Context, HubError, NewRecord, app
from hub.schema.registry import Registry
from hub.schema.writes import Commit, Committed
from packs.events.records import Event
from storage.memory import MemoryDatabase, MemoryStorage
from tests.wire.deeds import Ask, Deed, make_event
from tests.wire.inside import Inside, assembled, assembled_in_memory
from tests.wire.talk import Client, Message, connected

DEED = {"action": "event.deed", "key": "k"}


@pytest.fixture(params=["sqlite", "memory"])
def inside(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """A hub over each keeper."""
    memory = request.param == "memory"
    return assembled_in_memory(tmp_path / "data", monkeypatch) if memory else assembled(tmp_path / "data")


@asynccontextmanager
async def owner_of(inside: Inside) -> AsyncIterator[Client]:
    """Greet a running hub as the owner of a fresh account."""
    _, key = await inside.make_account("mine")
    async with connected(inside.socket_url) as client:
        await client.greet(key)
        yield client


async def titles(client: Client) -> list[str]:
    return [record["title"] for record in (await client.ok("record.find", type="event", order=["title"]))["records"]]


def said(message: Message) -> tuple[Any, Any]:
    assert message["op"] == "ok", message
    return message["data"], message["seq"]


async def test_a_repeated_call_answers_the_same_and_does_not_run(inside: Inside) -> None:
    deed = Deed(inside, make_event)
    async with inside.running(), owner_of(inside) as client:
        first = await client.call("action.call", **DEED)
        await client.ok("record.delete", type="event", rec=first["data"]["rec"])
        again = await client.call("action.call", **DEED)
        assert (said(again), deed.runs) == (said(first), 1)
        assert first["data"]["seq"] == first["seq"]
        assert await titles(client) == []


async def test_while_the_first_runs_the_second_waits_and_answers_the_same(inside: Inside) -> None:
    deed = Deed(inside, make_event)
    async with inside.running(), owner_of(inside) as client:
        deed.gate.clear()
        numbers = [await client.send("action.call", **DEED) for _ in range(5)]
        other = await client.send("action.call", **DEED, args={"title": "B"})
        unrelated = await client.send("action.call", action="event.deed", args={"title": "C"}, key="another")
        await deed.begun(2)
        await client.settled()
        deed.gate.set()
        answers = [said(await client.answer(number)) for number in numbers]
        reused = await client.answer(other)
        assert (reused["code"], reused["path"]) == ("key.reused", "key")
        assert (await client.answer(unrelated))["op"] == "ok"
        assert answers == [answers[0]] * 5
        assert (deed.runs, await titles(client)) == (2, ["A", "C"])


async def test_where_the_first_is_refused_the_second_runs(inside: Inside) -> None:
    async def refuse(ctx: Context, args: Ask) -> Any:
        deed.run = make_event
        raise HubError("action.failed", "Not now.")

    deed = Deed(inside, refuse)
    async with inside.running(), owner_of(inside) as client:
        deed.gate.clear()
        numbers = [await client.send("action.call", **DEED, args={"title": title}) for title in ("A", "B", "B")]
        await deed.begun()
        deed.gate.set()
        answers = [await client.answer(number) for number in numbers]
        assert [a.get("code", "ok") for a in answers] == ["action.failed", "ok", "ok"]
        assert (said(answers[1]) == said(answers[2]), deed.runs, await titles(client)) == (True, 2, ["B"])


async def test_nothing_is_kept_where_nothing_was_committed(inside: Inside) -> None:
    async def look(ctx: Context, args: Ask) -> int:
        return len(await ctx.find(Event))

    deed = Deed(inside, look)
    async with inside.running(), owner_of(inside) as client:
        assert await client.ok("action.call", **DEED) == 0
        await client.create("event", title="A")
        again = await client.call("action.call", **DEED)
        assert (again["data"], "seq" in again, deed.runs) == (1, False, 2)
        deed.run = make_event
        await client.ok("action.call", **DEED, args={"title": "B"})  # so the key is still free


async def test_a_repeated_key_needs_the_right_again(inside: Inside) -> None:
    Deed(inside, make_event)
    async with inside.running(), owner_of(inside) as client:
        issued = await client.ok("action.call", action="api_key.issue", args={"role": "editor"})
        rec = {"type": "api_key", "rec": issued["id"]}
        said_then: list[Any] = []
        for role in ("editor", "viewer", "editor"):
            await client.ok("record.update", **rec, data={"role": role})
            async with connected(inside.socket_url) as other:
                await other.greet(issued["key"])
                if role == "viewer":
                    assert (await other.refused("action.call", **DEED))[0] == "access.denied"
                else:
                    said_then.append(said(await other.call("action.call", **DEED)))
        assert said_then[0] == said_then[1]


# -- answers that get lost ---------------------------------------------------------------------------


async def test_an_answer_that_was_lost_with_its_hub_is_given_by_the_next(tmp_path: Path) -> None:
    hubs = [await asyncio.to_thread(assembled, tmp_path / "data")]
    deed = Deed(hubs[0], make_event)
    async with hubs[0].running():
        account, key = await hubs[0].make_account("mine")
        async with connected(hubs[0].socket_url) as client:
            await client.greet(key)
            deed.gate.clear()
            await client.send("action.call", **DEED)
            await deed.begun()
        deed.gate.set()
    hubs.append(await asyncio.to_thread(assembled, tmp_path / "data"))
    deed = Deed(hubs[1], make_event)
    async with hubs[1].running(), connected(hubs[1].socket_url) as client:
        await client.greet(key)
        (event,) = (await client.ok("record.find", type="event"))["records"]
        data, seq = said(await client.call("action.call", **DEED))
        head = (await hubs[1].parts.storage.heads([account]))[account].seq
        assert (data["rec"], data["seq"], deed.runs) == (event["id"], seq, 0)
        assert seq == head


async def test_a_deadline_during_the_commit_is_an_unknown_outcome(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    deed = Deed(inside, make_event)
    async with inside.running(), owner_of(inside) as client:
        queued: list[tuple[Commit, asyncio.Future[Committed]]] = []
        submit = inside.parts.storage.submit

        def later(commit: Commit) -> asyncio.Future[Committed]:
            queued.append((commit, asyncio.get_running_loop().create_future()))
            return queued[-1][1]

        with monkeypatch.context() as slow:
            slow.setattr(inside.parts.storage, "submit", later)
            late = await client.call("action.call", **DEED, timeout=0.05)
        assert (late["code"], late["retry_after"]) == ("write.unknown", 1)
        committed = await submit(queued[0][0])
        assert said(await client.call("action.call", **DEED, timeout=0.05)) == (committed.answer, committed.seq)
        deed.gate.clear()
        waits = await client.call("action.call", action="event.deed", key="l", timeout=0.05)
        assert waits["code"] == "action.timeout", "where nothing was on its way, nothing was done"
        deed.gate.set()
        assert await titles(client) == ["A"]


async def test_an_answer_that_is_shown_once_is_neither_kept_nor_made_again(tmp_path: Path) -> None:
    inside = await asyncio.to_thread(assembled, tmp_path / "data")
    issue = {"action": "api_key.issue", "args": {"role": "viewer", "name": "mine"}, "key": "k"}
    async with inside.running(), owner_of(inside) as client:
        first = await client.call("action.call", **issue)
        again = await client.call("action.call", **issue)
        assert (again["code"], again["path"], again["details"]) == ("action.failed", "key", {"seq": first["seq"]})
        found = await client.ok("record.find", type="api_key", where={"name": "mine"})
        assert [record["id"] for record in found["records"]] == [first["data"]["id"]]
        async with connected(inside.socket_url) as other:
            await other.greet(first["data"]["key"])
    secret = first["data"]["key"].encode()
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert not [path.name for path in files if secret in path.read_bytes()]


# -- two instances over one database -----------------------------------------------------------------


@pytest.fixture
def instances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Inside]:
    """Two hubs over one database in memory."""
    database = MemoryDatabase()

    def shared(registry: Registry, file: Path, clock: object, durability: str, migrate: str) -> MemoryStorage:
        return MemoryStorage(registry, system_clock, database)

    monkeypatch.setattr(app, "SqliteStorage", shared)
    return [assembled(tmp_path / name) for name in ("one", "two")]


@pytest.mark.parametrize("fate", ["commits too", "is refused", "loses a version"])
async def test_what_another_instance_did_meanwhile_is_the_answer(instances: list[Inside], fate: str) -> None:
    one, two = instances

    async def late(ctx: Context, args: Ask) -> Any:
        (event,) = await ctx.find(Event, {"title": "old"})
        if fate == "is refused":
            raise HubError("action.failed", "It is there already.")
        if fate == "loses a version":
            return await ctx.submit([ChangeRecord(Event, event["id"], {"title": "B"}, event["version"] + 1)], str)
        return await ctx.submit([NewRecord(Event, {"title": "A"})] * 2, lambda done: done.results[1].image["id"])

    quick, slow = Deed(one, make_event), Deed(two, late)
    async with one.running(), two.running():
        _, key = await one.make_account("mine")
        headers = {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(headers=headers, trust_env=False, timeout=20) as http:

            async def ask(hub: Inside, op: str, **fields: Any) -> Message:
                answer: Message = (await http.post(f"{hub.url}/rpc", json={"op": op, "id": 1, **fields})).json()
                return answer

            await ask(one, "record.create", type="event", data={"title": "old"})
            slow.gate.clear()
            waiting = asyncio.create_task(ask(two, "action.call", **DEED))
            await slow.begun()
            first = await ask(one, "action.call", **DEED)
            slow.gate.set()
            assert said(await waiting) == said(first)
            assert said(await ask(two, "action.call", **DEED)) == said(first)
            assert quick.runs == 1
            found = (await ask(two, "record.find", type="event", order=["title"]))["data"]["records"]
            assert [record["title"] for record in found] == ["A", "old"]
