"""Own roles, scopes, service accounts and devices over the wire; who may give what; what ends as rights change."""

from __future__ import annotations

import datetime
from typing import Any

import httpx
import pytest

from tests.wire.talk import Client, Message, connected
from tests.wire.tenant import Tenant, operator

NOBODY = "AAAAAAAAAAA"


async def issue(tenant: Tenant, client: Client, **args: Any) -> tuple[str, str]:
    """Return the id of a fresh key, and the key."""
    made = await client.ok("action.call", action="api_key.issue", args={"name": "k", **args})
    tenant.process.secrets.add(made["key"])
    return made["id"], made["key"]


async def own_role(client: Client, name: str, *permissions: str) -> str:
    """Create a role; return its id."""
    made = await client.ok("record.create", type="role", data={"name": name, "permissions": list(permissions)})
    return str(made["id"])


async def allow(client: Client, rec: str, *permissions: str) -> None:
    """Give a role other permissions."""
    await client.ok("record.update", type="role", rec=rec, data={"permissions": list(permissions)})


async def refusal(client: Client, op: str, **fields: Any) -> tuple[str, str | None]:
    """Return code and path of a refusal that says what to do next."""
    message = await client.call(op, **fields)
    assert message["op"] == "error", message
    assert message["details"]["next"].endswith("."), message
    assert message["details"]["next"] in message["message"]
    return message["code"], message.get("path")


async def test_an_own_role_may_what_its_patterns_say_and_nothing_else(tenant: Tenant, codec: str) -> None:
    async with tenant.client("owner", codec) as owner, connected(tenant.process.socket_url, codec) as clerk:
        await own_role(owner, "clerk", "event.*", "*_person.read")
        _, key = await issue(tenant, owner, role="clerk")
        assert (await clerk.greet(key))["roles"] == ["clerk"]
        made = await clerk.create("event", title="A", acronym="a")
        assert (await clerk.ok("record.find", type="event_person"))["records"] == []
        assert await refusal(clerk, "record.find", type="event_session") == ("access.denied", None)
        await clerk.ok("record.delete", type="event", rec=made["id"], mode="hard")
        described = await clerk.ok("schema.describe")
        assert sorted(described["types"]) == ["event", "event_person"]
        assert described["types"]["event"]["permissions"] == [
            f"event.{verb}" for verb in ("read", "create", "update", "delete", "purge", "manage")
        ]
        assert described["types"]["event_person"]["permissions"] == ["event_person.read"]


BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "a built-in name": (
        "record.create",
        {"type": "role", "data": {"name": "owner", "permissions": ["*"]}},
        "data.name",
    ),
    "no permission": ("record.create", {"type": "role", "data": {"name": "r", "permissions": []}}, "data.permissions"),
    "a pattern that grants nothing": (
        "record.create",
        {"type": "role", "data": {"name": "r", "permissions": ["event.read", "evnt.*"]}},
        "data.permissions.1",
    ),
    "what only the hub does": (
        "record.create",
        {"type": "role", "data": {"name": "r", "permissions": ["session.create"]}},
        "data.permissions.0",
    ),
    "a service of an unknown role": (
        "record.create",
        {"type": "service_account", "data": {"name": "s", "role": "king"}},
        "data.role",
    ),
    "a device of an unknown role": (
        "record.create",
        {"type": "device", "data": {"name": "s", "role": "king"}},
        "data.role",
    ),
    "a key of an unknown role": ("action.call", {"action": "api_key.issue", "args": {"role": "king"}}, "args.role"),
    "a key without scope": (
        "action.call",
        {"action": "api_key.issue", "args": {"role": "viewer", "scopes": []}},
        "args.scopes",
    ),
    "a scope that grants nothing": (
        "action.call",
        {"action": "api_key.issue", "args": {"role": "viewer", "scopes": ["event.read", "event.fly"]}},
        "args.scopes.1",
    ),
    "a key that may nothing": (
        "action.call",
        {"action": "api_key.issue", "args": {"role": "viewer", "scopes": ["event.update"]}},
        "args.scopes",
    ),
    "roles in a batch": (
        "record.batch",
        {"ops": [{"op": "record.create", "type": "role", "data": {"name": "r", "permissions": ["*"]}}]},
        "ops.0.type",
    ),
    "keys by filter": (
        "record.update_where",
        {"type": "api_key", "data": {"role": "owner"}, "where": {}, "limit": 9},
        "type",
    ),
    "a role by its name": (
        "record.upsert",
        {"type": "role", "data": {"name": "r", "permissions": ["*"]}, "match": ["name"]},
        "type",
    ),
    "an earlier key": ("record.revert", {"type": "api_key", "rec": NOBODY, "version": 1}, "type"),
}


async def test_what_gives_rights_badly_is_refused_with_its_place_and_the_next_step(tenant: Tenant, codec: str) -> None:
    async with tenant.client("owner", codec) as owner:
        for why, (op, fields, path) in BAD.items():
            assert await refusal(owner, op, **fields) == ("data.invalid", path), why
        await own_role(owner, "clerk", "event.read")
        message = await owner.call("action.call", action="api_key.issue", args={"role": "king"})
        assert message["details"]["roles"][-2:] == ["owner", "clerk"]
        rec, _ = await issue(tenant, owner, role="viewer")
        for data, path in (({"role": "king"}, "data.role"), ({"scopes": []}, "data.scopes")):
            assert await refusal(owner, "record.update", type="api_key", rec=rec, data=data) == ("data.invalid", path)
        member = (await owner.ok("record.find", type="membership"))["records"][0]
        change: Message = {"type": "membership", "rec": member["id"]}
        assert await refusal(owner, "record.update", **change, data={"role": "king"}) == ("data.invalid", "data.role")
        assert await owner.refused("record.update", **change, data={"name": "x"}) == ("data.invalid", "data.name")
        assert await refusal(owner, "record.update", **change, data={"role": "clerk"}) == (
            "relation.restricted",
            "data.role",
        )
        assert await refusal(owner, "record.delete", **change) == ("relation.restricted", "rec")


async def test_nobody_gives_takes_or_changes_what_they_do_not_hold(tenant: Tenant, codec: str) -> None:
    url = tenant.process.socket_url
    async with operator(tenant.process, tenant.name) as desk, tenant.client("owner", codec) as owner:
        args = {"name": "Grace", "role": "viewer"}
        grace = (await desk.ok("action.call", action="user.create", args=args))["id"]
        staff = ("role.*", "api_key.*", "service_account.*", "device.*", "membership.*", "event.read")
        mine = await own_role(owner, "staff", *staff)
        theirs = await own_role(owner, "writers", "event.update")
        strong, _ = await issue(tenant, owner, role="owner")
        service = await owner.ok("record.create", type="service_account", data={"name": "s", "role": "editor"})
        _, key = await issue(tenant, owner, role="staff")
        members = (await owner.ok("record.find", type="membership"))["records"]
        member = {m["user_id"] == grace: m["id"] for m in members}
        async with connected(url, codec) as clerk:
            await clerk.greet(key)

            async def denied(op: str, **fields: Any) -> str:
                code, path = await refusal(clerk, op, **fields)
                assert code == "access.denied"
                return path or ""

            role: Message = {"type": "role", "rec": mine}
            more = [*staff, "event.update"]
            assert await denied("record.update", **role, data={"permissions": more}) == "data.permissions"
            assert (
                await denied("record.create", type="role", data={"name": "x", "permissions": ["*"]})
                == "data.permissions"
            )
            assert await denied("record.delete", type="role", rec=theirs) == "rec"
            for kind in ("service_account", "device"):
                assert await denied("record.create", type=kind, data={"name": "x", "role": "editor"}) == "data.role"
            assert await denied("record.update", type="service_account", rec=service["id"], data={"name": "x"}) == "rec"
            assert await denied("record.delete", type="api_key", rec=strong) == "rec"
            assert await denied("action.call", action="api_key.issue", args={"role": "editor"}) == "args.role"
            of_all, of_grace = ({"type": "membership", "rec": member[who]} for who in (False, True))
            assert await denied("record.update", **of_all, data={"role": "staff"}) == "rec"
            assert await denied("record.delete", **of_all) == "rec"
            assert await denied("record.update", **of_grace, data={"role": "staff"}) == "rec", "a viewer may more"
            # What they hold they give, and what is not there is not there.
            rec, _ = await issue(tenant, clerk, role="editor", scopes=["event.read"])
            await clerk.ok("record.update", type="api_key", rec=rec, data={"role": "staff"})
            await own_role(clerk, "readers", "event.read")
            await clerk.ok("record.create", type="device", data={"name": "x", "role": "readers"})
            code, path = await clerk.refused("record.update", type="role", rec=NOBODY, data={"permissions": ["*"]})
            assert (code, path) == ("record.not_found", "rec")
            in_use = await refusal(clerk, "record.delete", type="role", rec=mine)
            assert in_use == ("relation.restricted", "rec")


async def test_an_account_never_loses_its_last_owner_over_record_update(tenant: Tenant) -> None:
    async with (
        operator(tenant.process, tenant.name) as desk,
        tenant.client("owner") as one,
        tenant.client("owner") as two,
    ):
        await desk.ok("action.call", action="user.create", args={"name": "Grace", "role": "owner"})
        members = [m["id"] for m in (await one.ok("record.find", type="membership"))["records"]]
        asked = [
            await client.send("record.update", type="membership", rec=rec, data={"role": "viewer"})
            for client, rec in zip((one, two), members, strict=True)
        ]
        answers = [await client.answer(number) for client, number in zip((one, two), asked, strict=True)]
        assert sorted(a["op"] for a in answers) in (["error", "ok"],)
        roles = [m["role"] for m in (await one.ok("record.find", type="membership"))["records"]]
        assert sorted(roles) == ["owner", "viewer"]


async def test_a_key_may_at_most_what_it_acts_for_and_ends_with_it(tenant: Tenant, codec: str) -> None:
    url = tenant.process.socket_url
    async with tenant.client("owner", codec) as owner:
        for kind, field in (("service_account", "service"), ("device", "device")):
            acts = (await owner.ok("record.create", type=kind, data={"name": f"the {kind}", "role": "editor"}))["id"]
            _, key = await issue(tenant, owner, role="owner", **{field: acts})
            async with connected(url, codec) as client:
                assert (await client.greet(key))["roles"] == ["owner"]
                await client.create("event", title="A", acronym=kind)
                assert (await client.refused("record.find", type="api_key"))[0] == "access.denied"
                await owner.ok("record.update", type=kind, rec=acts, data={"role": "viewer"})
                assert (await client.push("notice"))["code"] == "rights.changed"
                assert (await client.refused("record.create", type="event", data={}))[0] == "access.denied"
                await owner.ok("record.update", type=kind, rec=acts, data={"disabled": True})
                assert await client.closed() == 4505
            async with connected(url, codec) as client:
                assert await client.refused("session.hello", token=key) == ("auth.invalid", "token")
            await owner.ok("record.update", type=kind, rec=acts, data={"disabled": False})
            async with connected(url, codec) as client:
                await client.greet(key)
                await owner.ok("record.delete", type=kind, rec=acts)
                assert await client.closed() == 4505


async def test_what_is_lost_ends_and_the_rest_goes_on(tenant: Tenant, codec: str) -> None:
    async with tenant.client("owner", codec) as owner, connected(tenant.process.socket_url, codec) as clerk:
        rec = await own_role(owner, "clerk", "event.*", "event_person.read", "site.read", "account.feed")
        _, key = await issue(tenant, owner, role="clerk")
        hello = await clerk.greet(key)
        event, site = [await owner.create("event", title="A", acronym="a"), await owner.create("site", name="S")]
        watches = {t: (await clerk.ok("watch.start", type=t))["watch"] for t in ("event", "event_person", "site")}
        for name in (f"event:{event['id']}", f"site:{site['id']}"):
            for client in (owner, clerk):
                await client.ok("channel.join", channel=name, presence={"state": {}})
        await clerk.ok("lock.take", type="event", rec=event["id"])
        await clerk.ok("feed.start", name="all")
        await owner.settled()
        owner.pushes.clear()

        await allow(owner, rec, "event_person.read", "site.read")
        assert (await clerk.push("notice"))["data"] == {"roles": ["clerk"]}
        resets = [await clerk.push("reset") for _ in range(3)]
        gone = [{"watch": watches["event"]}, {"channel": f"event:{event['id']}"}, {"feed": "all"}]
        assert sorted(resets, key=str) == sorted(({"op": "reset", **one, "why": "rights"} for one in gone), key=str)
        left = await owner.push("presence")
        assert [(left["channel"], e["kind"]) for e in left["events"]] == [(f"event:{event['id']}", "leave")]
        assert (await owner.push("message"))["data"]["why"] == "released"
        await owner.ok("lock.take", type="event", rec=event["id"])

        await owner.ok("record.update", type="event", rec=event["id"], data={"title": "B"})
        await owner.create("site", name="T")
        person = {"type": "event", "rec": event["id"]}
        await owner.ok("record.create", type="event_person", parent=person, data={"name": "P", "source_id": "p"})
        assert [e["kind"] for e in await clerk.changes(watches["site"])] == ["enter"]
        assert [e["kind"] for e in await clerk.changes(watches["event_person"])] == ["enter"]
        assert await clerk.changes(watches["event"]) == []
        assert (await clerk.refused("record.get", type="event", rec=event["id"]))[0] == "access.denied"
        assert (await clerk.ok("presence.roster", channel=f"site:{site['id']}", count=True))["count"] == 2

        await allow(owner, rec, "event.read", "site.read")
        assert (await clerk.push("reset"))["watch"] == watches["event_person"]
        assert (await clerk.ok("watch.start", type="event"))["records"][0]["title"] == "B"
        assert hello["session"] == clerk.hello["session"]
        await owner.ok("record.delete", type="role", rec=await _unused(owner, rec))
        assert await clerk.closed() == 4505


async def _unused(owner: Client, role: str) -> str:
    """Take a role from all keys but leave the sessions that have it: the keys name one that is not there."""
    keys = (await owner.ok("record.find", type="api_key", where={"role": "clerk"}))["records"]
    for key in keys:
        await owner.ok("record.delete", type="api_key", rec=key["id"])
    return role


async def test_a_member_with_another_role_keeps_what_it_may_still_have(tenant: Tenant, codec: str) -> None:
    token, second = await tenant.sign_in(), await tenant.sign_in()
    async with (
        operator(tenant.process, tenant.name) as desk,
        connected(tenant.process.socket_url, codec) as ada,
        tenant.client("owner", codec) as owner,
    ):
        await desk.ok("action.call", action="user.create", args={"name": "Grace", "role": "owner"})
        assert (await ada.greet(token))["roles"] == ["owner"]
        keys, events = [(await ada.ok("watch.start", type=t))["watch"] for t in ("api_key", "event")]
        member = (await owner.ok("record.find", type="membership", where={"name": "Ada"}))["records"][0]
        await owner.ok("record.update", type="membership", rec=member["id"], data={"role": "editor"})
        assert (await ada.push("notice"))["data"] == {"roles": ["editor"]}
        assert await ada.push("reset") == {"op": "reset", "watch": keys, "why": "rights"}
        await ada.create("event", title="A", acronym="a")
        assert [e["kind"] for e in await ada.changes(events)] == ["enter"]
        renewed = await ada.ok("session.auth", token=second)
        assert renewed["roles"] == ["editor"]
        await ada.create("event", title="B", acronym="b")
        assert [e["kind"] for e in await ada.changes(events)] == ["enter"], "nothing was dropped"
        await owner.ok("record.delete", type="membership", rec=member["id"])
        assert await ada.closed() == 4505
    async with connected(tenant.process.socket_url, codec) as ada:
        assert (await ada.greet(token))["account"] is None
        assert (await ada.refused("session.hello", token=token, account=tenant.name))[0] == "record.not_found"


async def test_a_key_narrowed_or_ended_sooner_is_so_at_open_sockets(tenant: Tenant) -> None:
    async with tenant.client("owner") as owner, connected(tenant.process.socket_url) as client:
        rec, key = await issue(tenant, owner, role="editor")
        await client.greet(key)
        watch = (await client.ok("watch.start", type="event"))["watch"]
        await owner.ok("record.update", type="api_key", rec=rec, data={"scopes": ["event.read", "site.*"]})
        await client.push("notice")
        message = await client.call("record.create", type="event", data={})
        assert message["details"]["role"] == "editor within the key's scopes"
        await owner.create("event", title="A", acronym="a")
        assert [e["kind"] for e in await client.changes(watch)] == ["enter"]
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=0.6)
        data = {"expires_at": end.isoformat(timespec="milliseconds")}
        await owner.ok("record.update", type="api_key", rec=rec, data=data)
        assert await client.closed() == 4503
        assert datetime.datetime.now(datetime.UTC) >= end


@pytest.mark.parametrize("transport", ["socket", "rpc"])
async def test_nothing_is_kept_of_a_role_that_changed(tenant: Tenant, transport: str) -> None:
    async with tenant.client("owner") as owner, connected(tenant.process.socket_url) as clerk:
        rec = await own_role(owner, "clerk", "event.read")
        _, key = await issue(tenant, owner, role="clerk")
        for n in range(3):
            await allow(owner, rec, *(["event.read", "event.create"] if n % 2 else ["event.read"]))
            fields: dict[str, Any] = {"type": "event", "data": {"title": "A", "acronym": f"a{n}"}}
            if transport == "socket":
                await clerk.greet(key)
                answer = await clerk.call("record.create", **fields)
            else:
                answer = await _post(tenant, key, {"op": "record.create", "id": 1, **fields})
            assert (answer["op"] == "ok") == bool(n % 2)


async def _post(tenant: Tenant, key: str, request: Message) -> Message:
    async with httpx.AsyncClient(base_url=tenant.process.url, trust_env=False) as http:
        answer: Message = (await http.post("/rpc", json=request, headers={"authorization": f"Bearer {key}"})).json()
    return answer
