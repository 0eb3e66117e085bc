"""One HTTP exchange: who asks, what they sent, and JSON answers. Shared by the HTTP handlers."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from handlers.base import Call, Peer, Services
from handlers.sessions import identify, settle, standing
from hub.edge.addresses import address_of, host_of
from hub.edge.guard import is_operator
from hub.wire import frames
from hub.wire.errors import HubError

BODY_SECONDS: Final = 10.0
"""How long the body of a request may take that is read as a whole."""
_BROKEN: Final = frozenset({"frame.malformed", "frame.too_large"})
"""Behind these, what the connection still brings may be the rest of a body."""


def answer(message: dict[str, Any], status: int = 200) -> Response:
    """Return a JSON answer."""
    headers = {"cache-control": "no-store"}
    if "retry_after" in message:
        headers["retry-after"] = str(max(1, round(message["retry_after"])))
    return Response(msgspec.json.encode(message), status, headers, "application/json")


def refused(refusal: HubError, request: int | None = None) -> Response:
    """Return the answer of a refused request."""
    response = answer(frames.error(request, refusal), refusal.kind.http)
    if refusal.code in _BROKEN:
        response.headers["connection"] = "close"
    return response


def bearer(request: Request) -> str | None:
    """Return the bearer token of a request; raise `auth.invalid` for any other scheme."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise HubError("auth.invalid", "Send `Authorization: Bearer <token>`.")
    return token.strip()


async def peer_of(services: Services, request: Request) -> Peer:
    """Return who sends an HTTP request, in the account that `X-Aether-Account` names or the only one."""
    peer = Peer(operator=is_operator(request.scope), address=address_of(request.scope), host=host_of(request.scope))
    call = Call(services, peer)
    identity = await identify(call, bearer(request))
    if identity.source != "guest":
        settle(peer, await standing(call, identity, request.headers.get("x-aether-account")))
    return peer


async def body_of(request: Request, limit: int) -> bytes:
    """Return the body of a request.

    Raises `frame.too_large`, or `frame.malformed` where the client left or took longer than `BODY_SECONDS`.
    """
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise HubError("frame.too_large", f"The body has at most {limit} bytes here.")
                parts.append(part)
    except ClientDisconnect:
        raise HubError("frame.malformed", "The body broke off; send it again whole.") from None
    except TimeoutError:
        raise HubError("frame.malformed", f"The body did not come within {BODY_SECONDS:g} s; send it whole.") from None
    return b"".join(parts)
