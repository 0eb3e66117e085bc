"""record.search: the records of several types in which words are found, best first, with where they were found."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from handlers.base import Answer, Call, Needs, handles
from handlers.records import PAGE_BYTES, size_of
from hub.access import SYSTEM
from hub.schema.record import RecordType
from hub.schema.search import (
    Hit,
    Scope,
    Search,
    Term,
    highlights,
    make_search_cursor,
    parse_search,
    read_search_cursor,
)
from hub.schema.where import parse_where
from hub.wire.errors import HubError
from hub.wire.requests import RecordSearch

AT_ONCE: Final = 16
"""How many hits are made ready before others have their turn."""


@handles(Needs.ACCOUNT)
async def search(call: Call, request: RecordSearch) -> Answer:
    """Find records by words, over all types or some, a page at a time."""
    terms = parse_search(request.q)
    scopes = tuple(
        Scope(kind, parse_where(kind, request.where, call.rights.hidden(kind), reach=call.reach))
        for kind in _kinds(call, request.types)
    )
    wanted = Search(terms, scopes, request.limit)
    if request.after is not None:
        after = read_search_cursor(wanted, request.after, call.services.secret)
        wanted = Search(terms, scopes, request.limit, after)
    found = await call.search(wanted)
    hits: list[dict[str, Any]] = []
    size = 0
    for n, hit in enumerate(found.hits):
        if n % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(0)
        shown = _shown(call, terms, hit)
        size += size_of(shown)
        if size > PAGE_BYTES and hits:
            break
        hits.append(shown)
    data: dict[str, Any] = {"hits": hits}
    if hits and (found.more or len(hits) < len(found.hits)):
        data["next"] = make_search_cursor(wanted, found.hits[len(hits) - 1].place, call.services.secret)
    data["seq"] = found.seq
    return Answer(data, seq=found.seq)


def _kinds(call: Call, types: list[str] | None) -> list[RecordType]:
    """Return the types to search, by name: those that are named, or every searchable one that the caller may read."""
    if types is None:
        system = call.account == SYSTEM
        known = call.services.registry.types.values()
        mine = [t for t in known if t.searchable and t.system == system and call.rights.allows(f"{t.name}.read")]
        return sorted(mine, key=lambda kind: kind.name)
    kinds: dict[str, RecordType] = {}
    for n, name in enumerate(types):
        kind = kinds[name] = call.kind(name, "read", f"types.{n}")
        if not kind.searchable:
            raise HubError("data.invalid", f"No field of {name} is searchable; leave it out.", path=f"types.{n}")
    return [kinds[name] for name in sorted(kinds)]


def _shown(call: Call, terms: tuple[Term, ...], hit: Hit) -> dict[str, Any]:
    kind = call.services.registry.types[hit.image["type"]]
    return {"record": call.rights.view(kind, hit.image), "highlights": highlights(terms, kind, hit.image)}
