"""The nodes of a filter, and the matcher that they mean: the truth that every database is held to. Pure.

`hub.schema.where` makes them of what the wire says and has the rules of null and text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from hub.schema.fold import fold
from hub.schema.record import Image, RecordType
from hub.wire.errors import HubError


@dataclass(frozen=True, slots=True)
class Compare:
    """One term: `field op value`. `op` has no `$`; `value` is plain and already of the field's kind."""

    field: str
    kind: str
    op: str
    value: Any


@dataclass(frozen=True, slots=True)
class All:
    """True where every node is; the empty one is always true."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """True where at least one node is."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """True where the node is false."""

    node: Node


@dataclass(frozen=True, slots=True)
class Step:
    """True where a live record of `type`, in the same account, has `far` equal to this one's `near` and matches `node`.

    One of the two is `id`: `far` of a parent or of what is referred to, `near` of children.
    """

    type: RecordType
    near: str
    far: str
    node: Node


Node = Compare | All | Either | Not | Step
EVERYTHING: Final = All(())
NOTHING: Final = Either(())


def has_steps(node: Node) -> bool:
    """Say whether a filter looks at other records."""
    match node:
        case All() | Either():
            return any(map(has_steps, node.nodes))
        case Not():
            return has_steps(node.node)
    return isinstance(node, Step)


def both(first: Node, second: Node) -> Node:
    """Return the node that is true where both are."""
    if first == EVERYTHING:
        return second
    return first if second == EVERYTHING else All((first, second))


def equals(kind: RecordType, field: str, value: Any) -> Node:
    """Return the node `field = value`, for filters that the hub itself adds."""
    return Compare(field, kind.kinds[field], "eq", value)


def canonical(node: Node) -> Any:
    """Return plain values that are equal exactly for equal nodes; used in keys of shared queries."""
    match node:
        case Compare():
            return [node.field, node.op, list(node.value) if type(node.value) is tuple else node.value]
        case All():
            return ["$and", *map(canonical, node.nodes)]
        case Either():
            return ["$or", *map(canonical, node.nodes)]
        case Not():
            return ["$not", canonical(node.node)]
        case Step():
            return ["$step", node.type.name, node.near, node.far, canonical(node.node)]


Matcher = Callable[[Mapping[str, Any]], bool]
Others = Callable[[RecordType, str, Any], Iterable[Image]]
"""Given a type, a wire name and a value, return the live records of the account that have it there."""
_ORDERING: Final[dict[str, Callable[[str, Any], Matcher]]] = {
    "gt": lambda field, value: lambda image: (mine := image[field]) is not None and mine > value,
    "gte": lambda field, value: lambda image: (mine := image[field]) is not None and mine >= value,
    "lt": lambda field, value: lambda image: (mine := image[field]) is not None and mine < value,
    "lte": lambda field, value: lambda image: (mine := image[field]) is not None and mine <= value,
}


def matcher(node: Node, others: Others | None = None) -> Matcher:
    """Return the function that says whether an image matches; steps look among `others`."""
    match node:
        case All():
            return _all([matcher(n, others) for n in _between(node.nodes)])
        case Either():
            options = [matcher(n, others) for n in node.nodes]
            return lambda image: any(option(image) for option in options)
        case Not():
            inner = matcher(node.node, others)
            return lambda image: not inner(image)
        case Compare():
            return _term(node.field, node.op, node.value)
        case Step():
            if others is None:
                raise TypeError("a filter with steps is matched among other records")
            return _stepping(node, matcher(node.node, others), others)


def _all(parts: list[Matcher]) -> Matcher:
    if not parts:
        return lambda image: True
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        first, second = parts
        return lambda image: first(image) and second(image)
    return lambda image: all(part(image) for part in parts)


def _between(nodes: tuple[Node, ...]) -> list[Node]:
    """Return the nodes, the two of a `$between` as one: watches match it for every change."""
    match nodes:
        case (Compare(op="gte") as low, Compare(op="lte") as high) if low.field == high.field:
            return [Compare(low.field, low.kind, "between", (low.value, high.value))]
    return list(nodes)


def _stepping(step: Step, inner: Matcher, others: Others) -> Matcher:
    def matches(image: Mapping[str, Any]) -> bool:
        value = image[step.near]
        return value is not None and any(map(inner, others(step.type, step.far, value)))

    return matches


def _term(field: str, op: str, value: Any) -> Matcher:
    if op == "eq":
        return lambda image: image[field] == value
    if op == "ne":
        return lambda image: image[field] != value
    if op == "null":
        return lambda image: (image[field] is None) is value
    if op in {"in", "nin"}:
        values = frozenset(value)
        if op == "in":
            return lambda image: image[field] in values
        return lambda image: image[field] not in values
    if op == "between":
        low, high = value
        return lambda image: (mine := image[field]) is not None and low <= mine <= high
    if op in _ORDERING:
        return _ORDERING[op](field, value)
    if op == "contains":
        return lambda image: image[field] is not None and value in image[field]
    if op == "starts":
        return lambda image: image[field] is not None and image[field].startswith(value)
    if op == "ends":
        return lambda image: image[field] is not None and image[field].endswith(value)
    if op == "iends":
        return lambda image: image[field] is not None and fold(image[field]).endswith(value)
    if op == "icontains":
        return lambda image: image[field] is not None and value in fold(image[field])
    if op == "istarts":
        return lambda image: image[field] is not None and fold(image[field]).startswith(value)
    if op == "has":
        return lambda image: (
            image[field] is not None and any(item == value and type(item) is not bool for item in image[field])
        )
    raise HubError("where.invalid", f"There is no operator ${op}.")


def fingerprint(node: Node) -> bytes:
    """Return bytes that are equal exactly for equal nodes."""
    return msgspec.json.encode(canonical(node))
