"""Which bytes of a download are here and which are missing, piece by piece.

Pure: bytes and hashes in, spans out. A piece whose hash is right is kept whatever happens to the others; the piece in
which a download stopped goes on at that very byte and is judged once it is complete.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aether_client.sync.manifest import PIECE_BYTES, Wanted, piece_count

MOST_TRIES: Final = 3
"""How often a piece may come wrong before the hub's bytes are given up."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` up to but not including `end`."""

    start: int
    end: int


class Pieces:
    """The pieces of one download."""

    def __init__(self, file: Wanted) -> None:
        self.file = file
        self.good: set[int] = set()
        """Pieces that are complete and, where the manifest has their hash, right."""
        self.filled: dict[int, int] = {}
        """How many bytes of a piece that is not complete are here, from its start."""
        self.wrong: dict[int, int] = {}
        """How often a piece came with wrong bytes."""
        self._hasher = hashlib.sha256()
        """The bytes of the piece that is being received."""
        self._piece = -1
        """The number of that piece; -1: none."""

    @property
    def here(self) -> int:
        """How many bytes are here."""
        return sum(self._end(n) - n * PIECE_BYTES for n in self.good) + sum(self.filled.values())

    @property
    def is_complete(self) -> bool:
        """Whether every piece is here."""
        return len(self.good) == piece_count(self.file.size)

    @property
    def is_hopeless(self) -> bool:
        """Whether a piece came wrong too often."""
        return any(times >= MOST_TRIES for times in self.wrong.values())

    def survey(self, length: int, read: Callable[[int, int], bytes]) -> None:
        """Judge what an earlier download left: `length` bytes, of which `read(start, end)` returns a part."""
        self.good.clear()
        self.filled.clear()
        length = min(length, self.file.size)
        for piece in range(piece_count(self.file.size)):
            start, end = piece * PIECE_BYTES, self._end(piece)
            if end <= length:
                if not self.file.pieces or _hash(read(start, end)) == self.file.pieces[piece]:
                    self.good.add(piece)
            elif start < length:
                self.filled[piece] = length - start
        self._piece = -1

    def next_span(self) -> Span | None:
        """Return the first missing bytes, up to the next piece that is here; None when nothing is missing."""
        count = piece_count(self.file.size)
        first = next((piece for piece in range(count) if piece not in self.good), None)
        if first is None:
            return None
        last = first
        while last + 1 < count and last + 1 not in self.good and not self.filled.get(last + 1):
            last += 1
        return Span(first * PIECE_BYTES + self.filled.get(first, 0), self._end(last))

    def take(self, start: int, data: bytes, read: Callable[[int, int], bytes]) -> list[int]:
        """Take bytes that were written at `start`, the first byte of a span or the one after the last taken.

        Return the pieces that turned out wrong and are missing again.
        """
        found = []
        while data:
            piece = start // PIECE_BYTES
            begin, end = piece * PIECE_BYTES, self._end(piece)
            if piece in self.good or start >= self.file.size or self.filled.get(piece, 0) != start - begin:
                raise ValueError(f"byte {start} is not one that is missing")
            part = data[: end - start]
            self._feed(piece, begin, start, part, read)
            if start + len(part) == end and not self._judge(piece):
                found.append(piece)
            data = data[len(part) :]
            start += len(part)
        return found

    def _feed(self, piece: int, begin: int, start: int, part: bytes, read: Callable[[int, int], bytes]) -> None:
        if self._piece != piece:
            self._piece = piece
            self._hasher = hashlib.sha256(read(begin, start))
        self._hasher.update(part)
        self.filled[piece] = start + len(part) - begin

    def _judge(self, piece: int) -> bool:
        """Decide about a piece that is complete now."""
        self.filled.pop(piece, None)
        self._piece = -1
        if self.file.pieces and self._hasher.hexdigest() != self.file.pieces[piece]:
            self.wrong[piece] = self.wrong.get(piece, 0) + 1
            return False
        self.good.add(piece)
        return True

    def _end(self, piece: int) -> int:
        return min((piece + 1) * PIECE_BYTES, self.file.size)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
