"""The grammars of names on the wire, parsed once. Knows only text."""

from __future__ import annotations

import base64
import re

TYPE = re.compile(r"[a-z][a-z0-9_]{0,47}\Z")
FIELD = re.compile(r"[a-z][a-z0-9_]{0,47}\Z")
OPERATION = re.compile(r"[a-z][a-z0-9_]{0,31}\.[a-z][a-z0-9_]{0,31}\Z")
NAMESPACE = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")
CHANNEL = re.compile(r"([a-z][a-z0-9_]{0,31}):([A-Za-z0-9_-]{1,64})\Z")
PUBLIC_ID = re.compile(r"[A-Za-z0-9_-]{11,22}\Z")
SHA256 = re.compile(r"[0-9a-f]{64}\Z")

KEY_CHARS = 64
"""The longest idempotency key, in characters."""


def public_id(random: bytes) -> str:
    """Return the 11 URL-safe characters that stand for 8 random bytes."""
    return base64.urlsafe_b64encode(random)[:11].decode("ascii")


def public_ids(random: bytes) -> list[str]:
    """Return an id as `public_id` makes it for every 8 random bytes."""
    spaced = b"".join([random[at : at + 8] + b"\0" for at in range(0, len(random), 8)])
    text = base64.urlsafe_b64encode(spaced).decode("ascii")
    return [text[at : at + 11] for at in range(0, len(text), 12)]


def split_channel(name: str) -> tuple[str, str] | None:
    """Return (namespace, id) of a channel name, or None where it breaks the grammar."""
    found = CHANNEL.match(name)
    return (found[1], found[2]) if found else None
