"""One server of Redis: a connection that is only read, one that is only told, and nothing that is done in silence.

redis-py's own `PubSub` connects again by itself and leaves out what it missed meanwhile. Here a connection lives once:
whatever happens to it is `Lost`, and the bus makes a new one and has the logs read. A read is never broken off to be
read on; it ends with its connection. And nothing relies on being cancelled: redis-py writes through
`asyncio.wait_for`, which before Python 3.12 may swallow a cancellation, so everything here ends with `close` as well.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from redis.exceptions import RedisError

from storage.redis.address import Node, answer, connected

OPEN_SECONDS: Final = 3.0
"""How long the confirmations of a subscription may take."""
WAITING_BYTES: Final = 8 * 1024 * 1024
"""The most bytes that wait to be told; of what comes beyond, only the next beat tells."""
TOLD_AT_ONCE: Final = 200
"""How many messages are sent before their answers are read."""
TURN: Final = 50
"""How many messages are taken in before others have their turn."""


class Lost(Exception):
    """A connection is no longer what it was; what came over it meanwhile may be lost."""


class Lane:
    """What one server carries. `heard` is given every message, and says whether it is a sign of life."""

    def __init__(self, node: Node, channels: tuple[bytes, ...], heard: Callable[[bytes], bool]) -> None:
        self.buckets = node.buckets
        self._names = {channels[bucket] for bucket in node.buckets}
        self._channels = channels
        self._sharded = node.sharded
        self._heard = heard
        self._ears = node.place.connection()
        self._mouth = node.place.connection()
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self.waiting_bytes = 0
        """How much waits to be told."""
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self.silence = 0.0
        """How many looks in a row have found that nothing was heard; the bus counts, `heard` ends it."""

    async def open(self) -> None:
        """Connect and subscribe; return when every channel is confirmed. Raise `Lost`, `RedisError`, `OSError`."""
        await connected(self._ears)
        await connected(self._mouth)
        word = "SSUBSCRIBE" if self._sharded else "SUBSCRIBE"
        # On a cluster the channels of one command must share a slot.
        groups = [(name,) for name in self._names] if self._sharded else [tuple(self._names)]
        commands = self._ears.pack_commands([(word, *names) for names in groups])
        await send(self._ears, commands)
        confirmed: set[bytes] = set()
        until = time.monotonic() + OPEN_SECONDS
        while confirmed != self._names:
            kind, name, data = await self._next(max(until - time.monotonic(), 0.001))
            if kind in {b"subscribe", b"ssubscribe"} and name in self._names - confirmed:
                confirmed.add(name)
            else:
                self._take(kind, data)

    async def listen(self) -> None:
        """Hear until the connection is lost; raise `Lost` or `RedisError`."""
        count = 0
        while True:
            kind, _, data = await self._next()
            self._take(kind, data)
            count += 1
            if count % TURN == 0:
                await asyncio.sleep(0)  # what has arrived already is read without a pause

    async def _next(self, seconds: float = math.inf) -> tuple[Any, Any, Any]:
        found: Any = await self._ears.read_response(disable_decoding=True, timeout=seconds, disconnect_on_error=False)
        if found is None:
            raise Lost("it did not confirm the subscription in time")
        if not isinstance(found, list) or len(found) != 3:
            raise Lost("it said something that is no message")
        return found[0], found[1], found[2]

    def _take(self, kind: Any, data: Any) -> None:
        if kind not in {b"message", b"smessage"}:
            # A second confirmation: somebody subscribed anew. A farewell: the channel has moved to another server.
            raise Lost(f"it answered {kind!r} to a subscription that stood")
        if self._heard(data):
            self.silence = 0.0

    def put(self, bucket: int, data: bytes) -> bool:
        """Queue a message for the channel of a bucket; return False, and forget it, where too much waits."""
        if self.waiting_bytes + len(data) > WAITING_BYTES:
            return False
        self._waiting.append((self._channels[bucket], data))
        self.waiting_bytes += len(data)
        self._work.set()
        self._idle.clear()
        return True

    async def tell(self) -> None:
        """Send what is queued until the connection is lost; raise `RedisError`, or `OSError`."""
        word = "SPUBLISH" if self._sharded else "PUBLISH"
        while not self._closed:
            await self._work.wait()
            some = [self._waiting.popleft() for _ in range(min(len(self._waiting), TOLD_AT_ONCE))]
            self.waiting_bytes -= sum(len(data) for _, data in some)
            commands = self._mouth.pack_commands([(word, channel, data) for channel, data in some])
            await send(self._mouth, commands)
            for _ in some:
                await answer(self._mouth)
            if not self._waiting:
                self._work.clear()
                self._idle.set()

    async def told(self) -> None:
        """Return when everything that was queued is told."""
        await self._idle.wait()

    async def close(self) -> None:
        """Close both connections, which ends `listen` and `tell`."""
        self._closed = True
        self._work.set()
        for connection in (self._ears, self._mouth):
            try:
                await connection.disconnect(nowait=True)
            except (RedisError, OSError):
                pass  # it is gone, which is what was wanted


async def send(connection: Any, commands: Any) -> None:
    """Send commands; raise `Lost`, `RedisError`, `OSError`."""
    if not connection.is_connected:
        raise Lost("it was closed")  # redis-py would open it again, in silence
    try:
        await connection.send_packed_command(commands, check_health=False)
    except (RuntimeError, AttributeError) as fault:
        # uvloop's word for a transport that was closed under it, and redis-py's for a writer that is gone.
        raise Lost(f"it was closed: {fault}") from fault
