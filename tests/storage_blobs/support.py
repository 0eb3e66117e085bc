"""What the tests of the blob store share."""

from __future__ import annotations

import hashlib
import random
from functools import cache
from pathlib import Path

from storage.blobs.base import BlobStore, Stored
from storage.blobs.pieces import PIECE_BYTES

MEGABYTE = 1024 * 1024


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pieces_of(data: bytes) -> tuple[str, ...]:
    """The hash of each piece, the plain way."""
    return tuple(sha256(data[n : n + PIECE_BYTES]) for n in range(0, len(data), PIECE_BYTES))


async def put(blobs: BlobStore, data: bytes, *, expected: str | None = None, chunk: int = 64 * 1024) -> Stored:
    """Store data in chunks."""
    async with blobs.receive(expected, max_bytes=100 * MEGABYTE) as upload:
        for n in range(0, len(data), chunk):
            await upload.write(data[n : n + chunk])
        return await upload.commit()


async def read(blobs: BlobStore, digest: str) -> bytes:
    """Everything that a blob holds."""
    async with await blobs.open(digest) as blob:
        return b"".join([part async for part in blob.chunks()])


def files(root: Path) -> set[str]:
    """The name of every file under a folder."""
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir()}


def place(digest: str) -> str:
    """Where a blob is, by the design."""
    return f"{digest[:2]}/{digest[2:4]}/{digest}"


@cache
def random_bytes(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)
