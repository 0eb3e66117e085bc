"""The websocket endpoint as plain ASGI: any ASGI server can carry it.

Admission first: subprotocol (HTTP 400), then origin, draining and overload, which are accepted and closed with
their code because browsers cannot read a refusal. Then frames go to the connection until the end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, MutableMapping, Sequence
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from channels.outlet import Writer
from hub.edge.addresses import address_of, host_of
from hub.edge.connection import Connection, Hub
from hub.edge.deflate import Deflater
from hub.edge.guard import is_operator, refuse_websocket
from hub.edge.origins import Origins
from hub.edge.protocol import TAKE_OVER
from hub.wire import close
from hub.wire.codec import CODECS, Codec, Frame
from hub.wire.errors import HubError
from hub.wire.frames import Message, goaway

log = logging.getLogger("hub.edge")
_CLEAN = frozenset({1000, 1001})


def _choose(scope: Scope) -> Codec | None:
    """Return the codec of the first offered subprotocol that we speak."""
    return next((CODECS[name] for name in scope.get("subprotocols", []) if name in CODECS), None)


class SocketEndpoint:
    """The ASGI application behind `/ws`."""

    def __init__(self, hub: Hub, origins: Origins) -> None:
        self._hub = hub
        self._origins = origins
        self._deflater = Deflater()

    def _refusal(self, scope: Scope, *, operator: bool) -> tuple[Message, close.Close] | None:
        """Return what a new socket is told and closed with, or None where it may come in."""
        if self._hub.draining:
            return goaway("draining", 1, 5), close.RESTART
        client, now = scope.get("client"), asyncio.get_running_loop().time()
        seconds = None if operator else self._hub.addresses.admit(client and client[0], now)
        if seconds is None and not operator:
            seconds = self._hub.admission.admit(now)
        if seconds is None:
            return None
        return goaway("overload", round(seconds, 3), max(1.0, round(seconds / 4, 3))), close.OVERLOAD

    def _place(self, connection: Connection, scope: Scope) -> None:
        """Say where a socket comes from; close it where too many come from there."""
        connection.peer.address, connection.peer.host = address_of(scope), host_of(scope)
        if not self._hub.crowd.came(connection, connection.peer):
            connection.close(close.TOO_MANY.code, close.TOO_MANY.reason)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket from its upgrade to its end."""
        await receive()  # websocket.connect
        codec = _choose(scope)
        if codec is None:
            offered = ", ".join(CODECS)
            await refuse_websocket(send, HubError("frame.malformed", f"Offer one of the subprotocols {offered}."), 400)
            return
        await send({"type": "websocket.accept", "subprotocol": codec.subprotocol})

        async def shut(code: int, reason: str) -> None:
            await send({"type": "websocket.close", "code": code, "reason": reason})

        if not self._origins.allowed(Headers(scope=scope), scope.get("scheme", "ws")):
            await shut(close.FORBIDDEN.code, close.FORBIDDEN.reason)
            return
        refusal = self._refusal(scope, operator=(operator := is_operator(scope)))
        if refusal is not None:
            push, why = refusal
            await _Plain(send, shut, binary=codec.binary).send([codec.encode(push)])
            await shut(why.code, why.reason)
            return
        take_over = scope.get("extensions", {}).get(TAKE_OVER)
        if take_over is not None:
            fast, early = take_over(binary=codec.binary, wheel=self._hub.wheel, deflater=self._deflater)
            connection = Connection(self._hub, codec, fast, operator=operator)
            self._place(connection, scope)
            fast.begin(connection, early)
            return
        plain = _Plain(send, shut, binary=codec.binary)
        connection = Connection(self._hub, codec, plain, operator=operator)
        self._place(connection, scope)
        clean = False
        try:
            while (message := await plain.next(receive)) is not None:
                if message["type"] == "websocket.disconnect":
                    clean = message.get("code") in _CLEAN
                    return
                frame: Frame | None = message.get("text")
                if connection.feed([frame if frame is not None else message["bytes"]]):
                    await plain.room()
            clean = plain.clean
        finally:
            connection.end(clean=clean)


class _Plain:
    """The edge of a socket that another server than ours carries: one message a call, and nothing at once."""

    direct: Writer | None = None
    framed: Callable[[Sequence[bytes]], bytes] | None = None

    def __init__(self, send: Send, shut: Callable[[int, str], Coroutine[Any, Any, None]], *, binary: bool) -> None:
        self._send = send
        self._binary = binary
        self._resumed = asyncio.Event()
        self._shut = shut
        self._farewell: tuple[int, str] | None = None
        """With what to close."""
        self._receiver: asyncio.Task[Any] | None = None
        """What waits for the next message."""

    def write(self, frames: list[bytes]) -> bool:
        """Write nothing: this server may have to be waited for."""
        return False

    async def send(self, frames: list[bytes]) -> None:
        """Write messages; wait while the socket is full."""
        try:
            for frame in frames:
                if self._binary:
                    await self._send({"type": "websocket.send", "bytes": frame})
                else:
                    await self._send({"type": "websocket.send", "text": frame.decode("utf-8")})
        except RuntimeError as gone:  # what some servers say where others say OSError
            raise ConnectionAbortedError(str(gone)) from gone

    async def shut(self, code: int, reason: str) -> None:
        """Have the socket closed by who waits for its next message: some servers close nothing beside that."""
        self._farewell = (code, reason)
        self._resumed.set()
        if self._receiver is not None:
            self._receiver.cancel()

    @property
    def clean(self) -> bool:
        """Whether we closed, and with a code of a clean end."""
        return self._farewell is not None and self._farewell[0] in _CLEAN

    async def next(self, receive: Receive) -> MutableMapping[str, Any] | None:
        """Return the next message; None where we have closed instead."""
        farewell = self._farewell
        if farewell is None:
            task = self._receiver = asyncio.current_task()
            try:
                return await receive()
            except asyncio.CancelledError:
                farewell = self._asked()
                if farewell is None or task is None:
                    raise
                task.uncancel()
            finally:
                self._receiver = None
        await self._shut(*farewell)
        return None

    def _asked(self) -> tuple[int, str] | None:
        """Return with what to close by now."""
        return self._farewell

    def resume(self) -> None:
        """Let `room` return."""
        self._resumed.set()

    async def room(self) -> None:
        """Wait until the connection has room for further messages."""
        await self._resumed.wait()
        self._resumed.clear()
