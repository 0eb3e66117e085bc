"""The websocket endpoint as plain ASGI: any ASGI server can carry it.

Admission first: subprotocol (HTTP 400), then origin and draining, which are accepted and closed with
their code because browsers cannot read a refusal. Then frames go to the connection until the end.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from hub.edge.connection import Connection, Hub
from hub.edge.guard import is_operator, refuse_websocket
from hub.edge.protocol import TAKE_OVER, WRITE_FRAMES
from hub.wire import close
from hub.wire.codec import CODECS, Codec, Frame
from hub.wire.errors import HubError
from hub.wire.frames import goaway

log = logging.getLogger("hub.edge")
_CLEAN = frozenset({1000, 1001})


def _choose(scope: Scope) -> Codec | None:
    """Return the codec of the first offered subprotocol that we speak."""
    return next((CODECS[name] for name in scope.get("subprotocols", []) if name in CODECS), None)


def origin_allowed(headers: Headers, origins: frozenset[str], scheme: str) -> bool:
    """Say whether a page of the sent `Origin` may open a socket: the hub's own, or one on the list."""
    sent = headers.getlist("origin")
    if not sent:
        return True  # no browser; such clients authenticate by a token they hold
    if len(sent) != 1:
        return False
    if sent[0] in origins:
        return True
    page, default = {"ws": ("http", 80), "wss": ("https", 443)}[scheme]
    try:
        parts = urlsplit(sent[0])
        host = urlsplit(f"//{headers.get('host', '')}")
        return (
            sent[0].lower() == f"{page}://{parts.netloc.lower()}"
            and "@" not in parts.netloc
            and bool(parts.hostname)
            and (parts.hostname, parts.port or default) == (host.hostname, host.port or default)
        )
    except ValueError:
        return False


class SocketEndpoint:
    """The ASGI application behind `/ws`."""

    def __init__(self, hub: Hub, origins: frozenset[str]) -> None:
        self._hub = hub
        self._origins = origins

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

        if not origin_allowed(Headers(scope=scope), self._origins, scope.get("scheme", "ws")):
            await shut(close.FORBIDDEN.code, close.FORBIDDEN.reason)
            return
        write = _writer(scope, send, codec)
        if self._hub.draining:
            await write([codec.encode(goaway("draining", 1, 5))])
            await shut(close.RESTART.code, close.RESTART.reason)
            return
        connection = Connection(self._hub, codec, write, shut, operator=is_operator(scope))
        extension = scope.get("extensions", {}).get(WRITE_FRAMES)
        if extension is not None:
            connection.write_at_once(functools.partial(extension[0], opcode=2 if codec.binary else 1))
        take_over = scope.get("extensions", {}).get(TAKE_OVER)
        if take_over is not None:
            connection.on_room(take_over(connection.feed))
        clean = False
        try:
            while True:
                message = await receive()
                if message["type"] == "websocket.disconnect":
                    clean = message.get("code") in _CLEAN
                    return
                frame: Frame | None = message.get("text")
                await connection.received(frame if frame is not None else message["bytes"])
        finally:
            connection.end(clean=clean)


Write = Callable[[list[bytes]], Coroutine[Any, Any, None]]


def _writer(scope: Scope, send: Send, codec: Codec) -> Write:
    """Return what writes frames: all at once where the server has our protocol class, else one by one."""
    extension = scope.get("extensions", {}).get(WRITE_FRAMES)
    if extension is not None:
        opcode, write_frames = 2 if codec.binary else 1, extension[1]

        async def write_together(payloads: list[bytes]) -> None:
            await write_frames(payloads, opcode)

        return write_together
    if codec.binary:

        async def write_binary(payloads: list[bytes]) -> None:
            for payload in payloads:
                await send({"type": "websocket.send", "bytes": payload})

        return write_binary

    async def write_text(payloads: list[bytes]) -> None:
        for payload in payloads:
            await send({"type": "websocket.send", "text": payload.decode("utf-8")})

    return write_text
