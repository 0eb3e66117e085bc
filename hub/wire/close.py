"""The table of close codes. The range tells the client what to do next (DESIGN.md section 4).

1006, 1011, 1012, 1013 and 4400-4499: come back. 1002, 1003, 1007, 1009 and 4500-4999: not unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Close:
    """A reason to close a socket: `code` for the client's next step, `reason` for the reader (≤ 123 bytes)."""

    code: int
    reason: str


PROTOCOL = Close(1002, "protocol error")
WRONG_KIND = Close(1003, "wrong kind of frame for this subprotocol")
BAD_UTF8 = Close(1007, "text frame is not UTF-8")
TOO_LARGE = Close(1009, "frame too large")
FAULT = Close(1011, "unexpected fault")
RESTART = Close(1012, "restart")
OVERLOAD = Close(1013, "overloaded, come back later")
NORMAL = Close(1000, "bye")
HELLO_LATE = Close(4408, "no session.hello within 10 seconds")
SLOW = Close(4409, "socket too slow")
IDLE = Close(4410, "idle")
RATE = Close(4411, "too many bad frames")
PINGS = Close(4411, "too many pings")
PIECES = Close(4411, "too many pieces of messages")
RESUMED = Close(4412, "its session came back on another socket")
NOT_AUTHENTICATED = Close(4503, "not authenticated")
FORBIDDEN = Close(4504, "wrong origin or forbidden")
REVOKED = Close(4505, "revoked")
TOO_MANY = Close(4506, "too many connections")

MEANINGS: dict[int, str] = {
    1000: "Normal end.",
    1002: "Protocol error. Do not come back unchanged.",
    1003: "The wrong kind of frame: text for JSON, binary for MessagePack. Do not come back unchanged.",
    1007: "A text frame was not UTF-8. Do not come back unchanged.",
    1009: "A frame over 1 MiB or 256 fragments. Do not come back unchanged.",
    1011: "An unexpected fault of the server. Come back.",
    1012: "The server restarts (after `goaway`). Come back.",
    1013: "Overload (after `goaway`). Come back later.",
    4408: "No `session.hello` in time. Come back.",
    4409: "The socket did not read for too long. Come back and resume.",
    4410: "No sign of life. Come back.",
    4411: "More than 20 undecodable frames in a minute, or a flood of pings or of pieces of messages. Come back.",
    4412: "The session came back on another socket. Come back, with a session of your own.",
    4503: "Not authenticated. Come back with a new token.",
    4504: "Wrong origin, or forbidden. Do not come back unchanged.",
    4505: "Revoked. Do not come back unchanged.",
    4506: "Too many connections. Do not come back unchanged.",
}


def comes_back(code: int) -> bool:
    """Say whether a client should connect again after this close code."""
    return code in {1001, 1005, 1006, 1011, 1012, 1013} or 4400 <= code <= 4499
