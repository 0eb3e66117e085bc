"""Actions of the core: accounts, sign-in links and keys. The first two answer on DIR/hub.sock only."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from handlers import people
from handlers.base import Services
from hub.context import Context, NewRecord
from hub.schema.actions import action
from hub.schema.core.identity import AccountName, ApiKey, Membership
from hub.schema.writes import Committed
from hub.wire.errors import HubError

Name = Annotated[str, Meta(min_length=1, max_length=200)]
AccountOrId = Annotated[str, Meta(min_length=1, max_length=64)]
Role = Literal["viewer", "member", "editor", "manager", "owner"]


class CreateAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`owner`: the name of a first owner, who gets a sign-in link with `signin.link`."""

    name: AccountName
    title: str = ""
    owner: Name | None = None


class CreatedAccount(msgspec.Struct, frozen=True):
    """The new account."""

    id: str
    name: str


class SignInLink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For `user` (a public id), or for the first owner of the account."""

    account: AccountOrId = "main"
    user: str | None = None


class SignInCode(msgspec.Struct, frozen=True):
    """The code goes into the fragment of the page's address: `/#signin=…`.

    `url` is the page's address without the code; null while the hub listens on DIR/hub.sock only.
    """

    code: str
    expires_at: str
    url: str | None = None


class CreateUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new person and their role in the account that the caller is in."""

    name: Name
    role: Role
    email: Annotated[str, Meta(max_length=254)] | None = None


class CreatedUser(msgspec.Struct, frozen=True):
    """The new user's public id, for `signin.link`."""

    id: str
    name: str
    role: str


class CreateKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key of the account that the caller is in."""

    role: Role
    name: Name = "api key"


class CreatedKey(msgspec.Struct, frozen=True):
    """`key` is shown this once; only its hash is kept."""

    id: str
    key: str
    role: str


def _services(ctx: Context) -> Services:
    services = getattr(ctx, "services", None)
    if not isinstance(services, Services):
        raise HubError("server.error", "Core actions run inside the hub only.")
    return services


@action("account.create", needs="account.create", operator=True)
async def create_account(ctx: Context, args: CreateAccount) -> CreatedAccount:
    """Create an account, with a first owner where one is named."""
    services = _services(ctx)
    account = await people.create_account(services, args.name, args.title)
    if args.owner is not None:
        await people.create_user(services, account["id"], args.owner, "owner")
    return CreatedAccount(account["id"], account["name"])


@action("signin.link", needs="session.create", operator=True)
async def signin_link(ctx: Context, args: SignInLink) -> SignInCode:
    """Make a one-use sign-in link, valid for 15 minutes."""
    services = _services(ctx)
    account = await people.find_account(services, args.account)
    if account is None:
        raise HubError("record.not_found", f"There is no account {args.account!r}.", path="args.account")
    user = args.user or await people.owner_of(services, account["id"])
    code, expires = await people.create_signin_code(services, user)
    return SignInCode(code, expires, services.url)


@action("user.create", needs="user.create", operator=True)
async def create_user(ctx: Context, args: CreateUser) -> CreatedUser:
    """Create a person and make them a member of this account."""
    user, member = await people.create_person(_services(ctx), args.name, args.role, args.email)
    made = CreatedUser(user["id"], user["name"], args.role)
    return await ctx.submit([NewRecord(Membership, member)], lambda done: made)


@action("api_key.issue", needs="api_key.create")
async def issue_api_key(ctx: Context, args: CreateKey) -> CreatedKey:
    """Create an API key for this account; the key is shown once."""
    data, key = people.make_api_key(_services(ctx), args.role, args.name)

    def made(done: Committed) -> CreatedKey:
        return CreatedKey(done.results[0].image["id"], key, args.role)

    return await ctx.submit([NewRecord(ApiKey, data)], made, shown_once=True)


__all__ = ["create_account", "create_user", "issue_api_key", "signin_link"]
