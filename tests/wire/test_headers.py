"""Every answer over HTTP bears the headers that keep it harmless in a browser: pages, errors, files, refusals."""

from __future__ import annotations

import httpx
import pytest
import websockets
from websockets.exceptions import InvalidStatus

from tests.wire.hubprocess import HubProcess
from tests.wire.tenant import Tenant

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}
PLACES = (
    ("GET", "/"), ("GET", "/livez"), ("GET", "/readyz"), ("GET", "/health"), ("GET", "/rpc"), ("POST", "/rpc"),
    ("POST", "/auth/signin"), ("POST", "/auth/signout"), ("GET", "/favicon.ico"), ("GET", "/console/main.js"),
    ("GET", "/console/nothing"), ("GET", "/client/nothing"), ("GET", "/nothing"), ("GET", "/files/sha256/x"),
    ("GET", "/files/event/x"), ("PUT", "/files"), ("GET", "/files/"), ("DELETE", "/"), ("GET", "/?token=x"),
    ("OPTIONS", "/rpc"), ("GET", "/ws"), ("GET", "/auth/oidc/nobody/start"), ("GET", "/metrics"),
)  # fmt: skip


@pytest.mark.parametrize(("method", "place"), PLACES)
async def test_every_answer_has_them(process: HubProcess, method: str, place: str) -> None:
    async with httpx.AsyncClient(base_url=process.url, trust_env=False) as http:
        for more in ({}, {"Origin": "https://evil.example"}, {"Authorization": "Bearer nonsense"}):
            answer = await http.request(method, place, headers=more)
            assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS, answer.status_code
            policy = answer.headers["content-security-policy"]
            assert "default-src 'self'" in policy or "default-src 'none'" in policy
            assert "unsafe-eval" not in policy
            assert "strict-transport-security" not in answer.headers, "not asked for"
            assert "server" not in answer.headers


async def test_files_and_refused_upgrades_have_them(shared: Tenant) -> None:
    headers = {"Authorization": f"Bearer {shared.keys['editor']}"}
    async with httpx.AsyncClient(base_url=shared.process.url, trust_env=False, headers=headers) as http:
        body = {"op": "record.create", "id": 1, "type": "event", "data": {"title": "e"}}
        event = (await http.post("/rpc", json=body)).json()["data"]["id"]
        where = {"type": "event", "rec": event, "name": "page.html"}
        put = await http.put("/files", params=where, content=b"<script>alert(1)</script>")
        got = await http.get(f"/files/sha256/{put.json()['sha256']}")
        part = await http.get(f"/files/sha256/{put.json()['sha256']}", headers={"Range": "bytes=900-"})
        assert (put.status_code, got.status_code, part.status_code) == (201, 200, 416)
        for answer in (put, got, part):
            assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert "sandbox" in got.headers["content-security-policy"]
    for place in ("/ws?token=x", "/nowhere", "/ws"):
        with pytest.raises(InvalidStatus) as refused:
            async with websockets.connect(shared.process.url.replace("http", "ws") + place, proxy=None):
                pass
        said = refused.value.response.headers
        assert {name: said.get(name) for name in HEADERS} == HEADERS, place
