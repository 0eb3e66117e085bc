"""One HTTP exchange about a file, driven by hand: pauses, faults, and peers that go away."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from starlette.types import Message, Scope

from handlers.base import Services
from hub.edge import files
from hub.edge.files import Endpoint, Exchange, Gone
from hub.wire.errors import HubError
from storage.blobs.base import BlobCorrupt


class NewIds:
    """As much of the services as an endpoint without storage needs; it takes down what the audit is told."""

    def __init__(self) -> None:
        self.audit = self
        self.told: list[str] = []

    def new_id(self) -> str:
        return "INCIDENT"

    def refused(self, peer: object, subject: str, refusal: HubError) -> None:
        self.told.append(f"{subject} {refusal.code}")


class Acting(Endpoint):
    """An endpoint that does what a test says."""

    def __init__(self, act: Callable[[Exchange], Awaitable[None]]) -> None:
        super().__init__(cast(Services, NewIds()))
        self._act = act

    async def serve(self, exchange: Exchange) -> None:
        await self._act(exchange)


async def drive(
    act: Callable[[Exchange], Awaitable[None]], messages: list[Message], method: str = "PUT", stuck: bool = False
) -> list[Any]:
    """Run an endpoint over these messages, then silence; return what it sent."""
    scope: Scope = {"type": "http", "method": method, "path": "/files", "query_string": b"", "headers": []}
    sent: list[Any] = []
    waiting = list(messages)

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        await asyncio.Event().wait()
        raise AssertionError("silence does not end")

    async def send(message: Message) -> None:
        sent.append(message)
        if stuck and message["type"] == "http.response.body":
            await asyncio.Event().wait()

    await Acting(act)(scope, receive, send)
    return sent


async def read(exchange: Exchange) -> None:
    async for _ in exchange.body():
        pass
    await exchange.answer(200, b"{}", {})


def body(data: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


async def test_an_upload_that_pauses_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(files, "LINGER_SECONDS", 0.05)
    sent = await drive(read, [body(b"half", more=True)])
    assert sent[0]["status"] == 400
    assert (b"connection", b"close") in sent[0]["headers"]
    assert json.loads(sent[1]["body"])["code"] == "frame.malformed"
    assert sent[-1]["more_body"] is False


async def test_somebody_who_went_away_is_not_answered() -> None:
    assert await drive(read, [body(b"half", more=True), {"type": "http.disconnect"}]) == []


async def test_a_reader_that_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "IDLE_SECONDS", 0.05)
    sent = await drive(read, [body(b"", more=False)], stuck=True)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


async def test_what_a_refused_sender_still_sends_is_read_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LINGER_BYTES", 10)

    async def refuse(exchange: Exchange) -> None:
        raise HubError("access.denied")

    sent = await drive(refuse, [body(b"12345", more=True)] * 4)
    assert (sent[0]["status"], len(sent)) == (403, 3)
    gone = await drive(refuse, [body(b"1", more=True), {"type": "http.disconnect"}])
    assert len(gone) == 2


async def test_a_fault_is_an_incident_for_the_caller_and_a_trace_for_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(exchange: Exchange) -> None:
        raise ZeroDivisionError("secret detail")

    sent = await drive(fail, [], method="GET")
    assert sent[0]["status"] == 500
    answer = json.loads(sent[1]["body"])
    assert answer["code"] == "server.error"
    assert "INCIDENT" in answer["message"]
    assert "secret detail" not in answer["message"]
    assert [record.exc_info is not None for record in caplog.records] == [True]


@pytest.mark.parametrize("fault", [BlobCorrupt("short"), OSError("disk"), Gone(), HubError("access.denied")])
async def test_a_fault_in_the_middle_of_an_answer_never_completes_it(fault: Exception) -> None:
    async def half(exchange: Exchange) -> None:
        await exchange.head(200, {"content-length": "10"})
        await exchange.part(b"half", more=True)
        raise fault

    sent = await drive(half, [], method="GET")
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[-1]["more_body"] is True


async def test_a_stopping_hub_ends_an_exchange_quietly(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    task = asyncio.create_task(drive(read, [body(b"half", more=True)]))
    await asyncio.sleep(0)
    task.cancel()
    assert await task == []
    assert [record.levelname for record in caplog.records] == ["INFO"]
