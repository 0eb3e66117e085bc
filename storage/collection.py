"""Removing the bytes of files that no record names any more: a part of the store at a time, after a time of grace.

A blob is removed where it was found without a record and is so again, when the grace is over. Tombstones name their
bytes, since they can be restored. An upload that comes in between begins anew (`storage.blobs.tree`), so bytes that
are about to be linked are never taken, nor those that a backup of the last hours names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hub.schema.record import RecordType
from storage.base import Storage
from storage.blobs.base import BlobStore

PARTS: Final = 256
ASKED: Final = 5000
"""How many hashes one question names."""


@dataclass
class Collected:
    """What was found: blobs with a record, without one, and removed, with their bytes."""

    named: int = 0
    unnamed: int = 0
    removed: int = 0
    bytes: int = 0


async def collect(storage: Storage, blobs: BlobStore, kinds: Sequence[RecordType], grace_seconds: float) -> Collected:
    """Look at every blob once; `kinds` are the types of file records."""
    found = Collected()
    for part in range(PARTS):
        hashes = await blobs.listed(part)
        for start in range(0, len(hashes), ASKED):
            asked = hashes[start : start + ASKED]
            named: set[str] = set()
            for kind in kinds:
                named |= await storage.taken(kind, asked, "sha256")
            await blobs.spare(sorted(named))
            found.named += len(named)
            for sha256 in asked:
                if sha256 in named:
                    continue
                size = await blobs.condemn(sha256, grace_seconds)
                if size is None:
                    found.unnamed += 1
                else:
                    found.removed += 1
                    found.bytes += size
        await asyncio.sleep(0)
    return found
