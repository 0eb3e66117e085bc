"""The built-in ladder of roles and the rule that a record type declares. Values only; `hub.access` decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

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


def rank(role: str) -> int:
    """Return the place of a role on the ladder; `nobody` stands above them all. Raises `DeclarationError`."""
    if role == NOBODY:
        return len(ROLES)
    if role not in ROLES:
        raise DeclarationError(f"there is no role {role!r}; a rule names one of {', '.join(ROLES)} or {NOBODY}")
    return ROLES.index(role)


@dataclass(frozen=True, slots=True)
class Access:
    """Who may do what with a record type: each value is the least role of the ladder, or `nobody`.

    `Access` only seeds permissions (`event.update`); watch, search and history follow `read`.
    """

    read: str
    create: str
    update: str
    delete: str
    purge: str = "owner"

    def __post_init__(self) -> None:
        for role in (self.read, self.create, self.update, self.delete, self.purge):
            rank(role)

    def rules(self) -> dict[str, str]:
        """Return the least role for each verb."""
        return {
            "read": self.read,
            "create": self.create,
            "update": self.update,
            "delete": self.delete,
            "purge": self.purge,
        }
