"""Units of work on a database that may not answer: bounded in number and in time, and refused at once while it is down.

A unit runs in a task of its own, which nobody cancels but its deadline: who stops waiting leaves a connection as it
is. Knows connections, not what is done with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from hub.wire.errors import HubError
from storage.base import StorageRefused
from storage.mariadb.faults import is_lost, unavailable

PAUSE_SECONDS: Final = 0.25
"""How long to wait between two looks at a database that does not answer."""
REFUSED_SECONDS: Final = 5.0
"""How long to wait where it answers and somebody has to change something first, such as its tables."""

T = TypeVar("T")
Work = Callable[[Connection], T]
log: Final = logging.getLogger(__name__)


class Units:
    """The connections of one keeper. `look`, which is bounded in time, is awaited while the database is down.

    `fault` says why it is down; None while it serves.
    """

    def __init__(
        self, engine: AsyncEngine, readers: int, waiting: int, seconds: float, look: Callable[[], Awaitable[None]]
    ) -> None:
        self.engine = engine
        self.seconds = seconds
        self.fault: str | None = "not connected yet"
        self._look = look
        self._readers = asyncio.Semaphore(readers)
        self._limit = readers + waiting
        self._open = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._healer: asyncio.Task[None] | None = None
        self.closed = False
        self._suspected = False

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine as a task that is waited for when closing."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may be gone

    async def read(self, work: Work[T]) -> T:
        """Run a unit that reads, or may be run twice; once more on a fresh connection where the first was lost."""
        if self.fault is not None:
            raise unavailable()
        if self._open >= self._limit:
            raise HubError("server.unavailable", "Too many reads are waiting; try again shortly.", retry_after=1)
        self._open += 1
        return await asyncio.shield(self.spawn(self._read(work)))

    async def _read(self, work: Work[T]) -> T:
        begun = False
        try:
            async with asyncio.timeout(self.seconds), self._readers:
                begun = True
                try:
                    return await self._once(work)
                except Exception as error:
                    if not is_lost(error):
                        raise
                try:
                    return await self._once(work)
                except Exception as error:
                    if is_lost(error):
                        self.lost(error)
                    raise
        except TimeoutError as error:
            if begun:
                self.suspect()
            raise unavailable() from error
        finally:
            self._open -= 1

    async def _once(self, work: Work[T]) -> T:
        async with self.connection() as connection:
            return await connection.run_sync(work)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """Take a connection for a unit, and give it back."""
        async with self.engine.connect() as connection:
            yield connection

    def lost(self, error: BaseException) -> None:
        """Take note that the database does not answer; from now on it is looked at until it does."""
        if self.fault is None:
            log.error("the database does not answer: %s: %s", type(error).__name__, error)
        self.fault = str(error) or type(error).__name__
        self._heal_soon()

    def suspect(self) -> None:
        """Look whether the database answers at all: something took too long, which need not be its fault."""
        if self.fault is None and not self._suspected:
            self._suspected = True
            self.spawn(self._suspect())

    async def _suspect(self) -> None:
        try:
            await self._look()
        except Exception as error:
            self.lost(error)
        finally:
            self._suspected = False

    def _heal_soon(self) -> None:
        if self.closed or (self._healer is not None and not self._healer.done()):
            return
        self._healer = asyncio.get_running_loop().create_task(self._heal())

    async def _heal(self) -> None:
        while not self.closed:
            try:
                await self._look()
            except Exception as error:
                said = str(error) or type(error).__name__
                if said != self.fault:
                    log.warning("the database cannot be used yet: %s", said)
                self.fault = said
                await asyncio.sleep(REFUSED_SECONDS if isinstance(error, StorageRefused) else PAUSE_SECONDS)
            else:
                log.info("the database serves")
                self.fault = None
                return

    async def close(self) -> None:
        """Wait for every unit, then close the connections."""
        self.closed = True
        if self._healer is not None:
            self._healer.cancel()
            await asyncio.gather(self._healer, return_exceptions=True)
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.engine.dispose()
