"""What an action sees of the hub: the shell behind `hub.context.Context`, and what one call knows across its runs.

Reads and submits; when an action is run, and how often, is no concern of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from handlers.base import Call, Services
from handlers.turns import Thing
from hub.access import Identity, Rights
from hub.context import ActionWrite, ChangeRecord, DeleteRecord, NewRecord
from hub.schema.query import Query, parse_order
from hub.schema.record import Image, Record, RecordType, type_of
from hub.schema.registry import Registry
from hub.schema.rows import FREE, RowRules, within
from hub.schema.where import Node, both, equals, parse_where
from hub.schema.writes import Commit, Committed, Create, Delete, KeyClaim, Update, Write
from hub.wire import frames
from hub.wire.errors import HubError
from hub.wire.requests import ItemRef

_PLACEHOLDER: Final = "A" * 11
_R = TypeVar("_R")


class Stale(HubError):
    """What a run relied on is not so any more, or somebody before it is about to change it: run it again, in turn.

    To the action it is the refusal `record.conflict`.
    """

    def __init__(self, things: set[Thing]) -> None:
        super().__init__(
            "record.conflict",
            "What this works on was changed by others each time it was about to write; call it again.",
            retry_after=1,
        )
        self.things = things


class Repeated(Exception):
    """The commit had been made before under this key: there is nothing left for the action to do."""


class Course:
    """What one call knows across the runs of its action."""

    __slots__ = ("claim", "committed", "holds", "unknown")

    def __init__(self, claim: KeyClaim | None) -> None:
        self.claim = claim
        # The records that it holds for itself in this instance, so that no other action comes in between.
        self.holds: set[Thing] = set()
        # Whether a commit is under way.
        self.unknown = False
        # What was committed: with it the answer is fixed.
        self.committed: Committed | None = None


class _Reach:
    """How far the filters of an action reach: to every type of the hub, within the caller's row rules."""

    def __init__(self, registry: Registry, rules: RowRules) -> None:
        self.hidden, self.children, self.enter = registry.hidden, registry.children, registry.enter
        self._rules = rules

    def rule(self, kind: RecordType) -> Node:
        return self._rules.node(kind, "read")


class ActionContext:
    """The Context of one run of an action; every read is inside the caller's account, and within their row rules."""

    def __init__(self, call: Call, course: Course, target: Image | None, *, shown_once: bool = False) -> None:
        self.call = call
        self._course = course
        self._submitted = False
        self.services: Services = call.services
        self.identity: Identity = call.identity
        self.target = target
        self._shown_once = shown_once

    @property
    def _rules(self) -> RowRules:
        return self.call.rules

    @property
    def rights(self) -> Rights:
        """The rights in the chosen account; raise `account.required` where a guest, or whoever chose none, calls."""
        return self.call.rights

    @property
    def account(self) -> str:
        """The chosen account; raise likewise."""
        return self.call.account

    def now(self) -> str:
        """Return the time in wire form."""
        return self.services.clock()

    def random(self, count: int) -> bytes:
        """Return fresh random bytes."""
        return self.services.random(count)

    async def get(self, kind: type[Record], rec: str, *, trusted: bool = False) -> Image:
        """Return a live record; raise `record.not_found`."""
        wanted = type_of(kind)
        found = await self.services.storage.get(self.account, wanted, [rec])
        if rec not in found or not (trusted or self._rules.allows(wanted, "read", found[rec])):
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
        trusted: bool = False,
    ) -> list[Image]:
        """Return every live record that matches; with `deleted`, tombstones too."""
        wanted, rules = type_of(kind), FREE if trusted else self._rules
        node = parse_where(wanted, where, reach=_Reach(self.services.registry, rules))
        if parent is not None and wanted.parent_wire is not None:
            node = both(equals(wanted, wanted.parent_wire, parent), node)
        query = Query(wanted, node, parse_order(wanted, order), deleted=deleted)
        found = await self.services.storage.find(self.account, within(query, rules))
        return found.records

    async def submit(
        self,
        writes: Sequence[ActionWrite],
        answer: Callable[[Committed], _R],
        *,
        shown_once: bool = False,
        trusted: bool = False,
    ) -> _R:
        """Commit the writes together and return what `answer` makes of them."""
        if self._submitted:
            raise RuntimeError("an action submits once: what it did before could neither be undone nor repeated")
        self._submitted = True
        course = self._course
        planned = tuple(self._plan(write) for write in writes)
        guarded = [self._guarded(write) for write in planned]
        if others := {thing for thing in guarded if thing and self._is_of_others(thing)}:
            raise Stale(others)  # somebody waits for it already; behind them is a place
        made: list[_R] = []

        def answered(committed: Committed) -> _R:
            made[:] = [answer(committed)]
            return made[0]

        commit = Commit(
            self.account, planned, self.identity.actor, self.call.peer.session_id, str(self.call.request_id),
            course.claim, answered, shown_once or self._shown_once,
            rules=None if trusted else self._rules or None,
        )  # fmt: skip
        committing = self.services.storage.submit(commit)
        course.unknown = True
        try:
            committed = await committing
        except HubError as refusal:
            course.unknown = False
            # Storage names the write where there are several.
            number = int((refusal.path or "").split(".")[1]) if (refusal.path or "").startswith("ops.") else 0
            thing = guarded[number] if refusal.code == "record.conflict" else None
            if thing is not None:
                raise Stale({thing}) from None
            raise
        course.unknown = False
        course.committed = committed
        if committed.replayed:
            raise Repeated
        return made[0]

    def _is_of_others(self, thing: Thing) -> bool:
        return thing not in self._course.holds and self.services.turns.taken(thing)

    def _guarded(self, write: Write) -> Thing | None:
        """Return the record whose version a write relies on."""
        if isinstance(write, Update | Delete) and write.if_version is not None and isinstance(write.rec, str):
            return (self.account, write.type.name, write.rec)
        return None

    def _plan(self, write: ActionWrite) -> Write:
        kind = type_of(write.kind)
        match write:
            case NewRecord():
                data = _trusted(kind, write.data, creating=True)
                return Create(kind, write.rec or self.services.new_id(), data, write.parent)
            case ChangeRecord():
                return Update(kind, write.rec, _trusted(kind, write.data, creating=False), write.if_version)
            case DeleteRecord():
                return Delete(kind, write.rec, write.if_version)

    async def secret(self, record: Image, field: str) -> Any:
        """Return a secret of a record; an audit entry says who read it."""
        from handlers.secrets import read_secret  # which declares an action over this very context

        return await read_secret(self.services, self.identity, self.account, record, field)

    def progress(self, fraction: float | None = None, message: str | None = None) -> None:
        """Tell the caller how far the action is."""
        outlet = self.call.peer.outlet
        if outlet is None:
            return
        self.call.progress_count += 1
        push = frames.progress(self.call.request_id, self.call.progress_count, fraction, message)
        outlet.push(outlet.codec.encode(push), ("progress", self.call.request_id))


def _trusted(kind: RecordType, data: dict[str, Any], *, creating: bool) -> Image:
    items = {name: value for name, value in data.items() if isinstance(value, ItemRef)}
    given = {**data, **dict.fromkeys(items, _PLACEHOLDER)}
    accepted = kind.accept_create(given, trusted=True) if creating else kind.accept_change(given, trusted=True)
    return accepted | items
