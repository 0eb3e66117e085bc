"""The open requests of one client: which wait for a socket, which for an answer, and what a lost socket does to them.

Knows messages and ids; no socket, no timer. A read is asked again. A write carries a `key`, so it is sent again
unchanged and happens once. What belongs to the socket itself (hello, watches, channels) ends with it. Anything
else that was sent has an unknown outcome and is refused with `write.unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from aether_client.codec import Message
from aether_client.errors import HubError

Repeat = Literal["read", "key", "socket", "once"]

_READS: Final = frozenset({
    "record.get", "record.find", "record.search", "record.aggregate", "record.history", "presence.roster",
    "presence.status", "schema.describe", "lookup.list", "lookup.resolve", "file.grant", "manifest.get",
    "lock.take", "lock.release",
})  # fmt: skip
_WRITES: Final = frozenset({
    "record.create", "record.upsert", "record.update", "record.move", "record.delete", "record.restore",
    "record.revert", "record.update_where", "record.delete_where", "record.batch", "action.call",
})  # fmt: skip
_OF_THE_SOCKET: Final = (
    "session.", "watch.", "channel.leave", "channel.join", "presence.", "lock.keep", "client.reply",
)  # fmt: skip


def repeat_of(op: str) -> Repeat:
    """Say how an operation may be repeated after its socket was lost."""
    if op in _READS:
        return "read"
    if op in _WRITES:
        return "key"
    return "socket" if op.startswith(_OF_THE_SOCKET) else "once"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the hub answered: `data`, and the account's `seq` where the answer carries one."""

    data: Any
    seq: int | None = None


@dataclass(slots=True, eq=False)
class Entry:
    """One open request."""

    id: int
    op: str
    message: Message
    """What goes over the wire, the same on every try."""
    repeat: Repeat
    ok: Callable[[Answer], None]
    """Called in the very order of the wire, before the next message is read."""
    fail: Callable[[HubError], None]
    sent: bool = False
    """Whether the present socket has it."""
    tried: bool = False
    """Whether any socket ever had it."""
    paused: bool = False
    """Whether it waits for a later repetition."""


class Requests:
    """The book of open requests."""

    def __init__(self, new_key: Callable[[], str]) -> None:
        self._new_key = new_key
        self._open: dict[int, Entry] = {}
        self._last = 0
        """The last id given; a client never uses one twice."""

    def __len__(self) -> int:
        return len(self._open)

    def add(
        self,
        op: str,
        fields: Mapping[str, Any],
        ok: Callable[[Answer], None],
        fail: Callable[[HubError], None],
        repeat: Repeat | None = None,
    ) -> Entry:
        """Note a new request; `repeat` None: as the operation is repeated."""
        repeat = repeat or repeat_of(op)
        self._last += 1
        message: Message = {"op": op, "id": self._last, **fields}
        if repeat == "key" and message.get("key") is None:
            message["key"] = self._new_key()
        entry = self._open[self._last] = Entry(self._last, op, message, repeat, ok, fail)
        return entry

    def find(self, request: Any) -> Entry | None:
        """Return the open request with this id."""
        return self._open.get(request) if isinstance(request, int) else None

    def settle(self, entry: Entry) -> None:
        """Take a request out."""
        self._open.pop(entry.id, None)

    def unsent(self) -> list[Entry]:
        """Return the requests that the present socket does not have, in the order they were made."""
        return [entry for entry in self._open.values() if not entry.sent and not entry.paused]

    def mark_sent(self, entry: Entry) -> None:
        """Note that the present socket has it."""
        entry.sent = entry.tried = True

    def lost(self) -> list[Entry]:
        """Note that the socket is gone: keep what may be repeated; return what may not, already taken out."""
        refused = [e for e in self._open.values() if e.repeat == "socket" or (e.sent and e.repeat == "once")]
        for entry in refused:
            del self._open[entry.id]
        for entry in self._open.values():
            entry.sent = entry.paused = False
        return refused

    def drain(self) -> list[Entry]:
        """Take everything out: the client stops."""
        everything = list(self._open.values())
        self._open.clear()
        return everything


def unanswered(entry: Entry, sentence: str) -> HubError:
    """Return what an unanswered request is refused with when waiting has no more sense."""
    if entry.tried and entry.repeat in ("key", "once"):
        return HubError("write.unknown", f"{sentence} Whether the change was made is not known.")
    return HubError("server.unavailable", sentence)
