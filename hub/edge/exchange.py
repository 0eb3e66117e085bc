"""One HTTP exchange: who asks, what they sent, and JSON answers. Shared by the HTTP handlers."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from handlers import people
from handlers.base import Call, Peer, Services
from handlers.sessions import identify, settle
from hub.edge.guard import is_operator
from hub.wire import frames
from hub.wire.errors import HubError


def answer(message: dict[str, Any], status: int = 200) -> Response:
    """Return a JSON answer."""
    headers = {"cache-control": "no-store"}
    if "retry_after" in message:
        headers["retry-after"] = str(max(1, round(message["retry_after"])))
    return Response(msgspec.json.encode(message), status, headers, "application/json")


def refused(refusal: HubError, request: int | None = None) -> Response:
    """Return the answer of a refused request."""
    return answer(frames.error(request, refusal), refusal.kind.http)


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
    peer = Peer(operator=is_operator(request.scope))
    call = Call(services, peer)
    identity = await identify(call, bearer(request))
    if identity.source != "guest":
        account, role = await people.enter(services, identity, request.headers.get("x-aether-account"))
        settle(call, peer, identity, account, role)
    return peer


async def body_of(request: Request, limit: int) -> bytes:
    """Return the body of a request; raise `frame.too_large`, or `frame.malformed` where the client left."""
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise HubError("frame.too_large", f"The body has at most {limit} bytes here.")
            parts.append(part)
    except ClientDisconnect:
        raise HubError("frame.malformed", "The body broke off; send it again whole.") from None
    return b"".join(parts)
