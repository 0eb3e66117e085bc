"""action.call: run a declared action in the caller's name and answer with its result."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from handlers.base import Answer, Call, Needs, Services, handles
from hub.access import Identity, Rights
from hub.context import ActionWrite, ChangeRecord, DeleteRecord, NewRecord
from hub.schema.actions import ActionSpec
from hub.schema.query import Query, parse_order
from hub.schema.record import Image, Record, RecordType, type_of
from hub.schema.where import both, equals, parse_where
from hub.schema.writes import Commit, Committed, Create, Delete, KeyClaim, Update, Write
from hub.wire import frames
from hub.wire.codec import refine
from hub.wire.errors import HubError
from hub.wire.requests import ActionCall, ItemRef

ATTEMPTS: Final = 3
TIMEOUT_SECONDS: Final = 30.0
_PLACEHOLDER: Final = "A" * 11


class ActionContext:
    """The Context of one run of an action; every read is inside the caller's account."""

    def __init__(self, call: Call, request: ActionCall, target: Image | None) -> None:
        self._call = call
        self._request = request
        self.services: Services = call.services
        self.identity: Identity = call.identity
        self.rights: Rights = call.rights
        self.account: str = call.account
        self.target = target
        self.seq: int | None = None
        """The `seq` of the last commit, which the answer carries."""

    def now(self) -> str:
        """Return the time in wire form."""
        return self.services.clock()

    def random(self, count: int) -> bytes:
        """Return fresh random bytes."""
        return self.services.random(count)

    async def get(self, kind: type[Record], rec: str) -> Image:
        """Return a live record; raise `record.not_found`."""
        wanted = type_of(kind)
        found = await self.services.storage.get(self.account, wanted, [rec])
        if rec not in found:
            raise HubError("record.not_found", f"There is no {wanted.name} with this id.")
        return found[rec]

    async def find(
        self,
        kind: type[Record],
        where: dict[str, Any] | None = None,
        *,
        parent: str | None = None,
        order: list[str] | None = None,
        deleted: bool = False,
    ) -> list[Image]:
        """Return every live record that matches; with `deleted`, tombstones too."""
        wanted = type_of(kind)
        node = parse_where(wanted, where)
        if parent is not None and wanted.parent_wire is not None:
            node = both(equals(wanted, wanted.parent_wire, parent), node)
        query = Query(wanted, node, parse_order(wanted, order), deleted=deleted)
        found = await self.services.storage.find(self.account, query)
        return found.records

    async def submit(self, writes: Sequence[ActionWrite], *, account: str | None = None) -> Committed:
        """Commit the writes together."""
        call, request = self._call, self._request
        key = None
        if request.key is not None:
            plain = msgspec.to_builtins(request)
            del plain["id"], plain["key"]
            body = msgspec.json.encode(plain, order="deterministic")
            scope = self.identity.user or self.identity.credential or self.identity.source
            key = KeyClaim(scope, request.key, hashlib.sha256(body).digest())
        planned = tuple(self._plan(write) for write in writes)
        commit = Commit(
            account or self.account, planned, self.identity.user, call.peer.session_id, str(call.request_id), key
        )
        committed = await self.services.storage.submit(commit)
        if account is None:
            self.seq = committed.seq
        return committed

    def _plan(self, write: ActionWrite) -> Write:
        kind = type_of(write.kind)
        match write:
            case NewRecord():
                data = _trusted(kind, write.data, creating=True)
                return Create(kind, self.services.new_id(), data, write.parent)
            case ChangeRecord():
                return Update(kind, write.rec, _trusted(kind, write.data, creating=False), write.if_version)
            case DeleteRecord():
                return Delete(kind, write.rec, write.if_version)

    def progress(self, fraction: float | None = None, message: str | None = None) -> None:
        """Tell the caller how far the action is."""
        outlet = self._call.peer.outlet
        if outlet is None:
            return
        self._call.progress_count += 1
        push = frames.progress(self._call.request_id, self._call.progress_count, fraction, message)
        outlet.push(outlet.codec.encode(push), ("progress", self._call.request_id))


def _trusted(kind: RecordType, data: dict[str, Any], *, creating: bool) -> Image:
    items = {name: value for name, value in data.items() if isinstance(value, ItemRef)}
    given = {**data, **dict.fromkeys(items, _PLACEHOLDER)}
    accepted = kind.accept_create(given, trusted=True) if creating else kind.accept_change(given, trusted=True)
    return accepted | items


@handles(Needs.ACCOUNT)
async def call_action(call: Call, request: ActionCall) -> Answer:
    """Run an action; it is run again, at most twice more, where a version it relied on has changed."""
    spec = call.services.registry.actions.get(request.action)
    if spec is None:
        raise HubError("action.unknown", f"There is no action {request.action[:64]!r}.", path="action")
    if spec.operator:
        if call.identity.source != "operator":
            raise HubError("access.denied", "This action answers on the hub's own machine only.", path="action")
    else:
        call.rights.require(spec.needs)
    if request.mode != "wait":
        raise HubError("data.invalid", "Only mode `wait` is available in this version.", path="mode")
    try:
        args = msgspec.convert(request.args, spec.args)
    except msgspec.ValidationError as error:
        raise refine(error, prefix="args") from None
    for attempt in range(1, ATTEMPTS + 1):
        context = ActionContext(call, request, await _target(call, spec, request))
        try:
            async with asyncio.timeout(request.timeout or TIMEOUT_SECONDS):
                result = await spec.run(context, args)
            return Answer(msgspec.to_builtins(result), seq=context.seq)
        except TimeoutError:
            raise HubError("action.timeout", retry_after=1) from None
        except HubError as refusal:
            if refusal.code != "record.conflict" or attempt == ATTEMPTS:
                raise
    raise HubError("record.conflict")


async def _target(call: Call, spec: ActionSpec, request: ActionCall) -> Image | None:
    if spec.target is None:
        if request.target is not None:
            raise HubError("data.invalid", f"{spec.name} works on no record.", path="target")
        return None
    if request.target is None or request.target.type != spec.target.name:
        raise HubError("data.invalid", f"{spec.name} works on a {spec.target.name}.", path="target")
    found = await call.services.storage.get(call.account, spec.target, [request.target.rec])
    if request.target.rec not in found:
        raise HubError("record.not_found", f"There is no {spec.target.name} with this id.", path="target.rec")
    return found[request.target.rec]
