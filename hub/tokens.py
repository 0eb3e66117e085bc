"""Signed tokens (JWT): the one place where they are made and looked at. Pure: keys and the time come in.

PyJWT checks the signature, the issuer and the audience. What it leaves open is decided here: the size, that each name
is there once, which headers may be there, that times are whole numbers and not too far apart. A token never says which
key or algorithm it is to be checked with: its `iss` picks an issuer that the hub knows, its `kid` one of that issuer's
keys, and nothing else in it is believed before the signature is.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from hub.wire.errors import HubError

MOST_BYTES: Final = 8192
ISSUER: Final = "aether-hub"
AUDIENCE: Final = "aether-hub"
ALGORITHM: Final = "HS256"
"""Of the hub's own tokens: nobody but the hubs that share the key makes or checks them."""
KEY_BYTES: Final = 32
LEEWAY_SECONDS: Final = 30
"""By how much the clocks of another issuer may be ahead."""
MOST_SECONDS: Final = 24 * 3600
"""How long a token may be valid, from `iat` to `exp`."""
FOREIGN_ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"})
"""What other issuers may sign with: never with a secret that they would have to share."""
REQUIRED: Final = ("exp", "iat", "sub", "aud", "iss")
_HEADERS: Final = frozenset({"alg", "kid", "typ", "x5t", "x5t#S256"})
"""Headers that may be there. `crit`, `jku`, `jwk`, `x5u`, `x5c`, `b64` and whatever else may not."""
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_FORM: Final = re.compile(r"[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]{2,}\Z")
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,32}:[0-9a-f]{64}\Z")
_RSA_BITS: Final = 2048


@dataclass(frozen=True, slots=True)
class Trust:
    """One issuer as the hub knows it: whom its tokens are for, how they are signed, and with which keys, by `kid`."""

    issuer: str
    audience: str
    algorithms: frozenset[str]
    keys: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a token says of itself before anything of it is believed."""

    issuer: str
    kid: str | None


def looks_signed(token: str) -> bool:
    """Say whether a text could be a signed token at all."""
    return len(token) <= MOST_BYTES and _FORM.match(token) is not None


def refused(why: str, path: str) -> HubError:
    """Return the refusal of a token; why, for the details of a client's developer."""
    return HubError("auth.invalid", "This token is not valid here; get a new one.", path=path, details={"why": why})


def claimed(token: str, path: str = "token") -> Claimed:
    """Return what a token says of its issuer and its key; raise `auth.invalid` where its form is not right."""
    if not looks_signed(token):
        raise refused("form", path)
    head, body, _ = token.split(".")
    header, claims = _object(head, path), _object(body, path)
    if not header.keys() <= _HEADERS:
        raise refused("header", path)
    kid, typ, issuer = header.get("kid"), header.get("typ", "JWT"), claims.get("iss")
    if not (kid is None or isinstance(kid, str)) or not isinstance(typ, str) or typ.lower() not in _TYPES:
        raise refused("header", path)
    if not isinstance(issuer, str):
        raise refused("iss", path)
    return Claimed(issuer, kid)


def verified(token: str, trust: Trust, now: float, path: str = "token") -> dict[str, Any]:
    """Return the claims of a token that this issuer signed for us; raise `auth.invalid` or `auth.expired`.

    `now` is in seconds since 1970.
    """
    said = claimed(token, path)
    key = trust.keys.get(said.kid) if said.kid is not None else _only(trust.keys)
    if said.issuer != trust.issuer or key is None:
        raise refused("key", path)
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=sorted(trust.algorithms),
            issuer=trust.issuer,
            audience=trust.audience,
            options={
                "require": list(REQUIRED),
                "verify_exp": False,  # all times are checked below, against the clock of the hub
                "verify_nbf": False,
                "verify_iat": False,
                "enforce_minimum_key_length": True,
            },
        )
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise refused(type(error).__name__, path) from None
    _check_times(claims, now, path)
    for name in ("sub", "jti", "sid"):
        if name in claims and not (isinstance(claims[name], str) and 0 < len(claims[name]) <= 255):
            raise refused(name, path)
    return claims


def _check_times(claims: dict[str, Any], now: float, path: str) -> None:
    for name in ("exp", "iat", "nbf"):
        if name in claims and type(claims[name]) is not int:
            raise refused(name, path)
    if not 0 < claims["exp"] - claims["iat"] <= MOST_SECONDS:
        raise refused("exp", path)
    if claims["iat"] > now + LEEWAY_SECONDS or claims.get("nbf", 0) > now + LEEWAY_SECONDS:
        raise refused("iat" if claims["iat"] > now + LEEWAY_SECONDS else "nbf", path)
    if claims["exp"] <= now:
        raise HubError("auth.expired", "This token has expired; get a new one.", path=path)


def _only(keys: Mapping[str, Any]) -> Any:
    """Return the key where there is one alone: then a token need not name it."""
    return next(iter(keys.values())) if len(keys) == 1 else None


def _object(part: str, path: str) -> dict[str, Any]:
    """Decode one part of a token, strictly: in the one form that it may have, each name once."""
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
            raise refused("form", path)
        found = json.loads(raw, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise refused("form", path) from None
    if not isinstance(found, dict):
        raise refused("form", path)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def foreign_keys(document: Any, algorithms: frozenset[str], most: int = 32) -> dict[str, Any]:
    """Return the keys of a JWKS that signatures may be checked with, by `kid` (one without: under an empty one).

    Left out: keys for encryption, secrets, short ones, those of a form that is not known. At most `most`.
    """
    found: dict[str, Any] = {}
    entries = document.get("keys") if isinstance(document, dict) else None
    for entry in entries if isinstance(entries, list) else []:
        if len(found) >= most:
            break
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or entry.get("kty") == "oct":
            continue
        kid = entry.get("kid", "")
        alg = entry.get("alg") or next((a for a in sorted(algorithms) if _fits(a, entry)), None)
        if not isinstance(kid, str) or alg not in algorithms or not _fits(alg, entry):
            continue
        try:
            key = jwt.PyJWK({name: value for name, value in entry.items() if name != "d"}, alg)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue
        if getattr(key.key, "key_size", _RSA_BITS) < _RSA_BITS and entry.get("kty") == "RSA":
            continue
        found.setdefault(kid, key)
    return found


def _fits(algorithm: str, entry: dict[str, Any]) -> bool:
    kinds = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
    if entry.get("kty") != kinds.get(algorithm[:2]):
        return False
    return {"ES256": "P-256", "ES384": "P-384", "EdDSA": "Ed25519"}.get(algorithm, entry.get("crv")) == entry.get("crv")


class TokenKeys:
    """The keys of the hub's own tokens: the first signs, all of them check. Each has the form `kid:64 hex digits`."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        if not keys or any(_KEY.match(key) is None for key in keys):
            raise ValueError("a key of tokens has the form `name:64 hex digits`")
        made = {kid: bytes.fromhex(key) for kid, _, key in (text.partition(":") for text in keys)}
        if len(made) != len(keys):
            raise ValueError("two keys of tokens have one name")
        self.texts = keys
        self._trust = Trust(ISSUER, AUDIENCE, frozenset({ALGORITHM}), made)

    def signed(self, user: str, session: str, jti: str, now: float, seconds: int) -> str:
        """Return an access token of a user's session, valid for so many seconds."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user,
            "sid": session,
            "iat": int(now),
            "exp": int(now) + seconds,
            "jti": jti,
        }
        kid = next(iter(self._trust.keys))
        return jwt.encode(claims, self._trust.keys[kid], ALGORITHM, headers={"kid": kid})

    def verified(self, token: str, now: float, path: str = "token") -> dict[str, Any]:
        """Return the claims of one of our own access tokens; raise `auth.invalid` or `auth.expired`."""
        claims = verified(token, self._trust, now, path)
        if not claims.keys() >= {"sid", "jti"}:
            raise refused("sid", path)
        return claims


def derived_key(secret: bytes) -> str:
    """Return the key of tokens that hubs with this secret share where none is set."""
    key = hmac.digest(secret, b"aether access tokens", "sha256").hex()
    return f"{hashlib.sha256(key.encode()).hexdigest()[:8]}:{key}"


def new_key(random: bytes) -> str:
    """Return a fresh key made of 36 random bytes."""
    return f"{random[:4].hex()}:{random[4:36].hex()}"
