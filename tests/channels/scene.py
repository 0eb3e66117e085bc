"""What tests of the live side share: a registry, a keeper in memory, commits, outlets whose frames can be read."""

from __future__ import annotations

import itertools
from typing import Any

from channels.outlet import Outlet
from channels.watches import WatchQuery
from hub.access import RightsTable
from hub.schema.registry import Registry
from hub.schema.where import parse_where
from hub.schema.writes import Commit, Committed, Create, Delete, Update
from hub.wire.codec import JSON, Codec
from storage.memory import MemoryDatabase, MemoryStorage

REGISTRY = Registry.of(["hub.schema.core", "packs.events"])
RIGHTS = RightsTable(REGISTRY)
EVENT = REGISTRY.types["event"]
NOW = "2026-11-21T09:00:00.000Z"
ACCOUNT = "account"
Message = dict[str, Any]


class Listener:
    """An outlet and what came out of it."""

    def __init__(self, codec: Codec = JSON, max_bytes: int = 1024 * 1024) -> None:
        self.woken = 0
        self.outlet = Outlet(codec, self._wake, max_bytes)

    def _wake(self) -> None:
        self.woken += 1

    def heard(self) -> list[Message]:
        """Take and return everything that waits."""
        found: list[Message] = []
        while (frame := self.outlet.take()) is not None:
            found.append(self.outlet.codec.decode(frame if self.outlet.codec.binary else frame.decode()))
        return found


def query(where: Message | None = None, fields: tuple[str, ...] | None = None, role: str = "viewer") -> WatchQuery:
    """Return a watch of events."""
    return WatchQuery(ACCOUNT, EVENT, parse_where(EVENT, where), fields, RIGHTS.of(role))


class Store:
    """A keeper in memory that commits one write at a time."""

    def __init__(self, database: MemoryDatabase | None = None) -> None:
        self.storage = MemoryStorage(REGISTRY, lambda: NOW, database)
        self._ids = (f"event{n:06}" for n in itertools.count(1))

    async def start(self) -> Store:
        """Begin to serve."""
        await self.storage.start()
        return self

    async def commit(self, *writes: Create | Update | Delete) -> Committed:
        """Commit writes together."""
        return await self.storage.submit(Commit(ACCOUNT, writes, session="writer"))

    async def create(self, title: str = "A", **data: Any) -> str:
        """Create an event; return its id."""
        rec = next(self._ids)
        await self.commit(Create(EVENT, rec, EVENT.accept_create({"title": title, "acronym": rec, **data})))
        return rec

    async def update(self, rec: str, **data: Any) -> int:
        """Change an event; return the commit's number."""
        return (await self.commit(Update(EVENT, rec, EVENT.accept_change(data)))).seq

    async def delete(self, rec: str) -> int:
        """Delete an event; return the commit's number."""
        return (await self.commit(Delete(EVENT, rec))).seq
