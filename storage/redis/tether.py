"""Being tied to one server of Redis: one connection that is read, one that is asked, and both made anew when lost.

    new --start--> away --`serve` connects--> ready --lost, given up, a fault--> away -- ... --close--> closed

What is done over the connections is its owner's: `serve` opens them with `connect`, puts right what was missed, sets
`ready` and gives its work to `hold`, which returns by raising. A connection lives once (`storage.redis.lane`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from random import random
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from hub.wire.errors import HubError
from storage.redis.address import Place, Unready, connected
from storage.redis.lane import Lost
from storage.redis.mouth import Mouth

FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 2.0
"""How long to wait before connecting again, in seconds: at first and at most, with a random share taken off."""


class Tether:
    """Keeps one owner connected. `away` is called whenever nothing can be asked from now on, and at the end.

    `fault` is called where the owner itself failed, so that what it was told may be half told.
    """

    def __init__(
        self,
        mouth: Mouth,
        serve: Callable[[], Awaitable[None]],
        away: Callable[[], None],
        log: logging.Logger,
        *,
        longest_wait: float = LONGEST_WAIT,
        fault: Callable[[], None] = lambda: None,
    ) -> None:
        self._mouth, self._serve, self._away, self._log = mouth, serve, away, log
        self._longest_wait, self._fault = longest_wait, fault
        self.ready = False
        """Whether Redis can be asked; set by `serve`."""
        self.lost = 0
        """How often connections that were ready have been lost."""
        self._open: list[AbstractConnection] = []
        self._running: asyncio.Task[None] | None = None
        self._closed = False
        self._over = asyncio.Event()
        """Set to end `hold`: the connections were given up, or the owner closes."""
        self._why = ""

    def start(self) -> None:
        """Begin to connect."""
        self._running = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Disconnect, and connect no more."""
        self._closed = True
        self._over.set()
        await self._close_all()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
            self._running = None
        self._leave()

    async def connect(self, place: Place) -> tuple[AbstractConnection, AbstractConnection]:
        """Open one connection to be read and one to be asked; raise `RedisError`, `OSError`."""
        ears, mouth = place.connection(), place.connection()
        self._open = [ears, mouth]
        for connection in self._open:
            await connected(connection)
        return ears, mouth

    def give_up(self, why: str) -> None:
        """Have the connections made anew, because what is read over them is no longer whole."""
        self._why = why
        self._over.set()

    async def hold(self, *work: Coroutine[Any, Any, None]) -> None:
        """Do this over the connections until they are lost, given up or closed; raise what it ended with."""
        if not self._closed:
            self._over.clear()
        tasks = [asyncio.ensure_future(each) for each in (*work, self._until_over())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await self._close_all()  # nothing relies on being cancelled; see `storage.redis.lane`
            self._mouth.wake()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _until_over(self) -> None:
        await self._over.wait()
        if not self._closed:
            raise Lost(self._why)

    async def _run(self) -> None:
        """Be connected, again and again."""
        wait = FIRST_WAIT
        while not self._closed:
            try:
                await self._serve()
            except (RedisError, OSError, Unready, Lost, HubError) as fault:
                if self.ready:
                    wait = FIRST_WAIT
                    self.lost += 1
                    self._log.warning("Redis is lost: %s: %s", type(fault).__name__, fault)
            except Exception:
                # A fault of ours, or of whoever is told. Were this task to die of it, nothing would be told until the
                # hub is started again; so it connects anew, and what was missed is read then.
                self._log.exception("connects to Redis again after a fault")
                self._fault()
            finally:
                self._leave()
                await self._close_all()
            await asyncio.sleep(wait * (1 - random() / 2))
            wait = min(wait * 2, self._longest_wait)

    def _leave(self) -> None:
        self.ready = False
        self._away()
        self._mouth.refuse()

    async def _close_all(self) -> None:
        """Close both connections, which ends whatever reads or writes on them."""
        closing, self._open = self._open, []
        for connection in closing:
            try:
                await connection.disconnect(nowait=True)
            except (RedisError, OSError):
                pass  # it is gone, which is what was wanted
