"""The websocket protocol class for uvicorn: its sans-I/O implementation, with the wire's limits at the door.

The seam for the fast edge: it will take over accepted sockets here and drive the session core directly.
"""

from __future__ import annotations

from asyncio import BaseTransport
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import State

from hub.wire import close
from hub.wire.codec import FRAGMENTS, FRAME_BYTES, OPERATOR_FRAME_BYTES
from hub.wire.codec import Frame as WireFrame

try:
    from websockets.speedups import apply_mask
except ImportError:  # an installation without the C extension: slower, the same bytes
    from websockets.utils import apply_mask

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

CLOSE_SECONDS: Final = 5.0
"""How long a peer has to take in our close and to answer it, before its connection is cut."""
WRITE_FRAMES: Final = "aether.write_frames"
"""The ASGI extension by which the endpoint writes many frames at once, past one message a call: a pair, the
first writes if it can at once, the second is a coroutine that waits until it can."""
TAKE_OVER: Final = "aether.take_over"
"""The ASGI extension by which the endpoint gets messages straight from the protocol."""
_TEXT: Final = 0x81
_WHOLE: Final = frozenset({_TEXT, 0x82})
"""The first byte of a frame that holds a whole text or binary message."""
_BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class HubProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, that also bounds fragments and answers bad UTF-8 without a traceback.

    A close reaches the peer where it can: it does not wait for a peer that does not read, what the peer
    still sends is taken in and thrown away (closing with unread bytes would reset the connection, and the
    close with it), and after `CLOSE_SECONDS` the connection is cut.
    """

    feed: Callable[[list[WireFrame]], bool] | None = None
    """Who took the socket over, if somebody did."""

    frame_bytes = FRAME_BYTES
    """The largest message on this socket, in bytes."""

    failed = False
    """Whether the peer broke the protocol: what it still sends is thrown away."""

    _rest: bytearray
    """The beginning of a frame that has not wholly arrived."""
    _wanted = 2
    """How long `_rest` must be before it is worth looking at again: a peer may send byte by byte."""
    _by_parser = False
    """Whether frames came before the upgrade was answered: the parser may then stand within one for good."""
    fragments = 0
    """How many fragments the message that is arriving has so far."""
    fragment_bytes = 0

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin; the operator's socket takes larger frames."""
        super().connection_made(transport)
        self._rest = bytearray()
        if self.server is not None and self.server[1] is None:
            self.frame_bytes = self.conn.max_message_size = OPERATOR_FRAME_BYTES

    def data_received(self, data: bytes) -> None:
        """Take in bytes."""
        if self.failed:
            return
        if self.handshake_complete and not self.close_sent and not self._by_parser:
            self._frames_received(data)
            return
        early = self.handshake_initiated and not self.handshake_complete
        super().data_received(data)
        if early or (self.handshake_initiated and self.conn.reader.buffer):
            self._by_parser = True
        if not self.handshake_initiated and self.conn.handshake_exc is not None:
            # An upgrade that only looked like one: uvicorn would leave the connection open for ever.
            self.failed = True
            self.transport.write(b"".join(self.conn.data_to_send()) or _BAD_REQUEST)
            self.transport.close()

    def _frames_received(self, data: bytes) -> None:
        """Cut the stream into whole frames: the common one is read in place, every other goes to `websockets`.

        The common frame is a whole text or binary message, masked, and not too large. The parser of
        `websockets` is given whole frames only, so it always stands at the beginning of one; a frame that
        announces more than may come goes to it at once, for it to refuse. Messages of one read are handed on
        together.
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return
            data, self._rest = bytes(self._rest), bytearray()
        at, size = 0, len(data)
        wanted = 2
        messages: list[WireFrame] = []
        while size - at >= 2:
            first, length = data[at], data[at + 1]
            masked, length = length & 0x80, length & 0x7F
            head = 2 if length < 126 else 4 if length == 126 else 10
            if size - at < head:
                wanted = head
                break
            if head != 2:
                length = int.from_bytes(data[at + 2 : at + head], "big")
            if masked:
                head += 4
            stop = at + head + length
            if stop > size and length <= self.frame_bytes:
                wanted = stop - at
                break
            if masked and first in _WHOLE and length <= self.frame_bytes and not self.fragments:
                payload = apply_mask(data[at + head : stop], data[at + head - 4 : at + head])
                at = stop
                if first == _TEXT:
                    try:
                        messages.append(payload.decode("utf-8"))
                    except UnicodeDecodeError:
                        self._messages(messages)
                        self._fail(close.BAD_UTF8)
                        return
                else:
                    messages.append(payload)
                continue
            self._messages(messages)
            messages = []
            if not self._over():
                super().data_received(data[at:stop])
            if self._over():
                return  # what comes behind a close is nothing to anybody
            at = stop
        self._messages(messages)
        if at < size and not self._over():
            self._rest += data[at:]
            self._wanted = wanted

    def handle_connect(self, event: Request) -> None:
        """Take in an upgrade, and offer the endpoint our way of writing."""
        super().handle_connect(event)
        if not self.close_sent:
            extensions = cast("dict[str, object]", self.scope["extensions"])
            extensions[WRITE_FRAMES] = (self.try_write_frames, self.write_frames)
            extensions[TAKE_OVER] = self.take_over

    async def write_frames(self, payloads: list[bytes], opcode: int) -> None:
        """Write whole frames with one call to the kernel; wait while the peer does not read.

        Raises `ClientDisconnected` where the socket is gone or closing. No frame of ours is fragmented or
        compressed, so the protocol object need not hear of them.
        """
        while not self.try_write_frames(payloads, opcode):
            await self.writable.wait()

    def try_write_frames(self, payloads: list[bytes], opcode: int) -> bool:
        """Write whole frames unless the peer does not read at the moment; say whether they were written."""
        if not self.writable.is_set():
            return False
        if self.disconnected or self.close_sent or self.conn.state is not State.OPEN:
            raise ClientDisconnected()
        head = 0x80 | opcode
        parts: list[bytes] = []
        for payload in payloads:
            size = len(payload)
            if size < 126:
                parts.append(bytes((head, size)))
            elif size < 65536:
                parts.append(bytes((head, 126, size >> 8, size & 255)))
            else:
                parts.append(bytes((head, 127)) + size.to_bytes(8, "big"))
            parts.append(payload)
        self.transport.write(b"".join(parts))
        return True

    def handle_ping(self) -> None:
        """Answer a ping, unless the peer does not read what it asked for."""
        pong = b"".join(self.conn.data_to_send())
        if self.writable.is_set():
            self.transport.write(pong)

    def handle_text(self, event: Frame) -> None:
        """Take in a text frame, or the first fragment of one."""
        if event.fin:
            self._text(bytes(event.data))
        else:
            self.fragments, self.fragment_bytes = 1, len(event.data)
            super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        """Take in a binary frame, or the first fragment of one."""
        if event.fin:
            self._message(bytes(event.data))
        else:
            self.fragments, self.fragment_bytes = 1, len(event.data)
            super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        """Take in a further fragment; more than 256, or more than 1 MiB in all, close the socket."""
        self.fragments += 1
        self.fragment_bytes += len(event.data)
        if self.fragments > FRAGMENTS or self.fragment_bytes > self.frame_bytes:
            self._fail(close.TOO_LARGE)
            return
        if not event.fin:
            super().handle_cont(event)
            return
        whole = b"".join([*self.frames, bytes(event.data)])
        self.frames, self.fragments = [], 0
        if self.curr_msg_data_type == "text":
            self._text(whole)
        else:
            self._message(whole)

    def _text(self, data: bytes) -> None:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            self._fail(close.BAD_UTF8)
            return
        self._message(text)

    def _over(self) -> bool:
        return self.close_sent or self.failed or self.transport.is_closing()

    def _message(self, message: WireFrame) -> None:
        self._messages([message])

    def _messages(self, messages: list[WireFrame]) -> None:
        """Hand whole messages to whoever took the socket over, else to the ASGI queue."""
        if not messages or self.close_sent:
            return
        if self.feed is not None:
            if not self.feed(messages):
                return
        else:
            for message in messages:
                if isinstance(message, str):
                    self.queue.put_nowait({"type": "websocket.receive", "text": message})
                else:
                    self.queue.put_nowait({"type": "websocket.receive", "bytes": message})
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def take_over(self, feed: Callable[[list[WireFrame]], bool]) -> Callable[[], None]:
        """Hand all further messages straight to `feed`, past the ASGI queue; return what resumes reading.

        `feed` is given the messages of one read, and says whether reading should pause until then. The queue
        goes on to tell of the end.
        """
        self.feed = feed
        full = False
        while not self.queue.empty():
            message = self.queue.get_nowait()
            if message["type"] != "websocket.receive":
                self.queue.put_nowait(message)
                break
            text = message.get("text")
            full = feed([cast("WireFrame", message.get("bytes") if text is None else text)])
        if not full:
            self._resume()
        return self._resume

    def _resume(self) -> None:
        if self.read_paused and not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()

    def _fail(self, why: close.Close) -> None:
        if self.close_sent:
            return
        self.frames = []
        self.conn.fail(why.code, why.reason)
        self.handle_parser_exception()

    def handle_parser_exception(self) -> None:
        """Close after the peer broke the protocol: `conn` has already said why."""
        sent = self.conn.close_sent
        if self.failed or self.transport.is_closing():
            return
        self.failed = self.close_sent = True
        code, reason = (sent.code, sent.reason) if sent is not None else (1006, "")
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._cut_later()

    def keepalive_timeout(self) -> None:
        """Close a socket that answered no ping."""
        super().keepalive_timeout()
        self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

    async def run_asgi(self) -> None:
        """Run the endpoint; that an upgrade was refused, or that its peer is gone, is no line in the log."""
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except BaseException:
            self.logger.exception("Exception in ASGI application\n")
            self.send_500_response()
        else:
            if not self.handshake_complete and self.initial_response is None:
                self.logger.error("The endpoint ended without an answer to the upgrade.")
                self.send_500_response()
        if self.close_timer is None:
            self.transport.close()

    async def send(self, message: ASGISendEvent) -> None:
        """Send what the application says; raise `ClientDisconnected` once a close was sent, or the peer is gone."""
        if not self.handshake_complete or self.initial_response is not None:
            await super().send(message)
            if message["type"] == "websocket.accept" and not self.handshake_complete:
                raise ClientDisconnected
            return
        if self.close_sent:
            raise ClientDisconnected
        if message["type"] == "websocket.close":
            self.writable.set()
            await super().send(message)
            self._cut_later()
        else:
            await super().send(message)

    def _cut_later(self) -> None:
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(CLOSE_SECONDS, self.transport.abort)
