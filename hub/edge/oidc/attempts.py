"""What a browser was sent to a provider with, kept in a cookie of its own that nobody can write but the hub. Pure.

The cookie says which attempt this browser began and until when it counts. Verifier and nonce are not in it: they are
made from the state with the secret of the hub, so that every instance knows them and nobody else does.
Sources: RFC 7636 (PKCE), RFC 9700 section 2.1, OpenID Connect Core 3.1.2.1.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

import msgspec

from hub.wire.errors import HubError

SECONDS: Final = 600
"""How long a person may take at the provider."""
COOKIE: Final = "aether_oidc"
PATH: Final = "/auth/oidc"
_COOKIE_BYTES: Final = 1024


class Attempt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One sign-in under way: `mode` is how its outcome gets to the page of `origin`; `until` is in Unix seconds."""

    state: str
    provider: str
    mode: str
    origin: str
    until: int


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _made(secret: bytes, what: bytes, of: bytes) -> bytes:
    return hmac.digest(secret, b"aether oidc " + what + b"\0" + of, "sha512")


def begin(provider: str, mode: str, origin: str, random: bytes, now: float) -> Attempt:
    """Return a new attempt with a state of 32 random bytes."""
    return Attempt(_text(random), provider, mode, origin, int(now) + SECONDS)


def verifier(secret: bytes, attempt: Attempt) -> str:
    """Return the code verifier of an attempt: 86 characters."""
    return _text(_made(secret, b"verifier", attempt.state.encode()))


def challenge(of: str) -> str:
    """Return the S256 challenge of a verifier."""
    return _text(hashlib.sha256(of.encode("ascii")).digest())


def nonce(secret: bytes, attempt: Attempt) -> str:
    """Return what the id token of an attempt must repeat."""
    return _text(_made(secret, b"nonce", attempt.state.encode())[:32])


def seal(secret: bytes, attempt: Attempt) -> str:
    """Return the value of the cookie."""
    body = msgspec.json.encode(attempt)
    return f"{_text(body)}.{_text(_made(secret, b'cookie', body))}"


def opened(secret: bytes, cookie: str | None, state: str, provider: str, now: float) -> Attempt:
    """Return the attempt that this browser began with this state at this provider.

    Raises `auth.invalid` where it began none such, `auth.expired` where that was too long ago.
    """
    attempt = _read(secret, cookie) if cookie and len(cookie) <= _COOKIE_BYTES else None
    if attempt is None:
        raise HubError("auth.invalid", "This browser has begun no sign-in; begin it here, on the page.", path="state")
    if not hmac.compare_digest(attempt.state.encode(), state.encode("utf-8", "surrogatepass")):
        text = "This answer belongs to another sign-in than the last one that this browser began; begin again."
        raise HubError("auth.invalid", text, path="state")
    if attempt.provider != provider:
        raise HubError(
            "auth.invalid", "This answer comes from another provider than was asked; begin again.", path="state"
        )
    if attempt.until <= now:
        raise HubError("auth.expired", "Signing in took longer than ten minutes; begin again.", path="state")
    return attempt


def _read(secret: bytes, cookie: str) -> Attempt | None:
    body, _, seal_text = cookie.partition(".")
    try:
        data = base64.b64decode(body + "=" * (-len(body) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    if not hmac.compare_digest(_text(_made(secret, b"cookie", data)).encode(), seal_text.encode("utf-8", "replace")):
        return None
    return msgspec.json.decode(data, type=Attempt)
