"""One raw socket of a crowd. A proof has a thousand of them and one process, so no library stands between.

Knows the framing of RFC 6455 as far as a hub's whole frames need it, and nothing of what is said.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Final, cast

OPEN_SECONDS: Final = 10.0
_NO_MASK: Final = bytes(4)
"""A key that leaves what it masks as it is; RFC 6455 takes any."""


def frame(payload: bytes, opcode: int = 1) -> bytes:
    """Return a client's frame."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + _NO_MASK + payload


class Line(asyncio.Protocol):
    """A socket. `on_message` is told of every message's payload; `over` is done when the socket is gone."""

    def __init__(self, on_message: Callable[[bytes], None]) -> None:
        loop = asyncio.get_running_loop()
        self._on_message = on_message
        self._rest = b""
        self._upgraded = False
        self._transport: asyncio.Transport
        self.opened: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the upgrade."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._transport.write(
            b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: aether.v1.json\r\n\r\n"
        )

    def connection_lost(self, error: Exception | None) -> None:
        """Note that the socket is gone."""
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("cut while it was opened"))
        if not self.over.done():
            self.over.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Cut the stream into frames."""
        data = self._rest + data if self._rest else data
        if not self._upgraded:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._rest = data
                return
            if not data.startswith(b"HTTP/1.1 101"):
                self.opened.set_exception(ConnectionError(data[:200].decode("latin-1")))
                self._transport.close()
                return
            self._upgraded = True
            self.opened.set_result(None)
            data = data[end + 4 :]
        at, size = 0, len(data)
        while size - at >= 2:
            length, head = data[at + 1] & 127, 2
            if length > 125:
                head = 4 if length == 126 else 10
                if size - at < head:
                    break
                length = int.from_bytes(data[at + 2 : at + head], "big")
            stop = at + head + length
            if stop > size:
                break
            self._frame(data[at] & 15, data[at + head : stop])
            at = stop
        self._rest = data[at:]

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == 9:
            self._transport.write(frame(payload, 10))
        elif opcode == 8:
            self._transport.close()
        elif opcode < 3 and not self.over.done():
            self._on_message(payload)

    def send(self, payload: bytes) -> None:
        """Send a text."""
        self._transport.write(frame(payload))

    def leave(self) -> None:
        """Close in good order."""
        self._transport.write(frame((1000).to_bytes(2, "big"), 8))
        self._transport.close()

    def reset(self) -> None:
        """Be gone without a word; what arrives from now on is not heard."""
        if not self.over.done():
            self.over.set_result(None)
        raw = self._transport.get_extra_info("socket")
        if raw is not None and not self._transport.is_closing():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def read_no_more(self) -> None:
        """Take nothing for a while."""
        self._transport.pause_reading()

    def read_on(self) -> None:
        """Take in what waits."""
        if not self._transport.is_closing():
            self._transport.resume_reading()


async def open_line(port: int, on_message: Callable[[bytes], None]) -> Line:
    """Open a socket; raise OSError (ConnectionError among them) or TimeoutError."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(OPEN_SECONDS):
        _, line = await loop.create_connection(lambda: Line(on_message), "127.0.0.1", port)
        try:
            await line.opened
        except BaseException:
            line.reset()
            raise
    return line
