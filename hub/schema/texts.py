"""What a name or title must be for people to see it as it is. Pure.

For texts with a `min_length`: what has to be there has to be seen.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_TURNING: Final = re.compile("[\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Line separators, and what turns the direction of the text around it: as in names of files."""
_BLANK: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and signs that are drawn as nothing."""


def problem_of(text: str, *, one_line: bool = True) -> str | None:
    """Return a sentence that says why people could not see this name, else None."""
    if text.isascii():
        shown = bool(text) and not text.isspace()
    else:
        if one_line and _TURNING.search(text):
            return "A name holds no line separators and nothing that turns its direction around."
        shown = any(map(_shows, text))
    return None if shown else "This text shows nothing; write something that can be seen."


def _shows(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] not in "ZM" and category not in {"Cc", "Cf", "Cs"} and character not in _BLANK
