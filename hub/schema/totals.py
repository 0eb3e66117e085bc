"""Aggregates: from the wire's `group` and `values` to what storage counts and adds up, and from that to answers.

    {"group": "language", "values": {"sessions": "count", "first": {"min": "starts_at"}}}

Null values are left out of everything but the plain count. Of no values the sum is 0 and the others are null.
Sums and averages of integers are exact. Pure; knows no database.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hub.schema.nodes import EVERYTHING, Node
from hub.schema.query import SortKey, sort_value
from hub.schema.record import Image, RecordType
from hub.wire.codec import ECHO, INTEGER
from hub.wire.errors import HubError
from hub.wire.names import TYPE

VALUES: Final = 20
"""How many values one aggregate has."""
GROUPS: Final = 1000
"""How many groups one answer has."""
_ADDED: Final = frozenset({"integer", "number"})
_RANGED: Final = _ADDED | {"time", "date", "text"}
FUNCTIONS: Final[dict[str, frozenset[str] | None]] = {
    "count": None,
    "sum": _ADDED,
    "avg": _ADDED,
    "min": _RANGED,
    "max": _RANGED,
}
"""The functions, and the kinds of field that each takes (None: every kind)."""

Part = tuple[str, str | None]
"""What storage works out of the records of a group: `("count" | "sum" | "min" | "max", field)`. The count of no field
counts records, that of a field its values."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value of an aggregate: a function of a field; the count may be of no field."""

    name: str
    function: str
    field: str | None = None

    def parts(self) -> tuple[Part, ...]:
        """Return what it is made of."""
        if self.function == "avg":
            return (("sum", self.field), ("count", self.field))
        return ((self.function, self.field),)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What to count and add up of one type in one account: per value of `group`, or over all where that is None."""

    type: RecordType
    where: Node = EVERYTHING
    group: str | None = None
    values: tuple[Value, ...] = (Value("count", "count"),)
    limit: int = GROUPS

    def parts(self) -> tuple[Part, ...]:
        """Return what storage works out, each once."""
        return tuple(dict.fromkeys(part for value in self.values for part in value.parts()))

    def row(self, parts: Mapping[Part, Any]) -> dict[str, Any]:
        """Return the values by name; raise `data.invalid` for one that the wire cannot carry."""
        return {value.name: _finished(value, parts) for value in self.values}


def _finished(value: Value, parts: Mapping[Part, Any]) -> Any:
    found = [parts[part] for part in value.parts()]
    if value.function == "avg":
        total, count = found
        found = [total / count if count else None]
    (result,) = found
    if isinstance(result, float) and not math.isfinite(result):
        text = "The values add up to more than a number holds; narrow the filter."
        raise HubError("data.invalid", text, path=f"values.{value.name}")
    if isinstance(result, int) and abs(result) > INTEGER:
        text = (
            "The sum lies beyond ±(2^53-1), which cannot be told exactly; ask for avg and count, or narrow the filter."
        )
        raise HubError("data.invalid", text, path=f"values.{value.name}")
    return result


def parse_aggregate(
    kind: RecordType, where: Node, group: str | None, values: Mapping[str, Any], hidden: frozenset[str], limit: int
) -> Aggregate:
    """Return a checked aggregate; raise `data.invalid` with the path of what is wrong with it."""
    if group is not None and (group not in {*kind.sortable, kind.parent_wire} or group in hidden):
        raise HubError("data.invalid", f"{kind.name} cannot be grouped by {group[:48]!r}.", path="group")
    if not 0 < len(values) <= VALUES:
        raise HubError("data.invalid", f"Name one to {VALUES} values.", path="values")
    checked: list[Value] = []
    for name, given in values.items():
        path = f"values.{name[:ECHO]}"
        if not TYPE.match(name) or name == group:
            text = "The name of a value is in lower case, digits and _, and not that of the group."
            raise HubError("data.invalid", text, path=path)
        checked.append(_value(kind, name, given, hidden, path))
    return Aggregate(kind, where, group, tuple(checked), limit)


def _value(kind: RecordType, name: str, given: Any, hidden: frozenset[str], path: str) -> Value:
    if given == "count":
        return Value(name, "count")
    if type(given) is not dict or len(given) != 1:
        raise HubError("data.invalid", 'A value is "count" or {"<function>": "<field>"}.', path=path)
    ((function, field),) = given.items()
    if function not in FUNCTIONS:
        known = ", ".join(FUNCTIONS)
        raise HubError("data.invalid", f"There is no {function[:48]!r}; there are {known}.", path=path)
    path = f"{path}.{function}"
    what = kind.kinds.get(field) if type(field) is str else None
    if what is None or field in hidden:
        raise HubError("data.invalid", f"{kind.name} has no field {str(field)[:48]!r}.", path=path)
    takes = FUNCTIONS[function]
    # A text is compared as far as it can be sorted by.
    if takes is not None and (what not in takes or (what == "text" and field not in kind.sortable)):
        raise HubError("data.invalid", f"There is no {function} of {field}, which is of kind {what}.", path=path)
    return Value(name, function, field)


def totals_of(images: Sequence[Image], aggregate: Aggregate) -> tuple[list[tuple[Any, dict[Part, Any]]], bool]:
    """Return the parts of each group of images, in order, and whether there are more: the truth to compare with."""
    groups: dict[Any, list[Image]] = {} if aggregate.group is not None else {None: list(images)}
    if aggregate.group is not None:
        for image in images:
            groups.setdefault(image[aggregate.group], []).append(image)
    key = SortKey("value")
    ordered = sorted(groups, key=lambda value: sort_value({"value": value}, key))
    kinds = aggregate.type.kinds
    rows = [
        (v, {part: _part(part, groups[v], kinds) for part in aggregate.parts()}) for v in ordered[: aggregate.limit]
    ]
    return rows, len(ordered) > aggregate.limit


def _part(part: Part, images: Sequence[Image], kinds: Mapping[str, str]) -> Any:
    function, field = part
    if field is None:
        return len(images)
    values = [image[field] for image in images if image[field] is not None]
    if function == "count":
        return len(values)
    if function == "sum":
        return _added(values) if kinds[field] == "number" else sum(values)
    ranged: Callable[..., Any] = min if function == "min" else max
    return ranged(values, default=None)


def _added(values: Sequence[float]) -> float:
    try:
        return math.fsum(values)
    except OverflowError:
        return math.inf
