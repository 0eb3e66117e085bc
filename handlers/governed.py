"""Writes that decide over rights: roles, memberships, keys, service accounts, devices, invitations.

Beside the permission for the write itself they take that whoever writes holds what the record gives, before and
after: nobody gives, takes or changes what they do not hold themselves. Such records are written one at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from msgspec import structs

from handlers.base import Call
from handlers.standing import Roles
from hub.access import Rights, refuse_beyond
from hub.schema.access import NOBODY, ROLES
from hub.schema.core.credentials import ApiKey, Invitation
from hub.schema.core.identity import Device, Membership, Role, ServiceAccount
from hub.schema.query import Query
from hub.schema.record import Image, RecordType, type_of
from hub.schema.where import equals
from hub.schema.writes import Create, Delete, Restore, Update, Write
from hub.wire.errors import HubError

ROLE, MEMBERSHIP, KEY = type_of(Role), type_of(Membership), type_of(ApiKey)
SERVICE, DEVICE, INVITATION = type_of(ServiceAccount), type_of(Device), type_of(Invitation)
GOVERNED: Final = frozenset((ROLE, MEMBERSHIP, KEY, SERVICE, DEVICE, INVITATION))
"""The types whose records give rights."""
_NAMING: Final = (MEMBERSHIP, KEY, SERVICE, DEVICE, INVITATION)
"""Those of them whose records name a role."""


def refuse_together(kind: RecordType) -> None:
    """Raise `data.invalid` for a type whose records are written one at a time, by plain creates, updates, deletes."""
    if kind in GOVERNED:
        step = "Use record.create, record.update, record.delete or record.restore for each."
        text = f"Records of type {kind.name} give rights and are written one at a time. {step}"
        raise HubError("data.invalid", text, path="type", details={"next": step})


@dataclass(slots=True)
class Guard:
    """Looks at one write that decides over rights."""

    call: Call
    roles: Roles

    async def checked(self, write: Write) -> tuple[Write, ...]:
        """Return what is to be committed: the write, at the version that was looked at, and what has to stay true.

        Raises `access.denied`, `data.invalid`, `relation.restricted`. A record that is not there is left to storage.
        """
        if isinstance(write, Create):
            await self._give(write.type, write.data)
            return (write,)
        if not isinstance(write, Update | Delete | Restore):
            refuse_together(write.type)
        if not isinstance(write, Update | Delete | Restore) or not isinstance(write.rec, str):
            return (write,)
        storage, account = self.call.services.storage, self.call.account
        found = await storage.get(account, write.type, [write.rec], deleted=True)
        image = found.get(write.rec)
        if image is None:
            return (write,)
        if isinstance(write, Restore):
            await self._give(write.type, image)
            return (write,)
        if image["deleted_at"] is not None:
            return (write,)
        before = await self._rights(write.type, image)
        refuse_beyond(self.call.rights, before, "rec")
        if isinstance(write, Update):
            await self._give(write.type, image | write.change, write.change)
        elif write.type is ROLE:
            await self._refuse_used(image)
        held: tuple[Write, ...] = ()
        if write.type is MEMBERSHIP and image["role"] == ROLES[-1]:
            held = await self._another_owner(write, image)
        version = image["version"] if write.if_version is None else write.if_version
        return (structs.replace(write, if_version=version), *held)

    async def _rights(self, kind: RecordType, image: Image) -> Rights:
        """Return the rights that a record gives; what names no role gives none."""
        table = self.call.services.rights
        if kind is ROLE:
            return table.made_of(image["name"], image["permissions"])
        rights = await self.roles.rights(self.call.account, image["role"]) or table.none(image["role"])
        return await self._of_key(rights, image) if kind is KEY else rights

    async def _of_key(self, rights: Rights, image: dict[str, Any]) -> Rights:
        table, account = self.call.services.rights, self.call.account
        for kind, rec in ((SERVICE, image.get("service_id")), (DEVICE, image.get("device_id"))):
            if rec is not None:
                acts_for = (await self.call.services.storage.get(account, kind, [rec])).get(rec)
                if acts_for is not None:  # else storage refuses it
                    bound = await self.roles.rights(account, acts_for["role"])
                    rights = table.both(rights, bound or table.none(acts_for["role"]))
        return table.narrowed(rights, tuple(image["scopes"]))

    async def _give(self, kind: RecordType, image: dict[str, Any], given: dict[str, Any] | None = None) -> None:
        """Raise where a record as it is to be gives nothing that there is, or more than the caller holds.

        `given` is what is written of it; None: all.
        """
        given = image if given is None else given
        if kind is ROLE:
            check_role(self.call, given)
        elif "role" in given:
            await self.roles.given(self.call.account, image["role"], "data.role")
        if kind is KEY and "scopes" in given:
            check_scopes(self.call, image["scopes"], "data.scopes")
        path = "data.permissions" if kind is ROLE else "data.role"
        refuse_beyond(self.call.rights, await self._rights(kind, image), path)

    async def key(self, data: dict[str, Any], path: str) -> None:
        """Raise where a key with this data is without scope, or may more than the caller; `path` leads to it."""
        rights = await self.roles.given(self.call.account, data["role"], f"{path}.role")
        check_scopes(self.call, data["scopes"], f"{path}.scopes")
        rights = await self._of_key(rights, data)
        if not rights.permissions:
            step = "Widen the scopes, or choose another role."
            text = f"This key may nothing: none of its scopes is in what its role may. {step}"
            raise HubError("data.invalid", text, path=f"{path}.scopes", details={"next": step})
        refuse_beyond(self.call.rights, rights, f"{path}.role")

    async def _refuse_used(self, role: Image) -> None:
        """Raise `relation.restricted` where somebody has a role that is to be deleted."""
        for kind in _NAMING:
            query = Query(kind, equals(kind, "role", role["name"]), limit=1, count=True)
            count = (await self.call.services.storage.find(self.call.account, query)).total or 0
            if count:
                step = "Give them another role first."
                text = f"{count} records of type {kind.name} have the role {role['name']}. {step}"
                details = {"type": kind.name, "count": count, "next": step}
                raise HubError("relation.restricted", text, path="rec", details=details)

    async def _another_owner(self, write: Update | Delete, image: Image) -> tuple[Write, ...]:
        """Return the write that holds another owner to their role while this one loses it; raise without one."""
        owner = ROLES[-1]
        if isinstance(write, Update) and write.change.get("role", owner) == owner:
            return ()
        query = Query(MEMBERSHIP, equals(MEMBERSHIP, "role", owner), limit=2)
        found = (await self.call.services.storage.find(self.call.account, query)).records
        others = [other for other in found if other["id"] != image["id"]]
        if not others:
            step = "Make somebody else an owner first."
            text = f"{image['name']} is the only owner of this account. {step}"
            path = "data.role" if isinstance(write, Update) else "rec"
            raise HubError("relation.restricted", text, path=path, details={"next": step})
        return (Update(MEMBERSHIP, others[0]["id"], {"role": owner}, others[0]["version"]),)


def guard(call: Call) -> Guard:
    """Return what looks at the writes of a call."""
    return Guard(call, Roles(call.services))


def check_role(call: Call, given: dict[str, Any]) -> None:
    """Raise `data.invalid` for a role named as one of the ladder, without permissions, or with one that is none."""
    if given.get("name") in {*ROLES, NOBODY}:
        step = f"Choose another than {', '.join(ROLES)} and {NOBODY}."
        text = f"{given['name']} is a built-in role, which nobody changes. {step}"
        raise HubError("data.invalid", text, path="data.name", details={"next": step})
    if "permissions" in given:
        if not given["permissions"]:
            step = "Name at least one, such as event.read."
            text = f"A role without permissions lets nobody do anything. {step}"
            raise HubError("data.invalid", text, path="data.permissions", details={"next": step})
        call.services.rights.check_patterns(given["permissions"], "data.permissions")


def check_scopes(call: Call, scopes: list[str], path: str) -> None:
    """Raise `data.invalid` for a key without scope, or with one that grants nothing."""
    if not scopes:
        step = 'Leave `scopes` out, or give ["*"], for all that its role may.'
        raise HubError("data.invalid", f"This is a key without scope. {step}", path=path, details={"next": step})
    call.services.rights.check_patterns(scopes, path)
