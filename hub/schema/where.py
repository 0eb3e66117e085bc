"""The filter language: from the wire's `where` to checked nodes, and from nodes to a matcher in memory.

    {"status": "active", "age": {"$gte": 18}, "$or": [{"vip": true}, {"tags": {"$has": "speaker"}}]}

One meaning everywhere: `storage/sql` compiles the same nodes to SQL, and a property test holds the two
together. The meaning of null: `$ne` and `$nin` match it, `$eq: null` is `$null: true`, every other
comparison with it is false, `$not` turns exactly true and false around. Text compares by code point.
Source: DESIGN.md section 4.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import msgspec

from hub.schema.fold import fold
from hub.schema.record import RecordType
from hub.schema.times import canonical_time
from hub.wire.codec import ECHO, INTEGER
from hub.wire.errors import HubError

DEPTH: Final = 5
TERMS: Final = 200
FILTERS: Final = 1000
IN_VALUES: Final = 1000


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


Node = Compare | All | Either | Not
EVERYTHING: Final = All(())

_EQUALITY = frozenset({"eq", "ne", "in", "nin", "null"})
_ORDER = _EQUALITY | {"gt", "gte", "lt", "lte"}
_TEXT = _ORDER | {"contains", "icontains", "starts", "istarts"}
OPERATORS: Final[dict[str, frozenset[str]]] = {
    "text": _TEXT,
    "integer": _ORDER,
    "number": _ORDER,
    "time": _ORDER,
    "date": _ORDER,
    "boolean": _EQUALITY,
    "ref": _EQUALITY,
    "id": _EQUALITY,
    "list": frozenset({"has", "null"}),
    "object": frozenset(),
}
"""The operators (without `$`) that each kind of field knows."""
FOLDED: Final = frozenset({"icontains", "istarts"})


def operators_of(kind: RecordType, field: str) -> list[str]:
    """Return the operators of one field of a type, with `$`, sorted."""
    found = OPERATORS[kind.kinds[field]]
    spec = kind.fields.get(field)
    if spec is None or not spec.option.folded:
        found -= FOLDED
    return sorted(f"${name}" for name in found)


class _Parser:
    def __init__(self, kind: RecordType, hidden: frozenset[str]) -> None:
        self.kind = kind
        self.hidden = hidden
        self.terms = 0
        self.filters = 0
        """How many objects of field: condition there are; each may be empty, so they are bounded too."""

    def node(self, where: Any, path: str, depth: int) -> Node:
        self.filters += 1
        if type(where) is not dict:
            raise HubError("where.invalid", "A filter is an object of field: condition.", path=path)
        if self.filters > FILTERS:
            raise HubError("where.invalid", f"A filter holds at most {FILTERS} filters.", path=path)
        if depth > DEPTH:
            raise HubError("where.invalid", f"A filter nests at most {DEPTH} levels deep.", path=path)
        nodes: list[Node] = []
        for key, value in where.items():
            here = f"{path}.{key[:ECHO]}"
            if key in {"$and", "$or"}:
                if type(value) is not list or not value:
                    raise HubError("where.invalid", f"{key} takes a list of at least one filter.", path=here)
                inner = tuple(self.node(item, f"{here}.{n}", depth + 1) for n, item in enumerate(value))
                nodes.append(All(inner) if key == "$and" else Either(inner))
            elif key == "$not":
                nodes.append(Not(self.node(value, here, depth + 1)))
            elif key.startswith("$"):
                raise HubError("where.invalid", f"There is no operator {key[:40]}.", path=here)
            else:
                nodes.extend(self.field(key, value, here))
        return nodes[0] if len(nodes) == 1 else All(tuple(nodes))

    def field(self, name: str, value: Any, path: str) -> list[Node]:
        kind = self.kind.kinds.get(name)
        if kind is None or name in self.hidden:
            raise HubError("where.invalid", f"{self.kind.name} has no field {name[:48]!r}.", path=path)
        if type(value) is not dict:
            return [self.term(name, kind, "$eq", value, path)]
        if not value:
            raise HubError("where.invalid", 'A condition names an operator, such as {"$eq": 1}.', path=path)
        return [self.term(name, kind, op, operand, f"{path}.{op[:ECHO]}") for op, operand in value.items()]

    def term(self, name: str, kind: str, op: str, operand: Any, path: str) -> Compare:
        self.terms += 1
        if self.terms > TERMS:
            raise HubError("where.invalid", f"A filter has at most {TERMS} terms.", path=path)
        bare = op.removeprefix("$")
        if not op.startswith("$") or bare not in OPERATORS[kind]:
            raise HubError("where.invalid", f"A field of kind {kind} has no operator {op[:40]}.", path=path)
        if bare in FOLDED and not self.kind.fields[name].option.folded:
            raise HubError("where.invalid", f"{op} needs a folded field; {name} is not declared so.", path=path)
        if bare == "null":
            if type(operand) is not bool:
                raise HubError("where.invalid", "$null takes true or false.", path=path)
            return Compare(name, kind, "null", operand)
        if operand is None and bare in {"eq", "ne"}:
            return Compare(name, kind, "null", bare == "eq")
        if bare in {"in", "nin"}:
            if type(operand) is not list or len(operand) > IN_VALUES:
                raise HubError("where.invalid", f"{op} takes a list of at most {IN_VALUES} values.", path=path)
            values = tuple(self.value(name, kind, v, f"{path}.{n}") for n, v in enumerate(operand))
            return Compare(name, kind, bare, tuple(dict.fromkeys(values)))
        if bare == "has":
            kind_of_item = self.kind.fields[name].item or "text"
            return Compare(name, kind, "has", self.value(name, kind_of_item, operand, path))
        value = self.value(name, kind, operand, path)
        if bare in FOLDED:
            value = fold(value)
        return Compare(name, kind, bare, value)

    def value(self, name: str, kind: str, value: Any, path: str) -> Any:
        given = type(value)
        try:
            if kind in {"text", "ref", "id"} and given is str:
                return value
            if kind == "integer" and (given is int or (given is float and value.is_integer())):
                if not -INTEGER <= value <= INTEGER:
                    raise HubError("where.invalid", "Integers lie within ±(2^53-1).", path=path)
                return int(value)
            if kind == "number" and given in {int, float}:
                return float(value)
            if kind == "boolean" and given is bool:
                return value
            if kind == "time" and given is str:
                return canonical_time(value)
            if kind == "date" and given is str:
                return date.fromisoformat(value).isoformat()
        except ValueError as error:
            raise HubError("where.invalid", f"Not a {kind}: {error}.", path=path) from None
        raise HubError("where.invalid", f"{name} compares with a value of kind {kind}.", path=path)


def parse_where(
    kind: RecordType, where: dict[str, Any] | None, hidden: frozenset[str] = frozenset(), path: str = "where"
) -> Node:
    """Return the checked nodes of a filter over `kind`; fields in `hidden` are unknown to the caller.

    Raises `where.invalid` with the path of the term at fault.
    """
    return EVERYTHING if where is None else _Parser(kind, hidden).node(where, path, 1)


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


Matcher = Callable[[Mapping[str, Any]], bool]
_ORDERING: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def matcher(node: Node) -> Matcher:
    """Return the function that says whether an image matches."""
    match node:
        case All():
            parts = [matcher(n) for n in node.nodes]
            if len(parts) == 1:
                return parts[0]
            return lambda image: all(part(image) for part in parts)
        case Either():
            options = [matcher(n) for n in node.nodes]
            return lambda image: any(option(image) for option in options)
        case Not():
            inner = matcher(node.node)
            return lambda image: not inner(image)
        case Compare():
            return _term(node.field, node.op, node.value)


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
    if op in _ORDERING:
        compare = _ORDERING[op]
        return lambda image: image[field] is not None and compare(image[field], value)
    if op == "contains":
        return lambda image: image[field] is not None and value in image[field]
    if op == "starts":
        return lambda image: image[field] is not None and image[field].startswith(value)
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
