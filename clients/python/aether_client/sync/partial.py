"""The file of one download that is under way. Blocks; called from the writing thread of `disk.py` only."""

from __future__ import annotations

import io
import os

from aether_client.sync.folder import Folder
from aether_client.sync.manifest import Wanted
from aether_client.sync.pieces import Pieces


class Partial:
    """Bytes of one file in `.aether/partial/<sha256>`, and which of them are good."""

    def __init__(self, folder: Folder, file: Wanted) -> None:
        self.pieces = Pieces(file)
        self._folder = folder
        self._path = folder.partial / file.sha256
        self._file: io.FileIO | None = None

    def open(self) -> None:
        """Open the file and judge what an earlier download left in it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        self._file = io.FileIO(descriptor, "r+b")
        length = os.fstat(descriptor).st_size
        if length > self.pieces.file.size:
            self._file.truncate(self.pieces.file.size)
        self.pieces.survey(length, self._read)

    def write(self, start: int, data: bytes) -> list[int]:
        """Write bytes at `start`; return the pieces that turned out wrong and are missing again."""
        file = self._opened()
        file.seek(start)
        left = memoryview(data)
        while left:
            left = left[file.write(left) :]
        return self.pieces.take(start, data, self._read)

    def close(self) -> None:
        """Close the file; what it holds stays for the next time."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self, start: int, end: int) -> bytes:
        self._folder.check()
        file = self._opened()
        file.seek(start)
        parts = []
        while start < end and (part := file.read(end - start)):
            parts.append(part)
            start += len(part)
        return b"".join(parts)

    def _opened(self) -> io.FileIO:
        if self._file is None:
            raise ValueError("the partial file is not open")
        return self._file
