"""The one folding of text that every case-insensitive comparison uses, in Python and in databases."""

from __future__ import annotations

import unicodedata


def fold(text: str) -> str:
    """Return the folded copy of a text: NFKC, then casefold, then NFKC again, so that folding is stable."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
