"""What the commits of a group name: the records, the keys, so that they are read at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from hub.schema.record import RecordType
from hub.schema.writes import Commit, Create, Import, OfOne, Upsert
from storage.sql.rows import account_of

_NEW = (Create, Upsert, Import)


@dataclass(slots=True)
class Asked:
    """Ids by (account, type), and (scope, key) by account."""

    named: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    keys: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    @classmethod
    def by(cls, commits: Iterable[Commit], *, trusting: bool) -> Asked:
        """Return what commits name: the records they change, and the parents of those they create.

        Unless it is `trusting`, those that they create as well: such an id may not be new.
        """
        asked = cls()
        named = asked.named
        last: tuple[str, RecordType, str] | None = None
        for commit in commits:
            account = commit.account
            if commit.key is not None:
                asked.keys.setdefault(account, []).append((commit.key.scope, commit.key.key))
            for write in commit.writes:
                if isinstance(write, _NEW):
                    kind, parent = write.type, write.parent
                    if not trusting:
                        named.setdefault((account, kind.name), set()).add(write.id)
                    # Most have the parent of the one before.
                    if kind.parent is not None and isinstance(parent, str) and (account, kind, parent) != last:
                        named.setdefault((account_of(kind.parent, account), kind.parent.name), set()).add(parent)
                        last = (account, kind, parent)
                elif isinstance(write, OfOne) and isinstance(write.rec, str):
                    named.setdefault((account, write.type.name), set()).add(write.rec)
        return asked
