"""The HTTP side of signing in with a provider: sent away with `start`, back at `callback`.

    GET /auth/oidc/<provider>/start?mode=redirect|popup&origin=https://app.example
    GET /auth/oidc/<provider>/callback?code=…&state=…&iss=…

The browser is sent to the provider with a cookie that says what it began. What comes back is a page that hands a
one-use code over: to its opener by `postMessage`, or to the page of the hub in the fragment of its address.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from html import escape
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from handlers import logins
from handlers.base import Peer, Services
from handlers.domains import account_named
from handlers.outward import Outward
from hub.edge.addresses import address_of, host_of
from hub.edge.exchange import answer
from hub.edge.guard import is_operator
from hub.edge.incidents import told
from hub.edge.oidc import attempts, mangled
from hub.edge.oidc.attempts import COOKIE, PATH, SECONDS, Attempt
from hub.edge.oidc.provider import Provider
from hub.edge.oidc.rules import Rule
from hub.wire.errors import HubError

log = logging.getLogger("hub.edge")
QUERY_BYTES: Final = 8192
RETURNS: Final = 32
"""How many answers of providers are looked at at a time."""
POLICY: Final = "default-src 'none'; script-src 'self'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'"
_CALLBACK: Final = frozenset({"code", "state", "iss", "error"})
_START: Final = frozenset({"mode", "origin"})


class OidcSide:
    """The providers of one hub. `public_url` is where people reach it; empty: where it listens."""

    def __init__(self, services: Services, rules: Sequence[Rule], public_url: str, origins: frozenset[str]) -> None:
        self._services = services
        self._public_url = public_url
        self._origins = origins
        self._outward = Outward()
        self._providers = {rule.name: Provider(rule, self._outward, time.monotonic) for rule in rules}
        self._returning = 0

    def routes(self) -> list[Route]:
        """Return the routes, of which the first says which providers there are."""
        return [
            Route("/auth/providers", self.providers),
            Route(f"{PATH}/{{provider}}/start", self.start),
            Route(f"{PATH}/{{provider}}/callback", self.callback),
        ]

    async def close(self) -> None:
        """Give back what was opened to ask providers."""
        await self._outward.close()

    # -- the three addresses ---------------------------------------------------------------------------

    async def providers(self, request: Request) -> Response:
        """Say which providers there are, where signing in with each begins, and to which account the host leads."""
        self._services.rates.charge(Peer(is_operator(request.scope), address=address_of(request.scope)), "cheap")
        shown = [
            {"name": name, "title": p.rule.label, "start": f"{self._here()}{PATH}/{name}/start"}
            for name, p in self._providers.items()
        ]
        return answer({"providers": shown, "account": await account_named(self._services, host_of(request.scope))})

    async def start(self, request: Request) -> Response:
        """Send the browser to the provider."""
        attempt: Attempt | None = None
        try:
            provider = self._provider(request.path_params["provider"])
            given = _query(request.url.query, _START)
            here = self._here()
            mode, origin = given.get("mode", "redirect"), given.get("origin", here)
            if mode not in {"redirect", "popup"}:
                raise HubError("data.invalid", "The mode is redirect or popup.", path="mode")
            if origin != here and (mode != "popup" or origin not in self._origins):
                text = "This origin may not sign people in; the setting `origins` lists those that may."
                raise HubError("data.invalid", text, path="origin")
            random = self._services.random(32)
            attempt = attempts.begin(provider.rule.name, mode, origin, random, time.time())
            secret = self._services.secret
            challenge = attempts.challenge(attempts.verifier(secret, attempt))
            nonce = attempts.nonce(secret, attempt)
            away = await provider.away(self._redirect(provider), attempt.state, nonce, challenge)
        except Exception as error:
            return self._page(told(error, self._services.new_id, "/auth/oidc"), attempt)
        response = RedirectResponse(away, 303, {"cache-control": "no-store"})
        self._set_cookie(response, attempts.seal(secret, attempt), SECONDS)
        return response

    async def callback(self, request: Request) -> Response:
        """Take the answer of a provider."""
        name = request.path_params["provider"]
        attempt: Attempt | None = None
        try:
            provider = self._provider(name)
            given = _query(request.url.query, _CALLBACK)
            attempt = attempts.opened(
                self._services.secret, request.cookies.get(COOKIE), given.get("state", ""), name, time.time()
            )
            if self._returning >= RETURNS:
                raise HubError("rate.limited", "Many sign in at this moment; begin again.", retry_after=2)
            self._returning += 1
            try:
                code = await self._code(provider, attempt, given, address_of(request.scope))
            finally:
                self._returning -= 1
        except Exception as error:
            refusal = told(error, self._services.new_id, "/auth/oidc")
            self._services.audit.refused(Peer(address=address_of(request.scope)), "/auth/oidc", refusal)
            response: Response = self._page(refusal, attempt)
        else:
            response = self._page(None, attempt, code)
        self._set_cookie(response, "", 0)
        return response

    def mangled(self, request: Request) -> Response | None:
        """Lead an answer whose address a proxy encoded again to where it belongs; None for what is no such address.

        The browser goes there itself: to the address that came it did not send what it was given for that one.
        """
        known = {f"{PATH}/{name}/callback" for name in self._providers}
        try:
            found = mangled.meant(request.scope["path"], request.url.query, known)
        except HubError as refusal:
            return self._page(refusal, None, status=400)
        if found is None:
            return None
        path, query = found
        return RedirectResponse(f"{path}?{query}", 303, {"cache-control": "no-store"})

    # -- the way back ----------------------------------------------------------------------------------

    async def _code(self, provider: Provider, attempt: Attempt, given: dict[str, str], address: str | None) -> str:
        """Return the one-use code of whom the provider vouches for; raise `HubError`."""
        await provider.check_issuer(given.get("iss"))
        if "error" in given:
            log.info("the provider %s refuses a sign-in", provider.rule.name)
            text = f"{provider.rule.label} did not sign you in; begin again, or sign in another way."
            raise HubError("access.denied", text, path="error")
        if not given.get("code"):
            raise HubError("data.invalid", "The answer has no code; begin again.", path="code")
        secret, rule = self._services.secret, provider.rule
        person = await provider.person(
            given["code"], self._redirect(provider), attempts.verifier(secret, attempt), attempts.nonce(secret, attempt)
        )
        welcome = logins.Welcome(rule.link == "mail")
        if rule.provision is not None:
            welcome = logins.Welcome(rule.link == "mail", rule.provision.account, rule.provision.role)
        who = logins.Foreign(person.issuer, person.subject, person.email, person.name)
        # What is written is written whole, also where the browser does not wait for it.
        user = await asyncio.shield(logins.user_of(self._services, who, welcome, address))
        return await asyncio.shield(logins.code_for(self._services, user, attempt.state, rule.name))

    # -- parts -----------------------------------------------------------------------------------------

    def _here(self) -> str:
        here = self._public_url or self._services.url
        if here is None:
            raise HubError("server.unavailable", "This hub has no address for people; set `public_url`.")
        return here

    def _provider(self, name: str) -> Provider:
        if name not in self._providers:
            raise HubError("op.unknown", "There is no sign-in provider of this name; sign in on the page.")
        return self._providers[name]

    def _redirect(self, provider: Provider) -> str:
        """Return where the provider sends people back to: as it is configured, whatever host a browser names."""
        return f"{self._here()}{PATH}/{provider.rule.name}/callback"

    def _set_cookie(self, response: Response, value: str, seconds: int) -> None:
        secure = (self._public_url or "").startswith("https:")
        response.set_cookie(COOKIE, value, max_age=seconds, path=PATH, secure=secure, httponly=True, samesite="lax")

    def _page(
        self, refusal: HubError | None, attempt: Attempt | None, code: str = "", *, status: int = 200
    ) -> HTMLResponse:
        """Return the page that hands over what came out; it holds the code in itself and not in any address."""
        data: dict[str, Any] = {"mode": attempt.mode, "origin": attempt.origin} if attempt is not None else {}
        words = "One moment: you are being signed in."
        if refusal is not None:
            data |= {"error": refusal.code, "message": refusal.message}
            words = refusal.message
            status = status if status != 200 else refusal.kind.http
        else:
            data["code"] = code
        attributes = "".join(f' data-{name}="{escape(value)}"' for name, value in data.items())
        head = "You were not signed in" if refusal is not None else "Signing in"
        note = f'<p class="toast-code">{escape(refusal.code)}</p>' if refusal is not None else ""
        text = (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Aether Hub</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<link rel="stylesheet" href="/console/console.css">'
            '<script type="module" src="/console/handover.js"></script></head>'
            f'<body data-view="handover"{attributes}><main class="card-page"><div class="card-large">'
            f'<h1>{head}</h1><p role="status" id="words">{escape(words)}</p>{note}'
            '<p><a href="/" id="back">Go to the sign-in page</a></p>'
            "<noscript><p>This needs JavaScript.</p></noscript></div></main></body></html>\n"
        )
        headers = {"cache-control": "no-store", "content-security-policy": POLICY}
        return HTMLResponse(text, status, headers)


def _query(text: str, names: frozenset[str]) -> dict[str, str]:
    """Return those parameters of a query, each given once; others, which a provider may add, are not looked at."""
    if len(text) > QUERY_BYTES:
        raise HubError("data.invalid", "The address is too long; begin again.", path="query")
    given: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name in names:
            if name in given:
                raise HubError("data.invalid", f"The address has {name} twice; begin again.", path=name)
            given[name] = value
    return given
