"""The folder that holds the blobs, as blocking calls: names, temporary files, and what makes them durable.

    ROOT/incoming/<random>        a file that is still arriving; locked by the process that writes it
    ROOT/ab/cd/<hash>             a blob
    ROOT/ab/cd/<hash>.pieces      the hashes of its pieces, where it has more than one
    ROOT/ab/cd/<hash>.unnamed     since when no record names it, where that was found

Only worker threads call this. The one place where a path is built from a hash is `Tree.path`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hub.wire.errors import HubError
from hub.wire.names import SHA256

SWEEP_ENTRIES: Final = 10_000
"""The most temporary files that one sweep looks at; the next one goes on."""

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DIRECTORY: Final = 0o700
_FILE: Final = 0o600


@contextmanager
def full_disk_refuses() -> Iterator[None]:
    """Turn what the system says of a full disk, quota or file size limit into `storage.full`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise disk_full() from error


def disk_full() -> HubError:
    """Return the refusal of a write that has no room."""
    return HubError("storage.full", retry_after=60)


@dataclass(slots=True)
class Incoming:
    """A temporary file, open for writing and locked."""

    path: Path
    fd: int  # -1 once closed

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of the data at the end."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self.fd, rest) :]

    def close(self) -> None:
        """Close and unlock; again does nothing."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


class Tree:
    """The folder of one blob store; `reserve_bytes` of its disk are left to others."""

    def __init__(self, root: Path, reserve_bytes: int) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self._reserve_bytes = reserve_bytes
        self._lock = threading.Lock()
        self._durable: set[Path] = set()  # folders known to survive a power cut, guarded by the lock
        self._placing = threading.Lock()  # held while a blob gets its name, or loses it

    def prepare(self) -> None:
        """Make the folders that every store has."""
        self._incoming.mkdir(mode=_DIRECTORY, parents=True, exist_ok=True)
        _sync(self._root)
        _sync(self._root.parent)

    def path(self, sha256: str) -> Path:
        """Return where the blob of a hash is, or would be."""
        if not SHA256.match(sha256):
            raise ValueError("a hash is 64 lower-case hex digits")
        return self._root / sha256[:2] / sha256[2:4] / sha256

    def pieces_path(self, sha256: str) -> Path:
        """Return where the hashes of a blob's pieces are, or would be."""
        return self.path(sha256).with_suffix(".pieces")

    def free_bytes(self) -> int:
        """Return how many bytes may still be taken."""
        disk = os.statvfs(self._incoming)
        return max(0, disk.f_bavail * disk.f_frsize - self._reserve_bytes)

    def require_room(self, wanted: int) -> None:
        """Raise `storage.full` where `wanted` more bytes would touch the reserve."""
        if wanted > self.free_bytes():
            raise disk_full()

    def begin(self) -> Incoming:
        """Return a new temporary file. Its lock tells a sweep, of any process, that somebody writes it."""
        while True:
            path = self._incoming / secrets.token_hex(16)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                if os.fstat(fd).st_nlink:  # else a sweep came between the two calls
                    return Incoming(path, fd)
            except BaseException:
                os.close(fd)
                path.unlink(missing_ok=True)
                raise
            os.close(fd)

    def discard(self, incoming: Incoming) -> None:
        """Remove a temporary file."""
        incoming.path.unlink(missing_ok=True)
        incoming.close()

    def publish(self, incoming: Incoming, sha256: str, pieces: str | None) -> None:
        """Make a finished temporary file the blob of its hash, after the text of its pieces, durably.

        A blob that is there already is replaced by its equal, so an upload heals what a disk has damaged.
        """
        target = self.path(sha256)
        self._make_durable(target.parent)
        os.fsync(incoming.fd)
        if pieces is not None:
            self._place_pieces(sha256, pieces)
        with self._placing:
            # Whoever uploads it is about to name it.
            self._unnamed_path(sha256).unlink(missing_ok=True)
            incoming.path.rename(target)
        incoming.close()
        _sync(target.parent)

    def _unnamed_path(self, sha256: str) -> Path:
        return self.path(sha256).with_suffix(".unnamed")

    def listed(self, part: int) -> list[str]:
        """Return the hashes of the blobs in one of 256 parts of the folder."""
        try:
            folders = [entry.path for entry in os.scandir(self._root / f"{part:02x}")]
        except FileNotFoundError:
            return []
        return sorted(entry.name for folder in folders for entry in os.scandir(folder) if SHA256.match(entry.name))

    def spare(self, sha256: str) -> None:
        """Note that a record names a blob."""
        self._unnamed_path(sha256).unlink(missing_ok=True)

    def condemn(self, sha256: str, since: float) -> int | None:
        """Note that no record names a blob; remove one that was found so before the time `since`, in seconds.

        Returns how many bytes were removed, or None where the blob stays. An upload of the same bytes in between
        takes the note away.
        """
        path, note = self.path(sha256), self._unnamed_path(sha256)
        with self._placing:
            try:
                noted = note.lstat().st_mtime
            except FileNotFoundError:
                if path.exists():
                    note.touch(mode=_FILE)
                return None
            if noted > since:
                return None
            size = path.lstat().st_size if path.exists() else 0
            for gone in (path, self.pieces_path(sha256), note):  # the note last, so that a cut is made good later
                gone.unlink(missing_ok=True)
            return size

    def keep_pieces(self, sha256: str, pieces: str) -> bool:
        """Write the text of a blob's pieces again; say whether the disk had room for it."""
        try:
            self._place_pieces(sha256, pieces)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            return False
        return True

    def _place_pieces(self, sha256: str, pieces: str) -> None:
        side = self.begin()
        try:
            side.write(pieces.encode("ascii"))
            os.fsync(side.fd)
            side.path.rename(self.pieces_path(sha256))
        finally:
            self.discard(side)

    def _make_durable(self, folder: Path) -> None:
        """Make a folder for blobs; it and its parent are on disk before this returns."""
        with self._lock:
            if folder in self._durable:
                return
            folder.parent.mkdir(mode=_DIRECTORY, exist_ok=True)
            folder.mkdir(mode=_DIRECTORY, exist_ok=True)
            _sync(folder.parent)
            _sync(self._root)
            self._durable.add(folder)

    def sweep(self) -> int:
        """Remove temporary files that nobody writes any more; return how many."""
        removed = 0
        with os.scandir(self._incoming) as entries:
            for seen, entry in enumerate(entries):
                if seen >= SWEEP_ENTRIES:
                    break
                if entry.is_file(follow_symlinks=False):
                    removed += _remove_if_abandoned(Path(entry.path))
        return removed


def _remove_if_abandoned(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:  # its upload ended just now
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:  # somebody writes it
        return False
    finally:
        os.close(fd)
    return True


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
