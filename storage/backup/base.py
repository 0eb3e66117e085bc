"""The promise of a keeper that can be backed up: one consistent state of everything, while it serves.

Records with their tombstones, the log, kept answers and where every account's log stands are of one moment: of
every commit that was acknowledged before `dump` was called, and of none by half.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, Protocol, runtime_checkable

NAMED: Final = "named-files"
"""The file in which a dump lists the SHA-256 of every file that a record names, tombstones too, one on a line."""
_HASH = re.compile(r"[0-9a-f]{64}\Z")


@runtime_checkable
class Dumps(Protocol):
    """A keeper that can be backed up; `keeper` names the kind that reads its parts again."""

    keeper: Literal["sqlite", "mariadb"]

    async def dump(self, folder: Path) -> None:
        """Write the parts of a backup into an empty folder, and `NAMED` beside them; raise `HubError`.

        Serving goes on meanwhile. Cancelled, it stops soon and leaves what it wrote.
        """


def write_named(folder: Path, hashes: set[str]) -> None:
    """Write which files are named; what is no hash names none."""
    lines = "".join(f"{sha256}\n" for sha256 in sorted(hashes) if _HASH.match(sha256))
    (folder / NAMED).write_text(lines, "ascii")


def read_named(folder: Path) -> Iterator[str]:
    """Yield the hashes of the files that are named."""
    with (folder / NAMED).open(encoding="ascii") as file:
        for line in file:
            yield line.rstrip("\n")
