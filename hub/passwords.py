"""Passwords: what is kept of them, and whether one is right. Pure and slow: run it on a thread.

New ones are Argon2id. Those of people who come from elsewhere may be bcrypt or scrypt; whoever signs in with one has it
kept as Argon2id from then on. No password is ever cut: what a form cannot take whole is wrong.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import argon2
import bcrypt
from argon2 import PasswordHasher, Type
from argon2.exceptions import Argon2Error, InvalidHashError

LEAST_BYTES: Final = 10
"""The shortest password that is taken. What somebody brought from elsewhere may be shorter."""
MOST_BYTES: Final = 1024
LEAST_MEMORY_KIB: Final = 19_456
LEAST_PASSES: Final = 2
"""The least that Argon2id is worth today: 19 MiB, gone through twice."""
KEPT_CHARACTERS: Final = 300
"""The longest text that is kept of a password."""
_MOST_MEMORY: Final = 256 * 1024 * 1024
"""How much memory, in bytes, a hash from elsewhere may ask for."""
_MOST_PASSES: Final = 16
_BCRYPT: Final = re.compile(r"\$2[aby]\$(0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}\Z")
_BCRYPT_BYTES: Final = 72
_SCRYPT: Final = (
    re.compile(r"\$scrypt\$ln=(?P<ln>\d{1,2}),r=(?P<r>\d{1,2}),p=(?P<p>\d{1,2})\$(?P<salt>[^$]+)\$(?P<hash>[^$]+)\Z"),
    re.compile(r"scrypt:(?P<n>\d{1,7}):(?P<r>\d{1,2}):(?P<p>\d{1,2})\$(?P<salt>[^$]+)\$(?P<hex>[0-9a-f]{64,128})\Z"),
)


def problem_of(password: str) -> str | None:
    """Return what is wrong with a new password, as a sentence, or None."""
    size = len(password.encode("utf-8", "surrogatepass"))
    if size < LEAST_BYTES:
        return f"A password has at least {LEAST_BYTES} characters; several words make a good one."
    if size > MOST_BYTES:
        return f"A password has at most {MOST_BYTES} bytes."
    return None


@dataclass(frozen=True, slots=True)
class _Scrypt:
    n: int
    r: int
    p: int
    salt: bytes
    expected: bytes


class Passwords:
    """Makes and checks what is kept of passwords, at one cost: so much memory, gone through so many times."""

    def __init__(self, memory_kib: int = LEAST_MEMORY_KIB, passes: int = LEAST_PASSES) -> None:
        if memory_kib < LEAST_MEMORY_KIB or passes < LEAST_PASSES:
            raise ValueError("cheaper than Argon2id may be")
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1, type=Type.ID)

    @cached_property
    def of_nobody(self) -> str:
        """What a password is compared with where there is nobody, so that this takes as long."""
        return self._hasher.hash("nobody has this password")

    def kept(self, password: str) -> str:
        """Return what is kept of a new password."""
        return self._hasher.hash(password.encode())

    def is_right(self, kept: str | None, password: str) -> bool:
        """Say whether a password is the one of which this is kept; None: there is nobody, or they have none."""
        given = password.encode("utf-8", "surrogatepass")
        if len(given) > MOST_BYTES or kept is None or not is_known(kept):
            self._argon2(self.of_nobody, given[:MOST_BYTES])
            return False
        if kept.startswith("$argon2"):
            return self._argon2(kept, given)
        if kept.startswith("$2"):
            return len(given) <= _BCRYPT_BYTES and bcrypt.checkpw(given, kept.encode("ascii"))
        other = _scrypt(kept)
        return other is not None and _scrypt_matches(other, given)

    def is_outdated(self, kept: str) -> bool:
        """Say whether a password should be kept anew: in another form, or at another cost."""
        return not kept.startswith("$argon2id$") or self._hasher.check_needs_rehash(kept)

    def _argon2(self, kept: str, given: bytes) -> bool:
        try:
            return self._hasher.verify(kept, given)
        except (Argon2Error, InvalidHashError):
            return False


def is_known(kept: str) -> bool:
    """Say whether this is a form of hash that can be checked here, at a cost that can be borne."""
    if len(kept) > KEPT_CHARACTERS or not kept.isascii():
        return False
    if kept.startswith("$argon2"):
        try:
            found = argon2.extract_parameters(kept)
        except InvalidHashError:
            return False
        return found.memory_cost * 1024 <= _MOST_MEMORY and found.time_cost <= _MOST_PASSES and found.parallelism <= 16
    return _BCRYPT.match(kept) is not None or _scrypt(kept) is not None


def _scrypt(kept: str) -> _Scrypt | None:
    """Read `$scrypt$ln=…,r=…,p=…$salt$hash` (passlib) or `scrypt:n:r:p$salt$hex` (Werkzeug); None for anything else."""
    for form in _SCRYPT:
        found = form.match(kept)
        if found is None:
            continue
        parts = found.groupdict()
        r, p = int(parts["r"]), int(parts["p"])
        try:
            if "ln" in parts:
                power, salt, expected = int(parts["ln"]), _decoded(parts["salt"]), _decoded(parts["hash"])
                n = 1 << power
            else:
                n, salt, expected = int(parts["n"]), parts["salt"].encode(), bytes.fromhex(parts["hex"])
        except (ValueError, binascii.Error):
            return None
        sound = n > 1 and n & (n - 1) == 0 and r >= 1 and 1 <= p <= 4 and 16 <= len(expected) <= 64
        return _Scrypt(n, r, p, salt, expected) if sound and 128 * n * r <= _MOST_MEMORY else None
    return None


def _decoded(text: str) -> bytes:
    text = text.replace(".", "+")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _scrypt_matches(other: _Scrypt, given: bytes) -> bool:
    room = 128 * other.r * (other.n + other.p + 2)
    made = hashlib.scrypt(
        given, salt=other.salt, n=other.n, r=other.r, p=other.p, maxmem=room + 2**20, dklen=len(other.expected)
    )
    return hmac.compare_digest(made, other.expected)
