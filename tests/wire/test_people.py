"""People who were let in, as the operator handles them: another role, out of the account, signed out, a link."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.wire.talk import Client, connected
from tests.wire.tenant import Tenant, operator


@pytest.fixture
async def desk(tenant: Tenant) -> AsyncIterator[Client]:
    """The operator in the tenant's account."""
    async with operator(tenant.process, tenant.name) as client:
        yield client


async def act(desk: Client, action: str, **args: Any) -> Any:
    """Call an action."""
    return await desk.ok("action.call", action=action, args=args)


async def refusal(desk: Client, action: str, **args: Any) -> tuple[str, str | None]:
    """Call an action that is refused; return code and path."""
    return await desk.refused("action.call", action=action, args=args)


async def signed_in(tenant: Tenant, desk: Client, who: str) -> str:
    """Return a session token of a person."""
    link = await act(desk, "signin.link", account=tenant.name, user=who)
    async with httpx.AsyncClient(base_url=tenant.process.url, trust_env=False) as http:
        token: str = (await http.post("/auth/signin", json={"code": link["code"]})).json()["token"]
    tenant.process.secrets |= {token, link["code"]}
    return token


async def test_a_person_who_is_removed_is_out_at_once_and_stays_out(tenant: Tenant, desk: Client, codec: str) -> None:
    made = await act(desk, "user.create", name="Grace", role="editor")
    token = await signed_in(tenant, desk, "Grace")
    async with connected(tenant.process.socket_url, codec) as grace:
        assert (await grace.greet(token))["roles"] == ["editor"]
        gone = await act(desk, "user.remove", user="Grace")
        assert gone == {"id": made["id"], "name": "Grace", "role": "editor"}
        assert await grace.closed() == 4505
    async with connected(tenant.process.socket_url, codec) as again:
        assert (await again.greet(token))["account"] is None
    assert await refusal(desk, "user.remove", user="Grace") == ("record.not_found", "args.user")


async def test_another_role_reaches_open_sockets(tenant: Tenant, desk: Client, codec: str) -> None:
    made = await act(desk, "user.create", name="Grace", role="editor")
    token = await signed_in(tenant, desk, made["id"])
    async with connected(tenant.process.socket_url, codec) as grace:
        await grace.greet(token)
        assert (await act(desk, "user.role", user=made["id"], role="viewer"))["role"] == "viewer"
        notice = await grace.push("notice")
        assert (notice["code"], notice["data"]) == ("rights.changed", {"roles": ["viewer"]})
        assert (await grace.refused("record.create", type="event", data={}))[0] == "access.denied"
    async with connected(tenant.process.socket_url, codec) as again:
        assert (await again.greet(token))["roles"] == ["viewer"]


async def test_a_disabled_person_is_shut_out_until_enabled(tenant: Tenant, desk: Client, codec: str) -> None:
    made = await act(desk, "user.create", name="Grace", role="editor")
    token = await signed_in(tenant, desk, made["id"])
    async with connected(tenant.process.socket_url, codec) as grace:
        await grace.greet(token)
        assert (await act(desk, "user.disable", user="Grace"))["disabled"]
        assert await grace.closed() == 4505
    async with connected(tenant.process.socket_url, codec) as again:
        assert await again.refused("session.hello", token=token) == ("auth.invalid", "token")
        assert not (await act(desk, "user.disable", user="Grace", disabled=False))["disabled"]
        assert (await again.greet(token))["roles"] == ["editor"]


async def test_a_person_who_is_signed_out_needs_a_new_link(tenant: Tenant, desk: Client, codec: str) -> None:
    await act(desk, "user.create", name="Grace", role="editor")
    token = await signed_in(tenant, desk, "Grace")
    unused = await act(desk, "signin.link", account=tenant.name, user="Grace")
    tenant.process.secrets.add(unused["code"])
    async with connected(tenant.process.socket_url, codec) as grace:
        await grace.greet(token)
        assert (await act(desk, "user.sign_out", user="Grace"))["ended"] == 1
        assert await grace.closed() == 4505
    async with connected(tenant.process.socket_url, codec) as again:
        assert await again.refused("session.hello", token=token) == ("auth.invalid", "token")
        async with httpx.AsyncClient(base_url=tenant.process.url, trust_env=False) as http:
            answer = await http.post("/auth/signin", json={"code": unused["code"]})
        assert answer.json()["code"] == "auth.invalid"
        assert (await again.greet(await signed_in(tenant, desk, "Grace")))["roles"] == ["editor"]


async def test_an_account_keeps_an_owner_also_where_two_remove_each_other(tenant: Tenant, desk: Client) -> None:
    assert await refusal(desk, "user.remove", user="Ada") == ("action.failed", "args.user")
    assert await refusal(desk, "user.role", user="Ada", role="manager") == ("action.failed", "args.user")
    assert (await act(desk, "user.role", user="Ada", role="owner"))["role"] == "owner"
    await act(desk, "user.create", name="Grace", role="owner")
    async with operator(tenant.process, tenant.name) as other:
        answers = await asyncio.gather(
            desk.call("action.call", action="user.remove", args={"user": "Ada"}),
            other.call("action.call", action="user.role", args={"user": "Grace", "role": "viewer"}),
        )
    assert sorted(a["op"] for a in answers) == ["error", "ok"], answers
    found = await desk.ok("record.find", type="membership", where={"role": "owner"})
    assert len(found["records"]) == 1


async def test_a_name_is_given_twice_only_where_that_is_meant(tenant: Tenant, desk: Client) -> None:
    first = await act(desk, "user.create", name="Grace", role="viewer")
    assert await refusal(desk, "user.create", name="Grace", role="owner") == ("record.exists", "args.name")
    second = await act(desk, "user.create", name="Grace", role="viewer", another=True)
    answer = await desk.call("action.call", action="user.remove", args={"user": "Grace"})
    assert (answer["code"], answer["path"]) == ("data.invalid", "args.user")
    assert answer["details"]["users"] == sorted([first["id"], second["id"]])
    assert (await act(desk, "user.remove", user=second["id"]))["id"] == second["id"]


async def test_people_of_another_account_are_not_there(tenant: Tenant, desk: Client, shared: Tenant) -> None:
    async with operator(shared.process, shared.name) as other:
        theirs = (await other.ok("record.find", type="membership"))["records"][0]["user_id"]
    for action, more in (("user.role", {"role": "viewer"}), ("user.remove", {}), ("user.sign_out", {})):
        assert await refusal(desk, action, user=theirs, **more) == ("record.not_found", "args.user")
    assert (await refusal(desk, "signin.link", account=tenant.name, user=theirs))[0] == "record.not_found"


async def test_an_owner_does_none_of_it_over_the_port(tenant: Tenant) -> None:
    async with tenant.client("owner") as owner:
        for action, more in (("user.role", {"role": "viewer"}), ("user.remove", {}), ("user.sign_out", {})):
            args = {"user": "Ada", **more}
            assert (await owner.refused("action.call", action=action, args=args))[0] == "access.denied"
