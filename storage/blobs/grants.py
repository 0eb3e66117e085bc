"""Grants: a signed permission to read the bytes of one hash until a moment. Pure.

A grant is `<seconds since 1970>.<43 characters>`; the signature is HMAC-SHA256 over the hash and the
moment. It names no account and no user: whoever holds it may read exactly these bytes, for at most
`GRANT_SECONDS`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Final

from hub.wire.names import SHA256

GRANT_SECONDS: Final = 300
"""The longest time that a grant lasts."""

_FORM = re.compile(r"([1-9][0-9]{0,11})\.[A-Za-z0-9_-]{43}\Z")
_PURPOSE = b"aether hub file grant 1\n"


def make_grant(sha256: str, expires: int, secret: bytes) -> str:
    """Return the grant for a hash that lasts until `expires` (whole seconds since 1970)."""
    if not SHA256.match(sha256):
        raise ValueError("a hash is 64 lower-case hex digits")
    signature = hmac.new(secret, _PURPOSE + f"{sha256}\n{expires}".encode("ascii"), hashlib.sha256).digest()
    return f"{expires}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode('ascii')}"


def check_grant(grant: str, sha256: str, now: float, secret: bytes) -> bool:
    """Say whether `grant` lets its holder read this hash at `now` (seconds since 1970)."""
    found = _FORM.match(grant)
    if found is None or not SHA256.match(sha256):
        return False
    expires = int(found[1])
    genuine = hmac.compare_digest(grant, make_grant(sha256, expires, secret))
    return genuine and now < expires <= now + GRANT_SECONDS + 1
