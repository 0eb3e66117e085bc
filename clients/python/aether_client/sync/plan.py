"""What has to happen so that a folder equals a manifest. Pure: what should be and what is there in, a plan out.

Nothing that sync did not put there is ever deleted: a stranger's file in the way is set aside, one elsewhere is left
alone. A file that sync put there and somebody changed is fetched again while it is in the manifest, and left alone
once it is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from aether_client.sync.manifest import Manifest, Refused, Wanted


@dataclass(frozen=True, slots=True)
class Seen:
    """What stands at a path now.

    `file` with its hash (None: it cannot be read), `folder`, `other` (a link, a device), or `blocked`: something on
    the way to it is no folder.
    """

    kind: Literal["file", "folder", "other", "blocked"]
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Fetch:
    """Bytes that are missing, and every path that waits for them.

    `source` is a path in the folder that holds the bytes already, or None: then they come from the hub.
    """

    file: Wanted
    paths: tuple[str, ...]
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps, and what is worth saying about the rest."""

    keep: tuple[str, ...]
    """Right already."""
    fetch: tuple[Fetch, ...]
    spoiled: tuple[str, ...]
    """Those of the fetched paths that sync had put there and that hold other bytes now."""
    aside: frozenset[str]
    """Those of the fetched paths where a stranger's file stands: it is moved out of the way, not deleted."""
    remove: tuple[str, ...]
    """Put there by sync, unchanged, and no longer wanted."""
    left: tuple[str, ...]
    """Put there by sync, changed by somebody since, and no longer wanted: they stay."""
    refused: tuple[Refused, ...]
    stale: tuple[str, ...]
    """Hashes of partial downloads that nothing waits for any more."""


def adopt(placed: Mapping[str, str], intended: Mapping[str, str], seen: Mapping[str, Seen]) -> dict[str, str]:
    """Return what sync put there, with what it was about to put there when it was last stopped, if that happened."""
    done = {path: sha256 for path, sha256 in intended.items() if path in seen and seen[path].sha256 == sha256}
    return {**placed, **done}


def make_plan(manifest: Manifest, seen: Mapping[str, Seen], placed: Mapping[str, str], partials: Iterable[str]) -> Plan:
    """Compare and decide.

    `seen` tells what stands at each path of the manifest and of `placed`; absent = nothing. `placed` maps what sync
    put there to its hash. `partials` are the hashes of which a part was downloaded already.
    """
    keep: list[str] = []
    spoiled: list[str] = []
    aside: set[str] = set()
    refused = list(manifest.refused)
    waiting: dict[str, list[str]] = {}
    files: dict[str, Wanted] = {}
    for file in manifest.files:
        path, here = file.path, seen.get(file.path)
        if here is not None:
            if here.sha256 == file.sha256:
                keep.append(path)
                continue
            if here.kind == "blocked":
                refused.append(Refused(path, "something that is no folder stands on the way to it"))
                continue
            if here.kind == "folder":
                refused.append(Refused(path, "a folder stands in its place"))
                continue
            if here.kind != "file" or path not in placed:
                aside.add(path)
            elif here.sha256 != placed[path]:
                spoiled.append(path)
        files.setdefault(file.sha256, file)
        waiting.setdefault(file.sha256, []).append(path)
    at_hand = {here.sha256: path for path, here in sorted(seen.items(), reverse=True) if here.sha256 is not None}
    wanted = {file.path for file in manifest.files}
    gone = [path for path in sorted(placed) if path not in wanted and path in seen and seen[path].kind == "file"]
    return Plan(
        keep=tuple(keep),
        fetch=tuple(Fetch(files[sha256], tuple(paths), at_hand.get(sha256)) for sha256, paths in waiting.items()),
        spoiled=tuple(spoiled),
        aside=frozenset(aside),
        remove=tuple(path for path in gone if seen[path].sha256 == placed[path]),
        left=tuple(path for path in gone if seen[path].sha256 != placed[path]),
        refused=tuple(refused),
        stale=tuple(sorted(set(partials) - set(files))),
    )
