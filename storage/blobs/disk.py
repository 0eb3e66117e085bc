"""The keeper of blobs on a local disk: asynchronous shells over `work` and `tree`.

Blocking calls run in small pools of threads, so that uploads that wait for the disk never hold up
downloads, and neither ever holds up the event loop. Arriving chunks are gathered to 256 KiB; while one
such part is hashed and written, the next one arrives, and no more than that is held.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar

from hub.wire.errors import HubError
from hub.wire.names import SHA256
from storage.blobs.base import BlobCorrupt, Stored
from storage.blobs.pieces import PieceHasher
from storage.blobs.tree import Tree
from storage.blobs.work import Handle, Intake

GATHER_BYTES: Final = 256 * 1024
"""How many bytes of an upload are gathered before they are written."""
CHUNK_BYTES: Final = 256 * 1024
"""How many bytes of a blob are read at a time; a sender holds at most two of these."""
SWEEP_SECONDS: Final = 600
"""How often a running store looks for what uploads of other, killed processes left."""

_T = TypeVar("_T")
_P = ParamSpec("_P")


class DiskBlobs:
    """Blobs under the folder `root`. `reserve_bytes` of the disk stay free for the database."""

    def __init__(self, root: Path, *, reserve_bytes: int = 64 * 1024 * 1024, threads: int = 4) -> None:
        self._tree = Tree(root, reserve_bytes)
        self._writers = ThreadPoolExecutor(threads, "blobs-write")
        self._helpers = ThreadPoolExecutor(threads, "blobs-hash")
        self._readers = ThreadPoolExecutor(threads, "blobs-read")
        self._sweep_at = 0.0  # by the loop's clock
        self._closed = False  # the pools take no more calls; what was cut off still cleans up after itself

    async def start(self) -> None:
        """Make what is missing, and remove what uploads of killed processes left."""
        await self.write(self._tree.prepare)
        await self._sweep()

    async def _sweep(self) -> None:
        self._sweep_at = asyncio.get_running_loop().time() + SWEEP_SECONDS
        await self.write(self._tree.sweep)

    async def close(self) -> None:
        """Finish what runs, then stop."""
        self._closed = True
        await asyncio.to_thread(self._writers.shutdown)
        await asyncio.to_thread(self._helpers.shutdown)
        await asyncio.to_thread(self._readers.shutdown)

    def receive(self, expected: str | None, max_bytes: int, announced: int | None = None) -> DiskUpload:
        """Return a new upload; see `Upload`."""
        if expected is not None and not SHA256.match(expected):
            raise ValueError("a hash is 64 lower-case hex digits")
        return DiskUpload(self, expected, max_bytes, announced)

    async def admit(self, announced: int) -> None:
        """Raise `storage.full` where an upload of this size has no room."""
        if asyncio.get_running_loop().time() >= self._sweep_at:
            await self._sweep()
        await self.write(self._tree.require_room, announced)

    def intake(self) -> Intake:
        """Return the blocking side of a new upload."""
        return Intake(self._tree, self._helpers)

    def write(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
        """Run a blocking call of an upload in a thread."""
        return self._run(self._writers, call, *args, **kwargs)

    def read(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
        """Run a blocking call of a reader in a thread."""
        return self._run(self._readers, call, *args, **kwargs)

    def _run(
        self, pool: ThreadPoolExecutor, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> asyncio.Future[_T]:
        if self._closed:
            return asyncio.get_running_loop().run_in_executor(None, partial(call, *args, **kwargs))
        return asyncio.wrap_future(pool.submit(call, *args, **kwargs))

    async def open(self, sha256: str) -> DiskBlob:
        """Return a blob for reading; raise `BlobMissing`."""
        opening = self.read(Handle, self._tree, sha256)
        try:
            return DiskBlob(self, await asyncio.shield(opening))
        except asyncio.CancelledError:
            opening.add_done_callback(_close_opened)
            raise

    async def stat(self, sha256: str) -> int | None:
        """Return the size of a blob in bytes, or None where there is none."""
        try:
            return (await self.read(self._tree.path(sha256).lstat)).st_size
        except FileNotFoundError:
            return None

    async def pieces(self, sha256: str) -> tuple[str, ...]:
        """Return the hash of each 4 MiB piece; raise `BlobMissing` or `BlobCorrupt`."""
        async with await self.open(sha256) as blob:
            return await blob.pieces()

    async def verify(self, sha256: str) -> bool:
        """Read the whole blob and say whether it is what its hash says; raise `BlobMissing`."""
        async with await self.open(sha256) as blob:
            return await blob.verify()

    async def free_bytes(self) -> int:
        """Return how many bytes uploads may still take."""
        return await self.read(self._tree.free_bytes)

    async def listed(self, part: int) -> list[str]:
        """Return the hashes of the blobs in one of 256 parts of the store."""
        return await self.read(self._tree.listed, part)

    async def spare(self, hashes: Iterable[str]) -> None:
        """Note that records name these blobs."""
        await self.write(_each, self._tree.spare, list(hashes))

    async def condemn(self, sha256: str, seconds: float) -> int | None:
        """Note that no record names a blob; remove it, and return its size, where that was so `seconds` ago."""
        return await self.write(self._tree.condemn, sha256, time.time() - seconds)


class DiskUpload:
    """One arriving blob; see `Upload`."""

    def __init__(self, store: DiskBlobs, expected: str | None, max_bytes: int, announced: int | None) -> None:
        self._store = store
        self._expected = expected
        self._max_bytes = max_bytes
        self._announced = announced
        self._received = 0  # bytes so far
        self._gathered = bytearray()  # bytes that no thread has got yet
        self._writing: asyncio.Future[None] | None = None  # the part that a thread writes now
        self._intake = store.intake()

    async def __aenter__(self) -> Self:
        """Begin; refuse at once what has no room or is larger than the limit."""
        if self._announced is not None and self._announced > self._max_bytes:
            raise self._too_large()
        await self._store.admit(self._announced or 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop everything that was not committed."""
        await asyncio.shield(self._store.write(self._intake.discard))

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes; wait while the part before is still being written."""
        self._received += len(chunk)
        if self._received > self._max_bytes:
            raise self._too_large()
        self._gathered += chunk
        if len(self._gathered) >= GATHER_BYTES:
            await self._written()
            self._writing = self._store.write(self._intake.pour, self._taken())
            self._writing.add_done_callback(_look_at)

    async def commit(self) -> Stored:
        """Make the blob durable and visible. Once begun it goes on, even where its caller is cancelled."""
        await self._written()
        return await asyncio.shield(self._store.write(self._intake.finish, self._taken(), self._expected))

    async def _written(self) -> None:
        if self._writing is not None:
            await asyncio.shield(self._writing)

    def _taken(self) -> bytearray:
        part, self._gathered = self._gathered, bytearray()
        return part

    def _too_large(self) -> HubError:
        return HubError(
            "file.too_large",
            f"A file has at most {self._max_bytes} bytes here; nothing was stored.",
            details={"max_bytes": self._max_bytes},
        )


class DiskBlob:
    """One blob that is open for reading; see `Blob`."""

    def __init__(self, store: DiskBlobs, handle: Handle) -> None:
        self.sha256 = handle.sha256
        self.size = handle.size
        self._store = store
        self._handle = handle

    async def __aenter__(self) -> Self:
        """Return the blob itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, when what is still being read has ended."""
        await asyncio.shield(self._store.read(self._handle.close))

    async def read(self, start: int, count: int) -> bytes:
        """Return `count` bytes from `start`; raise `BlobCorrupt` where the file on disk is shorter."""
        return await self._store.read(self._handle.read, start, count)

    async def chunks(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` to before `stop`, the next chunk being read while one is used."""
        end = self.size if stop is None else min(stop, self.size)
        at = start
        ahead: asyncio.Future[bytes] | None = None
        while at < end or ahead is not None:
            ready, ahead = ahead, None
            if at < end:
                count = min(CHUNK_BYTES, end - at)
                ahead = self._store.read(self._handle.read, at, count)
                ahead.add_done_callback(_look_at)
                at += count
            if ready is not None:
                yield await asyncio.shield(ready)

    async def pieces(self) -> tuple[str, ...]:
        """Return the hash of each piece, computed where it is not kept; raise `BlobCorrupt`."""
        kept = await self._store.read(self._handle.kept_pieces)
        if kept is not None:
            return kept
        hasher = await self._digest()
        if hasher.sha256() != self.sha256:
            raise BlobCorrupt(f"the bytes of {self.sha256} have the hash {hasher.sha256()}")
        await self._store.read(self._handle.keep_pieces, hasher.pieces())
        return hasher.pieces()

    async def verify(self) -> bool:
        """Say whether the blob is what its hash says."""
        return (await self._digest()).sha256() == self.sha256

    async def _digest(self) -> PieceHasher:
        """Hash everything, a little at a time, so that other readers get their turns."""
        hasher = PieceHasher()
        while hasher.size < self.size:
            await self._store.read(self._handle.hash_next, hasher)
        return hasher


def _each(call: Callable[[str], None], hashes: list[str]) -> None:
    for sha256 in hashes:
        call(sha256)


def _look_at(done: asyncio.Future[Any]) -> None:
    """Mark a fault as seen: whoever waits for the future gets it, and an upload that ended does not wait."""
    if not done.cancelled():
        done.exception()


def _close_opened(opening: asyncio.Future[Handle]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
