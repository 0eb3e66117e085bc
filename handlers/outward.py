"""What the hub asks of others over HTTP: one JSON object, bounded in time and size, and never led elsewhere."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec

SECONDS: Final = 5.0
"""How long one question may take, with its connection."""
BYTES: Final = 1024 * 1024
AT_ONCE: Final = 16
"""How many questions are open at a time; the next wait, within their time."""


class NoAnswer(Exception):
    """There was no usable answer; the text is for the operator's log. `status` is None where there was none at all."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


def is_public(address: str) -> bool:
    """Say whether an IP address is one of the public internet, whatever it is wrapped in."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            found = inner
    return found.is_global and not found.is_multicast


_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class Outward:
    """An HTTP client that is made when it is first needed: reading the authorities' certificates takes a while."""

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None
        self._making = asyncio.Lock()
        self._room = asyncio.Semaphore(AT_ONCE)

    async def get(self, url: str, *, bearer: str | None = None) -> dict[str, Any]:
        """Return the JSON object at an address; raise `NoAnswer`."""
        headers = {"authorization": f"Bearer {bearer}"} if bearer is not None else {}
        return await self._ask("GET", url, headers, None, None)

    async def get_public(self, url: str) -> dict[str, Any]:
        """Return the JSON object at an https address of the public internet; raise `NoAnswer` for any other.

        Its name is looked up once, every address that it has must be a public one, and one of these is asked: what the
        name means a moment later does not matter.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or 443
        except ValueError:
            raise NoAnswer(f"{url} is no address") from None
        if parts.scheme != "https" or not host:
            raise NoAnswer(f"{url} is no https address")
        try:
            async with asyncio.timeout(SECONDS):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (TimeoutError, OSError, UnicodeError):
            raise NoAnswer(f"{host} is not found") from None
        addresses = [str(entry[4][0]) for entry in found]
        if not addresses or not all(map(is_public, addresses)):
            raise NoAnswer(f"{host} is not on the public internet")
        place = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
        pinned = parts._replace(netloc=f"{place}:{port}").geturl()
        headers = {"host": host if port == 443 else f"{host}:{port}"}
        return await self._ask("GET", pinned, headers, None, None, host)

    async def post(self, url: str, form: dict[str, str], auth: tuple[str, str] | None) -> dict[str, Any]:
        """Send a form and return the JSON object that answers it; raise `NoAnswer`."""
        return await self._ask("POST", url, {}, form, auth)

    async def close(self) -> None:
        """Give its connections back."""
        if self._client is not None:
            await self._client.aclose()

    async def _ask(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        form: dict[str, str] | None,
        auth: tuple[str, str] | None,
        name: str | None = None,
    ) -> dict[str, Any]:
        """Ask; `name` is whose certificate is expected, where that is not the host of `url`."""
        try:
            async with asyncio.timeout(SECONDS), self._room:
                client = self._client or await self._made()
                headers = {"accept": "application/json", "accept-encoding": "identity", **headers}
                async with client.stream(
                    method, url, headers=headers, data=form, auth=httpx.BasicAuth(*auth) if auth else None,
                    extensions={"sni_hostname": name} if name is not None else None,
                ) as response:  # fmt: skip
                    body = bytearray()
                    async for part in response.aiter_raw(64 * 1024):
                        body += part
                        if len(body) > BYTES:
                            raise NoAnswer(f"{url} answers more than {BYTES} bytes", response.status_code)
                    status = response.status_code
        except TimeoutError:
            raise NoAnswer(f"{url} did not answer within {SECONDS:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise NoAnswer(f"{url} cannot be asked: {type(error).__name__}") from None
        if status != 200:
            raise NoAnswer(f"{url} answers {status}{_said(body)}", status)
        try:
            return msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise NoAnswer(f"{url} answers no JSON object", status) from None

    async def _made(self) -> httpx.AsyncClient:
        async with self._making:
            if self._client is None:
                context = await asyncio.to_thread(httpx.create_ssl_context, trust_env=False)
                self._client = httpx.AsyncClient(
                    verify=context, trust_env=False, follow_redirects=False, timeout=SECONDS,
                    limits=httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=4, keepalive_expiry=5.0),
                )  # fmt: skip
            return self._client


def _said(body: bytearray) -> str:
    """Return the code of an OAuth error, where the body has one that can be logged."""
    try:
        code = msgspec.json.decode(body, type=dict[str, Any]).get("error")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return f": {code}" if isinstance(code, str) and len(code) <= 40 and code.isprintable() else ""
