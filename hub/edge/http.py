"""The thin HTTP side: rpc, sign-in, health, the page. Files are in `hub.edge.files`."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from handlers import people
from handlers.base import Call, Peer
from hub.edge import files
from hub.edge.addresses import address_of
from hub.edge.connection import Hub
from hub.edge.exchange import answer, bearer, body_of, peer_of, refused
from hub.edge.guard import Guard, is_operator
from hub.edge.health import Health
from hub.edge.incidents import told
from hub.edge.oidc.side import OidcSide
from hub.edge.origins import Origins
from hub.edge.socket import SocketEndpoint
from hub.logs import request_id
from hub.wire import frames
from hub.wire.codec import FRAME_BYTES, JSON, check, convert, converted, readable_id
from hub.wire.errors import HubError
from hub.wire.requests import SessionHello, op_name

BODY_BYTES: Final = 64 * 1024


class HttpSide:
    """The HTTP handlers over one hub."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.services = hub.services

    async def rpc(self, request: Request) -> Response:
        """Run one request of the wire; pushes need the socket."""
        number: int | None = None
        peer, op = Peer(is_operator(request.scope), address=address_of(request.scope)), "/rpc"
        try:
            member = JSON.decode(await body_of(request, FRAME_BYTES))
            number = readable_id(member)
            request_id.set(number)
            message = convert(member)
            op = op_name(message)
            if isinstance(message, SessionHello):
                raise HubError("data.invalid", "This operation needs the socket at /ws.", path="op")
            if self.hub.draining:
                raise HubError("server.draining", retry_after=1)
            peer = await peer_of(self.services, request)
            seconds = self.hub.budgets.accounts.refusal(peer.account, asyncio.get_running_loop().time())
            if seconds is not None:
                raise HubError("rate.limited", retry_after=seconds)
            self.services.rates.charge(peer, "cheap")
            result = await self.hub.operations.run(Call(self.services, peer, message.id), message)
            return answer(frames.ok(message.id, result.data, result.seq))
        except Exception as error:
            refusal = told(error, self.services.new_id, "/rpc", number)
            self.services.audit.refused(peer, op, refusal)
            return refused(refusal, number)

    async def signin(self, request: Request) -> Response:
        """Exchange a one-use code for a session token."""
        self.services.rates.charge(Peer(is_operator(request.scope), address=address_of(request.scope)), "sign-in")
        body = check(JSON.decode(await body_of(request, BODY_BYTES)))
        code = converted(body, SignIn, "").code
        token, expires = await people.redeem_code(self.services, code, address_of(request.scope))
        return answer({"token": token, "expires_at": expires})

    async def signout(self, request: Request) -> Response:
        """End the session token that the request carries; the sockets that use it end with it."""
        token = bearer(request)
        if token is None:
            raise HubError("auth.required")
        identity = await people.authenticate(self.services, token)
        await people.sign_out(self.services, identity)
        return Response(status_code=204)


class SignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of /auth/signin."""

    code: str


class PageFiles(StaticFiles):
    """The files of the page, asked for anew each time: after an upgrade nobody runs half of the old page."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Answer with the file, or with 304 where the browser has it as it is."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["cache-control"] = "no-cache"
        return response


def web_folder(name: str) -> Path:
    """Return where the page's files are: in the wheel, or beside the packages of a checkout."""

    home = Path(__file__).resolve().parent.parent
    installed = home / "_web" / {"console": "console", "client": "client"}[name]
    checkout = home.parent / {"console": "console", "client": "clients/javascript"}[name]
    return installed if installed.is_dir() else checkout


def build(hub: Hub, health: Health, origins: Origins, oidc: OidcSide, hsts_seconds: int = 0) -> Guard:
    """Return the whole ASGI application of a hub."""
    side = HttpSide(hub)
    console, client = web_folder("console"), web_folder("client")
    index = console / "index.html"

    async def page(request: Request) -> Response:
        return FileResponse(index, headers={"cache-control": "no-cache"})

    async def not_found(request: Request, error: Exception) -> Response:
        if (meant := oidc.mangled(request)) is not None:
            return meant
        return refused(HubError("op.unknown", "There is nothing at this address."))

    async def refusal(request: Request, error: Exception) -> Response:
        if not isinstance(error, HubError):
            raise error
        peer = Peer(is_operator(request.scope), address=address_of(request.scope))
        hub.services.audit.refused(peer, request.url.path, error)
        return refused(told(error, hub.services.new_id, request.url.path))

    started = time.time()
    routes = [
        Route("/", page),
        Route("/livez", health.livez),
        Route("/readyz", health.readyz),
        Route("/health", health.health),
        Route("/rpc", side.rpc, methods=["POST"]),
        Route("/auth/signin", side.signin, methods=["POST"]),
        Route("/auth/signout", side.signout, methods=["POST"]),
        *oidc.routes(),
        *files.routes(hub.services),
        Route("/favicon.ico", lambda request: RedirectResponse("/console/favicon.svg")),
        Mount("/console", PageFiles(directory=console, check_dir=False)),
        Mount("/client", PageFiles(directory=client, check_dir=False)),
    ]
    app = Starlette(routes=routes, exception_handlers={404: not_found, HubError: refusal})
    app.router.redirect_slashes = False  # such a redirect would lead to whatever host the client names
    app.state.hub = hub
    app.state.started = started
    return Guard(app, SocketEndpoint(hub, origins), origins, hsts_seconds)
