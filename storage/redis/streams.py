"""The channel log of several hubs over Redis Streams: one order for all of them, and a memory that they share.

    append -> one script: count, keep, trim, XADD -> every instance reads the one stream in its order -> told

Each channel has a hash (epoch, last offset, first kept one) and a stream of what is kept; one more stream carries what
is said in all channels to every instance. Its entries are numbered without a hole, so that whoever reads it knows when
it missed some: those in the channels are then told to join again, and read what is kept. Redis may be slow, flushed or
gone: who speaks is refused meanwhile, who joins is let in with the place it had, and joins again when Redis is back.
Payloads are signed and name their channel; nothing that Redis says is a right. See decision 0029.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from redis.asyncio.connection import AbstractConnection

from hub.schema.channels import Kept
from hub.wire.errors import HubError
from storage.channel_log import ENTRY_BYTES, NOWHERE, ChannelKey, Entry, OnBroken, OnEntry, Past, Place, past_of
from storage.redis.address import Address, answer
from storage.redis.lane import send
from storage.redis.mouth import Mouth
from storage.redis.scripts import APPEND, HEAD, PAST
from storage.redis.tether import Tether

log = logging.getLogger("hub.channels")

STREAM_MESSAGES: Final = 5000
"""How many messages wait for an instance that reads slowly; beyond, those in the channels join again."""
READ_MESSAGES: Final = 100
BLOCK_SECONDS: Final = 0.5
"""How long a read waits for a message, and so how soon a flush of Redis is noticed."""
TOLD_SECONDS: Final = 2.0
"""How long an append waits to be told on its own instance, before it is answered anyway."""
EPOCH_SECONDS: Final = 86_400
"""For how long the place of a channel is remembered after the last message of it is gone."""
_MAC: Final = 32


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A message as it is kept and carried."""

    account: str
    channel: str
    body: bytes
    size: int
    sender: str | None
    echo: bool
    to: tuple[str, str] | None
    ttl: float | None
    at: float


class _Names:
    """Keys and signatures of one cluster of hubs over one database; all keys share a slot."""

    def __init__(self, secret: bytes, realm: str) -> None:
        self._key = hmac.digest(secret, b"aether channel key " + realm.encode(), "sha256")
        name = hmac.digest(secret, b"aether channel name " + realm.encode(), "sha256").hex()[:16]
        self.prefix = f"aether:{{{name}}}:"
        self.stream = f"{self.prefix}said".encode()
        self.head = f"{self.prefix}head".encode()
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(_Said).decode

    def close(self, said: _Said) -> bytes:
        """Return a message as it is carried."""
        body = self._encode(said)
        return hmac.digest(self._key, body, "sha256") + body

    def open(self, data: bytes) -> _Said | None:
        """Return the message that was carried, None where nothing may be taken from it."""
        body = data[_MAC:]
        if not hmac.compare_digest(data[:_MAC], hmac.digest(self._key, body, "sha256")):
            return None
        try:
            return self._decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None


class RedisLog:
    """One instance's end of the channel log."""

    def __init__(
        self,
        address: Address,
        secret: bytes,
        realm: Callable[[], Awaitable[str]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`realm` returns what is the same for all hubs over one database and for no other: its epoch."""
        self._address, self._secret, self._realm, self._clock = address, secret, realm, clock
        self._on_entry: OnEntry = lambda channel, entry: None
        self._on_broken: OnBroken = lambda channel: None
        self._followed: Counter[ChannelKey] = Counter()
        self._unsure: set[ChannelKey] = set()
        """Channels that somebody joined while Redis was away."""
        self._names: _Names | None = None
        self._mouth = Mouth("Channels", "write.unknown")
        self._tether = Tether(self._mouth, self._serve, self._confirm_all, log, fault=self._doubt)
        self._run = ""
        """Which life of the stream `_last` counts in."""
        self._last = 0
        """The number of the last message that was read from the stream."""
        self._told: dict[int, list[asyncio.Future[None]]] = {}
        """Appends that wait to be told here, by the number of their message."""

    def listen(self, on_entry: OnEntry, on_broken: OnBroken) -> None:
        """Set who is told."""
        self._on_entry, self._on_broken = on_entry, on_broken

    async def start(self) -> None:
        """Begin to connect."""
        self._tether.start()

    async def close(self) -> None:
        """Disconnect."""
        await self._tether.close()

    @property
    def ready(self) -> bool:
        """Whether Redis can be asked."""
        return self._tether.ready

    @property
    def lost(self) -> int:
        """How often a connection was lost."""
        return self._tether.lost

    async def append(self, channel: ChannelKey, entry: Entry, kept: Kept) -> Place:
        """Order a message; it is told here when this returns, unless that takes more than two seconds."""
        names = self._names
        if names is None or not self._tether.ready:
            raise HubError("server.unavailable", "Channels wait for Redis.", retry_after=1)
        now, keeps = self._clock(), entry.to is None and kept.messages > 0
        said = _Said(
            *channel, entry.body, entry.size, entry.sender, entry.echo, entry.to, entry.ttl, now
        )  # fmt: skip
        keys = (names.stream, names.head, *self._keys(names, channel))
        numbers = (kept.messages if keeps else 0, kept.bytes, entry.size + ENTRY_BYTES, kept.seconds, EPOCH_SECONDS)
        given = (secrets.token_hex(8), *numbers, f"{now:.3f}", STREAM_MESSAGES, names.prefix, *channel)
        run, number, epoch, offset = await self._mouth.ask("EVAL", APPEND, len(keys), *keys, *given, names.close(said))
        if self._followed[channel] and run.decode() == self._run and number > self._last:
            await self._until_told(number)
        return Place(epoch.decode(), offset) if offset else NOWHERE

    async def _until_told(self, number: int) -> None:
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._told.setdefault(number, []).append(told)
        await asyncio.wait([told], timeout=TOLD_SECONDS)

    def follow(self, channel: ChannelKey) -> None:
        """Hear a channel."""
        self._followed[channel] += 1

    def unfollow(self, channel: ChannelKey) -> None:
        """Stop hearing a channel, once."""
        if self._followed[channel] <= 1:
            del self._followed[channel]
        else:
            self._followed[channel] -= 1

    async def past(self, channel: ChannelKey, kept: Kept, after: Place | None, last: int) -> Past:
        """Return what was said; while Redis is away nothing, at the place that was asked for."""
        names = self._names
        if names is None or not self._tether.ready:
            return self._unknown(channel, after)
        keys = (names.head, *self._keys(names, channel))
        wanted = int(after is not None or last > 0)
        given = (secrets.token_hex(8), wanted, EPOCH_SECONDS, f"{self._clock():.3f}", names.prefix, *channel)
        try:
            epoch, top, floor, found = await self._mouth.ask("EVAL", PAST, len(keys), *keys, *given)
        except HubError:
            return self._unknown(channel, after)
        now, oldest, entries = self._clock(), int(floor), []
        for number, (_, payload, *_more) in found:
            offset, said = int(number.partition(b"-")[0]), names.open(payload)
            if said is None or (said.account, said.channel) != channel or said.at + kept.seconds <= now:
                oldest = max(oldest, offset)
                continue
            entries.append(_entry(said, Place(epoch.decode(), offset)))
        return past_of(entries, Place(epoch.decode(), int(top)), oldest, after, last, now)

    def _unknown(self, channel: ChannelKey, after: Place | None) -> Past:
        self._unsure.add(channel)
        return Past(after or NOWHERE)

    def forget(self, channel: ChannelKey) -> None:
        """Forget a channel, if Redis can be told."""
        if self._names is not None and self._tether.ready:
            self._mouth.put("DEL", *self._keys(self._names, channel)[:2])

    def _keys(self, names: _Names, channel: ChannelKey) -> tuple[str, str, str]:
        account, name = channel
        place = f"{names.prefix}{account}"
        return f"{place}:place:{name}", f"{place}:kept:{name}", f"{place}:channels"

    # -- connections ---------------------------------------------------------------------------------

    async def _serve(self) -> None:
        names = self._names
        if names is None:
            names = _Names(self._secret, await self._realm())
        (node,) = await self._address.nodes((names.stream,))
        ears, mouth = await self._tether.connect(node.place)
        run, number = await self._head(ears, names)
        # Where the stream went on from what was read last, nothing is missing: it is read from there.
        whole = self._names is not None and run == self._run and number >= self._last
        self._names = names
        if not whole:
            self._anchor(run, number)
        for channel in self._unsure & self._followed.keys():
            self._on_broken(channel)
        self._unsure.clear()
        self._tether.ready = True
        await self._tether.hold(self._hear(ears, names), self._mouth.speak(mouth))

    def _doubt(self) -> None:
        """What was being told may be half told: whoever is in a channel joins again."""
        self._run = ""

    def _anchor(self, run: str, number: int) -> None:
        """Go on from where the stream is now: whoever is in a channel joins again."""
        self._run, self._last = run, number
        for channel in list(self._followed):
            self._on_broken(channel)
        self._confirm_all()

    async def _head(self, connection: AbstractConnection, names: _Names) -> tuple[str, int]:
        """Return which life the stream is in, and its last number."""
        words = ("EVAL", HEAD, 2, names.stream, names.head, secrets.token_hex(8))
        await send(connection, connection.pack_commands([words]))
        run, number = await answer(connection)
        return run.decode(), number

    async def _hear(self, connection: AbstractConnection, names: _Names) -> None:
        """Read the stream, and tell."""
        while True:
            words = ("XREAD", "COUNT", READ_MESSAGES, "BLOCK", round(BLOCK_SECONDS * 1000), "STREAMS", names.stream)
            await send(connection, connection.pack_commands([(*words, f"{self._last}-0")]))
            found = await answer(connection)
            if not found:
                run, number = await self._head(connection, names)
                # An append may have come between the two: only another life, or a number behind ours, is a fault.
                if run != self._run or number < self._last:
                    self._anchor(run, number)
                continue
            for number, fields in found[0][1]:
                self._take(names, int(number.partition(b"-")[0]), fields)
            await asyncio.sleep(0)

    def _take(self, names: _Names, number: int, fields: list[bytes]) -> None:
        given = dict(zip(fields[::2], fields[1::2], strict=True))
        if number != self._last + 1 or given[b"run"].decode() != self._run:
            self._anchor(given[b"run"].decode(), number - 1)
        self._last = number
        said = names.open(given[b"said"])
        if said is not None:
            channel = (said.account, said.channel)
            if channel in self._followed:
                offset = int(given[b"offset"])
                self._on_entry(channel, _entry(said, Place(given[b"epoch"].decode(), offset) if offset else NOWHERE))
        for told in self._told.pop(number, ()):
            if not told.done():
                told.set_result(None)

    def _confirm_all(self) -> None:
        waiting, self._told = self._told, {}
        for futures in waiting.values():
            for told in futures:
                if not told.done():
                    told.set_result(None)


def _entry(said: _Said, place: Place) -> Entry:
    return Entry(said.body, said.size, said.sender, said.echo, said.to, said.ttl, place, said.at)
