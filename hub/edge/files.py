"""Files over HTTP: PUT links bytes to a record, GET and HEAD read them through a link or a grant.

    PUT /files?type=event&rec=<id>&name=<name>      the body is the file
    GET /files/sha256/<hash>                        with a token, or ?grant= from file.grant
    GET /files/<type>/<id>                          the bytes of a file record

An upload is refused before its body is read wherever that is possible. Downloads go out in chunks that a
thread reads, so no socket waits for a disk. Source: DESIGN.md 10, RELIABILITY.md (stored XSS).
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from handlers import files
from handlers.base import Call, Peer, Services
from handlers.sessions import identify
from hub.edge import file_headers
from hub.edge.addresses import address_of
from hub.edge.exchange import bearer, peer_of
from hub.edge.file_headers import Asked, Span
from hub.edge.guard import error_body, is_operator
from hub.edge.incidents import incident, told
from hub.schema.record import Image
from hub.schema.times import to_millis
from hub.wire.errors import HubError
from hub.wire.names import SHA256
from storage.blobs.base import Blob, BlobCorrupt, BlobMissing
from storage.blobs.grants import check_grant

log = logging.getLogger("hub.files")

MIB: Final = 1024 * 1024
IDLE_SECONDS: Final = 60.0
"""How long an upload may pause, and how long a download may wait for its reader."""
LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 8 * 1024 * 1024
"""How much of a refused body is still read, so that its sender gets to see the refusal."""

SAFETY: Final = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'",
}
BY_HASH: Final = {"cache-control": "private, max-age=31536000, immutable", "vary": "authorization"}
BY_RECORD: Final = {"cache-control": "private, no-cache", "vary": "authorization"}
_PUT_QUERY: Final = ("type", "rec", "name")


class Gone(Exception):
    """The other side went away; there is nobody to answer."""


def routes(services: Services) -> list[Route]:
    """Return the routes of files."""
    return [
        Route("/files", Upload(services), methods=["PUT"]),
        Route("/files/sha256/{sha256}", ByHash(services), methods=["GET"]),
        Route("/files/{type}/{rec}", ByRecord(services), methods=["GET"]),
        Route("/files/{rest:path}", Nowhere(services), methods=["GET"]),
    ]


class Exchange:
    """One request under way: its body as it comes, its answer as it goes, and what happened of both."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.request = Request(scope)
        self.started = False  # whether the head of an answer was sent
        self.body_read = False  # whether the whole body of the request came
        self.peer = Peer(is_operator(scope), address=address_of(scope))  # who asks, as far as that is known
        self._receive = receive
        self._send = send

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the body; raise `Gone`, or a refusal where it pauses for too long."""
        while not self.body_read:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    message = await self._receive()
            except TimeoutError:
                text = f"No byte came for {IDLE_SECONDS:.0f} seconds; nothing was stored. Send the file again."
                raise HubError("frame.malformed", text) from None
            if message["type"] == "http.disconnect":
                raise Gone
            self.body_read = not message.get("more_body", False)
            yield message.get("body", b"")

    async def gone(self) -> None:
        """Return when the other side has gone away."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def head(self, status: int, headers: dict[str, str]) -> None:
        """Send the head of the answer."""
        self.started = True
        raw = [(name.encode("ascii"), value.encode("latin-1")) for name, value in {**SAFETY, **headers}.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def part(self, data: bytes, *, more: bool) -> None:
        """Send a part of the answer's body; raise TimeoutError where its reader does not take it."""
        message: Message = {"type": "http.response.body", "body": data, "more_body": more}
        async with asyncio.timeout(IDLE_SECONDS):
            await self._send(message)

    async def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        """Send a whole JSON answer. Where the body was not read, the connection ends with it."""
        fields = {"content-type": "application/json", "cache-control": "no-store", "content-length": str(len(body))}
        if self.request.method != "PUT" or self.body_read:
            await self.head(status, {**fields, **headers})
            await self.part(body, more=False)
            return
        await self.head(status, {**fields, **headers, "connection": "close"})
        await self.part(body, more=True)
        if "expect" not in self.request.headers:
            await self._linger()
        await self.part(b"", more=False)

    async def _linger(self) -> None:
        left = LINGER_BYTES
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0 and not self.body_read:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise Gone
                    self.body_read = not message.get("more_body", False)
                    left -= len(message.get("body", b""))
        except TimeoutError:
            log.debug("the sender of a refused upload went on for %s s", LINGER_SECONDS)

    async def refuse(self, refusal: HubError, status: int | None = None, headers: dict[str, str] | None = None) -> None:
        """Send a refusal as the table of errors says, or with a status that HTTP itself defines."""
        fields = dict(headers or {})
        if refusal.kind.http == 401:
            fields["www-authenticate"] = "Bearer"
        if refusal.retry_after is not None:
            fields["retry-after"] = str(max(1, round(refusal.retry_after)))
        await self.answer(status or refusal.kind.http, error_body(refusal), fields)


class Endpoint:
    """An ASGI application for one route: answers refusals and faults of `serve`."""

    def __init__(self, services: Services) -> None:
        self.services = services

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request."""
        raise AssertionError("each route serves")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request to its end, whatever happens."""
        exchange = Exchange(scope, receive, send)
        try:
            try:
                await self.serve(exchange)
            except HubError as refusal:
                if exchange.started:
                    raise
                self.services.audit.refused(exchange.peer, f"{scope['method']} /files", refusal)
                await exchange.refuse(told(refusal, self.services.new_id, scope["path"]))
        except Gone:
            log.debug("a client went away in the middle of a file")
        except TimeoutError:
            log.info("a client took nothing for %s s and is cut off", IDLE_SECONDS)
        except BlobCorrupt as error:
            log.error("a download was cut off: %s", error)
        except asyncio.CancelledError:
            log.info("a transfer was cut off, because the hub stops")
        except Exception as error:
            fault = incident(error, self.services.new_id(), scope["path"])
            if not exchange.started:
                await exchange.refuse(fault)


class Upload(Endpoint):
    """PUT /files."""

    async def serve(self, exchange: Exchange) -> None:
        """Take in a file and link it."""
        request, services = exchange.request, self.services
        call = await self._call(request)
        exchange.peer = call.peer
        where = _put_query(request.scope)
        slot = await files.admit(call, *where)
        _refuse_transformed(request)
        content_type = file_headers.announced_type(request.headers.get("content-type"), slot.name)
        expected = file_headers.announced_digest(_joined(request, "repr-digest"))
        announced = request.headers.get("content-length", "")
        size = int(announced) if announced.isdecimal() else None
        services.rates.charge(call.peer, "upload", max(1, -(-(size or 0) // MIB)))
        async with services.blobs.receive(expected, services.max_file_bytes, size) as upload:
            async for chunk in exchange.body():
                await upload.write(chunk)
            stored = await upload.commit()
        if size is None:
            services.rates.owe(call.peer, "upload", stored.size // MIB)  # what nobody had announced
        call = await self._call(request)  # rights may have ended while the bytes came
        slot = await files.admit(call, *where)
        image, created = await files.link(call, slot, stored, content_type)
        await exchange.answer(201 if created else 200, msgspec.json.encode(image), {})

    async def _call(self, request: Request) -> Call:
        return Call(self.services, await _known_peer(self.services, request))


class Download(Endpoint):
    """What both ways of reading a file share."""

    async def send_file(self, exchange: Exchange, sha256: str, image: Image | None, headers: dict[str, str]) -> None:
        """Answer with the bytes of a hash; `image` is the record that links them, None under a grant."""
        try:
            blob = await self.services.blobs.open(sha256)
        except BlobMissing as error:
            raise files.damaged(sha256, error) from None
        async with blob:
            if image is not None and blob.size != image["size"]:
                raise files.damaged(sha256, BlobCorrupt(f"{blob.size} bytes instead of {image['size']}"))
            first = await blob.read(0, min(16, blob.size))
            served = _Served.of(exchange.request, sha256, blob.size, image, first, headers)
            if isinstance(served, tuple):
                await exchange.refuse(*served)
                return
            await exchange.head(served.status, served.headers)
            if served.span is None:
                await exchange.part(b"", more=False)
            else:
                await _send_span(exchange, blob, served.span)


class ByHash(Download):
    """GET /files/sha256/<hash>."""

    async def serve(self, exchange: Exchange) -> None:
        """Answer with the bytes of a hash that the caller holds a link or a grant to."""
        request = exchange.request
        sha256 = request.path_params["sha256"]
        grant = request.query_params.get("grant")
        image = None
        if grant is None or not self._opens(grant, sha256):
            image = await self._linked(request, sha256, had_grant=grant is not None)
        await self.send_file(exchange, sha256, image, BY_HASH)

    def _opens(self, grant: str, sha256: str) -> bool:
        return check_grant(grant, sha256, to_millis(self.services.clock()) / 1000, self.services.secret)

    async def _linked(self, request: Request, sha256: str, *, had_grant: bool) -> Image:
        peer = Peer(operator=is_operator(request.scope))
        identity = await identify(Call(self.services, peer), bearer(request))
        if identity.source == "guest":
            if had_grant:
                text = "This grant is not for this file, or has expired; ask file.grant for another."
                raise HubError("auth.invalid", text, path="grant")
            raise HubError("auth.required", "Send `Authorization: Bearer <token>`, or a grant of file.grant.")
        places = await files.entered(self.services, identity, request.headers.get("x-aether-account"))
        image = await files.readable_link(self.services, identity, places, sha256) if SHA256.match(sha256) else None
        if image is None:
            raise files.not_found()
        return image


class ByRecord(Download):
    """GET /files/<type>/<id>."""

    async def serve(self, exchange: Exchange) -> None:
        """Answer with the bytes of a file record."""
        request = exchange.request
        call = Call(self.services, await _known_peer(self.services, request))
        exchange.peer = call.peer
        image = await files.file_record(call, request.path_params["type"], request.path_params["rec"])
        await self.send_file(exchange, image["sha256"], image, BY_RECORD)


class Nowhere(Endpoint):
    """Everything else under /files: answered here, so that no router redirects it to a host of the client's choice."""

    async def serve(self, exchange: Exchange) -> None:
        """Refuse."""
        raise HubError("op.unknown", "There is nothing at this address.")


@dataclass(frozen=True, slots=True)
class _Served:
    """The head of a download. `span` is what of the blob follows; None: nothing does."""

    status: int
    headers: dict[str, str]
    span: Span | None

    @classmethod
    def of(
        cls, request: Request, sha256: str, size: int, image: Image | None, first: bytes, headers: dict[str, str]
    ) -> _Served | tuple[HubError, int, dict[str, str]]:
        """Return the head that the conditions and the range of a request lead to, or a refusal."""
        fields = {**headers, "etag": f'"{sha256}"', "accept-ranges": "bytes"}
        wanted = _joined(request, "if-match")
        if wanted is not None and not file_headers.names_tag(wanted, sha256, weak=False):
            return HubError("record.conflict", "The file has another hash than If-Match names."), 412, fields
        known = _joined(request, "if-none-match")
        if known is not None and file_headers.names_tag(known, sha256, weak=True):
            return cls(304, fields, None)
        declared = image["content_type"] if image is not None else None
        content_type, inline = file_headers.served_type(declared, first)
        name = image["name"] if image is not None else None
        fields["content-type"] = content_type
        fields["content-disposition"] = file_headers.disposition(name, inline=inline)
        fields["repr-digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode('ascii')}:"
        if request.method != "GET":
            return cls(200, {**fields, "content-length": str(size)}, None)
        asked: Span | Asked = Asked.WHOLE
        if file_headers.range_applies(request.headers.get("if-range"), sha256):
            asked = file_headers.parse_range(request.headers.get("range"), size)
        if asked is Asked.NOTHING_THERE:
            fields = {**headers, "etag": f'"{sha256}"', "content-range": f"bytes */{size}"}
            return (
                HubError("data.invalid", f"The file has {size} bytes; none are in this range.", path="Range"),
                416,
                fields,
            )
        if isinstance(asked, Span):
            fields["content-range"] = f"bytes {asked.start}-{asked.stop - 1}/{size}"
            fields["content-length"] = str(asked.stop - asked.start)
            return cls(206, fields, asked)
        return cls(200, {**fields, "content-length": str(size)}, Span(0, size))


async def _send_span(exchange: Exchange, blob: Blob, span: Span) -> None:
    """Send a range of a blob; stop reading when the other side has gone."""
    gone = asyncio.ensure_future(exchange.gone())
    try:
        async for chunk in blob.chunks(span.start, span.stop):
            if gone.done():
                raise Gone
            await exchange.part(chunk, more=True)
        await exchange.part(b"", more=False)
    finally:
        gone.cancel()


async def _known_peer(services: Services, request: Request) -> Peer:
    peer = await peer_of(services, request)
    if peer.identity.source == "guest":
        raise HubError("auth.required", "Send `Authorization: Bearer <token>`.")
    return peer


def _joined(request: Request, name: str) -> str | None:
    """Return a field that may stand on several lines as one text, or None without it."""
    lines = request.headers.getlist(name)
    return ", ".join(lines) if lines else None


def _put_query(scope: Scope) -> tuple[str, str, str]:
    """Return `type`, `rec` and `name` of an upload's address; raise `data.invalid`."""
    try:
        pairs = parse_qsl(
            scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=16
        )
    except ValueError:
        raise HubError("data.invalid", "The query is not percent-encoded UTF-8.") from None
    given: dict[str, Any] = {}
    for key, value in pairs:
        if key not in _PUT_QUERY:
            raise HubError(
                "data.invalid", "There is no such parameter; an upload has type, rec and name.", path=key[:64]
            )
        if key in given:
            raise HubError("data.invalid", f"{key} is given twice; give it once.", path=key)
        given[key] = value
    for key in _PUT_QUERY:
        if key not in given:
            raise HubError("data.invalid", "An upload needs type, rec and name in its address.", path=key)
    return given["type"], given["rec"], given["name"]


def _refuse_transformed(request: Request) -> None:
    """Refuse a body that is not simply the bytes of the file."""
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise HubError("file.type", "Send the bytes of the file themselves, without Content-Encoding.")
    if "content-range" in request.headers:
        raise HubError("data.invalid", "Send the whole file, without Content-Range.", path="Content-Range")
