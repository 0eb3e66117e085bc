"""The stream below the messages: frames cut anywhere, frames no client should send, each with its close code."""

from __future__ import annotations

import asyncio
import os
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from tests.wire.hubprocess import HubProcess
from tests.wire.tenant import Tenant

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: aether.v1.json\r\n\r\n"
)
TEXT, BINARY, CONT, CLOSE, PING = 1, 2, 0, 8, 9


def frame(
    payload: bytes,
    opcode: int = TEXT,
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    length: int | None = None,
) -> bytes:
    """Return the bytes of a frame; `length` announces another size than it has."""
    size = len(payload) if length is None else length
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    mask = 0x80 if masked else 0
    if size < 126:
        head = bytes((first, mask | size))
    elif size < 65536:
        head = bytes((first, mask | 126)) + struct.pack(">H", size)
    else:
        head = bytes((first, mask | 127)) + struct.pack(">Q", size)
    if not masked:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[n % 4] for n, byte in enumerate(payload))


def message(op: str = "session.beat", number: int = 1, **fields: Any) -> bytes:
    return msgspec.json.encode({"op": op, "id": number, **fields})


class Raw:
    """A socket without a library on the client's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def upgraded(self) -> None:
        """Take in the answer of the upgrade."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")

    async def next(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame of the hub."""
        async with asyncio.timeout(10):
            first, length = await self.reader.readexactly(2)
            assert length < 128, "a server masks nothing"
            if length == 126:
                (length,) = struct.unpack(">H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(length)

    async def said(self) -> dict[str, Any]:
        """Return the next message."""
        opcode, payload = await self.next()
        assert opcode == TEXT, (opcode, payload)
        decoded: dict[str, Any] = msgspec.json.decode(payload)
        return decoded

    async def closed(self) -> int:
        """Return the code of the close, past whatever comes before; the connection must end behind it."""
        while True:
            opcode, payload = await self.next()
            if opcode == CLOSE:
                async with asyncio.timeout(10):
                    self.writer.write(frame(payload[:2], CLOSE))
                    assert await self.reader.read() == b""
                return int.from_bytes(payload[:2], "big")


@asynccontextmanager
async def raw(process: HubProcess) -> AsyncIterator[Raw]:
    """Open a socket."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(process.url).port)
    socket = Raw(reader, writer)
    writer.write(UPGRADE)
    await socket.upgraded()
    yield socket
    writer.transport.abort()


HELLO = frame(message("session.hello"))


async def test_frames_may_be_cut_anywhere(process: HubProcess) -> None:
    stream = HELLO + b"".join(frame(message(number=n, telemetry={"a": "x" * 60 * n})) for n in range(2, 6))
    for step in (1, 2, 3, 7, 131, len(stream)):
        async with raw(process) as socket:
            for at in range(0, len(stream), step):
                socket.writer.write(stream[at : at + step])
                await socket.writer.drain()
            assert [(await socket.said())["id"] for _ in range(5)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("cut", [0, 1, 20, len(HELLO)])
async def test_what_comes_right_behind_the_upgrade_is_not_lost(process: HubProcess, cut: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(process.url).port)
    socket = Raw(reader, writer)
    writer.write(UPGRADE + HELLO[:cut])
    writer.write(HELLO[cut:])
    await socket.upgraded()
    assert (await socket.said())["id"] == 1
    writer.transport.abort()


async def test_pings_and_fragments_mix_with_messages(process: HubProcess) -> None:
    async with raw(process) as socket:
        beat = message(number=2)
        socket.writer.write(
            HELLO
            + frame(b"1", PING)
            + frame(beat[:5], fin=False)
            + frame(b"2", PING)
            + frame(b"", CONT, fin=False)
            + frame(beat[5:], CONT)
            + frame(message(number=3))
        )
        got = [await socket.next() for _ in range(5)]
        assert [payload for opcode, payload in got if opcode == 10] == [b"1", b"2"]
        assert [msgspec.json.decode(payload)["id"] for opcode, payload in got if opcode == TEXT] == [1, 2, 3]


BROKEN = {
    "no mask": (frame(message(number=2), masked=False), 1002),
    "compression nobody agreed on": (frame(message(number=2), rsv=4), 1002),
    "a reserved bit": (frame(message(number=2), rsv=1), 1002),
    "a reserved kind of data": (frame(message(number=2), 3), 1002),
    "a reserved kind of control": (frame(message(number=2), 11), 1002),
    "a ping that is too long": (frame(b"x" * 126, PING), 1002),
    "a ping in fragments": (frame(b"x", PING, fin=False), 1002),
    "a continuation of nothing": (frame(b"x", CONT), 1002),
    "a message within a message": (frame(b'{"op"', fin=False) + frame(message(number=2)), 1002),
    "a close of one byte": (frame(b"x", CLOSE), 1002),
    "a close with a code that is none": (frame(struct.pack(">H", 999), CLOSE), 1002),
    "a close with a code that is never sent": (frame(struct.pack(">H", 1005), CLOSE), 1002),
    "a close with a reason that is no text": (frame(struct.pack(">H", 1000) + b"\xff", CLOSE), 1007),
    "text that is none": (frame(b'"\xff"'), 1007),
    "text that ends within a character": (frame(b'"\xc3', fin=False) + frame(b'"', CONT), 1007),
    "bytes on a socket of text": (frame(b"\x80", BINARY), 1003),
    "one byte more than a mebibyte, announced": (frame(b"", length=1024 * 1024 + 1), 1009),
    "a tebibyte, announced": (frame(b"", length=2**40), 1009),
    "all that can be announced": (frame(b"", length=2**63 - 1), 1009),
    "too large in two fragments": (frame(b"x" * 600_000, fin=False) + frame(b"x" * 600_000, CONT), 1009),
    "too many fragments": (frame(b"x", fin=False) + frame(b"", CONT, fin=False) * 300, 1009),
}


@pytest.mark.parametrize("name", list(BROKEN))
async def test_what_breaks_the_protocol_closes_with_its_code(process: HubProcess, name: str) -> None:
    sent, code = BROKEN[name]
    async with raw(process) as socket:
        socket.writer.write(HELLO)
        assert (await socket.said())["id"] == 1
        socket.writer.write(sent)
        socket.writer.write(frame(message(number=9)))
        assert await socket.closed() == code


async def test_a_clean_close_is_answered_and_nothing_behind_it_is_done(tenant: Tenant) -> None:
    event = {"type": "event", "data": {"title": "behind", "acronym": "behind"}}
    async with raw(tenant.process) as socket:
        socket.writer.write(frame(message("session.hello", token=tenant.keys["editor"])))
        assert (await socket.said())["op"] == "ok"
        socket.writer.write(frame(struct.pack(">H", 1000), CLOSE) + frame(message("record.create", 2, **event)))
        opcode, payload = await socket.next()
        assert (opcode, payload[:2]) == (CLOSE, struct.pack(">H", 1000))
        async with asyncio.timeout(5):
            assert await socket.reader.read() == b""
    async with tenant.client("viewer") as client:
        assert (await client.ok("record.find", type="event"))["records"] == []


async def test_a_large_frame_that_comes_byte_by_byte_costs_its_bytes_only(process: HubProcess) -> None:
    large = frame(message(number=2, telemetry={"a": "x" * 1_000_000}))
    async with raw(process) as socket, raw(process) as other:
        for one in (socket, other):
            one.writer.write(HELLO)
            await one.said()
        socket.writer.write(large[:-3000])
        await socket.writer.drain()
        begun = time.monotonic()
        for at in range(len(large) - 3000, len(large)):
            socket.writer.write(large[at : at + 1])
            await socket.writer.drain()
            if at % 500 == 0:
                other.writer.write(frame(message(number=at)))
                assert (await other.said())["id"] == at
        assert (await socket.said())["id"] == 2
        assert time.monotonic() - begun < 5
