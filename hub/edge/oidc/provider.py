"""One provider as it says that it is: its addresses and keys, read when they are needed and kept for a while.

Sources: OpenID Connect Discovery 1.0, RFC 8414, RFC 9207.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

import msgspec

from handlers.outward import NoAnswer, Outward
from hub import tokens
from hub.edge.oidc.claims import Person, Untrusted, believed, names_key, person_of
from hub.edge.oidc.rules import Rule, is_loopback
from hub.wire.errors import HubError

log = logging.getLogger("hub.edge")
KEPT_SECONDS: Final = 3600.0
"""How long its addresses and keys are kept."""
AGAIN_SECONDS: Final = 10.0
"""How soon it is asked again, for a key that is not known, or where it did not answer."""
_T = TypeVar("_T")


class Addresses(msgspec.Struct, frozen=True):
    """What the hub needs of the document at `/.well-known/openid-configuration`; the rest is not looked at."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    response_types_supported: list[str] = []
    code_challenge_methods_supported: list[str] | None = None
    id_token_signing_alg_values_supported: list[str] = []
    authorization_response_iss_parameter_supported: bool = False


class Provider:
    """One provider of the file, asked through `outward`; `now` is a clock that only goes on, in seconds."""

    def __init__(self, rule: Rule, outward: Outward, now: Callable[[], float]) -> None:
        self.rule = rule
        self._outward = outward
        self._now = now
        self._addresses: Addresses | None = None
        self._keys: dict[str, Any] = {}
        # When addresses and keys were read; when the provider last did not answer, or did not know a key.
        self._addresses_at = self._keys_at = self._failed_at = -KEPT_SECONDS
        self._reading = asyncio.Lock()

    async def away(self, redirect: str, state: str, nonce: str, challenge: str) -> str:
        """Return where a browser is sent to sign in; raise `server.unavailable`."""
        addresses = await self._asked(self.addresses())
        query = {
            "response_type": "code",
            "client_id": self.rule.client_id,
            "redirect_uri": redirect,
            "scope": " ".join(self.rule.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        address = addresses.authorization_endpoint
        return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(query)}"

    async def check_issuer(self, said: str | None) -> None:
        """Raise `auth.invalid` where an answer names another issuer, or none although this one always does."""
        addresses = await self._asked(self.addresses())
        if said == self.rule.issuer or (said is None and not addresses.authorization_response_iss_parameter_supported):
            return
        log.warning("an answer to a sign-in with %s names another issuer, or none", self.rule.name)
        raise HubError(
            "auth.invalid", "This answer comes from another provider than was asked; begin again.", path="iss"
        )

    async def person(self, code: str, redirect: str, verifier: str, nonce: str) -> Person:
        """Return whom a code stands for; raise `auth.invalid` or `server.unavailable`."""
        try:
            return await self._asked(self._person(code, redirect, verifier, nonce))
        except Untrusted as why:
            log.warning("a sign-in with %s is refused: %s", self.rule.name, why)
            text = f"The answer of {self.rule.label} is not valid here; begin again."
            raise HubError("auth.invalid", text, path="code") from None

    async def _person(self, code: str, redirect: str, verifier: str, nonce: str) -> Person:
        rule, addresses = self.rule, await self.addresses()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "code_verifier": verifier}
        auth = None
        if rule.client_auth == "basic" and rule.client_secret:
            auth = (quote_plus(rule.client_id), quote_plus(rule.client_secret))  # RFC 6749 section 2.3.1
        else:
            form["client_id"] = rule.client_id
            if rule.client_secret:
                form["client_secret"] = rule.client_secret
        try:
            answer = await self._outward.post(addresses.token_endpoint, form, auth)
        except NoAnswer as error:
            if error.status is not None and error.status < 500:
                raise Untrusted(str(error)) from None
            raise
        token, access = answer.get("id_token"), answer.get("access_token")
        if not isinstance(token, str) or not isinstance(access, str):
            raise Untrusted("the provider answers without an id token and an access token")
        keys = await self.keys()
        if not names_key(token, keys):
            keys = await self.keys(anew=True)
        claims = believed(token, keys, rule, nonce, access, time.time())
        if "email" not in claims and addresses.userinfo_endpoint is not None:
            more = await self._outward.get(addresses.userinfo_endpoint, bearer=access)
            if more.get("sub") != claims["sub"]:
                raise Untrusted("the provider tells of somebody else than its id token")
            claims = {**more, **claims}
        return person_of(claims, rule)

    async def addresses(self) -> Addresses:
        """Return what the provider says of itself; raise `NoAnswer`."""
        async with self._reading:
            kept = self._addresses
            if kept is not None and self._now() - self._addresses_at < KEPT_SECONDS:
                return kept
            if self._now() - self._failed_at < AGAIN_SECONDS:
                raise NoAnswer("it did not answer a moment ago")
            try:
                url = f"{self.rule.issuer.rstrip('/')}/.well-known/openid-configuration"
                self._addresses = self._usable(await self._outward.get(url))
            except NoAnswer:
                self._failed_at = self._now()
                raise
            self._addresses_at = self._now()
            return self._addresses

    async def keys(self, *, anew: bool = False) -> dict[str, Any]:
        """Return the published keys; `anew` asks for them again, unless that was done just now. Raises `NoAnswer`."""
        addresses = await self.addresses()
        async with self._reading:
            age = self._now() - self._keys_at
            if age >= KEPT_SECONDS or (anew and age >= AGAIN_SECONDS):
                document = await self._outward.get(addresses.jwks_uri)
                self._keys = tokens.foreign_keys(document, frozenset({self.rule.algorithm}))
                self._keys_at = self._now()
            return self._keys

    def _usable(self, said: dict[str, Any]) -> Addresses:
        try:
            addresses = msgspec.convert(said, Addresses)
        except msgspec.ValidationError as error:
            raise NoAnswer(f"its configuration cannot be used: {error}") from None
        rule = self.rule
        if addresses.issuer != rule.issuer:
            raise NoAnswer("its configuration is that of another issuer")
        for address in (addresses.authorization_endpoint, addresses.token_endpoint, addresses.jwks_uri,
                        addresses.userinfo_endpoint):  # fmt: skip
            if address is not None and not self._may_ask(address):
                raise NoAnswer("its configuration has an address that is not https")
        if addresses.response_types_supported and "code" not in addresses.response_types_supported:
            raise NoAnswer("it does not know the authorization code flow")
        methods = addresses.code_challenge_methods_supported
        if methods is not None and "S256" not in methods:
            raise NoAnswer("it does not know PKCE with S256")
        algorithms = addresses.id_token_signing_alg_values_supported
        if algorithms and rule.algorithm not in algorithms:
            raise NoAnswer(f"it does not sign with {rule.algorithm}; the setting `algorithm` says which to believe")
        return addresses

    def _may_ask(self, address: str) -> bool:
        """Say whether an address of the configuration may be asked: https, or this machine's where the issuer is."""
        try:
            parts = urlsplit(address)
            usable = bool(parts.hostname) and "@" not in parts.netloc and not parts.fragment
        except ValueError:
            return False
        return usable and (parts.scheme == "https" or (is_loopback(address) and is_loopback(self.rule.issuer)))

    async def _asked(self, question: Awaitable[_T]) -> _T:
        """Return what a question finds out; raise `server.unavailable` where the provider gives no usable answer."""
        try:
            return await question
        except NoAnswer as error:
            log.warning("the sign-in provider %s cannot be used: %s", self.rule.name, error)
            text = f"{self.rule.label} does not answer as it should; try again, or sign in another way."
            raise HubError("server.unavailable", text, retry_after=AGAIN_SECONDS) from None
