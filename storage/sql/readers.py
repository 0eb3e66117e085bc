"""The readers: a few threads with a read-only connection each, answering questions in the order they come.

A question is a function of a connection. Of those who are idle the one that answered last is asked: what it has in its
caches is what the next question needs. One that runs for too long is interrupted. Knows threads and connections,
nothing of what is read.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from storage.sql.connection import open_reader

T = TypeVar("T")
Read = Callable[[sqlite3.Connection], T]


@dataclass(slots=True, eq=False)
class _Job:
    run: Read[Any]
    future: asyncio.Future[Any]


class _Reader:
    """One connection, and since when it has been answering (None: it is idle)."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        # What it is to answer next while it is idle; None ends its thread.
        self.asked: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._since: float | None = None

    def answer(self, run: Read[T]) -> T:
        """Answer one question; raise `sqlite3.OperationalError` where it was interrupted."""
        self._since = time.monotonic()
        try:
            return run(self.connection)
        finally:
            with self._guard:
                self._since = None

    def interrupt(self, before: float) -> None:
        """Break off a question that was begun before a moment."""
        with self._guard:
            if self._since is not None and self._since < before:
                self.connection.interrupt()


class Readers:
    """A pool of reading threads; `seconds` is how long one question may take."""

    def __init__(self, path: Path, count: int, seconds: float) -> None:
        self._path = path
        self._count = count
        self._seconds = seconds
        # Who hands a question over holds this: it goes to somebody idle, or waits for whoever is idle next.
        self._turn = threading.Lock()
        self._waiting: deque[_Job] = deque()
        self._idle: list[_Reader] = []
        self._threads: list[threading.Thread] = []
        self._readers: list[_Reader] = []

    @property
    def waiting(self) -> int:
        """Return how many questions are queued."""
        return len(self._waiting)

    def open(self) -> None:
        """Open the connections; blocking. The writer is already open."""
        for _ in range(self._count):
            self._readers.append(_Reader(open_reader(self._path)))

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the threads; answers come back on `loop`."""
        for n, reader in enumerate(self._readers):
            thread = threading.Thread(target=self._run, args=(reader, loop), name=f"aether-reader-{n}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def ask(self, run: Read[T]) -> asyncio.Future[T]:
        """Queue a question; called on the loop, where the future will be done."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        job = _Job(run, future)
        with self._turn:
            if self._idle:
                self._idle.pop().asked.put(job)
            else:
                self._waiting.append(job)
        return future

    def interrupt_slow(self) -> None:
        """Break off every question that takes too long; called now and then."""
        before = time.monotonic() - self._seconds
        for reader in self._readers:
            reader.interrupt(before)

    def close(self) -> None:
        """Answer what is queued, end the threads, close the connections; blocking."""
        for reader in self._readers:
            reader.asked.put(None)
        for thread in self._threads:
            thread.join()
        for reader in self._readers:
            reader.connection.close()
        self._threads.clear()
        self._readers.clear()

    def _take(self, reader: _Reader) -> _Job | None:
        """Return a question that waits; where none does, from now on the reader is idle."""
        with self._turn:
            if self._waiting:
                return self._waiting.popleft()
            self._idle.append(reader)
        return None

    def _run(self, reader: _Reader, loop: asyncio.AbstractEventLoop) -> None:
        job = self._take(reader)
        while job := job or reader.asked.get():
            if job.future.cancelled():
                job = self._take(reader)
                continue
            tell: Callable[[asyncio.Future[Any], Any], None]
            value: Any
            try:
                tell, value = _settle, reader.answer(job.run)
            except Exception as error:
                tell, value = _fail, error
            # Idle first and then the answer, so that who asks again at once asks this one.
            answered, job = job, self._take(reader)
            loop.call_soon_threadsafe(tell, answered.future, value)
            del answered, value


def _settle(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
