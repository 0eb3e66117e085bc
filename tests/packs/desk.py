"""A hub on a desk: the real rules of storage over memory, and the Context that actions of a pack see. No socket."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from hub import ActionWrite, ChangeRecord, Image, ItemRef, NewRecord, Record
from hub.access import OPERATOR, RightsTable
from hub.schema.query import sort_images
from hub.schema.record import RecordType, type_of
from hub.schema.registry import Registry
from hub.schema.where import matcher, parse_where
from hub.schema.writes import Commit, Committed, Create, Delete, Update, Write
from hub.wire.errors import HubError
from packs.events.actions import as_write
from packs.events.import_plan import Operation
from storage.decide import Decider
from storage.memory import MemoryDatabase

ACCOUNT = "desk"
REGISTRY = Registry.of(["hub.schema.core", "packs.events"])
RIGHTS = RightsTable(REGISTRY).of("editor")
NOW = "2026-11-21T09:00:00.000Z"
RUNS = 3
R = TypeVar("R")


class Desk:
    """One account in memory."""

    def __init__(self) -> None:
        self.database = MemoryDatabase()
        self._ids = (f"rec{n}" for n in itertools.count(1))

    def commit(self, writes: Sequence[ActionWrite]) -> Committed:
        """Decide writes as the hub does and make them true, or raise `HubError` and change nothing."""
        decider = Decider(REGISTRY, self.database, NOW)
        decision = decider.decide(Commit(ACCOUNT, tuple(self._write(write) for write in writes)))
        self.database.write(decision)
        return decision.committed

    def apply(self, operations: Sequence[Operation]) -> Committed:
        """Commit the operations of a plan."""
        return self.commit([as_write(operation) for operation in operations])

    def records(self, name: str) -> list[Image]:
        """Return the live records of a type."""
        return [image for image in self.database.table(ACCOUNT, name).values() if image["deleted_at"] is None]

    def the(self, name: str, /, **fields: Any) -> Image:
        """Return the one live record of a type with these values."""
        (found,) = (r for r in self.records(name) if all(r[field] == value for field, value in fields.items()))
        return found

    @property
    def commits(self) -> int:
        """How many commits changed something."""
        return self.database.head(ACCOUNT)

    def _write(self, write: ActionWrite) -> Write:
        kind = type_of(write.kind)
        if isinstance(write, NewRecord):
            return Create(kind, next(self._ids), _accepted(kind, write.data, create=True), write.parent)
        if isinstance(write, ChangeRecord):
            return Update(kind, write.rec, _accepted(kind, write.data, create=False), write.if_version)
        return Delete(kind, write.rec, write.if_version)


def _accepted(kind: RecordType, data: dict[str, Any], *, create: bool) -> dict[str, Any]:
    """Validate as the hub does; what an item of the same batch will create is filled in later."""
    later = {name: value for name, value in data.items() if isinstance(value, ItemRef)}
    plain = {name: "later" if name in later else value for name, value in data.items()}
    accept = kind.accept_create if create else kind.accept_change
    return accept(plain, trusted=True) | later


class DeskContext:
    """The Context of one call of an action."""

    def __init__(self, desk: Desk, target: Image | None = None, pause: Callable[[], Awaitable[None]] | None = None):
        self.desk = desk
        self.identity = OPERATOR
        self.rights = RIGHTS
        self.account = ACCOUNT
        self.target = target
        self.told: list[tuple[float | None, str | None]] = []
        self._pause = pause  # awaited before each submit, to let others in between

    def now(self) -> str:
        return NOW

    def random(self, count: int) -> bytes:
        return bytes(count)

    async def secret(self, record: Image, field: str) -> Any:
        raise HubError("secret.unreadable")

    async def get(self, kind: type[Record], rec: str, *, trusted: bool = False) -> Image:
        found = [image for image in self.desk.records(type_of(kind).name) if image["id"] == rec]
        if not found:
            raise HubError("record.not_found")
        return found[0]

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
        described = type_of(kind)
        matches = matcher(parse_where(described, where))
        rows = self.desk.database.table(ACCOUNT, described.name).values()
        return [
            image
            for image in sort_images(list(rows), ())
            if (deleted or image["deleted_at"] is None)
            and (parent is None or image[described.parent_wire or ""] == parent)
            and matches(image)
        ]

    async def submit(
        self,
        writes: Sequence[ActionWrite],
        answer: Callable[[Committed], R],
        *,
        shown_once: bool = False,
        trusted: bool = False,
    ) -> R:
        if self._pause is not None:
            await self._pause()
        return answer(self.desk.commit(writes))

    def progress(self, fraction: float | None = None, message: str | None = None) -> None:
        self.told.append((fraction, message))


async def call(desk: Desk, action: Callable[..., Awaitable[Any]], args: Any, target: Image | None = None) -> Any:
    """Call an action as the hub does: again when a version did not hold, at most `RUNS` times."""
    for run in range(1, RUNS + 1):
        try:
            return await action(DeskContext(desk, target, pause=lambda: asyncio.sleep(0)), args)
        except HubError as refusal:
            if refusal.code != "record.conflict" or run == RUNS:
                raise
    raise AssertionError("the loop above returns or raises")
