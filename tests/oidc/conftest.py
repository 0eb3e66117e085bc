"""A hub whose people may sign in with the issuers of a crooked provider."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from tests.clients.real_hub_harness import free_port
from tests.oidc.crooked import CLIENT, SECRET, Crooked, Issuer, Lies
from tests.wire.hubprocess import HubProcess

ORIGIN = "https://app.example"
_LEAVES = httpx.Limits(max_keepalive_connections=0)  # nothing stays open that would have to be closed


@dataclass
class Back:
    """What a browser got of the hub when it came back."""

    status: int
    page: str
    headers: httpx.Headers

    def data(self, name: str) -> str | None:
        """Return what the page hands over."""
        found = re.search(rf' data-{name}="([^"]*)"', self.page)
        return html.unescape(found[1]) if found else None


@dataclass
class Browser:
    """A browser as far as redirects and cookies go."""

    hub: str
    http: httpx.Client = field(default_factory=lambda: httpx.Client(trust_env=False, verify=False, limits=_LEAVES))

    def start(self, provider: str, **query: str) -> str:
        """Begin a sign-in; return where the browser is sent to."""
        response = self.http.get(f"{self.hub}/auth/oidc/{provider}/start", params=query)
        assert response.status_code == 303, response.text
        return response.headers["location"]

    def back(self, provider: str, query: dict[str, str] | str, path: str | None = None) -> Back:
        """Come back from the provider."""
        text = query if isinstance(query, str) else urlencode(query)
        address = f"{self.hub}{path or f'/auth/oidc/{provider}/callback'}{'?' if text else ''}{text}"
        response = self.http.get(address, follow_redirects=True)
        return Back(response.status_code, response.text, response.headers)


def asked(away: str) -> dict[str, str]:
    """Return what a provider is asked for."""
    return {name: values[0] for name, values in parse_qs(urlsplit(away).query).items()}


@dataclass
class Doors:
    """The hub, the crooked provider and its issuers."""

    process: HubProcess
    crooked: Crooked
    secret: bytes

    def browser(self) -> Browser:
        """Return a browser that has not been here."""
        return Browser(self.process.url)

    def issuer(self, name: str) -> Issuer:
        """Return one of the issuers."""
        return self.crooked.issuers[name]

    def sign_in(self, provider: str, person: dict[str, Any], lies: Lies | None = None) -> Back:
        """Go the whole way with a provider that answers as it is told."""
        browser = self.browser()
        away = browser.start(provider)
        code = self.issuer(provider).code(away, person, lies)
        return browser.back(provider, {"code": code, "state": asked(away)["state"], "iss": self.issuer(provider).url})

    def redeem(self, back: Back) -> str:
        """Return the session token that a code is exchanged for."""
        code = back.data("code")
        assert code is not None, back.page
        answer = httpx.post(f"{self.process.url}/auth/signin", json={"code": code}, trust_env=False)
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["token"]
        self.process.secrets |= {code, token}
        return token

    def is_somebody(self, token: str) -> bool:
        """Say whether a session token still stands for somebody."""
        ask = {"op": "action.call", "id": 1, "action": "session.list", "args": {}}
        head = {"authorization": f"Bearer {token}"}
        answer = httpx.post(f"{self.process.url}/rpc", json=ask, headers=head, trust_env=False).json()
        assert answer["op"] == "ok" or answer["code"] == "auth.invalid", answer
        return bool(answer["op"] == "ok")


RULES = {
    "known": 'link = "none"',
    "mail": 'link = "mail"',
    "new": 'provision = { account = "main", role = "viewer" }',
    "both": 'link = "mail"\nprovision = { account = "main", role = "viewer" }',
    "strict": 'provision = { account = "main", role = "viewer" }',
    "rotating": 'provision = { account = "main", role = "viewer" }',
    "unknown-key": 'provision = { account = "main", role = "viewer" }',
    **dict.fromkeys(("other-issuer", "only-plain", "no-code", "far-http", "other-algorithm"), 'link = "mail"'),
}
SAID: dict[str, dict[str, Any]] = {
    "strict": {"authorization_response_iss_parameter_supported": True},
    "other-issuer": {"issuer": "https://accounts.example"},
    "only-plain": {"code_challenge_methods_supported": ["plain"]},
    "no-code": {"response_types_supported": ["id_token"]},
    "far-http": {"token_endpoint": "http://accounts.example/token"},
    "other-algorithm": {"id_token_signing_alg_values_supported": ["HS256", "none"]},
}


def provider_file(folder: Path, *rules: str) -> Path:
    """Write a file of providers."""
    file = folder / "oidc.toml"
    file.write_text("".join(f"[[provider]]\n{rule}\n" for rule in rules), "utf-8")
    return file


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """A hub and a crooked provider for a module."""
    folder, crooked, port = tmp_path_factory.mktemp("oidc"), Crooked(), free_port()
    rules = [
        f'name = "{name}"\nissuer = "{crooked.issuer(name, **SAID.get(name, {})).url}"\n'
        f'client_id = "{CLIENT}"\nclient_secret = "{SECRET}"\n{more}'
        for name, more in RULES.items()
    ]
    process = HubProcess(
        folder / "data",
        port=port,
        origins=ORIGIN,
        audit_days="1",
        oidc_file=str(provider_file(folder, *rules)),
        public_url=f"http://127.0.0.1:{port}",
    )
    process.secrets.add(SECRET)
    try:
        yield Doors(process, crooked, (folder / "data" / "secret").read_bytes())
        process.stop()
    finally:
        crooked.close()
