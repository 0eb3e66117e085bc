"""Keys and codes: their form, their checksums, their hashes. Pure; random bytes come in as arguments.

What has a record of its own says which: `<prefix>_<11 characters of its id>_<43 characters of 32 bytes><6 hex digits of
CRC-32>`; the others, and API keys of old, leave the id out. Only the SHA-256 is stored, which is enough for a secret of
256 random bits. The checksum refuses typing errors and random guesses before storage is asked.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import zlib
from dataclasses import dataclass
from typing import Final

API_KEY: Final = "aek"
SESSION_TOKEN: Final = "aes"
REFRESH_TOKEN: Final = "aer"
SIGNIN_CODE: Final = "aec"
RESET_CODE: Final = "aeq"
INVITATION_CODE: Final = "aei"
SIGNIN_SECONDS: Final = 15 * 60
RESET_SECONDS: Final = 30 * 60
INVITATION_SECONDS: Final = 7 * 24 * 3600
SESSION_SECONDS: Final = 30 * 24 * 3600
_FORM = re.compile(r"(aek|aes|aer|aec|aeq|aei)_(?:([A-Za-z0-9_-]{11})_)?([A-Za-z0-9_-]{43})([0-9a-f]{6})\Z")
_NAMED: Final = frozenset({API_KEY, REFRESH_TOKEN})
"""What may name its record."""
_HALF: Final = 16


@dataclass(frozen=True, slots=True)
class Form:
    """A well-formed token: its kind, the record that it names, if any, and its random bytes."""

    kind: str
    rec: str | None
    random: bytes


def _crc(text: str) -> str:
    return f"{zlib.crc32(text.encode('ascii')) & 0xFFFFFF:06x}"


def make_token(prefix: str, random: bytes, rec: str | None = None) -> str:
    """Return the token of a kind that holds 32 random bytes, and names a record where one is given."""
    named = f"{rec}_" if rec is not None else ""
    body = f"{prefix}_{named}{base64.urlsafe_b64encode(random)[:43].decode('ascii')}"
    return body + _crc(body)


def read(token: str) -> Form | None:
    """Return what a well-formed token says, or None."""
    found = _FORM.match(token)
    if found is None or _crc(token[:-6]) != found[4] or (found[2] is not None) > (found[1] in _NAMED):
        return None
    return Form(found[1], found[2], base64.urlsafe_b64decode(found[3] + "="))


def kind_of(token: str) -> str | None:
    """Return the prefix of a well-formed token, or None."""
    form = read(token)
    return None if form is None else form.kind


def is_whole(token: str, prefix: str) -> bool:
    """Say whether a text has the form of a token of this kind, of whatever kind that is, with its checksum."""
    form = re.fullmatch(rf"{prefix}_[A-Za-z0-9_-]{{43}}[0-9a-f]{{6}}", token)
    return form is not None and _crc(token[:-6]) == token[-6:]


def digest(token: str) -> str:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode("ascii")).hexdigest()


def make_refresh_token(secret: bytes, rec: str, random: bytes) -> str:
    """Return a token that renews a session: one that was made here is known as such for ever, also when it is used up.

    Half of it is random, the other half says that who knows the hub's `secret` made it for this session.
    """
    half = random[:_HALF]
    return make_token(REFRESH_TOKEN, half + _made_here(secret, rec, half), rec)


def is_made_here(secret: bytes, form: Form) -> bool:
    """Say whether a token that renews a session was made with the hub's secret, at whatever time."""
    half = form.random[:_HALF]
    return form.rec is not None and hmac.compare_digest(form.random[_HALF:], _made_here(secret, form.rec, half))


def _made_here(secret: bytes, rec: str, half: bytes) -> bytes:
    return hmac.digest(secret, b"aether refresh " + rec.encode() + half, "sha256")[:_HALF]


def proof_of(secret: str) -> str:
    """Return what is kept and told of a secret that brings a session back: with it, the secret is known again."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
