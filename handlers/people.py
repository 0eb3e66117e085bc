"""People and keys, as plain functions over storage: who is this token, make an account, a link, a key.

Used by the session operations, by the operator's actions and by the first start. Knows storage; knows no
socket and no command line.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from handlers import tokens
from handlers.base import Services
from hub import auth
from hub.access import SYSTEM, Identity
from hub.schema.core.credentials import ApiKey, Session
from hub.schema.core.identity import Account, Device, Membership, ServiceAccount, User
from hub.schema.query import Query
from hub.schema.record import Image, Record, type_of
from hub.schema.times import format_time, parse_time
from hub.schema.where import equals
from hub.schema.writes import Commit, Committed, Create, Delete, Write
from hub.tokens import looks_signed
from hub.wire.errors import HubError

FOREIGN: Final = "foreign"
"""The credential of somebody who came with a token of another issuer: no record, it ends when the token does."""


async def _commit(services: Services, account: str, *writes: Write, actor: str | None = None) -> Committed:
    return await services.storage.submit(Commit(account, writes, actor))


def _new(services: Services, declared: type[Record], data: dict[str, Any]) -> Create:
    kind = type_of(declared)
    return Create(kind, services.new_id(), kind.accept_create(data, trusted=True))


def _later(services: Services, seconds: float) -> str:
    return format_time(parse_time(services.clock()) + timedelta(seconds=seconds))


async def _system_record(services: Services, declared: type[Record], rec: str) -> Image | None:
    kind = type_of(declared)
    return (await services.storage.get(SYSTEM, kind, [rec])).get(rec)


async def authenticate(services: Services, token: str) -> Identity:
    """Return who a token stands for; raise `auth.invalid` or `auth.expired`."""
    if looks_signed(token):
        return await _of_signed(services, token)
    form = auth.read(token)
    kind = None if form is None else form.kind
    if form is not None and kind == auth.API_KEY:
        found = await services.storage.lookup(type_of(ApiKey), "digest", auth.digest(token))
        if found and form.rec in {None, found[0]["id"]}:
            services.ways.uses.note(found[0], services.clock())
            return await _of_key(services, found[0], "token")
    elif kind == auth.SESSION_TOKEN:
        found = await services.storage.lookup(type_of(Session), "digest", auth.digest(token))
        if found and found[0]["kind"] == "token":
            return await _of_session(services, found[0], "token")
    raise HubError("auth.invalid", path="token")


async def again(services: Services, identity: Identity) -> Identity:
    """Return what the credential of an identity stands for now; raise `auth.invalid` or `auth.expired`."""
    rec = identity.credential or ""
    if identity.source == "key":
        account = identity.roles[0][0]
        key = (await services.storage.get(account, type_of(ApiKey), [rec])).get(rec)
        if key is not None:
            return await _of_key(services, key, "resume")
    elif identity.source == "user":
        session = None if rec == FOREIGN else await _system_record(services, Session, rec)
        if session is not None and session["kind"] == "token":
            return await _of_session(services, session, "resume")
        if rec == FOREIGN or (session is not None and session["kind"] == "refresh"):
            if identity.expires_at is None:  # of another instance, which does not tell until when it was
                raise HubError("auth.invalid", "Send a `token` together with `resume`.", path="token")
            _refuse_expired(services, identity.expires_at, "resume")
            if session is not None:
                return await _of_session(services, session, "resume", identity.expires_at)
            return await _of_user(services, identity.user or "", FOREIGN, identity.expires_at, "resume")
    else:
        return identity
    raise HubError("auth.invalid", "What this session was opened with is no longer valid.", path="resume")


async def _of_key(services: Services, key: Image, path: str) -> Identity:
    _refuse_expired(services, key["expires_at"], path)
    account = key["account_id"]
    acts_for: Image | None = None
    for declared, rec in ((ServiceAccount, key["service_id"]), (Device, key["device_id"])):
        if rec is not None:
            kind = type_of(declared)
            acts_for = (await services.storage.get(account, kind, [rec])).get(rec)
            if acts_for is None or acts_for["disabled"]:
                step = "Ask who manages it to enable it, or for another key."
                text = f"What this key acts for was disabled or removed. {step}"
                raise HubError("auth.invalid", text, path=path, details={"next": step})
    return Identity(
        "key",
        name=key["name"],
        roles=((account, key["role"]),),
        credential=key["id"],
        expires_at=key["expires_at"],
        scopes=tuple(key["scopes"]),
        acts_for=acts_for["id"] if acts_for is not None else None,
        bound=acts_for["role"] if acts_for is not None else None,
    )


async def _of_signed(services: Services, token: str) -> Identity:
    """Return who a signed access token stands for: a session, which must still be there, or whom an issuer names."""
    if not tokens.is_own(token, "token"):
        return await _of_issuer(services, token)
    claims = tokens.claims_of(services, token, "token")
    session = await _system_record(services, Session, claims["sid"])
    if session is None or session["kind"] != "refresh" or session["user_id"] != claims["sub"]:
        raise HubError("auth.invalid", "This session has ended; sign in again.", path="token")
    until = format_time(datetime.fromtimestamp(claims["exp"], UTC))
    return await _of_session(services, session, "token", until)


async def _of_issuer(services: Services, token: str) -> Identity:
    """Return whom another issuer vouches for, who may become a user by it."""
    from handlers import logins  # it makes people with what is in here

    rule, claims = await services.ways.issuers.verified(token, tokens.seconds_of(services), "token")
    email, name = claims.get("email"), claims.get("name")
    proven = claims.get("email_verified") is True and isinstance(email, str) and "@" in email and len(email) <= 254
    who = logins.Foreign(
        rule.issuer,
        claims["sub"],
        str(email).strip().casefold() if proven else None,
        name.strip()[:200] if isinstance(name, str) else "",
    )
    new = rule.provision
    welcome = logins.Welcome(
        rule.link == "mail", new.account if new is not None else None, new.role if new is not None else None
    )
    user = await logins.user_of(services, who, welcome)
    until = format_time(datetime.fromtimestamp(claims["exp"], UTC))
    return await _of_user(services, user, FOREIGN, until, "token")


async def _of_session(services: Services, session: Image, path: str, until: str | None = None) -> Identity:
    """Return whose session it is; `until` is when the token ends that it was opened with, where that is earlier."""
    _refuse_expired(services, session["expires_at"], path)
    until = min(session["expires_at"], until or session["expires_at"])
    return await _of_user(services, session["user_id"], session["id"], until, path)


async def _of_user(services: Services, rec: str, credential: str, until: str, path: str) -> Identity:
    user = await _system_record(services, User, rec)
    if user is None or user["disabled"]:
        raise HubError("auth.invalid", path=path)
    members = await services.storage.lookup(type_of(Membership), "user_id", user["id"])
    return Identity(
        "user",
        user=user["id"],
        name=user["name"],
        roles=tuple((m["account_id"], m["role"]) for m in members),
        credential=credential,
        expires_at=until,
    )


def _refuse_expired(services: Services, expires_at: str | None, path: str) -> None:
    if expires_at is not None and expires_at <= services.clock():
        raise HubError("auth.expired", path=path)


async def find_account(services: Services, wanted: str) -> Image | None:
    """Return an account by its public id or its name."""
    kind = type_of(Account)
    found = await _system_record(services, Account, wanted)
    if found is None:
        named = await services.storage.find(SYSTEM, Query(kind, equals(kind, "name", wanted), limit=1))
        found = named.records[0] if named.records else None
    return found


async def enter(services: Services, identity: Identity, wanted: str | None) -> tuple[Image | None, str | None]:
    """Return the account that an identity enters and its role there.

    Without a wish: the only account, for the operator `main`, else none. Raises `record.not_found` for an
    account that is not there or may not be entered, which look the same.
    """
    if wanted == SYSTEM and identity.role_in("*") is not None:
        return {"id": SYSTEM, "name": SYSTEM, "title": ""}, "owner"
    if wanted is None:
        own = [account for account, _ in identity.roles if account != "*"]
        if identity.source == "operator":
            wanted = "main"
        elif len(own) == 1:
            wanted = own[0]
        else:
            return None, None
    account = await find_account(services, wanted)
    role = identity.role_in(account["id"]) if account is not None else None
    if account is None or role is None:
        raise HubError("record.not_found", "There is no such account, or you may not enter it.", path="account")
    return account, role


async def create_account(services: Services, name: str, title: str = "") -> Image:
    """Create an account; raise `record.exists` or `data.invalid`."""
    committed = await _commit(services, SYSTEM, _new(services, Account, {"name": name, "title": title}))
    return committed.results[0].image


async def create_user(services: Services, account: str, name: str, role: str, email: str | None = None) -> Image:
    """Create a user and their membership of an account."""
    user, member = await create_person(services, name, role, email)
    await _commit(services, account, _new(services, Membership, member))
    return user


async def create_person(
    services: Services, name: str, role: str, email: str | None = None, password: str | None = None
) -> tuple[Image, dict[str, Any]]:
    """Create a user who is in no account yet; return it, and the data of a membership that changes that.

    `password` is what is kept of one.
    """
    email = None if email is None else email.casefold()
    data = {"name": name, "email": email, "password": password}
    user = (await _commit(services, SYSTEM, _new(services, User, data))).results[0].image
    return user, {"user_id": user["id"], "role": role, "name": name, "email": email}


async def owner_of(services: Services, account: str) -> str:
    """Return the user id of the first owner of an account; raise `record.not_found`."""
    kind = type_of(Membership)
    found = await services.storage.find(account, Query(kind, equals(kind, "role", "owner")))
    if not found.records:
        raise HubError("record.not_found", "This account has no owner yet.", path="account")
    oldest = min(found.records, key=lambda image: (image["created_at"], image["id"]))
    return str(oldest["user_id"])


async def find_member(services: Services, account: str, who: str, path: str) -> Image:
    """Return the membership of a person, who is given by the user's public id or by their name in this account.

    Raises `record.not_found`, and `data.invalid` where several people have the name.
    """
    kind = type_of(Membership)
    for field in ("user_id", "name"):
        found = (await services.storage.find(account, Query(kind, equals(kind, field, who)))).records
        if len(found) > 1:
            ids = sorted(str(image["user_id"]) for image in found)
            text = f"{len(found)} people here have this name; give the id of one: {', '.join(ids[:10])}."
            raise HubError("data.invalid", text, path=path, details={"users": ids[:100]})
        if found:
            return found[0]
    raise HubError("record.not_found", "There is nobody of this name or id in this account.", path=path)


async def is_taken(services: Services, account: str, name: str) -> bool:
    """Say whether a member of the account has this name."""
    kind = type_of(Membership)
    found = await services.storage.find(account, Query(kind, equals(kind, "name", name), limit=1))
    return bool(found.records)


async def end_sessions(services: Services, user: str, actor: str | None = None) -> int:
    """End every session of a user, unused sign-in links too; return how many tokens there were."""
    kind = type_of(Session)
    found = (await services.storage.find(SYSTEM, Query(kind, equals(kind, "user_id", user)))).records
    if found:
        await _commit(services, SYSTEM, *(Delete(kind, image["id"]) for image in found), actor=actor)
    return sum(image["kind"] in tokens.STANDING for image in found)


async def create_signin_code(services: Services, user: str) -> tuple[str, str]:
    """Return a one-use code that signs a user in, and when it expires."""
    code = auth.make_token(auth.SIGNIN_CODE, services.random(32))
    expires = _later(services, auth.SIGNIN_SECONDS)
    data = {"user_id": user, "kind": "link", "digest": auth.digest(code), "expires_at": expires}
    await _commit(services, SYSTEM, _new(services, Session, data))
    return code, expires


async def redeem_code(services: Services, code: str, address: str | None = None) -> tuple[str, str]:
    """Exchange a code for a session token; return the token and when it expires.

    One use: the code is deleted in the commit that creates the token, at the version that was read.
    """
    refusal = HubError("auth.invalid", "This sign-in link is not valid, or was used already.", path="code")
    if auth.kind_of(code) != auth.SIGNIN_CODE:
        raise refusal
    kind = type_of(Session)
    found = await services.storage.lookup(kind, "digest", auth.digest(code))
    if not found or found[0]["kind"] != "link":
        raise refusal
    link = found[0]
    if link["expires_at"] <= services.clock():
        raise HubError("auth.expired", "This sign-in link has expired; ask for another.", path="code")
    token = auth.make_token(auth.SESSION_TOKEN, services.random(32))
    expires = _later(services, auth.SESSION_SECONDS)
    data = {"user_id": link["user_id"], "kind": "token", "digest": auth.digest(token), "expires_at": expires}
    delete = Delete(kind, link["id"], if_version=link["version"])
    try:
        await _commit(services, SYSTEM, delete, _new(services, Session, data), actor=link["user_id"])
    except HubError as error:
        if error.code in {"record.not_found", "record.conflict"}:
            raise refusal from None
        raise
    await tokens.noted(services, "session.signed_in", link["user_id"], address, link["client"])
    return token, expires


async def sign_out(services: Services, identity: Identity) -> None:
    """End the session token that an identity came with."""
    if identity.source == "user" and identity.credential not in {None, FOREIGN}:
        await _commit(services, SYSTEM, Delete(type_of(Session), identity.credential), actor=identity.user)


def make_api_key(
    services: Services, role: str, name: str, expires_at: str | None = None
) -> tuple[str, dict[str, Any], str]:
    """Return the id of an API key's record, its data, and the key itself, of which it holds only the hash."""
    rec = services.new_id()
    key = auth.make_token(auth.API_KEY, services.random(32), rec)
    return rec, {"name": name, "role": role, "digest": auth.digest(key), "expires_at": expires_at}, key


async def create_api_key(
    services: Services, account: str, role: str, name: str, expires_at: str | None = None, actor: str | None = None
) -> tuple[Image, str]:
    """Create an API key; return its record and the key itself, which is shown this once."""
    rec, data, key = make_api_key(services, role, name, expires_at)
    kind = type_of(ApiKey)
    committed = await _commit(services, account, Create(kind, rec, kind.accept_create(data, trusted=True)), actor=actor)
    return committed.results[0].image, key
