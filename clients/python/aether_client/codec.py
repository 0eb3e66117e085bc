"""The two codecs of the wire, as a client needs them: messages to frames, frames to lists of messages.

What a hub sends is trusted to be honest but not to be right: whatever is no message becomes `BadFrame`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol

import msgspec

Message = dict[str, Any]
Frame = str | bytes
CodecName = Literal["json", "msgpack"]


class BadFrame(Exception):
    """A frame of the hub that is no message of this wire."""


class Codec(Protocol):
    """One subprotocol."""

    @property
    def subprotocol(self) -> str:
        """Its name in the handshake."""

    def encode(self, message: Mapping[str, Any]) -> Frame:
        """Return the frame of one message."""

    def decode(self, frame: Frame) -> list[Message]:
        """Return the messages in a frame, in order; raise `BadFrame`."""


class _Json:
    subprotocol = "aether.v1.json"

    def encode(self, message: Mapping[str, Any]) -> str:
        return msgspec.json.encode(message).decode()

    def decode(self, frame: Frame) -> list[Message]:
        try:
            return _messages(msgspec.json.decode(frame))
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise BadFrame(f"The hub sent a frame that is not JSON: {error}") from None


class _Msgpack:
    subprotocol = "aether.v1.msgpack"

    def encode(self, message: Mapping[str, Any]) -> bytes:
        return msgspec.msgpack.encode(message)

    def decode(self, frame: Frame) -> list[Message]:
        if isinstance(frame, str):
            raise BadFrame("The hub sent a text frame; MessagePack travels in binary frames.")
        try:
            return _messages(msgspec.msgpack.decode(frame))
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise BadFrame(f"The hub sent a frame that is not MessagePack: {error}") from None


def _messages(value: Any) -> list[Message]:
    members = value if isinstance(value, list) else [value]
    for member in members:
        if not isinstance(member, dict) or not isinstance(member.get("op"), str):
            raise BadFrame("The hub sent a frame that holds no message.")
    return members


CODECS: Final[dict[CodecName, Codec]] = {"json": _Json(), "msgpack": _Msgpack()}
