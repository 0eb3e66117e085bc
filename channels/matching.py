"""Which watches a changed record may concern, found without asking each of them.

A filter that wants a field to be equal to a value, or to one of a few, stands under that value; so for a record
only the filters under its values, before and after, are matched. What wants no equality is matched each time. The
cost of a commit then grows with the watches it concerns, not with all the different filters that there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

from hub.schema.nodes import All, Compare, Either, Matcher, Node
from hub.schema.record import Image, RecordType
from hub.schema.writes import ChangeRow

FEW: Final = 64
"""Under how many values one filter stands at most; with more it is matched each time."""

Keys = tuple[tuple[str, Any], ...]
"""Pairs of field and value: what matches the filter has at least one of them."""


class Watched(Protocol):
    """What an index holds: a filter over one type."""

    @property
    def where(self) -> Node:
        """The filter."""

    @property
    def test(self) -> Matcher:
        """Whether an image matches it, a tombstone's too."""


G = TypeVar("G", bound=Watched)


def alternatives(node: Node) -> list[Keys]:
    """Return the sets of keys under which a filter can stand, each enough by itself; none: match it each time."""
    match node:
        case Compare(field=field, op="eq" | "has", value=value):
            return [((field, value),)]
        case Compare(field=field, op="in", value=values) if len(values) <= FEW:
            return [tuple((field, value) for value in values)]
        case All():
            return [keys for inner in node.nodes for keys in alternatives(inner)]
        case Either():
            branches = [alternatives(inner) for inner in node.nodes]
            if not all(branches):
                return []
            union = tuple(dict.fromkeys(key for branch in branches for key in branch[0]))
            return [union] if len(union) <= FEW else []
    return []


class Index(Generic[G]):
    """The watches of one account and type, by what their filters want to be equal."""

    def __init__(self, kind: RecordType, *, by_value: bool = True) -> None:
        self._kind = kind
        self._by_value = by_value  # False only where it is shown what the index is for
        self._all: dict[G, Keys | None] = {}
        self._rest: dict[G, Matcher] = {}
        """Those that are matched each time, with what matches them at hand."""
        self._tables: dict[str, dict[Any, dict[G, Matcher]]] = {}
        """By field and value."""

    def __len__(self) -> int:
        return len(self._all)

    def add(self, watched: G) -> None:
        """Take in a watch."""
        keys = self._best(alternatives(watched.where)) if self._by_value else None
        self._all[watched] = keys
        if keys is None:
            self._rest[watched] = watched.test
            return
        for field, value in keys:
            self._tables.setdefault(field, {}).setdefault(value, {})[watched] = watched.test

    def remove(self, watched: G) -> None:
        """Forget a watch."""
        keys = self._all.pop(watched)
        if keys is None:
            del self._rest[watched]
            return
        for field, value in keys:
            table = self._tables[field]
            del table[value][watched]
            if not table[value]:
                del table[value]
            if not table:
                del self._tables[field]

    def _best(self, choices: list[Keys]) -> Keys | None:
        """Return the keys under which the fewest stand so far; of equals, those of a field with many values."""
        if not choices:
            return None

        def crowd(keys: Keys) -> tuple[int, int]:
            most = max((len(self._tables.get(field, {}).get(value, ())) for field, value in keys), default=0)
            return most, sum(self._has_few_values(field) for field, _ in keys)

        return min(choices, key=crowd)

    def _has_few_values(self, field: str) -> bool:
        spec = self._kind.fields.get(field)
        return self._kind.kinds[field] == "boolean" or (spec is not None and bool(spec.choices))

    def concerned(self, row: ChangeRow) -> list[G]:
        """Return the watches that a changed record matches, or matched before, while it was live.

        A purge that does not say what the record was concerns everybody.
        """
        if row.after:
            images = [image for image in (row.after, row.previous()) if image and image["deleted_at"] is None]
        elif row.kind != "purge":
            return []
        elif not row.before:
            return list(self._all)
        else:
            images = [row.before] if row.before["deleted_at"] is None else []
        if not images:
            return []
        among = self._candidates(images) if self._tables else self._rest
        first = images[0]
        if len(images) == 1:
            return [watched for watched, test in among.items() if test(first)]
        second = images[1]
        return [watched for watched, test in among.items() if test(first) or test(second)]

    def _candidates(self, images: Sequence[Image]) -> dict[G, Matcher]:
        found = dict(self._rest)
        for field, table in self._tables.items():
            for image in images:
                value = image[field]
                for one in value if type(value) is list else (value,):
                    under = table.get(one)
                    if under is not None:
                        found.update(under)
        return found
