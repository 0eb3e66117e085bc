"""lock.take, lock.keep, lock.release: say that this session edits a record, for all who look at it."""

from __future__ import annotations

from channels.locks import shown
from handlers.base import Answer, Call, Needs, handles
from handlers.channels import member
from hub.schema.record import RecordType
from hub.wire.errors import HubError
from hub.wire.requests import LockKeep, LockRelease, LockTake
from storage.locks import LEASE_SECONDS, Holder, LockKey


async def _look(call: Call, kind: RecordType, rec: str) -> None:
    """Raise `record.not_found` where the record is not there, now that its deletion would be heard of."""
    live, heard = call.services.live, -1
    while heard != live.deletions:
        heard = live.deletions
        if rec not in await call.get(kind, [rec], verb="update"):
            raise HubError("record.not_found", path="rec")


async def _hold(call: Call, type_: str, rec: str, *, steal: bool = False) -> Answer:
    session, kind, who = call.session, call.kind(type_, "update"), member(call)
    if who is None:
        raise HubError("access.denied", "Locks are for users and devices; the operator writes without one.")
    await _look(call, kind, rec)
    if call.moved or session.outlet is None:
        raise HubError("action.cancelled", "The session has changed its account meanwhile.")
    live, key = call.services.live, (call.account, kind.name, rec)
    heard = live.deletions
    lock = await live.locks.take(key, Holder(who.kind, who.rec, who.name, session.id), steal=steal)
    if heard != live.deletions:
        await _still_there(call, kind, key)
    try:
        call.check_rights()
    except HubError:
        await live.locks.release(key, session.id)
        raise
    return Answer({**shown(lock), "lease": LEASE_SECONDS})


async def _still_there(call: Call, kind: RecordType, key: LockKey) -> None:
    try:
        await _look(call, kind, key[2])
    except HubError:
        call.services.live.locks.forget(key)
        raise


@handles(Needs.ACCOUNT)
async def take(call: Call, request: LockTake) -> Answer:
    """Hold the lock of a record, with `steal` also one that another session has."""
    return await _hold(call, request.type, request.rec, steal=request.steal)


@handles(Needs.ACCOUNT)
async def keep(call: Call, request: LockKeep) -> Answer:
    """Hold the lock of a record for another lease."""
    return await _hold(call, request.type, request.rec)


@handles(Needs.ACCOUNT)
async def release(call: Call, request: LockRelease) -> Answer:
    """Let the lock of a record go; nobody's is as good as released."""
    session, kind = call.session, call.kind(request.type, "update")
    await _look(call, kind, request.rec)
    await call.services.live.locks.release((call.account, kind.name, request.rec), session.id)
    return Answer({})
