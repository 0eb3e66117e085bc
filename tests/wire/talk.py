"""A small client of aether.v1 over the `websockets` library, for tests: it keeps everything in order of arrival."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import websockets
from websockets.asyncio.client import ClientConnection

Message = dict[str, Any]
WAIT_SECONDS: Final = 10.0
SUBPROTOCOLS: Final = {"json": "aether.v1.json", "msgpack": "aether.v1.msgpack"}


class Refused(Exception):
    """The hub refused a request."""

    def __init__(self, message: Message) -> None:
        super().__init__(f"{message['code']} at {message.get('path')}: {message['message']}")
        self.message = message
        self.code: str = message["code"]
        self.path: str | None = message.get("path")


class Client:
    """One socket. Requests are numbered from 1; what arrives is kept in `log`, pushes in `pushes` until taken."""

    def __init__(self, socket: ClientConnection, codec: str) -> None:
        self.socket = socket
        self.codec = codec
        self.last = 0
        self.log: list[Message] = []
        self.frames: list[str | bytes] = []
        """Every frame as it came."""
        self.pushes: list[Message] = []
        self.hello: Message = {}
        """The data of the last accepted hello."""
        self._answers: dict[int, Message] = {}

    # -- sending -------------------------------------------------------------------------------------

    def encode(self, value: Any) -> str | bytes:
        """Return any value as a frame of this socket's kind."""
        return msgspec.json.encode(value).decode() if self.codec == "json" else msgspec.msgpack.encode(value)

    async def send(self, op: str, **fields: Any) -> int:
        """Send a request and do not wait; return its number."""
        self.last += 1
        await self.socket.send(self.encode({"op": op, "id": self.last, **fields}))
        return self.last

    async def send_raw(self, value: Any) -> None:
        """Send any value as a frame."""
        await self.socket.send(self.encode(value))

    async def greet(self, token: str | None = None, **fields: Any) -> Message:
        """Say hello; return the answer's data."""
        if token is not None:
            fields["token"] = token
        self.hello = await self.ok("session.hello", **fields)
        return self.hello

    # -- asking --------------------------------------------------------------------------------------

    async def call(self, op: str, **fields: Any) -> Message:
        """Send a request and return the message that answers it."""
        return await self.answer(await self.send(op, **fields))

    async def ok(self, op: str, **fields: Any) -> Any:
        """Send a request and return the data of its answer; raise `Refused`."""
        return data_of(await self.call(op, **fields))

    async def seq(self, op: str, **fields: Any) -> tuple[Any, int]:
        """Send a request and return the data and the `seq` of its answer."""
        message = await self.call(op, **fields)
        return data_of(message), message["seq"]

    async def refused(self, op: str, **fields: Any) -> tuple[str, str | None]:
        """Send a request that must be refused; return code and path."""
        message = await self.call(op, **fields)
        assert message["op"] == "error", message
        assert message["message"].endswith((".", "!", "?")), message
        return message["code"], message.get("path")

    async def create(self, kind: str, parent: str | None = None, **data: Any) -> Message:
        """Create a record, under an event where one is given, and return it."""
        fields: Message = {"type": kind, "data": data}
        if parent is not None:
            fields["parent"] = {"type": "event", "rec": parent}
        created: Message = await self.ok("record.create", **fields)
        return created

    # -- hearing -------------------------------------------------------------------------------------

    async def _hear(self) -> Message:
        frame = await self.socket.recv()
        assert isinstance(frame, str) == (self.codec == "json")
        message: Message = msgspec.json.decode(frame) if isinstance(frame, str) else msgspec.msgpack.decode(frame)
        self.frames.append(frame)
        self.log.append(message)
        if message["op"] in {"ok", "error"} and "id" in message:
            self._answers[message["id"]] = message
        else:
            self.pushes.append(message)
        return message

    async def heard(self) -> Message:
        """Return the next message, of whatever kind."""
        async with asyncio.timeout(WAIT_SECONDS):
            return await self._hear()

    async def answer(self, number: int) -> Message:
        """Return the answer to a request that was sent."""
        async with asyncio.timeout(WAIT_SECONDS):
            while number not in self._answers:
                await self._hear()
        return self._answers.pop(number)

    async def push(self, op: str, matches: Callable[[Message], bool] = lambda message: True) -> Message:
        """Return, and take, the first push of a kind, waiting for it where it is not here yet."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                for n, message in enumerate(self.pushes):
                    if message["op"] == op and matches(message):
                        return self.pushes.pop(n)
                await self._hear()

    async def settled(self) -> list[Message]:
        """Return the pushes that came until a beat was answered: everything that was owed by then."""
        await self.ok("session.beat")
        return self.pushes

    async def changes(self, watch: str) -> list[Message]:
        """Take and return the events of a watch that are owed by now, in order."""
        await self.settled()
        mine = [m for m in self.pushes if m["op"] == "change" and m["watch"] == watch]
        self.pushes = [m for m in self.pushes if m not in mine]
        return [event for message in mine for event in message["events"]]

    async def closed(self) -> int:
        """Return the code that the hub closes with, taking in what comes before."""
        async with asyncio.timeout(WAIT_SECONDS + 5):
            try:
                while True:
                    await self._hear()
            except websockets.ConnectionClosed as end:
                return end.rcvd.code if end.rcvd is not None else 1006


def data_of(message: Message) -> Any:
    """Return the data of an `ok`; raise `Refused` for an `error`."""
    if message["op"] == "error":
        raise Refused(message)
    return message["data"]


@asynccontextmanager
async def connected(
    url: str, codec: str = "json", *, unix: Path | None = None, **options: Any
) -> AsyncIterator[Client]:
    """Open a socket, over a Unix socket where `unix` names one, and close it at the end."""
    options.setdefault("subprotocols", [SUBPROTOCOLS[codec]])
    options = {"compression": None, "ping_interval": None, "max_size": None, "proxy": None, **options}
    opening = websockets.unix_connect(str(unix), url, **options) if unix else websockets.connect(url, **options)
    async with opening as socket:
        yield Client(socket, codec)
