"""lookup.list and lookup.resolve: the entries of a lookup that are in force for an account or for one of its records.

Layers, the nearest first: the record that is asked for, its parent, and so on upwards; the site that the first of them
refers to; the account; what is declared. Everything below the declared layer is records, so a client that wants to know
of changes watches `lookup_row` and `lookup_policy` and asks again.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from handlers.base import Answer, Call, Needs, handles
from handlers.records import PAGE_BYTES, size_of
from hub.schema.core.lookups import LookupPolicy, LookupRow, Site
from hub.schema.layers import ACCOUNT, Order, Row, behind, effective, resolve, select
from hub.schema.lookups import Lookup
from hub.schema.query import Query, make_cursor, read_cursor
from hub.schema.record import Image, RecordType, referred, type_of
from hub.schema.where import Compare, Node, both, equals
from hub.wire.errors import HubError
from hub.wire.requests import LookupList, LookupResolve, RecordRef

ROWS: Final = 2000
"""How many rows of an account may lie over one lookup at one place."""

_ROW, _POLICY, _SITE = type_of(LookupRow), type_of(LookupPolicy), type_of(Site)
_Place = tuple[str, str]
"""A layer: type and id of its record, twice "" for the account."""
_OF_ACCOUNT: Final[_Place] = ("", "")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What binds a cursor: everything that was asked for but the page."""

    request: LookupList

    def digest(self) -> bytes:
        plain = msgspec.to_builtins(self.request)
        for name in ("id", "limit", "after"):
            del plain[name]
        return hashlib.sha256(msgspec.json.encode(plain, order="deterministic")).digest()[:12]


@handles(Needs.ACCOUNT)
async def list_entries(call: Call, request: LookupList) -> Answer:
    """List the entries of a lookup that are in force, for the account or for a record of it."""
    asked = _Asked(request)
    after: Order | None = None
    if request.after is not None:
        after = msgspec.convert(read_cursor(asked, request.after, call.services.secret), Order)
    rows, seq = await _in_force(call, request)
    unseen = request.include_disabled
    chosen = select(rows, request.q or "", request.part_of, prior=request.only_priority, unseen=unseen)
    page: list[dict[str, Any]] = []
    rest = behind(chosen, after)
    size = 0
    for row in rest[: request.limit]:
        size += size_of(row.shown)
        if size > PAGE_BYTES and page:
            break
        page.append(row.shown)
    data: dict[str, Any] = {"rows": page, "total": len(chosen)}
    if len(page) < len(rest):
        data["next"] = make_cursor(asked, rest[len(page) - 1].order, call.services.secret)
    data["seq"] = seq
    return Answer(data, seq=seq)


@handles(Needs.ACCOUNT)
async def resolve_entry(call: Call, request: LookupResolve) -> Answer:
    """Find the one entry of a lookup that a code, a name or an alias means."""
    rows, seq = await _in_force(call, request)
    row = resolve(rows, request.q, request.part_of)
    if row is None:
        message = f"No entry of {request.lookup} that can be used here is called so; lookup.list shows those that can."
        raise HubError("record.not_found", message, path="q")
    return Answer({"rows": [row.shown], "seq": seq}, seq=seq)


async def _in_force(call: Call, request: LookupList | LookupResolve) -> tuple[Any, int]:
    """Return the rows in force, in order, and the `seq` that they are at least as new as."""
    lookup = call.services.registry.lookup(request.lookup)
    for kind in (_ROW, _POLICY):
        call.kind(kind.name, "read", "lookup")
    base = await _declared(lookup, request.language)
    places = [*(await _places(call, request.for_) if request.for_ else ()), _OF_ACCOUNT]
    policies, seq = await _kept(call, _POLICY, lookup, places)
    kept, _ = await _kept(call, _ROW, lookup, places)
    allowed = next((frozenset(policies[place][0]["codes"]) for place in places if policies[place]), None)
    near = [[Row(image, place[0] or ACCOUNT, image["id"]) for image in kept[place]] for place in places]
    return effective(base, near, allowed), seq


async def _declared(lookup: Lookup, language: str | None) -> tuple[Row, ...]:
    """Return the global layer in a language."""
    wanted = (language or "").lower().replace("_", "-")
    rows = lookup.ready(wanted)
    return rows if rows is not None else await asyncio.to_thread(lookup.load, wanted)


async def _places(call: Call, target: RecordRef) -> list[_Place]:
    """Return the layers of a record, the nearest first: itself, what it is below, and its site.

    Raises `type.unknown`, `access.denied`, or `record.not_found` where the caller may not know of it.
    """
    kind, rec = call.kind(target.type, "read", "for.type"), target.rec
    found: list[_Place] = []
    site: str | None = None
    image = await _read(call, kind, rec)
    if image is None:
        raise HubError("record.not_found", f"There is no {kind.name} with this id.", path="for.rec")
    while image is not None:
        found.append((kind.name, rec))
        site = site or _site_of(call, kind, image)
        if kind.parent is None or kind.parent_wire is None:
            break
        wire, kind = kind.parent_wire, kind.parent
        rec = image[wire]
        image = await _read(call, kind, rec)
    if site is not None and await _read(call, _SITE, site) is not None:
        found.append((_SITE.name, site))
    return found


async def _read(call: Call, kind: RecordType, rec: str) -> Image | None:
    return (await call.get(kind, [rec])).get(rec)


def _site_of(call: Call, kind: RecordType, image: Image) -> str | None:
    """Return the site that a record refers to, as far as the caller sees it."""
    hidden = call.rights.hidden(kind)
    seen = kind.references - hidden
    return next((image[w] for w, s in kind.fields.items() if w in seen and referred(s) is _SITE and image[w]), None)


async def _kept(
    call: Call, kind: RecordType, lookup: Lookup, places: list[_Place]
) -> tuple[dict[_Place, list[Image]], int]:
    """Return the records of a type that are for a lookup, by their place, and the `seq` that they were read at."""
    ids = tuple(dict.fromkeys(rec for _, rec in places))
    among: Node = Compare("for_id", "text", "in", ids)
    found = await call.find(Query(kind, both(equals(kind, "lookup", lookup.name), among), limit=ROWS))
    if found.more:
        message = f"More than {ROWS:,} rows of {lookup.name} are kept here; move what belongs to one record to it."
        raise HubError("lookup.too_large", message, path="lookup")
    by_place: dict[_Place, list[Image]] = {place: [] for place in places}
    for image in found.records:
        here = by_place.get((image["for_type"], image["for_id"]))
        if here is not None:
            here.append(image)
    return by_place, found.seq
