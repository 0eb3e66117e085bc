"""Secret fields, for trusted code: read one, look at the start whether the keys are right, seal all with a new key."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from handlers.base import Services
from handlers.operator import services_of
from hub.access import Identity
from hub.context import Context
from hub.schema.actions import action
from hub.schema.record import Image, RecordType
from hub.vault import Vault
from hub.wire.errors import HubError
from storage.base import SealedRow, StorageRefused
from storage.known import place_of, plan_of

STEP: Final = 200
"""How many records are sealed anew at a time."""
PAUSE_SECONDS: Final = 0.005
"""How long writers have the database for themselves between two steps."""


async def read_secret(services: Services, identity: Identity, account: str, record: Image, field: str) -> Any:
    """Return a secret of a record of an account, None where it is empty or the record gone; it is noted who read it.

    Raises `secret.unreadable` where no key opens it.
    """
    kind = services.registry.types[record["type"]]
    if field not in plan_of(kind).sealed:
        raise LookupError(f"{kind.name}.{field} is no secret field")
    place = place_of(kind, record["id"], field)
    services.audit.note("secret.read", account, actor=identity.actor or "", name=identity.name, subject=place)
    text = await services.storage.secret(account, kind, record["id"], field)
    if text is None:
        return None
    if services.keyring is None:
        raise HubError("secret.unreadable")
    return services.keyring.vault.open(place, text)


def _secret_types(services: Services) -> list[RecordType]:
    return [kind for kind in services.registry.types.values() if plan_of(kind).sealed]


async def check_keys(services: Services) -> None:
    """Look whether the keys open what is kept, then keep a key that was made; raise `StorageRefused`.

    What was sealed first is sealed anew last, so it tells of every key that is still needed.
    """
    keyring = services.keyring
    if keyring is None:
        return
    for kind in _secret_types(services):
        for row in await services.storage.sealed_rows(kind, "", 1, oldest=True):
            for field, text in row.texts.items():
                try:
                    keyring.vault.open(place_of(kind, row.rec, field), text)
                except HubError:
                    raise StorageRefused(
                        f"What is secret in this database ({kind.name}.{field}) was sealed with a key that this hub "
                        "does not have. Put back the file secret.keys of its data folder, or name the key in the "
                        "setting secret_keys; a change of keys that was broken off needs the old key as well."
                    ) from None
    keyring.keep()


class Rotate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of all types and accounts."""


class Rotated(msgspec.Struct, frozen=True):
    """`sealed`: how many secrets were sealed anew; `current`: how many were already; `unreadable`: those of no key.

    `made`: whether the hub made a new key; `forgotten`: whether it forgot the old ones.
    """

    sealed: int
    current: int
    unreadable: int
    made: bool
    forgotten: bool


class _Count:
    """What a change of keys has done so far."""

    def __init__(self) -> None:
        self.sealed = self.current = self.unreadable = 0

    def anew(self, vault: Vault, kind: RecordType, row: SealedRow) -> dict[str, str]:
        """Return what is to be put in the place of the texts of a record."""
        out: dict[str, str] = {}
        for field, text in row.texts.items():
            try:
                fresh = vault.anew(place_of(kind, row.rec, field), text)
            except HubError:
                self.unreadable += 1
                continue
            if fresh is None:
                self.current += 1
            else:
                out[field] = fresh
        return out


@action("secrets.rotate", needs="account.create", operator=True)
async def rotate(ctx: Context, args: Rotate) -> Rotated:
    """Seal every secret with the first key, in bounded steps; what was done stays done where this is broken off."""
    services, count = services_of(ctx), _Count()
    keyring = services.keyring
    if keyring is None:
        return Rotated(0, 0, 0, made=False, forgotten=False)
    made = keyring.begin()
    services.registry.vault = keyring.vault
    kinds = _secret_types(services)
    for number, kind in enumerate(kinds):
        below = ""
        while rows := await services.storage.sealed_rows(kind, below, STEP):
            changes = [(row, anew) for row in rows if (anew := count.anew(keyring.vault, kind, row))]
            count.sealed += await services.storage.reseal(kind, changes)
            below = rows[-1].place
            ctx.progress(number / len(kinds), f"{count.sealed} secrets are sealed anew")
            await asyncio.sleep(PAUSE_SECONDS)
    # A key that is missing may be found again: until then no other is thrown away either.
    forgotten = not count.unreadable and keyring.finish()
    services.registry.vault = keyring.vault
    return Rotated(count.sealed, count.current, count.unreadable, made, forgotten)


__all__ = ["check_keys", "read_secret", "rotate"]
