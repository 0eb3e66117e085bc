"""The session core: one socket's side of `aether.v1`, without a socket.

Frames and times come in, requests and frames come out; no task, no clock, no random number inside. An
edge drives it: `receive` for each frame, `reply` or `refuse` for each request it was given, `tick` when
`deadline` has passed. It keeps the order of requests, the waiting behind a pending hello, the open ids
and the budget of bad frames. It knows nothing of handlers, rights or storage.

    new --hello--> greeting --greeted--> ready        every state --close--> closed
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

import msgspec

from hub.wire import close, frames
from hub.wire.codec import FRAME_BYTES, Codec, Frame, Shared, Undecodable, convert, readable_id
from hub.wire.errors import HubError
from hub.wire.requests import Request, SessionHello

HELLO_SECONDS: Final = 10.0
WAITING: Final = 32
"""How many requests may wait behind a pending hello."""
OPEN: Final = 1024
"""How many requests of one socket may be open at once."""
BAD_FRAMES: Final = 20
BAD_FRAMES_SECONDS: Final = 60.0
ARRAY: Final = 1000
"""How many messages one frame may hold."""


class Phase(Enum):
    """Where a session stands."""

    NEW = "new"
    GREETING = "greeting"
    READY = "ready"
    CLOSED = "closed"


_READY: Final = Phase.READY


def _size(frame: Frame) -> int:
    return len(frame) if isinstance(frame, bytes) or frame.isascii() else len(frame.encode("utf-8", "replace"))


class Received(msgspec.Struct):
    """What a frame led to: requests to start in this order, frames to send, perhaps a close."""

    requests: list[Request] = []
    frames: list[bytes] = []
    close: close.Close | None = None


class Session:
    """The protocol state of one socket. Times are seconds of any monotonic clock."""

    __slots__ = ("_bad", "_kind", "_open", "_waiting", "codec", "frame_bytes", "greeted_once", "phase", "started")

    def __init__(self, codec: Codec, now: float, frame_bytes: int = FRAME_BYTES) -> None:
        self.codec = codec
        self._kind = bytes if codec.binary else str
        self.frame_bytes = frame_bytes
        self.phase = Phase.NEW
        self.started = now
        self.greeted_once = False
        self._waiting: list[Request] = []
        """Requests behind a pending hello, in arrival order."""
        self._open: set[int] = set()
        """Ids of requests that have no answer yet, waiting ones too."""
        self._bad: list[float] = []
        """When the latest undecodable frames came."""

    @property
    def deadline(self) -> float | None:
        """Return when `tick` should be called next, or None."""
        waits = self.phase in {Phase.NEW, Phase.GREETING} and not self.greeted_once
        return self.started + HELLO_SECONDS if waits else None

    def tick(self, now: float) -> close.Close | None:
        """Return the close that is due at `now`, if one is."""
        if self.phase is Phase.NEW and now >= self.started + HELLO_SECONDS:
            self.phase = Phase.CLOSED
            return close.HELLO_LATE
        return None

    def ordinary(self, frame: Frame) -> Request | None:
        """Take in a frame that holds one good request of a session that is ready: the common case of `receive`.

        None, and nothing taken in, where `receive` has to look closer.
        """
        if self.phase is not _READY or type(frame) is not self._kind or len(frame) * 4 > self.frame_bytes:
            return None
        request = self.codec.request(frame)
        if request is None:
            return None
        number, opened = request.id, self._open
        if number in opened or len(opened) >= OPEN or type(request) is SessionHello:
            return None
        opened.add(number)
        return request

    def receive(self, frame: Frame, now: float, out: Received | None = None) -> Received:
        """Take in one frame. Frames that came together may share `out`."""
        out = Received() if out is None else out
        if self.phase is Phase.CLOSED:
            return out
        if type(frame) is not self._kind:
            out.close = self._end(close.WRONG_KIND)
            return out
        # A character has at most four bytes, so a short text need not be encoded to be counted.
        if len(frame) * 4 > self.frame_bytes and _size(frame) > self.frame_bytes:
            out.close = self._end(close.TOO_LARGE)
            return out
        good = self.codec.request(frame)
        if good is not None:
            self._request(out, good)
            return out
        try:
            value = self.codec.decode(frame)
        except Undecodable as error:
            self._refuse_frame(out, None, error, now)
            return out
        members = value if type(value) is list else [value]
        if not members or len(members) > ARRAY:
            self._refuse_frame(out, None, Undecodable(f"A frame holds 1 to {ARRAY} messages."), now)
            return out
        for member in members:
            self._member(out, member, now)
            if out.close is not None:
                break
        return out

    def _member(self, out: Received, member: Any, now: float) -> None:
        request_id = readable_id(member)
        try:
            request = convert(member)
        except Undecodable as error:
            self._refuse_frame(out, request_id, error, now)
            return
        except HubError as error:
            out.frames.append(self.codec.encode(frames.error(request_id, error)))
            return
        self._request(out, request)

    def _request(self, out: Received, request: Request) -> None:
        error_or_none = self._admit(request)
        if error_or_none is not None:
            # The id may be that of an open request: the refusal carries it, the open one stays open.
            out.frames.append(self.codec.encode(frames.error(request.id, error_or_none)))
            return
        self._open.add(request.id)
        if isinstance(request, SessionHello) and self.phase is not Phase.GREETING:
            self.phase = Phase.GREETING
            out.requests.append(request)
        elif self.phase is Phase.GREETING:
            self._waiting.append(request)
        else:
            out.requests.append(request)

    def _admit(self, request: Request) -> HubError | None:
        if request.id in self._open:
            return HubError("data.invalid", "This id belongs to a request that is still open.", path="id")
        if self.phase is Phase.NEW and not isinstance(request, SessionHello):
            return HubError("auth.required", "Send session.hello first.", path="op")
        if self.phase is Phase.GREETING and len(self._waiting) >= WAITING:
            return HubError("rate.limited", f"At most {WAITING} requests wait behind a hello.", retry_after=1)
        if len(self._open) >= OPEN:
            return HubError("rate.limited", f"At most {OPEN} requests may be open at once.", retry_after=1)
        return None

    def _refuse_frame(self, out: Received, request_id: int | None, error: HubError, now: float) -> None:
        while self._bad and self._bad[0] <= now - BAD_FRAMES_SECONDS:
            del self._bad[0]
        self._bad.append(now)
        out.frames.append(self.codec.encode(frames.error(request_id, error)))
        if len(self._bad) > BAD_FRAMES:
            out.close = self._end(close.RATE)

    def greeted(self, *, accepted: bool) -> list[Request]:
        """The hello was answered: return the requests that waited and may start now, in order."""
        if self.phase is Phase.CLOSED:
            return []
        if accepted:
            self.greeted_once = True
        self.phase = Phase.READY if self.greeted_once else Phase.NEW
        released: list[Request] = []
        while self._waiting and self.phase is not Phase.GREETING:
            request = self._waiting.pop(0)
            if isinstance(request, SessionHello):
                self.phase = Phase.GREETING
            released.append(request)
        return released

    def reply(self, request: int, data: Any, seq: int | None = None) -> bytes:
        """Return the `ok` frame of an open request, which is closed by it."""
        self._open.discard(request)
        return self.codec.encode(frames.ok(request, data, seq))

    def share(self, request: int, shared: Shared) -> bytes:
        """Return the `ok` frame of an open request that is answered what others are; it is closed by it."""
        self._open.discard(request)
        return self.codec.answer(request, shared)

    def refuse(self, request: int, error: HubError) -> bytes:
        """Return the `error` frame of an open request, which is closed by it."""
        self._open.discard(request)
        return self.codec.encode(frames.error(request, error))

    @property
    def open(self) -> int:
        """How many requests have no answer yet."""
        return len(self._open)

    def _end(self, why: close.Close) -> close.Close:
        self.phase = Phase.CLOSED
        return why

    def end(self) -> None:
        """The socket is gone."""
        self.phase = Phase.CLOSED
