"""The fast edge: an accepted websocket, driven straight by its transport.

uvicorn and `websockets` do the handshake; then this takes the transport over and everything that the handshake
needed is let go. Whole masked messages are parsed in place; every other frame goes to a parser of `websockets`
that is made for it. All messages of one read are handed on together, and all frames of one turn written together.

A close reaches the peer where it can: it does not wait for a peer that does not read, what the peer still sends
is taken in and thrown away (closing with unread bytes would reset the connection, and the close with it), and
after `CLOSE_SECONDS` the connection is cut.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode
from websockets.protocol import OPEN, SERVER
from websockets.protocol import Protocol as Parser

from channels.outlet import Writer
from hub.edge.framing import BINARY, TEXT, apply_mask, binary_framed, close_frame, text_framed
from hub.edge.weights import FRAME_SHARE, UNCOMMON
from hub.edge.wheel import CUT_TICKS, PING_TICKS, SPREAD, Wheel
from hub.wire import close
from hub.wire.codec import FRAGMENTS, Frame

if TYPE_CHECKING:
    from hub.edge.connection import Connection

CLOSE_SECONDS: Final = 5.0
"""How long a peer has to take in our close and to answer it, before its connection is cut."""
STRANGER_SECONDS: Final = 0.5
"""How long one has for that who never said hello."""
TURN: Final = 128
"""How many frames of one socket are taken in before the others get their turn."""
PINGS: Final = 256
"""How many pings and pongs a socket may send in ten seconds."""
PIECES: Final = 10_000
"""How many pieces of messages a socket may send in ten seconds."""
LATE_BYTES: Final = 64 * 1024
"""How far the peer's close is looked for behind ours."""
_WHOLE: Final = frozenset({TEXT, BINARY})
"""The first byte of a frame that holds a whole text or binary message."""
_PING: Final = b"\x89\x00"
_CLEAN: Final = frozenset({1000, 1001})

_QUIET: Final = logging.getLogger("hub.edge.parser")


class FastSocket(asyncio.Protocol):
    """One socket from its takeover to its end. An `Edge` of its connection."""

    slot: int
    __slots__ = (
        "_connection", "_counted", "_cut", "_failed", "_first", "_gathered", "_heard", "_kind", "_late", "_limit",
        "_loop", "_over", "_parser", "_parts", "_paused", "_pieces", "_pings", "_registered", "_rest", "_room",
        "_wanted", "_wheel", "_writable", "direct", "framed", "slot", "transport",
    )  # fmt: skip

    def __init__(self, transport: Any, limit: int, *, binary: bool, registered: set[Any], wheel: Wheel) -> None:
        self.transport = transport
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._limit = limit
        """The largest message on this socket, in bytes."""
        self._first = BINARY if binary else TEXT
        """The first byte of our frames."""
        self.direct: Writer | None = transport
        self.framed: Callable[[Sequence[bytes]], bytes] = binary_framed if binary else text_framed
        self._registered = registered
        """Where the server keeps what it ends when it stops."""
        self._rest: bytearray | None = None
        """What was read and not looked at yet: the beginning of a frame, or what came while reading was paused."""
        self._wanted = 2
        """How long `_rest` must be before it is worth looking at again: a peer may send byte by byte."""
        self._paused = False
        """Whether nothing is looked at: the connection has no room, or it is the turn of the others."""
        self._writable = True
        self._room: asyncio.Future[None] | None = None
        """What waits until the peer reads again."""
        self._parser: Parser | None = None
        """Takes the frames that are no whole messages; there while a message is in fragments."""
        self._parts: list[bytes] = []
        self._kind = 0
        """The opcode of the message that is arriving in fragments."""
        self._gathered = 0
        """How many bytes of it are here."""
        self._over = False
        """Whether a close was sent: what the peer still sends is thrown away, but for its own close."""
        self._failed = False
        """Whether the peer broke the protocol: nothing that it still sends is even looked at."""
        self._late = 0
        """How many bytes came behind our close."""
        self._cut: asyncio.TimerHandle | None = None
        self._pings = self._pieces = 0
        self._wheel, self._counted = wheel, 0
        """Its window is the one in which these two were counted."""
        self._heard = wheel.now
        """At which tick of the wheel something came last."""
        wheel.add(self)
        registered.add(self)

    def begin(self, connection: Connection, early: bytes) -> None:
        """Serve a connection; `early` came behind the upgrade, before it was answered."""
        self._connection = connection
        self.transport.set_protocol(self)
        self.transport.resume_reading()
        if early:
            self.data_received(early)

    # -- reading -------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take in bytes."""
        self._heard = self._wheel.now
        if self._over:
            self._await_close(data)
            return
        if self._rest is not None:
            self._rest += data
            if self._paused or len(self._rest) < self._wanted:
                return
            data, self._rest = bytes(self._rest), None
        elif self._paused:
            self._rest = bytearray(data)
            return
        self._look(data)

    def _look(self, data: bytes) -> None:
        """Cut the stream into frames, as many as it is this socket's turn for."""
        at, size, left, limit = 0, len(data), TURN, self._limit
        if (
            6 < size < 132
            and data[1] == size + 0x7A
            and data[0] == self._first
            and self._parser is None
            and size <= limit
        ):
            # The common case: one small message, and nothing else.
            payload = apply_mask(data[6:], data[2:6])
            connection = self._connection
            if connection is not None and not self._over and (data[0] != TEXT or payload.isascii()):
                frame = payload if data[0] != TEXT else payload.decode("ascii")
                if connection.feed_one(frame) and not self._paused:
                    self._pause()
                return
        wanted = 2
        messages: list[Frame] = []
        while size - at >= 2:
            if left <= 0:
                self._hand_on(messages)
                if not self._paused and not self._over:
                    self._paused = True
                    self.transport.pause_reading()
                    self._loop.call_soon(self.resume)
                self._rest, self._wanted = bytearray(data[at:]), 2
                return
            first, second = data[at], data[at + 1]
            masked = second & 0x80
            if 0x80 <= second < 0xFE:
                length, head = second - 0x80, 6  # nearly all: masked and small
            else:
                length = second & 0x7F
                head = 2 if length < 126 else 4 if length == 126 else 10
                if size - at < head:
                    wanted = head
                    break
                if head != 2:
                    length = int.from_bytes(data[at + 2 : at + head], "big")
                if masked:
                    head += 4
            stop = at + head + length
            if stop > size and length <= limit:
                wanted = stop - at
                break
            if masked and first in _WHOLE and length <= limit and self._parser is None:
                payload = apply_mask(data[at + head : stop], data[at + head - 4 : at + head])
                at = stop
                left -= 1
                if first == TEXT:
                    try:
                        messages.append(payload.decode("utf-8"))
                    except UnicodeDecodeError:
                        self._hand_on(messages)
                        self._fail(close.BAD_UTF8)
                        return
                else:
                    messages.append(payload)
                continue
            if messages:
                self._hand_on(messages)
                messages = []
                if self._paused:
                    self._rest, self._wanted = bytearray(data[at:]), 2
                    return
            cost = self._uncommon(data[at:stop])
            if not cost:
                return  # what comes behind a close is nothing to anybody
            left -= cost
            at = stop
        if messages:
            self._hand_on(messages)
        if at < size:
            self._rest, self._wanted = bytearray(data[at:]), wanted

    def _await_close(self, data: bytes) -> None:
        """Look for nothing but the peer's close: `_wanted` is how much of a frame is still to be passed over."""
        self._late += len(data)
        if self._failed or self._late > LATE_BYTES:
            return  # a flood would cost more to look through than it costs to send
        if self._rest is not None:
            data, self._rest, self._wanted = bytes(self._rest) + data, None, 0
        at, size = self._wanted, len(data)
        while size - at >= 14 or (size - at >= 2 and data[at + 1] & 0x7F < 126):
            length, head = data[at + 1] & 0x7F, 6
            if length > 125:
                head = 8 if length == 126 else 14
                length = int.from_bytes(data[at + 2 : at + head - 4], "big")
            elif data[at] & 0x0F == Opcode.CLOSE:
                if size - at < head + length:
                    break
                self.transport.close()
                return
            at += head + length
        if at < size:
            self._rest = bytearray(data[at:])
        else:
            self._wanted = at - size

    def _hand_on(self, messages: list[Frame]) -> None:
        """Give whole messages to the connection; pause where it has no room for more."""
        if not messages or self._connection is None or self._over:
            return
        if self._connection.feed(messages) and not self._paused:
            self._pause()

    def _pause(self) -> None:
        self._paused = True
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        """Go on reading, with what was read already."""
        if not self._paused:
            return
        self._paused = False
        if self._rest is not None and len(self._rest) >= self._wanted:
            data, self._rest = bytes(self._rest), None
            self._look(data)
        if not self._paused and not self.transport.is_closing():
            self.transport.resume_reading()

    # -- frames that are no whole messages -----------------------------------------------------------

    def _new_parser(self) -> Parser:
        return Parser(SERVER, state=OPEN, max_size=self._limit, logger=_QUIET)

    def _uncommon(self, data: bytes) -> int:
        """Take in one such frame, or the beginning of one that is too large.

        Return as how many frames it counts, 0 where there can be no more.
        """
        parser, cost = self._parser, UNCOMMON
        if parser is None:
            parser = self._parser = self._new_parser()
        parser.receive_data(data)
        if parser.parser_exc is not None:
            self._broken(b"".join(parser.data_to_send()))
            return 0
        for event in parser.events_received():
            if isinstance(event, WireFrame):
                cost += len(event.data) // FRAME_SHARE
                if not self._event(parser, event):
                    return 0
        if not self._parts:
            self._parser = None
        return cost

    def _event(self, parser: Parser, event: WireFrame) -> bool:
        if event.opcode is Opcode.CLOSE:
            self._closed_by_peer(parser)
            return False
        if event.opcode in {Opcode.PING, Opcode.PONG}:
            return self._control(parser)
        self._count()
        self._pieces += event.opcode is Opcode.CONT or not event.fin  # whole and compressed is none
        if self._pieces > PIECES * self._wheel.tens:
            self._fail(close.PIECES)
            return False
        if event.opcode is not Opcode.CONT:
            self._kind = event.opcode
        self._parts.append(bytes(event.data))
        self._gathered += len(event.data)
        if len(self._parts) > FRAGMENTS or self._gathered > self._limit:
            self._fail(close.TOO_LARGE)
            return False
        if event.fin:
            whole, self._parts, self._gathered = b"".join(self._parts), [], 0
            try:
                message: Frame = whole.decode("utf-8") if self._kind == Opcode.TEXT else whole
            except UnicodeDecodeError:
                self._fail(close.BAD_UTF8)
                return False
            self._hand_on([message])
        return True

    def _count(self) -> None:
        """Begin to count anew with each window of the wheel."""
        if self._counted != self._wheel.window:
            self._counted, self._pings, self._pieces = self._wheel.window, 0, 0

    def _control(self, parser: Parser) -> bool:
        """Answer a ping, unless the peer does not read what it asked for."""
        pong = b"".join(parser.data_to_send())
        self._count()
        self._pings += 1
        if self._pings > PINGS * self._wheel.tens:
            self._fail(close.PINGS)
            return False
        if pong and self._writable and not self.transport.is_closing():
            self.transport.write(pong)
        return True

    def _closed_by_peer(self, parser: Parser) -> None:
        received = parser.close_rcvd
        self._over = self._failed = True
        self._not_direct()
        if not self.transport.is_closing():
            self.transport.write(b"".join(parser.data_to_send()))
        self.transport.close()
        self._gone(clean=received is not None and received.code in _CLEAN)

    # -- writing -------------------------------------------------------------------------------------

    def write(self, frames: list[bytes]) -> bool:
        """Write whole messages with one call to the kernel, unless the peer does not read; say whether it was done.

        Raises ConnectionError where the socket is gone or closing.
        """
        if not self._writable:
            return False
        if self._over or self.transport.is_closing():
            raise ConnectionAbortedError("the socket is closing")
        self.transport.write(self.framed(frames))
        return True

    async def send(self, frames: list[bytes]) -> None:
        """Write whole messages; wait while the peer does not read."""
        while not self.write(frames):
            if self._room is None:
                self._room = self._loop.create_future()
            await asyncio.shield(self._room)

    @property
    def over(self) -> bool:
        """Whether a close was sent."""
        return self._over

    def pause_writing(self) -> None:
        """Note that the peer does not read."""
        self._writable = False
        self._not_direct()

    def _not_direct(self) -> None:
        """Whatever is to be written goes through the connection."""
        self.direct = None
        if self._connection is not None:
            self._connection.outlet.direct = None

    def resume_writing(self) -> None:
        """Note that the peer reads again."""
        self._writable = True
        if not self._over:
            self.direct = self.transport
        if self._room is not None:
            room, self._room = self._room, None
            room.set_result(None)

    # -- the end -------------------------------------------------------------------------------------

    async def shut(self, code: int, reason: str) -> None:
        """Close the socket with a code."""
        if not self._over and not self.transport.is_closing():
            seconds = STRANGER_SECONDS if code == close.HELLO_LATE.code else CLOSE_SECONDS
            self._end_with(close_frame(code, reason), seconds)
            self._gone(clean=code in _CLEAN)

    def _fail(self, why: close.Close) -> None:
        if not self._over:
            self._broken(close_frame(why.code, why.reason))

    def _broken(self, frame: bytes) -> None:
        """Close after the peer broke the protocol."""
        self._failed, self._rest = True, None
        self._end_with(frame)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._gone(clean=False)

    def _end_with(self, frame: bytes, seconds: float = CLOSE_SECONDS) -> None:
        self._over = True
        self._not_direct()
        self._parser, self._parts, self._wanted = None, [], 0
        self.transport.write(frame)
        # What waits for the peer to read learns that it is over.
        self.resume_writing()
        if self._paused and not self.transport.is_closing():
            self.transport.resume_reading()
        self._paused = False
        if self._cut is None:
            self._cut = self._loop.call_later(seconds, self.transport.abort)

    def beat(self) -> int:
        """Look for how long the peer was silent; ask, and then cut the socket. Return when to look again."""
        if self._over or self._paused:  # it is about to end, or nothing is read
            self._heard = self._wheel.now
        silent, share = self._wheel.now - self._heard, (id(self) >> 8) % SPREAD
        if silent < PING_TICKS + share:
            return PING_TICKS + share - silent
        if silent >= CUT_TICKS:
            self._fail(close.IDLE)
        elif not self.transport.is_closing():
            self.transport.write(_PING)
        return max(1, CUT_TICKS + share - silent)

    def shutdown(self) -> None:
        """End at once; the server stops."""
        if not self._over and not self.transport.is_closing():
            self._end_with(close_frame(close.RESTART.code, close.RESTART.reason))
        self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the connection that the socket is gone."""
        self._over = True
        self._not_direct()
        self._registered.discard(self)
        self._wheel.discard(self)
        self.resume_writing()
        if self._cut is not None:
            self._cut.cancel()
        self._gone(clean=False)

    def _gone(self, *, clean: bool) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.end(clean=clean)
