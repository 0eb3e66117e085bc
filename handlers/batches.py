"""record.batch: up to 1,000 writes as one commit, all or none, or each that can be done."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from handlers.base import Answer, Call, Needs, handles
from handlers.governed import refuse_together
from handlers.records import HARD, claim, plan, shown
from hub.schema.writes import Committed, Delete, Refused, Result, Write
from hub.wire.codec import refine
from hub.wire.errors import HubError
from hub.wire.requests import BATCHABLE, RecordBatch

ITEMS: Final = 1000


@handles(Needs.ACCOUNT)
async def batch(call: Call, request: RecordBatch) -> Answer:
    """Do all the writes, or none of them; if not atomic, each that can be done."""
    if len(request.ops) > ITEMS:
        raise HubError("batch.too_large", f"A batch holds at most {ITEMS} operations; send several.", path="ops")
    writes: list[Write | Refused] = []
    for n, item in enumerate(request.ops):
        try:
            writes.append(_item(call, item))
        except HubError as refusal:
            if request.atomic:
                raise refusal.at(f"ops.{n}") from None
            writes.append(Refused(refusal.at(f"ops.{n}").body()))

    def answer(committed: Committed) -> list[Any]:
        return [_shown(call, write, result) for write, result in zip(writes, committed.results, strict=True)]

    # A hard deletion may take many along; a group of commits must not get too large by them.
    extra = sum(HARD for write in writes if isinstance(write, Delete) and write.hard)
    key = claim(call, request)
    if not request.atomic:
        commit = call.commit(tuple(writes), key, extra=extra, atomic=False, answer=answer)
        committed = await call.services.storage.submit(commit)
        return Answer({"results": committed.answer}, seq=committed.seq)
    try:
        committed = await call.services.storage.submit(call.commit(tuple(writes), key, extra=extra))
    except HubError as refusal:
        # Storage names the item where there are several; of a single one it says `rec`, not `ops.0.rec`.
        if len(writes) == 1 and refusal.path is not None and refusal.code != "key.reused":
            raise refusal.at("ops.0") from None
        raise
    return Answer({"results": answer(committed)}, seq=committed.seq)


def _item(call: Call, item: dict[str, Any]) -> Write:
    """Return the write that an item asks for; raise its refusal."""
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
    planned = plan(call, write)
    refuse_together(planned.type)
    return planned


def _shown(call: Call, write: Write | Refused, result: Result) -> Any:
    if isinstance(write, Refused) or result.refused is not None:
        return result.refused
    return shown(call, write, result)
