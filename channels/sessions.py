"""What a live session is: who it stands for, where its socket is, and what it holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from channels.hall import who_is
from channels.outlet import Outlet
from channels.rooms import Who
from channels.watches import WatchGroup
from hub.access import Identity, Rights
from storage.presence import Opened


@dataclass(slots=True)
class SessionState:
    """A live session, which outlives its socket by the grace.

    `resume` is the proof of the secret that brings it back, `move` how often it went from one instance to another;
    `gone` is the timer that ends it after a cut.
    """

    id: str
    identity: Identity
    account: str | None
    resume: str
    outlet: Outlet | None = None
    turn: int = 0
    """How often the session changed its account; what was begun in an earlier turn has no effect."""
    watches: dict[str, WatchGroup] = field(default_factory=dict)
    channels: set[str] = field(default_factory=set)
    status: str = "active"
    """What the client declared last, wherever the session is shown."""
    move: int = 0
    told: int = 0
    """The number of the last command that it was told."""
    gone: asyncio.TimerHandle | None = None
    closing: Callable[[int, str], None] | None = None
    """How the edge is asked to close the socket."""
    rights: Rights | None = None
    """What it may in its account; None where it is in none."""
    changed: Callable[[Identity, str | None, Rights | None], None] | None = None
    """How whoever takes its requests is told of another identity, role and rights in the same account."""

    @property
    def who(self) -> Who | None:
        """How it is shown to others; None for guests and the operator."""
        return who_is(self.identity)

    @property
    def opened(self) -> Opened | None:
        """What other instances are told of it; None where it is in no account, or shown to nobody."""
        who = self.who
        if self.account is None or who is None:
            return None
        source, credential = self.identity.source, self.identity.credential or ""
        return Opened(
            self.id, self.account, who.kind, who.rec, who.name, source, credential, self.status, self.move, self.resume
        )
