"""What waits to be written to one socket: a bounded first-in-first-out of frames.

Everything that a socket is sent goes through its outlet in the order in which it became true, so an
answer never overtakes a push that was owed before it (the horizon rule). Nothing here waits: the edge is
woken and takes frames as fast as its socket accepts them. Knows no socket.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hub.wire.codec import Codec
from hub.wire.frames import Message

MAX_BYTES = 1024 * 1024
"""How many bytes of pushes may wait for one socket before its watches fall back to `reset`."""


class Writer(Protocol):
    """What takes the bytes of a socket."""

    def write(self, data: bytes) -> object:
        """Write bytes, now or as soon as the peer reads; never wait."""


class Waiting(Protocol):
    """Pushes that wait for many sockets together (`channels.fanout`)."""

    runs: list[Any]
    """Empty where nothing waits."""

    def settle(self, outlet: Outlet) -> None:
        """Queue what waits for one of the sockets."""


class Encoded:
    """One message that many sockets are sent: encoded at most once per codec."""

    __slots__ = ("_frames", "message")

    def __init__(self, message: Message) -> None:
        self.message = message
        self._frames: dict[str, bytes] = {}

    def frame(self, codec: Codec) -> bytes:
        """Return the frame for a codec."""
        found = self._frames.get(codec.subprotocol)
        if found is None:
            found = self._frames[codec.subprotocol] = codec.encode(self.message)
        return found


@dataclass(frozen=True, slots=True)
class _Begin:
    """Stands in the queue behind the answer with which something begins (again)."""

    owner: Hashable


class Outlet:
    """The queue of one socket.

    `wake` is called when there is something to take and nothing was waiting before. `owner` tags what
    can be dropped together: the pushes of one watch.
    """

    __slots__ = ("_items", "_wake", "broadcast", "closed", "codec", "direct", "framed", "max_bytes", "shared", "size")

    def __init__(self, codec: Codec, wake: Callable[[], None], max_bytes: int = MAX_BYTES) -> None:
        self.codec = codec
        self.max_bytes = max_bytes
        self.size = 0
        """Bytes that wait."""
        self.closed = False
        self.direct: Writer | None = None
        """What takes bytes of the socket at once, as its edge says; None while something waits here."""
        self.framed: Callable[[Sequence[bytes]], bytes] | None = None
        """How the edge makes such bytes of frames; None where it takes none."""
        self.broadcast: Callable[[Sequence[bytes]], bytes] | None = None
        """How the edge makes them of what many are sent, where that is another way; the same for many sockets."""
        self.shared: Waiting | None = None
        """What may wait for this socket and others together; it goes before whatever is queued here."""
        self._wake = wake
        self._items: list[tuple[bytes | Iterator[bytes], Hashable]] = []
        """What waits, the oldest first. Most outlets are empty most of the time: an empty list is small."""

    def __len__(self) -> int:
        return len(self._items)

    @property
    def waits(self) -> bool:
        """Whether there is something to take."""
        return bool(self._items)

    def answer(self, frame: bytes, *, alone: bool = False) -> None:
        """Queue an answer, which is never dropped: reading from the socket stops before answers pile up.

        With `alone` it is written at once where nothing waits before it.
        """
        if self.closed:
            return
        if self.shared is not None and self.shared.runs:
            self.shared.settle(self)
        if alone and self.direct is not None and self.framed is not None:
            self.direct.write(self.framed((frame,)))
            return
        items = self._items
        items.append((frame, None))
        self.size += len(frame)
        if len(items) == 1:
            self.direct = None
            self._wake()

    def push(self, frame: bytes, owner: Hashable, *, force: bool = False) -> bool:
        """Queue a push; return False, and queue nothing, where that would break the bound and is not forced."""
        if self.shared is not None and self.shared.runs:
            self.shared.settle(self)
        if self.size + len(frame) > self.max_bytes and not force:
            return False
        self._put(frame, owner, len(frame))
        return True

    def append(self, frame: bytes, owner: Hashable) -> bool:
        """Queue a push that was waiting for others too; return False where that would break the bound."""
        if self.size + len(frame) > self.max_bytes:
            return False
        self._put(frame, owner, len(frame))
        return True

    def pages(self, frames: Iterator[bytes], owner: Hashable) -> None:
        """Queue frames that are made one at a time, each only when the one before was taken."""
        if self.shared is not None and self.shared.runs:
            self.shared.settle(self)
        self._put(frames, owner, 0)

    def begin(self, owner: Hashable, frames: Iterator[bytes] | None = None) -> None:
        """Note that the answer queued last begins something, and queue its further pages."""
        if self.shared is not None and self.shared.runs:
            self.shared.settle(self)
        self._put(iter(()), _Begin(owner), 0)
        if frames is not None:
            self.pages(frames, owner)

    def drop(self, owner: Hashable) -> None:
        """Forget what is queued for an owner."""
        kept = [item for item in self._items if item[1] is None or item[1] != owner]
        self._items = kept
        self.size = sum(len(f) for f, _ in kept if isinstance(f, bytes))

    def replace(self, owner: Hashable, frame: bytes) -> None:
        """Put an answer in the place of what is queued for an owner; at the end where nothing is.

        So nothing that was queued behind a lost push overtakes the news of the loss. Where the owner begins
        again further on in the queue, that beginning is over as well: the answer follows it once more.
        """
        kept: list[tuple[bytes | Iterator[bytes], Hashable]] = []
        told = False
        for item in self._items:
            if item[1] == owner:
                if not told:
                    kept.append((frame, None))
                told = True
                continue
            if isinstance(item[1], _Begin) and item[1].owner == owner:
                told = False
            kept.append(item)
        self._items = kept
        self.size = sum(len(f) for f, _ in kept if isinstance(f, bytes))
        if not told:
            self.answer(frame)

    def take(self) -> bytes | None:
        """Return the next frame to write, or None when nothing waits."""
        found = self.take_many(1)
        return found[0] if found else None

    def take_many(self, max_bytes: int) -> list[bytes]:
        """Return the next frames to write together: at least one where something waits, else none."""
        items = self._items
        if len(items) == 1:
            only = items[0][0]
            if type(only) is bytes:
                items.clear()
                self.size = 0
                return [only]
        if self.size <= max_bytes:
            whole = [item for item, _ in items if type(item) is bytes]
            if len(whole) == len(items):
                items.clear()
                self.size = 0
                return whole
        found: list[bytes] = []
        size = done = 0
        while size < max_bytes and done < len(items):
            item, _ = items[done]
            if isinstance(item, bytes):
                done += 1
                self.size -= len(item)
                found.append(item)
                size += len(item)
                continue
            page = next(item, None)
            if page is None:
                done += 1
            else:
                found.append(page)
                size += len(page)
        del items[:done]
        return found

    def close(self) -> None:
        """Forget everything; later frames are dropped."""
        self.closed = True
        self.direct = None
        self._items.clear()
        self.size = 0

    def _put(self, item: Any, owner: Hashable, size: int) -> None:
        if self.closed:
            return
        quiet = not self._items
        self._items.append((item, owner))
        self.size += size
        if quiet:
            self.direct = None
            self._wake()
