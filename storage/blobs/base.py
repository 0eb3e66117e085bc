"""The promise of the blob store: bytes by their SHA-256, whole or not at all.

    async with blobs.receive(expected=None, max_bytes=10_000_000) as upload:
        await upload.write(chunk)
        stored = await upload.commit()

- A blob is visible only when all of its bytes are on disk under the hash that they really have.
- Leaving the `async with` without a commit leaves nothing. So does a killed process, after the next start.
- Equal bytes are stored once; uploads of the same bytes at the same time do not disturb each other.
- Nothing here blocks the event loop.

Knows bytes and hashes; knows no name, no record, no account and no right.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self


@dataclass(frozen=True, slots=True)
class Stored:
    """A blob: its hash in lower-case hex, its size in bytes, and the hash of each 4 MiB piece in order.

    The last piece may be shorter; a blob of no bytes has no pieces.
    """

    sha256: str
    size: int
    pieces: tuple[str, ...]


class BlobMissing(LookupError):
    """There is no blob with this hash."""


class BlobCorrupt(Exception):
    """The bytes on disk are no longer what their hash says."""


class Upload(Protocol):
    """One arriving blob; an asynchronous context manager."""

    async def __aenter__(self) -> Self:
        """Begin; raise `storage.full` or `file.too_large` where that is known already."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop everything that was not committed."""

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes; raise `file.too_large` or `storage.full`."""

    async def commit(self) -> Stored:
        """Make the blob durable and visible; raise `file.mismatch` where the expected hash is another."""


class Blob(Protocol):
    """One blob that is open for reading; an asynchronous context manager."""

    sha256: str
    size: int

    async def __aenter__(self) -> Self:
        """Return the blob itself."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""

    async def read(self, start: int, count: int) -> bytes:
        """Return `count` bytes from `start`; raise `BlobCorrupt` where the file on disk is shorter."""

    def chunks(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` to before `stop`, the next chunk being read while one is used."""


class BlobStore(Protocol):
    """A keeper of blobs. A hash is 64 lower-case hex digits; anything else is a ValueError."""

    async def start(self) -> None:
        """Make what is missing, and remove what uploads of killed processes left."""

    async def close(self) -> None:
        """Finish what runs, then stop."""

    def receive(self, expected: str | None, max_bytes: int, announced: int | None = None) -> Upload:
        """Return a new upload; `announced` is its size in bytes where the sender told it."""

    async def open(self, sha256: str) -> Blob:
        """Return a blob for reading; raise `BlobMissing`."""

    async def stat(self, sha256: str) -> int | None:
        """Return the size of a blob in bytes, or None where there is none."""

    async def pieces(self, sha256: str) -> tuple[str, ...]:
        """Return the hash of each 4 MiB piece; raise `BlobMissing` or `BlobCorrupt`."""

    async def verify(self, sha256: str) -> bool:
        """Read the whole blob and say whether it is what its hash says; raise `BlobMissing`."""

    async def listed(self, part: int) -> list[str]:
        """Return the hashes of the blobs in one of 256 parts of the store."""

    async def spare(self, hashes: Iterable[str]) -> None:
        """Note that records name these blobs."""

    async def condemn(self, sha256: str, seconds: float) -> int | None:
        """Note that no record names a blob; remove it, and return its size, where that was so `seconds` ago already.

        Returns None where the blob stays. An upload of the same bytes begins the time anew.
        """

    async def free_bytes(self) -> int:
        """Return how many bytes uploads may still take: the room on the disk without the reserve."""
