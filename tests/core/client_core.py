"""The client's side of aether.v1 without a socket, and the two cores at the ends of one wire.

Time is a number that the test moves; frames go back and forth as function calls.
"""

from __future__ import annotations

from typing import Any

import msgspec

from hub.session import Received, Session
from hub.wire.close import Close
from hub.wire.codec import Codec, Frame
from hub.wire.errors import HubError
from hub.wire.requests import Request

Message = dict[str, Any]


def encoded(codec: Codec, value: Any) -> Frame:
    """Return the frame of any value, also of one that no client should send."""
    return msgspec.msgpack.encode(value) if codec.binary else msgspec.json.encode(value).decode()


def decoded(codec: Codec, frame: bytes) -> Message:
    """Return the message of a frame of the hub, which sends one at a time."""
    message = msgspec.msgpack.decode(frame) if codec.binary else msgspec.json.decode(frame)
    assert isinstance(message, dict)
    return message


class ClientCore:
    """What a client keeps: the number of its last request, and what the hub said."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.last = 0
        self.heard: list[Message] = []

    def request(self, op: str, **fields: Any) -> Message:
        """Return a new request."""
        self.last += 1
        return {"op": op, "id": self.last, **fields}

    def hear(self, frame: bytes) -> None:
        """Take in a frame of the hub."""
        self.heard.append(decoded(self.codec, frame))

    def answer(self, number: int) -> Message:
        """Return the one answer to a request."""
        (found,) = (m for m in self.heard if m.get("id") == number)
        return found


class Wire:
    """A client core and a session core, and what lies between them."""

    def __init__(self, codec: Codec, now: float = 1000.0) -> None:
        self.now = now
        self.client = ClientCore(codec)
        self.session = Session(codec, now)
        self.started: list[Request] = []
        """The requests that the session gave out, in order."""
        self.closed: Close | None = None

    def send(self, *messages: Any) -> Received:
        """Send one message, or several as an array."""
        return self.send_frame(encoded(self.client.codec, messages[0] if len(messages) == 1 else list(messages)))

    def send_frame(self, frame: Frame) -> Received:
        """Send any frame."""
        received = self.session.receive(frame, self.now)
        self.started += received.requests
        for answer in received.frames:
            self.client.hear(answer)
        self.closed = self.closed or received.close
        return received

    def call(self, op: str, **fields: Any) -> int:
        """Send one request; return its number."""
        request = self.client.request(op, **fields)
        self.send(request)
        return self.client.last

    def ok(self, number: int, data: Any = None) -> None:
        """The hub answers a request."""
        self.client.hear(self.session.reply(number, data))

    def refuse(self, number: int, code: str) -> None:
        """The hub refuses a request."""
        self.client.hear(self.session.refuse(number, HubError(code)))

    def greet(self) -> None:
        """Say hello, and have it accepted."""
        self.ok(self.call("session.hello"))
        self.greeted(accepted=True)

    def greeted(self, *, accepted: bool) -> None:
        """The hub has answered the hello."""
        self.started += self.session.greeted(accepted=accepted)

    def pass_time(self, seconds: float) -> None:
        """Let time go by, and let the session look at the clock where it asked to."""
        self.now += seconds
        deadline = self.session.deadline
        if deadline is not None and deadline <= self.now:
            self.closed = self.closed or self.session.tick(self.now)

    def close_code(self) -> int | None:
        """Return the code that the socket was closed with, or None while it is open."""
        return self.closed.code if self.closed else None

    @property
    def ids(self) -> list[int]:
        """The numbers of the requests that were started, in order."""
        return [request.id for request in self.started]

    @property
    def codes(self) -> list[str]:
        """What the hub said: `ok`, or the code of a refusal."""
        return [m["code"] if m["op"] == "error" else m["op"] for m in self.client.heard]
