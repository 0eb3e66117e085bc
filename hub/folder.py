"""The folder of one hub: its lock, its secrets, its database, its files, its socket."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hub.tokens import new_key

TOKEN_KEYS: Final = 3
"""How many keys of access tokens of the data folder's own are in force at most: two older ones still check."""


class DataInUse(Exception):
    """Another process has the data folder; the text is one sentence."""


class DataFolder:
    """The folder of one hub: lock, secret, database, files, hub.sock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = path / "hub.sock"
        self.blobs = path / "blobs"
        self.database = path / "hub.db"
        self._restoring = path / "restore.part"
        self._lock: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether a backup can be restored here: there is nothing but locks, or a restore that was broken off."""
        if not self.path.exists() or self._restoring.exists():
            return True
        return {entry.name for entry in self.path.iterdir()} <= {"hub.lock", "hub.db.lock"}

    def take(self, *, restoring: bool = False) -> None:
        """Create the folder and lock it; raise `DataInUse`."""
        if self._restoring.exists() and not restoring:
            raise DataInUse(f"A restore into {self.path} was broken off; run it again, or empty the folder.")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path / "hub.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DataInUse(f"The data folder {self.path} cannot be used: {error.strerror}.") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise DataInUse(f"A hub already runs on {self.path}; stop it, or name another --data.") from None
        self._lock = handle

    @contextlib.contextmanager
    def restored(self) -> Iterator[Path]:
        """Yield a folder in which a restore is made ready; no hub starts here until it is done.

        Where it fails, everything that it made is removed; raise `DataInUse` where there is anything else.
        """
        if not self.is_empty:
            raise DataInUse(f"{self.path} is not empty; name a new folder with --data.")
        self._remove_restored()
        self._restoring.mkdir(mode=0o700)
        try:
            yield self._restoring
        except BaseException:
            self._remove_restored()
            raise
        shutil.rmtree(self._restoring)

    def _remove_restored(self) -> None:
        self.database.unlink(missing_ok=True)
        for folder in (self.blobs, self._restoring):  # this one last: while it is there, the rest is not used
            if folder.exists():
                shutil.rmtree(folder)

    def secret(self) -> bytes:
        """Return the secret that signs cursors and grants, made at the first start."""
        file = self.path / "secret"
        if not file.exists():
            fresh = file.with_suffix(".new")
            fresh.touch(mode=0o600)
            fresh.write_bytes(secrets.token_bytes(32))
            fresh.replace(file)
        return file.read_bytes()

    def token_keys(self, *, rotated: bool = False) -> tuple[str, ...]:
        """Return the keys of access tokens, made at the first start; `rotated`: with a new one before the others."""
        file = self.path / "token-keys"
        keys = tuple(file.read_text("ascii").split()) if file.exists() else ()
        if rotated or not keys:
            keys = (new_key(secrets.token_bytes(36)), *keys)[:TOKEN_KEYS]
            fresh = file.with_suffix(".new")
            fresh.touch(mode=0o600)
            fresh.write_text("".join(f"{key}\n" for key in keys), "ascii")
            fresh.replace(file)
        return keys

    def release(self) -> None:
        """Give the folder back."""
        self.socket.unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
