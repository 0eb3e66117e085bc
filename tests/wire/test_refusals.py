"""Whoever is not let in is told what is missing, who they are and what to do next; and nothing of what there is.

Each cause is asked over the socket and over /rpc, about what is there and about what is not.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

import httpx
import msgspec
import pytest

from tests.wire.hubprocess import HubProcess
from tests.wire.talk import Message, connected
from tests.wire.tenant import Tenant, make_tenant

ABSENT: Final = "AAAAAAAAAAA"
LONG_AGO: Final = "2001-01-01T00:00:00Z"


@dataclass(frozen=True)
class Cause:
    """Who asks for what, and what the refusal says. `{event}` and `{key}` stand for records."""

    who: str
    op: str
    fields: Message
    code: str
    needs: str | None = None
    role: str | None = None
    path: str | None = None


OF_EVENT: Final = {"type": "event", "rec": "{event}"}
OF_KEY: Final = {"type": "api_key", "rec": "{key}"}
JOIN: Final = {"channel": "event:{event}", "event": "x", "data": 1}
CAUSES: Final = {
    "a guest": Cause("guest", "record.get", OF_EVENT, "auth.required"),
    "a guest in a channel": Cause("guest", "channel.send", JOIN, "auth.required"),
    "a bad token": Cause("bad", "record.get", OF_EVENT, "auth.invalid"),
    "a key that was withdrawn": Cause("withdrawn", "record.get", OF_EVENT, "auth.invalid"),
    "a key that has expired": Cause("expired", "record.get", OF_EVENT, "auth.expired"),
    "a key whose service is disabled": Cause("disabled", "record.get", OF_EVENT, "auth.invalid"),
    "a right to read": Cause("viewer", "record.get", OF_KEY, "access.denied", "api_key.read", "viewer"),
    "a right to write": Cause(
        "viewer", "record.update", {**OF_EVENT, "data": {}}, "access.denied", "event.update", "viewer"
    ),
    "a right to delete": Cause("viewer", "record.delete", OF_EVENT, "access.denied", "event.delete", "viewer"),
    "a right to purge": Cause(
        "editor", "record.delete", {**OF_EVENT, "mode": "hard"}, "access.denied", "event.purge", "editor"
    ),
    "a right to the past": Cause("viewer", "record.history", OF_KEY, "access.denied", "api_key.read", "viewer"),
    "a right to hear": Cause(
        "viewer",
        "channel.send",
        {**JOIN, "channel": "api_key:{key}"},
        "access.denied",
        "api_key.read",
        "viewer",
        "channel",
    ),
    "a right to speak": Cause("viewer", "channel.send", JOIN, "access.denied", "event.send", "viewer", "channel"),
    "a right to ask": Cause(
        "viewer",
        "action.call",
        {"action": "api_key.issue", "args": {"role": "viewer"}},
        "access.denied",
        "api_key.create",
        "viewer",
    ),
    "what the operator does": Cause(
        "editor",
        "action.call",
        {"action": "user.create", "args": {"name": "x", "role": "viewer"}},
        "access.denied",
        "operator",
        None,
        "action",
    ),
    "a step of a filter": Cause(
        "viewer",
        "record.aggregate",
        {"type": "api_key", "values": {"n": "count"}},
        "access.denied",
        "api_key.read",
        "viewer",
    ),
    "a scope": Cause(
        "scoped",
        "record.update",
        {**OF_EVENT, "data": {}},
        "access.denied",
        "event.update",
        "editor within the key's scopes",
    ),
    "an own role": Cause("own", "record.update", {**OF_EVENT, "data": {}}, "access.denied", "event.update", "clerk"),
    "a type of another account": Cause("editor", "record.find", {"type": "lookup_row"}, "ok"),
    "people of all accounts": Cause(
        "owner", "record.get", {"type": "user", "rec": ABSENT}, "access.denied", None, None, "type"
    ),
}


@dataclass
class Room:
    """An account with everybody who asks."""

    tenant: Tenant
    tokens: dict[str, str | None]
    event: str
    key: str


@pytest.fixture(scope="module")
def room(process: HubProcess) -> Room:
    """Make everybody, once."""
    return asyncio.run(_furnished(process))


async def _furnished(process: HubProcess) -> Room:
    tenant = await make_tenant(process)
    async with tenant.client("owner") as owner:

        async def key(**args: Any) -> tuple[str, str]:
            made = await owner.ok("action.call", action="api_key.issue", args={"role": "editor", **args})
            process.secrets.add(made["key"])
            return made["id"], made["key"]

        event = (await owner.create("event", title="A", acronym="a"))["id"]
        await owner.ok("record.create", type="role", data={"name": "clerk", "permissions": ["event.read"]})
        service = (await owner.ok("record.create", type="service_account", data={"name": "s", "role": "editor"}))["id"]
        tokens: dict[str, str | None] = {**tenant.keys, "guest": None, "bad": tenant.keys["viewer"][:-6] + "000000"}
        tokens["own"], tokens["scoped"] = (await key(role="clerk"))[1], (await key(scopes=["event.read"]))[1]
        ids: dict[str, str] = {}
        for name, args in (("expired", {}), ("withdrawn", {}), ("disabled", {"service": service})):
            ids[name], tokens[name] = await key(**args)
        await owner.ok("record.update", type="service_account", rec=service, data={"disabled": True})
        await owner.ok("record.update", type="api_key", rec=ids["expired"], data={"expires_at": LONG_AGO})
        await owner.ok("record.delete", type="api_key", rec=ids["withdrawn"])
    return Room(tenant, tokens, event, ids["disabled"])


def about(fields: Message, event: str, key: str) -> Message:
    """Return the fields of a request about these records."""
    text = msgspec.json.encode(fields).decode().replace("{event}", event).replace("{key}", key)
    found: Message = msgspec.json.decode(text)
    return found


async def over_socket(room: Room, cause: Cause, asked: list[Message]) -> list[Message]:
    """Ask over one socket; who cannot say hello is refused there."""
    token = room.tokens[cause.who]
    async with connected(room.tenant.process.socket_url) as client:
        answers = []
        for fields in asked:
            hello = await client.call("session.hello", **({"token": token} if token else {}))
            answers.append(hello if hello["op"] == "error" else await client.call(cause.op, **fields))
    return answers


async def over_rpc(room: Room, cause: Cause, asked: list[Message]) -> list[Message]:
    """Post each request."""
    token = room.tokens[cause.who]
    head = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(base_url=room.tenant.process.url, headers=head, trust_env=False) as http:
        posted = [await http.post("/rpc", json={"op": cause.op, "id": 1, **fields}) for fields in asked]
    assert all((answer.status_code == 200) == (answer.json()["op"] == "ok") for answer in posted)
    assert {answer.status_code for answer in posted} <= {200, 401, 403}
    return [answer.json() for answer in posted]


@pytest.mark.parametrize("transport", [over_socket, over_rpc])
@pytest.mark.parametrize("name", CAUSES)
async def test_who_is_not_let_in_is_told_why_and_what_to_do(room: Room, name: str, transport: Any) -> None:
    cause = CAUSES[name]
    asked = [about(cause.fields, room.event, room.key), about(cause.fields, ABSENT, ABSENT)]
    answers = await transport(room, cause, asked)
    plain = [{k: v for k, v in answer.items() if k not in {"id", "data"}} for answer in answers]
    assert plain[0] == plain[1], "what is there is refused like what is not"
    if cause.code == "ok":
        assert [answer["op"] for answer in answers] == ["ok", "ok"]
        return
    refused = plain[0]
    assert refused["code"] == cause.code
    assert refused["details"]["next"].endswith("."), refused
    assert refused["message"].endswith((".", "!")), refused
    assert refused["details"].get("needs") == cause.needs
    assert refused["details"].get("role") == cause.role
    if cause.path is not None:
        assert refused["path"] == cause.path
    if cause.needs is not None and "." in cause.needs:
        assert cause.needs in refused["message"]
        assert refused["details"]["next"] in refused["message"]
    said = msgspec.json.encode(refused).decode()
    assert all(secret not in said for secret in (room.event, room.key, *filter(None, room.tokens.values())))
