"""What nobody foresaw: the client gets a sentence and the number of an incident, the log a line with the same number,
the ids of request and session, and the traceback.

The hub runs in a process of its own, with a pack whose action fails; and once in this process, over a keeper that
fails, so that every operation can meet a fault.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub import logs
from tests.wire.hubprocess import HubProcess
from tests.wire.inside import Inside, assembled_in_memory
from tests.wire.talk import Client, Message, connected
from tests.wire.tenant import Tenant, make_tenant

INSIDE = "what-only-the-hub-knows-4b1c"
PACK = f'''
import asyncio
import logging

from msgspec import Struct

from hub import Context, action


class Fail(Struct, frozen=True, forbid_unknown_fields=True):
    word: str
    wait: bool = True


@action("faulty.fail", needs="event.read")
async def fail(ctx: Context, args: Fail) -> None:
    """Say something, then fail."""
    logging.getLogger("faulty").warning("on its way: %s", args.word)
    if args.wait:
        await asyncio.sleep(0.05)
    raise RuntimeError("{INSIDE}")
'''


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubProcess]:
    """A hub with the pack. At its end its log holds tracebacks, and each of them belongs to an incident."""
    (tmp_path / "faulty_pack.py").write_text(PACK, "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = HubProcess(tmp_path / "data", packs="packs.events,faulty_pack", log_format="json")
    yield process
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    lines = lines_of(process)
    assert all(line["message"].startswith("incident ") for line in lines if "traceback" in line)
    assert process.log.count("Traceback") == sum("traceback" in line for line in lines)
    assert [secret for secret in process.secrets if secret in process.log] == []


def lines_of(process: HubProcess) -> list[dict[str, Any]]:
    """Return the lines of the log."""
    return [json.loads(line) for line in process.log.splitlines()]


def incident_of(message: Message) -> str:
    """Return the incident that a refusal names; there is nothing else in it."""
    assert set(message) - {"id"} == {"op", "code", "message"}
    found = re.fullmatch(r"An unexpected fault; the log has it as incident ([\w-]{11})\.", message["message"])
    assert (message["op"], message["code"]) == ("error", "server.error")
    assert found is not None
    return found[1]


async def fail(client: Client, word: str, *, wait: bool = True) -> int:
    """Ask for the action that fails; return the number of the request."""
    return await client.send("action.call", action="faulty.fail", args={"word": word, "wait": wait})


async def test_a_line_of_the_log_names_the_request_and_the_session_that_caused_it(
    faulty: HubProcess, codec: str
) -> None:
    tenant: Tenant = await make_tenant(faulty)
    asked: dict[tuple[int, str], tuple[str, str]] = {}
    async with tenant.client("editor", codec) as one, tenant.client("viewer", codec) as other:
        for _ in range(3):
            await other.ok("session.beat")  # the same numbers on both sockets would prove little
        numbers = [
            (client, await fail(client, f"{client.hello['session']}-{n}", wait=n != 1), n)
            for n in range(3)
            for client in (one, other)
        ]
        for client, number, n in numbers:
            session = client.hello["session"]
            asked[number, session] = (incident_of(await client.answer(number)), f"{session}-{n}")
        for client in (one, other):
            await client.ok("session.beat")
            assert INSIDE not in str(client.log)
            assert "Traceback" not in str(client.log)
    lines = lines_of(faulty)
    incidents = {(line["request"], line["session"]): line for line in lines if line["message"].startswith("incident ")}
    said = {(line["request"], line["session"]): line for line in lines if line["logger"] == "faulty"}
    assert set(incidents) == set(said) == set(asked)
    assert len({incident for incident, _ in asked.values()}) == len(asked)
    for place, (incident, word) in asked.items():
        assert incidents[place]["message"] == f"incident {incident} in action.call"
        assert (incidents[place]["level"], incidents[place]["logger"]) == ("error", "hub.edge")
        assert f"RuntimeError: {INSIDE}" in incidents[place]["traceback"]
        assert (said[place]["message"], said[place]["level"]) == (f"on its way: {word}", "warning")
    assert not [line for line in lines if "request" in line and line not in [*incidents.values(), *said.values()]]


async def test_a_line_that_a_posted_request_caused_names_the_request(faulty: HubProcess) -> None:
    tenant: Tenant = await make_tenant(faulty)
    headers = {"authorization": f"Bearer {tenant.keys['viewer']}"}
    async with httpx.AsyncClient(base_url=faulty.url, headers=headers, trust_env=False) as http:
        requests = [
            {"op": "action.call", "id": number, "action": "faulty.fail", "args": {"word": str(number)}}
            for number in (41, 42, 43)
        ]
        answers = await asyncio.gather(*(http.post("/rpc", json=request) for request in requests))
    assert [answer.status_code for answer in answers] == [500] * 3
    assert all(INSIDE not in answer.text and "Traceback" not in answer.text for answer in answers)
    named = {answer.json()["id"]: f"incident {incident_of(answer.json())} in /rpc" for answer in answers}
    lines = [line for line in lines_of(faulty) if "request" in line]
    assert {line["request"]: line["message"] for line in lines if "traceback" in line} == named
    said = {line["request"]: line["message"] for line in lines if line["logger"] == "faulty"}
    assert said == {number: f"on its way: {number}" for number in named}


# -- in this process ---------------------------------------------------------------------------------


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """A hub in this process, over the keeper in memory."""
    return assembled_in_memory(tmp_path / "data", monkeypatch)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What is logged in this process, as the hub writes it."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logs.JsonFormatter())
    logging.getLogger().addHandler(handler)
    yield text
    logging.getLogger().removeHandler(handler)


async def test_a_fault_in_any_operation_is_an_incident_of_its_request(
    inside: Inside, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    async def fault(*arguments: Any, **options: Any) -> None:
        await asyncio.sleep(0)
        raise RuntimeError(INSIDE)

    async with inside.running():
        _, key = await inside.make_account("faulty")
        async with connected(inside.socket_url, codec) as one, connected(inside.socket_url, codec) as other:
            for client in (one, other):
                await client.greet(key)
            await other.ok("session.beat")  # so that the two sockets count differently
            event = {"type": "event", "rec": (await one.create("event", title="A"))["id"]}
            for name in ("get", "find"):
                monkeypatch.setattr(inside.parts.storage, name, fault)
            monkeypatch.setattr(inside.parts.storage, "submit", lambda commit: asyncio.ensure_future(fault()))
            asked: list[tuple[str, Message]] = [
                ("record.get", event),
                ("record.find", {"type": "event"}),
                ("record.create", {"type": "event", "data": {"title": "B"}}),
                ("record.upsert", {"type": "event", "data": {"acronym": "b", "title": "B"}, "match": ["acronym"]}),
                ("record.update", {**event, "data": {"title": "B"}}),
                ("record.delete", event),
                ("record.batch", {"ops": [{"op": "record.delete", **event}]}),
                ("watch.start", {"type": "event"}),
                ("channel.join", {"channel": f"event:{event['rec']}"}),
                ("manifest.get", {"container": event}),
                ("file.grant", {"hash": "0" * 64}),
                ("action.call", {"action": "event.import_programme", "args": {"programme": PROGRAMME}}),
            ]
            sent = [(client, op, await client.send(op, **more)) for op, more in asked for client in (one, other)]
            expected = {
                (number, client.hello["session"]): f"incident {incident_of(await client.answer(number))} in {op}"
                for client, op, number in sent
            }
            monkeypatch.undo()
            for client in (one, other):
                await client.ok("record.get", **event)
                assert INSIDE not in str(client.log)
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    told = {(line["request"], line["session"]): line["message"] for line in lines if "traceback" in line}
    assert told == expected


PROGRAMME: Message = {
    "event": {"acronym": "p", "title": "P"},
    "locations": [],
    "tracks": [],
    "persons": [],
    "sessions": [],
}
