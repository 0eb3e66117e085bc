"""Asking one server of Redis, in order: what was asked first is done first, and nothing waits without end.

A connection lives once, as in `storage.redis.lane`: where it is lost, everybody who waits is refused, and whoever owns
the mouth opens another. Who asked may leave; what was asked is done all the same.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection

from hub.wire.errors import HubError
from storage.redis.address import answer
from storage.redis.lane import send

WAITING: Final = 10_000
"""How many commands wait to be sent; beyond, what is asked is refused."""
SENT_AT_ONCE: Final = 200

Words = tuple[Any, ...]


class Mouth:
    """The commands that wait for one server; `what` begins the sentence that refuses one.

    `unknown` is the code for who asked what was sent and not answered, so that it may have been done.
    """

    def __init__(self, what: str, unknown: str = "server.unavailable") -> None:
        self._what = what
        self._unknown = unknown
        self._sent = 0
        """How many of those that wait were sent."""
        self._waiting: deque[tuple[Words, asyncio.Future[Any]]] = deque()
        self._work = asyncio.Event()

    def put(self, *words: Any) -> asyncio.Future[Any]:
        """Queue a command; return what its answer will be, a refusal where that is not known."""
        result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        result.add_done_callback(_seen)
        if len(self._waiting) >= WAITING:
            result.set_exception(self._refusal())
            return result
        self._waiting.append((words, result))
        self._work.set()
        return result

    async def ask(self, *words: Any) -> Any:
        """Ask, and wait for the answer; raise `server.unavailable`."""
        return await asyncio.shield(self.put(*words))

    async def speak(self, connection: AbstractConnection) -> None:
        """Send what waits until the connection is lost; raise `Lost`, `RedisError` or `OSError`."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._waiting:
                some = [self._waiting[n] for n in range(min(len(self._waiting), SENT_AT_ONCE))]
                self._sent = len(some)
                await send(connection, connection.pack_commands([words for words, _ in some]))
                for _, result in some:
                    found = await answer(connection)
                    self._waiting.popleft()
                    self._sent -= 1
                    if not result.done():
                        result.set_result(found)

    def refuse(self) -> None:
        """The connection is lost: whoever waits is refused."""
        waiting, self._waiting = self._waiting, deque()
        sent, self._sent = self._sent, 0
        for n, (_, result) in enumerate(waiting):
            if not result.done():
                result.set_exception(self._refusal(self._unknown if n < sent else "server.unavailable"))

    def wake(self) -> None:
        """Let `speak` notice that its connection was closed."""
        self._work.set()

    @property
    def idle(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    def _refusal(self, code: str = "server.unavailable") -> HubError:
        return HubError(code, f"{self._what} wait for Redis.", retry_after=1)


def _seen(result: asyncio.Future[Any]) -> None:
    """Look at an outcome that nobody may wait for any more."""
    if not result.cancelled():
        result.exception()
