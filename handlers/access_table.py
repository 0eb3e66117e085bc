"""What every operation takes, by type: the table from which the matrix of role × operation × type is made.

An operation without a row here does not start. What stands here is held against the operations themselves by
`tests/wire/test_access_table.py`, which asks each of them as each role.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from hub.access import RightsTable
from hub.schema.access import FEED, ROLES
from hub.schema.fields import DeclarationError
from hub.schema.record import RecordType
from hub.schema.registry import Registry

OPERATIONS: Final[dict[str, tuple[str, ...]]] = {
    "session.hello": (),
    "session.auth": (),
    "session.beat": (),
    "record.get": ("read",),
    "record.find": ("read",),
    "record.aggregate": ("read",),
    "record.search": ("read",),
    "record.create": ("create",),
    "record.upsert": ("create", "update"),
    "record.update": ("update",),
    "record.delete": ("delete",),
    "record.move": ("update",),
    "record.restore": ("delete",),
    "record.revert": ("update", "read"),
    "record.update_where": ("update", "read"),
    "record.delete_where": ("delete", "read"),
    "record.history": ("read",),
    "record.batch": (),
    "feed.start": (FEED,),
    "feed.ack": (FEED,),
    "feed.stop": (FEED,),
    "watch.start": ("read",),
    "watch.stop": (),
    "channel.join": ("read",),
    "channel.leave": (),
    "channel.send": (),
    "presence.update": (),
    "presence.roster": ("read",),
    "presence.status": ("membership.read",),
    "lock.take": ("update",),
    "lock.keep": ("update",),
    "lock.release": ("update",),
    "client.call": (),
    "client.reply": (),
    "lookup.list": ("lookup_row.read", "lookup_policy.read"),
    "lookup.resolve": ("lookup_row.read", "lookup_policy.read"),
    "action.call": (),
    "schema.describe": (),
    "file.grant": ("read",),
    "manifest.get": ("read",),
}
"""By operation: the verbs it takes of the type that it is about, or permissions of their own (with a dot)."""
NOTES: Final = {
    "record.batch": "that of each item",
    "record.delete": "with `mode: hard`: purge",
    "record.search": "of every type that is searched",
    "channel.send": "what the channel declares",
    "channel.join": "of a channel that is no record's: what it declares",
    "presence.roster": "as `channel.join`, and to see who is there",
    "client.call": "what the command declares",
    "action.call": "what the action declares",
    "lookup.list": "with `for`: read of that type too",
    "lookup.resolve": "with `for`: read of that type too",
    "manifest.get": "and read of the type of its files",
    "file.grant": "by hash: of any file with these bytes",
    "session.hello": "whoever comes",
    "schema.describe": "shows what the caller may use",
}
"""What else is to be said of an operation."""


def check_table(names: set[str]) -> None:
    """Raise `DeclarationError` for an operation that has no row, and for a row of none."""
    if missing := sorted(names - OPERATIONS.keys()):
        raise DeclarationError(f"no row in handlers.access_table for {', '.join(missing)}")
    if more := sorted(OPERATIONS.keys() - names):
        raise DeclarationError(f"handlers.access_table has a row for {', '.join(more)}, which no operation is")


def needed(op: str, kind: RecordType) -> tuple[str, ...]:
    """Return the permissions that an operation takes for a type."""
    return tuple(verb if "." in verb else f"{kind.name}.{verb}" for verb in OPERATIONS[op])


def concerns(op: str, kind: RecordType) -> bool:
    """Say whether an operation is about records of a type."""
    if op == "record.search":
        return bool(kind.searchable)
    if op == "record.upsert":
        return bool(kind.unique)
    if op == "record.move":
        return kind.parent is not None
    if op == "file.grant":
        return kind.file
    return any("." not in verb for verb in OPERATIONS[op])


def cells(registry: Registry) -> Iterator[dict[str, Any]]:
    """Yield a cell for every operation about records × type × role of the ladder: whether it may."""
    table = RightsTable(registry)
    for op in OPERATIONS:
        for kind in registry.types.values():
            if not concerns(op, kind) or (op == "manifest.get" and registry.file_type(kind) is None):
                continue
            needs = needed(op, kind)
            for role in ROLES:
                may = all(map(table.of(role).allows, needs))
                yield {"op": op, "type": kind.name, "role": role, "needs": list(needs), "may": may}
