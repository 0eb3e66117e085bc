"""Clients over real sockets that write with keys and hold a hub to every answer, however often it is killed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.proofs.ledger import KIND, Entry, Ledger
from tests.simulation.client import Socket, Wanted, Wrong

IN_FLIGHT: Final = 8
HELLO: Final = 1
OPENED: Final[dict[str, Any]] = {
    "subprotocols": ["aether.v1.json"],
    "compression": None,
    "ping_interval": None,
    "max_size": None,
    "proxy": None,
}


async def greeted(url: str, token: str) -> tuple[ClientConnection, int]:
    """Return an open socket that has said hello, and where the account stood; raise OSError or `ConnectionClosed`."""
    socket = await connect(url, **OPENED)
    await socket.send(msgspec.json.encode({"op": "session.hello", "id": HELLO, "token": token}).decode())
    answer = msgspec.json.decode(await socket.recv())
    if answer["op"] != "ok":
        raise Wrong(f"the hello was answered {answer}")
    return socket, int(answer["data"]["seq"])


@dataclass(eq=False)
class Writer:
    """A client that creates and updates records of its own, `IN_FLIGHT` at a time."""

    name: str
    rng: Random
    ledger: Ledger
    token: str
    repeated: int = 0
    """How many writes were sent again after a cut."""
    replayed: int = 0
    """How many of those had been done before the cut, so that their answer was one that was kept."""
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a write was answered that had not been sent before this socket."""
    _unanswered: dict[str, Entry] = field(default_factory=dict)
    """Writes without an answer, by their title, in the order in which they were first sent."""
    _records: dict[str, int] = field(default_factory=dict)
    """The version of each record of ours that no open write is changing."""
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def run(self, url: str, *, finish: bool = False) -> None:
        """Repeat what was not answered, then write until the socket is gone; with `finish`, only repeat."""
        self.begun.clear()
        try:
            socket, head = await greeted(url, self.token)
        except (OSError, ConnectionClosed):
            return
        again = list(self._unanswered.values())
        self.repeated += len(again)
        fresh = [] if finish else [self._fresh() for _ in range(IN_FLIGHT - len(again))]
        asked: dict[int, Entry] = {}
        try:
            for number, entry in enumerate([*again, *fresh], HELLO + 1):
                asked[number] = entry
                await socket.send(_frame(entry, number))
            last = HELLO + len(asked)
            while asked or not finish:
                message = msgspec.json.decode(await socket.recv())
                entry = self._take(asked.pop(message.get("id", 0), None), message)
                if message["seq"] <= head:
                    self.replayed += 1
                if finish:
                    continue
                if entry not in again:
                    self.begun.set()
                last += 1
                asked[last] = self._fresh()
                await socket.send(_frame(asked[last], last))
        except ConnectionClosed:
            return
        finally:
            await socket.close()

    def _fresh(self) -> Entry:
        title = f"{self.name} {next(self._numbers)}"
        request: dict[str, Any] = {"type": KIND, "data": {"title": title}, "key": title}
        if self._records and self.rng.random() < 0.5:
            rec, version = self._records.popitem()
            request |= {"op": "record.update", "rec": rec, "if_version": version}
        else:
            request |= {"op": "record.create"}
        entry = Entry(request)
        self.ledger.entries.append(entry)
        self._unanswered[title] = entry
        return entry

    def _take(self, entry: Entry | None, message: dict[str, Any]) -> Entry:
        if message["op"] != "ok" or entry is None:
            raise Wrong(f"{entry and entry.request} was answered {message}")
        entry.answer = message
        del self._unanswered[entry.title]
        self._records[message["data"]["id"]] = message["data"]["version"]
        return entry


def _frame(entry: Entry, number: int) -> str:
    return msgspec.json.encode({**entry.request, "id": number}).decode()


@dataclass(eq=False)
class Watcher:
    """A client that watches every record of the type, and goes on where it was after each cut."""

    token: str
    wanted: Wanted
    socket: Socket
    resumed: int = 0
    snapshots: int = 0
    seqs: list[int] = field(default_factory=list)
    """The commits that it was told of, since its last snapshot."""

    async def run(self, url: str, until: Callable[[], bool] = lambda: False) -> None:
        """Watch until the socket is gone, or until `until` says that there is enough."""
        try:
            socket, _ = await greeted(url, self.token)
        except (OSError, ConnectionClosed):
            return
        try:
            await self._watch(socket, until)
        except ConnectionClosed:
            return
        finally:
            self.socket.left()
            await socket.close()

    async def _watch(self, socket: ClientConnection, until: Callable[[], bool]) -> None:
        number = HELLO
        since: dict[str, Any] | None = None
        restart = True
        while restart or not until():
            if restart:
                number, restart, since = number + 1, False, self.wanted.since()
                request = {"op": "watch.start", "id": number, **self.wanted.spec.request}
                await socket.send(msgspec.json.encode({**request, "since": since} if since else request).decode())
            message = msgspec.json.decode(await socket.recv())
            if message["op"] == "ok":
                data = message["data"]
                self.socket.started(self.wanted, data, since is not None)
                if data["resumed"]:
                    self.resumed += 1
                    self.seqs += [push["seq"] for push in data["events"]]
                else:
                    self.snapshots += 1
                    self.seqs = []
            elif message["op"] == "error":
                raise Wrong(f"the watch was answered {message}")
            else:
                restart = self.socket.push(message) is not None
                if message["op"] == "change":
                    self.seqs.append(message["seq"])
