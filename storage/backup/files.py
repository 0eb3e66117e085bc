"""The files of a backup: their bytes, from the folder of a blob store.

Bytes in a store never change under their hash, so they are taken beside a running hub without asking it. What is
gone, or is no longer what its hash says, is left out and named. Blocking; for a command.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from storage.backup.archive import CHUNK_BYTES, Chunks, Progress, write_file
from storage.backup.manifest import Part, file_path
from storage.blobs.tree import Tree


class Taken:
    """What was found of the files that records name: `files` with their sizes, and `missing`."""

    def __init__(self) -> None:
        self.files: list[tuple[str, int]] = []
        self.missing: list[str] = []


def look(blobs: Path, hashes: Iterable[str], progress: Progress) -> Taken:
    """Read the bytes of files and say which are there and whole."""
    taken, tree = Taken(), Tree(blobs, 0)
    for sha256 in hashes:
        size = _whole(tree, sha256, progress)
        if size is None:
            taken.missing.append(sha256)
        else:
            taken.files.append((sha256, size))
    return taken


def copy(blobs: Path, hashes: Iterable[str], folder: Path, progress: Progress) -> Taken:
    """Copy the bytes of files into a backup's folder; they are on disk after `archive.settled`."""
    taken, tree = Taken(), Tree(blobs, 0)
    for sha256 in hashes:
        target = folder / file_path(sha256)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with _open(tree, sha256) as file:
                hasher = hashlib.sha256()
                write_file(target, _hashing(_chunks(file), hasher.update, progress))
                good = hasher.hexdigest() == sha256
        except FileNotFoundError:
            good = False
        if good:
            taken.files.append((sha256, target.lstat().st_size))
        else:
            target.unlink(missing_ok=True)
            taken.missing.append(sha256)
    return taken


def parts(blobs: Path, files: Iterable[tuple[str, int]], progress: Progress) -> Iterator[tuple[Part, Chunks]]:
    """Yield the bytes of files that were looked at; raise `OSError` where they are other ones now."""
    tree = Tree(blobs, 0)
    for sha256, size in files:
        with _open(tree, sha256) as file:
            hasher = hashlib.sha256()
            yield Part(file_path(sha256), size, sha256), _hashing(_chunks(file), hasher.update, progress)
            if file.tell() != size or hasher.hexdigest() != sha256:
                raise OSError(f"the bytes of {sha256} were changed while they were read")


def _open(tree: Tree, sha256: str) -> BinaryIO:
    return os.fdopen(os.open(tree.path(sha256), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", 0)


def _whole(tree: Tree, sha256: str, progress: Progress) -> int | None:
    """Return the size of a file whose bytes are what its hash says, else None."""
    hasher = hashlib.sha256()
    try:
        with _open(tree, sha256) as file:
            for chunk in _hashing(_chunks(file), hasher.update, progress):
                del chunk
            return file.tell() if hasher.hexdigest() == sha256 else None
    except FileNotFoundError:
        return None


def _chunks(file: BinaryIO) -> Chunks:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def _hashing(chunks: Chunks, update: Callable[[bytes], None], progress: Progress) -> Chunks:
    for chunk in chunks:
        update(chunk)
        progress(len(chunk))
        yield chunk
