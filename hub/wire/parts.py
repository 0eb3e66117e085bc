"""What requests are made of: the bounds of texts and numbers, and the small objects inside them."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

RequestId = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Text = Annotated[str, Meta(max_length=200)]
TypeName = Annotated[str, Meta(max_length=48)]
PublicId = Annotated[str, Meta(min_length=1, max_length=64)]
Limit = Annotated[int, Meta(ge=1, le=1000)]
Key = Annotated[str, Meta(min_length=1, max_length=64)]
Where = dict[str, Any]
Fields = Annotated[list[TypeName], Meta(max_length=100)]
Order = Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=8)]


class ClientInfo(msgspec.Struct, frozen=True):
    """What a client says of itself."""

    name: Text = ""
    version: Text = ""


ROSTER_OF: Final = 500
"""How many members of each kind a join may ask to hear of."""


class RosterOf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The members that somebody wants to be told of, and no others."""

    users: Annotated[list[PublicId], Meta(max_length=ROSTER_OF)] = []
    devices: Annotated[list[PublicId], Meta(max_length=ROSTER_OF)] = []


Percent = Annotated[float, Meta(ge=0, le=100)]


class Telemetry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a device says of itself with a beat: how much is in use, in percent, what it runs, and as what."""

    cpu: Percent | None = None
    memory: Percent | None = None
    disk: Percent | None = None
    version: Annotated[str, Meta(max_length=64)] | None = None
    mode: Annotated[str, Meta(max_length=32)] | None = None


class CountCap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Count no further than to here."""

    cap: Annotated[int, Meta(ge=1, le=100_000)]


class Since(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a watch was when the client lost it."""

    mark: Annotated[str, Meta(max_length=400)]
    seq: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    have: Annotated[dict[str, int], Meta(max_length=500)] | None = None


FeedName = Annotated[str, Meta(min_length=1, max_length=64)]


class FeedSince(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Up to where a service has kept what a feed told it, by its own books, and which history the number is of."""

    epoch: Text
    seq: Annotated[int, Meta(ge=0, le=2**53 - 1)]


class PresenceEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a member shows of itself when it joins."""

    state: dict[str, Any] = {}


ChannelName = Annotated[str, Meta(max_length=97)]


class Recover(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a channel was when the client lost it."""

    epoch: Text
    offset: Annotated[int, Meta(ge=0)]


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom a message is for, of those in the channel: one session, or every session of one user or device."""

    session: PublicId | None = None
    user: PublicId | None = None
    device: PublicId | None = None


EventName = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_.:-]{0,63}\Z")]
Language = Annotated[str, Meta(max_length=35, pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$")]
