"""Host names that lead to an account: named before anybody signs in, and the default for who belongs to several."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import httpx
import pytest

from hub.edge.addresses import host_of
from tests.forked import aether
from tests.wire.talk import connected
from tests.wire.tenant import Tenant, operator


async def of_host(tenant: Tenant, host: str | None = None, **args: Any) -> dict[str, Any]:
    """Ask as a guest over HTTP, by a host name; return the answer."""
    body = {"op": "action.call", "id": 1, "action": "account.of_host", "args": args}
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        headers = {"host": host} if host is not None else {}
        answer: dict[str, Any] = (await http.post(f"{tenant.process.url}/rpc", json=body, headers=headers)).json()
    return answer


async def page_of(tenant: Tenant, host: str) -> Any:
    """Return the account that the sign-in page at a host name is told."""
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        answer = (await http.get(f"{tenant.process.url}/auth/providers", headers={"host": host})).json()
    assert answer["providers"] == []
    return answer["account"]


async def added(tenant: Tenant, **args: Any) -> tuple[str, str | None]:
    """Let a fresh host name lead to the tenant; return it, and its key."""
    host = f"{secrets.token_hex(4)}.example"
    async with operator(tenant.process) as client:
        made = await client.ok("action.call", action="domain.add", args={"host": host, "account": tenant.name, **args})
    if made["key"] is not None:
        tenant.process.secrets.add(made["key"])
    return host, made["key"]


async def test_a_host_name_names_its_account_before_anybody_signs_in(tenant: Tenant, codec: str) -> None:
    host, key = await added(tenant)
    assert key is None
    for named in (host, host.upper(), f"{host}.", f"{host}:8443"):
        assert (await of_host(tenant, named))["data"] == {"name": tenant.name, "title": ""}
    async with connected(tenant.process.socket_url, codec) as guest:
        await guest.greet()
        assert (await guest.ok("action.call", action="account.of_host", args={"host": host}))["name"] == tenant.name
    assert await page_of(tenant, host) == {"name": tenant.name, "title": ""}
    assert await page_of(tenant, "nobody.example") is None
    for other in (None, "nobody.example", f"x.{host}", "[::1]", "a b"):
        answer = await of_host(tenant, other)
        assert (answer["code"], answer["path"]) == ("record.not_found", "args.host"), other


async def test_where_the_operator_says_so_a_key_must_be_shown(tenant: Tenant) -> None:
    host, key = await added(tenant, keyed=True)
    assert key is not None
    assert (await of_host(tenant, host, key=key))["data"]["name"] == tenant.name
    assert await page_of(tenant, host) is None
    nothing = await of_host(tenant, "nobody.example")
    for wrong in ({}, {"key": ""}, {"key": key[:-1]}, {"key": key.upper()}, {"key": "é"}):
        assert await of_host(tenant, host, **wrong) == nothing


async def test_a_name_leads_to_one_account_until_it_is_removed(tenant: Tenant) -> None:
    host, _ = await added(tenant)
    async with operator(tenant.process) as client:

        async def refused(action: str, **args: Any) -> tuple[str, str | None]:
            return await client.refused("action.call", action=action, args=args)

        assert await refused("domain.add", host=host, account=tenant.name) == ("record.exists", "args.host")
        assert await refused("domain.add", host="x.example", account="nobody") == ("record.not_found", "args.account")
        for bad in ("Camp.Example", "camp example", "", "-a.example", "a.example:80", "a" * 254):
            assert await refused("domain.add", host=bad) == ("data.invalid", "args.host"), bad
        listed = (await client.ok("action.call", action="domain.list"))["domains"]
        assert {"host": host, "account": tenant.name} in listed
        assert (await client.ok("action.call", action="domain.remove", args={"host": host})) == {"host": host}
        assert await refused("domain.remove", host=host) == ("record.not_found", "args.host")
    assert (await of_host(tenant, host))["code"] == "record.not_found"
    async with tenant.client("owner") as owner:
        answer = await owner.refused("action.call", action="domain.list")
        assert answer == ("access.denied", "action")


async def test_who_belongs_to_several_comes_into_the_account_of_the_name_and_nobody_into_a_foreign_one(
    tenant: Tenant,
) -> None:
    token = await tenant.sign_in()
    name = f"second-{secrets.token_hex(4)}"
    async with operator(tenant.process) as client:
        second = (await client.ok("action.call", action="account.create", args={"name": name, "owner": "Eve"}))["id"]
    host, foreign = (await added(tenant))[0], f"{secrets.token_hex(4)}.example"
    async with operator(tenant.process, name) as client:
        await client.ok("action.call", action="domain.add", args={"host": foreign, "account": name})

    listed: list[Any] = []

    async def comes(by: str | None) -> str | None:
        url = tenant.process.socket_url.replace("127.0.0.1", by or "127.0.0.1")
        async with connected(url, host="127.0.0.1") as visitor:
            account: str | None = (await visitor.greet(token))["account"]
            if account is None:
                listed.append(await visitor.ok("action.call", action="session.accounts"))
            return account

    assert await comes(foreign) == tenant.account, "the only account, whatever the name"
    await _join(tenant, token, name)
    assert await comes(None) is None, "which of two?"
    assert (await comes(host), await comes(foreign)) == (tenant.account, second)
    assert await comes("nobody.example") is None
    both = [
        {"id": tenant.account, "name": tenant.name, "title": "", "role": "owner"},
        {"id": second, "name": name, "title": "", "role": "viewer"},
    ]
    theirs = {"accounts": sorted(both, key=lambda account: account["name"]), "email": None}
    assert listed == [theirs, theirs], "one chooses from what one belongs to"
    async with tenant.client("viewer") as key, tenant.client(None) as guest:
        (only,) = (await key.ok("action.call", action="session.accounts"))["accounts"]
        assert (only["id"], only["role"]) == (tenant.account, "viewer")
        assert (await guest.refused("action.call", action="session.accounts"))[0] == "auth.required"


async def _join(tenant: Tenant, token: str, account: str) -> None:
    """Make the tenant's owner a member of another account, by an invitation."""
    async with operator(tenant.process, account) as client:
        args = {"email": f"{secrets.token_hex(4)}@people.example", "name": "Ada", "role": "viewer"}
        link = (await client.ok("action.call", action="invitation.create", args=args))["link"]
    code = link.partition("#invite=")[2]
    tenant.process.secrets.add(code)
    async with connected(tenant.process.socket_url) as client:
        await client.greet(token)
        await client.ok("action.call", action="invitation.accept", args={"code": code})


async def test_the_command_adds_lists_and_removes(tenant: Tenant) -> None:
    host, data = f"{secrets.token_hex(4)}.example", str(tenant.process.data)

    def run(*words: str) -> str:
        done = aether("domain", *words, "--data", data)
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = await asyncio.to_thread(run, "add", host, "--account", tenant.name, "--key")
    first, key = said.splitlines()
    tenant.process.secrets.add(key)
    assert first == f"{host}\t{tenant.name}"
    assert (await of_host(tenant, host, key=key))["data"]["name"] == tenant.name
    assert first in (await asyncio.to_thread(run, "list")).splitlines()
    assert (await asyncio.to_thread(run, "remove", host)).strip() == host


@pytest.mark.parametrize(
    ("headers", "host"),
    [
        ([(b"host", b"Camp.Example:8400")], "camp.example"),
        ([(b"host", b"camp.example.")], "camp.example"),
        ([(b"host", b"[::1]:8400")], None),
        ([(b"host", b"a.example"), (b"host", b"b.example")], None),
        ([(b"host", b"a.example/../b")], None),
        ([(b"host", "ä.example".encode())], None),
        ([], None),
    ],
)
def test_a_host_name_is_read_in_one_way(headers: list[tuple[bytes, bytes]], host: str | None) -> None:
    assert host_of({"type": "http", "headers": headers, "server": ("127.0.0.1", 8400)}) == host
