"""Which names of a manifest may become files below a folder, and which are refused with a sentence.

Pure. The hub promises that a name is text and never a path; this does not rely on it. A name is one or more
segments joined by `/`. What one operating system could take for something else is refused on all of them, so that
a set of files means the same on every device.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

OWN_FOLDER: Final = ".aether"
"""The folder in which sync keeps its own things."""

MOST_SEGMENT_BYTES: Final = 255
MOST_PATH_BYTES: Final = 1024

_RESERVED: Final = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"{name}{digit}" for name in ("com", "lpt") for digit in "0123456789¹²³"}
)
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_NOT_ON_WINDOWS: Final = re.compile(r'[<>:"|?*]')
_REORDERING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def refusal(path: str, *, windows: bool = False) -> str | None:
    """Return why `path` must not become a file, or None where it may. `windows`: for a disk of that system."""
    if not path:
        return "its name is empty"
    if "\\" in path:
        return "its name has a backslash"
    if path.startswith("/"):
        return "its name begins at the root of the disk"
    if _DRIVE.match(path):
        return "its name begins with a drive letter"
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in path):
        return "its name has a control character"
    if any(character in _REORDERING for character in path):
        return "its name has a character that turns the reading order around"
    if len(path.encode()) > MOST_PATH_BYTES:
        return f"its name is longer than {MOST_PATH_BYTES} bytes"
    segments = path.split("/")
    for segment in segments:
        why = _segment_refusal(segment, windows=windows)
        if why is not None:
            return why
    if collision_key(segments[0]).rstrip(". ") == OWN_FOLDER:
        return f"{OWN_FOLDER} belongs to sync itself"
    return None


def _segment_refusal(segment: str, *, windows: bool) -> str | None:
    if segment == "":
        return "its name has an empty part between slashes"
    if segment.strip(". ") == "":
        return "its name has a part of dots that would lead out of the folder or nowhere"
    if len(segment.encode()) > MOST_SEGMENT_BYTES:
        return f"a part of its name is longer than {MOST_SEGMENT_BYTES} bytes"
    if collision_key(segment).partition(".")[0].rstrip(" ") in _RESERVED:
        return "its name is reserved by an operating system"
    if windows and _NOT_ON_WINDOWS.search(segment):
        return "its name has a character that this system cannot hold"
    if windows and segment[-1] in ". ":
        return "a part of its name ends in a dot or a space, which this system drops"
    return None


def collision_key(path: str) -> str:
    """Return what two names share that some file system would take for one: case, composition, invisible marks."""
    visible = "".join(c for c in unicodedata.normalize("NFKC", path) if unicodedata.category(c) != "Cf")
    return unicodedata.normalize("NFKC", visible.casefold())


def parents(path: str) -> list[str]:
    """Return the folders above a path of the set, outermost first."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]
