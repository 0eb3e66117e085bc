"""A fresh account of a running hub, made by its operator over DIR/hub.sock, with keys and clients of each role."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx

from tests.wire.hubprocess import HubProcess
from tests.wire.talk import Client, connected, data_of

ROLES: Final = ("owner", "editor", "viewer")
_names = itertools.count(1)


@dataclass
class Tenant:
    """An account and the keys to it, by role; `user` is a session token of its first owner."""

    process: HubProcess
    name: str
    account: str
    keys: dict[str, str]

    @asynccontextmanager
    async def client(self, role: str | None, codec: str = "json", **hello: Any) -> AsyncIterator[Client]:
        """Yield a greeted socket: of a key's role, or of a guest for None."""
        async with connected(self.process.socket_url, codec) as client:
            await client.greet(self.keys[role] if role else None, **hello)
            yield client

    async def sign_in(self) -> str:
        """Return a fresh session token of the account's first owner."""
        async with operator(self.process) as client:
            link = await client.ok("action.call", action="signin.link", args={"account": self.name})
        async with httpx.AsyncClient(base_url=self.process.url, trust_env=False) as http:
            answer = await http.post("/auth/signin", json={"code": link["code"]})
        token: str = answer.json()["token"]
        self.process.secrets |= {token, link["code"]}
        return token


@asynccontextmanager
async def operator(process: HubProcess, account: str | None = None) -> AsyncIterator[Client]:
    """Yield a greeted socket of the operator."""
    async with connected("ws://localhost/ws", unix=process.unix) as client:
        await client.greet(**({"account": account} if account else {}))
        yield client


async def make_tenant(process: HubProcess) -> Tenant:
    """Make an account, its owner and a key of each role."""
    name = f"tenant-{next(_names)}"
    async with operator(process) as client:
        made = await client.ok("action.call", action="account.create", args={"name": name, "owner": "Ada"})
        await client.greet(account=name)
        asked = {
            role: await client.send("action.call", action="api_key.issue", args={"role": role, "name": role})
            for role in ROLES
        }
        keys = {role: data_of(await client.answer(number))["key"] for role, number in asked.items()}
    process.secrets |= set(keys.values())
    return Tenant(process, name, made["id"], keys)
