"""Other issuers whose access tokens are believed: which they are, and the keys that they publish, kept for a while.

Knows HTTP and tokens; what becomes of whom an issuer vouches for is decided elsewhere (`handlers.logins`).
"""

from __future__ import annotations

import asyncio
import logging
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from handlers.outward import NoAnswer, Outward
from hub import tokens
from hub.wire.errors import HubError

log = logging.getLogger("hub.issuers")

FRESH_SECONDS: Final = 600.0
"""How long published keys are used without a look whether they are still published."""
STALE_SECONDS: Final = 3600.0
"""How long they are used where the issuer does not answer."""
APART_SECONDS: Final = 30.0
"""How far apart two looks are at least, however many tokens name a key that is not known."""
ISSUERS: Final = 20
"""How many there may be."""
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class IssuersError(Exception):
    """The file cannot be used; the text is one sentence that says why."""


class Provision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is not known yet becomes a member of `account` (a name or public id) with `role`."""

    account: Annotated[str, Meta(min_length=1, max_length=64)]
    role: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_-]*$")]


class Issuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One issuer. `jwks`: where its keys are; left out, its configuration says so, which must be on the same host.

    `internal`: it may be at an address of this machine, or of a network of one's own; over plain http only on this
    machine. `link` and `provision` as for sign-in providers.
    """

    issuer: Annotated[str, Meta(min_length=1, max_length=255)]
    audience: Annotated[str, Meta(min_length=1, max_length=255)]
    jwks: Annotated[str, Meta(max_length=1024)] = ""
    algorithms: Annotated[tuple[Algorithm, ...], Meta(min_length=1, max_length=9)] = ("RS256",)
    internal: bool = False
    link: Literal["mail", "none"] = "none"
    provision: Provision | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    issuer: Annotated[tuple[Issuer, ...], Meta(max_length=ISSUERS)] = ()


def read(path: str) -> tuple[Issuer, ...]:
    """Return the issuers of a file, none for an empty path; raise `IssuersError` with one sentence."""
    if not path:
        return ()
    try:
        found = msgspec.convert(tomllib.loads(Path(path).read_text("utf-8")), _File).issuer
    except OSError as error:
        raise IssuersError(f"The file {path} (setting issuers_file) cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise IssuersError(f"The file {path} (setting issuers_file) is not TOML: {error}.") from None
    except msgspec.ValidationError as error:
        where = str(error).partition(" - at ")[2].strip("`").replace("$.", "") or "its names"
        raise IssuersError(
            f"The file {path} (setting issuers_file) is wrong at {where}; see docs/signing-in.md."
        ) from None
    seen = {tokens.ISSUER}
    for rule in found:
        if rule.issuer in seen:
            raise IssuersError(f"The issuer {rule.issuer} in {path} is there twice, or has the hub's own name.")
        seen.add(rule.issuer)
        if not may_ask(rule, rule.jwks or rule.issuer):
            raise IssuersError(
                f"The issuer {rule.issuer} in {path} needs an https address for its keys, without a query; http only "
                "with `internal` on this machine."
            )
    return found


def may_ask(rule: Issuer, url: str) -> bool:
    """Say whether an address may be asked for the keys of an issuer: https, and on the host that the file names."""
    try:
        parts, named = urlsplit(url), urlsplit(rule.jwks or rule.issuer)
        usable = bool(parts.hostname) and "@" not in parts.netloc and not parts.query and not parts.fragment
        if not usable or (parts.hostname, parts.port) != (named.hostname, named.port):
            return False
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and rule.internal and parts.hostname in _LOOPBACK)


class _Source:
    """The published keys of one issuer."""

    def __init__(self, rule: Issuer, outward: Outward, now: Callable[[], float]) -> None:
        self.rule = rule
        self._outward = outward
        self._now = now
        self._keys: dict[str, Any] = {}
        self._read_at = self._asked_at = float("-inf")
        self._reading = asyncio.Lock()

    async def keys(self, kid: str | None) -> dict[str, Any]:
        """Return the keys, read again where they are old, or do not have this one; raise `server.unavailable`."""
        if self._is_known(kid) and self._now() - self._read_at < FRESH_SECONDS:
            return self._keys
        async with self._reading:
            old = self._now() - self._read_at >= FRESH_SECONDS
            if (old or not self._is_known(kid)) and self._now() - self._asked_at >= APART_SECONDS:
                self._asked_at = self._now()
                try:
                    # A hello is run without a task, in which there are no time-outs.
                    self._keys = await asyncio.get_running_loop().create_task(self._read())
                    self._read_at = self._now()
                except NoAnswer as error:
                    log.warning("the keys of the issuer %s cannot be read: %s", self.rule.issuer, error)
            if self._now() - self._read_at >= STALE_SECONDS:
                text = "Who issued this token does not answer; try again, or sign in in another way."
                raise HubError("server.unavailable", text, retry_after=APART_SECONDS)
            return self._keys

    def _is_known(self, kid: str | None) -> bool:
        return kid in self._keys if kid is not None else len(self._keys) == 1

    async def _read(self) -> dict[str, Any]:
        rule, get = self.rule, self._outward.get if self.rule.internal else self._outward.get_public
        url = rule.jwks
        if not url:
            said = await get(f"{rule.issuer.rstrip('/')}/.well-known/openid-configuration")
            url = str(said.get("jwks_uri"))
            if said.get("issuer") != rule.issuer or not may_ask(rule, url):
                raise NoAnswer("its configuration is another's, or leads to another host: name `jwks` in the file")
        return tokens.foreign_keys(await get(url), frozenset(rule.algorithms))


class Issuers:
    """The issuers of one hub."""

    def __init__(self, rules: tuple[Issuer, ...] = (), now: Callable[[], float] = time.monotonic) -> None:
        self._outward = Outward()
        self._sources = {rule.issuer: _Source(rule, self._outward, now) for rule in rules}

    async def verified(self, token: str, now: float, path: str) -> tuple[Issuer, dict[str, Any]]:
        """Return who issued a token and its claims; raise `auth.invalid`, `auth.expired`, `server.unavailable`."""
        said = tokens.claimed(token, path)
        source = self._sources.get(said.issuer)
        if source is None:
            raise tokens.refused("iss", path)
        rule = source.rule
        trust = tokens.Trust(rule.issuer, rule.audience, frozenset(rule.algorithms), await source.keys(said.kid))
        return rule, tokens.verified(token, trust, now, path)

    async def close(self) -> None:
        """Give connections back."""
        await self._outward.close()
