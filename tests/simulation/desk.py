"""One hub core in this process over any storage, and clients that talk to it without a socket, in real time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any, Final

from channels.live import Live
from handlers import people
from handlers.base import Operations, Services
from handlers.modules import MODULES
from hub.access import RightsTable
from hub.edge.connection import Connection, Hub
from hub.schema.registry import Registry
from hub.wire.codec import Codec
from storage.base import Storage
from storage.blobs.disk import DiskBlobs
from storage.bus import InProcessBus
from storage.memory import MemoryDatabase
from tests.simulation.client import Socket, Wanted, Wrong
from tests.simulation.edges import SimulatedEdge
from tests.simulation.history import History, Spec

REGISTRY: Final = Registry.of(["hub.schema.core", "packs.events", "tests.simulation.kinds"])
RIGHTS: Final = RightsTable(REGISTRY)
WAIT_SECONDS: Final = 10.0


class _Trusting(Socket):
    """A socket that is compared with fresh finds instead of a history."""

    def __init__(self) -> None:
        super().__init__(History(MemoryDatabase(), ""), lambda: False, False)

    def _true(self, wanted: Wanted) -> None:
        """The test asks the hub itself."""


class Desk:
    """A hub core with account `main`."""

    def __init__(self, storage: Storage, rng: Random) -> None:
        self.live = Live(storage, InProcessBus())
        self.services = Services(
            registry=REGISTRY,
            rights=RIGHTS,
            storage=storage,
            live=self.live,
            blobs=DiskBlobs(Path("unused")),
            secret=b"desk",
            version="0",
            instance="desk",
            max_file_bytes=1,
            random=rng.randbytes,
        )
        self.hub = Hub(self.services, Operations(MODULES), set())

    async def start(self) -> str:
        """Start; return the id of account `main`."""
        await self.services.storage.start()
        await self.live.start()
        return str((await people.create_account(self.services, "main"))["id"])

    async def close(self) -> None:
        """Stop."""
        await self.live.close()
        await self.services.storage.close()


class DeskClient:
    """A client at a desk. It holds watches, and checks all that `Socket` checks."""

    def __init__(self, desk: Desk, codec: Codec, role: str) -> None:
        self.rights = RIGHTS.of(role)
        self.socket = _Trusting()
        self.pushes = 0
        self._codec = codec
        self._edge = SimulatedEdge(self._receive, self._closed, self._take)
        self._connection = Connection(desk.hub, codec, self._edge, operator=True)
        self._answers: dict[int, dict[str, Any]] = {}
        self._missing: set[int] = set()
        self._all_here = asyncio.Event()
        self._next = 0

    async def _receive(self, frames: list[bytes]) -> None:
        self._take(frames)

    def _take(self, frames: list[bytes]) -> bool:
        for frame in frames:
            message = self._codec.decode(frame)
            if message["op"] in {"ok", "error"}:
                if "seq" in message:
                    self.socket.horizon(message["seq"])
                self._answers[message["id"]] = message
                self._missing.discard(message["id"])
                if not self._missing:
                    self._all_here.set()
            else:
                self.pushes += 1
                if self.socket.push(message) is not None:
                    raise Wrong("a watch was reset although its socket is quick")
        return True

    async def _closed(self, code: int, reason: str) -> None:
        raise Wrong(f"the hub closed the socket with {code} {reason}")

    async def ask(self, *requests: dict[str, Any]) -> list[dict[str, Any]]:
        """Send requests in one frame; return their answers in the same order."""
        first = self._next + 1
        numbers = range(first, first + len(requests))
        self._next += len(requests)
        self._missing |= set(numbers)
        self._all_here.clear()
        frame = self._codec.encode([{**r, "id": n} for r, n in zip(requests, numbers, strict=True)])
        await self._edge.received(self._connection, frame if self._codec.binary else frame.decode("utf-8"))
        async with asyncio.timeout(WAIT_SECONDS):
            await self._all_here.wait()
        return [self._answers.pop(n) for n in numbers]

    async def hello(self, token: str | None = None) -> None:
        """Say hello in account `main`."""
        request: dict[str, Any] = {"op": "session.hello", "account": "main"}
        (answer,) = await self.ask(request if token is None else {**request, "token": token})
        if answer["op"] != "ok":
            raise Wrong(f"the hello was answered {answer}")

    async def watch(self, wanted: Wanted) -> None:
        """Start a watch, or resume it from where it was; nothing is held where its parent is gone."""
        request, since = {"op": "watch.start", **wanted.spec.request}, wanted.since()
        (answer,) = await self.ask(request if since is None else {**request, "since": since})
        if answer["op"] == "ok":
            self.socket.started(wanted, answer["data"], since is not None)
        elif answer["code"] != "record.not_found":
            raise Wrong(f"{request} was answered {answer}")

    async def unwatch(self, watch: str) -> None:
        """Stop a watch as often as it was started."""
        ended = False
        while not ended:
            (answer,) = await self.ask({"op": "watch.stop", "watch": watch})
            if answer["op"] != "ok":
                raise Wrong(f"the stop of {watch} was answered {answer}")
            ended = self.socket.stopped(watch)

    def spec(self, request: dict[str, Any]) -> Spec:
        """Return what this client would see of a query."""
        return Spec.of(request, REGISTRY.types[request["type"]], self.rights)

    def end(self) -> None:
        """Leave."""
        self._connection.end(clean=True)
