"""What the database's errors mean: to a client, to readiness, to whoever starts the hub."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from hub.wire.errors import HubError

UNDONE: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CONSTRAINT})
"""Errors of COMMIT after which nothing of the transaction can be on disk."""
NO_FAULT: Final = frozenset({0, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG})
"""Errors that say nothing against the database: it still serves, and on a full disk it reads."""
_TAKEN: Final = frozenset({sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY})
_PASSING: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR})


def error_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary error code, or 0 where the driver itself refused."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def refusal(error: sqlite3.Error) -> HubError:
    """Return what a client is told of an error of the database."""
    code = error_code(error)
    if code == sqlite3.SQLITE_FULL:
        return HubError("storage.full", retry_after=5)
    if code == sqlite3.SQLITE_CONSTRAINT and error.sqlite_errorcode in _TAKEN:
        return HubError("record.exists")
    if code == sqlite3.SQLITE_INTERRUPT:
        return HubError("server.unavailable", "This took too long; ask for less at a time.", retry_after=5)
    if code in _PASSING:
        return HubError("server.unavailable", retry_after=2)
    return HubError("server.error")


def sentence(path: Path, error: sqlite3.Error) -> str:
    """Say why a file could not be opened, and what to do."""
    code = error_code(error)
    if code == sqlite3.SQLITE_NOTADB:
        return f"{path} is not a SQLite database; name another file, or restore a backup."
    if code == sqlite3.SQLITE_CORRUPT:
        return f"{path} is damaged ({error}); restore a backup."
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}:
        return f"{path} cannot be opened for writing; check who owns the file and its folder."
    if code == sqlite3.SQLITE_FULL:
        return f"{path} cannot be opened: the disk is full."
    if code == sqlite3.SQLITE_BUSY:
        return f"{path} is locked by another program; close it there."
    return f"{path} cannot be opened: {error}."


def told(error: BaseException) -> HubError:
    """Return what a caller is told of a read that failed; its cause is for whoever knows whose read it was."""
    if isinstance(error, HubError):
        return error
    answer = refusal(error) if isinstance(error, sqlite3.Error) else HubError("server.error")
    answer.__cause__ = error
    return answer
