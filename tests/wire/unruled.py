"""Row rules taken out, one place at a time: what the matrix of row rules must notice.

Every place at which a rule, or what is hidden, is applied stands here with what takes it out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import handlers.action_context
import handlers.base
import handlers.bulk
import handlers.files
import handlers.watches
from channels.refills import WindowGroup
from channels.reviews import Reviews
from channels.watches import WatchQuery
from handlers.base import Call
from hub.access import Reach
from hub.schema.nodes import EVERYTHING, Node
from hub.schema.query import Query
from hub.schema.record import Image, RecordType
from hub.schema.rows import RowRules, within
from hub.schema.views import Sight
from hub.schema.writes import ChangeRow
from storage.work import Work


async def _get(
    self: Call, kind: RecordType, ids: list[str], *, deleted: bool = False, verb: str = "read"
) -> dict[str, Image]:
    return await self.services.storage.get(self.account, kind, ids, deleted=deleted)


_GET: Final = Call.get


async def _get_to_read(
    self: Call, kind: RecordType, ids: list[str], *, deleted: bool = False, verb: str = "read"
) -> dict[str, Image]:
    return await _GET(self, kind, ids, deleted=deleted)


async def _search(self: Call, search: Any) -> Any:
    return await self.services.storage.search(self.account, search)


async def _aggregate(self: Call, aggregate: Any) -> Any:
    return await self.services.storage.aggregate(self.account, aggregate)


def _all(query: Query, rules: RowRules) -> Query:
    return query


def _without_included(query: Query, rules: RowRules) -> Query:
    return replace(_WITHIN(query, rules), include=query.include)


_WITHIN: Final = within


def _no_rule(self: Reach, kind: RecordType) -> Node:
    return EVERYTHING


def _second(first: Node, second: Node) -> Node:
    return second


def _no(self: Work, kind: RecordType, image: Image) -> bool:
    return False


def _yes(self: Work, verb: str, kind: RecordType, image: Image, path: str) -> None:
    return None


def _whole(self: ChangeRow, test: Any) -> ChangeRow:
    return self


_COMMIT: Final = Call.commit


def _commit(self: Call, *given: Any, **more: Any) -> Any:
    return _struct_without_rules(_COMMIT(self, *given, **more))


def _struct_without_rules(commit: Any) -> Any:
    return type(commit)(**{name: getattr(commit, name) for name in commit.__struct_fields__} | {"rules": None})


def _leave(self: WatchQuery, rec: str, image: Any, why: str, version: int) -> Any:
    return {"kind": "leave", "rec": rec, "why": why, "version": version}


_WHY: Final = WindowGroup.why


def _why(self: WindowGroup, image: Image | None) -> str:
    why = _WHY(self, image)
    return "filter" if why == "rights" else why


UNRULED: Final[dict[str, tuple[Any, str, Callable[..., Any], set[str]]]] = {
    "reads by id": (Call, "get", _get, {"record.get", "record.history", "channel.join", "lock.take", "manifest.get"}),
    "the verb of what is read by id": (Call, "get", _get_to_read, {"lock.take"}),
    "finds": (handlers.base, "within", _all, {"record.find"}),
    "what is included": (handlers.base, "within", _without_included, {"record.get"}),
    "links of files": (handlers.files, "within", _all, {"file.grant"}),
    "reads of actions": (handlers.action_context, "within", _all, {"action.call"}),
    "searches": (Call, "search", _search, {"record.search"}),
    "aggregates": (Call, "aggregate", _aggregate, {"record.aggregate"}),
    "steps of filters": (Reach, "rule", _no_rule, {"record.find", "record.aggregate"}),
    "views": (Sight, "within", lambda self, rules: self, {"record.find", "record.get"}),
    "bulk writes": (handlers.bulk, "both", _second, {"record.update_where", "record.delete_where"}),
    "watches": (handlers.watches, "both", _second, {"watch.start"}),
    "why a record leaves": (WatchQuery, "leaves", _leave, {"watch.start"}),
    "why a record leaves a window": (WindowGroup, "why", _why, {"watch.start"}),
    "what is hidden from a write": (Work, "hides", _no, {"record.update", "record.delete", "record.create"}),
    "what a write may": (Work, "may", _yes, {"record.update", "record.delete", "record.create", "record.batch"}),
    "rules of a commit": (Call, "commit", _commit, {"record.update", "record.upsert", "record.move"}),
    "the past": (ChangeRow, "within", _whole, {"record.history", "feed.start"}),
    "who loses a record": (Reviews, "changed", lambda self, account, row: None, {"presence.update", "lock.take"}),
}
"""By what is taken out: where it is, its name, what stands there instead, and operations that must be seen to leak."""
