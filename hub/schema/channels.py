"""Declaring channels: who may be in them, who may speak, and how much of what was said is kept. Values only.

    CURSORS = Channel("board", join="viewer", send="member", named=False)          # a namespace of its own
    EVENT_CHANNEL = Channel.of(Event, send="viewer", history=100, last=1)          # the channel of each event

A record type without a declaration has channels too, for presence: whoever may read the record may join, nobody may
send. The hub collects declarations from the packs as it does record types.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from hub.schema.access import NOBODY, DeclarationError, rank
from hub.schema.record import Record, RecordType, type_of
from hub.wire.names import NAMESPACE

HISTORY_MESSAGES: Final = 1000
HISTORY_SECONDS: Final = 7 * 86_400
HISTORY_BYTES: Final = 256 * 1024
"""What one channel keeps at most: its messages as JSON, so that the answer of a join holds all of them."""
MESSAGE_BYTES: Final = 64 * 1024
"""The most that a namespace may allow for the data of one message, as JSON."""


@dataclass(frozen=True, slots=True)
class Kept:
    """How much of a channel is kept; `messages` 0: nothing, and its messages have no offset."""

    messages: int = 0
    seconds: int = 0
    bytes: int = HISTORY_BYTES


@dataclass(frozen=True, slots=True)
class Channel:
    """A declared namespace of channels; roles are of the ladder, each the least one that may.

    They seed permissions: `board.join`, `board.send`, `board.see`.

    `join` lets hear it, `send` speak (default: nobody), `see` learn who is there (None: whoever may join).
    `presence`: whether members are shown at all; `named`: whether a message says who sent it. `history` is how many
    messages are kept, for `seconds`; `last` of them are told to who joins late. `message_bytes` bounds the data of a
    message as JSON. `slow` says what becomes of a socket that does not read as fast as others speak: with `hole` it
    loses messages, sees that by their offsets and recovers them, with `close` it is closed (4409).
    """

    namespace: str
    join: str
    send: str = NOBODY
    see: str | None = None
    presence: bool = True
    named: bool = True
    history: int = 0
    seconds: int = 300
    last: int = 0
    message_bytes: int = 16 * 1024
    slow: Literal["hole", "close"] = "hole"
    record: RecordType | None = None
    """The record type whose channels these are; then the record's `read` is what `join` says."""

    def __post_init__(self) -> None:
        if not NAMESPACE.match(self.namespace):
            raise DeclarationError(f"channel {self.namespace!r}: a namespace is [a-z][a-z0-9_]*, at most 32 characters")
        for role in (self.join, self.send, self.see or self.join):
            rank(role)
        for name, value, most in (
            ("history", self.history, HISTORY_MESSAGES),
            ("seconds", self.seconds, HISTORY_SECONDS),
            ("last", self.last, self.history),
            ("message_bytes", self.message_bytes, MESSAGE_BYTES),
        ):
            least = 0 if name in {"history", "last"} else 1
            if not least <= value <= most:
                raise DeclarationError(f"channel {self.namespace}: {name} is from {least} to {most}")

    @classmethod
    def of(cls, record: type[Record], **options: Any) -> Channel:
        """Declare the channels of a record type: joined by whoever may read the record."""
        kind = type_of(record)
        return cls(kind.name, join=kind.access.read, record=kind, **options)

    def says(self) -> dict[str, Any]:
        """Return what clients may know of the namespace, but for who may do what."""
        return {
            "record": None if self.record is None else self.record.name,
            "presence": self.presence,
            "named": self.named,
            "history": self.history,
            "seconds": self.kept.seconds,
            "last": self.last,
            "message_bytes": self.message_bytes,
            "slow": self.slow,
        }

    @property
    def kept(self) -> Kept:
        """How much of each channel is kept."""
        return Kept(self.history, self.seconds if self.history else 0)

    def permissions(self) -> dict[str, str]:
        """Return the permissions of the namespace that are declared, each with its least role.

        Whoever may read the record joins its channels, and who joins is told who is there, unless `see` says less.
        """
        found = {f"{self.namespace}.send": self.send}
        if self.record is None:
            found[f"{self.namespace}.join"] = self.join
        if self.see is not None:
            found[f"{self.namespace}.see"] = self.see
        return found

    @property
    def joining(self) -> str:
        """The permission to join."""
        return f"{self.namespace}.join" if self.record is None else f"{self.namespace}.read"

    @property
    def sending(self) -> str:
        """The permission to speak."""
        return f"{self.namespace}.send"

    @property
    def seeing(self) -> str:
        """The permission to learn who is there."""
        return self.joining if self.see is None else f"{self.namespace}.see"


def of_type(kind: RecordType) -> Channel:
    """Return what the channels of a record type are where nothing is declared: presence, and nobody sends."""
    return Channel(kind.name, join=kind.access.read, record=kind)
