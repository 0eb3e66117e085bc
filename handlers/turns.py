"""Turns: who may go on with what inside this instance, one at a time and in the order of asking.

Knows names of things, no request and no storage. What another instance does is no concern of it: there the
version of a record and the claim of a key decide.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

Thing = tuple[str, ...]


class _Turn:
    """One thing: its lock, and how many hold it or wait for it."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class Turns:
    """The things that somebody holds or waits for; one that nobody wants is not remembered."""

    def __init__(self) -> None:
        self._turns: dict[Thing, _Turn] = {}

    def taken(self, thing: Thing) -> bool:
        """Say whether somebody holds the thing or waits for it."""
        return thing in self._turns

    @asynccontextmanager
    async def of(self, things: Iterable[Thing]) -> AsyncIterator[None]:
        """Wait until all the things are free, and hold them until the block ends.

        Always taken in one order, so that no two wait for each other; inside the block nothing more may be asked for.
        """
        wanted = sorted(set(things))
        turns = [self._turns.setdefault(thing, _Turn()) for thing in wanted]
        for turn in turns:
            turn.users += 1
        held: list[_Turn] = []
        try:
            for turn in turns:
                await turn.lock.acquire()
                held.append(turn)
            yield
        finally:
            for turn in held:
                turn.lock.release()
            for thing, turn in zip(wanted, turns, strict=True):
                turn.users -= 1
                if not turn.users:
                    del self._turns[thing]
