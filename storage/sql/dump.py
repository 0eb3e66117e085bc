"""A SQLite database as part of a backup: copied page by page from one state, and put into its place again.

The pages are read inside one transaction of a reader, so what is written meanwhile neither shows nor makes the
copying begin again. Blocking; for a thread of its own. Decision 0014.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hub.schema.registry import Registry
from hub.wire.errors import HubError
from storage.backup.archive import settled
from storage.backup.base import write_named
from storage.base import StorageRefused
from storage.sql.connection import open_reader, prepare
from storage.sql.schema import FORMAT

PART: Final = "hub.db"
STEP_PAGES: Final = 1024
"""How many pages are copied before it is looked whether to go on."""


def dump(path: Path, registry: Registry, folder: Path, stopped: threading.Event) -> None:
    """Write the database into `folder`, whole and on disk when this returns; raise `HubError`."""

    def look(status: int, left: int, total: int) -> None:
        if stopped.is_set():
            raise HubError("server.draining", "The backup was broken off.", retry_after=5)

    target = folder / PART
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with contextlib.closing(open_reader(path)) as source, contextlib.closing(_connect(target)) as copy:
            copy.execute("PRAGMA synchronous = OFF")
            source.execute("BEGIN")  # one state for all steps
            source.execute("SELECT value FROM meta").fetchone()
            source.backup(copy, pages=STEP_PAGES, progress=look, sleep=0)
            source.execute("ROLLBACK")
            # As one file, so that nothing beside it belongs to it.
            copy.execute("PRAGMA journal_mode = DELETE").fetchone()
            said = copy.execute("PRAGMA quick_check(1)").fetchone()
            if said != ("ok",):
                raise HubError("server.error", f"The database is damaged: {said[0]}. Restore an older backup.")
            named: set[str] = set()
            for kind in registry.types.values():
                if kind.file:
                    named |= {sha256 for (sha256,) in copy.execute(f'SELECT DISTINCT sha256 FROM "{kind.name}"')}
        write_named(folder, named)
        with target.open("rb") as file:
            os.fsync(file.fileno())
    except (OSError, sqlite3.Error) as error:
        full = isinstance(error, sqlite3.Error) and "full" in str(error)
        text = f"The backup cannot be written to {folder}: {getattr(error, 'strerror', None) or error}."
        raise HubError("storage.full" if full else "server.unavailable", text) from error


def put(folder: Path, target: Path, new_epoch: Callable[[], str]) -> None:
    """Make the part of a backup that lies in `folder` the database `target`; raise `StorageRefused`.

    Every account gets a new epoch first, so that no client trusts a mark or a position of before.
    """
    prepare(target)
    part, near = folder / PART, target.with_name(f"{target.name}.part")
    try:
        _renew(part, new_epoch)
        shutil.move(part, near)  # which copies where the target is on another disk
        with near.open("rb") as file:
            os.fsync(file.fileno())
        near.rename(target)
        settled(target.parent)
    finally:
        near.unlink(missing_ok=True)


def _renew(path: Path, new_epoch: Callable[[], str]) -> None:
    try:
        with contextlib.closing(_connect(path)) as connection:
            found = connection.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
            if found != (str(FORMAT),):
                raise StorageRefused(f"The backup's database has format {found and found[0]}, this hub knows {FORMAT}.")
            accounts = connection.execute("SELECT account_pk FROM account_state").fetchall()
            fresh = [(new_epoch(), *account) for account in accounts]
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE meta SET value = ? WHERE name = 'epoch'", (new_epoch(),))
            connection.executemany("UPDATE account_state SET epoch = ? WHERE account_pk = ?", fresh)
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise StorageRefused(f"The backup's database cannot be used: {error}.") from None


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)
