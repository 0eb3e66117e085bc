"""Passwords off the loop: a few threads, and a bound on what waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from hub.passwords import Passwords
from hub.wire.errors import HubError

THREADS: Final = 2
"""How many passwords are looked at at once; each takes the memory of its cost."""
WAITING: Final = 32
"""How many are looked at or wait at a time: beyond, the next is told to come back."""
_T = TypeVar("_T")


class Hashing:
    """Makes and checks what is kept of passwords, on threads of its own."""

    def __init__(self, passwords: Passwords | None = None) -> None:
        self._passwords = passwords or Passwords()
        self._pool = ThreadPoolExecutor(THREADS, "passwords")
        self._busy = 0

    async def kept(self, password: str) -> str:
        """Return what is kept of a new password; raise `rate.limited`."""
        return await self._run(lambda: self._passwords.kept(password))

    async def is_right(self, kept: str | None, password: str) -> bool:
        """Say whether a password is right, in the same time whether or not there is anything to compare it with."""
        return await self._run(lambda: self._passwords.is_right(kept, password))

    def is_outdated(self, kept: str) -> bool:
        """Say whether a password should be kept anew."""
        return self._passwords.is_outdated(kept)

    async def _run(self, work: Callable[[], _T]) -> _T:
        if self._busy >= WAITING:
            raise HubError("rate.limited", "Too many people sign in at this moment; try again.", retry_after=1)
        self._busy += 1
        running = asyncio.get_running_loop().run_in_executor(self._pool, work)
        running.add_done_callback(self._free)  # also where whoever waits for it has gone: the thread has not
        return await asyncio.shield(running)

    def _free(self, running: asyncio.Future[_T]) -> None:
        self._busy -= 1
        if not running.cancelled():
            running.exception()  # whoever wanted it may have gone

    def close(self) -> None:
        """End the threads when they are done."""
        self._pool.shutdown(wait=False)
