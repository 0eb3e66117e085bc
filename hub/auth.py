"""Tokens: their form, their checksums, their hashes. Pure; random bytes come in as arguments.

A token is `<prefix>_<43 characters of 32 random bytes><6 hex digits of CRC-32>`. Only its SHA-256 is
stored, which is enough for a secret of 256 random bits. The checksum refuses typing errors and random
guesses before storage is asked.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from typing import Final

API_KEY: Final = "aek"
SESSION_TOKEN: Final = "aes"
SIGNIN_CODE: Final = "aec"
SIGNIN_SECONDS: Final = 15 * 60
SESSION_SECONDS: Final = 30 * 24 * 3600
_FORM = re.compile(r"(aek|aes|aec)_([A-Za-z0-9_-]{43})([0-9a-f]{6})\Z")


def _crc(text: str) -> str:
    return f"{zlib.crc32(text.encode('ascii')) & 0xFFFFFF:06x}"


def make_token(prefix: str, random: bytes) -> str:
    """Return the token of a kind that holds 32 random bytes."""
    body = f"{prefix}_{base64.urlsafe_b64encode(random)[:43].decode('ascii')}"
    return body + _crc(body)


def kind_of(token: str) -> str | None:
    """Return the prefix of a well-formed token, or None."""
    found = _FORM.match(token)
    if found is None or _crc(f"{found[1]}_{found[2]}") != found[3]:
        return None
    return found[1]


def is_whole(token: str, prefix: str) -> bool:
    """Say whether a text has the form of a token of this kind, of whatever kind that is, with its checksum."""
    form = re.fullmatch(rf"{prefix}_[A-Za-z0-9_-]{{43}}[0-9a-f]{{6}}", token)
    return form is not None and _crc(token[:-6]) == token[-6:]


def digest(token: str) -> str:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode("ascii")).hexdigest()


def proof_of(secret: str) -> str:
    """Return what is kept and told of a secret that brings a session back: with it, the secret is known again."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
