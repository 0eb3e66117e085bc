"""A hub in this process with an account, an event and a short grace, for tests of who comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from channels import live
from handlers import people
from handlers.base import Services
from tests.wire.inside import Inside, assembled_in_memory
from tests.wire.talk import Client, connected

GRACE = 0.2


def with_short_grace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """Wire up a hub. Call it outside the event loop: it reads files."""
    monkeypatch.setattr(live, "GRACE_SECONDS", GRACE)
    return assembled_in_memory(tmp_path, monkeypatch)


class Place:
    """A running hub with an account, an event, and keys of roles."""

    def __init__(self, inside: Inside, account: str, owner: str) -> None:
        self.inside = inside
        self.services: Services = inside.parts.hub.services
        self.account = account
        self.owner = owner
        self.event = ""

    @property
    def channel(self) -> str:
        return f"event:{self.event}"

    @asynccontextmanager
    async def client(self, token: str | None = None, codec: str = "json") -> AsyncIterator[Client]:
        async with connected(self.inside.socket_url, codec) as client:
            await client.greet(token or self.owner)
            yield client

    async def key(self, role: str) -> tuple[str, str]:
        """Return the id and the secret of a fresh key."""
        image, key = await people.create_api_key(self.services, self.account, role, role)
        return str(image["id"]), key


@asynccontextmanager
async def opened(inside: Inside) -> AsyncIterator[Place]:
    """Serve, with an account and an event."""
    async with inside.running():
        found = Place(inside, *await inside.make_account("one"))
        async with found.client() as client:
            found.event = (await client.create("event", title="A", acronym="a"))["id"]
        yield found


async def cut(client: Client) -> None:
    """Break a socket off without a word."""
    client.socket.transport.abort()
    await client.socket.wait_closed()


async def until(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


async def title(client: Client, event: str) -> str:
    return str((await client.ok("record.get", type="event", rec=event))["title"])


async def join(client: Client, channel: str, **state: Any) -> None:
    await client.ok("channel.join", channel=channel, presence={"state": state})
