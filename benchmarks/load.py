"""A load generator in one process: raw websocket clients that send prepared frames and count what comes back.

It does not decode what it counts, so that it needs a fraction of the server's time per message. It runs
on its own core. Knows the framing of RFC 6455 as far as a server's unfragmented frames need it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

MASK = b"\x12\xa4\x5c\x7e"


def masked(payload: bytes, opcode: int = 1) -> bytes:
    """Return a client's frame that holds a payload."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    key = int.from_bytes((MASK * (size // 4 + 1))[:size], "big") if size else 0
    body = (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")
    return head + MASK + body


class RawClient(asyncio.Protocol):
    """One socket. `on_message` is told of each whole frame with its payload's bounds in `data`."""

    def __init__(self, path: str, subprotocol: str | None, on_message: Callable[[RawClient, bytes], None]) -> None:
        self._path = path
        self._subprotocol = subprotocol
        self._on_message = on_message
        self.transport: asyncio.Transport
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = False
        self.bytes_in = 0
        self.out: list[bytes] = []
        """Frames to write together when what was read has been looked at."""
        self._rest = b""
        self._upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the upgrade."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        protocol = f"Sec-WebSocket-Protocol: {self._subprotocol}\r\n" if self._subprotocol else ""
        self.transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{protocol}\r\n".encode()
        )

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
                self.transport.close()
                return
            self._upgraded = True
            data = data[end + 4 :]
            self.opened.set_result(None)
        at, size = 0, len(data)
        while size - at >= 2:
            length, head = data[at + 1] & 127, 2
            if length == 126:
                if size - at < 4:
                    break
                length, head = int.from_bytes(data[at + 2 : at + 4], "big"), 4
            elif length == 127:
                if size - at < 10:
                    break
                length, head = int.from_bytes(data[at + 2 : at + 10], "big"), 10
            stop = at + head + length
            if stop > size:
                break
            opcode = data[at] & 15
            if opcode < 3:
                self.bytes_in += length
                self._on_message(self, data[at + head : stop])
            elif opcode == 9:
                self.transport.write(masked(data[at + head : stop], 10))
            at = stop
        self._rest = data[at:] if at < size else b""
        if self.out:
            self.transport.write(b"".join(self.out))
            self.out.clear()

    def connection_lost(self, error: Exception | None) -> None:
        """Note that the socket is gone."""
        self.lost = True


async def connect(
    port: int, path: str, subprotocol: str | None, on_message: Callable[[RawClient, bytes], None]
) -> RawClient:
    """Open one socket; raise ConnectionError where the upgrade is refused."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: RawClient(path, subprotocol, on_message), "127.0.0.1", port)
    async with asyncio.timeout(20):
        await client.opened
    return client


@dataclass(frozen=True, slots=True)
class Reading:
    """What a run measured: messages, seconds, the server's CPU seconds, and by how many bytes it grew.

    `frame` is the size of the largest whole frame that was delivered, `load_cpu` the CPU seconds of the load; 0 where
    it is not said.
    """

    messages: int
    seconds: float
    cpu: float
    latencies: list[float]
    grown: int = 0
    frame: int = 0
    load_cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    @property
    def cpu_us(self) -> float:
        """The server's CPU time for a message, in microseconds."""
        return self.cpu / max(1, self.messages) * 1e6

    def percentile(self, share: float) -> float:
        """A percentile of the latencies in milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else 0.0


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, in seconds."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def pipelined(
    port: int,
    pid: int,
    path: str,
    subprotocol: str | None,
    hello: bytes | None,
    frame: Callable[[int, int], bytes],
    *,
    connections: int,
    depth: int,
    seconds: float,
    is_answer: Callable[[bytes], bool],
) -> Reading:
    """Keep `depth` requests of every connection open for some time; count the answers.

    `frame(connection, slot)` is the payload of a slot, sent again each time the slot is answered; answers
    come back in order for one connection, or carry `"id":<slot + 2>`.
    """
    answered = 0
    running = True
    bad = 0
    latencies: list[float] = []
    sent: dict[RawClient, list[float]] = {}
    frames: dict[RawClient, list[bytes]] = {}
    turn: dict[RawClient, int] = {}
    ready: set[RawClient] = set()

    def on_message(client: RawClient, payload: bytes) -> None:
        nonlocal answered, bad
        if client not in ready:
            ready.add(client)
            return
        if not is_answer(payload):
            bad += 1
            return
        answered += 1
        at = payload.find(b'"id":')
        slot = turn[client]
        if at >= 0 and hello is not None:
            slot = int(payload[at + 5 : payload.find(b",", at)].rstrip(b"}")) - 2
        else:
            turn[client] = (slot + 1) % depth
        now = time.perf_counter()
        if answered % 16 == 0:
            latencies.append(now - sent[client][slot])
        if running:
            sent[client][slot] = now
            client.out.append(frames[client][slot])

    clients = [await connect(port, path, subprotocol, on_message) for _ in range(connections)]
    for n, client in enumerate(clients):
        frames[client] = [masked(frame(n, slot)) for slot in range(depth)]
        turn[client] = 0
        if hello is not None:
            client.transport.write(masked(hello))
        else:
            ready.add(client)
    async with asyncio.timeout(30):
        while len(ready) < connections:
            await asyncio.sleep(0.01)
    for client in clients:
        sent[client] = [time.perf_counter()] * depth
        client.transport.write(b"".join(frames[client]))
    await asyncio.sleep(min(1.0, seconds / 2))
    latencies.clear()
    before, cpu, begun = answered, cpu_seconds(pid), time.perf_counter()
    await asyncio.sleep(seconds)
    elapsed, done, used = time.perf_counter() - begun, answered - before, cpu_seconds(pid) - cpu
    running = False
    await asyncio.sleep(0.3)
    for client in clients:
        client.transport.abort()
    if bad:
        raise RuntimeError(f"{bad} answers were not as they should be")
    return Reading(done, elapsed, used, latencies)
