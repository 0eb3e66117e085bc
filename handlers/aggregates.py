"""record.aggregate: what the records that match add up to, over all of them or by the values of one field."""

from __future__ import annotations

from typing import Any

import msgspec

from handlers.base import Answer, Call, Needs, handles
from handlers.records import PAGE_BYTES, scoped
from hub.schema.totals import parse_aggregate
from hub.wire.requests import RecordAggregate


@handles(Needs.ACCOUNT)
async def aggregate(call: Call, request: RecordAggregate) -> Answer:
    """Count and add up the records that match."""
    kind = call.kind(request.type, "read")
    hidden = call.rights.hidden(kind)
    node = await scoped(call, kind, request.where, request.parent)
    wanted = parse_aggregate(kind, node, request.group, request.values, hidden, request.limit)
    found = await call.aggregate(wanted)
    rows: list[dict[str, Any]] = []
    size, more = 0, found.more
    for value, parts in found.groups:
        row = {} if request.group is None else {request.group: value}
        row |= wanted.row(parts)
        size += len(msgspec.json.encode(row))
        if size > PAGE_BYTES:
            more = True
            break
        rows.append(row)
    data: dict[str, Any] = {"rows": rows}
    if more:
        data["more"] = True
    return Answer({**data, "seq": found.seq}, seq=found.seq)
