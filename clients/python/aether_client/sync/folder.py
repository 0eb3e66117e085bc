"""The folder on disk: what stands at a path, with its hash.

Every method blocks and is called from the threads of `disk.py`. Nothing here decides (`plan.py` does) and nothing
here changes a file of the set (`placing.py` does).
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, Final

from aether_client.sync.names import OWN_FOLDER, parents
from aether_client.sync.plan import Seen
from aether_client.sync.state import FolderError

_BLOCK: Final = 1024 * 1024

Stamp = tuple[int, int, int, int]
"""Size, times of change and number of a file: an equal stamp is taken for an unchanged file between two full looks."""


class Stopped(Exception):
    """The program is about to end; a long look at bytes was broken off."""


class Folder:
    """One folder that is kept equal to a set of files."""

    def __init__(self, root: Path, stopping: Callable[[], bool] = lambda: False) -> None:
        self.root = root
        self.own = root / OWN_FOLDER
        self.partial = self.own / "partial"
        self.aside = self.own / "aside"
        self.state_file = self.own / "state.json"
        self.lock_file = self.own / "lock"
        self._stopping = stopping
        """Asked between blocks of a long read."""
        self._known: dict[str, tuple[Stamp | None, str | None]] = {}
        """What the last look saw at each path: stamp (None: nothing) and hash."""

    def prepare(self) -> None:
        """Make the folder and sync's own place in it; raise `FolderError`."""
        for folder in (self.root, self.own, self.partial):
            if folder != self.root and folder.is_symlink():
                raise FolderError(f"{folder} is a link; sync keeps its own things in a real folder.")
            try:
                folder.mkdir(parents=folder == self.root, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                raise FolderError(f"{folder} is not a folder.") from None
            except OSError as error:
                raise FolderError(f"{folder} cannot be made: {error.strerror}.") from None
        for left_over in self.own.glob("copy-*"):
            left_over.unlink()

    def look(self, paths: Iterable[str], *, full: bool) -> dict[str, Seen]:
        """Tell what stands at each path; absent = nothing. `full` hashes every file again, whatever its stamp says."""
        known, self._known = self._known, {}
        seen = {}
        for path in paths:
            here = self._look(path, None if full else known.get(path))
            if here is not None:
                seen[path] = here
        return seen

    def has_changed(self, paths: Iterable[str]) -> bool:
        """Tell cheaply whether something at these paths is not what it was at the last look."""
        return any(self._stamp(path) != self._known.get(path, (None, None))[0] for path in paths)

    def note(self, path: str, sha256: str) -> None:
        """Take note of a file that was just put in its place and is known to have this hash."""
        self._known[path] = (self._stamp(path), sha256)

    def hash(self, file: BinaryIO) -> str:
        """Return the SHA-256 of an open file from its present place on; raise `Stopped` when the program ends."""
        hasher = hashlib.sha256()
        while block := file.read(_BLOCK):
            hasher.update(block)
            self.check()
        return hasher.hexdigest()

    def copy(self, source: Path, target: Path) -> None:
        """Copy the bytes of a file; synced when this returns."""
        with source.open("rb") as old, target.open("wb") as new:
            while block := old.read(_BLOCK):
                new.write(block)
                self.check()
            new.flush()
            os.fsync(new.fileno())

    def check(self) -> None:
        """Raise `Stopped` when the program is about to end."""
        if self._stopping():
            raise Stopped

    def partials(self) -> list[str]:
        """Return the hashes of which a part was downloaded."""
        return sorted(entry.name for entry in os.scandir(self.partial))

    def drop_partial(self, sha256: str) -> None:
        """Forget a partial download."""
        (self.partial / sha256).unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """Return how much room the disk has for us."""
        if not hasattr(os, "statvfs"):
            return 2**62
        found = os.statvfs(self.partial)
        return found.f_bavail * found.f_frsize

    def _look(self, path: str, known: tuple[Stamp | None, str | None] | None) -> Seen | None:
        self._known[path] = (None, None)
        for parent in parents(path):
            try:
                if not stat.S_ISDIR((self.root / parent).lstat().st_mode):
                    return Seen("blocked")
            except FileNotFoundError:
                return None
        try:
            found = (self.root / path).lstat()
        except FileNotFoundError:
            return None
        self._known[path] = (_stamp(found), None)
        if not stat.S_ISREG(found.st_mode):
            return Seen("folder" if stat.S_ISDIR(found.st_mode) else "other")
        if known is not None and known[0] == _stamp(found) and known[1] is not None:
            self._known[path] = known
            return Seen("file", known[1])
        try:
            with (self.root / path).open("rb") as file:
                stamp = _stamp(os.fstat(file.fileno()))
                sha256 = self.hash(file)
        except OSError:
            return Seen("file")  # a disk that cannot read it any more: as good as wrong
        self._known[path] = (stamp, sha256)
        return Seen("file", sha256)

    def _stamp(self, path: str) -> Stamp | None:
        try:
            return _stamp((self.root / path).lstat())
        except (FileNotFoundError, NotADirectoryError):
            return None


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
