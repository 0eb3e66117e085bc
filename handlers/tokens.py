"""Sessions of people, as plain functions over storage: opened, renewed by what renews them, ended; one-use codes.

A session is one record. Its access tokens are signed and name it; what renews it is replaced each time, and whoever
shows one that was replaced is taken for a thief: the session ends, for both.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from handlers.base import Services
from hub import auth, tokens
from hub.access import SYSTEM
from hub.schema.core.credentials import Session
from hub.schema.core.identity import Membership, User
from hub.schema.query import Query
from hub.schema.record import Image, type_of
from hub.schema.times import format_time, parse_time
from hub.schema.where import equals
from hub.schema.writes import Commit, Committed, Create, Delete, Update, Write
from hub.wire.errors import HubError

SESSION, USER, MEMBERSHIP = type_of(Session), type_of(User), type_of(Membership)
NOTED: Final = 20
"""In how many accounts of somebody it is noted that they signed in, at most."""
STANDING: Final = frozenset({"token", "refresh"})
"""The kinds of sessions that somebody is signed in with; the others are one-use codes."""
CLIENT: Final = 200
"""How many characters of what a client calls itself are kept."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What somebody gets who has signed in: who they are, a token for the hub, and one that renews it."""

    user: str
    access: str
    access_expires_at: str
    refresh: str
    refresh_expires_at: str


def seconds_of(services: Services) -> float:
    """Return the time of the hub in seconds since 1970."""
    return parse_time(services.clock()).timestamp()


def later(services: Services, seconds: float) -> str:
    """Return the time in so many seconds, in wire form."""
    return format_time(parse_time(services.clock()) + timedelta(seconds=seconds))


async def submit(services: Services, *writes: Write, actor: str | None = None) -> Committed:
    """Commit writes of the account of people and sessions."""
    return await services.storage.submit(Commit(SYSTEM, writes, actor))


async def person(services: Services, user: str, path: str) -> Image:
    """Return a user who may sign in; raise `auth.invalid`."""
    found = (await services.storage.get(SYSTEM, USER, [user])).get(user)
    if found is None or found["disabled"]:
        raise HubError("auth.invalid", "This person may not sign in here any more.", path=path)
    return found


def opening(services: Services, user: str, client: str) -> tuple[Create, SignedIn]:
    """Return the write that opens a session of a user, and what they get once it is committed."""
    rec, ways = services.new_id(), services.ways
    refresh = auth.make_refresh_token(services.secret, rec, services.random(32))
    expires = later(services, ways.session_seconds)
    data = {
        "user_id": user,
        "kind": "refresh",
        "digest": auth.digest(refresh),
        "expires_at": expires,
        "client": client[:CLIENT],
    }
    return Create(SESSION, rec, SESSION.accept_create(data, trusted=True)), signed_in(
        services, user, rec, refresh, expires
    )


def signed_in(services: Services, user: str, rec: str, refresh: str, expires: str) -> SignedIn:
    """Return what somebody gets of a session."""
    now = int(seconds_of(services))
    seconds = min(services.ways.access_seconds, max(1, int(parse_time(expires).timestamp()) - now))
    access = services.ways.ring.signed(user, rec, services.new_id(), now, seconds)
    ends = format_time(datetime.fromtimestamp(now + seconds, UTC))
    return SignedIn(user, access, ends, refresh, expires)


async def open_session(services: Services, user: str, client: str, *others: Write) -> SignedIn:
    """Open a session of a user, in one commit with other writes."""
    create, made = opening(services, user, client)
    await submit(services, *others, create, actor=user)
    return made


async def noted(services: Services, what: str, user: str, address: str | None, client: str = "") -> None:
    """Note in the accounts of a user what happened to them; the same is asked for somebody who is not there."""
    details = {"client": client[:CLIENT]} if client else None
    members = await services.storage.lookup(MEMBERSHIP, "user_id", user)
    places = [(member["account_id"], member["name"]) for member in members[:NOTED]]
    for account, name in places or [(None, "")]:
        services.audit.note(
            what, account, actor=user, name=name, address=address, subject=f"user:{user}", details=details
        )


async def renew(services: Services, token: str, path: str, address: str | None) -> SignedIn:
    """Exchange what renews a session; raise `auth.invalid` or `auth.expired`.

    Of several who show the same token one at most gets a new one. The others, and whoever shows an older one, end it.
    """
    refusal = HubError("auth.invalid", "This does not renew a session any more; sign in again.", path=path)
    form = auth.read(token)
    if (
        form is None
        or form.kind != auth.REFRESH_TOKEN
        or form.rec is None
        or not auth.is_made_here(services.secret, form)
    ):
        raise refusal
    session = (await services.storage.get(SYSTEM, SESSION, [form.rec])).get(form.rec)
    held = await services.storage.secret(SYSTEM, SESSION, form.rec, "digest")
    if session is None or session["kind"] != "refresh" or held is None:
        raise refusal
    if not hmac.compare_digest(held, auth.digest(token)):
        await _stolen(services, session, address)
        raise refusal
    if session["expires_at"] <= services.clock():
        raise HubError("auth.expired", "This session has ended; sign in again.", path=path)
    await person(services, session["user_id"], path)
    fresh = auth.make_refresh_token(services.secret, form.rec, services.random(32))
    change = {"digest": auth.digest(fresh), "used_at": services.clock()}
    change = SESSION.accept_change(change, trusted=True)
    try:
        await submit(services, Update(SESSION, form.rec, change, session["version"]), actor=session["user_id"])
    except HubError as error:
        if error.code == "record.conflict":
            await _stolen(services, session, address)  # somebody was quicker with the very same token
        if error.code in {"record.conflict", "record.not_found"}:
            raise refusal from None
        raise
    return signed_in(services, session["user_id"], form.rec, fresh, session["expires_at"])


async def _stolen(services: Services, session: Image, address: str | None) -> None:
    """End a session of which a token was shown that had been exchanged before."""
    await noted(services, "session.stolen", session["user_id"], address, session["client"])
    try:
        await submit(services, Delete(SESSION, session["id"]), actor=session["user_id"])
    except HubError as error:
        if error.code not in {"record.not_found", "record.conflict"}:
            raise


async def issue_code(services: Services, user: str, kind: str, actor: str | None = None) -> tuple[str, str]:
    """Return a one-use code for a user, of kind `link` or `reset`, and when it expires."""
    prefix, seconds = _CODES[kind]
    code, expires = auth.make_token(prefix, services.random(32)), later(services, seconds)
    data: dict[str, Any] = {"user_id": user, "kind": kind, "digest": auth.digest(code), "expires_at": expires}
    create = Create(SESSION, services.new_id(), SESSION.accept_create(data, trusted=True))
    await submit(services, create, actor=actor)
    return code, expires


_CODES: Final = {
    "link": (auth.SIGNIN_CODE, auth.SIGNIN_SECONDS),
    "reset": (auth.RESET_CODE, auth.RESET_SECONDS),
}


async def look_up_code(services: Services, code: str, kind: str, path: str) -> Image:
    """Return the record of a one-use code that was not used; raise `auth.invalid` or `auth.expired`."""
    if auth.kind_of(code) != _CODES[kind][0]:
        raise used_up(path)
    found = await services.storage.lookup(SESSION, "digest", auth.digest(code))
    if not found or found[0]["kind"] != kind:
        raise used_up(path)
    if found[0]["expires_at"] <= services.clock():
        raise HubError("auth.expired", "This link has expired; ask for another.", path=path)
    return found[0]


def used_up(path: str) -> HubError:
    """Return the refusal of a code that is none, or was used."""
    return HubError("auth.invalid", "This link is not valid, or was used already; ask for another.", path=path)


async def use_code(services: Services, link: Image, path: str, *writes: Write) -> None:
    """Use a code up, in one commit with what it is for: of several who try, one at most succeeds."""
    try:
        await submit(services, Delete(SESSION, link["id"], link["version"]), *writes, actor=link["user_id"])
    except HubError as error:
        if error.code in {"record.not_found", "record.conflict"}:
            raise used_up(path) from None
        raise


def claims_of(services: Services, token: str, path: str) -> dict[str, Any]:
    """Return the claims of an access token of this hub; raise `auth.invalid` or `auth.expired`."""
    return services.ways.ring.verified(token, seconds_of(services), path)


def is_own(token: str, path: str) -> bool:
    """Say whether a signed token claims to be one of this hub's; raise `auth.invalid` where its form is not right."""
    return tokens.claimed(token, path).issuer == tokens.ISSUER


async def sessions_of(services: Services, user: str) -> list[Image]:
    """Return every session of a user, unused one-use codes too."""
    return (await services.storage.find(SYSTEM, Query(SESSION, equals(SESSION, "user_id", user)))).records


async def end(services: Services, sessions: Sequence[Image], actor: str | None) -> int:
    """End sessions; return in how many of them somebody was signed in. Those that ended meanwhile count as well."""
    for image in sessions:
        try:
            await submit(services, Delete(SESSION, image["id"]), actor=actor)
        except HubError as error:
            if error.code != "record.not_found":
                raise
    return sum(image["kind"] in STANDING for image in sessions)
