"""Rights: from roles to permissions, and from permissions to what may be asked, seen and watched.

Pure: an `Identity` says who asks, a `Rights` what they may. Every check is a permission such as
`event.update`; nothing is allowed that no rule names.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from hub.schema.access import OTHERS, ROLES, rank
from hub.schema.fields import FOR_ID, FOR_TYPE
from hub.schema.nodes import Node
from hub.schema.record import Image, RecordType
from hub.schema.registry import Registry
from hub.schema.rows import FREE, RowRules
from hub.schema.views import Sight
from hub.wire.errors import HubError

SYSTEM = "system"
"""The account in which global types live."""
BOUND: Final = 1000
"""For how many callers with the same rights their row rules are kept."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is at the other end: a guest, a user, a key, or the operator at DIR/hub.sock.

    `user` is a user's public id or None; `name` is for people to read; `roles` maps the ids of the
    accounts that this identity may enter to a role of the ladder (`*` for the operator: every account).
    `expires_at` is a wire time or None; `source` tells guest, user, key, operator apart.
    """

    source: str
    user: str | None = None
    name: str = ""
    roles: tuple[tuple[str, str], ...] = ()
    credential: str | None = None
    expires_at: str | None = None

    @property
    def actor(self) -> str | None:
        """The public id under which changes are kept: the user's, or the key's; None for the operator."""
        return self.credential if self.source == "key" else self.user

    def role_in(self, account: str) -> str | None:
        """Return the role in an account, or None where this identity may not enter it."""
        for known, role in self.roles:
            if known in {account, "*"}:
                return role
        return None


GUEST = Identity("guest")
OPERATOR = Identity("operator", name="operator", roles=(("*", "owner"),))


class Rights:
    """What one role may do, from the registry. Equal roles share one object; see `rights_of`."""

    def __init__(self, registry: Registry, role: str) -> None:
        self.registry = registry
        self.role = role
        mine = rank(role)
        self.permissions = frozenset(
            f"{kind.name}.{verb}"
            for kind in registry.types.values()
            for verb, least in kind.access.rules().items()
            if mine >= rank(least) or (verb == "read" and kind.public_read)
        ) | {permission for permission, least in OTHERS.items() if mine >= rank(least)}
        self._hidden = {
            kind.name: frozenset(
                wire
                for wire, spec in kind.fields.items()
                if spec.option.secret or (spec.option.hidden_from is not None and mine <= rank(spec.option.hidden_from))
            )
            for kind in registry.types.values()
        }

    def allows(self, permission: str) -> bool:
        """Say whether a permission is held."""
        return permission in self.permissions

    def require(self, permission: str) -> None:
        """Raise `access.denied` with the missing permission unless it is held."""
        if permission not in self.permissions:
            raise HubError(
                "access.denied",
                f"This needs the permission {permission}; role {self.role} does not have it.",
                details={"needs": permission},
            )

    @cached_property
    def ruled(self) -> tuple[RecordType, ...]:
        """The types of which a row rule binds these rights: those that they do not manage."""
        types = self.registry.types.values()
        return tuple(kind for kind in types if kind.access.rows and not self.allows(f"{kind.name}.manage"))

    @cached_property
    def weighed(self) -> frozenset[str]:
        """The names of the types whose writes look at row rules: their own, or of a type that they point to."""
        found = {kind.name for kind in self.ruled}
        if not found:
            return frozenset()
        types = self.registry.types.values()
        pointing = {kind.name for kind in types if any(t.name in found for t in _pointed_to(kind, self.registry))}
        return frozenset(found | pointing)

    @cached_property
    def _bound(self) -> OrderedDict[tuple[str | None, str], RowRules]:
        return OrderedDict()

    def rules_for(self, identity: Identity, account: str) -> RowRules:
        """Return the row rules that bind somebody with these rights in an account; made once for each of them."""
        if not self.ruled:
            return FREE
        key = (identity.actor, account)
        found = self._bound.get(key)
        if found is None:
            me = {"id": identity.actor, "role": identity.role_in(account), "account": account}
            found = self._bound[key] = RowRules(self.ruled, me)
            if len(self._bound) > BOUND:
                self._bound.popitem(last=False)
        return found

    def hidden(self, kind: RecordType) -> frozenset[str]:
        """Return the wire names of fields that this role does not see."""
        return self._hidden[kind.name]

    def view(self, kind: RecordType, image: Image, fields: list[str] | None = None) -> Image:
        """Return what this role sees of an image; with `fields`, only id, type, version and those."""
        hidden = self._hidden[kind.name]
        if fields is not None:
            names = ["id", "type", "version", *(f for f in fields if f not in {"id", "type", "version"})]
            return {name: image[name] for name in names}
        if not hidden:
            return image
        return {name: value for name, value in image.items() if name not in hidden}

    def check_fields(self, kind: RecordType, fields: list[str] | None, view: Sight | None = None) -> None:
        """Raise `data.invalid` where `fields` names one that is not there for this role; `view` has further ones."""
        for n, name in enumerate(fields or []):
            if view is not None and name in view.fields:
                continue
            known = name in kind.kinds or name in {"type", "account_id"}
            if not known or name in self._hidden[kind.name]:
                raise HubError("data.invalid", f"{kind.name} has no field {name!r}.", path=f"fields.{n}")

    @cached_property
    def fingerprint(self) -> str:
        """Return a short text that is equal for equal rights under the same schema."""
        plain = "\n".join([self.registry.hash, *sorted(self.permissions)])
        hidden = "\n".join(f"{name}:{','.join(sorted(f))}" for name, f in sorted(self._hidden.items()) if f)
        return hashlib.sha256(f"{plain}\n{hidden}".encode()).hexdigest()[:16]


def _pointed_to(kind: RecordType, registry: Registry) -> list[RecordType]:
    """Return the types that a record of `kind` may point to."""
    found = [kind.parent] if kind.parent is not None else []
    found += [*kind.for_types, *(target for wire in kind.references if (target := kind.target(wire)) is not None)]
    if {FOR_TYPE, FOR_ID} <= kind.fields.keys() and not kind.for_types:
        found += registry.types.values()
    return found


class Reach:
    """How far the filters of one role reach in an account: to the types there that it may read."""

    def __init__(self, rights: Rights, account: str, rules: RowRules = FREE) -> None:
        self._rights = rights
        self._account = account
        self._rules = rules

    def rule(self, kind: RecordType) -> Node:
        """Return the filter of those records of `kind` that may be read."""
        return self._rules.node(kind, "read")

    def hidden(self, kind: RecordType) -> frozenset[str]:
        """Return the wire names of fields that this role does not see."""
        return self._rights.hidden(kind)

    def children(self, kind: RecordType) -> list[RecordType]:
        """Return the types whose records belong to records of `kind`."""
        return self._rights.registry.children(kind)

    def enter(self, kind: RecordType, path: str) -> None:
        """Raise `access.denied` unless records of `kind` are here and may be read."""
        try:
            self._rights.require(f"{kind.name}.read")
        except HubError as denied:
            raise HubError(denied.code, denied.message, path=path, details=denied.details) from None
        if kind.system != (self._account == SYSTEM):
            raise HubError("access.denied", f"Records of type {kind.name} live in another account.", path=path)


class RightsTable:
    """The rights of each role of the ladder over one registry."""

    def __init__(self, registry: Registry) -> None:
        self._by_role = {role: Rights(registry, role) for role in ROLES}

    def of(self, role: str) -> Rights:
        """Return the rights of a role."""
        return self._by_role[role]
