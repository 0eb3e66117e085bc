"""How our messages become bytes on a websocket: whole ones, never fragmented (RFC 6455).

Those that are compressed are made in `hub.edge.deflate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from websockets.frames import Close, Frame, Opcode

try:
    from websockets.speedups import apply_mask
except ImportError:  # an installation without the C extension: slower, the same bytes
    from websockets.utils import apply_mask

TEXT: Final = 0x81
"""The first byte of a whole text message."""
BINARY: Final = 0x82
_SMALL: Final = 4096
_HEADS: Final = {
    first: tuple(bytes((first, size) if size < 126 else (first, 126, size >> 8, size & 255)) for size in range(_SMALL))
    for first in (TEXT, BINARY)
}
"""What stands before our small messages, by the first byte and the size."""
_TEXT_HEADS: Final = _HEADS[TEXT]
_BINARY_HEADS: Final = _HEADS[BINARY]


def _framed(first: int, frames: Sequence[bytes]) -> bytes:
    """Return the bytes of whole messages."""
    parts: list[bytes] = []
    for frame in frames:
        size = len(frame)
        if size < 65536:
            parts.append(_HEADS[first][size] if size < _SMALL else bytes((first, 126, size >> 8, size & 255)))
        else:
            parts.append(bytes((first, 127)) + size.to_bytes(8, "big"))
        parts.append(frame)
    return b"".join(parts)


def text_framed(frames: Sequence[bytes]) -> bytes:
    """Return the bytes of text messages."""
    if len(frames) == 1 and len(frames[0]) < _SMALL:
        return _TEXT_HEADS[len(frames[0])] + frames[0]
    return _framed(TEXT, frames)


def binary_framed(frames: Sequence[bytes]) -> bytes:
    """Return the bytes of binary messages."""
    if len(frames) == 1 and len(frames[0]) < _SMALL:
        return _BINARY_HEADS[len(frames[0])] + frames[0]
    return _framed(BINARY, frames)


def close_frame(code: int, reason: str) -> bytes:
    """Return the bytes of a close."""
    return Frame(Opcode.CLOSE, Close(code, reason).serialize()).serialize(mask=False)


__all__ = ["BINARY", "TEXT", "apply_mask", "binary_framed", "close_frame", "text_framed"]
