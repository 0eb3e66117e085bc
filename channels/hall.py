"""Who is in an account at all: each session there is, on whichever instance, also of those who joined no channel.

The hall of an account is a room of the rosters that no client can name. Nobody hears it, so entering costs no push, and
what carries rosters between instances carries it as well. What a device says of itself with its beats is the state of
its entry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from channels.outlet import Outlet
from channels.rosters import ChannelKey, Member, Rosters, Who
from channels.seen import Seen
from hub.access import Identity
from hub.schema.times import from_millis, to_millis

TELLING_SECONDS: Final = 60.0
"""How often the numbers of a device's telemetry are told to those who see it in a channel; other news at once."""
SILENT_MILLIS: Final = 10_000
"""How long nothing was heard of an instance whose sessions others take out: its lease."""
HALL: Final = ""
"""The name of the room; names of channels hold a colon."""
TELEMETRY: Final = "telemetry"
"""Under which name of a state the telemetry of a device stands."""


def hall(account: str) -> ChannelKey:
    """Return the room in which everybody in an account is."""
    return account, HALL


def who_is(identity: Identity) -> Who | None:
    """Return how somebody is shown to others: a user, or a key as a device; None for guests and the operator."""
    if identity.user is not None:
        return Who("user", identity.user, identity.name)
    if identity.source == "key" and identity.credential is not None:
        return Who("device", identity.credential, identity.name)
    return None


class Hall:
    """Sessions of this instance as they come, stay and go; and everybody's, as the rosters know them."""

    def __init__(self, rosters: Rosters, seen: Seen, clock: Callable[[], str]) -> None:
        self._rosters = rosters
        self._seen = seen
        self._clock = clock
        self._told: dict[str, tuple[float, Any]] = {}
        """When the telemetry of each session was told in its channels, as a time of the loop, and what but numbers."""

    def enter(self, account: str, who: Who, session: str, outlet: Outlet, status: str) -> None:
        """A session is in an account from now on, or its socket is back."""
        self._seen.opened(account, who.key, session, asyncio.get_running_loop().time())
        member = self.member(account, *who.key)
        known = member.sessions.get(session) if member is not None else None
        if known is None or known.instance != self._rosters.instance:
            self._rosters.join(hall(account), outlet, session, who, {}, self._clock(), status, sees=False)

    def cut(self, account: str, who: Who, session: str) -> None:
        """The socket of a session broke off."""
        self._seen.cut(account, who.key, session)

    def leave(self, account: str, who: Who, session: str, outlet: Outlet | None) -> None:
        """A session is no longer in an account."""
        self._seen.closed(account, who.key, session, asyncio.get_running_loop().time())
        self._told.pop(session, None)
        if outlet is not None:
            self._rosters.leave(hall(account), outlet, session)

    def say(self, account: str, session: str, telemetry: dict[str, Any]) -> None:
        """Keep what a device says of itself; tell it in its channels where it is news, or was not told for long."""
        self._rosters.update(hall(account), session, {TELEMETRY: telemetry})
        now, news = asyncio.get_running_loop().time(), (telemetry.get("version"), telemetry.get("mode"))
        told = self._told.get(session)
        if told is not None and told[1] == news and now - told[0] < TELLING_SECONDS:
            return
        self._told[session] = (now, news)
        for channel, _, entry in list(self._rosters.entries(session)):
            if channel[1] != HALL and entry.instance == self._rosters.instance:
                self._rosters.update(channel, session, {**entry.state, TELEMETRY: telemetry})

    def dressed(self, account: str, who: Who | None, session: str, state: dict[str, Any]) -> dict[str, Any]:
        """Return a state with what the device said of itself, where it is one that did."""
        member = self.member(account, *who.key) if who is not None and who.kind == "device" else None
        entry = member.sessions.get(session) if member is not None else None
        return state | entry.state if entry is not None else state

    def swept(self, account: str, who: Who) -> None:
        """The last session of a member is over; where it was another instance's, which died, nobody else keeps when."""
        self._seen.swept(account, who.key, from_millis(to_millis(self._clock()) - SILENT_MILLIS))

    def member(self, account: str, kind: str, rec: str) -> Member | None:
        """Return somebody with all sessions in an account, on whichever instance; None where there is none."""
        return self._rosters.roster(hall(account)).get((kind, rec))

    def members(self, account: str) -> Mapping[tuple[str, str], Member]:
        """Return everybody who is in an account, by kind and id, as of now."""
        return self._rosters.roster(hall(account))

    def last_seen(self, account: str, kind: str, rec: str) -> str | None:
        """Return when somebody was last here, as far as this instance has it in memory."""
        return self._seen.at(account, (kind, rec))
