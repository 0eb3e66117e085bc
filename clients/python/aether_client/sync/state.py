"""What sync remembers about a folder between two runs, and the lock that keeps two runs apart.

The state is a small JSON file, replaced as a whole, so a crash leaves the old or the new one. It says which files sync
put there (only those may be removed later) and which it was about to put there. It never says that bytes are right:
that is looked up in the bytes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

import msgspec

from aether_client.errors import AetherError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class FolderError(AetherError):
    """The folder cannot be used; the text says why and what to do."""


class State(msgspec.Struct, kw_only=True):
    """The content of `state.json`."""

    container: str
    """What the folder is kept equal to, as `type:id`."""
    revision: int | str | None = None
    """The last revision that the folder was wholly equal to."""
    placed: dict[str, str] = {}
    """What sync put there: path to SHA-256."""
    intended: dict[str, str] = {}
    """What sync is about to put there; after a crash it may be there already."""
    folders: list[str] = []
    """The folders that sync made; removed when they are empty and nothing is wanted in them."""
    format: int = 1


def load_state(path: Path, container: str) -> tuple[State, str | None]:
    """Read the state, or begin a new one; the second value is a sentence where the old one cannot be read.

    Raise `FolderError` where the folder is kept equal to something else.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return State(container=container), None
    try:
        state = msgspec.json.decode(data, type=State)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return State(container=container), (
            "What sync remembered of this folder cannot be read and is begun anew; "
            "files that are here already will not be removed when they are no longer wanted."
        )
    if state.format != 1:
        raise FolderError(f"This folder was kept by a newer version of aether (format {state.format}); use that one.")
    if state.container != container:
        raise FolderError(
            f"This folder is kept equal to {state.container}, not to {container}; "
            "use another folder, or remove its .aether folder first."
        )
    return state, None


def save_state(path: Path, state: State) -> None:
    """Replace the state on disk; it is synced when this returns."""
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(state), indent=1))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable, where the system can."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FolderLock:
    """Held as long as a sync runs; the system lets go of it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def take(self) -> None:
        """Take the lock; raise `FolderError` where another process holds it."""
        file = self._path.open("a+b")
        try:
            _lock(file)
        except OSError:
            file.seek(0)
            holder = file.read(32).decode("ascii", "replace").strip()
            file.close()
            who = f" (process {holder})" if holder.isdigit() else ""
            raise FolderError(f"Another aether sync{who} keeps this folder already.") from None
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()
        self._file = file

    def release(self) -> None:
        """Let go."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _lock(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        file.seek(1000)  # beyond what is written, so that the holder can be read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
