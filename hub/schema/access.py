"""The built-in ladder of roles and the rule that a record type declares. Values only; `hub.access` decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

ROLES: Final = ("guest", "viewer", "member", "editor", "manager", "owner")
"""The built-in ladder, from the least to the most."""


class DeclarationError(TypeError):
    """A record type, action or channel was declared in a way that cannot work; raised at import."""


NOBODY: Final = "nobody"
"""A rule that no role of the ladder satisfies: only the hub itself does it."""


FEED: Final = "account.feed"
"""The permission to follow an account's whole change log: of what one may read, with who changed it."""
OTHERS: Final = {FEED: "manager"}
"""Permissions that belong to no record type, and the least role of each."""
VERBS: Final = ("read", "create", "update", "delete", "purge", "manage")
"""The verbs of a record type; with its name before them they are its permissions: `event.update`."""
MANAGED: Final = ("read", "create", "update", "delete")
"""What `manage` gives along: all but to purge, which leaves nothing behind."""


def rank(role: str) -> int:
    """Return the place of a role on the ladder; `nobody` stands above them all. Raises `DeclarationError`."""
    if role == NOBODY:
        return len(ROLES)
    if role not in ROLES:
        raise DeclarationError(f"there is no role {role!r}; a rule names one of {', '.join(ROLES)} or {NOBODY}")
    return ROLES.index(role)


ROW_VERBS: Final = ("read", "create", "update", "delete")
"""What a row rule may be about; restoring and purging are deletions."""
ME: Final = ("id", "role", "account")
"""What a row rule may say of the caller: `{"$ref": "me.id"}` is the id under which their changes are kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A row rule: whoever lacks `<type>.manage` may do `verbs` with those records only that `where` lets through.

    `where` is a filter over the record's own fields, without steps; for a value it may say `{"$ref": "me.id"}`,
    `me.role` or `me.account`. Several rules for one verb hold together. What a rule needs of a parent is copied into
    the record. Raises `DeclarationError` for another verb or reference; the fields are checked with the registry.
    """

    verbs: tuple[str, ...]
    where: dict[str, Any]

    def __post_init__(self) -> None:
        known = ", ".join(ROW_VERBS)
        if not self.verbs or not set(self.verbs) <= set(ROW_VERBS):
            raise DeclarationError(f"a row rule is about some of {known}, not about {self.verbs!r}")
        if not self.where:
            raise DeclarationError("a row rule without a term lets everything through; leave it out")
        self.bound(dict.fromkeys(ME, ""))

    def bound(self, me: dict[str, str | None]) -> dict[str, Any] | None:
        """Return the filter with the caller's values in place of references; None where one of them is not there."""
        try:
            bound: dict[str, Any] = _bound(self.where, me)
        except _Absent:
            return None
        return bound


class _Absent(Exception):
    """A row rule asks for something that the caller has not."""


def _bound(value: Any, me: dict[str, str | None]) -> Any:
    if type(value) is list:
        return [_bound(item, me) for item in value]
    if type(value) is not dict:
        return value
    if "$ref" not in value:
        return {name: _bound(inner, me) for name, inner in value.items()}
    named = value["$ref"]
    if len(value) > 1 or type(named) is not str or named.removeprefix("me.") not in me or not named.startswith("me."):
        known = ", ".join(f"me.{name}" for name in ME)
        raise DeclarationError(f"a row rule refers to one of {known}, not to {value!r}")
    found = me[named.removeprefix("me.")]
    if found is None:
        raise _Absent
    return found


@dataclass(frozen=True, slots=True)
class Access:
    """Who may do what with a record type: each value is the least role of the ladder, or `nobody`.

    `Access` only seeds permissions (`event.update`); watch, search and history follow `read`. `manage` gives read,
    create, update and delete, and no row rule binds who has it; default: `manager`, or the highest of those four
    where that is higher.
    """

    read: str
    create: str
    update: str
    delete: str
    purge: str = "owner"
    manage: str | None = None
    rows: tuple[Rows, ...] = ()

    def __post_init__(self) -> None:
        for role in (self.read, self.create, self.update, self.delete, self.purge):
            rank(role)
        if self.manage is not None and rank(self.manage) < rank(self._highest):
            raise DeclarationError(f"manage gives all that {self._highest} may; its least role is {self._highest} too")

    @property
    def _highest(self) -> str:
        """The highest of the roles that `manage` stands above."""
        return max((self.read, self.create, self.update, self.delete), key=rank)

    def rules(self) -> dict[str, str]:
        """Return the least role for each verb."""
        return {
            "read": self.read,
            "create": self.create,
            "update": self.update,
            "delete": self.delete,
            "purge": self.purge,
            "manage": self.manage or max("manager", self._highest, key=rank),
        }
