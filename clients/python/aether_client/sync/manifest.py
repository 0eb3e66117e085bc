"""What a folder should hold: a manifest of the hub as a checked value.

Pure. Reads the answer of `manifest.get`, refuses single files with a sentence (names that play tricks, two files
with one name, impossible figures) and knows how a file is cut into pieces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aether_client.errors import AetherError
from aether_client.sync.names import collision_key, parents, refusal

PIECE_BYTES: Final = 4 * 1024 * 1024
"""The length of every piece but the last (DESIGN.md section 10)."""

_SHA256: Final = re.compile(r"[0-9a-f]{64}\Z")
_MOST_BYTES: Final = 2**53 - 1


class BadManifest(AetherError):
    """The hub's answer is no manifest at all."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file of a manifest. `pieces` holds the SHA-256 of each piece, or nothing where the hub gave none."""

    path: str
    sha256: str
    size: int
    pieces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that is not brought into the folder, and why (half a sentence: "its name …")."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files that a folder should hold, sorted by path, and those that are refused."""

    revision: int | str
    files: tuple[Wanted, ...]
    refused: tuple[Refused, ...] = ()

    @property
    def size(self) -> int:
        """How many bytes the files have together."""
        return sum(file.size for file in self.files)


def piece_count(size: int) -> int:
    """Return how many pieces a file of `size` bytes has; an empty file has none."""
    return -(-size // PIECE_BYTES)


def read_manifest(data: Any, *, windows: bool = False) -> Manifest:
    """Read the data of a `manifest.get` answer; raise `BadManifest`."""
    if not isinstance(data, Mapping) or not isinstance(data.get("files"), list):
        raise BadManifest("The hub's answer is no manifest.")
    revision = data.get("revision")
    if not isinstance(revision, int | str):
        raise BadManifest("The hub's manifest has no revision.")
    files: list[Wanted] = []
    refused: list[Refused] = []
    for item in data["files"]:
        read = _read_file(item, windows=windows)
        if isinstance(read, Wanted):
            files.append(read)
        else:
            refused.append(read)
    files.sort(key=lambda file: file.path)
    files, collided = _without_collisions(files)
    refused += collided
    return Manifest(revision, tuple(files), tuple(sorted(refused, key=lambda item: item.path)))


def _read_file(item: Any, *, windows: bool) -> Wanted | Refused:
    if not isinstance(item, Mapping) or not isinstance(item.get("path"), str):
        raise BadManifest("The hub's manifest holds something that is no file.")
    path, sha256, size, pieces = item["path"], item.get("sha256"), item.get("size"), item.get("pieces") or []
    why = refusal(path, windows=windows)
    if why is not None:
        return Refused(path, why)
    if not isinstance(sha256, str) or not _SHA256.match(sha256):
        return Refused(path, "the hub gave no SHA-256 for it")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _MOST_BYTES:
        return Refused(path, "the hub gave no size for it")
    if not isinstance(pieces, list) or not all(isinstance(p, str) and _SHA256.match(p) for p in pieces):
        return Refused(path, "the hashes of its pieces cannot be read")
    if size == 0:
        pieces = []
    if pieces and len(pieces) != piece_count(size):
        return Refused(path, f"it should have {piece_count(size)} pieces and has {len(pieces)}")
    return Wanted(path, sha256, size, tuple(pieces))


def _without_collisions(files: list[Wanted]) -> tuple[list[Wanted], list[Refused]]:
    """Keep the first of names that some file system takes for one, and no file below a file."""
    kept: dict[str, Wanted] = {}
    folders: set[str] = set()
    sizes: dict[str, int] = {}
    refused = []
    for file in files:
        key = collision_key(file.path)
        above = [collision_key(parent) for parent in parents(file.path)]
        below_file = next((kept[parent] for parent in above if parent in kept), None)
        if key in kept:
            refused.append(Refused(file.path, f"its name collides with {kept[key].path!r}"))
        elif below_file is not None:
            refused.append(Refused(file.path, f"it lies below {below_file.path!r}, which is a file"))
        elif key in folders:
            refused.append(Refused(file.path, "another file has its name as a folder"))
        elif sizes.setdefault(file.sha256, file.size) != file.size:
            refused.append(Refused(file.path, "another file has the same SHA-256 and another size"))
        else:
            kept[key] = file
            folders.update(above)
    return list(kept.values()), refused
