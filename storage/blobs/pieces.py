"""Hashing a stream by the whole and by 4 MiB pieces at once, and the text in which pieces are kept. Pure.

A device that lost its connection compares pieces and fetches only what it lacks.
"""

from __future__ import annotations

import hashlib
from typing import Final

from hub.wire.names import SHA256

PIECE_BYTES: Final = 4 * 1024 * 1024
"""The size of every piece but the last."""


def piece_count(size: int) -> int:
    """Return how many pieces a blob of `size` bytes has."""
    return -(-size // PIECE_BYTES)


class PieceHasher:
    """The hash of everything so far, and of each piece. The first piece needs no hash of its own."""

    def __init__(self) -> None:
        self.size = 0  # bytes so far
        self._whole = hashlib.sha256()
        self._piece = hashlib.sha256()  # of the piece that is not full yet, from the second piece on
        self._full: list[str] = []  # the hashes of full pieces

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes."""
        rest = memoryview(data)
        while rest:
            part = rest[: PIECE_BYTES - self.size % PIECE_BYTES]
            rest = rest[len(part) :]
            self._whole.update(part)
            if self.size >= PIECE_BYTES:
                self._piece.update(part)
            self.size += len(part)
            if self.size % PIECE_BYTES == 0:
                self._full.append(self._last())
                self._piece = hashlib.sha256()

    def _last(self) -> str:
        return (self._whole if self.size <= PIECE_BYTES else self._piece).hexdigest()

    def sha256(self) -> str:
        """Return the hash of everything so far."""
        return self._whole.hexdigest()

    def pieces(self) -> tuple[str, ...]:
        """Return the hash of each piece so far, the last one as far as it is there."""
        return (*self._full, self._last()) if self.size % PIECE_BYTES else tuple(self._full)


def format_pieces(pieces: tuple[str, ...]) -> str:
    """Return the text of a side file: a hash per line, and last the hash of these lines."""
    body = "".join(f"{piece}\n" for piece in pieces)
    return f"{body}{_seal(body)}\n"


def parse_pieces(text: str, size: int) -> tuple[str, ...] | None:
    """Return the hashes in a side file of a blob of `size` bytes, or None where it is damaged."""
    lines = text.splitlines()
    body = "".join(f"{line}\n" for line in lines[:-1])
    if len(lines) != piece_count(size) + 1 or lines[-1] != _seal(body):
        return None
    return tuple(lines[:-1]) if all(map(SHA256.match, lines[:-1])) else None


def _seal(body: str) -> str:
    return hashlib.sha256(body.encode("utf-8")).hexdigest()
