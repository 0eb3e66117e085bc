"""A keeper whose account filter was taken out, one place at a time: what the account matrix must notice."""

from __future__ import annotations

from typing import Any, Final

from hub.schema.query import Query, is_after, sort_images
from hub.schema.record import Image, RecordType
from hub.schema.where import matcher
from storage.base import FIND_CEILING, Found
from storage.memory import MemoryDatabase, MemoryStorage


async def get_anywhere(
    self: MemoryStorage, account: str, kind: RecordType, ids: list[str], *, deleted: bool = False
) -> dict[str, Image]:
    """Read by id, whatever account asks."""
    found: dict[str, Image] = {}
    for (_, name), table in self.database.rows.items():
        if name == kind.name:
            found |= {i: table[i] for i in ids if i in table and (deleted or table[i]["deleted_at"] is None)}
    return found


async def find_anywhere(self: MemoryStorage, account: str, query: Query) -> Found:
    """Find, whatever account asks."""
    matches = matcher(query.where)
    rows = [i for (_, name), t in self.database.rows.items() if name == query.type.name for i in t.values()]
    found = [i for i in rows if (query.deleted or i["deleted_at"] is None) and matches(i)]
    total = len(found) if query.count else None
    found = sort_images(found, query.order)
    if query.after is not None:
        found = [i for i in found if is_after(i, query.order, query.after)]
    limit = query.limit if query.limit is not None else FIND_CEILING
    return Found(found[:limit], self.database.head(account), len(found) > limit, total)


def record_anywhere(self: MemoryDatabase, account: str, kind: RecordType, rec: str) -> Image | None:
    """Decide a write over a record, whatever account it belongs to."""
    tables = [table for (_, name), table in self.rows.items() if name == kind.name and rec in table]
    return tables[0][rec] if tables else None


def unique_anywhere(
    self: MemoryDatabase, account: str, kind: RecordType, names: tuple[str, ...], values: tuple[Any, ...]
) -> str | None:
    """Look for a unique value, whatever account has it."""
    for (_, name), table in self.rows.items():
        for image in table.values() if name == kind.name else ():
            if image["deleted_at"] is None and all(image[n] == v for n, v in zip(names, values, strict=True)):
                return str(image["id"])
    return None


BROKEN: Final[dict[str, tuple[type, Any, set[str]]]] = {
    "get": (MemoryStorage, get_anywhere, {"record.get", "record.find", "channel.join", "file.grant", "manifest.get"}),
    "find": (MemoryStorage, find_anywhere, {"record.find", "watch.start", "file.grant"}),
    "record": (MemoryDatabase, record_anywhere, {"record.update", "record.delete", "record.create", "record.batch"}),
    "unique": (MemoryDatabase, unique_anywhere, {"record.create", "record.upsert"}),
}
"""What is taken out of the keeper, and operations that must be seen to leak then."""
