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
    """The hash of everything so far, and of each piece. The first piece needs no hash of its own.

    `update` is `update_pieces` and then `update_whole`. The two share nothing but the end of the first
    piece, so from the second piece on two threads may do them at once with the same data.
    """

    def __init__(self) -> None:
        self.size = 0  # bytes that the whole has so far
        self._whole = hashlib.sha256()
        self._first: str | None = None  # the hash of the first piece, once it is full
        self._piece = hashlib.sha256()  # of the piece that is not full yet, from the second piece on
        self._piece_size = 0  # bytes in that
        self._full: list[str] = []  # the hashes of full pieces, from the second on

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes."""
        self.update_pieces(self.size, data)
        self.update_whole(data)

    def update_whole(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes into the hash of everything."""
        rest = memoryview(data)
        if self._first is None:
            part = rest[: PIECE_BYTES - self.size]
            self._whole.update(part)
            self.size += len(part)
            rest = rest[len(part) :]
            if self.size == PIECE_BYTES:
                self._first = self._whole.hexdigest()
        self._whole.update(rest)
        self.size += len(rest)

    def update_pieces(self, start: int, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes, which begin at `start`, into the hashes of pieces."""
        rest = memoryview(data)[max(0, PIECE_BYTES - start) :]
        while rest:
            part = rest[: PIECE_BYTES - self._piece_size]
            rest = rest[len(part) :]
            self._piece.update(part)
            self._piece_size += len(part)
            if self._piece_size == PIECE_BYTES:
                self._full.append(self._piece.hexdigest())
                self._piece, self._piece_size = hashlib.sha256(), 0

    def sha256(self) -> str:
        """Return the hash of everything so far."""
        return self._whole.hexdigest()

    def pieces(self) -> tuple[str, ...]:
        """Return the hash of each piece so far, the last one as far as it is there."""
        if self._first is None:
            return (self.sha256(),) if self.size else ()
        last = (self._piece.hexdigest(),) if self._piece_size else ()
        return (self._first, *self._full, *last)


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
