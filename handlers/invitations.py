"""Actions that bring people in: invitations by link, and registering where that is allowed.

Whoever holds the link of an invitation may accept it, once: signed in, as who they are; else as somebody new. Nobody
becomes somebody who is here already by a link that others have seen.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from handlers import people, signing, tokens
from handlers.base import Services
from handlers.governed import guard
from handlers.mail import Letter
from handlers.operator import Mail, Name, call_of, services_of
from handlers.signing import Asked, ClientName, Code, Password, Secret
from hub import auth
from hub.access import SYSTEM
from hub.context import Context
from hub.schema.actions import action
from hub.schema.core.credentials import Invitation
from hub.schema.core.identity import Account, Membership, RoleName, User
from hub.schema.fields import Field
from hub.schema.record import Image, type_of
from hub.schema.texts import problem_of
from hub.schema.writes import Commit, Create, Delete, Update
from hub.wire.errors import HubError

INVITATION, MEMBERSHIP, USER, ACCOUNT = type_of(Invitation), type_of(Membership), type_of(User), type_of(Account)
_PATH: Final = "args.code"


class Invite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom, and with which role in the account that the caller is in."""

    email: Mail
    name: Name
    role: RoleName = "viewer"


class Invited(msgspec.Struct, frozen=True):
    """`link` is null where it was mailed; else whoever invites hands it over. It is shown once."""

    id: str
    expires_at: str
    mailed: bool
    link: Annotated[str, Field(secret=True)] | None


class Accept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`name` and `password` are for somebody new, who may also do without a password."""

    code: Code
    name: Name | None = None
    password: Password | None = None
    client: ClientName = ""


class Accepted(msgspec.Struct, frozen=True):
    """The account that one belongs to now; somebody new is signed in by it."""

    account: str
    user: str
    role: str
    access: Secret | None = None
    access_expires_at: str | None = None
    refresh: Secret | None = None
    refresh_expires_at: str | None = None


class Register(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who wants to be let in."""

    email: Mail
    name: Name


def _invitation(services: Services, email: str, name: str, role: str) -> tuple[Create, str, str]:
    """Return the write of an invitation, its code, and when it ends."""
    code, expires = (
        auth.make_token(auth.INVITATION_CODE, services.random(32)),
        tokens.later(services, auth.INVITATION_SECONDS),
    )
    data = {
        "name": name,
        "email": signing.mail_of(email),
        "role": role,
        "digest": auth.digest(code),
        "expires_at": expires,
    }
    return Create(INVITATION, services.new_id(), INVITATION.accept_create(data, trusted=True)), code, expires


def _letter(services: Services, email: str, title: str, code: str) -> Letter:
    text = f"You are invited to {title}. With this link you come in, once, within a week:"
    return signing.letter(services, email, "An invitation", text, f"invite={code}")


@action("invitation.create", needs="invitation.create")
async def invite(ctx: Context, args: Invite) -> Invited:
    """Invite somebody into this account: they are mailed a link that lets them in once, within a week."""
    services = services_of(ctx)
    problem = problem_of(args.name)
    if problem is not None:
        raise HubError("data.invalid", problem, path="args.name")
    create, code, expires = _invitation(services, args.email, args.name, args.role)
    try:
        await guard(call_of(ctx)).checked(create)
    except HubError as refusal:
        if refusal.path == "data.role":
            refusal.path = "args.role"
        raise
    account = (await services.storage.get(SYSTEM, ACCOUNT, [ctx.account]))[ctx.account]
    mailed = services.ways.mail.server is not None
    await services.storage.submit(Commit(ctx.account, (create,), ctx.identity.actor))
    title = account["title"] or account["name"]
    if not mailed:
        page = (services.url or "").rstrip("/")
        return Invited(create.id, expires, False, f"{page}/#invite={code}")

    async def write() -> Letter:
        return _letter(services, signing.mail_of(args.email), title, code)

    services.ways.mail.send("invitation", f"{signing.mail_of(args.email)} {create.id}", write)
    return Invited(create.id, expires, True, None)


@action("invitation.accept", needs="guest")
async def accept(ctx: Context, args: Accept) -> Accepted:
    """Accept an invitation, once: signed in, as oneself; else as somebody new, who is signed in by it."""
    services = services_of(ctx)
    invitation = await _open(services, args.code)
    account = invitation["account_id"]
    if ctx.identity.source == "user" and ctx.identity.user is not None:
        call_of(ctx).need_identity()
        user = await tokens.person(services, ctx.identity.user, "token")
        await _join(services, invitation, user)
        return Accepted(account, user["id"], invitation["role"])
    if await signing.user_of_mail(services, invitation["email"]) is not None:
        step = "Sign in first, then accept the invitation."
        text = f"Somebody with this mail address is here already. {step}"
        raise HubError("auth.required", text, path=_PATH, details={"next": step})
    name = args.name or invitation["name"]
    problem = problem_of(name)
    if problem is not None:
        raise HubError("data.invalid", problem, path="args.name")
    data = {"name": name, "email": invitation["email"]}
    if args.password is not None:
        signing.check_new(args.password, "args.password")
        data["password"] = await services.ways.hashing.kept(args.password)
    rec = services.new_id()
    try:
        made = await tokens.submit(services, Create(USER, rec, USER.accept_create(data, trusted=True)), actor=rec)
    except HubError as error:
        if error.code == "record.exists":
            raise tokens.used_up(_PATH) from None  # somebody accepted it at this moment
        raise
    try:
        await _join(services, invitation, made.results[0].image)
    except HubError:
        await tokens.submit(services, Delete(USER, rec, hard=True), actor=rec)
        raise
    told = await tokens.open_session(services, rec, args.client)
    return Accepted(
        account, rec, invitation["role"], told.access, told.access_expires_at, told.refresh, told.refresh_expires_at
    )


async def _open(services: Services, code: str) -> Image:
    """Return an invitation that can be accepted; raise `auth.invalid` or `auth.expired`."""
    if auth.kind_of(code) != auth.INVITATION_CODE:
        raise tokens.used_up(_PATH)
    found = await services.storage.lookup(INVITATION, "digest", auth.digest(code))
    if not found or found[0]["used_at"] is not None:
        raise tokens.used_up(_PATH)
    if found[0]["expires_at"] <= services.clock():
        raise HubError("auth.expired", "This invitation has expired; ask for another.", path=_PATH)
    return found[0]


async def _join(services: Services, invitation: Image, user: Image) -> None:
    """Use an invitation up and make a user a member, in one commit."""
    account = invitation["account_id"]
    used = INVITATION.accept_change({"used_at": services.clock()}, trusted=True)
    member = {"user_id": user["id"], "role": invitation["role"], "name": user["name"], "email": user["email"]}
    writes = (
        Update(INVITATION, invitation["id"], used, invitation["version"]),
        Create(MEMBERSHIP, services.new_id(), MEMBERSHIP.accept_create(member, trusted=True)),
    )
    try:
        await services.storage.submit(Commit(account, writes, user["id"]))
    except HubError as error:
        if error.code == "record.exists":
            text = "You belong to this account already; there is nothing to accept."
            raise HubError("record.exists", text, path=_PATH) from None
        if error.code in {"record.conflict", "record.not_found"}:
            raise tokens.used_up(_PATH) from None
        raise


@action("user.register", needs="guest")
async def register(ctx: Context, args: Register) -> Asked:
    """Ask to be let in, where anybody may: a link is mailed that brings one in, or signs in who is here already."""
    services, ways = services_of(ctx), services_of(ctx).ways
    problem = problem_of(args.name)
    if problem is not None:
        raise HubError("data.invalid", problem, path="args.name")
    if not ways.register:
        step = "Ask somebody of the account for an invitation."
        raise HubError("access.denied", f"Nobody registers here by themselves. {step}", details={"next": step})
    ways.mail.need("Ask somebody of the account for an invitation.")

    async def write() -> Letter | None:
        user = await signing.user_of_mail(services, args.email)
        if user is not None:
            return await signing.letter_to(services, user, "link")
        account = await people.find_account(services, ways.register)
        if account is None:
            raise HubError("record.not_found", f"There is no account {ways.register}, which `register` names.")
        create, code, _ = _invitation(services, args.email, args.name, ways.register_role)
        await services.storage.submit(Commit(account["id"], (create,), None))
        return _letter(services, signing.mail_of(args.email), account["title"] or account["name"], code)

    ways.mail.send("register", signing.mail_of(args.email), write)
    return Asked("A mail is on its way; its link brings you in.")


__all__ = ["accept", "invite", "register"]
