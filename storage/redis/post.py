"""The post between instances over Redis pub/sub: each instance has a letter box of its own, and all have one in common.

    send -> what is written to one instance in a turn of the loop goes as one message -> PUBLISH -> its letter box

`PUBLISH` says how many instances it reached, so who sends knows at once whether somebody is there. A message is
signed, names sender and receiver, and is numbered: what is not newer than the last one of its sender is not read. Each
second an instance writes to itself; where that does not arrive for three, the connections are made anew. See decision
0032.

    version (1 byte) | HMAC-SHA256 over version and body (32 bytes) | body (MessagePack of `_Bag`)
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from redis.asyncio.connection import AbstractConnection

from hub.wire.errors import HubError
from storage.post import Away, OnLetter
from storage.post import Lost as LetterLost
from storage.redis.address import Address, answer
from storage.redis.lane import Lost, send
from storage.redis.mouth import Mouth
from storage.redis.tether import Tether

log = logging.getLogger("hub.post")

VERSION: Final = 1
"""Of the form above, and of the letters in `channels.letters`; a change of either makes it another."""
BAG_BYTES: Final = 256 * 1024
"""About how much is sent as one message."""
MESSAGE_BYTES: Final = 1024 * 1024
"""What is longer is not read."""
SENDERS: Final = 1000
"""Of how many instances the number of the last message is remembered."""
LOOK_SECONDS: Final = 0.25
LATE_LOOKS: Final = 3.0
SILENT_LOOKS: Final = 12
"""After so many looks that found nothing heard, three seconds, the connections are given up."""
PING_LOOKS: Final = 4
LONGEST_WAIT: Final = 1.0
"""How long to wait before connecting again, in seconds, at most."""
FAREWELL_SECONDS: Final = 0.5
_MAC: Final = 32


class _Bag(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One message: the letters of one instance to another, or with an empty `to` to all."""

    sender: str
    to: str
    number: int
    letters: list[bytes]


class Names:
    """Keys, names and signatures of one cluster of hubs over one database; all keys share a slot."""

    def __init__(self, secret: bytes, realm: str) -> None:
        self._key = hmac.digest(secret, b"aether post key " + realm.encode(), "sha256")
        name = hmac.digest(secret, b"aether post name " + realm.encode(), "sha256").hex()[:16]
        self.prefix: Final = f"aether:{{{name}}}:"
        self.all: Final = f"{self.prefix}post".encode()
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(_Bag).decode

    def box(self, instance: str) -> bytes:
        """Return the channel of an instance's letter box."""
        return self.all + b":" + instance.encode()

    def sign(self, *parts: bytes) -> bytes:
        """Return the signature of some bytes."""
        return hmac.digest(self._key, b"".join(parts), "sha256")

    def close(self, bag: _Bag) -> bytes:
        """Return a message as it is sent."""
        version, body = bytes((VERSION,)), self._encode(bag)
        return b"".join((version, self.sign(version, body), body))

    def open(self, data: bytes) -> _Bag | None:
        """Return the message that was sent, None where nothing may be taken from it."""
        version, mac, body = data[:1], data[1 : 1 + _MAC], data[1 + _MAC :]
        if len(data) > MESSAGE_BYTES or not hmac.compare_digest(mac, self.sign(version, body)):
            return None
        if version != bytes((VERSION,)):
            return None
        try:
            return self._decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None


class _Outgoing:
    """What is written to one instance in this turn of the loop."""

    __slots__ = ("letters", "result", "size")

    def __init__(self) -> None:
        self.letters: list[bytes] = []
        self.size = 0
        self.result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.result.add_done_callback(_seen)


class RedisPost:
    """One instance's end of the post."""

    alone = False

    def __init__(self, address: Address, secret: bytes, realm: Callable[[], Awaitable[str]]) -> None:
        """`realm` returns what is the same for all hubs over one database and for no other: its epoch."""
        self._address, self._secret, self._realm = address, secret, realm
        self.name = secrets.token_hex(8)
        self._on_letter: OnLetter = lambda sender, letter: None
        self._on_ready: Callable[[], None] = lambda: None
        self._mouth = Mouth("Letters to other hubs", "write.unknown")
        self._word = "PUBLISH"
        self._names: Names | None = None
        self._tether = Tether(self._mouth, self._serve, self._flush, log, longest_wait=LONGEST_WAIT)
        self._fresh: dict[str, _Outgoing] = {}
        self._number = 0
        self._seen: dict[str, int] = {}
        """The number of the last message of each instance."""
        self._silence = 0.0
        """How many looks in a row have found that nothing was heard."""
        self.refused = 0
        """How many messages were not read: not ours, or read before."""

    def listen(self, on_letter: OnLetter, on_ready: Callable[[], None]) -> None:
        """Set who reads the letters."""
        self._on_letter, self._on_ready = on_letter, on_ready

    async def start(self) -> None:
        """Begin to connect."""
        self._tether.start()

    async def close(self) -> None:
        """Send what waits, where Redis takes it within half a second, and disconnect."""
        self._flush()
        until = asyncio.get_running_loop().time() + FAREWELL_SECONDS
        while self._tether.ready and not self._mouth.idle and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.01)
        self._on_letter = lambda sender, letter: None
        await self._tether.close()

    @property
    def ready(self) -> bool:
        """Whether Redis can be asked."""
        return self._tether.ready

    @property
    def lost(self) -> int:
        """How often a connection was lost."""
        return self._tether.lost

    async def send(self, to: str | None, letter: bytes) -> int:
        """Send a letter; return how many others it reached."""
        if not self._tether.ready:
            raise Away
        box = to or ""
        going = self._fresh.get(box)
        if going is not None and going.size + len(letter) > BAG_BYTES:
            self._put(box, self._fresh.pop(box))
            going = None
        if going is None:
            if not self._fresh:
                asyncio.get_running_loop().call_soon(self._flush)
            going = self._fresh[box] = _Outgoing()
        going.letters.append(letter)
        going.size += len(letter)
        try:
            reached = await asyncio.shield(going.result)
        except HubError as refusal:
            raise (LetterLost if refusal.code == "write.unknown" else Away) from None
        return reached if to is not None else max(0, reached - 1)  # we hear ourselves

    async def ask(self, *words: Any) -> Any:
        """Ask Redis something about queues; raise `server.unavailable`, `write.unknown`."""
        if not self._tether.ready:
            raise HubError("server.unavailable", "What waits for clients waits for Redis.", retry_after=1)
        return await self._mouth.ask(*words)

    @property
    def names(self) -> Names | None:
        """The names of keys; None before Redis could be asked for the first time."""
        return self._names

    def _flush(self) -> None:
        fresh, self._fresh = self._fresh, {}
        for box, going in fresh.items():
            self._put(box, going)

    def _put(self, box: str, going: _Outgoing) -> None:
        names = self._names
        if names is None or not self._tether.ready:
            going.result.set_exception(HubError("server.unavailable"))
            return
        self._number += 1
        bag = _Bag(self.name, box, self._number, going.letters)
        channel = names.box(box) if box else names.all
        self._mouth.put(self._word, channel, names.close(bag)).add_done_callback(
            lambda sent: _pass_on(sent, going.result)
        )

    # -- connections ---------------------------------------------------------------------------------

    async def _serve(self) -> None:
        names = self._names
        if names is None:
            names = Names(self._secret, await self._realm())
        (node,) = await self._address.nodes((names.all,))
        ears, mouth = await self._tether.connect(node.place)
        word = "SSUBSCRIBE" if node.sharded else "SUBSCRIBE"
        self._word = "SPUBLISH" if node.sharded else "PUBLISH"
        await send(ears, ears.pack_commands([(word, names.all, names.box(self.name))]))
        confirmed = 0
        while confirmed < 2:  # what others write in between is lost, as it was before
            found: Any = await answer(ears)
            confirmed += found[0] in {b"subscribe", b"ssubscribe"}
        self._names, self._tether.ready, self._silence = names, True, 0.0
        self._on_ready()
        await self._tether.hold(self._hear(ears, names), self._mouth.speak(mouth), self._watch())

    async def _hear(self, connection: AbstractConnection, names: Names) -> None:
        """Read what comes until the connection is lost."""
        read: Any = connection.read_response
        while True:
            # Without an end, and not broken off: half an answer would be read as another.
            kind, _, data = await read(disable_decoding=True, timeout=float("inf"), disconnect_on_error=False)
            if kind not in {b"message", b"smessage"}:
                raise Lost(f"it answered {kind!r} to a subscription that stood")
            self._take(names.open(data))

    def _take(self, bag: _Bag | None) -> None:
        if bag is None or bag.to not in {"", self.name} or bag.number <= self._seen.get(bag.sender, 0):
            self.refused += 1
            return
        self._seen.pop(bag.sender, None)
        self._seen[bag.sender] = bag.number
        if len(self._seen) > SENDERS:
            del self._seen[next(iter(self._seen))]
        if bag.sender == self.name:
            self._silence = 0.0
            return
        for letter in bag.letters:
            self._on_letter(bag.sender, letter)

    async def _watch(self) -> None:
        """Write to oneself each second; give up connections over which nothing of it comes back."""
        last, looks = asyncio.get_running_loop().time(), 0
        while True:
            if looks % PING_LOOKS == 0:
                self._put(self.name, _Outgoing())
            looks += 1
            await asyncio.sleep(LOOK_SECONDS)
            now = asyncio.get_running_loop().time()
            # A loop that stood still for long has not listened either, so a late look counts as three at most.
            self._silence += min((now - last) / LOOK_SECONDS, LATE_LOOKS)
            last = now
            if self._silence >= SILENT_LOOKS:
                raise Lost(f"nothing was heard for {SILENT_LOOKS * LOOK_SECONDS:.0f} s")


def _pass_on(sent: asyncio.Future[Any], result: asyncio.Future[int]) -> None:
    if result.done():
        return
    fault = sent.exception()
    if fault is None:
        result.set_result(sent.result())
    else:
        result.set_exception(fault)


def _seen(result: asyncio.Future[Any]) -> None:
    """Look at an outcome that nobody may wait for any more."""
    if not result.cancelled():
        result.exception()
