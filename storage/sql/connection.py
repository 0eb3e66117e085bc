"""Opening a SQLite file: one process by a lock file, one writing connection, readers that only read.

SQLite before 3.51.3 can lose data when two connections write or checkpoint at once (the WAL-reset fault), so
exactly one connection does either. Knows settings of connections, no table.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from storage.base import StorageRefused
from storage.sql.rows import decode_json

Durability = Literal["full", "normal"]
"""`full`: a commit is on disk when it is acknowledged. `normal`: a power cut may take the last ones, a
killed process may not."""

BUSY_MILLIS: Final = 5000
STATEMENTS: Final = 1024
"""Prepared statements that a connection remembers."""
WRITER_CACHE_KIB: Final = 32 << 10
READER_CACHE_KIB: Final = 8 << 10
_NETWORK: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre"})


class FileLock:
    """The lock file beside a database: whoever holds it is the one process that has the database open."""

    def __init__(self, path: Path) -> None:
        # The lock of the file itself, whatever name it is opened by; set when it is taken.
        self.path = path
        self._database = path
        self._file: int | None = None

    def take(self) -> None:
        """Take the lock; raise `StorageRefused` that names the process which holds it."""
        database = self._database.resolve()
        self.path = database.with_name(database.name + ".lock")
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 64).decode("ascii", "replace").strip() or "unknown"
            os.close(file)
            raise StorageRefused(
                f"{database} is already open in process {holder}; one process at a time may "
                "have it open. Stop that process, or give this one another folder."
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode("ascii"), 0)
        self._file = file

    def release(self) -> None:
        """Give the lock back. The file stays: removing it would let two processes hold two locks."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def file_system(path: Path) -> str:
    """Return the type of the file system that a path lies on, or an empty text where it cannot be told."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    for line in mounts:
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].replace("\\040", " ")
        inside = path == Path(point) or Path(point) in path.parents
        if inside and len(point) >= len(best):
            best, kind = point, after.split(" ")[0]
    return kind


def prepare(path: Path) -> None:
    """Make the folder of a database; raise `StorageRefused` where it cannot hold one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageRefused(f"The folder {path.parent} cannot be made: {error.strerror}.") from None
    if path.is_dir():
        raise StorageRefused(f"{path} is a folder; name a file.")
    kind = file_system(path.parent.resolve())
    if kind in _NETWORK:
        raise StorageRefused(
            f"{path.parent} is a network folder ({kind}), where SQLite loses data; choose a local disk."
        )


def open_writer(path: Path, durability: Durability, checkpoint_pages: int) -> sqlite3.Connection:
    """Open the one connection that writes and checkpoints."""
    connection = _connect(path, "rwc")
    try:
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute(f"PRAGMA synchronous = {durability.upper()}")
        connection.execute("PRAGMA wal_autocheckpoint = " + str(checkpoint_pages)).fetchone()
        connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
        connection.execute("PRAGMA journal_size_limit = " + str(64 << 20)).fetchone()
        # The decision checks references first; this holds it to that, for 3 % of an insert. Not where rows are removed.
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that can neither write nor checkpoint."""
    connection = _connect(path, "rw")
    try:
        connection.execute("PRAGMA wal_autocheckpoint = 0").fetchone()
        connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
        connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=STATEMENTS,
    )
    try:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLIS}").fetchone()
        connection.create_function("aether_number_in", 2, _number_in, deterministic=True)
        connection.create_function("aether_number_text", 1, _number_text, deterministic=True)
    except BaseException:
        connection.close()
        raise
    return connection


def probe_read(connection: sqlite3.Connection) -> None:
    """Read something that every file of a hub has."""
    connection.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()


def probe_write(connection: sqlite3.Connection) -> None:
    """Write something that nobody looks at."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'probe'")
    connection.execute("COMMIT")


@lru_cache(256)
def _numbers(text: str) -> frozenset[float]:
    return frozenset(decode_json(text))


def _number_in(numbers: str | None, value: float | None) -> int:
    """Say whether a JSON list of numbers holds a value: exactly, as Python does."""
    return int(numbers is not None and value is not None and value in _numbers(numbers))


def _number_text(value: Any) -> str | None:
    """Return a number as the shortest text that reads back as the same number."""
    return None if value is None else repr(float(value))
