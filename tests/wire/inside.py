"""A hub inside the test's own process, over a keeper that the test chooses and may break."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from handlers import people
from handlers.base import system_clock
from hub import app
from hub.app import Assembled, DataFolder
from hub.edge.server import listen_tcp, make_server
from hub.schema.core.identity import Membership
from hub.schema.record import type_of
from hub.schema.registry import Registry
from hub.schema.writes import Commit, Create
from hub.settings import load
from storage.memory import MemoryStorage
from tests.wire.carriers import Carrier

STOP_SECONDS: Final = 10.0


class Inside:
    """A running hub; `parts` are its insides."""

    def __init__(self, parts: Assembled, listening: socket.socket) -> None:
        self.parts = parts
        self._listening = listening
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self.socket_url = self.url.replace("http", "ws", 1) + "/ws"

    def close(self) -> None:
        """Let go of the port, where nothing was served."""
        self._listening.close()

    async def make_account(self, name: str) -> tuple[str, str]:
        """Create an account with an owner; return its id and an owner's key."""
        services = self.parts.hub.services
        account = await people.create_account(services, name)
        await people.create_user(services, account["id"], "Ada", "owner")
        _, key = await people.create_api_key(services, account["id"], "owner", "owner")
        return str(account["id"]), key

    async def make_member(self, account: str, other: str) -> str:
        """Make a user who is an owner of two accounts; return a token of theirs."""
        services = self.parts.hub.services
        user = await people.create_user(services, account, "In both", "owner")
        kind = type_of(Membership)
        data = kind.accept_create({"user_id": user["id"], "role": "owner", "name": "In both"}, trusted=True)
        await services.storage.submit(Commit(other, (Create(kind, services.new_id(), data),)))
        code, _ = await people.create_signin_code(services, user["id"])
        token, _ = await people.redeem_code(services, code)
        return token

    @asynccontextmanager
    async def running(self, server: Carrier | None = None) -> AsyncIterator[Inside]:
        """Serve, with health checks, until the block ends; by the hub's own server where none is given."""
        parts = self.parts
        await parts.storage.start()
        await parts.hub.services.blobs.start()
        await parts.hub.services.live.start()
        checks = asyncio.create_task(parts.health.run())
        server = server or make_server(parts.app, parts.hub, drain_seconds=1, on_started=lambda: None)
        serving = asyncio.create_task(server.serve(sockets=[self._listening]))
        try:
            async with asyncio.timeout(STOP_SECONDS):
                while not server.started:
                    await asyncio.sleep(0.01)
            yield self
        finally:
            server.should_exit = True
            async with asyncio.timeout(STOP_SECONDS):
                await serving
            checks.cancel()
            await parts.hub.services.live.close()
            await parts.storage.close()
            await parts.hub.services.blobs.close()


def assembled_in_memory(data: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> Inside:
    """Wire up a hub over the keeper in memory. Call it outside the event loop: it reads files."""

    def in_memory(registry: Registry, file: Path, clock: object, durability: str, migrate: str) -> MemoryStorage:
        return MemoryStorage(registry, system_clock)

    monkeypatch.setattr(app, "SqliteStorage", in_memory)
    return assembled(data, **settings)


def assembled(data: Path, **settings: str) -> Inside:
    """Wire up a hub over SQLite. Call it outside the event loop: it reads files."""
    data.mkdir(parents=True, exist_ok=True)
    parts = app.assemble(
        load({"AETHER_AUDIT_DAYS": "0"}, None, {"data": str(data), "port": 0, **settings}), DataFolder(data)
    )
    return Inside(parts, listen_tcp("127.0.0.1", 0))
