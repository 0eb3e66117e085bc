"""A fast socket whose peer takes and may send compressed messages (permessage-deflate, RFC 7692).

`websockets` negotiates the extension and inflates what the peer compressed: every such frame is an uncommon one. Both
sides go without context takeover, so a socket keeps no tables, and costs what any other does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from websockets.exceptions import NegotiationError
from websockets.extensions.base import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.protocol import Protocol as Parser
from websockets.typing import ExtensionParameter

from hub.edge.connection import Connection
from hub.edge.deflate import WINDOW_BITS, Deflater
from hub.edge.fast import FastSocket


class Offer(ServerPerMessageDeflateFactory):
    """Accepts the extension with what makes messages independent of each other.

    A client that wants a smaller window from us goes without: bytes that are made once have one window.
    """

    def __init__(self) -> None:
        super().__init__(server_no_context_takeover=True, client_no_context_takeover=True)

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        """Return what is answered, and the extension; raise `NegotiationError` where it cannot be."""
        answer, extension = super().process_request_params(params, accepted_extensions)
        if extension.local_max_window_bits < WINDOW_BITS:
            raise NegotiationError("a window of our own is not for one client")
        return answer, extension


OFFERS: Final = (Offer(),)


class CompressedSocket(FastSocket):
    """A fast socket with the extension."""

    __slots__ = ("_broadcast", "_window")

    def compress(self, deflater: Deflater, extension: PerMessageDeflate, *, binary: bool) -> None:
        """Send compressed what is worth it; take what the peer compresses, in a window of its choice."""
        self.framed = deflater.own[binary]
        self._broadcast = deflater.broadcast[binary]
        self._window = extension.remote_max_window_bits

    def begin(self, connection: Connection, early: bytes) -> None:
        """Serve a connection."""
        connection.outlet.broadcast = self._broadcast
        super().begin(connection, early)

    def _new_parser(self) -> Parser:
        parser = super()._new_parser()
        parser.extensions = [PerMessageDeflate(True, True, self._window, WINDOW_BITS)]
        return parser
