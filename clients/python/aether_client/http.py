"""The HTTP side of a hub: files by hash, and putting a file. Knows `httpx`; nothing of folders.

No redirect is followed, so a token never travels to another host; a hub on this machine is never asked through a proxy.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from aether_client.address import Address
from aether_client.errors import AetherError, HubError, from_body
from aether_client.version import VERSION

_BLOCK: Final = 256 * 1024
_BODY_BYTES: Final = 64 * 1024
"""How much of a refusal is read."""


class Away(Exception):
    """The hub could not be reached, or broke off: try again. Text is a sentence."""

    def __init__(self, sentence: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(sentence)


class FileChanged(AetherError):
    """A file was changed while it was being sent."""


def make_http(address: Address, token: str | None, account: str | None) -> httpx.AsyncClient:
    """Return an HTTP client for a hub; close it after use."""
    headers = {"User-Agent": f"aether-client-python/{VERSION}", "Accept-Encoding": "identity"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    if account is not None:
        headers["X-Aether-Account"] = account
    transport = httpx.AsyncHTTPTransport(uds=str(address.unix)) if address.unix is not None else None
    return httpx.AsyncClient(
        base_url=address.http,
        headers=headers,
        transport=transport,
        trust_env=not address.is_local,
        follow_redirects=False,
        timeout=httpx.Timeout(10.0, read=30.0, write=30.0, pool=None),
    )


def away(error: httpx.TransportError, address: str) -> Away:
    """Say what a failed exchange means."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Away(f"No hub answers at {address}.")
    if isinstance(error, httpx.TimeoutException):
        return Away(f"The hub at {address} has gone silent.")
    return Away(f"The hub at {address} broke the connection off.")


async def refusal(response: httpx.Response) -> HubError:
    """Read the error object of a refused request; what is no error object of a hub gets a sentence of its own."""
    body = b""
    async for part in response.aiter_raw():
        body += part
        if len(body) > _BODY_BYTES:
            break
    retry = response.headers.get("Retry-After", "")
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        found = None
    if not isinstance(found, dict) or "code" not in found:
        found = {"code": _code(response.status_code), "message": f"The hub answered HTTP {response.status_code}."}
    error = from_body(found)
    if error.retry_after is None and retry.isdecimal():
        error.retry_after = float(retry)
    return error


def _code(status: int) -> str:
    if status >= 500 or status in (408, 425, 429):
        return "server.unavailable"
    return {401: "auth.required", 403: "access.denied", 404: "record.not_found"}.get(status, "server.error")


def hash_file(path: Path, moved: Callable[[int], None]) -> tuple[str, int]:
    """Return SHA-256 and size of a file; `moved` is told how many bytes were read."""
    hasher, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            hasher.update(block)
            size += len(block)
            moved(size)
    return hasher.hexdigest(), size


async def put_file(
    http: httpx.AsyncClient,
    address: Address,
    path: Path,
    *,
    container: tuple[str, str],
    name: str,
    sha256: str,
    size: int,
    content_type: str | None,
    moved: Callable[[int], None],
) -> dict[str, Any]:
    """Send a file whose hash is known into a container; return its record. Raise `HubError`, `Away`, `FileChanged`."""

    async def body() -> AsyncIterator[bytes]:
        left = size
        file = await asyncio.to_thread(path.open, "rb")
        try:
            while left and (block := await asyncio.to_thread(file.read, min(_BLOCK, left))):
                left -= len(block)
                yield block
                moved(size - left)
        finally:
            await asyncio.to_thread(file.close)
        if left:
            raise FileChanged(f"{path} became shorter while it was being sent; send it again.")

    digest = base64.b64encode(bytes.fromhex(sha256)).decode()
    headers = {"Repr-Digest": f"sha-256=:{digest}:", "Content-Length": str(size)}
    if content_type is not None:
        headers["Content-Type"] = content_type
    kind, rec = container
    try:
        request = http.build_request(
            "PUT", "/files", params={"type": kind, "rec": rec, "name": name}, content=body(), headers=headers
        )
        response = await http.send(request, stream=True)
        try:
            if response.status_code not in (200, 201):
                raise await refusal(response)
            answer = msgspec.json.decode(await response.aread())
        finally:
            await response.aclose()
    except httpx.TransportError as error:
        raise away(error, str(address)) from None
    except (msgspec.MsgspecError, UnicodeError):
        raise HubError("server.error", "What answered is no hub of this kind.") from None
    if not isinstance(answer, dict):
        raise HubError("server.error", "What answered is no hub of this kind.")
    return answer
