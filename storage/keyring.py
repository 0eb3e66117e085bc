"""Where the keys of secret fields come from: the setting, a file of the data folder, the secret of a cluster.

The file is made when the hub first needs a key, and only its own user may read it. It holds one key a line, the one
that encrypts first; more than one while they are being changed. Knows no record.
"""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Sequence
from pathlib import Path

from hub.vault import KeysUnusable, Vault, new_key


class Keyring:
    """The keys of one hub. `vault` seals and opens with them."""

    def __init__(self, file: Path, given: Sequence[str] = (), shared: bytes = b"") -> None:
        """Take the keys that were `given`; without any, one made of the `shared` secret, or those of the file.

        What the others would have given opens as well, so that hubs can go from one to the other. Raises
        `KeysUnusable`.
        """
        self._file = file
        self.given = bool(given or shared)
        """Whether others than the hub look after the keys."""
        kept = _read(file)
        made = [base64.urlsafe_b64encode(hmac.digest(shared, b"aether secret fields", "sha256")).decode()]
        self._keys = [*given, *(made if shared else ()), *kept] if self.given else kept or [new_key()]
        self._saved = self.given or bool(kept)
        try:
            self.vault = Vault(self._keys)
        except KeysUnusable as wrong:
            where = "the setting secret_keys" if given else str(file)
            raise KeysUnusable(f"The keys of secret fields in {where} cannot be used. {wrong}") from None

    def keep(self) -> None:
        """Write a key that was made into the file, before anything is sealed with it."""
        if not self._saved:
            self._write(self._keys)

    def begin(self) -> bool:
        """Let a new key encrypt from now on, where the keys are those of the file; say whether one was made.

        Where a change of keys was begun and not finished, it is that one which goes on.
        """
        if self.given or len(self._keys) > 1:
            return False
        keys = [new_key(), *self._keys]
        self._write(keys)
        self._keys, self.vault = keys, Vault(keys)
        return True

    def finish(self) -> bool:
        """Forget the keys that nothing is sealed with any more, where they are those of the file; say whether."""
        if self.given or len(self._keys) == 1:
            return False
        self._write(self._keys[:1])
        self._keys, self.vault = self._keys[:1], Vault(self._keys[:1])
        return True

    def _write(self, keys: Sequence[str]) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        with fresh.open("w", encoding="ascii") as out:
            out.write("".join(f"{key}\n" for key in keys))
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(self._file)
        folder = os.open(self._file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._saved = True


def _read(file: Path) -> list[str]:
    try:
        return file.read_text("ascii", "replace").split()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise KeysUnusable(f"The keys of secret fields in {file} cannot be read: {error.strerror}.") from None


__all__ = ["Keyring"]
