"""POST /rpc: the same requests one at a time, for scripts and cron."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest

from hub.wire.codec import FRAME_BYTES
from hub.wire.errors import KINDS
from hub.wire.requests import BY_NAME
from tests.wire.talk import Client
from tests.wire.tenant import Tenant, make_tenant

SOCKET_ONLY: Final[dict[str, dict[str, Any]]] = {
    "session.hello": {},
    "watch.start": {"type": "event"},
    "watch.stop": {"watch": "w"},
    "feed.start": {"name": "f"},
    "feed.ack": {"name": "f", "seq": 1},
    "feed.stop": {"name": "f"},
    "channel.join": {"channel": "event:x"},
    "channel.leave": {"channel": "event:x"},
    "presence.update": {"channel": "event:x"},
    "lock.take": {"type": "event", "rec": "x"},
    "lock.keep": {"type": "event", "rec": "x"},
    "lock.release": {"type": "event", "rec": "x"},
    "client.reply": {"command": 1},
}
FIELDS: Final[dict[str, dict[str, Any]]] = {
    "record.get": {"type": "event", "rec": "x"},
    "record.find": {"type": "event"},
    "record.search": {"q": "x"},
    "record.aggregate": {"type": "event", "values": {"n": "count"}},
    "record.create": {"type": "event", "data": {}},
    "record.upsert": {"type": "event", "data": {}, "match": ["acronym"]},
    "record.update": {"type": "event", "rec": "x", "data": {}},
    "record.delete": {"type": "event", "rec": "x"},
    "record.move": {"type": "event", "rec": "x", "parent": {"type": "event", "rec": "x"}},
    "record.restore": {"type": "event", "rec": "x"},
    "record.revert": {"type": "event", "rec": "x", "version": 1},
    "record.history": {"type": "event", "rec": "x"},
    "record.update_where": {"type": "event", "where": {}, "data": {}, "limit": 1},
    "record.delete_where": {"type": "event", "where": {}, "limit": 1},
    "record.batch": {"ops": []},
    "action.call": {"action": "signin.link"},
    "presence.roster": {"channel": "event:x"},
    "channel.send": {"channel": "cursors:x", "event": "moved", "data": 1},
    "client.call": {"to": {"device": "x"}, "command": "RELOAD"},
    "lookup.list": {"lookup": "country"},
    "lookup.resolve": {"lookup": "country", "q": "DE"},
    "manifest.get": {"container": {"type": "event", "rec": "x"}},
    "session.auth": {"token": "x"},
}
"""What the other operations need to be looked at, where they need anything."""
NEW: Final = frozenset(
    {"id", "event_id", "created_at", "updated_at", "seq", "acronym", "rec", "now", "url", "expires_at"}
)
"""What differs between two answers of the same meaning."""


@pytest.fixture
async def http(shared: Tenant) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client with the key of an editor."""
    headers = {"authorization": f"Bearer {shared.keys['editor']}"}
    async with httpx.AsyncClient(base_url=shared.process.url, headers=headers, trust_env=False) as client:
        yield client


async def post(http: httpx.AsyncClient, op: str, /, **fields: Any) -> dict[str, Any]:
    """Post a request; return its answer, which carries its number and the status of its code."""
    answer = await http.post("/rpc", json={"op": op, "id": 7, **fields})
    message: dict[str, Any] = answer.json()
    assert message["id"] == 7
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.status_code == (200 if message["op"] == "ok" else KINDS[message["code"]].http)
    return message


def plain(message: Any) -> Any:
    """Return what an answer means."""
    if isinstance(message, dict):
        return {name: plain(value) for name, value in message.items() if name not in NEW}
    return [plain(value) for value in message] if isinstance(message, list) else message


async def both(client: Client, http: httpx.AsyncClient, op: str, **fields: Any) -> dict[str, Any]:
    """Ask over the socket, then over HTTP; return the answer where both are the same."""
    over_socket = await client.call(op, **fields)
    over_http = await post(http, op, **fields)
    assert plain(over_socket) == plain(over_http)
    assert set(over_socket) == set(over_http)
    return over_http


async def test_what_reads_answers_the_same_over_both(shared: Tenant, http: httpx.AsyncClient) -> None:
    async with shared.client("editor") as client:
        event = await client.create("event", title="A", acronym="read")
        rec = {"type": "event", "rec": event["id"]}
        for op, fields in (
            ("record.get", rec),
            ("record.get", {**rec, "fields": ["title"]}),
            ("record.get", {"type": "event", "rec": "AAAAAAAAAAA"}),
            ("record.find", {"type": "event", "order": ["-title"], "count": True}),
            ("record.find", {"type": "event_track", "parent": rec}),
            ("record.find", {"type": "event", "where": {"nothing": 1}}),
            ("record.find", {"type": "nothing"}),
            ("schema.describe", {}),
            ("manifest.get", {"container": rec}),
            ("file.grant", {"hash": "0" * 64}),
            ("session.beat", {}),
        ):
            answer = await both(client, http, op, **fields)
            assert answer["op"] == "ok" or answer["message"].endswith("."), op
        exact = await post(http, "record.get", **rec)
        assert exact["data"] == event


async def test_what_writes_answers_the_same_over_both(shared: Tenant, http: httpx.AsyncClient) -> None:
    async with shared.client("editor") as client:
        made = await both(client, http, "record.create", type="event", data={"title": "A"})
        assert made["seq"] > 0
        rec = {"type": "event", "rec": made["data"]["id"]}
        await both(client, http, "record.create", type="event", data={"title": 5})
        await both(client, http, "record.create", type="event_track", data={"name": "no parent"})
        await both(client, http, "record.update", **rec, data={"title": "A"})
        await both(client, http, "record.update", **rec, data={"title": "B"}, if_version=9)
        changed = await post(http, "record.update", **rec, data={"title": "B"})
        assert (changed["data"]["version"], changed["data"]["title"]) == (2, "B")
        upsert = {"type": "event", "data": {"title": "U", "acronym": "upsert"}, "match": ["acronym"]}
        assert (await client.ok("record.upsert", **upsert))["created"] is True
        assert (await post(http, "record.upsert", **upsert))["data"]["created"] is False
        batch: list[dict[str, Any]] = [
            {"op": "record.create", "type": "event", "data": {"title": "E"}},
            {"op": "record.create", "type": "event_track", "data": {"name": "T"},
             "parent": {"type": "event", "rec": {"$item": 0}}},
        ]  # fmt: skip
        await both(client, http, "record.batch", ops=[*batch])
        assert len((await post(http, "record.batch", ops=batch))["data"]["results"]) == 2
        assert (await post(http, "record.delete", **rec))["data"] == {"rec": rec["rec"], "version": 3}
        await both(client, http, "record.delete", **rec)


async def test_a_key_holds_over_both_ways(shared: Tenant, http: httpx.AsyncClient) -> None:
    write = {"type": "event", "data": {"title": "once"}, "key": "both-ways"}
    async with shared.client("editor") as client:
        assert (await client.ok("record.create", **write)) == (await post(http, "record.create", **write))["data"]
        reused = await post(http, "record.create", **(write | {"data": {"title": "other"}}))
        assert (reused["code"], reused["path"]) == ("key.reused", "key")


async def test_a_watcher_hears_of_a_write_over_http(shared: Tenant, http: httpx.AsyncClient, codec: str) -> None:
    async with shared.client("viewer", codec) as viewer:
        watch = (await viewer.ok("watch.start", type="event", where={"title": f"posted {codec}"}))["watch"]
        made = await post(http, "record.create", type="event", data={"title": f"posted {codec}"})
        change = await viewer.push("change", lambda m: m["watch"] == watch)
        assert change["seq"] == made["seq"]
        assert [e["record"] for e in change["events"]] == [made["data"]]


async def test_an_action_runs_over_http(shared: Tenant, http: httpx.AsyncClient) -> None:
    event = (await post(http, "record.create", type="event", data={"title": "A"}))["data"]["id"]
    session = (
        await post(
            http, "record.create", type="event_session", data={"title": "S"}, parent={"type": "event", "rec": event}
        )
    )["data"]["id"]
    moved = await post(
        http, "action.call", action="event_session.reschedule",
        target={"type": "event_session", "rec": session}, args={"starts_at": "2031-01-01T10:00:00Z"},
    )  # fmt: skip
    assert moved["data"]["starts_at"] == "2031-01-01T10:00:00.000Z"


@pytest.mark.parametrize("op", SOCKET_ONLY)
async def test_what_needs_the_socket_says_so(http: httpx.AsyncClient, op: str) -> None:
    answer = await post(http, op, **SOCKET_ONLY[op])
    assert (answer["code"], answer["path"]) == ("data.invalid", "op")
    assert "the socket at /ws" in answer["message"]


async def test_a_guest_is_told_to_sign_in_and_a_bad_token_that_it_is_bad(shared: Tenant) -> None:
    async with httpx.AsyncClient(base_url=shared.process.url, trust_env=False) as guest:
        for op in set(BY_NAME) - set(SOCKET_ONLY) - {"session.beat"}:
            answer = await post(guest, op, **FIELDS.get(op, {}))
            assert answer["code"] == "auth.required", op
        assert (await post(guest, "session.beat"))["data"]["seq"] is None
        for header in ("Bearer wrong", "Bearer", "Basic eDp5", "Bearer aek_" + "A" * 43, "x"):
            bad = await guest.post("/rpc", json={"op": "session.beat", "id": 7}, headers={"authorization": header})
            assert (bad.status_code, bad.json()["code"]) == (401, "auth.invalid"), header


async def test_the_account_is_named_in_a_header(shared: Tenant, http: httpx.AsyncClient) -> None:
    other = await make_tenant(shared.process)
    find = {"op": "record.find", "id": 7, "type": "membership"}
    for account in (shared.account, shared.name):
        answer = await http.post("/rpc", json=find, headers={"x-aether-account": account})
        assert {r["account_id"] for r in answer.json()["data"]["records"]} == {shared.account}
    texts = set()
    for account in (other.account, other.name, "system", "no-such-account", "AAAAAAAAAAA"):
        answer = await http.post("/rpc", json=find, headers={"x-aether-account": account})
        assert (answer.status_code, answer.json()["path"]) == (404, "account")
        texts.add(answer.text)
    assert len(texts) == 1


async def test_a_body_over_one_mebibyte_is_too_large(http: httpx.AsyncClient) -> None:
    start = b'{"op":"session.beat","id":7,"telemetry":{"a":"'
    for size, status in ((FRAME_BYTES, 200), (FRAME_BYTES + 1, 413)):
        body = start + b"a" * (size - len(start) - 3) + b'"}}'
        answer = await http.post("/rpc", content=body)
        assert answer.status_code == status, answer.text[:200]
        assert answer.json().get("code") == (None if status == 200 else "frame.too_large")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"op":"session.beat","id":7',
        b"\xff\xfe",
        b'{"op":"session.beat","id":7,"telemetry":{"a":NaN}}',
        b'{"op":"session.beat","id":7,"telemetry":{"a":1e999}}',
        b"[" * 100_000,
    ],
)
async def test_a_body_that_is_no_message_is_malformed(http: httpx.AsyncClient, body: bytes) -> None:
    answer = await http.post("/rpc", content=body)
    message = answer.json()
    assert (answer.status_code, message["op"], message["code"]) == (400, "error", "frame.malformed")
    assert message["message"].endswith(".")


async def test_an_unknown_operation_and_an_unknown_field_are_named(http: httpx.AsyncClient) -> None:
    assert (await post(http, "record.nothing"))["code"] == "op.unknown"
    wrong = await post(http, "record.find", type="event", nothing=1)
    assert (wrong["code"], wrong["path"]) == ("data.invalid", "nothing")


async def test_other_methods_are_not_served(http: httpx.AsyncClient) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert (await http.request(method, "/rpc")).status_code == 405
