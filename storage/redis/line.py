"""The line between instances over Redis: what they tell each other of who is here, and the leases by which they live.

    put -> one channel of pub/sub for all -> every instance, in one order
    SET lease PX every three seconds, lapsing after ten; SET NX for what only one may do

A connection lives once (`storage.redis.lane`): where it is lost, or nothing was heard for three seconds, one's own
beats among it, another is made, and who is told so asks for what was missed. Messages are signed as those of the bus
are, with a key of their own; who may do what is never taken from them.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from random import random
from typing import Any, Final

import msgspec
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from hub.wire.errors import HubError
from storage.presence import Away, Message
from storage.redis.address import Address, Node, Unready, answer, connected
from storage.redis.lane import Lane, Lost, send

log = logging.getLogger("hub.presence")

VERSION: Final = 1
"""Of the messages in `storage.presence`; a change of their form makes it another."""
RENEW_SECONDS: Final = 3.0
LEASE_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.25
LATE_LOOKS: Final = 3.0
SILENT_LOOKS: Final = 12
FIRST_WAIT, LONGEST_WAIT = 0.1, 1.0
"""How long to wait before connecting again, in seconds, with a random share taken off."""
CROWDED_BYTES: Final = 1024 * 1024
"""From how much that waits on, pages of lists wait too."""
MESSAGE_BYTES: Final = 2 * 1024 * 1024
FAREWELL_SECONDS: Final = 0.5
SAY_SECONDS: Final = 60.0
_MAC: Final = 32


class _Envelope:
    """Signs and opens the messages of one cluster over one database."""

    def __init__(self, secret: bytes, realm: str) -> None:
        self._key = hmac.digest(secret, b"aether presence key " + realm.encode(), "sha256")
        name = hmac.digest(secret, b"aether presence name " + realm.encode(), "sha256").hex()[:16]
        self.channel: Final = f"aether:{{{name}}}:here".encode()
        self.prefix: Final = f"aether:{{{name}}}:"
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode: Callable[[bytes], Message] = msgspec.msgpack.Decoder(Message).decode

    def close(self, message: Message) -> bytes:
        """Return a message as it is sent."""
        body = bytes((VERSION,)) + self._encode(message)
        return hmac.digest(self._key, body, "sha256") + body

    def open(self, data: bytes) -> Message | None:
        """Return the message that was sent, None where nothing may be taken from it."""
        body = data[_MAC:]
        if not body or len(body) > MESSAGE_BYTES or body[0] != VERSION:
            return None
        if not hmac.compare_digest(data[:_MAC], hmac.digest(self._key, body, "sha256")):
            return None
        try:
            return self._decode(body[1:])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None


class RedisLine:
    """One instance's end of the line.

    `realm` returns what is the same for all hubs over one database and for no other: its epoch.
    """

    def __init__(self, address: Address, secret: bytes, realm: Callable[[], Awaitable[str]]) -> None:
        self._address, self._secret, self._realm = address, secret, realm
        self._on_message: Callable[[Message], None] = lambda message: None
        self._on_link: Callable[[bool], None] = lambda linked: None
        self._envelope: _Envelope | None = None
        self._lane: Lane | None = None
        self._asking: AbstractConnection | None = None
        self._turn = asyncio.Lock()
        self._name = ""
        self._named = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._said = -SAY_SECONDS
        self.dropped = 0
        """How many messages were not ours."""
        self.lost = 0
        """How often a connection was lost."""

    def listen(self, on_message: Callable[[Message], None], on_link: Callable[[bool], None]) -> None:
        """Set who hears messages of others, and whether this instance is connected; before `start`."""
        self._on_message, self._on_link = on_message, on_link

    async def start(self) -> None:
        """Begin to connect."""
        self._running = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Send what waits and give the lease back, where Redis takes it within half a second, and disconnect."""
        if self._running is None:
            return
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                if self._lane is not None:
                    await self._lane.told()
                    await self._ask("DEL", self._lease(self._name))
        except (TimeoutError, Away):
            log.info("Redis did not take the farewell of presence in time")
        self._stop.set()
        self._running.cancel()
        await asyncio.wait([self._running])
        self._running = None

    @property
    def crowded(self) -> bool:
        """Whether so much waits to be sent that pages should wait as well."""
        return self._lane is not None and self._lane.waiting_bytes > CROWDED_BYTES

    def put(self, message: Message) -> None:
        """Send a message, or forget it where there is no connection."""
        if self._lane is not None and self._envelope is not None:
            self._lane.put(0, self._envelope.close(message))

    # -- leases and claims ---------------------------------------------------------------------------

    def live_as(self, name: str) -> None:
        """Renew the lease of this name from now on, and of no other."""
        self._name = name
        self._named.set()

    async def lives(self, name: str) -> bool:
        """Say whether a lease has not lapsed; raise `Away`."""
        return bool(await self._ask("EXISTS", self._lease(name)))

    async def claim(self, name: str, seconds: float) -> bool:
        """Say whether this instance is the first to claim a name within some seconds; raise `Away`."""
        key = self._key(f"claim:{name}")
        return await self._ask("SET", key, self._name, "NX", "PX", round(seconds * 1000)) is not None

    def _key(self, name: str) -> str:
        return "" if self._envelope is None else self._envelope.prefix + name

    def _lease(self, name: str) -> str:
        return self._key(f"lease:{name}")

    async def _ask(self, *words: Any) -> Any:
        """Ask, and wait for the answer; who leaves meanwhile breaks nothing. Raise `Away`."""
        asking = asyncio.ensure_future(self._asked(words))
        asking.add_done_callback(lambda done: None if done.cancelled() else done.exception())
        return await asyncio.shield(asking)

    async def _asked(self, words: tuple[Any, ...]) -> Any:
        async with self._turn:
            connection = self._asking
            if connection is None:
                raise Away("there is no connection")
            whole = False
            try:
                await send(connection, connection.pack_commands([words]))
                found = await answer(connection)
                whole = True
            except (RedisError, OSError, Lost) as fault:
                raise Away(str(fault)) from fault
            finally:
                if not whole:  # whatever is read next from it would be the answer to this; the rest is lost with it
                    self._asking = None
                    await _close(connection)
            return found

    # -- being connected -----------------------------------------------------------------------------

    async def _run(self) -> None:
        """Be connected, again and again."""
        wait, before = FIRST_WAIT, ""
        while not self._stop.is_set():
            why = await self._once()
            if self._lane is not None:
                log.warning("presence has lost Redis: %s", why)
                self.lost += 1
                self._lane, self._asking = None, None
                self._on_link(False)
                wait = FIRST_WAIT
            elif why != before:
                log.warning("presence cannot use Redis: %s", why)
            before = why
            await asyncio.sleep(wait * (1 - random() / 2))
            wait = min(2 * wait, LONGEST_WAIT)

    async def _once(self) -> str:
        """Connect and stay connected; return why that is over."""
        lane: Lane | None = None
        asking: AbstractConnection | None = None
        tasks: list[asyncio.Task[None]] = []
        start = asyncio.get_running_loop().create_task
        try:
            if self._envelope is None:
                self._envelope = _Envelope(self._secret, await self._realm())
            channels = (self._envelope.channel,)
            (node,) = await self._address.nodes(channels)
            lane = Lane(Node(node.place, (0,), node.sharded), channels, self._heard)
            asking = node.place.connection()
            await lane.open()
            await connected(asking)
            self._lane, self._asking = lane, asking
            self._on_link(True)
            tasks = [start(work) for work in (lane.listen(), lane.tell(), self._renew(), self._watch(lane))]
            tasks.append(start(self._stopped()))
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except (Lost, Unready, Away) as fault:
            return str(fault)
        except (RedisError, HubError, OSError) as fault:
            return f"{type(fault).__name__}: {fault}"
        except Exception:
            # A fault of ours, or of who is told. Were this task to die of it, this hub would know of nobody elsewhere
            # until it is started again; so it connects anew, and asks for every list.
            log.exception("presence has a fault")
            return "presence has a fault; see the log"
        finally:
            if lane is not None:
                await lane.close()
            if asking is not None:
                await _close(asking)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return "it is closed"

    async def _stopped(self) -> None:
        await self._stop.wait()

    async def _renew(self) -> None:
        """Renew the lease every three seconds, and at once where the name is another."""
        while True:
            if self._name:
                self._named.clear()
                await self._ask("SET", self._lease(self._name), "1", "PX", round(LEASE_SECONDS * 1000))
            try:
                async with asyncio.timeout(RENEW_SECONDS):
                    await self._named.wait()
            except TimeoutError:
                pass  # it is time

    async def _watch(self, lane: Lane) -> None:
        """Give up a connection over which nothing was heard for three seconds, by raising `Lost`."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            # A loop that stood still for long has not listened either, so a late look counts as three at most.
            looks, last = min((now - last) / LOOK_SECONDS, LATE_LOOKS), now
            lane.silence += looks
            if lane.silence >= SILENT_LOOKS:
                raise Lost(f"nothing was heard for {SILENT_LOOKS * LOOK_SECONDS:.0f} s")

    def _heard(self, data: bytes) -> bool:
        assert self._envelope is not None  # there is no connection without it
        message = self._envelope.open(data)
        if message is None:
            self.dropped += 1
            if time.monotonic() - self._said >= SAY_SECONDS:
                self._said = time.monotonic()
                log.warning("dropped %d messages of presence that are not of this cluster", self.dropped)
            return False
        self._on_message(message)
        return True


async def _close(connection: AbstractConnection) -> None:
    try:
        await connection.disconnect(nowait=True)
    except (RedisError, OSError):
        pass  # it is gone, which is what was wanted
