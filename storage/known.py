"""What the commits of one group have decided so far: on top of what is stored, and as rows to write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

    secrets: frozenset[str]
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


@lru_cache(1024)
def plan_of(kind: RecordType) -> Plan:
    """Return what deciding needs of a record type."""
    fields = kind.fields.items()
    codes = tuple((name, spec.option.lookup) for name, spec in fields if spec.option.lookup is not None)
    targeted = not kind.for_types and {FOR_TYPE, FOR_ID} <= kind.fields.keys()
    return Plan(
        secrets=frozenset(name for name, spec in fields if spec.option.secret),
        references=tuple((name, referred(spec)) for name, spec in fields if spec.kind == "ref"),
        targets={target.name: target for target in kind.for_types},
        codes=codes,
        targeted=targeted,
        linked=bool(kind.linking or codes or targeted),
        siblings=frozenset(name for name, spec in fields if spec.option.same_parent),
        numbers=tuple(name for name, spec in fields if spec.kind == "number"),
        check=kind.check,
    )


class Known:
    """What the commits of one group have decided so far, on top of what is stored."""

    __slots__ = ("born", "load", "logs", "records", "registry", "uniques")

    def __init__(self, registry: Registry, load: Loader) -> None:
        self.registry = registry
        self.load = load
        self.records: dict[RecordKey, Image | None] = {}
        self.uniques: dict[UniqueKey, str | None] = {}
        # Ids of records that came under a parent, by (account, type, parent).
        self.born: dict[RecordKey, list[str]] = {}
        self.logs: list[ChangeSet] = []

    def copy(self) -> Known:
        """Return another that learns on its own."""
        other = Known(self.registry, self.load)
        other.records, other.uniques, other.logs = self.records.copy(), self.uniques.copy(), self.logs.copy()
        other.born = {parent: ids.copy() for parent, ids in self.born.items()}
        return other

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
        for parent, born in work.born.items():
            self.born.setdefault(parent, []).extend(born)
        if log is not None:
            self.logs.append(log)


def same(old: Any, new: Any) -> bool:
    """Say whether two plain values are the same on the wire: true is not 1, inside lists and objects too."""
    if type(old) is not type(new):
        return False
    if type(old) is list:
        return len(old) == len(new) and all(map(same, old, new))
    if type(old) is dict:
        return old.keys() == new.keys() and all(same(v, new[k]) for k, v in old.items())
    return bool(old == new)
