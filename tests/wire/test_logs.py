"""What a hub logs: one JSON object a line, with the ids of request and session, and never a secret."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub import logs
from hub.auth import API_KEY, SESSION_TOKEN, SIGNIN_CODE, make_token
from tests.wire.hubprocess import HubProcess
from tests.wire.talk import connected
from tests.wire.tenant import Tenant, make_tenant, operator


def lines_of(text: str) -> list[dict[str, Any]]:
    """Return the lines of a log, each of which must be a JSON object."""
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        assert {"at", "level", "logger", "message"} <= set(line)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["at"])
    return found


async def misuse_http(process: HubProcess, tokens: list[str], good: list[str]) -> None:
    """Put every token wherever HTTP has room for one, right and wrong."""
    async with httpx.AsyncClient(base_url=process.url, trust_env=False) as http:
        for token in tokens:
            for name in ("token", "key", "access_token", "resume", "grant", "code", "x", token):
                await http.get("/rpc", params={name: token})
                await http.get(f"/files/sha256/{'0' * 64}", params={name: token})
            await http.get(f"/{token}")
            await http.get(f"/files/{token}/{token}")
            await http.get(f"/console/{token}")
            await http.put("/files", params={"type": token, "rec": token, "name": token}, content=token.encode())
            for header in (f"Bearer {token}", f"Basic {token}", token, f"Bearer {token} {token}"):
                for name in ("authorization", "x-aether-account", "cookie", "origin", "repr-digest"):
                    await http.post("/rpc", json={"op": "record.find", "id": 1, "type": token}, headers={name: header})
                    await http.put("/files?type=event&rec=a&name=b", content=b"a", headers={name: header})
            for body in ({"code": token}, {"code": [token]}, {"codes": token}, token, {token: token}):
                if token not in good or body != {"code": token}:
                    await http.post("/auth/signin", json=body)
            await http.post("/auth/signin", content=f'{{"code": "{token}"'.encode())
            await http.post("/rpc", content=f'{{"op": "session.auth", "token": "{token}"'.encode())
            await http.post("/rpc", json={"op": token, "id": 1})


async def misuse_socket(process: HubProcess, codec: str, tokens: list[str]) -> None:
    """Put every token wherever the socket has room for one, right and wrong."""
    for token in tokens:
        async with connected(process.socket_url, codec) as client:
            for fields in (
                {"token": token}, {"token": [token]}, {"token": {"a": token}}, {"account": token}, {"resume": token},
                {"client": {"name": token}}, {token: token}, {"token": token + "x"},
            ):  # fmt: skip
                await client.call("session.hello", **fields)
            await client.greet(tokens[0])
            for op, more in (
                ("session.auth", {"token": token}),
                ("session.auth", {"token": 5, token: token}),
                ("session.beat", {"telemetry": {"token": token}}),
                ("session.beat", {"status": token}),
                ("record.find", {"type": "event", "where": {token: token}}),
                ("record.find", {"type": "event", "after": token, "order": [token]}),
                ("record.create", {"type": "event", "data": {"title": token, token: token}}),
                ("record.create", {"type": token, "data": {}, "key": token[:64]}),
                ("action.call", {"action": token, "args": {"code": token}}),
                ("channel.join", {"channel": token}),
                ("watch.stop", {"watch": token}),
                ("file.grant", {"hash": token}),
                (token, {"token": token}),
            ):
                await client.call(op, **more)
            await client.socket.send(f'{{"op":"session.auth","token":"{token}"' if codec == "json" else token.encode())
            await client.ok("session.beat")
        url = f"{process.socket_url}?token={token}"
        with pytest.raises(Exception, match="400"):
            async with connected(url, codec):
                pass


async def test_after_good_and_bad_requests_the_log_is_json_and_holds_no_secret(tmp_path: Path) -> None:
    process = HubProcess(tmp_path / "data", log_format="json")
    try:
        tenant: Tenant = await make_tenant(process)
        session = await tenant.sign_in()
        async with operator(process) as client:
            code = (await client.ok("action.call", action="signin.link", args={"account": tenant.name}))["code"]
        made = [make_token(kind, secrets.token_bytes(32)) for kind in (API_KEY, SESSION_TOKEN, SIGNIN_CODE)]
        async with tenant.client("editor") as client:
            resume = client.hello["resume"]
        tokens = [tenant.keys["editor"], session, code, resume, *made]
        process.secrets |= set(tokens)
        await misuse_socket(process, "json", tokens)
        await misuse_socket(process, "msgpack", tokens)
        await misuse_http(process, tokens, [code])
        async with tenant.client("editor") as client:
            await client.ok("session.beat")
    finally:
        await asyncio.to_thread(process.stop)
    process.check_log()
    lines_of(process.log)
    assert not any(token in process.greeting for token in tokens)


def test_a_line_carries_the_ids_of_its_request_and_session() -> None:
    record = logging.LogRecord("hub.edge", logging.ERROR, __file__, 1, "incident %s", ("abc",), None)
    plain = json.loads(logs.JsonFormatter().format(record))
    assert "request" not in plain
    assert "session" not in plain
    tokens = logs.request_id.set(7), logs.session_id.set("S")
    try:
        line = json.loads(logs.JsonFormatter().format(record))
    finally:
        logs.request_id.reset(tokens[0])
        logs.session_id.reset(tokens[1])
    assert (line["request"], line["session"], line["message"], line["level"]) == (7, "S", "incident abc", "error")


def test_a_line_break_in_a_message_stays_in_its_line() -> None:
    record = logging.LogRecord("hub", logging.INFO, __file__, 1, 'a\nb "c" \u2028', (), None)
    assert json.loads(logs.JsonFormatter().format(record))["message"] == 'a\nb "c" \u2028'
    assert "\n" not in logs.JsonFormatter().format(record)
