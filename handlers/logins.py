"""People whom a foreign issuer vouches for: who they are here, and the one-use code that signs them in.

Knows storage; knows no protocol: what an issuer says was verified before it comes here.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any, Final

import msgspec

from handlers import people, tokens
from handlers.base import Services
from hub import auth
from hub.access import SYSTEM
from hub.schema.core.credentials import Login, Session
from hub.schema.core.identity import Membership, User
from hub.schema.query import Query
from hub.schema.record import Image, Record, type_of
from hub.schema.times import format_time, parse_time
from hub.schema.where import both, equals
from hub.schema.writes import Commit, Committed, Create, KeyClaim, Update, Write
from hub.wire.errors import HubError
from hub.wire.names import public_id

CODE_SECONDS: Final = 60
"""How long the code that signs in may lie: the page exchanges it at once."""


class Foreign(msgspec.Struct, frozen=True):
    """Somebody as an issuer knows them; `email` is verified and in small letters, or None."""

    issuer: str
    subject: str
    email: str | None
    name: str


class Welcome(msgspec.Struct, frozen=True):
    """What is done with somebody who is not known yet: taken for who has their mail, or a new member of an account."""

    link_mail: bool = False
    account: str | None = None
    role: str | None = None


async def user_of(services: Services, who: Foreign, welcome: Welcome, address: str | None = None) -> str:
    """Return the public id of the user that somebody is here, whom this may link or create.

    Raises `access.denied` where they are nobody here and are not to become anybody.
    """
    for _ in range(3):
        known = await _known(services, who)
        if known is None:
            try:
                known = await _welcomed(services, who, welcome)
            except HubError as error:
                if error.code != "record.exists":
                    raise
                continue  # somebody signs in with the same login, or the same mail, at this moment
        user = await _user(services, known)
        if user is None or user["disabled"]:
            await tokens.noted(services, "session.failed", known, address, who.issuer)
            raise HubError("access.denied", "This person may not sign in here any more; ask an owner of the account.")
        return str(user["id"])
    raise HubError("record.conflict", "This person was changed by others meanwhile; begin again.", retry_after=1)


async def code_for(services: Services, user: str, once: str, client: str = "") -> str:
    """Return a one-use code that signs a user in within a minute; raise `auth.invalid` where `once` came before.

    `once` names what led here, such as the state of an attempt: of all instances one gives a code for it, and once.
    `client` is what the audit says of it when the code is used.
    """
    code = auth.make_token(auth.SIGNIN_CODE, services.random(32))
    expires = format_time(parse_time(services.clock()) + timedelta(seconds=CODE_SECONDS))
    data = {
        "user_id": user,
        "kind": "link",
        "digest": auth.digest(code),
        "expires_at": expires,
        "client": client[: tokens.CLIENT],
    }
    claim = KeyClaim("oidc", auth.proof_of(once), b"once")
    commit = Commit(SYSTEM, (_new(services, Session, data),), user, key=claim, answer=lambda done: True)
    if (await services.storage.submit(commit)).replayed:
        raise HubError("auth.invalid", "This answer was used already; begin again.", path="state")
    return code


async def _known(services: Services, who: Foreign) -> str | None:
    kind = type_of(Login)
    node = both(equals(kind, "issuer", who.issuer), equals(kind, "subject", who.subject))
    found = (await services.storage.find(SYSTEM, Query(kind, node, limit=1))).records
    return str(found[0]["user_id"]) if found else None


async def _user(services: Services, rec: str) -> Image | None:
    return (await services.storage.get(SYSTEM, type_of(User), [rec])).get(rec)


async def _welcomed(services: Services, who: Foreign, welcome: Welcome) -> str:
    """Link or create the user of somebody who is not known; return the id.

    Raises `record.exists` where somebody else was quicker, `access.denied` where the rule has no place for them.
    """
    if not (welcome.link_mail or welcome.account):
        raise HubError("access.denied", "Nobody here signs in this way; ask an owner of the account for an invitation.")
    if who.email is None:
        text = "The provider does not say that your mail address is verified; verify it there, then begin again."
        raise HubError("access.denied", text, details={"needs": "email_verified"})
    kind = type_of(User)
    same = (await services.storage.find(SYSTEM, Query(kind, equals(kind, "email", who.email), limit=1))).records
    if same and welcome.link_mail:
        return await _linked(services, who, same[0])
    if same and same[0]["id"] != _own_id(who):
        text = "Somebody with this mail address is here already; sign in the way you did before."
        raise HubError("access.denied", text)
    if welcome.account is None:
        raise HubError(
            "access.denied", "Nobody here has this mail address; ask an owner of the account for an invitation."
        )
    account = await people.find_account(services, welcome.account)
    if account is None:
        raise HubError("action.failed", "The account for new people is not there; tell the operator.")
    name = who.name or who.email
    if not same:
        kind = type_of(User)
        made = Create(kind, _own_id(who), kind.accept_create({"name": name, "email": who.email}, trusted=True))
        await _submit(services, SYSTEM, made)
    member = {"user_id": _own_id(who), "role": welcome.role, "name": name, "email": who.email}
    try:
        await _submit(services, account["id"], _new(services, Membership, member), actor=_own_id(who))
    except HubError as error:
        if error.code != "record.exists":
            raise
    await _submit(services, SYSTEM, _new(services, Login, _login(who, _own_id(who))), actor=_own_id(who))
    return _own_id(who)


async def _linked(services: Services, who: Foreign, user: Image) -> str:
    """Link somebody to the user of the mail address that was verified of them; return the id.

    Nobody had to prove it before: whoever made the user, by an invitation that was not mailed, may know a password.
    So that is emptied, and what was opened with it ends.
    """
    kind, rec = type_of(User), str(user["id"])
    anew = Update(kind, rec, kind.accept_change({"password": None}, trusted=True))
    await _submit(services, SYSTEM, _new(services, Login, _login(who, rec)), anew, actor=rec)
    await tokens.end(services, await tokens.sessions_of(services, rec), rec)
    return rec


def _own_id(who: Foreign) -> str:
    """Return the id of the user that is made for somebody: a sign-in that broke off is gone on with by the next."""
    return public_id(hashlib.sha256(f"{who.issuer}\0{who.subject}".encode()).digest()[:8])


def _login(who: Foreign, user: str) -> dict[str, Any]:
    return {"user_id": user, "issuer": who.issuer, "subject": who.subject, "email": who.email}


def _new(services: Services, declared: type[Record], data: dict[str, Any]) -> Create:
    kind = type_of(declared)
    return Create(kind, services.new_id(), kind.accept_create(data, trusted=True))


async def _submit(services: Services, account: str, *writes: Write, actor: str | None = None) -> Committed:
    return await services.storage.submit(Commit(account, writes, actor))
