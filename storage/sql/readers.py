"""The readers: a few threads with a read-only connection each, and one hand-over to the loop for many answers.

A point read is one statement; a page of a find is one statement too, so it needs no transaction. Knows
threads and connections, nothing of what is read.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from storage.sql.connection import open_reader

HAND_OVER: Final = 64
"""How many answers a reader collects at most while more questions wait."""

T = TypeVar("T")
Read = Callable[[sqlite3.Connection], T]


@dataclass(slots=True, eq=False)
class _Job:
    run: Read[Any]
    future: asyncio.Future[Any]


_Done = tuple[asyncio.Future[Any], Any, BaseException | None]


class Readers:
    """A pool of reading threads. Use it from the loop that it was started on."""

    def __init__(self, path: Path, count: int) -> None:
        self._path = path
        self._count = count
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def waiting(self) -> int:
        """Return how many questions are queued."""
        return self._queue.qsize()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Open the connections and start the threads; blocking, the writer is already open."""
        self._loop = loop
        connections = [open_reader(self._path) for _ in range(self._count)]
        for n, connection in enumerate(connections):
            thread = threading.Thread(target=self._run, args=(connection, loop), name=f"aether-reader-{n}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def ask(self, run: Read[T]) -> asyncio.Future[T]:
        """Queue a question; the future is done on the loop."""
        if self._loop is None:
            raise RuntimeError("the readers are not started")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Job(run, future))
        return future

    def stop(self) -> None:
        """Answer what is queued, end the threads, close the connections; blocking."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _run(self, connection: sqlite3.Connection, loop: asyncio.AbstractEventLoop) -> None:
        done: list[_Done] = []
        while True:
            if done and (len(done) >= HAND_OVER or self._queue.empty()):
                loop.call_soon_threadsafe(_settle, done)
                done = []
            try:
                # While answers wait to be handed over, only what is queued already is taken.
                job = self._queue.get(block=not done)
            except queue.Empty:
                continue
            if job is None:
                break
            if job.future.cancelled():
                continue
            try:
                done.append((job.future, job.run(connection), None))
            except BaseException as error:
                done.append((job.future, None, error))
        if done:
            loop.call_soon_threadsafe(_settle, done)
        connection.close()


def _settle(done: list[_Done]) -> None:
    for future, value, error in done:
        if future.done():
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)
