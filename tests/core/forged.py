"""Tokens that nobody may be let in with, and the good one that each of them is made of.

`forge` signs whatever it is told, the wrong way too. It knows the hub's own key, as no attacker does: so each token
is wrong in one thing alone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from hub.tokens import AUDIENCE, ISSUER

OTHER: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)
Signer = Callable[[bytes], bytes]


def encoded(value: Any) -> str:
    """Return bytes, or a value as JSON, as one part of a token."""
    raw = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_secret(key: bytes, name: str = "sha256") -> Signer:
    """Return what signs with a shared secret."""
    return lambda text: hmac.digest(key, text, name)


def by_rsa(key: rsa.RSAPrivateKey) -> Signer:
    """Return what signs as RS256 does."""
    return lambda text: key.sign(text, padding.PKCS1v15(), hashes.SHA256())


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    """Return the public half, as it is published."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


def public_jwk(key: rsa.RSAPrivateKey, kid: str) -> dict[str, Any]:
    """Return the public half as an entry of a JWKS."""
    numbers = key.public_key().public_numbers()
    n = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8)
    return {"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": encoded(n), "e": "AQAB"}


@dataclass(frozen=True)
class Draft:
    """A token before it is signed."""

    header: Any
    claims: Any
    sign: Signer

    def token(self) -> str:
        """Sign it."""
        signed = f"{encoded(self.header)}.{encoded(self.claims)}"
        return f"{signed}.{encoded(self.sign(signed.encode()))}"

    def head(self, **changed: Any) -> str:
        """Return the token with another header; None leaves a name out."""
        return replace(self, header=_changed(self.header, changed)).token()

    def claim(self, **changed: Any) -> str:
        """Return the token with other claims; None leaves a name out."""
        return replace(self, claims=_changed(self.claims, changed)).token()

    def signed(self, sign: Signer, **header: Any) -> str:
        """Return the token signed in another way."""
        return replace(self, sign=sign, header=_changed(self.header, header)).token()


def _changed(of: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**of, **changed}.items() if value is not None}


def draft_of(kid: str, sign: Signer, now: float, alg: str = "HS256", **claims: Any) -> Draft:
    """Return a good token, before it is signed."""
    said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "u", "sid": "s", "jti": "j", "iat": int(now), "exp": int(now) + 600}
    return Draft({"alg": alg, "typ": "JWT", "kid": kid}, {**said, **claims}, sign)


def forged(good: Draft, key: bytes, now: float) -> dict[str, str]:
    """Return what may not be accepted in place of a good token, by what is wrong with it.

    `key` is what an attacker could sign with: what is published of the key, or a guess.
    """
    head, body, signature = good.token().split(".")
    claims = json.dumps(good.claims)[1:]
    none = f"{encoded({**good.header, 'alg': 'none'})}.{body}"
    pem, jwk = public_pem(OTHER), public_jwk(OTHER, "mine")
    mine, empty = by_rsa(OTHER), by_secret(b"")
    second = int(now)
    packed = replace(good, header={**good.header, "zip": "DEF"}, claims=zlib.compress(json.dumps(good.claims).encode()))
    twice = encoded(b'{"alg":"none",' + json.dumps(good.header).encode()[1:])
    return {
        "alg none, no signature": f"{none}.",
        "alg none, a signature": f"{none}.{signature}",
        "alg None": f"{encoded({**good.header, 'alg': 'None'})}.{body}.",
        "alg NONE": good.signed(empty, alg="NONE"),
        "alg nOnE": good.signed(empty, alg="nOnE"),
        "no alg": good.head(alg=None),
        "alg null": f"{encoded({**good.header, 'alg': None})}.{body}.{signature}",
        "alg a list": good.head(alg=["HS256"]),
        "alg in small letters": good.head(alg=good.header["alg"].lower()),
        "alg another of its kind": good.signed(by_secret(key, "sha512"), alg="HS512"),
        "the published key as a secret": good.signed(by_secret(key), alg="HS256"),
        "another's published key as a secret": good.signed(by_secret(pem), alg="HS256"),
        "RS256 with one's own key": good.signed(mine, alg="RS256"),
        "RS256 under a kid of one's own": good.signed(mine, alg="RS256", kid="mine"),
        "no secret": good.signed(empty, alg="HS256"),
        "a short secret": good.signed(by_secret(b"secret"), alg="HS256"),
        "a secret of zeros": good.signed(by_secret(bytes(32)), alg="HS256"),
        "the kid as a secret": good.signed(by_secret(str(good.header["kid"]).encode()), alg="HS256"),
        "kid a file of zeros": good.signed(empty, alg="HS256", kid="../../dev/null"),
        "kid an absolute file": good.signed(empty, alg="HS256", kid="/dev/null"),
        "kid SQL": good.signed(by_secret(b"x"), alg="HS256", kid="' UNION SELECT 'x' --"),
        "kid a command": good.signed(empty, alg="HS256", kid="|id"),
        "kid unknown": good.head(kid="unknown"),
        "kid empty": good.head(kid=""),
        "kid a number": good.head(kid=1),
        "kid a list": good.head(kid=[good.header["kid"]]),
        "kid an object": good.head(kid={"$ne": ""}),
        "jwk in the header": good.signed(mine, alg="RS256", jwk=jwk, kid="mine"),
        "jwk beside the right kid": good.head(jwk=jwk),
        "jku in the header": good.signed(mine, alg="RS256", jku="http://127.0.0.1:1/keys", kid="mine"),
        "x5u in the header": good.signed(mine, alg="RS256", x5u="http://127.0.0.1:1/cert", kid="mine"),
        "x5c in the header": good.signed(mine, alg="RS256", x5c=["MIIB"], kid="mine"),
        "crit of something unknown": good.head(crit=["exp"]),
        "crit of b64": good.head(crit=["b64"], b64=False),
        "crit empty": good.head(crit=[]),
        "zip": packed.token(),
        "typ of something else": good.head(typ="secevent+jwt"),
        "typ a number": good.head(typ=1),
        "an encrypted token": f"{encoded({'alg': 'dir', 'enc': 'A256GCM'})}..{body}.{body}.{signature}",
        "the header a list": f"{encoded([good.header])}.{body}.{signature}",
        "alg twice": f"{twice}.{body}.{signature}",
        "no exp": good.claim(exp=None),
        "exp a text": good.claim(exp=str(second + 600)),
        "exp a fraction": good.claim(exp=second + 600.5),
        "exp true": good.claim(exp=True),
        "exp null": replace(good, claims={**good.claims, "exp": None}).token(),
        "exp a list": good.claim(exp=[second + 600]),
        "exp infinite": replace(good, claims=json.dumps({**good.claims, "exp": float("inf")}).encode()).token(),
        "exp in the year 2300": good.claim(exp=10_413_792_000),
        "exp beyond all numbers": good.claim(exp=10**30),
        "exp passed": good.claim(exp=second - 1, iat=second - 600),
        "exp passed this second": good.claim(exp=second, iat=second - 600),
        "exp before iat": good.claim(iat=second + 20, exp=second + 10),
        "exp negative": good.claim(exp=-1),
        "exp twice": replace(good, claims=f'{{"exp":{second + 900},{claims}'.encode()).token(),
        "sub twice": replace(good, claims=f'{{"sub":"somebody",{claims}'.encode()).token(),
        "no iat": good.claim(iat=None),
        "iat in the future": good.claim(iat=second + 300),
        "iat a text": good.claim(iat=str(second)),
        "nbf in the future": good.claim(nbf=second + 300),
        "nbf a text": good.claim(nbf="now"),
        "no iss": good.claim(iss=None),
        "iss another": good.claim(iss="https://evil.example"),
        "iss with a slash more": good.claim(iss=f"{good.claims['iss']}/"),
        "iss in large letters": good.claim(iss=good.claims["iss"].upper()),
        "iss a list": good.claim(iss=[good.claims["iss"]]),
        "no aud": good.claim(aud=None),
        "aud another": good.claim(aud="another"),
        "aud a list of others": good.claim(aud=["another", "third"]),
        "aud an object": good.claim(aud={"is": good.claims["aud"]}),
        "no sub": good.claim(sub=None),
        "sub a number": good.claim(sub=1),
        "sub empty": good.claim(sub=""),
        "sub too long": good.claim(sub="x" * 300),
        "the claims a list": replace(good, claims=[good.claims]).token(),
        "the claims a text": replace(good, claims="claims").token(),
        "the claims nested without end": replace(good, claims=b'{"a":' + b"[" * 1500 + b"]" * 1500 + b"}").token(),
        "the claims not UTF-8": replace(good, claims=b'{"sub":"\xff"}').token(),
        "the signature cut": f"{head}.{body}.{signature[:-4]}",
        "the signature lengthened": f"{head}.{body}.{signature}AAAA",
        "the signature of something else": f"{head}.{body}.{encoded(hashlib.sha256(b'').digest())}",
        "the signature empty": f"{head}.{body}.",
        "the signature in another form of base64": f"{head}.{body}.{signature}==",
        "another body under the signature": f"{head}.{encoded({**good.claims, 'sub': 'somebody'})}.{signature}",
        "another header under the signature": f"{encoded({**good.header, 'typ': 'at+jwt'})}.{body}.{signature}",
        "two parts": f"{head}.{body}",
        "four parts": f"{head}.{body}.{signature}.{signature}",
        "a space before": f" {good.token()}",
        "a line end behind": f"{good.token()}\n",
        "Bearer before": f"Bearer {good.token()}",
        "NUL in the header": f"{head}\x00.{body}.{signature}",
        "huge": good.claim(more="x" * 9000),
        "megabytes": f"{'A' * 500_000}.{body}.{signature}",
        "empty": "..",
    }  # fmt: skip
