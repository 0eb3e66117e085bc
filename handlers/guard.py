"""What guards the ways in, for whoever lets somebody in: how often a sign-in may be tried.

attempt = await services.guard.sign_in(mail, call.peer.address)   # raises rate.limited with retry_after
...                                                                # look whether the password is right
await attempt.passed()                                             # where it was; else do nothing
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from hub.wire.errors import HubError
from storage.backoff import BackOff, InProcessBackOff, Tried, tried


@dataclass(frozen=True, slots=True)
class Attempt:
    """A try that was let through; it counts as failed until it has passed."""

    _back_off: BackOff
    _what: tuple[Tried, ...]

    async def passed(self) -> None:
        """Say that it was who they said: their failures are forgotten, the address is not the worse for it."""
        await self._back_off.passed(self._what)


@dataclass(slots=True)
class Guard:
    """The guards of one hub."""

    back_off: BackOff = field(default_factory=lambda: InProcessBackOff(time.monotonic))

    async def sign_in(self, user: str, address: str | None) -> Attempt:
        """Let somebody try to prove who they are; raise `rate.limited` where they have to wait.

        `user` is what they say they are (a mail address, an id), whether or not there is such a person; "" where a
        secret says it alone. `address` is `Peer.address`; None (the operator's socket) counts for nothing.
        """
        what = tried(user.strip().casefold(), address)
        seconds = await self.back_off.begin(what)
        if seconds > 0:
            text = "Too many tries to sign in failed; wait before the next one."
            raise HubError("rate.limited", text, retry_after=round(max(seconds, 0.001), 3))
        return Attempt(self.back_off, what)
