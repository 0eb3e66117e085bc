"""The websocket protocol class for uvicorn: its sans-I/O implementation, with the wire's limits at the door.

The seam for the fast edge: it will take over accepted sockets here and drive the session core directly.
"""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from hub.wire import close
from hub.wire.codec import FRAGMENTS, FRAME_BYTES


class HubProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, that also bounds fragments and answers bad UTF-8 without a traceback."""

    fragments = 0
    """How many fragments the message that is arriving has so far."""
    fragment_bytes = 0

    def handle_text(self, event: Frame) -> None:
        """Take in a text frame, or the first fragment of one."""
        self.fragments, self.fragment_bytes = 1, len(event.data)
        if event.fin and not _is_utf8(bytes(event.data)):
            self._fail(close.BAD_UTF8)
            return
        super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        """Take in a binary frame, or the first fragment of one."""
        self.fragments, self.fragment_bytes = 1, len(event.data)
        super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        """Take in a further fragment; more than 256, or more than 1 MiB in all, close the socket."""
        self.fragments += 1
        self.fragment_bytes += len(event.data)
        if self.fragments > FRAGMENTS or self.fragment_bytes > FRAME_BYTES:
            self._fail(close.TOO_LARGE)
            return
        if event.fin and self.curr_msg_data_type == "text":
            whole = b"".join([*self.frames, bytes(event.data)])
            if not _is_utf8(whole):
                self._fail(close.BAD_UTF8)
                return
        super().handle_cont(event)

    def _fail(self, why: close.Close) -> None:
        if self.close_sent:
            return
        self.frames = []
        self.conn.fail(why.code, why.reason)
        self.handle_parser_exception()


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
