"""record.history: who changed a record, when, and from what to what."""

from __future__ import annotations

from functools import partial
from typing import Any

from channels.feeds import SAID_ABOVE
from handlers.base import Answer, Call, Needs, handles
from handlers.records import PAGE_BYTES, size_of
from hub.schema.query import Query, SortKey, make_cursor, read_cursor
from hub.schema.where import equals
from hub.schema.writes import ChangeRow, ChangeSet
from hub.wire.errors import HubError
from hub.wire.requests import RecordHistory


@handles(Needs.ACCOUNT)
async def history(call: Call, request: RecordHistory) -> Answer:
    """Read what became of a record, the newest change first."""
    kind = call.kind(request.type, "read")
    query = Query(kind, equals(kind, "id", request.rec), (SortKey("version", descending=True),), deleted=True)
    below = None
    if request.after is not None:
        (below,) = read_cursor(query, request.after, call.services.secret)
    if request.rec not in await call.get(kind, [request.rec], deleted=True):
        raise HubError("record.not_found", f"There is no {kind.name} with this id.", path="rec")
    found = await call.services.storage.history(call.account, kind, request.rec, below, request.limit + 1)
    hidden, rules = call.rights.hidden(kind) | SAID_ABOVE, call.rules
    entries: list[dict[str, Any]] = []
    size = 0
    last = 0
    for n, commit in enumerate(found[: request.limit], 1):
        row: ChangeRow | None = commit.rows[0]
        if row is not None and rules.binds(kind):
            row = row.within(partial(rules.allows, kind, "read"))
        if row is not None:
            entry = _entry(commit, row, hidden)
            size += size_of(entry)
            if size > PAGE_BYTES and entries:
                break
            entries.append(entry)
        last = n
    data: dict[str, Any] = {"entries": entries}
    if last < len(found):
        data["next"] = make_cursor(query, (found[last - 1].rows[0].version,), call.services.secret)
    return Answer(data)


def _entry(commit: ChangeSet, row: ChangeRow, hidden: frozenset[str]) -> dict[str, Any]:
    """Return what one change says: `before` and `after` of what changed, `before` null for a creation."""
    before, after = row.difference(hidden)
    return {
        "version": row.version,
        "kind": row.kind,
        "seq": commit.seq,
        "at": commit.at,
        "actor": commit.actor,
        "session": commit.session,
        "request": commit.request,
        "before": before,
        "after": after,
    }
