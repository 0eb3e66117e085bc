"""What guards the ways in, for whoever lets somebody in: how often a sign-in may be tried.

attempt = await services.guard.sign_in(mail, call.peer.address)   # raises rate.limited with retry_after
...                                                                # look whether the password is right
await attempt.passed()                                             # where it was; else do nothing
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from handlers.audit import Audit
from hub.wire.errors import HubError
from storage.backoff import BackOff, InProcessBackOff, Tried, tried


@dataclass(frozen=True, slots=True)
class Attempt:
    """A try that was let through; it counts as failed until it has passed."""

    _back_off: BackOff
    _what: tuple[Tried, ...]
    _noted: Callable[[], None]

    async def passed(self) -> None:
        """Say that it was who they said: their failures are forgotten, the address is not the worse for it."""
        self._noted()
        await self._back_off.passed(self._what)


@dataclass(slots=True)
class Guard:
    """The guards of one hub."""

    back_off: BackOff = field(default_factory=lambda: InProcessBackOff(time.monotonic))
    audit: Audit | None = None
    """Where it is noted who failed; None: nowhere."""

    async def sign_in(self, user: str, address: str | None) -> Attempt:
        """Let somebody try to prove who they are; raise `rate.limited` where they have to wait.

        `user` is what they say they are (a mail address, an id), whether or not there is such a person; "" where a
        secret says it alone. `address` is `Peer.address`; None (the operator's socket) counts for nothing.
        """
        user = user.strip().casefold()
        what = tried(user, address)
        seconds = await self.back_off.begin(what)
        if seconds > 0:
            text = "Too many tries to sign in failed; wait before the next one."
            raise HubError("rate.limited", text, retry_after=round(max(seconds, 0.001), 3))
        note = partial(self.audit.tried, user, address) if self.audit is not None else _unnoted
        note(passed=False)
        return Attempt(self.back_off, what, partial(note, passed=True))


def _unnoted(*, passed: bool) -> None:
    """Note nothing."""
