"""The door of every request: no secret in an address, headers on every answer, who is local.

Pure ASGI, because middlewares that wrap requests in tasks break cancellation. Source: DESIGN.md 4.
"""

from __future__ import annotations

import logging
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.edge.origins import READING, Origins
from hub.wire.errors import HubError

log = logging.getLogger("hub.edge")

SECRET_NAMES: Final = frozenset({"token", "key", "access_token", "api_key", "apikey", "secret", "password", "resume"})
PAGE_POLICY: Final = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", PAGE_POLICY.encode()),
)


def is_operator(scope: Scope) -> bool:
    """Say whether a request came over DIR/hub.sock, which only the hub's own user can open."""
    server = scope.get("server")
    return server is not None and server[1] is None


def error_body(refusal: HubError) -> bytes:
    """Return the JSON error object that an HTTP answer carries."""
    return msgspec.json.encode({"op": "error", **refusal.body()})


async def refuse_http(send: Send, refusal: HubError, status: int | None = None) -> None:
    """Answer an HTTP request with an error object."""
    body = error_body(refusal)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refusal.retry_after is not None:
        headers.append((b"retry-after", str(max(1, round(refusal.retry_after))).encode()))
    await send({"type": "http.response.start", "status": status or refusal.kind.http, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def refuse_websocket(send: Send, refusal: HubError, status: int) -> None:
    """Answer a websocket upgrade with an HTTP status and an error object."""
    headers = [(b"content-type", b"application/json"), *_HEADERS]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": error_body(refusal)})


def secret_in_query(scope: Scope) -> str | None:
    """Return the name of a query parameter that would carry a secret, or None."""
    query: bytes = scope.get("query_string", b"")
    if not query:
        return None
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name.lower() in SECRET_NAMES:
            return name.lower()
    return None


class Guard:
    """The outermost application: refuses secrets in addresses, adds headers, routes the socket."""

    def __init__(self, http: ASGIApp, socket: ASGIApp, origins: Origins, hsts_seconds: int = 0) -> None:
        self._http = http
        self._socket = socket
        self._origins = origins
        hsts = (b"strict-transport-security", f"max-age={hsts_seconds}; includeSubDomains".encode())
        self._headers = (*_HEADERS, hsts) if hsts_seconds else _HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self._http(scope, receive, send)
            return
        name = secret_in_query(scope)
        refusal = None
        if name is not None:
            refusal = HubError(
                "data.invalid", f"No secret in an address: send {name} in a header or the hello.", path=name
            )
        if scope["type"] == "websocket":
            if refusal is not None:
                await receive()
                await refuse_websocket(send, refusal, 400)
            elif scope["path"] != "/ws":
                await receive()
                await refuse_websocket(send, HubError("op.unknown", "The socket is at /ws."), 404)
            else:
                await self._socket(scope, receive, send)
            return
        started, asked = False, Headers(scope=scope)
        scheme = scope.get("scheme", "http")
        shared = self._origins.answers(asked, scheme)

        async def with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers: list[Any] = list(message.get("headers", []))
                present = {header[0].lower() for header in headers}
                message["headers"] = headers + [h for h in self._headers if h[0] not in present] + shared
            await send(message)

        if refusal is not None:
            await refuse_http(with_headers, refusal, 400)
            return
        preflight = self._origins.preflight(scope["method"], asked)
        if (preflight is not None or scope["method"] not in READING) and not self._origins.allowed(asked, scheme):
            text = "Pages of this origin may not do this; the setting `origins` lists those that may."
            await refuse_http(with_headers, HubError("access.denied", text, path="origin"))
            return
        if preflight is not None:
            await with_headers({"type": "http.response.start", "status": 204, "headers": preflight})
            await with_headers({"type": "http.response.body", "body": b""})
            return
        try:
            await self._http(scope, receive, with_headers)
        except HubError as error:
            if started:
                raise
            await refuse_http(with_headers, error)
