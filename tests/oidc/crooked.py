"""A provider of ours that speaks OpenID Connect and lies as it is told to: what no honest provider would answer.

It has no page: a test asks it for the code that a browser would have brought back. The honest provider is the one of
npm, in `provider.js`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, unquote_plus, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

CLIENT: Final = "aether-hub"
SECRET: Final = "a secret of the client: 100% / + ü"
Claims = dict[str, Any]


def text(data: bytes) -> str:
    """Return bytes as unpadded base64url."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    """A private key with its name."""

    def __init__(self, kid: str) -> None:
        self.kid = kid
        self.private = rsa.generate_private_key(65537, 2048)

    @property
    def public(self) -> dict[str, Any]:
        """As it is published."""
        return {**RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True), "kid": self.kid, "use": "sig"}

    def sign(self, claims: Claims, **headers: Any) -> str:
        """Return an id token."""
        return jwt.encode(claims, self.private, "RS256", {"kid": self.kid, **headers})


@dataclass
class Lies:
    """What is answered otherwise than the protocol has it."""

    claims: Callable[[Claims], Claims] = lambda claims: claims
    sign: Callable[[Claims, Key], str] = lambda claims, key: key.sign(claims)
    token: Callable[[dict[str, Any]], dict[str, Any]] = lambda answer: answer
    status: int = 200
    size: int = 0
    codes_count_once: bool = True
    userinfo: dict[str, Any] | None = None


@dataclass
class Grant:
    """A code that was given out, with what the request for it said."""

    asked: dict[str, str]
    person: Claims
    lies: Lies
    used: bool = False


@dataclass
class Issuer:
    """One issuer of the server; `configuration` is laid over what it says of itself."""

    url: str
    keys: list[Key]
    configuration: dict[str, Any] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)

    def code(self, away: str, person: Claims, lies: Lies | None = None) -> str:
        """Return the code that a browser that is sent away like this would bring back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(away).query).items()}
        code = f"code/{len(self.grants)}+{hashlib.sha256(asked['state'].encode()).hexdigest()[:8]}"
        self.grants[code] = Grant(asked, person, lies or Lies())
        return code

    def answer(self, path: str, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any] | str]:
        """Return the status and the answer to one question; a text is the address that is led to."""
        self.reads.append(path)
        if path == "/.well-known/openid-configuration":
            said = {"issuer": self.url, "jwks_uri": f"{self.url}/keys", "response_types_supported": ["code"]}
            said |= {f"{name}_endpoint": f"{self.url}/{name}" for name in ("authorization", "token", "userinfo")}
            return 200, said | {"code_challenge_methods_supported": ["S256"]} | self.configuration
        if path == "/keys":
            return 200, {"keys": [key.public for key in self.keys]}
        if path == "/userinfo":
            grant = self.grants.get(authorization.removeprefix("Bearer "))
            if grant is None:
                return 401, {"error": "invalid_token"}
            return 200, grant.lies.userinfo or {"sub": grant.person["sub"]}
        if path != "/token":
            return 404, {"error": "not_found"}
        return self._token(form, authorization)

    def _token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any] | str]:
        name, _, secret = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        if (unquote_plus(name), unquote_plus(secret)) != (CLIENT, SECRET):
            return 401, {"error": "invalid_client"}
        grant = self.grants.get(form.get("code", ""))
        if grant is None or (grant.used and grant.lies.codes_count_once):
            return 400, {"error": "invalid_grant"}
        grant.used = True
        proof = text(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if not 43 <= len(form.get("code_verifier", "")) <= 128 or proof != grant.asked.get("code_challenge"):
            return 400, {"error": "invalid_grant"}
        if form.get("redirect_uri") != grant.asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        if grant.lies.status != 200:
            return grant.lies.status, f"{self.url}/token"
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": grant.asked["nonce"]}
        claims |= {"at_hash": text(hashlib.sha256(form["code"].encode()).digest()[:16])} | grant.person
        made = grant.lies.sign(grant.lies.claims(claims), self.keys[0])
        answer = {"access_token": form["code"], "token_type": "Bearer", "id_token": made}
        return 200, grant.lies.token(answer | ({"more": "x" * grant.lies.size} if grant.lies.size else {}))


def hs256(claims: Claims, secret: bytes) -> str:
    """Return an id token that is signed with a secret, by hand: the library refuses to help with that."""
    head, body = (text(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{head}.{body}.{text(hmac.digest(secret, f'{head}.{body}'.encode(), 'sha256'))}"


def unsigned(claims: Claims, name: str = "none") -> str:
    """Return an id token that nobody signed."""
    head, body = (text(json.dumps(part).encode()) for part in ({"alg": name, "typ": "JWT"}, claims))
    return f"{head}.{body}."


class Crooked:
    """A server with several issuers, each at a path of its own."""

    def __init__(self) -> None:
        self.key, self.other = Key("first"), Key("first")
        self.issuers: dict[str, Issuer] = {}
        crooked = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer({})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                self._answer({name: values[0] for name, values in parse_qs(body, keep_blank_values=True).items()})

            def _answer(self, form: dict[str, str]) -> None:
                name, _, path = self.path.lstrip("/").partition("/")
                issuer = crooked.issuers[name]
                status, said = issuer.answer(f"/{path}", form, self.headers.get("authorization", ""))
                body = json.dumps(said).encode()
                self.send_response(status)
                if isinstance(said, str):
                    self.send_header("location", said)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def issuer(self, name: str, **configuration: Any) -> Issuer:
        """Return a new issuer of this server."""
        self.issuers[name] = Issuer(f"{self.url}/{name}", [self.key], configuration)
        return self.issuers[name]

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()
