"""Writes repeated with their key after the world has changed, over both keepers: the answer is that of then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.wire.inside import Inside, assembled, assembled_in_memory
from tests.wire.talk import Client, Message, connected

OPS = ("record.create", "record.upsert", "record.update", "record.delete", "record.batch")
MATCH = {"match": ["acronym"], "data": {"title": "B", "acronym": "b"}}


@pytest.fixture(params=["sqlite", "memory"])
def inside(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """A hub over each keeper."""
    memory = request.param == "memory"
    return assembled_in_memory(tmp_path / "data", monkeypatch) if memory else assembled(tmp_path / "data")


@asynccontextmanager
async def greeted(inside: Inside, key: str) -> AsyncIterator[Client]:
    async with connected(inside.socket_url) as client:
        await client.greet(key)
        yield client


def write(op: str, event: Message) -> Message:
    """Return the fields of a write about an event, or of a batch of all of them."""
    rec = {"rec": event["id"]}
    fields: dict[str, Message] = {
        "record.create": {"data": {"title": "C", "acronym": "c"}},
        "record.upsert": MATCH,
        "record.update": {**rec, "data": {"title": "new"}, "if_version": 1},
        "record.delete": {**rec, "if_version": 1},
    }
    if op == "record.batch":
        del fields["record.delete"]["if_version"]  # an earlier item raises it
        return {"ops": [{"op": name, "type": "event", **of_one} for name, of_one in fields.items()]}
    return {"type": "event", **fields[op]}


async def wreck(client: Client) -> None:
    """Delete every event, and make others that have their acronyms."""
    for record in (await client.ok("record.find", type="event"))["records"]:
        await client.ok("record.delete", type="event", rec=record["id"])
    for acronym in "abc":
        await client.create("event", title="another", acronym=acronym)


@pytest.mark.parametrize("op", OPS)
async def test_a_repeated_write_answers_as_then(inside: Inside, op: str) -> None:
    async with inside.running():
        _, key = await inside.make_account("mine")
        async with greeted(inside, key) as client:
            fields = {**write(op, await client.create("event", title="A", acronym="a")), "key": "k"}
            first = await client.call(op, **fields)
            assert first["op"] == "ok", first
            await wreck(client)
            before = await client.ok("record.find", type="event", deleted=True)
            again = await client.call(op, **fields)
            assert (again.get("data"), again.get("seq")) == (first["data"], first["seq"])
            assert await client.ok("record.find", type="event", deleted=True) == before


@pytest.mark.parametrize("op", OPS)
async def test_a_repeated_write_needs_the_right_again(inside: Inside, op: str) -> None:
    async with inside.running():
        _, owner = await inside.make_account("mine")
        async with greeted(inside, owner) as client:
            issued = await client.ok("action.call", action="api_key.issue", args={"role": "editor"})
            fields = {**write(op, await client.create("event", title="A", acronym="a")), "key": "k"}
            answers: list[Any] = []
            for role in ("editor", "viewer", "editor"):
                await client.ok("record.update", type="api_key", rec=issued["id"], data={"role": role})
                async with greeted(inside, issued["key"]) as other:
                    answers.append(await other.call(op, **fields))
            assert [a.get("code", "ok") for a in answers] == ["ok", "access.denied", "ok"]
            assert (answers[2]["data"], answers[2]["seq"]) == (answers[0]["data"], answers[0]["seq"])
