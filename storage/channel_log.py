"""The promise of the channel log: one order of messages per channel, and a bounded memory of the last ones.

    append -> (epoch, offset)           the message is ordered, and told wherever the channel is followed
    follow, past, unfollow              hear a channel from here on; what was said before

Offsets of a channel count 1, 2, 3, … within its `epoch`, a text that nothing else ever has; where what was known of a
channel is lost, its next epoch begins. Nothing here is durable. `InProcessLog` is the log of a hub that is alone;
`storage/redis` has the one between hubs. Held to this by `tests/storage/contract_channel_log.py`.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple, Protocol

from hub.schema.channels import Kept

ENTRY_BYTES: Final = 200
"""What a kept message counts beside its data."""
IDLE_CHANNELS: Final = 1000
"""How many channels of an account that nobody is in are remembered; the one unused for longest is forgotten first."""
ACCOUNT_BYTES: Final = 8 * 1024 * 1024
"""What the messages of one account may count together; beyond, those of its channels unused for longest go."""
TOTAL_BYTES: Final = 64 * 1024 * 1024
"""What the messages of all accounts may count together; beyond, those of the account unused for longest go."""

ChannelKey = tuple[str, str]
"""(account, channel name)"""


class Place(NamedTuple):
    """A place in a channel: everything up to `offset` of `epoch`."""

    epoch: str
    offset: int


NOWHERE: Final = Place("", 0)
"""Of a message that is told and not kept."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One message. `body` is MessagePack of what everybody is shown, `size` its length as JSON.

    `place.offset` is 0 where the message is told and not kept: the channel keeps nothing, or `to` names for whom it
    is (`session`, `user` or `device`, and an id). `sender` is the sending session; without `echo` it is not told.
    `ttl` is for how many seconds the message is worth recovering (None: for as long as the channel keeps any).
    """

    body: bytes
    size: int
    sender: str | None = None
    echo: bool = True
    to: tuple[str, str] | None = None
    ttl: float | None = None
    place: Place = NOWHERE
    at: float = 0.0
    """When it was ordered, in seconds since 1970."""

    def expired(self, now: float) -> bool:
        """Say whether it is no longer worth recovering."""
        return self.ttl is not None and self.at + self.ttl <= now


@dataclass(frozen=True, slots=True)
class Past:
    """What was said in a channel up to `place`.

    `recovered`: `entries` are all that is behind the place asked for. Otherwise they are the last ones, and `why` says
    what became of the place: another `epoch`, or no longer kept (`expired`); None where no place was asked for.
    """

    place: Place
    entries: tuple[Entry, ...] = ()
    recovered: bool = False
    why: Literal["epoch", "expired"] | None = None


OnEntry = Callable[[ChannelKey, Entry], None]
"""Told of a message in a followed channel; must not wait for anything."""
OnBroken = Callable[[ChannelKey], None]
"""Told that messages of a followed channel may be missing from here on."""


class ChannelLog(Protocol):
    """Orders the messages of channels and remembers the last ones."""

    def listen(self, on_entry: OnEntry, on_broken: OnBroken) -> None:
        """Set who is told of what is followed; before `start`."""

    async def start(self) -> None:
        """Begin, without waiting for anything; a log that cannot yet refuses what it is asked."""

    async def close(self) -> None:
        """Tell nothing more."""

    async def append(self, channel: ChannelKey, entry: Entry, kept: Kept) -> Place:
        """Order a message; return its place once it and all before it was told here, where the channel is followed.

        What is called first is ordered first. Raises `server.unavailable` where nothing was done, `write.unknown`
        where that is not known.
        """

    def follow(self, channel: ChannelKey) -> None:
        """Hear a channel: what is appended anywhere from now on is told, in order; counted."""

    def unfollow(self, channel: ChannelKey) -> None:
        """Stop hearing a channel, once for each `follow`."""

    async def past(self, channel: ChannelKey, kept: Kept, after: Place | None, last: int) -> Past:
        """Return what was said behind a place, or the last messages where there is none or it is too old.

        Everything up to `place` of the answer is in it or was told; raises `server.unavailable`.
        """

    def forget(self, channel: ChannelKey) -> None:
        """Forget a channel whose record is gone; what is said there later has another epoch."""


def past_of(entries: list[Entry], place: Place, floor: int, after: Place | None, last: int, now: float) -> Past:
    """Return the answer of `past` from what is kept: everything of `place.epoch` between `floor` and `place.offset`."""
    why: Literal["epoch", "expired"] | None = None
    if after is not None:
        if after.epoch != place.epoch or after.offset > place.offset:
            why = "epoch"
        elif after.offset < floor:
            why = "expired"
        else:
            found = tuple(e for e in entries if e.place.offset > after.offset and not e.expired(now))
            return Past(place, found, recovered=True)
    live = [e for e in entries if not e.expired(now)]
    return Past(place, tuple(live[-last:]) if last else (), why=why)


@dataclass(slots=True)
class _Log:
    """One channel. `floor` is the last offset that is no longer kept, `followed` how many hear it."""

    epoch: str
    top: int = 0
    floor: int = 0
    bytes: int = 0
    followed: int = 0
    entries: deque[Entry] = field(default_factory=deque)


@dataclass(slots=True)
class _Account:
    """The channels of one account, the one unused for longest first."""

    logs: OrderedDict[str, _Log] = field(default_factory=OrderedDict)
    bytes: int = 0
    idle: int = 0


class InProcessLog:
    """The channel log of one process, in memory; nothing is ever broken."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Keep time by `clock`, in seconds since 1970."""
        self._clock = clock
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._on_entry: OnEntry = lambda channel, entry: None
        self.bytes = 0
        """What all messages count together."""

    def listen(self, on_entry: OnEntry, on_broken: OnBroken) -> None:
        """Set who is told."""
        self._on_entry = on_entry

    async def start(self) -> None:
        """Nothing to begin."""

    async def close(self) -> None:
        """Tell nothing more."""
        self._on_entry = lambda channel, entry: None

    async def append(self, channel: ChannelKey, entry: Entry, kept: Kept) -> Place:
        """Order a message and tell it."""
        now = self._clock()
        if entry.to is not None or not kept.messages:
            if self._followed(channel):
                self._on_entry(channel, replace(entry, at=now))
            return NOWHERE
        account, log = self._log(channel)
        log.top += 1
        entry = replace(entry, place=Place(log.epoch, log.top), at=now)
        log.entries.append(entry)
        self._count(account, log, entry.size + ENTRY_BYTES)
        while len(log.entries) > kept.messages or log.bytes > kept.bytes:
            self._shed(account, log)
        self._age(account, log, kept, now)
        self._bound(channel[0], account)
        if log.followed:
            self._on_entry(channel, entry)
        return entry.place

    def follow(self, channel: ChannelKey) -> None:
        """Hear a channel."""
        account, log = self._log(channel)
        account.idle -= not log.followed
        log.followed += 1

    def unfollow(self, channel: ChannelKey) -> None:
        """Stop hearing a channel, once."""
        account = self._accounts.get(channel[0])
        log = None if account is None else account.logs.get(channel[1])
        if account is None or log is None or not log.followed:
            return  # it was forgotten meanwhile
        log.followed -= 1
        account.idle += not log.followed
        self._bound(channel[0], account)

    async def past(self, channel: ChannelKey, kept: Kept, after: Place | None, last: int) -> Past:
        """Return what was said."""
        now = self._clock()
        account, log = self._log(channel)
        self._age(account, log, kept, now)
        self._bound(channel[0], account)
        return past_of(list(log.entries), Place(log.epoch, log.top), log.floor, after, last, now)

    def forget(self, channel: ChannelKey) -> None:
        """Forget a channel."""
        account = self._accounts.get(channel[0])
        if account is not None and channel[1] in account.logs:
            self._drop(channel[0], account, channel[1])

    def _followed(self, channel: ChannelKey) -> bool:
        account = self._accounts.get(channel[0])
        log = None if account is None else account.logs.get(channel[1])
        return log is not None and log.followed > 0

    def _log(self, channel: ChannelKey) -> tuple[_Account, _Log]:
        """Return a channel, which counts as used."""
        account = self._accounts.get(channel[0])
        if account is None:
            account = self._accounts[channel[0]] = _Account()
        self._accounts.move_to_end(channel[0])
        log = account.logs.get(channel[1])
        if log is None:
            log = account.logs[channel[1]] = _Log(secrets.token_hex(8))
            account.idle += 1
        account.logs.move_to_end(channel[1])
        return account, log

    def _count(self, account: _Account, log: _Log, size: int) -> None:
        log.bytes += size
        account.bytes += size
        self.bytes += size

    def _shed(self, account: _Account, log: _Log) -> None:
        """Let the oldest message of a channel go."""
        gone = log.entries.popleft()
        log.floor = gone.place.offset
        self._count(account, log, -gone.size - ENTRY_BYTES)

    def _age(self, account: _Account, log: _Log, kept: Kept, now: float) -> None:
        while log.entries and log.entries[0].at + kept.seconds <= now:
            self._shed(account, log)

    def _drop(self, name: str, account: _Account, channel: str) -> None:
        log = account.logs.pop(channel)
        self._count(account, log, -log.bytes)
        account.idle -= not log.followed
        if not account.logs:
            del self._accounts[name]

    def _bound(self, name: str, account: _Account) -> None:
        """Let go what is beyond the bounds: of channels that nobody is in everything, of others the messages."""
        while account.idle > IDLE_CHANNELS:
            self._drop(name, account, next(c for c, log in account.logs.items() if not log.followed))
        while account.bytes > ACCOUNT_BYTES:
            self._thin(account)
        while self.bytes > TOTAL_BYTES:
            self._thin(next(found for found in self._accounts.values() if found.bytes))

    def _thin(self, account: _Account) -> None:
        """Let the messages of the channel go that was unused for longest."""
        log = next(log for log in account.logs.values() if log.entries)
        while log.entries:
            self._shed(account, log)
