"""A keeper that fails in the middle of things: whoever is told `server.error` holds an incident of the log, and each
line names the request and the session that it is about, or none.

In this process, over SQLite: the requests below are those that run without a task and without a context of their own.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub import logs
from hub.auth import SIGNIN_CODE, make_token
from hub.edge import connection
from storage.base import Found, Hits
from storage.sql.questions import Questions
from storage.sql.searching import Searches
from storage.sql.writer import Writer
from tests.wire.inside import Inside, assembled
from tests.wire.talk import Client, Message, connected

Line = dict[str, Any]


@pytest.fixture
def inside(tmp_path: Path) -> Inside:
    """A hub in this process, over SQLite."""
    return assembled(tmp_path / "data")


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What is logged in this process, as the hub writes it."""
    text = io.StringIO()
    edge = logging.getLogger("hub.edge")
    before = edge.level
    edge.setLevel(logging.INFO)  # not by monkeypatch: loggers remember what they let through
    handler = logging.StreamHandler(text)
    handler.setFormatter(logs.JsonFormatter())
    logging.getLogger().addHandler(handler)
    yield text
    logging.getLogger().removeHandler(handler)
    edge.setLevel(before)


@asynccontextmanager
async def talking(inside: Inside, codec: str = "json") -> AsyncIterator[tuple[Client, Message, str]]:
    """Run the hub; yield a client of an owner, an event of theirs, and their key."""
    async with inside.running():
        _, key = await inside.make_account("faulty")
        async with connected(inside.socket_url, codec) as client:
            await client.greet(key)
            yield client, {"type": "event", "rec": (await client.create("event", title="A"))["id"]}, key


def lines_of(logged: io.StringIO) -> list[Line]:
    """Return the lines of the log."""
    return [json.loads(line) for line in logged.getvalue().splitlines()]


def incident_of(message: Message) -> str:
    """Return the incident that a `server.error` names."""
    found = re.fullmatch(r"An unexpected fault; the log has it as incident ([\w-]{11})\.", message["message"])
    assert message["code"] == "server.error"
    assert found is not None, message
    return found[1]


def failing(error: Exception) -> Callable[..., Any]:
    """Return a question that fails on the reader's thread."""

    def question(*arguments: Any, **options: Any) -> Callable[[sqlite3.Connection], Any]:
        def run(connection: sqlite3.Connection) -> Any:
            raise error

        return run

    return question


def passing() -> sqlite3.OperationalError:
    """Return an error of the database that may pass by itself."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    return error


async def test_each_reader_of_a_failed_read_holds_an_incident_of_its_own_request(
    inside: Inside, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    expected: dict[tuple[int, str], str] = {}
    async with talking(inside, codec) as (one, event, key), connected(inside.socket_url, codec) as other:
        await other.greet(key)
        await other.ok("session.beat")  # so that the two sockets count differently
        monkeypatch.setattr(Questions, "get", failing(sqlite3.OperationalError("what only the hub knows")))
        monkeypatch.setattr(Questions, "find", failing(ValueError("what only the hub knows")))
        asked = [
            (client, op, await client.send(op, **fields))
            for client in (one, other)
            for op, fields in (("record.get", event), ("record.find", {"type": "event"}), ("record.get", event))
        ]
        for client, op, number in asked:
            answer = await client.answer(number)
            assert "only the hub" not in str(answer)
            expected[number, client.hello["session"]] = f"incident {incident_of(answer)} in {op}"
        monkeypatch.undo()
        await one.ok("record.get", **event)
    lines = lines_of(logged)
    assert {(line["request"], line["session"]): line["message"] for line in lines} == expected
    assert len(set(expected.values())) == len(lines) == 6
    assert all("what only the hub knows" in line["traceback"] for line in lines)


async def test_after_an_incident_a_line_does_not_name_its_request_any_more(
    inside: Inside, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    async with talking(inside, codec) as (client, event, _):
        session = client.hello["session"]
        monkeypatch.setattr(Questions, "get", failing(sqlite3.OperationalError("broken")))
        number = await client.send("record.get", **event)
        await client.answer(number)
        monkeypatch.setattr(Questions, "get", failing(passing()))
        later = [await client.send("record.get", **event) for _ in range(2)]
        assert {(await client.answer(n))["code"] for n in later} == {"server.unavailable"}
        (socket,) = inside.parts.hub.connections
        monkeypatch.setattr(connection, "STALL_SECONDS", 7)
        socket._stalled()
    lines = lines_of(logged)
    expected: list[tuple[int | None, str]] = [*((n, session) for n in (number, *later)), (None, session)]
    assert [(line.get("request"), line.get("session")) for line in lines] == expected
    assert [line["message"] for line in lines[1:3]] == [
        "record.get is not available: OperationalError: disk I/O error"
    ] * 2


async def test_a_request_that_another_made_room_for_is_named_by_itself(
    inside: Inside, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for room is started by what ends: a request with a context of its own here."""
    monkeypatch.setattr(connection, "LOAD", 1)
    async with talking(inside) as (client, event, _):
        monkeypatch.setattr(Questions, "get", failing(passing()))
        first = await client.send("watch.start", type="event")
        second = await client.send("record.get", **event)
        assert [(await client.answer(n))["op"] for n in (first, second)] == ["ok", "error"]
    (line,) = lines_of(logged)
    assert (line["request"], line["session"]) == (second, client.hello["session"])


@pytest.mark.parametrize("op", ["record.find", "record.search", "record.history"])
async def test_requests_of_pages_count_for_what_a_page_is(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, op: str
) -> None:
    monkeypatch.setattr(connection, "LOAD", 16)
    going, go = threading.Semaphore(0), threading.Event()

    def waits(*_: Any) -> Callable[[sqlite3.Connection], Any]:
        def run(opened: sqlite3.Connection) -> Any:
            going.release()
            assert go.wait(20)
            return Found([], 0) if op == "record.find" else Hits([], 0) if op == "record.search" else []

        return run

    async with talking(inside) as (client, event, _):
        monkeypatch.setattr(Questions, "find", waits)
        monkeypatch.setattr(Questions, "history", waits)
        monkeypatch.setattr(Searches, "search", waits)
        asked = {"record.find": {"type": "event"}, "record.search": {"q": "a"}, "record.history": event}[op]
        sent = [await client.send(op, **asked) for _ in range(3)]
        for _ in range(2):
            assert await asyncio.to_thread(going.acquire, timeout=20)
        (socket,) = inside.parts.hub.connections
        assert (socket._load, len(socket._queue or ())) == (16, 1), "the third waits for room"
        go.set()
        assert [(await client.answer(n))["op"] for n in sent] == ["ok"] * 3


async def test_a_failed_commit_is_an_incident_and_its_line_names_who_asked(
    inside: Inside, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    def broken(self: Writer, jobs: Any, trusting: bool) -> Any:
        raise RuntimeError("what only the hub knows")

    expected: dict[tuple[int, str | None], str] = {}
    async with talking(inside, codec) as (client, event, key):
        session = client.hello["session"]
        with monkeypatch.context() as patch:
            patch.setattr(Writer, "_commit", broken)
            asked: list[tuple[str, Message]] = [
                ("record.create", {"type": "event", "data": {"title": "B"}}),
                ("record.update", {**event, "data": {"title": "B"}}),
                ("record.batch", {"ops": [{"op": "record.delete", **event}]}),
            ]
            sent = [(op, await client.send(op, **fields)) for op, fields in asked]
            for op, number in sent:
                expected[number, session] = f"incident {incident_of(await client.answer(number))} in {op}"
            async with httpx.AsyncClient(base_url=inside.url, trust_env=False) as http:
                body = {"op": "record.delete", "id": 77, **event}
                answer = await http.post("/rpc", json=body, headers={"authorization": f"Bearer {key}"})
            expected[77, None] = f"incident {incident_of(answer.json())} in /rpc"
        await client.ok("record.delete", **event)
    lines = lines_of(logged)
    incidents = {(line["request"], line.get("session")): line for line in lines if "traceback" in line}
    assert {place: line["message"] for place, line in incidents.items()} == expected
    assert all("RuntimeError: what only the hub knows" in line["traceback"] for line in incidents.values())
    failed = [line for line in lines if line["logger"] == "storage.sql.writer"]
    assert {(line["request"], line.get("session")) for line in failed} == set(incidents)
    assert len(failed) + len(incidents) == len(lines) == 8
    assert all(line["message"].endswith("failed: RuntimeError: what only the hub knows") for line in failed)


async def test_a_fault_outside_the_wire_is_an_incident_too(
    inside: Inside, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talking(inside) as (_, event, key), httpx.AsyncClient(base_url=inside.url, trust_env=False) as http:
        monkeypatch.setattr(Questions, "lookup", failing(sqlite3.OperationalError("broken")))
        http.headers["authorization"] = f"Bearer {key}"
        path = f"/files/event_file/{event['rec']}"
        answers: dict[str, httpx.Response] = {
            "/rpc": await http.post("/rpc", json={"op": "record.get", "id": 5, **event}),
            "/auth/signin": await http.post("/auth/signin", json={"code": make_token(SIGNIN_CODE, bytes(32))}),
            "/auth/signout": await http.post("/auth/signout"),
            path: await http.get(path),
        }
    assert {answer.status_code for answer in answers.values()} == {500}
    lines = lines_of(logged)
    assert [line["message"] for line in lines] == [
        f"incident {incident_of(answer.json())} in {where}" for where, answer in answers.items()
    ]
    assert [line.get("request") for line in lines] == [5, None, None, None]
    assert all("sqlite3.OperationalError: broken" in line["traceback"] for line in lines)


async def test_a_log_that_cannot_be_read_is_said_once_and_names_nobody(
    inside: Inside, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talking(inside) as (client, _, _):
        dispatcher = inside.parts.hub.services.live.dispatcher
        account = client.hello["account"]
        monkeypatch.setattr(Questions, "changes", failing(passing()))
        logs.request_id.set(9)  # as where a request is what finds the hole
        dispatcher.heads({account: dispatcher.position(account) + 1})
        async with asyncio.timeout(5):
            while not logged.getvalue():
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
    (line,) = lines_of(logged)
    assert line["message"] == f"the log of account {account} cannot be read: disk I/O error"
    assert "request" not in line
