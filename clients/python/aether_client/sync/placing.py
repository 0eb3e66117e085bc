"""Putting verified files in their places, and taking away what is no longer wanted.

A file becomes visible by one rename of bytes that were synced before: a reader sees the old file or the new one.
A stranger's file in the way is moved into `.aether/aside`. Every method blocks and is called from the threads of
`disk.py`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable

from aether_client.sync.folder import Folder
from aether_client.sync.manifest import Wanted
from aether_client.sync.names import parents
from aether_client.sync.state import FolderError, sync_folder


def is_right(folder: Folder, file: Wanted) -> bool:
    """Hash a complete download as a whole and sync it; False where it is not what its name says."""
    with (folder.partial / file.sha256).open("r+b") as partial:
        right = folder.hash(partial) == file.sha256
        if right:
            os.fsync(partial.fileno())
    return right


def place(folder: Folder, file: Wanted, paths: Iterable[str], aside: Collection[str]) -> list[str]:
    """Put a verified download in its places; return the folders that were made for it."""
    made: list[str] = []
    ready = folder.partial / file.sha256
    *copies, last = paths
    for path in (*copies, last):
        made += _make_parents(folder, path)
        fresh = ready
        if path != last:
            fresh = folder.own / f"copy-{file.sha256}"
            folder.copy(ready, fresh)
        if path in aside:
            _set_aside(folder, path)
        target = folder.root / path
        try:
            fresh.replace(target)
        except (IsADirectoryError, NotADirectoryError):
            raise FolderError(f"A folder stands in the place of {path}.") from None
        sync_folder(target.parent)
        folder.note(path, file.sha256)
    return made


def _make_parents(folder: Folder, path: str) -> list[str]:
    """Make the folders above a path; a link on the way is no folder. Return those that were not there."""
    made = []
    for parent in parents(path):
        here = folder.root / parent
        try:
            here.mkdir()
        except FileExistsError:
            if here.is_symlink() or not here.is_dir():
                raise FolderError(f"{parent} is no folder, so {path} has no place.") from None
        else:
            made.append(parent)
            sync_folder(here.parent)
    return made


def _set_aside(folder: Folder, path: str) -> None:
    """Move whatever stands at a path out of the way, under a name that is free."""
    folder.aside.mkdir(exist_ok=True)
    name = path.replace("/", "_")[-80:]
    number = 0
    while os.path.lexists(folder.aside / f"{number}-{name}"):
        number += 1
    try:
        os.rename(folder.root / path, folder.aside / f"{number}-{name}")
    except FileNotFoundError:
        return  # gone by itself meanwhile
    sync_folder(folder.aside)


def remove(folder: Folder, path: str, made: Collection[str]) -> list[str]:
    """Remove a file that sync put there, and the folders it had made that are empty now; return those."""
    target = folder.root / path
    target.unlink(missing_ok=True)
    sync_folder(target.parent)
    gone = []
    for parent in reversed(parents(path)):
        if parent not in made:
            break
        try:
            (folder.root / parent).rmdir()
        except OSError:
            break  # something of somebody else is in it
        gone.append(parent)
    return gone
