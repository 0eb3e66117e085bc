"""The locks of several hubs over Redis: it decides, by its own clock; every instance has a copy of what it decided.

    take -> one script: look, hold, PUBLISH -> Redis -> every instance changes its copy, and tells

A copy is complete only as long as its connection stood: every second the count of changes is asked for, and where one
was missed, or the connection was lost, all locks are read again. Redis may be slow, flushed or gone: who asks for a
lock is refused meanwhile, what is known of the others is shown on. After a flush each instance takes the locks of its
sessions again, as far as nobody was quicker. Holders are signed and name their record; nothing that Redis says is a
right.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, get_args

import msgspec
from redis.asyncio.connection import AbstractConnection

from hub.wire.errors import HubError
from storage.locks import Change, Copy, Holder, Lock, LockKey, OnChange, Why, held_by, refusal
from storage.redis.address import Address, answer
from storage.redis.lane import Lost, send
from storage.redis.lock_scripts import ALL, END, FORGET, LOOK, RELEASE, TAKE
from storage.redis.mouth import Mouth
from storage.redis.tether import Tether

log = logging.getLogger("hub.locks")

TOLD_SECONDS: Final = 2.0
"""How long a taken lock waits to be told on its own instance, before it is answered anyway."""
ENDED: Final = 10_000
"""Of how many sessions that ended while Redis was away the locks are let go when it is back; others' lapse."""
FIRST_WAIT, LONGEST_WAIT = 0.1, 2.0
_MAC: Final = 32
_WHY: Final[dict[bytes, Why]] = {why.encode(): why for why in get_args(Why)}


class _Held(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A holder as it is kept and carried."""

    account: str
    type: str
    rec: str
    holder: Holder


class _Names:
    """Keys and signatures of one cluster of hubs over one database; all keys share a slot."""

    def __init__(self, secret: bytes, realm: str) -> None:
        self._key = hmac.digest(secret, b"aether lock key " + realm.encode(), "sha256")
        name = hmac.digest(secret, b"aether lock name " + realm.encode(), "sha256").hex()[:16]
        prefix = f"aether:{{{name}}}:lock:"
        self.keys = tuple(f"{prefix}{what}" for what in ("held", "until", "counts", "head"))
        self.sessions = f"{prefix}of:"
        self.channel = f"{prefix}changes"
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(_Held).decode

    def close(self, key: LockKey, holder: Holder) -> bytes:
        """Return a holder as it is carried."""
        body = self._encode(_Held(*key, holder))
        return hmac.digest(self._key, body, "sha256") + body

    def open(self, key: LockKey, data: bytes) -> Holder | None:
        """Return the holder that was carried, None where nothing may be taken from it."""
        body = data[_MAC:]
        if not hmac.compare_digest(data[:_MAC], hmac.digest(self._key, body, "sha256")):
            return None
        try:
            held = self._decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return held.holder if (held.account, held.type, held.rec) == key else None


class RedisLocks:
    """One instance's end of the locks."""

    def __init__(self, address: Address, secret: bytes, realm: Callable[[], Awaitable[str]]) -> None:
        """`realm` returns what is the same for all hubs over one database and for no other: its epoch."""
        self._address, self._secret, self._realm = address, secret, realm
        self._on_change: OnChange = lambda change: None
        self._names: _Names | None = None
        self._copy = Copy()
        self._own: dict[tuple[str, str], dict[LockKey, Lock | None]] = {}
        """What sessions were answered here that they hold; None where the answer is still to come."""
        self._ended: dict[tuple[str, str], None] = {}
        """The sessions that ended while nobody could be told."""
        self._mouth = Mouth("Locks")
        self._tether = Tether(self._mouth, self._serve, lambda: self._confirm(2**63), log)
        self._looking: asyncio.Future[Any] | None = None
        self._due = 0
        """How many changes there were at the last look: they are heard by the next."""
        self._told: dict[int, list[asyncio.Future[None]]] = {}
        """Answers that wait for a change to be told here, by its count."""

    def listen(self, on_change: OnChange) -> None:
        """Set who is told."""
        self._on_change = on_change

    async def start(self) -> None:
        """Begin to connect."""
        self._tether.start()

    async def close(self) -> None:
        """Disconnect."""
        self._on_change = lambda change: None
        await self._tether.close()

    @property
    def ready(self) -> bool:
        """Whether Redis can be asked."""
        return self._tether.ready

    @property
    def lost(self) -> int:
        """How often a connection was lost."""
        return self._tether.lost

    async def take(self, key: LockKey, holder: Holder, *, steal: bool = False) -> Lock:
        """Hold a lock; it is told here when this returns, unless that takes more than two seconds."""
        names, session = self._able(), (key[0], holder.session)
        mine = self._own.setdefault(session, {})
        mine.setdefault(key, None)
        held: Lock | None = None
        try:
            words = (_field(key), holder.session, names.close(key, holder), int(steal))
            status, said, count = await self._ask(names, TAKE, *words)
            if status == b"ok":
                held = Lock(holder, int(said))
        finally:
            if held is None and mine.get(key) is None:
                self._disown(session, key)
        if held is None:
            self._disown(session, key)
            raise self._refused(names, key, status, said)
        if key in mine:  # else the session has ended
            mine[key] = held
        await self._until_told(count)
        known = self._copy.table.locks.get(key)
        if known is not None and known.number > held.number:
            self._disown(session, key)
            raise held_by(known.holder)  # it was stolen since, and that was told already
        return held

    async def release(self, key: LockKey, session: str) -> None:
        """Let a lock go."""
        names = self._able()
        self._disown((key[0], session), key)
        status, said, count = await self._ask(names, RELEASE, _field(key), session)
        if status != b"ok":
            raise self._refused(names, key, status, said)
        await self._until_told(count)

    def end(self, account: str, session: str) -> None:
        """Let every lock of a session go, now or when Redis is back."""
        known = self._own.pop((account, session), None) is not None or self._copy.table.of(account, session)
        if known and len(self._ended) < ENDED:
            self._ended[(account, session)] = None
            if self._tether.ready and self._names is not None:
                self._say_ended(self._names)

    def forget(self, key: LockKey) -> None:
        """The record of a lock is deleted; where Redis cannot be told, nobody can keep it, and it lapses."""
        if key in self._copy.table.locks and self._tether.ready and self._names is not None:
            self._mouth.put(*self._words(self._names, FORGET, _field(key)))

    def held(self, key: LockKey) -> Lock | None:
        """Return who holds a lock."""
        return self._copy.table.locks.get(key)

    def look(self) -> None:
        """Have Redis end what has lapsed, and say whether everything was heard."""
        if not self._tether.ready or self._names is None or (self._looking is not None and not self._looking.done()):
            return
        self._looking = self._mouth.put(*self._words(self._names, LOOK))
        self._looking.add_done_callback(self._looked)

    def _looked(self, result: asyncio.Future[Any]) -> None:
        if result.cancelled() or result.exception() is not None:
            return
        run, count = result.result()
        if run.decode() != self._copy.run or self._copy.count < self._due:
            self._tether.give_up("a change of a lock was missed")
        self._due = count

    def _able(self) -> _Names:
        if self._names is None or not self._tether.ready:
            raise HubError("server.unavailable", "Locks wait for Redis.", retry_after=1)
        return self._names

    def _words(self, names: _Names, script: str, *given: Any) -> tuple[Any, ...]:
        common = (names.sessions, names.channel, secrets.token_hex(8))
        return ("EVAL", script, len(names.keys), *names.keys, *common, *given)

    async def _ask(self, names: _Names, script: str, *given: Any) -> Any:
        return await self._mouth.ask(*self._words(names, script, *given))

    def _refused(self, names: _Names, key: LockKey, status: bytes, said: bytes) -> HubError:
        if status != b"held":
            return refusal(status.decode())
        holder = names.open(key, said)
        return HubError("lock.held") if holder is None else held_by(holder)

    def _disown(self, session: tuple[str, str], key: LockKey) -> None:
        mine = self._own.get(session)
        if mine is not None:
            mine.pop(key, None)
            if not mine:
                del self._own[session]

    async def _until_told(self, count: int) -> None:
        if count > self._copy.count:
            told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._told.setdefault(count, []).append(told)
            await asyncio.wait([told], timeout=TOLD_SECONDS)

    def _say_ended(self, names: _Names) -> None:
        for session in list(self._ended):
            del self._ended[session]
            self._mouth.put(*self._words(names, END, *session)).add_done_callback(partial(self._was_ended, session))

    def _was_ended(self, session: tuple[str, str], result: asyncio.Future[Any]) -> None:
        if (result.cancelled() or result.exception() is not None) and len(self._ended) < ENDED:
            self._ended[session] = None

    # -- connections ---------------------------------------------------------------------------------

    async def _serve(self) -> None:
        names = self._names
        if names is None:
            names = _Names(self._secret, await self._realm())
        (node,) = await self._address.nodes((names.keys[0].encode(),))
        ears, mouth = await self._tether.connect(node.place)
        await send(ears, ears.pack_commands([("SUBSCRIBE", names.channel)]))
        await answer(ears)
        await self._read_all(mouth, names)
        self._names, self._tether.ready, self._due = names, True, 0
        self._say_ended(names)
        await self._tether.hold(self._hear(ears, names), self._mouth.speak(mouth))

    async def _read_all(self, connection: AbstractConnection, names: _Names) -> None:
        """Read every lock; what Redis has forgotten is taken again for who held it here."""
        run, count, found = await self._asked(connection, names, ALL)
        if run.decode() != self._copy.run:
            held = self._copy.table.locks
            for mine in list(self._own.values()):
                for key, lock in list(mine.items()):
                    if lock is not None and key in held and held[key].holder == lock.holder:
                        words = (_field(key), lock.holder.session, names.close(key, lock.holder), 0)
                        await self._asked(connection, names, TAKE, *words)
            run, count, found = await self._asked(connection, names, ALL)
        locks: dict[LockKey, Lock] = {}
        for field, value in zip(found[::2], found[1::2], strict=True):
            try:
                key, (_, number, carried) = _key(field), value.split(b"|", 2)
                holder, told = names.open(key, carried), int(number)
            except ValueError:
                continue  # nobody of ours wrote that; the others' locks are none the worse for it
            if holder is not None:
                locks[key] = Lock(holder, told)
        for change in self._copy.open(run.decode(), count, locks):
            self._tell(change)
        # Who was answered that it holds a lock, and lost it before that was heard here, is told as well.
        for session, mine in list(self._own.items()):
            for key, lock in list(mine.items()):
                now = locks.get(key)
                if lock is not None and (now is None or now.holder.session != session[1]):
                    why: Why = "lapsed" if now is None else "stolen"
                    self._tell(Change(key, why, (now or lock).number, now.holder if now else None, lock.holder))
        self._confirm(count)

    async def _asked(self, connection: AbstractConnection, names: _Names, script: str, *given: Any) -> Any:
        await send(connection, connection.pack_commands([self._words(names, script, *given)]))
        return await answer(connection)

    async def _hear(self, connection: AbstractConnection, names: _Names) -> None:
        """Hear of changes until the connection is lost, or one was missed."""
        read: Any = connection.read_response
        while True:
            # Without an end, and not broken off: half an answer would be read as another.
            kind, _, data = await read(disable_decoding=True, timeout=float("inf"), disconnect_on_error=False)
            if kind != b"message":
                raise Lost(f"it answered {kind!r} to a subscription that stood")
            try:
                run, told, why, number, field, carried = data.split(b"|", 5)
                key, count, reason = _key(field), int(told), _WHY[why]
                holder = names.open(key, carried) if carried else None
                lock = Lock(holder, int(number)) if holder is not None else None
                life = run.decode()
            except (ValueError, KeyError):
                raise Lost("it said something that is no change of a lock") from None
            change = self._copy.hear(life, count, key, reason, lock)
            if change == "hole":
                raise Lost("a change of a lock was missed")
            if change is not None:
                self._tell(change)
            self._confirm(count)

    def _tell(self, change: Change) -> None:
        was = change.was
        if was is not None and (change.holder is None or change.holder.session != was.session):
            self._disown((change.key[0], was.session), change.key)
        self._on_change(change)

    def _confirm(self, count: int) -> None:
        for known in [known for known in self._told if known <= count]:
            for told in self._told.pop(known):
                if not told.done():
                    told.set_result(None)


def _field(key: LockKey) -> str:
    return ":".join(key)


def _key(field: bytes) -> LockKey:
    account, kind, rec = field.decode().split(":", 2)
    return account, kind, rec
