"""Make a backup of what a keeper wrote and the files that it names. Blocking; for a command.

Everything is written under another name, and gets its own when it is whole and on disk.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from hub.wire.errors import HubError
from storage.backup import files
from storage.backup.archive import (
    CHUNK_BYTES,
    Backup,
    Chunks,
    Progress,
    settled,
    write_archive,
    write_file,
    write_manifest,
)
from storage.backup.base import NAMED, read_named
from storage.backup.manifest import FORMAT, DatabasePart, Manifest, Part
from storage.blobs.tree import Tree

ARCHIVE: Final = ".tar"
"""How the name of a backup ends that is one file."""


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yield a new folder beside `target`, removed at the end unless it was renamed.

    What a killed backup left there is removed first; raise `HubError` where another one is still writing it.
    """
    stage = target.with_name(f"{target.name}.part")
    stage.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(stage, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HubError("server.unavailable", f"Another backup to {target} is being made.") from None
        _empty(stage)
        try:
            yield stage
        finally:
            if os.fstat(handle).st_nlink and stage.exists() and os.path.samestat(os.fstat(handle), stage.stat()):
                shutil.rmtree(stage)
    finally:
        os.close(handle)


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def bytes_to_take(blobs: Path, database: Path) -> int:
    """Return how many bytes the files have that a dump names."""
    tree, total = Tree(blobs, 0), 0
    for sha256 in read_named(database):
        path = tree.path(sha256)
        total += path.lstat().st_size if path.exists() else 0
    return total


def finish(
    stage: Path,
    target: Path,
    blobs: Path,
    about: tuple[str, str, Literal["sqlite", "mariadb"]],
    progress: Progress,
) -> Manifest:
    """Make the backup `target` of the dump in `stage`/database, and return its manifest.

    `about`: when it was made, the hub's version, the kind of keeper. `progress` is told of every byte of a file; of
    an archive's twice, because they are looked at before their hashes are written in front of them.
    """
    database = stage / "database"
    hashes = list(read_named(database))
    (database / NAMED).unlink()
    named = [_described(path) for path in sorted(database.iterdir())]
    made_at, hub, keeper = about

    def manifest(taken: files.Taken) -> Manifest:
        return Manifest(
            format=FORMAT, made_at=made_at, hub=hub, keeper=keeper, database=named,
            files=taken.files, missing=taken.missing,
        )  # fmt: skip

    if target.suffix != ARCHIVE:
        made = manifest(files.copy(blobs, hashes, stage, progress))
        write_manifest(stage, made)
        settled(stage)
        stage.rename(target)
        settled(target)
        return made
    taken = files.look(blobs, hashes, progress)
    made = manifest(taken)

    def parts() -> Iterator[tuple[Part, Chunks]]:
        for one in named:
            with (database / one.name).open("rb") as file:
                yield Part(f"database/{one.name}", one.size, one.sha256), iter(lambda: file.read(CHUNK_BYTES), b"")
        yield from files.parts(blobs, taken.files, progress)

    write_archive(stage / "archive", made, parts())
    (stage / "archive").rename(target)
    settled(target.parent)
    return made


def _described(path: Path) -> DatabasePart:
    with path.open("rb") as file:
        return DatabasePart(path.name, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def unpack(backup: Backup, folder: Path, progress: Progress) -> None:
    """Write every part of a backup into an empty folder, as the backup itself is laid out, and on disk.

    Its `files` are laid out as a blob store is.
    """
    (folder / "files").mkdir(mode=0o700)
    for part, chunks in backup.parts():
        target = folder / part.path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(target, _telling(chunks, progress))
    settled(folder)


def _telling(chunks: Chunks, progress: Progress) -> Chunks:
    for chunk in chunks:
        progress(len(chunk))
        yield chunk
