"""The two shapes of a backup: a folder, or one file that any `tar` lists. Blocking; for a thread or a command.

An archive is read by its manifest, not by its headers: every header, every fill byte and the end must be exactly
what `write_archive` would have written, so neither a flipped bit nor a path, link or size of somebody's choice
means anything. In a folder only the files that the manifest names are opened, and no links.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from hub.wire.errors import HubError
from storage.backup.manifest import CHECK, MANIFEST, MANIFEST_BYTES, Manifest, Part, check_text, damaged, decode, encode

CHUNK_BYTES: Final = 1024 * 1024
_BLOCK: Final = tarfile.BLOCKSIZE
_END: Final = bytes(2 * _BLOCK)
_OCTAL = re.compile(rb"[0-7]{11}\0")

Progress = Callable[[int], None]
"""Told how many more bytes are done."""
Chunks = Iterator[bytes]


class Backup(Protocol):
    """A backup that is open for reading."""

    manifest: Manifest

    def parts(self) -> Iterator[tuple[Part, Chunks]]:
        """Yield each part with its bytes, to be used up before the next; raise `file.mismatch` where they differ."""

    def close(self) -> None:
        """Close what is open."""


def open_backup(path: Path) -> Backup:
    """Open a backup and check its manifest; raise `HubError` where there is none, or it is damaged."""
    try:
        return FolderBackup(path) if path.is_dir() else ArchiveBackup(path)
    except OSError as error:
        raise HubError("record.not_found", f"{path} cannot be read: {error.strerror}.", path=str(path)) from None


def verify(backup: Backup, progress: Progress = lambda count: None) -> None:
    """Read every byte of a backup; raise `file.mismatch` that names the first part that is not what it should be."""
    for _, chunks in backup.parts():
        for chunk in chunks:
            progress(len(chunk))


class FolderBackup:
    """A backup as a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._open(MANIFEST) as file:
            text = _limited(file.read(MANIFEST_BYTES + 1))
        with self._open(CHECK) as file:
            check = file.read(1024)
        _checked(text, check)
        self.manifest = decode(text)

    def parts(self) -> Iterator[tuple[Part, Chunks]]:
        """Yield each part with its bytes."""
        for part in self.manifest.parts():
            with self._open(part.path) as file:
                size = os.fstat(file.fileno()).st_size
                if size != part.size:
                    raise damaged(part.path, f"has {size} bytes and not {part.size}")
                yield part, _hashed(part, file)

    def close(self) -> None:
        """Nothing is open."""

    def _open(self, name: str) -> BinaryIO:
        try:
            handle = os.open(self._path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            if name == MANIFEST:
                raise HubError(
                    "data.invalid", f"{self._path} is no backup: it has no {MANIFEST}.", path=MANIFEST
                ) from None
            raise damaged(name, "is missing") from None
        except OSError as error:
            raise damaged(name, f"cannot be read ({error.strerror})") from None
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise damaged(name, "is no file")
        return os.fdopen(handle, "rb")


class ArchiveBackup:
    """A backup as one file."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("rb")
        try:
            if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                raise HubError("data.invalid", f"{path} is neither a file nor a folder.", path=str(path))
            head = self._file.read(_BLOCK)
            size = int(head[124:135], 8) if _OCTAL.fullmatch(head[124:136]) else -1
            if not 0 <= size <= MANIFEST_BYTES or head != _header(MANIFEST, size):
                raise HubError(
                    "data.invalid", f"{path} is no backup of a hub, or its beginning is damaged.", path=MANIFEST
                )
            text = self._exactly(MANIFEST, size)
            self._fill(MANIFEST, size)
            check = check_text(hashlib.sha256(text).hexdigest())
            self._expect(CHECK, _header(CHECK, len(check)))
            _checked(text, self._exactly(CHECK, len(check)))
            self._fill(CHECK, len(check))
            self.manifest = decode(text)
            self._start = self._file.tell()
            whole = self._start + sum(_BLOCK + _padded(part.size) for part in self.manifest.parts()) + len(_END)
            there = os.fstat(self._file.fileno()).st_size
            if there != whole:
                raise damaged(path.name, f"has {there} bytes and not {whole}")
        except BaseException:
            self._file.close()
            raise

    def parts(self) -> Iterator[tuple[Part, Chunks]]:
        """Yield each part with its bytes."""
        self._file.seek(self._start)
        for part in self.manifest.parts():
            self._expect(part.path, _header(part.path, part.size))
            yield part, _hashed(part, self._file)
            self._fill(part.path, part.size)
        if self._file.read(len(_END) + 1) != _END:
            raise damaged("its end", "is not what it was")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _exactly(self, name: str, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise damaged(name, "ends too early")
        return data

    def _expect(self, name: str, wanted: bytes) -> None:
        if self._exactly(name, len(wanted)) != wanted:
            raise damaged(name, "does not stand where it should")

    def _fill(self, name: str, size: int) -> None:
        self._expect(name, bytes(_padded(size) - size))


def _limited(text: bytes) -> bytes:
    if len(text) > MANIFEST_BYTES:
        raise HubError("data.invalid", f"The manifest has more than {MANIFEST_BYTES} bytes.", path=MANIFEST)
    return text


def _checked(text: bytes, check: bytes) -> None:
    if check != check_text(hashlib.sha256(text).hexdigest()):
        raise damaged(MANIFEST, f"is not what {CHECK} says")


def _hashed(part: Part, file: BinaryIO) -> Chunks:
    """Yield the bytes of a part; at their end, raise `file.mismatch` where they have another hash."""
    hasher, left = hashlib.sha256(), part.size
    while left:
        chunk = file.read(min(CHUNK_BYTES, left))
        if not chunk:
            raise damaged(part.path, f"ends {left} bytes too early")
        hasher.update(chunk)
        left -= len(chunk)
        yield chunk
    if hasher.hexdigest() != part.sha256:
        raise damaged(part.path, "does not have the hash that the manifest says")


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o600
    return member.tobuf(tarfile.GNU_FORMAT, "ascii", "strict")


# -- writing -----------------------------------------------------------------------------------------


def write_archive(target: Path, manifest: Manifest, parts: Iterable[tuple[Part, Chunks]]) -> None:
    """Write a backup as one new file, on disk when this returns; `parts` are those of the manifest, in its order."""
    text = encode(manifest)
    check = check_text(hashlib.sha256(text).hexdigest())
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb", CHUNK_BYTES) as file:
        for name, content in ((MANIFEST, text), (CHECK, check)):
            file.write(_header(name, len(content)) + content + bytes(_padded(len(content)) - len(content)))
        for part, chunks in parts:
            file.write(_header(part.path, part.size))
            file.writelines(chunks)
            file.write(bytes(_padded(part.size) - part.size))
        file.write(_END)
        file.flush()
        os.fsync(file.fileno())


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a backup as a folder, whose parts are there."""
    text = encode(manifest)
    write_file(folder / CHECK, iter([check_text(hashlib.sha256(text).hexdigest())]))
    write_file(folder / MANIFEST, iter([text]))


def write_file(target: Path, chunks: Chunks) -> None:
    """Write a new file; it is on disk after `settled`."""
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb", 0) as file:
        for chunk in chunks:
            file.write(chunk)


def settled(folder: Path) -> None:
    """Return when everything that was written is on disk, and so is the name of `folder`."""
    os.sync()
    for place in (folder, folder.parent):
        handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
