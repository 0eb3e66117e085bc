"""Clients that mean harm, in a process of their own: floods of every kind, as fast as one socket can be written.

An attacker that is cut comes back at once. It runs at the lowest priority beside the test, so that what the test
measures is what the hub does and not who gets the processor of the test.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.forked import CONTEXT

UPGRADE: Final = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: aether.v1.json\r\n\r\n"
)
TEXT, TEXT_PIECE, LAST_PIECE, PIECE, PING, PONG = 0x81, 0x01, 0x80, 0x00, 0x89, 0x8A


def frame(payload: bytes, first: int = TEXT) -> bytes:
    """Return the bytes of a frame, masked with zeros."""
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = bytes((first, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0xFF)) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


def said(op: str, number: int = 1, **fields: object) -> bytes:
    """Return a message."""
    return json.dumps({"op": op, "id": number, **fields}, separators=(",", ":")).encode()


_BEAT: Final = said("session.beat")
_FIND: Final = said("record.find", type="event", limit=1000)
FLOODS: Final[dict[str, bytes]] = {
    "empty messages": frame(b"") * 2000,
    "pings": frame(b"", PING) * 2000,
    "pongs": frame(b"x" * 125, PONG) * 500,
    "empty fragments": frame(b"", PIECE) * 2000,
    "messages in pieces": (frame(_BEAT[:9], TEXT_PIECE) + frame(_BEAT[9:], LAST_PIECE)) * 500,
    "beats": frame(_BEAT) * 1000,
    "arrays of beats": frame(b"[" + b",".join([_BEAT] * 1000) + b"]") * 4,
    "unknown operations": frame(said("x")) * 1000,
    "creates": frame(said("record.create", type="event", data={"title": "x"})) * 500,
    "large finds": frame(_FIND) * 500,
    "arrays of large finds": frame(b"[" + b",".join([_FIND] * 500) + b"]"),
}
"""What an attacker writes again and again, by the name of the flood."""
BEFORE: Final[dict[str, bytes]] = {"empty fragments": frame(b"", TEXT_PIECE)}
"""What it writes once before, on each of its sockets."""


def _attack(port: int, token: str, name: str, *, reads: bool) -> None:
    os.nice(19)
    flood = FLOODS[name]
    hello = frame(said("session.hello", token=token)) + BEFORE.get(name, b"")
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as attacker:
            attacker.sendall(UPGRADE + hello)
            attacker.setblocking(False)
            _pour(attacker, memoryview(flood), reads=reads)
        time.sleep(0.001)


def _pour(attacker: socket.socket, flood: memoryview, *, reads: bool) -> None:
    """Write, and read where that is wanted, until the hub ends it."""
    at = 0
    with selectors.DefaultSelector() as selector:
        selector.register(attacker, selectors.EVENT_WRITE | (selectors.EVENT_READ if reads else 0))
        while True:
            for _, events in selector.select(5):
                if events & selectors.EVENT_READ and not attacker.recv(1 << 20):
                    return
                if events & selectors.EVENT_WRITE:
                    at = (at + attacker.send(flood[at:])) % len(flood)


@contextmanager
def attacking(port: int, token: str, flood: str, *, reads: bool = True) -> Iterator[None]:
    """Run an attacker until the block ends. It does not read what it is answered where that is asked for."""
    attacker = CONTEXT.Process(target=_attack, args=(port, token, flood), kwargs={"reads": reads}, daemon=True)
    attacker.start()
    try:
        yield
    finally:
        attacker.kill()
        attacker.join()
