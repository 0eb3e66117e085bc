"""Pairing a device: it shows a short code, a manager confirms it, and it gets its key, once.

    device.pair {name}                  a guest       -> code to show, secret to ask with, for ten minutes
    device.confirm {code, role, name?}  a manager     -> the device, in the manager's account
    device.paired {secret, wait?}       the device    -> its key as soon as it is confirmed; then the pairing is over

Only hashes are kept of code and secret. The code has 37 bits and needs a manager's rights, whose wrong codes count as
failed tries to sign in; the secret has 256 bits.
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from handlers import people
from handlers.base import Services
from handlers.governed import guard
from handlers.operator import call_of, services_of
from handlers.pace import SECONDS
from hub import auth
from hub.access import SYSTEM
from hub.context import Context, NewRecord
from hub.schema.actions import action
from hub.schema.core.credentials import ApiKey, Pairing
from hub.schema.core.identity import Device, Name, RoleName
from hub.schema.fields import Field
from hub.schema.nodes import Node
from hub.schema.query import Query
from hub.schema.record import Image, type_of
from hub.schema.texts import problem_of
from hub.schema.times import format_time, parse_time
from hub.schema.where import parse_where
from hub.schema.writes import Commit, Create, Delete, Update, Write
from hub.wire.errors import HubError

ALPHABET: Final = "23456789ACDEFHJKMNPQRTVWXY"
"""Without what looks alike on a screen across a room."""
_ALIKE: Final = str.maketrans("BSZGU", "8526V")
"""What somebody may read in their place."""
LENGTH: Final = 8
PENDING: Final = 1000
"""How many devices may show a code at a time, over all instances."""
WAIT_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 1.0
"""How often a pairing is looked at for a device that waits."""
WAITING: Final = 200
"""How many devices may wait at a time, at each instance; the others are told to ask again."""
SWEEP: Final = 50
"""How many pairings that are over are removed with each new one."""
_SECRET: Final = "aed"


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`name`: what the manager reads beside the code, such as `Foyer, left screen`."""

    name: Name


class Shown(msgspec.Struct, frozen=True):
    """`code` is shown to people; `secret` stays in the device, which asks again after `every` seconds."""

    code: str
    secret: Annotated[str, Field(secret=True)]
    expires_at: str
    every: float


class Confirm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`code` as the device shows it, hyphens and small letters or not; `name`: another than the device gave itself."""

    code: Annotated[str, Meta(max_length=40), Field(secret=True)]
    role: RoleName = "viewer"
    name: Name | None = None


class Confirmed(msgspec.Struct, frozen=True):
    """The new device."""

    id: str
    name: str
    role: str


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`wait`: how many seconds the answer may take while nobody has confirmed."""

    secret: Annotated[str, Meta(max_length=100), Field(secret=True)]
    wait: Annotated[float, Meta(ge=0, le=WAIT_SECONDS)] = 0.0


class Paired(msgspec.Struct, frozen=True):
    """Not `paired` yet: ask again after `every` seconds. Else the key, which is shown this once, and whose it is."""

    paired: bool
    every: float = LOOK_SECONDS
    key: Annotated[str | None, Field(secret=True)] = None
    account: str | None = None
    device: str | None = None
    name: str | None = None
    role: str | None = None


def code_of(random: bytes) -> str:
    """Return a code of random bytes, each of its characters as likely; 64 bytes suffice but for one in 10^50 times."""
    fair = len(ALPHABET) * (256 // len(ALPHABET))
    return "".join([ALPHABET[byte % len(ALPHABET)] for byte in random if byte < fair][:LENGTH])


def plain(code: str) -> str:
    """Return a code as it is hashed, however somebody typed it; raise `data.invalid` for what can be none."""
    typed = "".join(code.split()).replace("-", "").upper().translate(_ALIKE)
    if len(typed) != LENGTH or not set(typed) <= set(ALPHABET):
        text = f"A code has {LENGTH} characters of {ALPHABET}; read it from the screen of the device again."
        raise HubError("data.invalid", text, path="args.code")
    return typed


@action("device.pair", needs="guest")
async def pair(ctx: Context, args: Pair) -> Shown:
    """Ask to become a device: returns the code to show and the secret to ask with."""
    services, peer = services_of(ctx), call_of(ctx).peer
    problem = problem_of(args.name)
    if problem is not None:
        raise HubError("data.invalid", problem, path="args.name")
    services.pairing.refuse(peer.address, time.monotonic())
    now, kind = services.clock(), type_of(Pairing)
    over = await _found(services, {"expires_at": {"$lte": now}}, SWEEP)
    await _remove(services, over)
    if len(await _found(services, {"expires_at": {"$gt": now}}, PENDING)) >= PENDING:
        raise HubError("rate.limited", "Too many devices show a code at this moment; try again soon.", retry_after=60)
    code, secret = code_of(services.random(64)), auth.make_token(_SECRET, services.random(32))
    expires = format_time(parse_time(now) + timedelta(seconds=SECONDS))
    data = {"name": args.name, "code": auth.proof_of(code), "digest": auth.proof_of(secret), "expires_at": expires}
    create = Create(kind, services.new_id(), kind.accept_create(data, trusted=True))
    await _submit(services, SYSTEM, create)
    return Shown(f"{code[:4]}-{code[4:]}", secret, expires, LOOK_SECONDS)


@action("device.confirm", needs="device.create")
async def confirm(ctx: Context, args: Confirm) -> Confirmed:
    """Make the device that shows this code one of this account, with a role that the caller holds."""
    services, call = services_of(ctx), call_of(ctx)
    problem = problem_of(args.name) if args.name is not None else None
    if problem is not None:
        raise HubError("data.invalid", problem, path="args.name")
    code = plain(args.code)
    await guard(call).key({"role": args.role, "scopes": ["*"]}, "args")
    attempt = await services.guard.sign_in(f"pairing {ctx.identity.actor}", call.peer.address)
    pairing = await _claimed(services, ctx.account, code)
    await attempt.passed()
    name = args.name or pairing["name"]
    try:
        made = await ctx.submit(
            [NewRecord(Device, {"name": name, "role": args.role})],
            lambda done: Confirmed(done.results[0].image["id"], name, args.role),
        )
    except HubError:
        await _changed(services, pairing, {"tenant_id": None}, 1)
        raise
    await _changed(services, pairing, {"device_id": made.id}, 1)
    return made


@action("device.paired", needs="guest")
async def paired(ctx: Context, args: Ask) -> Paired:
    """Answer a device that shows a code: its key, once, as soon as it is confirmed."""
    services = services_of(ctx)
    pace = services.pairing
    waits = args.wait > 0 and pace.waiting < WAITING
    until = time.monotonic() + (args.wait if waits else 0)
    pace.waiting += waits
    try:
        while (pairing := await _of_secret(services, args.secret))["device_id"] is None:
            if time.monotonic() + LOOK_SECONDS > until:
                return Paired(False, LOOK_SECONDS if waits or not args.wait else 10.0)
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        pace.waiting -= waits
    # What is written is written whole, also where the device is gone meanwhile.
    return await asyncio.shield(_keyed(services, pairing))


async def _keyed(services: Services, pairing: Image) -> Paired:
    """End a pairing and make the key of its device; raise `auth.invalid` where that was done."""
    gone = HubError("auth.invalid", "This pairing is over; begin again on the device.", path="args.secret")
    try:
        await _submit(services, SYSTEM, Delete(type_of(Pairing), pairing["id"], pairing["version"], hard=True))
    except HubError as error:
        if error.code in {"record.not_found", "record.conflict"}:
            raise gone from None
        raise
    account, rec = pairing["tenant_id"], pairing["device_id"]
    device = (await services.storage.get(account, type_of(Device), [rec])).get(rec)
    if device is None or device["disabled"]:
        raise gone
    name, data, key = people.make_api_key(services, device["role"], device["name"])
    kind = type_of(ApiKey)
    made = Create(kind, name, kind.accept_create({**data, "device_id": rec}, trusted=True))
    await _submit(services, account, made, actor=device["created_by"])
    return Paired(True, 0.0, key, account, rec, device["name"], device["role"])


async def _claimed(services: Services, account: str, code: str) -> Image:
    """Return the pairing with this code, taken for an account; raise `record.not_found` where there is none to take."""
    none = HubError(
        "record.not_found", "No device shows this code, or no longer; look at its screen again.", path="args.code"
    )
    found = await services.storage.lookup(type_of(Pairing), "code", auth.proof_of(code))
    open_ones = [p for p in found if p["tenant_id"] is None and p["expires_at"] > services.clock()]
    if len(open_ones) != 1:
        raise none
    try:
        await _changed(services, open_ones[0], {"tenant_id": account})
    except HubError as error:
        if error.code in {"record.not_found", "record.conflict"}:
            raise none from None
        raise
    return open_ones[0]


async def _of_secret(services: Services, secret: str) -> Image:
    """Return the pairing that a device asks for; raise `auth.invalid` or `auth.expired`."""
    found = []
    if auth.is_whole(secret, _SECRET):  # a typing error or a guess does not reach the database
        found = await services.storage.lookup(type_of(Pairing), "digest", auth.proof_of(secret))
    if not found:
        raise HubError("auth.invalid", "There is no such pairing; begin again on the device.", path="args.secret")
    if found[0]["expires_at"] <= services.clock():
        raise HubError("auth.expired", "Nobody confirmed the code in time; begin again.", path="args.secret")
    return found[0]


async def _found(services: Services, where: dict[str, Any], limit: int) -> list[Image]:
    kind = type_of(Pairing)
    node: Node = parse_where(kind, where)
    return (await services.storage.find(SYSTEM, Query(kind, node, limit=limit))).records


async def _remove(services: Services, pairings: list[Image]) -> None:
    for pairing in pairings:
        try:
            await _submit(services, SYSTEM, Delete(type_of(Pairing), pairing["id"], hard=True))
        except HubError as error:
            if error.code != "record.not_found":  # another instance was quicker
                raise


async def _changed(services: Services, pairing: Image, change: dict[str, Any], later: int = 0) -> None:
    kind = type_of(Pairing)
    accepted = kind.accept_change(change, trusted=True)
    await _submit(services, SYSTEM, Update(kind, pairing["id"], accepted, pairing["version"] + later))


async def _submit(services: Services, account: str, write: Write, actor: str | None = None) -> None:
    await services.storage.submit(Commit(account, (write,), actor))
