"""Actions for one's sessions and accounts, listed and ended; and the keys that sign tokens, replaced."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from handlers import people, tokens
from handlers.operator import NameOrId, services_of
from handlers.standing import Roles
from hub.access import SYSTEM, refuse_beyond
from hub.context import Context
from hub.schema.actions import action
from hub.schema.core.identity import Account
from hub.schema.record import type_of
from hub.wire.errors import HubError

ACCOUNT = type_of(Account)
MANAGES = "membership.update"
"""The permission that whoever ends the sessions of others in the account has."""


class Whose(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`user`: the name or public id of a person of the account; left out, oneself."""

    user: NameOrId | None = None


class Seat(msgspec.Struct, frozen=True):
    """One session. `client`: what it calls itself; `current`: the one that asks; `used_at`: when it was renewed."""

    id: str
    client: str
    created_at: str
    used_at: str | None
    expires_at: str
    current: bool


class Seats(msgspec.Struct, frozen=True):
    """The newest first."""

    sessions: list[Seat]


class EndOne(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The id of a session, as `session.list` says it; with `user`, of that person."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    user: NameOrId | None = None


class EndAll(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`others`: all but the one that asks. `user` as in `session.list`."""

    user: NameOrId | None = None
    others: bool = False


class Ended(msgspec.Struct, frozen=True):
    """In how many places somebody was signed in."""

    ended: int


class AskAccounts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to say: it is about oneself."""


class MyAccount(msgspec.Struct, frozen=True):
    """An account that one belongs to, for session.hello, and one's role there."""

    id: str
    name: str
    title: str
    role: str


class MyAccounts(msgspec.Struct, frozen=True):
    """By name. `email` is the mail address with which one signs in; null: none, so that no password works."""

    accounts: list[MyAccount]
    email: str | None = None


class Rotate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to say."""


class Rotated(msgspec.Struct, frozen=True):
    """The names of the keys in force: the first signs."""

    keys: list[str]


async def _whose(ctx: Context, who: str | None) -> str:
    """Return the public id of the person whose sessions are meant; raise where that is nobody, or not to be told."""
    if who is None:
        if ctx.identity.user is None:
            step = "Name a `user`."
            raise HubError(
                "data.invalid", f"Only people have sessions. {step}", path="args.user", details={"next": step}
            )
        return ctx.identity.user
    if who != ctx.identity.user:
        ctx.rights.require(MANAGES)
    elif ctx.identity.user is not None:
        return ctx.identity.user
    services = services_of(ctx)
    member = await people.find_member(services, ctx.account, who, "args.user")
    theirs = await Roles(services).rights(ctx.account, member["role"])
    refuse_beyond(ctx.rights, theirs or services.rights.none(member["role"]), "args.user")
    return str(member["user_id"])


@action("session.list", needs="identity")
async def list_sessions(ctx: Context, args: Whose) -> Seats:
    """List where one is signed in; of others in the account for whoever manages members."""
    found = await tokens.sessions_of(services_of(ctx), await _whose(ctx, args.user))
    seats = [
        Seat(
            image["id"],
            image["client"],
            image["created_at"],
            image["used_at"],
            image["expires_at"],
            image["id"] == ctx.identity.credential,
        )
        for image in sorted(found, key=lambda image: (image["created_at"], image["id"]), reverse=True)
        if image["kind"] in tokens.STANDING
    ]
    return Seats(seats)


@action("session.end", needs="identity")
async def end_session(ctx: Context, args: EndOne) -> Ended:
    """End one session at once, with its sockets."""
    services, user = services_of(ctx), await _whose(ctx, args.user)
    found = (await services.storage.get(SYSTEM, tokens.SESSION, [args.id])).get(args.id)
    if found is None or found["user_id"] != user or found["kind"] not in tokens.STANDING:
        raise HubError("record.not_found", "There is no such session; session.list shows them.", path="args.id")
    return Ended(await tokens.end(services, [found], ctx.identity.actor))


@action("session.end_all", needs="identity")
async def end_all_sessions(ctx: Context, args: EndAll) -> Ended:
    """End all sessions, and unused links, at once, with their sockets: sign out everywhere."""
    services, user = services_of(ctx), await _whose(ctx, args.user)
    found = await tokens.sessions_of(services, user)
    mine = ctx.identity.credential if args.others else None
    return Ended(await tokens.end(services, [image for image in found if image["id"] != mine], ctx.identity.actor))


@action("session.accounts", needs="identity")
async def list_accounts(ctx: Context, args: AskAccounts) -> MyAccounts:
    """List the accounts that one belongs to, also before one of them is chosen."""
    services, identity = services_of(ctx), ctx.identity
    roles, email = {account: role for account, role in identity.roles if account != "*"}, None
    if identity.user is not None:  # who was taken in a moment ago knows it at once
        members = await services.storage.lookup(tokens.MEMBERSHIP, "user_id", identity.user)
        roles = {member["account_id"]: member["role"] for member in members}
        email = (await tokens.person(services, identity.user, "token"))["email"]
    found = await services.storage.get(SYSTEM, ACCOUNT, list(roles))
    mine = [MyAccount(rec, image["name"], image["title"], roles[rec]) for rec, image in found.items()]
    return MyAccounts(sorted(mine, key=lambda account: account.name), email)


@action("tokens.rotate", needs="session.delete", operator=True)
async def rotate_keys(ctx: Context, args: Rotate) -> Rotated:
    """Sign access tokens with a new key from now on; those that are signed already stay valid until they end."""
    ways = services_of(ctx).ways
    if ways.rotate is None:
        step = "Put a new key first in `token_keys` on every hub, as docs/signing-in.md says, and restart them in turn."
        raise HubError("action.failed", f"The keys of this hub are in its settings. {step}", details={"next": step})
    ways.ring = ways.rotate()
    return Rotated([text.partition(":")[0] for text in ways.ring.texts])


__all__ = ["end_all_sessions", "end_session", "list_accounts", "list_sessions", "rotate_keys"]
