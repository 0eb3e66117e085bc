"""Actions of the core: accounts, people, sign-in links, keys, full text. On DIR/hub.sock only, but for keys."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from handlers import people
from handlers.base import Call, Services
from handlers.governed import guard
from handlers.standing import Roles
from hub.access import SYSTEM
from hub.context import ActionWrite, ChangeRecord, Context, DeleteRecord, NewRecord
from hub.passwords import KEPT_CHARACTERS, is_known
from hub.schema.actions import action
from hub.schema.core.credentials import ApiKey
from hub.schema.core.identity import AccountName, Membership, Permission, RoleName, User
from hub.schema.fields import Field
from hub.schema.record import Image, type_of
from hub.schema.texts import problem_of
from hub.schema.times import format_time
from hub.schema.writes import Commit, Committed, Update
from hub.wire.errors import HubError
from storage.backup.base import Dumps
from storage.collection import collect

Name = Annotated[str, Meta(min_length=1, max_length=200)]
NameOrId = Annotated[str, Meta(min_length=1, max_length=200)]
AccountOrId = Annotated[str, Meta(min_length=1, max_length=64)]
Mail = Annotated[str, Meta(min_length=3, max_length=254, pattern=r"^[^\s@,;:<>()\[\]\\\"]+@[^\s@,;:<>()\[\]\\\"]+$")]
REINDEX_STEP: Final = 200
"""How many records one step of reindexing takes."""
REINDEX_PAUSE_SECONDS: Final = 0.005
"""How long writers have the database for themselves between two steps."""
Scopes = Annotated[list[Permission], Meta(max_length=100)]
Id = Annotated[str, Meta(min_length=1, max_length=64)]


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
    """For `user` (a name or public id) of the account, or for its first owner."""

    account: AccountOrId = "main"
    user: NameOrId | None = None


class SignInCode(msgspec.Struct, frozen=True):
    """The code goes into the fragment of the page's address: `/#signin=…`.

    `url` is the page's address without the code; null while the hub listens on DIR/hub.sock only.
    """

    code: str
    expires_at: str
    url: str | None = None


class CreateUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new person and their role in the account that the caller is in. `another`: also where the name is taken.

    `password_hash` is what another system kept of their password: Argon2, bcrypt or scrypt.
    """

    name: Name
    role: RoleName
    email: Mail | None = None
    another: bool = False
    password_hash: Annotated[str, Meta(max_length=KEPT_CHARACTERS), Field(secret=True)] | None = None


class CreatedUser(msgspec.Struct, frozen=True):
    """The new user's public id, for `signin.link`."""

    id: str
    name: str
    role: str


class SetRole(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`user`: the name or public id of a person in the account that the caller is in."""

    user: NameOrId
    role: RoleName


class Person(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`user`: the name or public id of a person in the account that the caller is in."""

    user: NameOrId


class Disable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`user` as in `user.remove`; `disabled: false` lets them in again."""

    user: NameOrId
    disabled: bool = True


class Disabled(msgspec.Struct, frozen=True):
    """A person, and whether nothing of theirs lets anybody in, in whatever account."""

    id: str
    name: str
    disabled: bool


class Member(msgspec.Struct, frozen=True):
    """A person and their role; of one who was removed, the role that they had."""

    id: str
    name: str
    role: str


class SignedOut(msgspec.Struct, frozen=True):
    """`ended`: in how many places the person was signed in."""

    id: str
    name: str
    ended: int


class CreateKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key of the account that the caller is in. `scopes` narrow what its role may; left out, they are `["*"]`.

    `service` or `device`: the public id of whom it acts for; it may at most what that one may, and ends with it.
    """

    role: RoleName
    name: Name = "api key"
    scopes: Scopes = msgspec.field(default_factory=lambda: ["*"])
    service: Id | None = None
    device: Id | None = None
    expires_at: datetime | None = None


class CreatedKey(msgspec.Struct, frozen=True):
    """`key` is shown this once; only its hash is kept."""

    id: str
    key: str
    role: str


class Dump(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`folder`: the absolute path of an empty folder on the hub's machine, which the hub may write."""

    folder: Annotated[str, Meta(min_length=1, max_length=4096)]


class Dumped(msgspec.Struct, frozen=True):
    """The kind of keeper that wrote the folder's parts."""

    keeper: str


class Reindex(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`type`: one record type; default: every one with searchable fields."""

    type: Annotated[str, Meta(max_length=48)] | None = None


class Reindexed(msgspec.Struct, frozen=True):
    """How many records of each type were looked at."""

    types: dict[str, int]


class Collect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`grace_hours`: for how long no record must have named the bytes that are removed."""

    grace_hours: Annotated[float, Meta(ge=1, le=87600)] = 24.0


class CollectedFiles(msgspec.Struct, frozen=True):
    """Bytes with a record, those without one that stay for now, and what was removed."""

    named: int
    unnamed: int
    removed: int
    bytes: int


def services_of(ctx: Context) -> Services:
    """Return the hub's own parts, which only core actions see."""
    services = getattr(ctx, "services", None)
    if not isinstance(services, Services):
        raise HubError("server.error", "Core actions run inside the hub only.")
    return services


def call_of(ctx: Context) -> Call:
    """Return the call behind an action of the core."""
    call = getattr(ctx, "call", None)
    if not isinstance(call, Call):
        raise HubError("server.error", "Core actions run inside the hub only.")
    return call


def _refuse_unseen(name: str | None, path: str) -> None:
    problem = problem_of(name) if name is not None else None
    if problem is not None:
        raise HubError("data.invalid", problem, path=path)


@action("account.create", needs="account.create", operator=True)
async def create_account(ctx: Context, args: CreateAccount) -> CreatedAccount:
    """Create an account, with a first owner where one is named."""
    services = services_of(ctx)
    _refuse_unseen(args.owner, "args.owner")
    account = await people.create_account(services, args.name, args.title)
    if args.owner is not None:
        await people.create_user(services, account["id"], args.owner, "owner")
    return CreatedAccount(account["id"], account["name"])


@action("signin.link", needs="session.create", operator=True)
async def signin_link(ctx: Context, args: SignInLink) -> SignInCode:
    """Make a one-use sign-in link, valid for 15 minutes."""
    services = services_of(ctx)
    account = await people.find_account(services, args.account)
    if account is None:
        raise HubError("record.not_found", f"There is no account {args.account!r}.", path="args.account")
    if args.user is None:
        user = await people.owner_of(services, account["id"])
    else:
        user = (await people.find_member(services, account["id"], args.user, "args.user"))["user_id"]
    code, expires = await people.create_signin_code(services, user)
    return SignInCode(code, expires, services.url)


@action("user.create", needs="user.create", operator=True)
async def create_user(ctx: Context, args: CreateUser) -> CreatedUser:
    """Create a person and make them a member of this account."""
    services = services_of(ctx)
    _refuse_unseen(args.name, "args.name")
    await Roles(services).given(ctx.account, args.role, "args.role")
    if not args.another and await people.is_taken(services, ctx.account, args.name):
        text = "Somebody of this name is in this account already; with `another` there will be two."
        raise HubError("record.exists", text, path="args.name")
    if args.password_hash is not None and not is_known(args.password_hash):
        text = "This is no hash that can be checked here: give one of Argon2, bcrypt or scrypt, or leave it out."
        raise HubError("data.invalid", text, path="args.password_hash")
    try:
        user, member = await people.create_person(services, args.name, args.role, args.email, args.password_hash)
    except HubError as error:
        if error.code != "record.exists":
            raise
        text = "Somebody has this mail address already; invite them into this account with `invitation.create`."
        raise HubError("record.exists", text, path="args.email") from None
    made = CreatedUser(user["id"], user["name"], args.role)
    return await ctx.submit([NewRecord(Membership, member)], lambda done: made)


@action("user.role", needs="membership.update", operator=True)
async def set_role(ctx: Context, args: SetRole) -> Member:
    """Give a person of this account another role; their sockets go on with it."""
    member = await people.find_member(services_of(ctx), ctx.account, args.user, "args.user")
    await Roles(services_of(ctx)).given(ctx.account, args.role, "args.role")
    held = [] if args.role == "owner" else await _another_owner(ctx, member)
    change = ChangeRecord(Membership, member["id"], {"role": args.role}, member["version"])
    return await _settled(ctx, [*held, change], Member(member["user_id"], member["name"], args.role))


@action("user.remove", needs="membership.delete", operator=True)
async def remove_user(ctx: Context, args: Person) -> Member:
    """End a person's membership of this account; their sockets in it are closed."""
    member = await people.find_member(services_of(ctx), ctx.account, args.user, "args.user")
    delete = DeleteRecord(Membership, member["id"], member["version"])
    gone = Member(member["user_id"], member["name"], member["role"])
    return await _settled(ctx, [*await _another_owner(ctx, member), delete], gone)


@action("user.sign_out", needs="session.delete", operator=True)
async def sign_out_user(ctx: Context, args: Person) -> SignedOut:
    """End a person's sessions everywhere, and their unused sign-in links; sockets are closed."""
    services = services_of(ctx)
    member = await people.find_member(services, ctx.account, args.user, "args.user")
    ended = await people.end_sessions(services, member["user_id"], ctx.identity.user)
    return SignedOut(member["user_id"], member["name"], ended)


@action("user.disable", needs="user.update", operator=True)
async def disable_user(ctx: Context, args: Disable) -> Disabled:
    """Let nobody in as this person, in no account; their sockets are closed. Or let them in again."""
    services = services_of(ctx)
    member = await people.find_member(services, ctx.account, args.user, "args.user")
    change = Update(type_of(User), member["user_id"], {"disabled": args.disabled})
    await services.storage.submit(Commit(SYSTEM, (change,), ctx.identity.actor))
    return Disabled(member["user_id"], member["name"], args.disabled)


async def _another_owner(ctx: Context, member: Image) -> list[ActionWrite]:
    """Return the write that holds another owner to their role while this member loses it.

    Raises `action.failed` where there is no other: an account has an owner at any time.
    """
    if member["role"] != "owner":
        return []
    others = [image for image in await ctx.find(Membership, {"role": "owner"}) if image["id"] != member["id"]]
    if not others:
        text = f"{member['name']} is the only owner of this account; make somebody else an owner first."
        raise HubError("action.failed", text, path="args.user")
    return [ChangeRecord(Membership, others[0]["id"], {"role": "owner"}, others[0]["version"])]


async def _settled(ctx: Context, writes: list[ActionWrite], answer: Member) -> Member:
    try:
        return await ctx.submit(writes, lambda done: answer)
    except HubError as refusal:
        if refusal.code != "record.not_found":
            raise
        text = "Somebody else was just removed from this account; look again, then repeat it."
        raise HubError("record.conflict", text, retry_after=1) from None


@action("api_key.issue", needs="api_key.create")
async def issue_api_key(ctx: Context, args: CreateKey) -> CreatedKey:
    """Create an API key for this account; the key is shown once."""
    _refuse_unseen(args.name, "args.name")
    if args.service is not None and args.device is not None:
        raise HubError("data.invalid", "A key acts for one service account or one device.", path="args.device")
    if args.expires_at is not None and args.expires_at.tzinfo is None:
        raise HubError("data.invalid", "A time needs an offset, such as Z or +01:00.", path="args.expires_at")
    expires_at = None if args.expires_at is None else format_time(args.expires_at)
    rec, data, key = people.make_api_key(services_of(ctx), args.role, args.name, expires_at)
    data |= {"scopes": args.scopes, "service_id": args.service, "device_id": args.device}
    await guard(call_of(ctx)).key(data, "args")

    def made(done: Committed) -> CreatedKey:
        return CreatedKey(done.results[0].image["id"], key, args.role)

    return await ctx.submit([NewRecord(ApiKey, data, rec=rec)], made, shown_once=True)


@action("database.dump", needs="account.create", operator=True)
async def dump_database(ctx: Context, args: Dump) -> Dumped:
    """Write one consistent state of the database into a folder, for `aether backup`; everybody is served meanwhile."""
    storage, folder = services_of(ctx).storage, Path(args.folder)
    if not isinstance(storage, Dumps):
        raise HubError("action.failed", "This database keeps nothing that could be backed up.")
    if not folder.is_absolute():
        raise HubError("data.invalid", "Name an absolute path.", path="args.folder")
    try:
        empty = await asyncio.to_thread(lambda: not any(folder.iterdir()))
    except OSError as error:
        text = f"The hub cannot use {folder}: {error.strerror}. Name a folder that the hub's user may write."
        raise HubError("action.failed", text, path="args.folder") from None
    if not empty:
        raise HubError("action.failed", f"{folder} is not empty; name a new folder.", path="args.folder")
    await storage.dump(folder)
    return Dumped(storage.keeper)


@action("search.reindex", needs="account.create", operator=True)
async def reindex(ctx: Context, args: Reindex) -> Reindexed:
    """Make the full text of all accounts anew, a bounded step at a time, while the hub serves."""
    services = services_of(ctx)
    types = [t for t in services.registry.types.values() if t.searchable]
    if args.type is not None:
        kind = services.registry.type(args.type, "args.type")
        if not kind.searchable:
            raise HubError("data.invalid", f"No field of {kind.name} is searchable.", path="args.type")
        types = [kind]
    done: dict[str, int] = {}
    for n, kind in enumerate(sorted(types, key=lambda kind: kind.name)):
        done[kind.name], place = await services.storage.reindex(kind, "", REINDEX_STEP)
        while place:
            await asyncio.sleep(REINDEX_PAUSE_SECONDS)
            count, place = await services.storage.reindex(kind, place, REINDEX_STEP)
            done[kind.name] += count
            ctx.progress(n / len(types), f"{kind.name}: {done[kind.name]} records")
    return Reindexed(done)


@action("files.collect", needs="account.create", operator=True)
async def collect_files(ctx: Context, args: Collect) -> CollectedFiles:
    """Remove the bytes of files that no record of any account names any more, after a time of grace."""
    services = services_of(ctx)
    kinds = [kind for kind in services.registry.types.values() if kind.file]
    found = await collect(services.storage, services.blobs, kinds, args.grace_hours * 3600)
    return CollectedFiles(found.named, found.unnamed, found.removed, found.bytes)


__all__ = [
    "collect_files",
    "create_account",
    "create_user",
    "disable_user",
    "dump_database",
    "issue_api_key",
    "reindex",
    "remove_user",
    "set_role",
    "sign_out_user",
    "signin_link",
]
