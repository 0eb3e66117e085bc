"""Actions for signing in: by password or link, renewing, setting and resetting passwords. Guests call most of them.

What is wrong is told in one way, and in the same time, whether or not there is somebody of that mail address.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from handlers import people, tokens
from handlers.base import Services
from handlers.mail import Letter
from handlers.operator import Mail, NameOrId, call_of, services_of
from hub.access import SYSTEM
from hub.context import Context
from hub.passwords import MOST_BYTES, problem_of
from hub.schema.actions import action
from hub.schema.core.identity import User
from hub.schema.fields import Field
from hub.schema.record import Image, type_of
from hub.schema.writes import Commit, Update
from hub.wire.errors import HubError

USER = type_of(User)
Password = Annotated[str, Meta(min_length=1, max_length=MOST_BYTES), Field(secret=True)]
Code = Annotated[str, Meta(min_length=1, max_length=100), Field(secret=True)]
ClientName = Annotated[str, Meta(max_length=200)]
Secret = Annotated[str, Field(secret=True)]
LOOKS: Final = 4
"""How often a sign-in looks again at somebody who is changed while it goes on."""


class SignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`client` is what the sign-in is made with, for the list of sessions."""

    email: Mail
    password: Password
    client: ClientName = ""


class Redeem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code of a sign-in link."""

    code: Code
    client: ClientName = ""


class Renew(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token that renews a session: it is used up by this."""

    token: Code


class Tokens(msgspec.Struct, frozen=True):
    """`access` goes into session.hello; `refresh` gets the next two, once, before `refresh_expires_at`."""

    user: str
    access: Secret
    access_expires_at: str
    refresh: Secret
    refresh_expires_at: str


class Whom(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The mail address of somebody, whether or not there is anybody."""

    email: Mail


class Asked(msgspec.Struct, frozen=True):
    """The same in any case: if there is somebody, they are sent mail."""

    message: str


class SetPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`old` is needed of whoever has a password."""

    new: Password
    old: Password | None = None


class Reset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code of a reset link, and the password from now on."""

    code: Code
    password: Password
    client: ClientName = ""


class SetMail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`user`: the name or public id of a person in the account that the caller is in."""

    user: NameOrId
    email: Mail


class MailSet(msgspec.Struct, frozen=True):
    """The mail address with which this person signs in from now on, in every account."""

    id: str
    name: str
    email: str


class PasswordSet(msgspec.Struct, frozen=True):
    """`ended`: how many other sessions of the person ended by it."""

    ended: int


def told(made: tokens.SignedIn) -> Tokens:
    """Return what somebody is told who has signed in."""
    return Tokens(made.user, made.access, made.access_expires_at, made.refresh, made.refresh_expires_at)


def mail_of(text: str) -> str:
    """Return a mail address as it is kept."""
    return text.casefold()


async def user_of_mail(services: Services, email: str) -> Image | None:
    """Return the user of a mail address, who may be disabled."""
    found = await services.storage.lookup(USER, "email", mail_of(email))
    return found[0] if found else None


def check_new(password: str, path: str) -> None:
    """Raise `data.invalid` for a new password that is too short or too long."""
    problem = problem_of(password)
    if problem is not None:
        raise HubError("data.invalid", problem, path=path)


@action("session.sign_in", needs="guest")
async def sign_in(ctx: Context, args: SignIn) -> Tokens:
    """Sign in with mail address and password."""
    services = services_of(ctx)
    attempt = await services.guard.sign_in(mail_of(args.email), call_of(ctx).peer.address)
    user = await user_of_mail(services, args.email)
    rec = user["id"] if user is not None else "nobody"
    kept = await services.storage.secret(SYSTEM, USER, rec, "password")
    right = await services.ways.hashing.is_right(kept, args.password)
    address = call_of(ctx).peer.address
    if user is None or kept is None or not right or user["disabled"]:
        await tokens.noted(services, "session.failed", rec, address, args.client)
        step = "Try again, ask for a sign-in link, or have the password reset."
        text = f"The mail address or the password is not right. {step}"
        raise HubError("auth.invalid", text, path="args.password", details={"next": step})
    await attempt.passed()
    signed_in = await _open(services, user, kept, args)
    await tokens.noted(services, "session.signed_in", rec, address, args.client)
    return signed_in


async def _open(services: Services, user: Image, kept: str, args: SignIn) -> Tokens:
    """Open a session by a password that was right for what is kept, if that is still so: a change ends what it let in.

    A hash that is out of date is kept anew.
    """
    change: Image = {}
    if services.ways.hashing.is_outdated(kept):
        anew = {"password": await services.ways.hashing.kept(args.password)}
        change = USER.accept_change(anew, trusted=True)
    for _ in range(LOOKS):
        unchanged = Update(USER, user["id"], change, user["version"])
        try:
            return told(await tokens.open_session(services, user["id"], args.client, unchanged))
        except HubError as error:
            if error.code != "record.conflict":
                raise
        change = {}  # it was changed meanwhile: kept anew next time
        user = await tokens.person(services, user["id"], "args.password")
        if await services.storage.secret(SYSTEM, USER, user["id"], "password") != kept:
            break
    step = "Sign in again."
    raise HubError("auth.invalid", f"Something about you was just changed. {step}", path="args.password",
                   details={"next": step})  # fmt: skip


@action("session.redeem", needs="guest")
async def redeem(ctx: Context, args: Redeem) -> Tokens:
    """Sign in with the code of a sign-in link, once."""
    services = services_of(ctx)
    link = await tokens.look_up_code(services, args.code, "link", "args.code")
    await tokens.person(services, link["user_id"], "args.code")
    create, made = tokens.opening(services, link["user_id"], args.client)
    await tokens.use_code(services, link, "args.code", create)
    client = ", ".join(filter(None, (link["client"], args.client)))
    await tokens.noted(services, "session.signed_in", link["user_id"], call_of(ctx).peer.address, client)
    return told(made)


@action("session.refresh", needs="guest")
async def refresh(ctx: Context, args: Renew) -> Tokens:
    """Renew a session: a new access token, and a new token for the next time. The one that is given is used up.

    Whoever shows it again ends the session, with all its sockets: one of the two stole it.
    """
    return told(await tokens.renew(services_of(ctx), args.token, "args.token", call_of(ctx).peer.address))


@action("session.send_link", needs="guest")
async def send_link(ctx: Context, args: Whom) -> Asked:
    """Have a one-use sign-in link mailed, valid for 15 minutes."""
    return ask(services_of(ctx), args.email, "link")


@action("user.send_reset", needs="guest")
async def send_reset(ctx: Context, args: Whom) -> Asked:
    """Have a link mailed with which a new password can be set once, valid for 30 minutes."""
    return ask(services_of(ctx), args.email, "reset")


_LETTERS = {
    "link": ("signin", "Sign in", "With this link you sign in, once, within 15 minutes:"),
    "reset": ("reset", "A new password", "With this link you set a new password, once, within 30 minutes:"),
}


def letter(services: Services, to: str, subject: str, text: str, fragment: str) -> Letter:
    """Return a mail with a link to the page; its code is in the fragment, which no server sees."""
    page = (services.url or "").rstrip("/")
    close = "If you did not ask for this, there is nothing to do."
    return Letter(to, subject, f"{text}\n\n{page}/#{fragment}\n\n{close}\n")


async def letter_to(services: Services, user: Image, kind: str) -> Letter | None:
    """Return a mail with a fresh one-use code for a user; None where they may not sign in any more."""
    if user["disabled"]:
        return None
    name, subject, text = _LETTERS[kind]
    code, _ = await tokens.issue_code(services, user["id"], kind)
    return letter(services, user["email"], subject, text, f"{name}={code}")


def ask(services: Services, email: str, kind: str) -> Asked:
    """Have a link of a kind mailed to whoever has this mail address; say the same, at once, if that is nobody."""
    services.ways.mail.need("The operator prints a sign-in link with `aether signin-link`.")

    async def write() -> Letter | None:
        user = await user_of_mail(services, email)
        return None if user is None else await letter_to(services, user, kind)

    services.ways.mail.send(kind, mail_of(email), write)
    return Asked("If there is somebody with this mail address, a mail is on its way.")


@action("user.reset", needs="guest")
async def reset(ctx: Context, args: Reset) -> Tokens:
    """Set a new password with the code of a reset link, once, and sign in; all other sessions of the person end."""
    services = services_of(ctx)
    check_new(args.password, "args.password")
    link = await tokens.look_up_code(services, args.code, "reset", "args.code")
    await tokens.person(services, link["user_id"], "args.code")
    change = USER.accept_change({"password": await services.ways.hashing.kept(args.password)}, trusted=True)
    create, made = tokens.opening(services, link["user_id"], args.client)
    update = Update(USER, link["user_id"], change)
    await tokens.use_code(services, link, "args.code", update, create)
    # Read now: from here on nobody comes in by the old password.
    others = [image for image in await tokens.sessions_of(services, link["user_id"]) if image["id"] != create.id]
    await tokens.end(services, others, link["user_id"])
    await tokens.noted(services, "password.reset", link["user_id"], call_of(ctx).peer.address, args.client)
    return told(made)


@action("user.set_password", needs="identity")
async def set_password(ctx: Context, args: SetPassword) -> PasswordSet:
    """Set or change one's own password; one's other sessions end."""
    services, identity = services_of(ctx), ctx.identity
    if identity.source != "user" or identity.user is None:
        step = "Sign in as the person whose password it is."
        raise HubError("access.denied", f"Only people have passwords. {step}", details={"next": step})
    check_new(args.new, "args.new")
    attempt = await services.guard.sign_in(identity.user, call_of(ctx).peer.address)
    user = await tokens.person(services, identity.user, "token")
    kept = await services.storage.secret(SYSTEM, USER, identity.user, "password")
    if kept is not None and (args.old is None or not await services.ways.hashing.is_right(kept, args.old)):
        await tokens.noted(services, "password.failed", identity.user, call_of(ctx).peer.address)
        step = "Give the password that you have now, or have it reset by mail."
        raise HubError("auth.invalid", f"The old one is not right. {step}", path="args.old", details={"next": step})
    await attempt.passed()
    change = USER.accept_change({"password": await services.ways.hashing.kept(args.new)}, trusted=True)
    await tokens.submit(services, Update(USER, identity.user, change, user["version"]), actor=identity.user)
    # Read now: from here on nobody comes in by the old password.
    others = [s for s in await tokens.sessions_of(services, identity.user) if s["id"] != identity.credential]
    await tokens.end(services, others, identity.user)
    await tokens.noted(services, "password.changed", identity.user, call_of(ctx).peer.address)
    return PasswordSet(sum(image["kind"] in tokens.STANDING for image in others))


@action("user.mail", needs="user.update", operator=True)
async def set_mail(ctx: Context, args: SetMail) -> MailSet:
    """Give a person a mail address to sign in with, in every account; links that went to the one before are void."""
    services, email = services_of(ctx), mail_of(args.email)
    member = await people.find_member(services, ctx.account, args.user, "args.user")
    user = member["user_id"]
    try:
        await tokens.submit(services, Update(USER, user, {"email": email}), actor=ctx.identity.actor)
    except HubError as error:
        if error.code != "record.exists":
            raise
        text = "Somebody else signs in with this mail address; give another, or change theirs first."
        raise HubError("record.exists", text, path="args.email") from None
    for place in await services.storage.lookup(tokens.MEMBERSHIP, "user_id", user):
        copy = Update(tokens.MEMBERSHIP, place["id"], {"email": email})
        try:
            await services.storage.submit(Commit(place["account_id"], (copy,), ctx.identity.actor))
        except HubError as error:
            if error.code != "record.not_found":  # removed from there meanwhile
                raise
    unused = [one for one in await tokens.sessions_of(services, user) if one["kind"] not in tokens.STANDING]
    await tokens.end(services, unused, ctx.identity.actor)
    return MailSet(user, member["name"], email)


__all__ = ["redeem", "refresh", "reset", "send_link", "send_reset", "set_mail", "set_password", "sign_in"]
