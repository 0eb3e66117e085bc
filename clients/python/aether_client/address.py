"""Where a hub is: over TCP by its address, or over the Unix socket that it keeps in its data folder.

Knows text and paths; opens nothing.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from aether_client.errors import AddressError

SOCKET_NAME = "hub.sock"
"""The name of the Unix socket in the data folder of a hub."""

_SCHEMES = {"http": ("http", "ws"), "ws": ("http", "ws"), "https": ("https", "wss"), "wss": ("https", "wss")}


@dataclass(frozen=True, slots=True)
class Address:
    """A hub's address. `unix` is the path of its Unix socket, or None for TCP."""

    http: str
    """The address that paths such as `/files` are put behind; no slash at its end."""
    socket: str
    """The address of the websocket."""
    unix: Path | None = None

    def __str__(self) -> str:
        return str(self.unix) if self.unix is not None else self.http

    @property
    def is_local(self) -> bool:
        """Whether the hub is on this machine: then no proxy of the environment is asked."""
        if self.unix is not None:
            return True
        host = urlsplit(self.http).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")


def parse_address(text: str | Path) -> Address:
    """Read `http(s)://host:port`, `ws(s)://host:port`, or the path of a Unix socket; raise `AddressError`."""
    if isinstance(text, Path):
        return _unix(text)
    if "://" not in text:
        if "/" in text or text.endswith(".sock"):
            return _unix(Path(text))
        raise AddressError(f"{text!r} is no address of a hub; write it like http://127.0.0.1:8400.")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise AddressError(f"The address {text!r} cannot be read: {error}.") from None
    names = _SCHEMES.get(parts.scheme.lower())
    if names is None:
        raise AddressError(f"A hub is reached by http, https, ws or wss, not by {parts.scheme!r}.")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        # Not repeated in the sentence: it may hold a secret.
        raise AddressError("An address holds no name, password, query or fragment; a token goes into AETHER_TOKEN.")
    if not host:
        raise AddressError(f"The address {text!r} names no host; write it like http://127.0.0.1:8400.")
    place = f"[{host}]" if ":" in host else host
    if port is not None:
        place = f"{place}:{port}"
    path = parts.path.rstrip("/").removesuffix("/ws")
    return Address(f"{names[0]}://{place}{path}", f"{names[1]}://{place}{path}/ws")


def _unix(path: Path) -> Address:
    return Address("http://hub.sock", "ws://hub.sock/ws", path)
