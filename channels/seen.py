"""When members were last here: what of it is stored, and when.

A member is here while a session of theirs is open on this instance. That is stored when the first one opens, once in
`SECONDS` while they stay, and when the last one is gone; who comes and goes all the time is stored twice a round at
most. What is due is written as whole lists, one after the other, beside the commits. A fault of storage is in nobody's
way: who was to be written comes with the next round. Times of the loop come in as arguments (decision 0033).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from hub.schema.times import from_millis
from hub.wire.errors import HubError
from storage.base import SIGHTS, Member, Sight, Storage

SECONDS: Final = 60.0
"""How long what is stored of who is here may be behind."""
MEMBERS: Final = 100_000
"""How many members are remembered at most, once they are gone and while storage takes no sights."""

Place = tuple[str, Member]
"""A member in an account."""

log: Final = logging.getLogger("hub.seen")


def wall_clock() -> str:
    """Return the time in wire form."""
    return from_millis(time.time_ns() // 1_000_000)


@dataclass(slots=True)
class _Stay:
    """A member who is here, or was so shortly."""

    sessions: dict[str, str | None] = field(default_factory=dict)
    """The open sessions; those whose socket broke off with the time of that."""
    went: str | None = None
    """When the member went, until that is stored."""
    parted: float = float("-inf")
    """When a goodbye was last handed in at once, as a time of the loop."""

    def seen(self, now: str) -> str:
        """Return when the member was last here."""
        cuts = list(self.sessions.values())
        return now if None in cuts else max((cut for cut in cuts if cut is not None), default=self.went or now)


class Seen:
    """What this instance knows of last sights, and has stored. `clock` returns the time in wire form."""

    def __init__(self, storage: Storage, clock: Callable[[], str]) -> None:
        self._storage = storage
        self._clock = clock
        self._stays: dict[Place, _Stay] = {}
        self._line: deque[tuple[float, Place]] = deque()
        """When each stay is looked at next; each stands here once."""
        self._soon: dict[Place, None] = {}
        """Who is written with the next list, whenever it is their turn else."""
        self._writing: asyncio.Task[None] | None = None

    def opened(self, account: str, member: Member, session: str, now: float) -> None:
        """A session is open, or its socket is back."""
        place = (account, member)
        stay = self._stays.get(place)
        if stay is None:
            stay = self._stays[place] = _Stay()
            self._line.append((now + SECONDS, place))
            self._soon[place] = None
        stay.sessions[session] = None

    def cut(self, account: str, member: Member, session: str) -> None:
        """The socket of a session broke off; it may come back."""
        stay = self._stays.get((account, member))
        if stay is not None and session in stay.sessions:
            stay.sessions[session] = self._clock()

    def closed(self, account: str, member: Member, session: str, now: float) -> None:
        """A session is over."""
        place = (account, member)
        stay = self._stays.get(place)
        if stay is None or session not in stay.sessions:
            return
        cut = stay.sessions.pop(session)
        if stay.sessions:
            return
        stay.went = cut or self._clock()
        if now - stay.parted >= SECONDS:
            stay.parted = now
            self._soon[place] = None

    def swept(self, account: str, member: Member, at: str) -> None:
        """A member of another instance, which is gone, was here until then."""
        place = (account, member)
        stay = self._stays.get(place)
        if stay is None:
            if len(self._stays) >= MEMBERS:
                return
            stay = self._stays[place] = _Stay()
            self._line.append((asyncio.get_running_loop().time() + SECONDS, place))
        if not stay.sessions and at > (stay.went or ""):
            stay.went = at
            self._soon[place] = None

    def at(self, account: str, member: Member) -> str | None:
        """Return when a member was last here, as far as this instance has it in memory."""
        stay = self._stays.get((account, member))
        if stay is None or not (stay.sessions or stay.went):
            return None
        return stay.seen(self._clock())

    def tick(self, now: float) -> None:
        """Begin to write what is due, unless that goes on already."""
        due = self._soon or (self._line and self._line[0][0] <= now)
        if due and (self._writing is None or self._writing.done()):
            self._writing = asyncio.get_running_loop().create_task(self._write(now))

    async def close(self) -> None:
        """Write what is known of everybody who is here, or went; take no further part."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
        self._soon = {place: None for place, stay in self._stays.items() if stay.sessions or stay.went}
        await self._write(float("-inf"))

    async def _write(self, now: float) -> None:
        while sights := self._due(now):
            try:
                await self._storage.saw(sights)
            except HubError as refusal:
                log.warning("when %d members were last here could not be stored: %s", len(sights), refusal)
                return
            for sight in sights:
                stay = self._stays.get((sight.account, sight.member))
                if stay is not None and stay.went == sight.at:
                    stay.went = None

    def _due(self, now: float) -> list[Sight]:
        """Take the next list of what is to be written."""
        clock, found = self._clock(), dict[Place, Sight]()
        while self._soon and len(found) < SIGHTS:
            place = next(iter(self._soon))
            del self._soon[place]
            if place in self._stays:
                found[place] = Sight(*place, self._stays[place].seen(clock))
        while self._line and self._line[0][0] <= now and len(found) < SIGHTS:
            _, place = self._line.popleft()
            stay = self._stays[place]
            if stay.sessions or (stay.went and len(self._stays) <= MEMBERS):
                found[place] = Sight(*place, stay.seen(clock))
                self._line.append((now + SECONDS, place))
            else:
                del self._stays[place]
        return list(found.values())
