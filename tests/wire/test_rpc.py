"""POST /rpc answers what the socket answers, one request at a time; and what else the thin HTTP side says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from hub.wire.errors import KINDS
from tests.wire.hubprocess import HubProcess
from tests.wire.talk import Client, Message
from tests.wire.tenant import Tenant


@pytest.fixture
async def http(process: HubProcess) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the HTTP side."""
    async with httpx.AsyncClient(base_url=process.url, trust_env=False) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def rpc(http: httpx.AsyncClient, token: str | None, **message: Any) -> tuple[int, Message]:
    """Post a request; return status and answer."""
    answer = await http.post("/rpc", json=message, headers=bearer(token) if token else {})
    body: Message = answer.json()
    return answer.status_code, body


async def test_rpc_answers_what_the_socket_answers(tenant: Tenant, http: httpx.AsyncClient) -> None:
    key = tenant.keys["editor"]
    async with tenant.client("editor") as client:
        event = (await client.create("event", title="A", acronym="a"))["id"]
        asked: list[Message] = [
            {"op": "record.get", "type": "event", "rec": event},
            {"op": "record.get", "type": "event", "rec": "AAAAAAAAAAA"},
            {"op": "record.find", "type": "event", "where": {"title": "A"}, "count": True},
            {"op": "record.find", "type": "event", "where": {"nope": 1}},
            {"op": "record.create", "type": "event", "data": {"title": ""}},
            {"op": "record.update", "type": "event", "rec": event, "data": {}, "if_version": 9},
            {"op": "record.batch", "ops": [{"op": "record.delete", "type": "event", "rec": "AAAAAAAAAAA"}]},
            {"op": "record.find", "type": "api_key"},
            {"op": "schema.describe"},
            {"op": "no.such"},
            {"op": "action.call", "action": "no.such"},
        ]
        for message in asked:
            over_socket = await client.call(**message)
            status, over_http = await rpc(http, key, id=over_socket["id"], **message)
            assert over_http == over_socket, message
            assert status == (200 if over_socket["op"] == "ok" else KINDS[over_socket["code"]].http)


async def test_a_write_over_rpc_is_seen_by_a_watch(tenant: Tenant, http: httpx.AsyncClient, editor: Client) -> None:
    watch = (await editor.ok("watch.start", type="event"))["watch"]
    status, answer = await rpc(
        http, tenant.keys["owner"], op="record.create", id=1, type="event", data={"title": "A", "acronym": "a"}, key="k"
    )
    assert (status, answer["op"]) == (200, "ok")
    (event,) = await editor.changes(watch)
    assert event["record"] == answer["data"]
    (push,) = (m for m in editor.log if m["op"] == "change")
    assert (push["seq"], "origin" in push) == (answer["seq"], False)


@pytest.mark.parametrize(
    "message",
    [
        {"op": "session.hello"},
        {"op": "watch.start", "type": "event"},
        {"op": "watch.stop", "watch": "x"},
        {"op": "channel.join", "channel": "event:x"},
        {"op": "channel.leave", "channel": "event:x"},
        {"op": "presence.update", "channel": "event:x", "state": {}},
    ],
)
async def test_what_needs_pushes_needs_the_socket(shared: Tenant, http: httpx.AsyncClient, message: Message) -> None:
    status, answer = await rpc(http, shared.keys["editor"], id=1, **message)
    assert (status, answer["code"]) == (422, "data.invalid")
    assert "/ws" in answer["message"]


async def test_a_beat_and_a_renewal_work_over_rpc_too(shared: Tenant, http: httpx.AsyncClient) -> None:
    status, answer = await rpc(http, shared.keys["editor"], op="session.beat", id=1)
    assert (status, answer["data"]["seq"]) == (200, answer["seq"])
    status, answer = await rpc(http, None, op="session.beat", id=1)
    assert (status, answer["data"]["seq"]) == (200, None)


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        (None, 401, "auth.required"),
        ("Bearer wrong", 401, "auth.invalid"),
        ("Bearer", 401, "auth.invalid"),
        ("Basic dXNlcjpwYXNz", 401, "auth.invalid"),
        ("wrong", 401, "auth.invalid"),
        ("Bearer \xfc", 401, "auth.invalid"),
    ],
)
async def test_a_bad_authorization_is_refused(
    http: httpx.AsyncClient, header: str | None, status: int, code: str
) -> None:
    headers = httpx.Headers() if header is None else httpx.Headers({b"Authorization": header.encode("latin-1")})
    answer = await http.post("/rpc", json={"op": "record.find", "id": 1, "type": "event"}, headers=headers)
    assert (answer.status_code, answer.json()["code"], answer.json()["id"]) == (status, code, 1)


async def test_the_account_is_chosen_by_a_header(shared: Tenant, http: httpx.AsyncClient) -> None:
    message = {"op": "record.find", "id": 1, "type": "event"}
    for account, status in {shared.account: 200, shared.name: 200, "main": 404, "nope": 404, "system": 404}.items():
        headers = {**bearer(shared.keys["editor"]), "X-Aether-Account": account}
        answer = await http.post("/rpc", json=message, headers=headers)
        assert answer.status_code == status, account
        assert status == 200 or answer.json()["code"] == "record.not_found"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "frame.malformed"),
        (b"{", 400, "frame.malformed"),
        (b"[]", 400, "frame.malformed"),
        (b'[{"op":"session.beat","id":1}]', 400, "frame.malformed"),
        (b"\xff\xfe", 400, "frame.malformed"),
        (b'{"op":"session.beat","id":1,"telemetry":{"a":NaN}}', 400, "frame.malformed"),
        (b"[" * 100_000, 400, "frame.malformed"),
        (b'{"op":"session.beat","id":0}', 422, "data.invalid"),
        (b'{"op":"session.beat","id":1,"telemetry":{"a":"\\u0000"}}', 422, "data.invalid"),
        (b'{"op":"x","id":1}' + b" " * 1024 * 1024, 413, "frame.too_large"),
    ],
)
async def test_a_bad_body_is_refused(
    shared: Tenant, http: httpx.AsyncClient, body: bytes, status: int, code: str
) -> None:
    answer = await http.post("/rpc", content=body, headers=bearer(shared.keys["editor"]))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/json"


async def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_no_trace(process: HubProcess) -> None:
    for path in ("/rpc", "/auth/signin"):
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(process.url).port)
        writer.write(f'POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{"op":'.encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert await reader.read() == b""
    async with httpx.AsyncClient(base_url=process.url, trust_env=False) as http:
        assert (await http.get("/livez")).status_code == 200
    process.check_log()


# -- the rest of the HTTP side -----------------------------------------------------------------------


async def test_every_answer_has_the_headers_that_keep_a_page_safe(http: httpx.AsyncClient) -> None:
    for path in ("/", "/livez", "/nowhere", "/console/app.js", "/rpc"):
        answer = await http.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert "default-src 'self'" in answer.headers["content-security-policy"], path
        assert answer.headers["referrer-policy"] == "no-referrer", path
        assert "server" not in answer.headers, path


async def test_an_unknown_address_answers_a_refusal(http: httpx.AsyncClient) -> None:
    for path in ("/nowhere", "/console/../hub/app.py", "/console/%2e%2e/pyproject.toml", "/client/..%2f..%2fREADME.md"):
        answer = await http.get(path)
        assert answer.status_code == 404, path
        assert b"[project]" not in answer.content


async def test_methods_that_are_not_there_are_refused(http: httpx.AsyncClient) -> None:
    for method, path in (("GET", "/rpc"), ("DELETE", "/livez"), ("GET", "/auth/signin"), ("PUT", "/rpc")):
        assert (await http.request(method, path)).status_code == 405, path


@pytest.mark.parametrize(
    ("body", "status", "code", "path"),
    [
        (b"{}", 422, "data.invalid", "code"),
        (b'{"code":5}', 422, "data.invalid", "code"),
        (b'{"code":"x","more":1}', 422, "data.invalid", "more"),
        (b'{"code":"x"}', 401, "auth.invalid", "code"),
        (b"[]", 422, "data.invalid", None),
        (b"{", 400, "frame.malformed", None),
        (b'{"code":"' + b"x" * 70_000 + b'"}', 413, "frame.too_large", None),
    ],
)
async def test_a_bad_sign_in_is_refused(
    http: httpx.AsyncClient, body: bytes, status: int, code: str, path: str | None
) -> None:
    answer = await http.post("/auth/signin", content=body)
    assert (answer.status_code, answer.json()["code"], answer.json().get("path")) == (status, code, path)


async def test_signing_out_needs_a_token(http: httpx.AsyncClient) -> None:
    assert (await http.post("/auth/signout")).status_code == 401
    assert (await http.post("/auth/signout", headers=bearer("wrong"))).status_code == 401
