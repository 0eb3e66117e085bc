"""What an id token must be to be believed, beyond what every signed token of another issuer must be. Pure.

Sources: OpenID Connect Core 3.1.3.7 and 3.1.3.8, RFC 8725. The algorithm is the one of the rule, never the token's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import msgspec

from hub import tokens
from hub.edge.oidc.rules import Rule
from hub.wire.errors import HubError


class Person(msgspec.Struct, frozen=True):
    """Whom a provider vouches for. `email` is in small letters, and None unless the provider says it is verified."""

    issuer: str
    subject: str
    email: str | None
    name: str


class Untrusted(Exception):
    """Why an answer of a provider is not believed: for the operator's log, never for the person."""


def names_key(token: str, keys: Mapping[str, Any]) -> bool:
    """Say whether the key that a token names is among these; raise `Untrusted` where its form is not right."""
    try:
        kid = tokens.claimed(token).kid
    except HubError as refusal:
        raise Untrusted(_why(refusal)) from None
    return kid in keys if kid is not None else len(keys) == 1


def believed(
    token: str, keys: Mapping[str, Any], rule: Rule, nonce: str, access_token: str, now: float
) -> dict[str, Any]:
    """Return the claims of an id token that was made for this attempt; raise `Untrusted`. `now`: Unix seconds."""
    try:
        trust = tokens.Trust(rule.issuer, rule.client_id, frozenset({rule.algorithm}), keys)
        claims = tokens.verified(token, trust, now)
    except HubError as refusal:
        raise Untrusted(_why(refusal)) from None
    said = claims.get("nonce")
    if not isinstance(said, str) or not hmac.compare_digest(said.encode("utf-8", "replace"), nonce.encode()):
        raise Untrusted("the id token was made for another attempt")
    audience, party = claims["aud"], claims.get("azp")
    if party is None and isinstance(audience, list) and len(audience) > 1:
        raise Untrusted("the id token is for several, and does not say who asked for it")
    if party is not None and party != rule.client_id:
        raise Untrusted("somebody else asked for the id token")
    if "at_hash" in claims:
        size = {"2": "sha256", "3": "sha384"}.get(rule.algorithm[2:3], "sha512")
        digest = hashlib.new(size, access_token.encode("utf-8", "replace")).digest()
        half = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=")
        if not hmac.compare_digest(str(claims["at_hash"]).encode("utf-8", "replace"), half):
            raise Untrusted("the id token belongs to another access token")
    return claims


def _why(refusal: HubError) -> str:
    why = (refusal.details or {}).get("why", refusal.code)
    return f"the id token does not hold: {why}"


def person_of(claims: dict[str, Any], rule: Rule) -> Person:
    """Return who the claims are about. A mail address counts only where the provider has verified it."""
    email, name = claims.get("email"), claims.get("name")
    verified = claims.get("email_verified") is True and isinstance(email, str) and 3 <= len(email) <= 254
    address = str(email).strip().lower() if verified and "@" in str(email) else None
    shown = name.strip() if isinstance(name, str) else ""
    return Person(rule.issuer, claims["sub"], address, shown[:200] or (address or "").partition("@")[0])
