"""Rights: from roles to permissions, and from permissions to what may be asked, seen and watched.

Pure: an `Identity` says who asks, a `Rights` what they may. Every check is a permission such as
`event.update`; nothing is allowed that no rule names. A role is one of the built-in ladder, or a `role` of the account:
a set of permissions that somebody wrote down, as patterns.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any, Final

from hub.schema.access import MANAGED, ME, OTHERS, ROLES, VERBS, rank
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
EVERYTHING: Final = ("*",)
"""The scopes of a key that narrow nothing."""
KEPT: Final = 1000
"""How many rights beside those of the ladder are kept: of own roles, and of keys that may less than their role."""
NAMED: Final = 20
"""How many missing permissions a refusal names."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is at the other end: a guest, a user, a key, or the operator at DIR/hub.sock.

    `user` is a user's public id or None; `name` is for people to read; `roles` maps the ids of the
    accounts that this identity may enter to the name of a role (`*` for the operator: every account).
    `expires_at` is a wire time or None; `source` tells guest, user, key, operator apart. A key may at most what its
    `scopes` name; where it acts for a service account or a device, `acts_for` is the public id of that one, and
    `bound` its role: the key may at most what that role may.
    """

    source: str
    user: str | None = None
    name: str = ""
    roles: tuple[tuple[str, str], ...] = ()
    credential: str | None = None
    expires_at: str | None = None
    scopes: tuple[str, ...] = EVERYTHING
    acts_for: str | None = None
    bound: str | None = None

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
    """What somebody may: the permissions, and the fields of each type that are hidden. See `RightsTable`.

    `role` is what refusals call it. Equal rights of the ladder share one object.
    """

    def __init__(
        self,
        registry: Registry,
        role: str,
        permissions: frozenset[str],
        hidden: Mapping[str, frozenset[str]],
        least: Mapping[str, str],
    ) -> None:
        """`least` has every permission there is with the least role of the ladder that holds it, or `nobody`."""
        self.registry = registry
        self._least = least
        self.role = role
        self.permissions = permissions
        self._hidden = hidden

    def allows(self, permission: str) -> bool:
        """Say whether a permission is held."""
        return permission in self.permissions

    def require(self, permission: str, path: str | None = None) -> None:
        """Raise `access.denied` with the missing permission, and what to do about it, unless it is held."""
        if permission not in self.permissions:
            raise self.refusal(permission, path)

    def refusal(self, permission: str, path: str | None = None) -> HubError:
        """Return what somebody is told who lacks a permission: which, in which role, and what to do next."""
        known = self._least.get(permission)
        least = known if known in ROLES else None
        if least is None:
            step = "Only the hub itself does this; there is no role to ask for."
        else:
            step = f"Ask somebody who manages roles here for one that has it, such as {least}."
        text = f"This needs the permission {permission}; role {self.role} does not have it. {step}"
        details = {"needs": permission, "role": self.role, "least": least, "next": step}
        return HubError("access.denied", text, path=path, details=details)

    def beyond(self, other: Rights) -> list[str]:
        """Return the permissions of these rights that `other` lacks, sorted; seeing a hidden field counts as one."""
        missing = set(self.permissions - other.permissions)
        for name, fields in other._hidden.items():
            missing |= {f"{name}.read:{field}" for field in fields - self._hidden[name]}
        return sorted(missing)

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
    def _bound(self) -> OrderedDict[tuple[str | None, str | None, str], RowRules]:
        return OrderedDict()

    def rules_for(self, identity: Identity, account: str) -> RowRules:
        """Return the row rules that bind somebody with these rights in an account; made once for each of them."""
        if not self.ruled:
            return FREE
        key = (identity.actor, identity.role_in(account), account)
        found = self._bound.get(key)
        if found is None:
            me = dict(zip(ME, key, strict=True))
            found = self._bound[key] = RowRules(self.ruled, me)
            if len(self._bound) > BOUND:
                self._bound.popitem(last=False)
        return found

    def hidden(self, kind: RecordType) -> frozenset[str]:
        """Return the wire names of fields that this role does not see."""
        return self._hidden[kind.name]

    @cached_property
    def shut(self) -> dict[str, frozenset[str]]:
        """By type, where there are any, the fields that are hidden and so cannot be written either; not secret ones."""
        types = self.registry.types
        found = {
            name: frozenset(wire for wire in fields if not types[name].fields[wire].option.secret)
            for name, fields in self._hidden.items()
        }
        return {name: fields for name, fields in found.items() if fields}

    def check_writable(self, kind: RecordType, data: dict[str, Any], path: str = "data") -> None:
        """Raise `data.invalid` where data names a field that is hidden: to the caller it is not there."""
        shut = self.shut.get(kind.name)
        if shut is not None and not shut.isdisjoint(data):
            name = next(name for name in data if name in shut)
            raise HubError("data.invalid", "There is no such field; remove it.", path=f"{path}.{name}")

    def sight(self, kind: RecordType, identity: Identity, account: str) -> tuple[bool, frozenset[str], Node]:
        """Return what decides about what somebody sees of a type: a watch of it goes on where this stays equal."""
        rule = self.rules_for(identity, account).node(kind, "read")
        return self.allows(f"{kind.name}.read"), self._hidden[kind.name], rule

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


def rules_of(registry: Registry) -> dict[str, str]:
    """Return every permission there is with its least role, or `nobody`."""
    rules = {
        f"{kind.name}.{verb}": "guest" if verb == "read" and kind.public_read else least
        for kind in registry.types.values()
        for verb, least in kind.access.rules().items()
    }
    for channel in registry.channels.values():
        rules |= channel.permissions()
    return rules | OTHERS


def rights_changed() -> HubError:
    """Return what is answered to a request that was begun with rights that the session has no more."""
    step = "Ask again."
    return HubError("access.denied", f"The rights of this session have just changed. {step}", details={"next": step})


def elsewhere(kind: RecordType, path: str) -> HubError:
    """Return what is answered about records of a type of which this account has none."""
    step = "Choose another type; schema.describe lists those of this account."
    text = f"Records of type {kind.name} live in another account. {step}"
    return HubError("access.denied", text, path=path, details={"next": step})


def refuse_beyond(giver: Rights, given: Rights, path: str) -> None:
    """Raise `access.denied` where somebody gives, or takes from another, what they do not hold themselves."""
    missing = given.beyond(giver)
    if missing:
        step = "Choose less, or ask somebody who holds it."
        text = f"Nobody decides over what they do not hold: role {giver.role} lacks {', '.join(missing[:3])}"
        text += f" and {len(missing) - 3} more. {step}" if len(missing) > 3 else f". {step}"
        details = {"needs": missing[:NAMED], "role": giver.role, "next": step}
        raise HubError("access.denied", text, path=path, details=details)


class Reach:
    """How far the filters of somebody reach in an account: to the types there that it may read."""

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
        self._rights.require(f"{kind.name}.read", path)
        if kind.system != (self._account == SYSTEM):
            raise elsewhere(kind, path)


class RightsTable:
    """The rights over one registry: of the ladder, of own roles, and of keys that may less than their role."""

    def __init__(self, registry: Registry, kept: int = KEPT) -> None:
        """Keep the rights of the ladder for good, and at most so many others."""
        self.registry = registry
        self._rules = rules_of(registry)
        self._ladder = {role: self._of_rung(rank(role), role) for role in ROLES}
        self._may_be_given = self._ladder[ROLES[-1]].permissions
        self._nouns: dict[str, set[str]] = {}
        for permission in self._may_be_given:
            self._nouns.setdefault(permission.partition(".")[0], set()).add(permission)
        self._most = kept
        self._kept: OrderedDict[tuple[Any, ...], Rights] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, role: str) -> Rights:
        """Return the rights of a role of the ladder."""
        return self._ladder[role]

    def own(self, image: Image) -> Rights:
        """Return the rights of an own role, of which this is the record."""
        key = ("role", image["account_id"], image["id"], image["version"])
        return self._keep(key, lambda: self.made_of(image["name"], image["permissions"]))

    def made_of(self, role: str, patterns: Iterable[str]) -> Rights:
        """Return the rights of a role that is not stored yet, or not as this."""
        return self._of_set(role, self._held(patterns))

    def none(self, role: str) -> Rights:
        """Return the rights of a role that is not there: none."""
        return self._keep(("none", role), lambda: self._of_set(role, frozenset()))

    def narrowed(self, rights: Rights, scopes: tuple[str, ...]) -> Rights:
        """Return what is left of rights within the scopes of a key."""
        if scopes == EVERYTHING:
            return rights
        name = f"{rights.role} within the key's scopes"
        return self._keep(
            ("scopes", rights.role, rights.fingerprint, scopes),
            lambda: Rights(self.registry, name, rights.permissions & self._held(scopes), rights._hidden, self._rules),
        )

    def both(self, one: Rights, other: Rights) -> Rights:
        """Return what two rights have in common, which is called as the first."""
        if one is other:
            return one

        def made() -> Rights:
            hidden = {name: fields | other._hidden[name] for name, fields in one._hidden.items()}
            return Rights(self.registry, one.role, one.permissions & other.permissions, hidden, self._rules)

        return self._keep(("both", one.role, one.fingerprint, other.fingerprint), made)

    def granted(self, pattern: str) -> frozenset[str]:
        """Return the permissions that a pattern stands for: of those that a role of the ladder has."""
        if pattern in self._may_be_given:
            return frozenset((pattern,))
        if pattern == "*":
            return self._may_be_given
        noun, _, verb = pattern.partition(".")
        if "*" not in pattern or not verb:
            return frozenset()
        nouns = [noun] if "*" not in noun else [n for n in self._nouns if _like(noun, n)]
        return frozenset(p for n in nouns for p in self._nouns.get(n, ()) if _like(verb, p.partition(".")[2]))

    def check_patterns(self, patterns: Iterable[str], path: str) -> None:
        """Raise `data.invalid` for the first pattern that grants nothing."""
        for n, pattern in enumerate(patterns):
            if not self.granted(pattern):
                step = "schema.describe lists the permissions of each type."
                if pattern in self._rules:
                    why = f"{pattern} is for the hub alone; no role can have it"
                else:
                    why = f"{pattern!r} grants nothing: there is no such permission"
                    near = get_close_matches(pattern, self._may_be_given, 1, 0.7)
                    step = f"Did you mean {near[0]}? {step}" if near else step
                raise HubError("data.invalid", f"{why}. {step}", path=f"{path}.{n}", details={"next": step})

    def _held(self, patterns: Iterable[str]) -> frozenset[str]:
        """Return the permissions of some patterns, with what `manage` gives along."""
        held = {permission for pattern in patterns for permission in self.granted(pattern)}
        for permission in [p for p in held if p.endswith(".manage")]:
            noun = permission.partition(".")[0]
            held |= {f"{noun}.{verb}" for verb in MANAGED} & self._may_be_given
        return frozenset(held)

    def _of_rung(self, mine: int, role: str) -> Rights:
        hidden = {
            kind.name: frozenset(
                wire
                for wire, spec in kind.fields.items()
                if spec.option.concealed
                or (spec.option.hidden_from is not None and mine <= rank(spec.option.hidden_from))
            )
            for kind in self.registry.types.values()
        }
        held = frozenset(permission for permission, least in self._rules.items() if mine >= rank(least))
        return Rights(self.registry, role, held, hidden, self._rules)

    def _of_set(self, role: str, held: frozenset[str]) -> Rights:
        """Return the rights of a set of permissions.

        It sees a field that is hidden from some of the ladder where it may do all with the type that the least role
        may which sees the field, and which may more than those who do not.
        """
        if held:
            held |= {permission for permission, least in self._rules.items() if least == "guest"}
        hidden: dict[str, frozenset[str]] = {}
        for kind in self.registry.types.values():
            verbs = {f"{kind.name}.{verb}" for verb in VERBS}
            rungs = [self._ladder[rung].permissions & verbs for rung in ROLES]
            unseen: set[str] = set()
            for wire, spec in kind.fields.items():
                blind = spec.option.hidden_from
                if spec.option.concealed:
                    unseen.add(wire)
                elif blind is not None:
                    place = min(rank(blind), len(rungs) - 1)
                    above = [rung for rung in rungs[place + 1 :] if rung > rungs[place]]
                    if not above or not above[0] <= held:
                        unseen.add(wire)
            hidden[kind.name] = frozenset(unseen)
        return Rights(self.registry, role, held, hidden, self._rules)

    def _keep(self, key: tuple[Any, ...], make: Callable[[], Rights]) -> Rights:
        """Return what is kept under a key, else make it; what was not asked for the longest is forgotten."""
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = make()
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return found


def _like(pattern: str, text: str) -> bool:
    """Say whether a text is as a pattern, in which `*` stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None
