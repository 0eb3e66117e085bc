"""Which pages may talk to the hub: its own, and those of the setting `origins`. One decision for sockets and for HTTP.

Starlette's CORSMiddleware was read and left: with `*` and a cookie it sends back whatever origin it is asked from, it
knows nothing of sockets, and it answers a stranger's request as well, only without the header.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers

ANY: Final = "*"
PREFLIGHT_SECONDS: Final = 600
"""For how long a browser may remember what it was answered."""
READING: Final = frozenset({"GET", "HEAD"})
_METHODS: Final = b"GET, HEAD, POST, PUT"
_ASKED: Final = b"authorization, content-type, x-aether-account, repr-digest, range, if-none-match, if-match, if-range"
_SHOWN: Final = b"etag, content-range, content-disposition, repr-digest, retry-after"
_PAGES: Final = {"ws": ("http", 80), "wss": ("https", 443), "http": ("http", 80), "https": ("https", 443)}


class Origins:
    """Who may. `credentials`: browsers of listed pages may send cookies; never together with `*`."""

    def __init__(self, listed: frozenset[str] = frozenset(), own: str = "", *, credentials: bool = False) -> None:
        if ANY in listed and credentials:
            raise ValueError("every origin, and cookies from it")
        self._any = ANY in listed
        self._listed = frozenset(_canonical(origin) for origin in listed - {ANY})
        self._own = _canonical(own) if own else ""
        self._credentials = credentials

    def is_own(self, headers: Headers, scheme: str) -> bool:
        """Say whether the sent `Origin` is the hub's own, as the client addresses it or as the setting says."""
        sent = headers.get("origin", "")
        if self._own and sent == self._own:
            return True
        page, default = _PAGES[scheme]
        try:
            parts = urlsplit(sent)
            host = urlsplit(f"//{headers.get('host', '')}")
            return (
                sent.lower() == f"{page}://{parts.netloc.lower()}"
                and "@" not in parts.netloc
                and bool(parts.hostname)
                and (parts.hostname, parts.port or default) == (host.hostname, host.port or default)
            )
        except ValueError:
            return False

    def allowed(self, headers: Headers, scheme: str) -> bool:
        """Say whether a request may be made from where it says it comes from; without an origin, no page made it."""
        sent = headers.getlist("origin")
        if not sent:
            return True  # no browser; such clients authenticate by a token they hold
        if len(sent) != 1:
            return False
        return self._any or sent[0] in self._listed or self.is_own(headers, scheme)

    def answers(self, headers: Headers, scheme: str) -> list[tuple[bytes, bytes]]:
        """Return the headers with which a page of another origin may read an answer; none for any other page."""
        if "origin" not in headers:
            return []
        vary = (b"vary", b"Origin")
        if not self.allowed(headers, scheme) or self.is_own(headers, scheme):
            return [] if self._any else [vary]
        if self._any:
            return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", _SHOWN)]
        out = [
            (b"access-control-allow-origin", headers["origin"].encode("latin-1")),
            (b"access-control-expose-headers", _SHOWN),
            vary,
        ]
        return [*out, (b"access-control-allow-credentials", b"true")] if self._credentials else out

    def preflight(self, method: str, headers: Headers) -> list[tuple[bytes, bytes]] | None:
        """Return what a browser that asks beforehand is told besides; None where it does not ask."""
        if method != "OPTIONS" or "access-control-request-method" not in headers or "origin" not in headers:
            return None
        return [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _ASKED),
            (b"access-control-max-age", str(PREFLIGHT_SECONDS).encode()),
        ]


def _canonical(origin: str) -> str:
    """Return an origin as browsers send it: small letters, and no port that goes without saying."""
    parts = urlsplit(origin.lower())
    default = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return f"{parts.scheme}://{parts.netloc.removesuffix(default) if default else parts.netloc}"


__all__ = ["ANY", "READING", "Origins"]
