"""The HTTP protocol class for uvicorn: its h11 implementation, that also waits no longer than it should.

uvicorn waits for ever for a request that was begun, or never begun; a thousand of those cost nothing to send.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECONDS: Final = 10.0
"""How long the line and the headers of a request may take, from the first byte, or from the connection."""


class DoorProtocol(H11Protocol):
    """uvicorn's protocol with a deadline for headers; what comes behind an upgrade in the same read is not lost."""

    deadline: asyncio.TimerHandle | None = None
    """Runs while the headers of a request are waited for."""

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take in bytes."""
        self._wait()
        super().data_received(data)
        if self._asked():
            self._stop_waiting()  # the headers are here; bodies have bounds of their own

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over, with what is already here of its stream."""
        self._stop_waiting()
        super().handle_websocket_upgrade(event)
        early = self.conn.trailing_data[0]
        if early:
            protocol: Any = self.transport.get_protocol()
            protocol.data_received(early)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request: uvicorn's own timer ends with its first byte."""
        self._stop_waiting()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _asked(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, whatever uvicorn's types say
        return cycle is not None and not cycle.response_complete

    def _wait(self) -> None:
        if self.deadline is None and not self._asked():
            self.deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None
