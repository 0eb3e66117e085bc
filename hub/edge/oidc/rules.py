"""The providers that people may sign in with, from the file that the setting `oidc_file` names."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

PROVIDERS: Final = 20
"""How many there may be."""
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
"""Signatures by a private key only: none whose key a client could hold."""


class RulesError(Exception):
    """The file cannot be used; the text is one sentence that says why."""


class Provision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is not known yet becomes a member of `account` (a name or public id) with `role`."""

    account: Annotated[str, Meta(min_length=1, max_length=64)]
    role: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_-]*$")]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One provider, and what is done with the people that it vouches for.

    `link` `mail`: who has a verified mail address of somebody who is known here is that person from now on.
    `provision`: who is not known becomes a new member; without it they are refused.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    issuer: Annotated[str, Meta(max_length=255)]
    client_id: Annotated[str, Meta(min_length=1, max_length=255)]
    client_secret: Annotated[str, Meta(max_length=1024)] = ""
    title: Annotated[str, Meta(max_length=60)] = ""
    scopes: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]{1,100}$")], ...], Meta(max_length=20)
    ] = (
        "openid",
        "email",
        "profile",
    )
    algorithm: Algorithm = "RS256"
    client_auth: Literal["basic", "post"] = "basic"
    link: Literal["mail", "none"] = "none"
    provision: Provision | None = None

    @property
    def label(self) -> str:
        """What the button on the page says."""
        return self.title or self.name.capitalize()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    provider: Annotated[tuple[Rule, ...], Meta(max_length=PROVIDERS)] = ()


def is_loopback(url: str) -> bool:
    """Say whether an http address leads to this machine alone, where nobody can listen in."""
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname in LOOPBACK


def _problem(rule: Rule) -> str | None:
    try:
        parts = urlsplit(rule.issuer)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "its issuer is no address"
    secure = parts.scheme == "https" or is_loopback(rule.issuer)
    if not secure or not host or "@" in parts.netloc or parts.query or parts.fragment:
        return "its issuer must be an https address without a query, exactly as the provider writes it"
    if "openid" not in rule.scopes:
        return "its scopes must contain openid"
    return None


def read(path: str) -> tuple[Rule, ...]:
    """Return the providers of a file, none for an empty path; raise `RulesError` with one sentence."""
    if not path:
        return ()
    try:
        text = Path(path).read_text("utf-8")
    except OSError as error:
        raise RulesError(f"The file {path} (setting oidc_file) cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise RulesError(f"The file {path} (setting oidc_file) is not text in UTF-8.") from None
    try:
        rules = msgspec.convert(tomllib.loads(text), _File).provider
    except tomllib.TOMLDecodeError as error:
        raise RulesError(f"The file {path} (setting oidc_file) is not TOML: {error}.") from None
    except msgspec.ValidationError as error:
        where = str(error).partition(" - at ")[2].strip("`").replace("$.", "") or "its names"
        raise RulesError(f"The file {path} (setting oidc_file) is wrong at {where}; see docs/oidc.md.") from None
    seen: set[str] = set()
    for rule in rules:
        problem = "two have this name" if rule.name in seen else _problem(rule)
        if problem is not None:
            raise RulesError(f"The provider {rule.name} in {path} cannot be used: {problem}; see docs/oidc.md.")
        seen.add(rule.name)
    return rules
