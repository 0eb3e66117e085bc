"""What somebody may in an account, now: from an identity and the records of roles there to rights.

Knows storage; knows no socket. What is asked of one role by many at a time is read once (`Roles`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from channels.reviews import Judge, Verdict
from handlers import people
from handlers.base import Services
from hub.access import Identity, Rights
from hub.schema.access import ROLES
from hub.schema.core.identity import Role
from hub.schema.query import Query
from hub.schema.record import Image, type_of
from hub.schema.where import equals
from hub.wire.errors import HubError

ROLE = type_of(Role)
LOOKS: Final = 5
"""How often rights are read again while they change."""
ROLES_NAMED: Final = 100
"""How many roles a refusal names."""


@dataclass(frozen=True, slots=True)
class Standing:
    """An identity in the account that it entered, with its role and its rights there; in none, all are None."""

    identity: Identity
    account: Image | None = None
    role: str | None = None
    rights: Rights | None = None


class Roles:
    """Looks up the roles of accounts, each once: made for one request, or for one look at many sessions."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._asked: dict[tuple[str, str], asyncio.Task[Image | None]] = {}

    async def rights(self, account: str, role: str) -> Rights | None:
        """Return the rights of a role, None where the account has none of this name."""
        table = self._services.rights
        if role in ROLES:
            return table.of(role)
        key = (account, role)
        if key not in self._asked:
            self._asked[key] = asyncio.get_running_loop().create_task(self._find(*key))
        image = await asyncio.shield(self._asked[key])
        return None if image is None else table.own(image)

    async def _find(self, account: str, role: str) -> Image | None:
        found = await self._services.storage.find(account, Query(ROLE, equals(ROLE, "name", role), limit=1))
        return found.records[0] if found.records else None

    async def of(self, identity: Identity, account: str) -> Rights:
        """Return what an identity may in an account; nothing where its role is not there."""
        table, role = self._services.rights, identity.role_in(account)
        rights = await self.rights(account, role) if role is not None else None
        if rights is None:
            return table.none(role or "none")
        if identity.bound is not None:
            bound = await self.rights(account, identity.bound)
            rights = table.both(rights, bound if bound is not None else table.none(identity.bound))
        return table.narrowed(rights, identity.scopes)

    async def given(self, account: str, role: str, path: str) -> Rights:
        """Return the rights of a role that is to be given; raise `data.invalid` where there is none of this name."""
        rights = await self.rights(account, role)
        if rights is None:
            own = (await self._services.storage.find(account, Query(ROLE, limit=ROLES_NAMED))).records
            names = [*ROLES, *sorted(image["name"] for image in own)]
            step = f"Give one of {', '.join(names)}, or create a role of this name first."
            text = f"There is no role {role!r} here. {step}"
            raise HubError("data.invalid", text, path=path, details={"roles": names, "next": step})
        return rights


class Steady:
    """Sees whether what gives rights changed while it was read: then it is read again, a few times."""

    def __init__(self, services: Services, *, heard: bool = True) -> None:
        """`heard`: whether changes are heard of already."""
        self._reviews = services.live.reviews
        self._seen = self._reviews.heard_of if heard else -1
        self._looks = 0

    def again(self) -> bool:
        """Say whether to read again; raise `server.unavailable` where there is no end to it."""
        if self._seen == self._reviews.heard_of:
            return False
        self._seen, self._looks = self._reviews.heard_of, self._looks + 1
        if self._looks > LOOKS:
            text = "Rights change faster than they can be read; come back."
            raise HubError("server.unavailable", text, retry_after=1)
        return True


async def rights_in(services: Services, identity: Identity, account: str) -> Rights:
    """Return what an identity may in an account."""
    return await Roles(services).of(identity, account)


def judges(services: Services) -> Callable[[], Judge]:
    """Return what makes the judge of one look at many sessions; see `channels.reviews`."""

    def make() -> Judge:
        roles = Roles(services)

        async def judge(identity: Identity, account: str | None, anew: bool) -> Verdict:
            if anew:
                identity = await people.again(services, identity)
            if account is None:
                return identity, None, None
            role = identity.role_in(account)
            if role is None:
                raise HubError("auth.invalid", "Its membership of this account has ended.")
            return identity, role, await roles.of(identity, account)

        return judge

    return make
