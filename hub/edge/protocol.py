"""The websocket protocol class for uvicorn: its sans-I/O implementation, for the handshake only.

An accepted socket is taken over by `hub.edge.fast`, and this is let go. What stays with it are sockets that are
accepted only to be told why they are closed.
"""

from __future__ import annotations

from asyncio import BaseTransport
from typing import TYPE_CHECKING, Final, cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from hub.edge.compressed import OFFERS, CompressedSocket
from hub.edge.deflate import Deflater
from hub.edge.fast import CLOSE_SECONDS, FastSocket
from hub.edge.wheel import Wheel
from hub.wire.codec import FRAME_BYTES, OPERATOR_FRAME_BYTES

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent
    from websockets.extensions.permessage_deflate import PerMessageDeflate

TAKE_OVER: Final = "aether.take_over"
"""The ASGI extension by which the endpoint of an accepted socket gets it as a `FastSocket`."""
EARLY_BYTES: Final = 64 * 1024
"""How much a peer may send behind its upgrade before that is answered; then reading waits."""
_BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class HubProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, as far as the answer to the upgrade."""

    frame_bytes = FRAME_BYTES
    """The largest message on this socket, in bytes."""
    failed = False
    """Whether the upgrade was none: what the peer still sends is thrown away."""
    taken = False
    """Whether the socket was taken over."""
    early = b""
    """What came behind the upgrade, before it was answered."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin; the operator's socket takes larger frames."""
        super().connection_made(transport)
        if self.config.ws_per_message_deflate:
            self.conn.available_extensions = OFFERS
        if self.server is not None and self.server[1] is None:
            self.frame_bytes = self.conn.max_message_size = OPERATOR_FRAME_BYTES

    def data_received(self, data: bytes) -> None:
        """Take in bytes."""
        if self.failed:
            return
        if self.handshake_initiated and not self.handshake_complete:
            self.early += data
            if len(self.early) > EARLY_BYTES and not self.read_paused:
                self.read_paused = True
                self.transport.pause_reading()
            return
        super().data_received(data)
        if not self.handshake_initiated and self.conn.handshake_exc is not None:
            # An upgrade that only looked like one: uvicorn would leave the connection open for ever.
            self.failed = True
            self.transport.write(b"".join(self.conn.data_to_send()) or _BAD_REQUEST)
            self.transport.close()

    def handle_connect(self, event: Request) -> None:
        """Take in an upgrade, and offer the endpoint to take the socket over."""
        super().handle_connect(event)
        if not self.close_sent:
            cast("dict[str, object]", self.scope["extensions"])[TAKE_OVER] = self.take_over

    def take_over(self, *, binary: bool, wheel: Wheel, deflater: Deflater | None = None) -> tuple[FastSocket, bytes]:
        """Return the socket, and what came early; the endpoint begins to serve it, and returns.

        `deflater` compresses for those that take it. Raises `ClientDisconnected` where the peer is gone.
        """
        if self.disconnected or self.close_sent or self.transport.is_closing():
            raise ClientDisconnected
        self.taken = True
        self.stop_keepalive()
        self.connections.discard(self)
        # What refers to itself would stay until the collector comes by.
        self.conn.parser.close()
        self.scope["extensions"] = {}
        extension = self.conn.extensions[0] if self.conn.extensions else None
        kind = FastSocket if extension is None else CompressedSocket
        registered = cast("set[object]", self.connections)
        fast = kind(self.transport, self.frame_bytes, binary=binary, registered=registered, wheel=wheel)
        if isinstance(fast, CompressedSocket):
            fast.compress(deflater or Deflater(), cast("PerMessageDeflate", extension), binary=binary)
        return fast, self.early

    def handle_ping(self) -> None:
        """Answer no ping: the socket is being closed."""
        self.conn.data_to_send()

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
        if self.close_timer is None and not self.taken:
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
            if self.close_timer is not None:
                self.close_timer.cancel()
            self.close_timer = self.loop.call_later(CLOSE_SECONDS, self.transport.abort)
        else:
            await super().send(message)
