"""People who sign in, for the tests of it: made by the operator, with a password that they set themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from tests.wire.hubprocess import HubProcess
from tests.wire.talk import Client, Message, connected
from tests.wire.tenant import Tenant, operator

PASSWORD: Final = "correct horse battery"
OTHER_PASSWORD: Final = "another good password"
AT_ONCE: Final = 8


async def act(socket: Client, action: str, /, **args: Any) -> Any:
    """Call an action."""
    return await socket.ok("action.call", action=action, args=args)


async def refusal(client: Client, action: str, /, **args: Any) -> tuple[str, str | None]:
    """Call an action that is refused; return code and path."""
    return await client.refused("action.call", action=action, args=args)


numbers = iter(range(10_000))


async def make_person(tenant: Tenant, password: str | None = PASSWORD) -> str:
    """Make a person in the account, with a password where one is given; return their mail address."""
    name = f"grace{next(numbers)}"
    email = f"{name}@people.example"
    async with operator(tenant.process, tenant.name) as desk:
        await act(desk, "user.create", name=name, role="editor", email=email.upper())
        code = (await act(desk, "signin.link", account=tenant.name, user=name))["code"]
    tenant.process.secrets.add(code)
    if password is not None:
        async with connected(tenant.process.socket_url) as client:
            await client.greet()
            tokens = await redeem(tenant, client, code)
            await client.greet(tokens["access"])
            assert await act(client, "user.set_password", new=password) == {"ended": 0}
    return email


async def redeem(tenant: Tenant, client: Client, code: str) -> Any:
    """Sign in with the code of a link; return the tokens."""
    return keep(tenant, await act(client, "session.redeem", code=code, client="tests"))


def keep(tenant: Tenant, tokens: Any) -> Any:
    """Remember tokens as what no log may hold."""
    tenant.process.secrets |= {tokens["access"], tokens["refresh"]}
    return tokens


async def enter(tenant: Tenant, client: Client, email: str, password: str = PASSWORD) -> Any:
    """Sign in with a password; return the tokens."""
    return keep(tenant, await act(client, "session.sign_in", email=email, password=password, client="tests"))


@asynccontextmanager
async def guests(hub: HubProcess, count: int = AT_ONCE) -> AsyncIterator[list[Client]]:
    """Yield several greeted sockets of nobody."""
    async with AsyncExitStack() as stack:
        made = [await stack.enter_async_context(connected(hub.socket_url)) for _ in range(count)]
        for client in made:
            await client.greet()
        yield made


async def at_once(clients: list[Client], action: str, **args: Any) -> list[Message]:
    """Call an action from all sockets together; return the answers."""
    return await asyncio.gather(*(c.call("action.call", action=action, args=args) for c in clients))
