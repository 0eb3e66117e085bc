"""record.get, find, create, upsert, update, move, delete, restore, revert."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import msgspec

from handlers.base import Answer, Call, Needs, Written, handles
from handlers.governed import GOVERNED, guard
from handlers.related import Along, cut, sight
from hub.schema.fields import FOR_TYPE
from hub.schema.query import Query, key_values, make_cursor, parse_order, read_cursor
from hub.schema.record import Image, RecordType
from hub.schema.views import Sight
from hub.schema.where import Node, both, equals, parse_where
from hub.schema.writes import (
    Committed,
    Create,
    Delete,
    Id,
    KeyClaim,
    Move,
    Restore,
    Result,
    Revert,
    Update,
    Upsert,
    Write,
)
from hub.wire.errors import HubError
from hub.wire.parts import CountCap
from hub.wire.requests import (
    ActionCall,
    ItemRef,
    ParentRef,
    RecordCreate,
    RecordDelete,
    RecordFind,
    RecordGet,
    RecordMove,
    RecordRef,
    RecordRestore,
    RecordRevert,
    RecordUpdate,
    RecordUpsert,
    op_name,
)
from hub.wire.requests import Write as WriteRequest
from storage.base import Found

PAGE_BYTES = 768 * 1024
"""About how large the records of one answer may get; a page that would be larger ends earlier."""
GET_BYTES = 128 * 1024
"""About how large a record gets that is asked for by itself, by what it includes; there may be many at a time."""
LOOKS = 4
"""How often a write that decides over rights is looked at, while others change what it decides over."""
HARD = 100
"""As how many writes a hard deletion counts, which may take others along."""
_PLACEHOLDER = "A" * 11
_ENCODER = msgspec.json.Encoder()
_OF_ONE = (Update, Delete, Move)


async def scoped(
    call: Call,
    kind: RecordType,
    where: dict[str, Any] | None,
    parent: RecordRef | None,
    *,
    watched: bool = False,
    view: Sight | None = None,
) -> Node:
    """Return the checked filter of a query, under its parent where one is given; `watched` ones take no steps.

    Raises as `parse_where`, `data.invalid`, or `record.not_found` for a parent that is not there.
    """
    node = parse_where(kind, where, call.rights.hidden(kind), reach=call.reach, watched=watched, view=view)
    if parent is None:
        return node
    if kind.parent is None or kind.parent_wire is None or parent.type != kind.parent.name:
        expected = kind.parent.name if kind.parent else "none"
        raise HubError("data.invalid", f"The parent type of {kind.name} is {expected}.", path="parent.type")
    call.rights.require(f"{parent.type}.read")
    found = await call.get(kind.parent, [parent.rec])
    if parent.rec not in found:
        raise HubError("record.not_found", f"There is no {parent.type} with this id.", path="parent.rec")
    return both(equals(kind, kind.parent_wire, parent.rec), node)


@handles(Needs.ACCOUNT)
async def get(call: Call, request: RecordGet) -> Answer:
    """Read one record."""
    kind = call.kind(request.type, "read")
    view = sight(call, kind, request.view)
    call.rights.check_fields(kind, request.fields, view)
    along = Along(call, kind, request.include, 1)
    if view is None and not along.queries:
        image = (await call.get(kind, [request.rec], deleted=request.deleted)).get(request.rec)
        records = [] if image is None else [call.rights.view(kind, image, request.fields)]
    else:
        node = equals(kind, "id", request.rec)
        query = Query(kind, node, limit=1, deleted=request.deleted, view=view, include=along.queries)
        found = await call.find(query)
        records = _shown(call, query, found, request.fields, along, GET_BYTES)[0]
    if not records:
        raise HubError("record.not_found", f"There is no {kind.name} with this id.", path="rec")
    return Answer(records[0])


@handles(Needs.ACCOUNT)
async def find(call: Call, request: RecordFind) -> Answer:
    """Read the records that match, a page at a time."""
    kind = call.kind(request.type, "read")
    view = sight(call, kind, request.view)
    call.rights.check_fields(kind, request.fields, view)
    along = Along(call, kind, request.include, request.limit)
    node = await scoped(call, kind, request.where, request.parent, view=view)
    order = parse_order(kind, request.order, call.rights.hidden(kind), view)
    cap = request.count.cap if isinstance(request.count, CountCap) else None
    query = Query(
        kind, node, order, request.limit, None, request.deleted, bool(request.count), cap, view, along.queries
    )  # fmt: skip
    if request.after is not None:
        query = replace(query, after=read_cursor(query, request.after, call.services.secret))
    found = await call.find(query)
    records, more = _shown(call, query, found, request.fields, along, PAGE_BYTES)
    data: dict[str, Any] = {"records": records}
    if more and records:
        last = found.records[len(records) - 1]
        data["next"] = make_cursor(query, key_values(last, order), call.services.secret)
    if found.total is not None:
        data["total"] = found.total
    if found.capped:
        data["capped"] = True
    data["seq"] = found.seq
    return Answer(data, seq=found.seq)


def _shown(
    call: Call, query: Query, found: Found, fields: list[str] | None, along: Along, most: int
) -> tuple[list[dict[str, Any]], bool]:
    """Return the records as the caller sees them, as many as one answer holds, and whether there are more."""
    shown: list[dict[str, Any]] = []
    size = 0
    for n, image in enumerate(found.records):
        record = call.rights.view(query.type, image, fields)
        own = size_of(image)
        if along.queries:
            record = {**record, "include": along.shown(found.included[n])}
            own = size_of(record)
            if not shown:
                cut(record, own, most)
        size += own
        if size > most and shown:
            return shown, True
        shown.append(record)
    return shown, found.more


def size_of(image: Image) -> int:
    """Return how many bytes an image has as JSON, which MessagePack does not exceed."""
    return len(_ENCODER.encode(image))


# -- writes ------------------------------------------------------------------------------------------


def plan(call: Call, request: WriteRequest, path: str = "") -> Write:
    """Return the write that a request asks for; raise a refusal with its path.

    Rights are checked here; whether the records are there is decided inside the transaction.
    """
    match request:
        case RecordCreate():
            return _creation(call, request)
        case RecordUpsert():
            kind = call.kind(request.type, "create")
            call.rights.require(f"{kind.name}.update")
            hidden = call.rights.hidden(kind)
            unique = kind.names_of_unique(request.match)
            if unique is None or not hidden.isdisjoint(unique):
                known = ", ".join("+".join(u) for u in kind.unique if hidden.isdisjoint(u)) or "none"
                raise HubError(
                    "data.invalid", f"match names no declared unique of {kind.name}; it has: {known}.", path="match"
                )
            data = accept(call, kind, request.data, creating=True)
            may_be_for(call, kind, data)
            once = {n for n, s in kind.fields.items() if s.option.write_once}
            change = {n: v for n, v in data.items() if n in request.data and n not in once}
            return Upsert(kind, call.services.new_id(), data, change, unique, parent_id(kind, request.parent))
        case RecordUpdate():
            kind = call.kind(request.type, "update")
            data = accept(call, kind, request.data, creating=False)
            may_be_for(call, kind, data)
            return Update(kind, request.rec, data, request.if_version)
        case RecordMove():
            kind = call.kind(request.type, "update")
            if kind.file and kind.parent is not None:
                call.rights.require(f"{kind.parent.name}.update")
            parent = parent_id(kind, request.parent)
            if parent is None:
                raise HubError("data.invalid", f"{kind.name} belongs to the account, not to a parent.", path="parent")
            return Move(kind, request.rec, parent)
        case RecordDelete():
            hard = request.mode == "hard"
            kind = call.kind(request.type, "purge" if hard else "delete")
            if hard and kind.system:
                raise HubError("data.invalid", f"Records of type {kind.name} are deleted softly only.", path="mode")
            return Delete(kind, request.rec, request.if_version, hard)
        case RecordRestore():
            return Restore(call.kind(request.type, "delete"), request.rec)
        case RecordRevert():
            kind = call.kind(request.type, "update")
            call.rights.require(f"{kind.name}.read")
            hidden = call.rights.hidden(kind)
            return Revert(kind, request.rec, request.version, tuple(n for n in kind.writable if n not in hidden))
        case _:
            raise HubError("op.unknown", path="op")


def _creation(call: Call, request: RecordCreate) -> Create:
    kind = call.kind(request.type, "create")
    linked = kind.linking and not kind.linking.isdisjoint(request.data)
    if linked:
        data = accept(call, kind, request.data, creating=True)
    else:
        if kind.name in call.rights.shut:
            call.rights.check_writable(kind, request.data)
        data = kind.accept_create(request.data)
    if FOR_TYPE in data:
        may_be_for(call, kind, data)
    parent = request.parent
    return Create(kind, call.services.new_id(), data, None if parent is None else parent_id(kind, parent))


def parent_id(kind: RecordType, parent: ParentRef | None) -> Id | None:
    """Return the parent's id of a write; raise `data.invalid` for a parent of the wrong type."""
    if parent is None:
        return None
    if kind.parent is None or parent.type != kind.parent.name:
        expected = kind.parent.name if kind.parent else "none"
        raise HubError("data.invalid", f"The parent type of {kind.name} is {expected}.", path="parent.type")
    return parent.rec


def may_be_for(call: Call, kind: RecordType, data: dict[str, Any]) -> None:
    """Raise `access.denied` unless records of the type that a record is to be for may be read."""
    if data.get(FOR_TYPE) and FOR_TYPE in kind.fields:
        target = call.services.registry.types.get(data[FOR_TYPE])
        if target is not None:  # else storage refuses it
            call.reach.enter(target, f"data.{FOR_TYPE}")


def accept(call: Call, kind: RecordType, data: dict[str, Any], *, creating: bool) -> Image:
    """Return given data, validated: fields that the caller may write. `{"$item": n}` may stand in a reference."""
    call.rights.check_writable(kind, data)
    items: dict[str, ItemRef] = {}
    for name in kind.linking.intersection(data) if kind.linking else ():
        value = data[name]
        if type(value) is dict and set(value) == {"$item"}:
            try:
                items[name] = msgspec.convert(value, ItemRef)
            except msgspec.ValidationError:
                raise HubError("data.invalid", "$item is the number of an earlier item.", path=f"data.{name}") from None
    given = {**data, **dict.fromkeys(items, _PLACEHOLDER)} if items else data
    accepted = kind.accept_create(given) if creating else kind.accept_change(given)
    return accepted | items if items else accepted


def claim(call: Call, request: WriteRequest | ActionCall, secrets: frozenset[str] = frozenset()) -> KeyClaim | None:
    """Return the claim of a request's idempotency key, bound to everything else that it says.

    Of the arguments that are `secrets` only a digest under the hub's own secret goes into what is kept.
    """
    if request.key is None:
        return None
    identity = call.identity
    plain = msgspec.to_builtins(request)
    del plain["id"], plain["key"]
    for name in secrets & plain.get("args", {}).keys():
        told = msgspec.json.encode(plain["args"][name])
        plain["args"] = {**plain["args"], name: hmac.digest(call.services.secret, told, "sha256").hex()}
    body = msgspec.json.encode([op_name(request), plain], order="deterministic")
    scope = identity.user or identity.credential or identity.source
    return KeyClaim(scope, request.key, hashlib.sha256(body).digest())


def shown(call: Call, write: Write, result: Result) -> Any:
    """Return what the answer of one write shows."""
    if type(write) is Delete:
        return {"rec": result.image["id"], "version": result.image["version"]}
    view = call.seen(write.type, result.image)
    return {**view, "created": result.created} if type(write) is Upsert else view


def _write(call: Call, request: WriteRequest) -> Awaitable[Answer]:
    write = plan(call, request)
    if isinstance(write, _OF_ONE) and isinstance(write.rec, ItemRef):
        raise HubError("data.invalid", "$item is for items of a batch.", path="rec")
    if write.type in GOVERNED:
        return _govern(call, request, write)
    hard = isinstance(write, Delete) and write.hard
    return Written(call, write, call.commit((write,), claim(call, request), extra=HARD if hard else 0), _written)


async def _govern(call: Call, request: WriteRequest, write: Write) -> Answer:
    """Write what decides over rights, looked at beforehand; again where others were quicker than the look."""
    key = claim(call, request)
    if key is not None and (kept := await call.services.storage.repeated(call.account, key)):
        return _written(call, write, kept)
    for look in range(1, LOOKS + 1):
        writes = await guard(call).checked(write)
        hard = isinstance(write, Delete) and write.hard
        try:
            committed = await call.services.storage.submit(call.commit(writes, key, extra=HARD if hard else 0))
            return _written(call, write, committed)
        except HubError as refusal:
            own = isinstance(write, Update | Delete) and write.if_version is not None
            if refusal.code != "record.conflict" or own or look == LOOKS:
                raise
    raise AssertionError("the last look returns or raises")


def _written(call: Call, write: Write, committed: Committed) -> Answer:
    return Answer(shown(call, write, committed.results[0]), committed.seq)


@handles(Needs.ACCOUNT)
def create(call: Call, request: RecordCreate) -> Awaitable[Answer]:
    """Create a record."""
    write = _creation(call, request)  # what `_write` does, without what a creation never is: it is the most frequent
    if write.type in GOVERNED:
        return _govern(call, request, write)
    key = None if request.key is None else claim(call, request)
    return Written(call, write, call.commit((write,), key), _created)


def _created(call: Call, write: Write, committed: Committed) -> Answer:
    image = committed.results[0].image
    return Answer(
        call.seen(write.type, image) if call.rights.ruled else call.rights.view(write.type, image), committed.seq
    )


@handles(Needs.ACCOUNT)
def upsert(call: Call, request: RecordUpsert) -> Awaitable[Answer]:
    """Create a record, or change the one that a declared unique finds."""
    return _write(call, request)


@handles(Needs.ACCOUNT)
def update(call: Call, request: RecordUpdate) -> Awaitable[Answer]:
    """Replace the given fields of a record."""
    return _write(call, request)


@handles(Needs.ACCOUNT)
def move(call: Call, request: RecordMove) -> Awaitable[Answer]:
    """Put a record under another parent."""
    return _write(call, request)


@handles(Needs.ACCOUNT)
def delete(call: Call, request: RecordDelete) -> Awaitable[Answer]:
    """Delete a record: softly, or for good."""
    return _write(call, request)


@handles(Needs.ACCOUNT)
def restore(call: Call, request: RecordRestore) -> Awaitable[Answer]:
    """Bring a deleted record back."""
    return _write(call, request)


@handles(Needs.ACCOUNT)
def revert(call: Call, request: RecordRevert) -> Awaitable[Answer]:
    """Give a record the values that it had as an earlier version."""
    return _write(call, request)
