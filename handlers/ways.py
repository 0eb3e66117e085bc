"""What the ways into a hub need beside storage: keys that sign tokens, threads for passwords, mail, a few figures."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from handlers.hashing import Hashing
from handlers.issuers import Issuers
from handlers.mail import Mailer
from handlers.uses import Uses
from hub.auth import SESSION_SECONDS
from hub.tokens import TokenKeys, new_key


def _fresh_ring() -> TokenKeys:
    return TokenKeys((new_key(secrets.token_bytes(36)),))


@dataclass(slots=True)
class Ways:
    """The ways into one hub.

    An access token is valid for `access_seconds`, a session for `session_seconds` from the sign-in. People may register
    themselves for the account `register`, with the role `register_role`, where one is set. `rotate` makes a new key of
    the tokens the first and returns the ring with it; None where the keys are in the settings.
    """

    ring: TokenKeys = field(default_factory=_fresh_ring)
    hashing: Hashing = field(default_factory=Hashing)
    mail: Mailer = field(default_factory=Mailer)
    access_seconds: int = 900
    session_seconds: int = SESSION_SECONDS
    register: str = ""
    register_role: str = "viewer"
    rotate: Callable[[], TokenKeys] | None = None
    uses: Uses = field(default_factory=Uses)
    issuers: Issuers = field(default_factory=Issuers)

    async def close(self) -> None:
        """Send no more mail, write down what was used, end the threads."""
        await self.mail.close()
        await self.uses.close()
        await self.issuers.close()
        self.hashing.close()
