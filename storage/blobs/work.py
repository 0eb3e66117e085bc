"""One upload and one open blob as worker threads see them: blocking calls, one at a time each.

The shells in `disk` hand these methods to the pools. A lock makes an end wait for what still runs, so that
no call ever touches a descriptor that was closed and given to somebody else.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Executor, Future
from typing import Final

from hub.wire.errors import HubError
from storage.blobs.base import BlobCorrupt, BlobMissing, Stored
from storage.blobs.pieces import PIECE_BYTES, PieceHasher, format_pieces, parse_pieces
from storage.blobs.tree import Incoming, Tree, full_disk_refuses

_READ_BYTES: Final = 1024 * 1024


class Intake:
    """Writes an arriving blob to a temporary file and hashes it on the way."""

    def __init__(self, tree: Tree, helpers: Executor) -> None:
        self._tree = tree
        self._helpers = helpers  # threads that wait for nobody
        self._lock = threading.Lock()
        self._hasher = PieceHasher()
        self._incoming: Incoming | None = None  # made when the first bytes come
        self._ended = False  # published, discarded or broken: takes no more bytes

    def pour(self, data: bytearray) -> None:
        """Write the next bytes."""
        with self._lock:
            self._pour(data)

    def _pour(self, data: bytearray) -> None:
        if self._ended:
            raise RuntimeError("this upload has ended")
        hasher = self._hasher
        pieces: Future[None] | None = None
        if hasher.size + len(data) > PIECE_BYTES:  # the second hash of the same bytes: on another core
            pieces = self._helpers.submit(hasher.update_pieces, hasher.size, data)
        try:
            with full_disk_refuses():
                self._tree.require_room(len(data))
                if self._incoming is None:
                    self._incoming = self._tree.begin()
                self._incoming.write(data)
        except BaseException:
            self._drop()
            raise
        hasher.update_whole(data)
        if pieces is not None:
            pieces.result()

    def finish(self, data: bytearray, expected: str | None) -> Stored:
        """Write the last bytes and publish the blob; raise `file.mismatch` where the hash is another."""
        with self._lock:
            self._pour(data)
            assert self._incoming is not None
            stored = Stored(self._hasher.sha256(), self._hasher.size, self._hasher.pieces())
            try:
                if expected is not None and stored.sha256 != expected:
                    raise HubError(
                        "file.mismatch",
                        f"The {stored.size} bytes have the SHA-256 {stored.sha256}, not {expected}; "
                        "nothing was stored. Send the file again.",
                        details={"sha256": stored.sha256, "size": stored.size},
                    )
                with full_disk_refuses():
                    pieces = format_pieces(stored.pieces) if stored.size > PIECE_BYTES else None
                    self._tree.publish(self._incoming, stored.sha256, pieces)
            except BaseException:
                self._drop()
                raise
            self._ended, self._incoming = True, None
            return stored

    def discard(self) -> None:
        """Remove what was written, unless it was published."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        self._ended = True
        if self._incoming is not None:
            incoming, self._incoming = self._incoming, None
            self._tree.discard(incoming)


class Handle:
    """An open blob."""

    def __init__(self, tree: Tree, sha256: str) -> None:
        self.sha256 = sha256
        self._tree = tree
        self._lock = threading.Lock()
        try:
            self._fd: int | None = os.open(tree.path(sha256), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise BlobMissing(sha256) from None
        self.size = os.fstat(self._fd).st_size

    def read(self, start: int, count: int) -> bytes:
        """Return `count` bytes from `start`."""
        with self._lock:
            if self._fd is None:
                raise ValueError("the blob is closed")
            data = os.pread(self._fd, count, start)
            while 0 < len(data) < count:
                more = os.pread(self._fd, count - len(data), start + len(data))
                if not more:
                    break
                data += more
        if len(data) < count:
            raise BlobCorrupt(f"{self.sha256} ends {count - len(data)} bytes too early")
        return data

    def close(self) -> None:
        """Close; again does nothing."""
        with self._lock:
            if self._fd is not None:
                fd, self._fd = self._fd, None
                os.close(fd)

    def hash_next(self, hasher: PieceHasher) -> None:
        """Read and hash the next megabyte behind what the hasher has."""
        hasher.update(self.read(hasher.size, min(_READ_BYTES, self.size - hasher.size)))

    def kept_pieces(self) -> tuple[str, ...] | None:
        """Return the hash of each piece where that needs no reading of the blob."""
        if self.size <= PIECE_BYTES:
            return (self.sha256,) if self.size else ()
        try:
            text = self._tree.pieces_path(self.sha256).read_text("ascii", "replace")
        except FileNotFoundError:
            return None
        return parse_pieces(text, self.size)

    def keep_pieces(self, pieces: tuple[str, ...]) -> None:
        """Keep what was computed; on a full disk it is computed again the next time."""
        self._tree.keep_pieces(self.sha256, format_pieces(pieces))
