"""record.batch: up to 1,000 writes as one commit."""

from __future__ import annotations

from typing import Final

import msgspec

from handlers.base import Answer, Call, Needs, handles
from handlers.records import claim, plan, shown
from hub.schema.writes import Write
from hub.wire.codec import refine
from hub.wire.errors import HubError
from hub.wire.requests import BATCHABLE, RecordBatch

ITEMS: Final = 1000


@handles(Needs.ACCOUNT)
async def batch(call: Call, request: RecordBatch) -> Answer:
    """Do all the writes, or none of them."""
    if len(request.ops) > ITEMS:
        raise HubError("batch.too_large", f"A batch holds at most {ITEMS} operations; send several.", path="ops")
    if not request.atomic:
        raise HubError("data.invalid", "Only atomic batches are available in this version.", path="atomic")
    writes: list[Write] = []
    for n, item in enumerate(request.ops):
        try:
            kind = BATCHABLE.get(str(item.get("op")))
            if kind is None:
                known = ", ".join(BATCHABLE)
                raise HubError("op.unknown", f"An item of a batch is one of {known}.", path="op")
            if "id" in item or "key" in item:
                raise HubError("data.invalid", "Items have no id and no key of their own.", path="id")
            try:
                write = msgspec.convert({**item, "id": 1}, kind)
            except msgspec.ValidationError as error:
                raise refine(error) from None
            writes.append(plan(call, write))
        except HubError as refusal:
            raise refusal.at(f"ops.{n}") from None
    try:
        committed = await call.commit(tuple(writes), claim(call, request))
    except HubError as refusal:
        # Storage names the item where there are several; of a single one it says `rec`, not `ops.0.rec`.
        if len(writes) == 1 and refusal.path is not None and refusal.code != "key.reused":
            raise refusal.at("ops.0") from None
        raise
    results = [shown(call, write, result) for write, result in zip(writes, committed.results, strict=True)]
    return Answer({"results": results}, seq=committed.seq)
