"""What is compressed on its way out (RFC 7692), and how often: a broadcast once, whatever the number of its sockets.

Every compressed message stands for itself: both sides have given up what they could keep from message to message
("no context takeover"), so the same bytes are good for every socket, and a socket that idles keeps no tables. How
much is compressed in a turn of the loop is bounded; beyond that, messages go as they are. Pure but for `soon`.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from hub.edge.framing import BINARY, TEXT, binary_framed, text_framed

BROADCAST_BYTES: Final = 512
"""From which size on a message to many is compressed. Below it would fill one packet on its way all the same."""
OWN_BYTES: Final = 16 * 1024
"""From which size on a message to one socket is: nobody shares the work."""
TURN_BYTES: Final = 256 * 1024
"""How much is compressed in one turn of the loop: some milliseconds of it at the worst."""
LEVEL: Final = 3
"""Of zlib. A sixth more than level 6 would leave, for a fourth of its time."""
TABLES: Final = 6
"""zlib's `memLevel`: small tables are quick to set up, and that is most of the work for a small message."""
WINDOW_BITS: Final = 15
"""How far back a message may refer: the window of every client that asked for none of its own."""
_COMPRESSED: Final = 0x40
"""RSV1, which says that a message is compressed."""
_TAIL: Final = b"\x00\x00\xff\xff"
"""What a flush ends with, and a message leaves out."""

Framed = Callable[[Sequence[bytes]], bytes]


def deflated(payload: bytes) -> bytes:
    """Return a payload as a compressed message has it."""
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -WINDOW_BITS, TABLES)
    return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)


def _head(first: int, size: int) -> bytes:
    if size < 126:
        return bytes((first, size))
    if size < 65536:
        return bytes((first, 126, size >> 8, size & 255))
    return bytes((first, 127)) + size.to_bytes(8, "big")


def _soon(callback: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(callback)


class Deflater:
    """Makes frames of messages for the sockets of one hub that take compressed ones, within one budget."""

    def __init__(self, soon: Callable[[Callable[[], None]], None] = _soon) -> None:
        """Begin; `soon` calls back when the turn is over."""
        self._soon = soon
        self._left = TURN_BYTES
        """How much may still be compressed in this turn."""
        self._expected = False
        """Whether `soon` will call back."""
        self.own: dict[bool, Framed] = self._pair(OWN_BYTES)
        """How a socket's own messages become bytes, by whether they are binary."""
        self.broadcast: dict[bool, Framed] = self._pair(BROADCAST_BYTES)
        """The same for those that many sockets are sent."""

    def _pair(self, least: int) -> dict[bool, Framed]:
        return {
            False: partial(self._framed, TEXT, text_framed, least),
            True: partial(self._framed, BINARY, binary_framed, least),
        }

    def _framed(self, first: int, plain: Framed, least: int, frames: Sequence[bytes]) -> bytes:
        if max(map(len, frames)) < least:
            return plain(frames)
        return b"".join([self._message(first, plain, least, frame) for frame in frames])

    def _message(self, first: int, plain: Framed, least: int, frame: bytes) -> bytes:
        if least <= len(frame) <= self._left:
            self._spend(len(frame))
            payload = deflated(frame)
            if len(payload) < len(frame):
                return _head(first | _COMPRESSED, len(payload)) + payload
        return plain((frame,))

    def _spend(self, size: int) -> None:
        self._left -= size
        if not self._expected:
            self._expected = True
            self._soon(self._turn_is_over)

    def _turn_is_over(self) -> None:
        self._expected = False
        self._left = TURN_BYTES
