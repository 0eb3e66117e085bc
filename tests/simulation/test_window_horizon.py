"""No answer overtakes what a window holds back, and nobody else waits for it."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from channels import refills, windows
from channels.refills import Windows
from hub.schema.query import Query
from hub.wire.codec import JSON, MSGPACK
from storage.base import Found
from storage.memory import MemoryStorage
from tests.simulation.client import Wanted
from tests.simulation.desk import REGISTRY, Desk, DeskClient

NOW = "2026-11-21T09:00:00.000Z"


class Gated(MemoryStorage):
    """A keeper whose reads of so many records wait for a gate."""

    def __init__(self) -> None:
        super().__init__(REGISTRY, lambda: NOW)
        self.gate = asyncio.Event()
        self.gate.set()

    async def find(self, account: str, query: Query) -> Found:
        if query.limit is not None:
            await self.gate.wait()
        return await super().find(account, query)


class Table:
    """A hub over a gated keeper, with two clients, of which the first watches a window."""

    def __init__(self) -> None:
        self.storage = Gated()
        self.desk = Desk(self.storage, Random(0))
        self.watcher = DeskClient(self.desk, JSON, "owner")
        self.other = DeskClient(self.desk, MSGPACK, "owner")

    async def dry(self) -> tuple[Wanted, asyncio.Task[list[dict[str, Any]]], asyncio.Task[list[dict[str, Any]]]]:
        """Leave a window dry; return it, and what its client and the other one asked since."""
        await self.desk.start()
        for client in (self.watcher, self.other):
            await client.hello()
        create = [{"op": "record.create", "type": "shelf", "data": {"name": str(n)}} for n in range(6)]
        recs = [answer["data"]["id"] for answer in await self.other.ask(*create)]
        wanted = Wanted(self.watcher.spec({"type": "shelf", "order": ["name"], "limit": 2}))
        await self.watcher.watch(wanted)
        await self.other.ask({"op": "record.delete", "type": "shelf", "rec": recs[0]})  # one is in reserve
        self.storage.gate.clear()
        delete = {"op": "record.delete", "type": "shelf", "rec": recs[1]}
        mine = asyncio.ensure_future(self.watcher.ask(delete, {"op": "session.beat"}))
        await asyncio.sleep(0.01)
        update = {"op": "record.update", "type": "shelf", "rec": recs[5], "data": {"note": "x"}}
        theirs = asyncio.ensure_future(self.other.ask(update, {"op": "session.beat"}))
        await asyncio.sleep(0.01)
        return wanted, mine, theirs

    async def close(self) -> None:
        """End."""
        for client in (self.watcher, self.other):
            client.end()
        await self.desk.close()


@pytest.fixture
async def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    monkeypatch.setattr(windows, "LEAST_RESERVE", 0)
    return Table()


async def test_answers_wait_for_what_a_window_owes_their_own_socket(table: Table) -> None:
    wanted, mine, theirs = await table.dry()
    assert not mine.done()
    assert [answer["op"] for answer in await theirs] == ["ok", "ok"]
    assert sorted(image["name"] for image in wanted.records.values()) == ["1", "2"]
    table.storage.gate.set()
    assert [answer["op"] for answer in await mine] == ["ok", "ok"]
    assert sorted(image["name"] for image in wanted.records.values()) == ["2", "3"]
    await table.close()


async def test_without_the_wait_an_answer_overtakes_the_push(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Windows, "owes", lambda windows, outlet, seq: False)
    wanted, mine, _ = await table.dry()
    assert mine.done()
    assert sorted(image["name"] for image in wanted.records.values()) == ["1", "2"], "answered, but not yet told"
    table.storage.gate.set()
    await table.close()


async def test_a_write_whose_push_takes_too_long_is_unknown(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refills, "REACH_SECONDS", 0.05)
    _, mine, _ = await table.dry()
    written, _ = await mine
    (beat,) = await table.watcher.ask({"op": "session.beat"})
    assert (written["code"], written["retry_after"]) == ("write.unknown", 2)
    assert (beat["code"], beat["retry_after"]) == ("server.unavailable", 2)
    table.storage.gate.set()
    await table.close()
