"""What instances tell each other of who is here: numbered lists, and the promise of the line that carries them.

Each instance owns the list of its own sessions and of where they are shown. Every change of it is an `Op` with the next
number, told to all others in order (`Said`); a `Beat` each second says how far the list goes. Whoever missed something
asks for the whole (`Ask`) and is told it in pages, among the changes that happen meanwhile. A message is a hint that
may be lost: whether all of them came is told by the numbers (`channels.lists`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec


class _Op(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True, tag=True):
    """One change of a list."""

    session: str


class Opened(_Op, frozen=True):
    """A session is in an account, or what was said of it has changed.

    `source` and `credential` say what it was opened with, which is looked up again by whoever takes it over; `proof` is
    the SHA-256 of the secret that brings it back. `move` counts how often it went to another instance. While it is
    `cut`, without a socket, it is away whatever its status.
    """

    account: str
    kind: str
    rec: str
    name: str
    source: str
    credential: str
    status: str
    move: int
    proof: str
    cut: bool = False


class Shown(_Op, frozen=True):
    """A session is shown in a channel of its account, or its state has changed."""

    channel: str
    state: dict[str, Any]
    since: str
    here: str
    on_drop: Any = None


class Hidden(_Op, frozen=True):
    """A session is no longer shown in a channel."""

    channel: str


class Stands(_Op, frozen=True):
    """A session has another status, or its socket was cut, or is back."""

    status: str
    cut: bool = False


class Closed(_Op, frozen=True):
    """A session is gone; `moved`: to another instance, which tells the rest."""

    moved: bool = False


Op = Opened | Shown | Hidden | Stands | Closed


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True, tag=True):
    """One message. `sender` is an instance in one of its lives."""

    sender: str


class Said(_Message, frozen=True):
    """Changes of the sender's list, the first of which has this number."""

    first: int
    ops: tuple[Op, ...]


class Beat(_Message, frozen=True):
    """The sender is there, and this is the number of the last change of its list."""

    number: int


class Ask(_Message, frozen=True):
    """The sender needs the whole list of an instance."""

    of: str


class Page(_Message, frozen=True):
    """A part of the sender's list, as it is behind a number; `index` counts from 0."""

    number: int
    index: int
    ops: tuple[Opened | Shown, ...]
    last: bool


class Bye(_Message, frozen=True):
    """The sender ends; its sessions may come back elsewhere for so many seconds."""

    seconds: float


class Swept(_Message, frozen=True):
    """An instance is gone, and the sender has taken out what it had."""

    of: str


Message = Said | Beat | Ask | Page | Bye | Swept


class Away(Exception):
    """Redis cannot be asked at the moment; whether it did what it was asked is not known."""


class Line(Protocol):
    """Carries messages between the instances of one cluster, each in the order in which it was sent, and keeps leases.

    Held to this by `tests/storage/test_redis_line.py`.
    """

    def listen(self, on_message: Callable[[Message], None], on_link: Callable[[bool], None]) -> None:
        """Set who hears messages, one's own among them, and whether this instance is connected; before `start`.

        Neither may wait for anything. What others sent while there was no connection is lost.
        """

    async def start(self) -> None:
        """Begin to connect, without waiting for it."""

    async def close(self) -> None:
        """Send what waits, where that can be done at once, and disconnect."""

    @property
    def crowded(self) -> bool:
        """Whether so much waits to be sent that pages should wait as well."""

    def put(self, message: Message) -> None:
        """Send a message to all others, as soon as that can be done; forget it where there is no connection."""

    def live_as(self, name: str) -> None:
        """Renew the lease of this name from now on, and of no other."""

    async def lives(self, name: str) -> bool:
        """Say whether a lease has not lapsed; raise `Away`."""

    async def claim(self, name: str, seconds: float) -> bool:
        """Say whether this instance is the first to claim a name within some seconds; raise `Away`."""
