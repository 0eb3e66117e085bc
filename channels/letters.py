"""What instances write to each other about commands: plain values, decoded strictly.

caller's instance            target's instance
Ask       to all        ->   who has a session of this client?
          <-  Have           this one, or none
Tell      to one        ->   told to that session
          <-  Told           what became of it: delivered, answered, refused, or nothing
Look      to all        ->   something waits for this client
Knock     to one        ->   (only whether it arrives)
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Outcome = Literal["told", "answer", "failed", "absent", "busy", "gone"]
"""Of a command: told to the client; answered or refused by it; not told, for it is not there or does not keep up;
never answered, for it went away."""


class _Letter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True, tag=True):
    """One letter."""


class Address(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """Whom a command is for: `kind` is session, user or device, `rec` its id, `allowed` of which kinds it may be."""

    account: str
    kind: str
    rec: str
    allowed: tuple[str, ...]


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A command on its way. `call` is its id, `by` the instance that is to be told what becomes of it.

    `seconds` is for how long an answer is waited for; `sender` is who asks, as others see them.
    """

    call: str
    by: str
    to: Address
    name: str
    data: Any
    sender: dict[str, Any] | None
    seconds: float


class Ask(_Letter, frozen=True):
    """Who has a session of this client?"""

    call: str
    to: Address


class Have(_Letter, frozen=True):
    """The best session here, None where there is none: the lower `rank`, then the later `since`, is the better."""

    call: str
    session: str | None = None
    rank: int = 0
    since: float = 0.0


class Tell(_Letter, frozen=True):
    """Tell a session a command."""

    session: str
    order: Order


class Told(_Letter, frozen=True):
    """What became of a command; `who` is the member that answered, `data` its answer or its refusal."""

    call: str
    outcome: Outcome
    data: Any = None
    who: dict[str, Any] | None = None


class Knock(_Letter, frozen=True):
    """Nothing: the post says whether anybody is there."""


class Look(_Letter, frozen=True):
    """Something waits for a client, for so many seconds."""

    account: str
    kind: str
    rec: str
    seconds: float


Letter = Ask | Have | Tell | Told | Look | Knock

encode = msgspec.msgpack.Encoder().encode
_letters = msgspec.msgpack.Decoder(Letter)
_orders = msgspec.msgpack.Decoder(Order)


def letter_of(data: bytes) -> Letter | None:
    """Return the letter that was written; None where it is none."""
    try:
        found: Letter = _letters.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found


def order_of(data: bytes) -> Order | None:
    """Return the command that waited; None where it is none."""
    try:
        return _orders.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
