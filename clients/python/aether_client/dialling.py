"""Opening one websocket to a hub, and what a failed try means: come back, or stay away.

Knows the `websockets` library and its exceptions; nothing of what is said over the socket.
"""

from __future__ import annotations

import ssl

from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    InvalidURI,
    NegotiationError,
    WebSocketException,
)
from websockets.typing import Subprotocol

from aether_client.address import Address
from aether_client.closing import final_error, verdict
from aether_client.errors import HubError

MAX_FRAME_BYTES = 16 * 1024 * 1024
"""The largest frame that is taken from a hub: a page of a thousand large records fits."""

_AGAIN_STATUS = frozenset({408, 425, 429})


class Lost(Exception):
    """The socket is gone, or never came: come back. Text is a sentence."""

    def __init__(self, sentence: str, retry_after: float | None = None) -> None:
        self.sentence = sentence
        self.retry_after = retry_after
        super().__init__(sentence)


class Refused(Exception):
    """Coming back unchanged has no sense; `error` says why."""

    def __init__(self, error: HubError) -> None:
        self.error = error
        super().__init__(str(error))


async def dial(address: Address, subprotocol: str, open_seconds: float) -> ClientConnection:
    """Open a websocket that speaks `subprotocol`; raise `Lost` or `Refused`."""
    try:
        if address.unix is not None:
            socket = await unix_connect(
                str(address.unix),
                address.socket,
                subprotocols=[Subprotocol(subprotocol)],
                compression=None,
                max_size=MAX_FRAME_BYTES,
                open_timeout=open_seconds,
                close_timeout=2,
                ping_interval=None,  # beats of our own find a dead hub
            )
        else:
            socket = await connect(
                address.socket,
                subprotocols=[Subprotocol(subprotocol)],
                compression=None,
                max_size=MAX_FRAME_BYTES,
                open_timeout=open_seconds,
                close_timeout=2,
                ping_interval=None,
                proxy=None if address.is_local else True,
            )
    except (OSError, WebSocketException, EOFError) as error:
        raise _meaning(error, address) from None
    if socket.subprotocol != subprotocol:
        await socket.close()
        raise Refused(HubError("access.denied", f"What answers at {address} does not speak {subprotocol}."))
    return socket


def _meaning(error: Exception, address: Address) -> Lost | Refused:
    """Say what a failed try means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Refused(
            HubError("access.denied", f"The certificate of {address} is not trusted: {error.verify_message}.")
        )
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        sentence = f"What answers at {address} is no hub of this kind (HTTP {status})."
        if status >= 500 or status in _AGAIN_STATUS:
            return Lost(f"The hub at {address} is not ready (HTTP {status}).", _retry_after(error))
        return Refused(HubError("auth.invalid" if status == 401 else "access.denied", sentence))
    if isinstance(error, NegotiationError | InvalidURI):
        return Refused(HubError("access.denied", f"What answers at {address} does not speak this protocol: {error}."))
    if isinstance(error, TimeoutError):
        return Lost(f"The hub at {address} does not answer.")
    if isinstance(error, ConnectionClosed | InvalidHandshake | EOFError):
        return Lost(f"The hub at {address} broke the connection off.")
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return Lost(f"No hub listens at {address}.")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Lost(f"The hub at {address} cannot be reached: {reason}.")


def _retry_after(error: InvalidStatus) -> float | None:
    text = error.response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None


def closed(error: ConnectionClosed) -> Lost | Refused:
    """Say what the end of an open socket means."""
    code = error.rcvd.code if error.rcvd is not None else 1006
    if error.rcvd is None and error.sent is not None:
        code = error.sent.code  # we ended it, for example over a frame that is too large
    if verdict(code) == "return":
        return Lost("The hub closed the connection." if error.rcvd is not None else "The connection was cut.")
    return Refused(final_error(code))
