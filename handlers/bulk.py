"""record.update_where and record.delete_where: one write for every record that matches, with a ceiling.

The records are found inside the write transaction, so nothing comes between the filter and the write. More than
`limit` are refused as a whole: nothing is half done, and nobody has to guess which ones were.
"""

from __future__ import annotations

from handlers.base import Answer, Call, Needs, handles
from handlers.governed import refuse_together
from handlers.records import accept, claim, may_be_for
from hub.schema.record import RecordType
from hub.schema.where import Node, both, parse_where
from hub.schema.writes import DeleteWhere, OfMany, UpdateWhere
from hub.wire.errors import HubError
from hub.wire.requests import ItemRef, RecordDeleteWhere, RecordUpdateWhere


@handles(Needs.ACCOUNT)
async def update_where(call: Call, request: RecordUpdateWhere) -> Answer:
    """Replace the given fields of every record that matches."""
    kind, where = _matching(call, request, "update")
    change = accept(call, kind, request.data, creating=False)
    may_be_for(call, kind, change)
    for name, value in change.items():
        if isinstance(value, ItemRef):
            raise HubError("data.invalid", "$item is for items of a batch.", path=f"data.{name}")
    return await _write(call, request, UpdateWhere(kind, where, change, request.limit))


@handles(Needs.ACCOUNT)
async def delete_where(call: Call, request: RecordDeleteWhere) -> Answer:
    """Delete softly every record that matches."""
    kind, where = _matching(call, request, "delete")
    return await _write(call, request, DeleteWhere(kind, where, request.limit))


def _matching(call: Call, request: RecordUpdateWhere | RecordDeleteWhere, verb: str) -> tuple[RecordType, Node]:
    """Return type and filter; a filter tells what is there, so it takes the right to read as well."""
    kind = call.kind(request.type, verb)
    call.rights.require(f"{kind.name}.read")
    refuse_together(kind)
    node = parse_where(kind, request.where, call.rights.hidden(kind), reach=call.reach)
    return kind, both(call.rules.node(kind, "read"), node)


async def _write(call: Call, request: RecordUpdateWhere | RecordDeleteWhere, write: OfMany) -> Answer:
    commit = call.commit((write,), claim(call, request), extra=request.limit)
    committed = await call.services.storage.submit(commit)
    return Answer({"count": committed.results[0].image["count"]}, seq=committed.seq)
