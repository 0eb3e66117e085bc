"""Host names under which people reach an account: made by the operator, asked for before anybody signs in.

What a browser calls the hub is only ever a wish: it names an account to people, and picks one among those that somebody
may enter anyway.
"""

from __future__ import annotations

import hmac
from typing import Annotated

import msgspec
from msgspec import Meta

from handlers import people
from handlers.base import Services
from handlers.operator import AccountOrId, call_of, services_of
from hub import auth
from hub.access import SYSTEM, Identity
from hub.context import Context
from hub.schema.actions import action
from hub.schema.core.identity import Account, Domain, Host
from hub.schema.fields import Field
from hub.schema.query import Query
from hub.schema.record import Image, type_of
from hub.schema.where import equals
from hub.schema.writes import Commit, Create, Delete
from hub.wire.errors import HubError

DOMAIN = type_of(Domain)
_PREFIX = "aeh"


class AddDomain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`host` in small letters and without a port; `keyed`: whoever asks for the account must show a key."""

    host: Host
    account: AccountOrId = "main"
    keyed: bool = False


class AddedDomain(msgspec.Struct, frozen=True):
    """`key` is shown this once, where there is one."""

    host: str
    account: str
    key: Annotated[str | None, Field(secret=True)] = None


class RemoveDomain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A host name as `domain.list` says it."""

    host: Host


class RemovedDomain(msgspec.Struct, frozen=True):
    """The host name that leads to no account any more."""

    host: str


class ListDomains(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of them."""


class KnownDomain(msgspec.Struct, frozen=True):
    """A host name, and the name of its account."""

    host: str
    account: str


class KnownDomains(msgspec.Struct, frozen=True):
    """By host name."""

    domains: list[KnownDomain]


class AskHost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`host`: left out, the one that this request names. `key`: where the operator gave one with the domain."""

    host: Annotated[str, Meta(max_length=253)] | None = None
    key: Annotated[str, Meta(max_length=100), Field(secret=True)] | None = None


class AccountOfHost(msgspec.Struct, frozen=True):
    """What may be shown before anybody signs in: the account's name, for session.hello, and its title."""

    name: str
    title: str


async def find_domain(services: Services, host: str) -> Image | None:
    """Return the domain of a host name."""
    query = Query(DOMAIN, equals(DOMAIN, "host", host.lower().rstrip(".")), limit=1)
    found = (await services.storage.find(SYSTEM, query)).records
    return found[0] if found else None


async def account_by_host(services: Services, host: str | None, identity: Identity) -> str | None:
    """Return the account that whoever came by a host name means, where they belong to several and to this one."""
    own = [account for account, _ in identity.roles if account != "*"]
    if host is None or len(own) < 2:
        return None
    domain = await find_domain(services, host)
    return str(domain["tenant_id"]) if domain is not None and domain["tenant_id"] in own else None


async def account_named(services: Services, host: str | None, key: str | None = None) -> AccountOfHost | None:
    """Return the account that a host name leads to, for whoever shows the key that it may need."""
    found = await find_domain(services, host) if host is not None else None
    if found is None:
        return None
    wanted = await services.storage.secret(SYSTEM, DOMAIN, found["id"], "digest")
    if wanted is not None and not hmac.compare_digest(wanted, auth.proof_of(key or "")):
        return None  # as if there were nothing: who has no key learns of nothing
    account = await people.find_account(services, found["tenant_id"])
    return None if account is None else AccountOfHost(account["name"], account["title"])


@action("domain.add", needs="domain.create", operator=True)
async def add_domain(ctx: Context, args: AddDomain) -> AddedDomain:
    """Let a host name lead to an account."""
    services = services_of(ctx)
    account = await people.find_account(services, args.account)
    if account is None:
        raise HubError("record.not_found", f"There is no account {args.account!r}.", path="args.account")
    key = auth.make_token(_PREFIX, services.random(32)) if args.keyed else None
    data = {"host": args.host, "tenant_id": account["id"], "digest": None if key is None else auth.proof_of(key)}
    create = Create(DOMAIN, services.new_id(), DOMAIN.accept_create(data, trusted=True))
    try:
        await services.storage.submit(Commit(SYSTEM, (create,)))
    except HubError as error:
        if error.code != "record.exists":
            raise
        text = f"{args.host} leads to an account already; `aether domain remove` takes it away."
        raise HubError("record.exists", text, path="args.host") from None
    return AddedDomain(args.host, account["name"], key)


@action("domain.remove", needs="domain.delete", operator=True)
async def remove_domain(ctx: Context, args: RemoveDomain) -> RemovedDomain:
    """Let a host name lead to no account any more."""
    services = services_of(ctx)
    found = await find_domain(services, args.host)
    if found is None:
        text = f"{args.host} leads to no account; `aether domain list` shows those that do."
        raise HubError("record.not_found", text, path="args.host")
    await services.storage.submit(Commit(SYSTEM, (Delete(DOMAIN, found["id"]),)))
    return RemovedDomain(args.host)


@action("domain.list", needs="domain.read", operator=True)
async def list_domains(ctx: Context, args: ListDomains) -> KnownDomains:
    """List the host names that lead to accounts."""
    services, kind = services_of(ctx), type_of(Account)
    found = (await services.storage.find(SYSTEM, Query(DOMAIN))).records
    accounts = await services.storage.get(SYSTEM, kind, [image["tenant_id"] for image in found])
    names = {rec: str(image["name"]) for rec, image in accounts.items()}
    rows = [KnownDomain(image["host"], names.get(image["tenant_id"], "-")) for image in found]
    return KnownDomains(sorted(rows, key=lambda row: row.host))


@action("account.of_host", needs="guest")
async def account_of_host(ctx: Context, args: AskHost) -> AccountOfHost:
    """Say to which account a host name leads, before anybody signs in."""
    services = services_of(ctx)
    host = args.host if args.host is not None else call_of(ctx).peer.host
    none = HubError(
        "record.not_found", "No account is reached by this address; sign in and name yours.", path="args.host"
    )
    named = await account_named(services, host, args.key)
    if named is None:
        raise none
    return named
