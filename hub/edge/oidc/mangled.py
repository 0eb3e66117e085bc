"""Addresses that a proxy encoded once more than they were. Pure.

Some proxies encode the path of an answer again (`/auth%2Foidc%2F…`), a few its query with it (`…%3Fcode%3D…`).
That is understood where what is meant is exactly an address that was given to a provider, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import unquote

from hub.wire.errors import HubError

TIMES: Final = 2
"""How often a path is decoded beyond what the server does."""
_OURS: Final = re.compile(r"/*auth/+oidc(?:/|$|\?)")


def meant(path: str, query: str, known: Collection[str]) -> tuple[str, str] | None:
    """Return the known path and the query that a path means once it is decoded; None where it is about other things.

    Raises `data.invalid` where it is about signing in with a provider, but not exactly a known address.
    """
    decoded = path
    for _ in range(TIMES):
        before, decoded = decoded, unquote(decoded)
        if decoded == before:
            return None
        place, mark, inside = decoded.partition("?")
        if place in known and not (mark and query):
            return place, inside if mark else _once_more(query)
        if _OURS.match(decoded):
            break
    else:
        return None
    text = (
        "This address is encoded twice, and is none that a provider was given; let the proxy pass paths on as they are."
    )
    raise HubError("data.invalid", text, path="path")


def _once_more(query: str) -> str:
    """Return a query decoded once more where its separators, or every value, were encoded again too."""
    if "=" not in query and "%3D" in query.upper():
        return unquote(query)
    return re.sub("%25([0-9A-Fa-f]{2})", r"%\1", query)
