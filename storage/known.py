"""What the commits of one group have decided so far: on top of what is stored, and as rows to write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from hub.schema.fields import FOR_ID, FOR_TYPE
from hub.schema.record import Image, RecordType, referred
from hub.schema.registry import Registry
from hub.schema.writes import ChangeRow, ChangeSet
from storage.loader import Loader

if TYPE_CHECKING:
    from storage.work import Work


class Put(msgspec.Struct, gc=False):
    """A row to write: insert where `before` is None, else replace `changed` columns.

    `secrets` holds the values of secret fields, which are in no image. `gone`: remove the row, and empty
    every image of the record in the log, the rows of this commit too.
    """

    type: RecordType
    image: Image
    changed: frozenset[str] | None
    secrets: dict[str, Any]
    gone: bool = False


RecordKey = tuple[str, str, str]
UniqueKey = tuple[str, str, tuple[str, ...], tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What deciding needs of a record type, worked out once."""

    # Fields that are in no image; and those of them that are encrypted.
    secrets: frozenset[str]
    sealed: frozenset[str]
    references: tuple[tuple[str, RecordType], ...]
    # The types that a record may be for, by name.
    targets: dict[str, RecordType]
    # Fields that hold a code, with the names of their lookups; and whether a text says what a record is for.
    codes: tuple[tuple[str, str], ...]
    targeted: bool
    # Whether there is anything of all these to check.
    linked: bool
    # Those of them whose record has the same parent.
    siblings: frozenset[str]
    # Fields that hold a number with a fraction, also where it is given as a whole one.
    numbers: tuple[str, ...]
    check: Callable[[Image], None] | None
    # Whether a creation needs nothing of all these, nor of a unique: most types are such.
    plain: bool


@lru_cache(1024)
def plan_of(kind: RecordType) -> Plan:
    """Return what deciding needs of a record type."""
    fields = kind.fields.items()
    codes = tuple((name, spec.option.lookup) for name, spec in fields if spec.option.lookup is not None)
    targeted = not kind.for_types and {FOR_TYPE, FOR_ID} <= kind.fields.keys()
    secrets = frozenset(name for name, spec in fields if spec.option.concealed)
    linked = bool(kind.linking or codes or targeted)
    numbers = tuple(name for name, spec in fields if spec.kind == "number")
    return Plan(
        secrets=secrets,
        sealed=frozenset(name for name, spec in fields if spec.option.secret),
        references=tuple((name, referred(spec)) for name, spec in fields if spec.kind == "ref"),
        targets={target.name: target for target in kind.for_types},
        codes=codes,
        targeted=targeted,
        linked=linked,
        siblings=frozenset(name for name, spec in fields if spec.option.same_parent),
        numbers=numbers,
        check=kind.check,
        plain=not (secrets or linked or numbers or kind.check or kind.unique),
    )


def newborn(kind: RecordType, rec: str, account: str, parent: str | None, now: str, actor: str | None) -> Image:
    """Return what a new record is apart from its data, in the order of keys that every image has."""
    image: Image = {"id": rec, "type": kind.name, "version": 1, "account_id": account}
    if kind.parent_wire is not None:
        image[kind.parent_wire] = parent
    image["created_at"] = image["updated_at"] = now
    image["created_by"] = image["updated_by"] = actor
    image["deleted_at"] = None
    return image


class Known:
    """What the commits of one group have decided so far, on top of what is stored."""

    __slots__ = ("_births", "_looked", "load", "logs", "records", "registry", "uniques")

    def __init__(self, registry: Registry, load: Loader) -> None:
        self.registry = registry
        self.load = load
        self.records: dict[RecordKey, Image | None] = {}
        self.uniques: dict[UniqueKey, str | None] = {}
        self.logs: list[ChangeSet] = []
        # Of how many of the logs `_births` knows.
        self._looked = 0
        self._births = Births(registry)

    def copy(self) -> Known:
        """Return another that learns on its own."""
        other = Known(self.registry, self.load)
        other.records, other.uniques, other.logs = self.records.copy(), self.uniques.copy(), self.logs.copy()
        return other

    def is_new(self, key: RecordKey, kind: RecordType) -> bool:
        """Say whether no record has an id that a creation brings."""
        if key in self.records:
            return self.records[key] is None
        return self.load.is_new(key[0], kind, key[2])

    def concealed(self, kind: RecordType, plan: Plan, rec: str, data: dict[str, Any]) -> dict[str, Any]:
        """Take what is in no image out of data, encrypted where that is due, and return it."""
        taken = {name: data.pop(name) for name in plan.secrets if name in data}
        for name in plan.sealed & taken.keys():
            taken[name] = sealed(self.registry, kind, rec, name, taken[name])
        return taken

    def rows(self, work: Work) -> Iterator[ChangeRow]:
        """Yield every change of this account in the group, the newest commit's first, each commit's in order."""
        yield from work.rows
        for log in reversed(self.logs):
            if log.account == work.account:
                yield from log.rows

    def learn(self, work: Work, log: ChangeSet | None) -> None:
        """Take over what a commit decided."""
        self.records |= work.records
        self.uniques |= work.uniques
        if log is not None:
            self.logs.append(log)

    def came_under(self, account: str, kind: str, parent: str) -> Iterable[str]:
        """Return the ids of records of a type that came under a parent in these commits."""
        for log in self.logs[self._looked :]:
            self._births.look(log.account, log.rows)
        self._looked = len(self.logs)
        return self._births.under(account, kind, parent)


class Births:
    """Who came under which parent: found in the rows of commits, and only once somebody asks."""

    __slots__ = ("_found", "_looked", "_registry")

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        # Ids of records by (account, type, parent), in the order in which they came.
        self._found: dict[RecordKey, dict[str, None]] = {}
        self._looked = 0

    def look_on(self, account: str, rows: Sequence[ChangeRow]) -> None:
        """Take in the rows of a growing list that came since it was looked at last."""
        self.look(account, rows[self._looked :])
        self._looked = len(rows)

    def look(self, account: str, rows: Iterable[ChangeRow]) -> None:
        """Take in rows, in their order."""
        types = self._registry.types
        for row in rows:
            wire = types[row.type].parent_wire
            if wire is None or not row.after:
                continue
            if row.before is None or wire in row.before or "deleted_at" in row.before:
                self._found.setdefault((account, row.type, row.after[wire]), {})[row.rec] = None

    def under(self, account: str, kind: str, parent: str) -> Iterable[str]:
        """Return the ids of those of a type that came under a parent; they may have left since."""
        return self._found.get((account, kind, parent), ())


def sealed(registry: Registry, kind: RecordType, rec: str, name: str, value: Any) -> str | None:
    """Return a secret as it is kept; None stays None."""
    if value is None:
        return None
    if registry.vault is None:
        raise TypeError(f"{kind.name}.{name} is secret, and this hub has no keys")
    return registry.vault.seal(place_of(kind, rec, name), value)


def place_of(kind: RecordType, rec: str, name: str) -> str:
    """Return what a sealed value says that it belongs to."""
    return f"{kind.name}.{name} {rec}"


def same(old: Any, new: Any) -> bool:
    """Say whether two plain values are the same on the wire: true is not 1, inside lists and objects too."""
    if type(old) is not type(new):
        return False
    if type(old) is list:
        return len(old) == len(new) and all(map(same, old, new))
    if type(old) is dict:
        return old.keys() == new.keys() and all(same(v, new[k]) for k, v in old.items())
    return bool(old == new)
