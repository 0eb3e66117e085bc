"""An echo behind the hub's own edge, for Autobahn: `python -m tests.wire.echo PORT bounds|lifted|compressed`.

The hub speaks only its subprotocols, so a suite that wants its messages back cannot talk to it. Here the same door, the
same protocol class and the same fast socket carry a session that sends back what it is fed. With `lifted` the bounds
of messages, fragments, pieces and pings, which a conformance suite exceeds on purpose, are out of the way; with
`compressed` they are as well, and the extension for compression is accepted.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from types import SimpleNamespace
from typing import Any, Final, cast

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config

from hub.edge import fast
from hub.edge.compressed import CompressedSocket
from hub.edge.connection import Connection
from hub.edge.deflate import Deflater
from hub.edge.door import DoorProtocol
from hub.edge.fast import FastSocket
from hub.edge.framing import binary_framed, text_framed
from hub.edge.protocol import TAKE_OVER, HubProtocol
from hub.edge.wheel import Wheel
from hub.wire.codec import FRAME_BYTES, Frame

LIFTED_BYTES: Final = 64 * 1024 * 1024
DEFLATER: Final = Deflater()
WAITING: Final = 64
"""How many messages wait to be sent back before reading pauses."""


class Echo:
    """What a `FastSocket` takes for its connection."""

    def __init__(self, socket: FastSocket) -> None:
        self._socket = socket
        self._waiting: deque[Frame] = deque()
        self._sending: asyncio.Task[None] | None = None
        self.outlet = SimpleNamespace(direct=None, broadcast=None)

    def feed_one(self, message: Frame) -> bool:
        """`feed` of one message."""
        return self.feed([message])

    def feed(self, messages: list[Frame]) -> bool:
        """Send messages back; return whether to wait before there are more."""
        self._waiting += messages
        while self._waiting and self._sending is None:
            if not self._socket.write(self._framed()):
                self._sending = asyncio.create_task(self._send())
                break
            self._waiting.popleft()
        return len(self._waiting) > WAITING

    def _framed(self) -> list[bytes]:
        """Return the next message, which goes back as what it came."""
        message = self._waiting[0]
        binary = not isinstance(message, str)
        if isinstance(self._socket, CompressedSocket):
            self._socket.framed = DEFLATER.own[binary]
        else:
            self._socket.framed = binary_framed if binary else text_framed
        return [message.encode() if isinstance(message, str) else message]

    async def _send(self) -> None:
        while self._waiting:
            await self._socket.send(self._framed())
            self._waiting.popleft()
        self._sending = None
        self._socket.resume()

    def end(self, *, clean: bool) -> None:
        """The socket is gone."""
        if self._sending is not None:
            self._sending.cancel()


class App:
    """The endpoint: takes every socket over."""

    def __init__(self) -> None:
        self._wheel: Wheel | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket."""
        assert scope["type"] == "websocket"
        self._wheel = self._wheel or Wheel(60.0)
        await receive()
        await send({"type": "websocket.accept"})
        socket, early = scope["extensions"][TAKE_OVER](binary=False, wheel=self._wheel)
        socket.begin(cast(Connection, Echo(socket)), early)


def main(port: int, *, lifted: bool, compressed: bool) -> None:
    """Serve until a signal."""
    if lifted:
        HubProtocol.frame_bytes = LIFTED_BYTES
        more: dict[str, Any] = {"FRAGMENTS": 10**9, "PIECES": 10**9, "PINGS": 10**9}
        for name, value in more.items():
            assert hasattr(fast, name)
            setattr(fast, name, value)
    config = Config(
        App(), port=port, loop="uvloop", http=DoorProtocol, ws=HubProtocol, lifespan="off", log_level="warning",
        ws_max_size=LIFTED_BYTES if lifted else FRAME_BYTES, ws_per_message_deflate=compressed, ws_ping_interval=None,
    )  # fmt: skip
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main(int(sys.argv[1]), lifted=sys.argv[2:] != ["bounds"], compressed=sys.argv[2:] == ["compressed"])
