"""The filter language: from the wire's `where` to checked nodes, and from nodes to a matcher in memory.

    {"status": "active", "age": {"$gte": 18}, "$or": [{"vip": true}, {"tags": {"$has": "speaker"}}]}

One meaning everywhere: `storage/sql` compiles the same nodes to SQL, and a property test holds the two
together. The meaning of null: `$ne` and `$nin` match it, `$eq: null` is `$null: true`, every other
comparison with it is false, `$not` turns exactly true and false around. Text compares by code point.

A step asks of the records that belong together: `{"parent": {…}}`, `{"location": {…}}` for a reference
`location_id`, `{"children": {"type": "event_track", "$some": {…}}}`. It is true where one such live record
matches. Source: DESIGN.md section 4.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Protocol

import msgspec

from hub.schema.fold import fold
from hub.schema.record import Image, RecordType, referred
from hub.schema.times import canonical_time
from hub.wire.codec import ECHO, INTEGER
from hub.wire.errors import HubError

DEPTH: Final = 5
TERMS: Final = 200
FILTERS: Final = 1000
STEPS: Final = frozenset({"parent", "children"})
"""The steps that have the same name for every type; those over references are called as the reference."""
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

_EQUALITY = frozenset({"eq", "ne", "in", "nin", "null"})
_ORDER = _EQUALITY | {"gt", "gte", "lt", "lte", "between"}
_TEXT = _ORDER | {"contains", "icontains", "starts", "istarts", "ends", "iends"}
OPERATORS: Final[dict[str, frozenset[str]]] = {
    "text": _TEXT,
    "integer": _ORDER,
    "number": _ORDER,
    "time": _ORDER,
    "date": _ORDER,
    "boolean": _EQUALITY,
    "ref": _EQUALITY,
    "id": _EQUALITY,
    "list": frozenset({"has", "hasAny", "hasAll", "null"}),
    "object": frozenset(),
}
"""The operators (without `$`) that each kind of field knows."""
FOLDED: Final = frozenset({"icontains", "istarts", "iends"})


class Reach(Protocol):
    """How far the filters of who asks reach: which types they may step to, and what they do not see there."""

    def hidden(self, kind: RecordType) -> frozenset[str]:
        """Return the wire names of the fields that are unknown to them."""

    def children(self, kind: RecordType) -> list[RecordType]:
        """Return the types whose records belong to records of `kind`."""

    def enter(self, kind: RecordType, path: str) -> None:
        """Raise `access.denied` unless records of `kind` may be read."""


def operators_of(kind: RecordType, field: str) -> list[str]:
    """Return the operators of one field of a type, with `$`, sorted."""
    found = OPERATORS[kind.kinds[field]]
    spec = kind.fields.get(field)
    if spec is None or not spec.option.folded:
        found -= FOLDED
    return sorted(f"${name}" for name in found)


class _Parser:
    def __init__(self, hidden: frozenset[str], reach: Reach | None, watched: bool) -> None:
        self.hidden = hidden
        self.reach = reach
        self.watched = watched
        self.terms = 0
        self.filters = 0
        """How many objects of field: condition there are; each may be empty, so they are bounded too."""

    def node(self, kind: RecordType, where: Any, path: str, depth: int) -> Node:
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
                inner = tuple(self.node(kind, item, f"{here}.{n}", depth + 1) for n, item in enumerate(value))
                nodes.append(All(inner) if key == "$and" else Either(inner))
            elif key == "$not":
                nodes.append(Not(self.node(kind, value, here, depth + 1)))
            elif key.startswith("$"):
                raise HubError("where.invalid", f"There is no operator {key[:40]}.", path=here)
            elif key not in kind.kinds and (key in STEPS or key in kind.steps):
                nodes.append(self.step(kind, key, value, here, depth + 1))
            else:
                nodes.extend(self.field(kind, key, value, here))
        return nodes[0] if len(nodes) == 1 else All(tuple(nodes))

    def step(self, kind: RecordType, key: str, value: Any, path: str, depth: int) -> Step:
        if self.watched:
            text = f"A watch takes no step to {key}; filter by the record's own fields."
            raise HubError("where.not_watchable", text, path=path)
        if self.reach is None:
            raise HubError("where.invalid", f"This filter takes no step to {key}.", path=path)
        self.count(path)
        if key in kind.steps:
            wire = kind.steps[key]
            return self.into(referred(kind.fields[wire]), wire, "id", value, path, depth)
        if key == "parent":
            if kind.parent is None or kind.parent_wire is None:
                raise HubError("where.invalid", f"{kind.name} belongs to the account, not to a parent.", path=path)
            return self.into(kind.parent, kind.parent_wire, "id", value, path, depth)
        if type(value) is not dict or set(value) not in ({"$some"}, {"$some", "type"}):
            form = '{"type": …, "$some": {…}}'
            raise HubError("where.invalid", f"children takes {form}.", path=path)
        child = self.child(kind, value, path)
        return self.into(child, "id", child.parent_wire or "", value["$some"], f"{path}.$some", depth)

    def child(self, kind: RecordType, value: dict[str, Any], path: str) -> RecordType:
        """Return the type of the children that a step names, or the only one there is."""
        known = self.reach.children(kind) if self.reach is not None else []
        names = ", ".join(sorted(child.name for child in known)) or "none"
        if "type" in value:
            for child in known:
                if child.name == value["type"]:
                    return child
            raise HubError("where.invalid", f"The types below {kind.name} are: {names}.", path=f"{path}.type")
        if len(known) != 1:
            text = f"Name the `type` of the children; below {kind.name} there are: {names}."
            raise HubError("where.invalid", text, path=path)
        return known[0]

    def into(self, kind: RecordType, near: str, far: str, where: Any, path: str, depth: int) -> Step:
        outer = self.hidden
        if self.reach is not None:
            self.reach.enter(kind, path)
            self.hidden = self.reach.hidden(kind)
        node = self.node(kind, where, path, depth)
        self.hidden = outer
        return Step(kind, near, far, node)

    def count(self, path: str) -> None:
        self.terms += 1
        if self.terms > TERMS:
            raise HubError("where.invalid", f"A filter has at most {TERMS} terms.", path=path)

    def field(self, kind: RecordType, name: str, value: Any, path: str) -> list[Node]:
        what = kind.kinds.get(name)
        if what is None or name in self.hidden:
            raise HubError("where.invalid", f"{kind.name} has no field {name[:48]!r}.", path=path)
        if type(value) is not dict:
            return [self.term(kind, name, what, "$eq", value, path)]
        if not value:
            raise HubError("where.invalid", 'A condition names an operator, such as {"$eq": 1}.', path=path)
        return [self.term(kind, name, what, op, operand, f"{path}.{op[:ECHO]}") for op, operand in value.items()]

    def term(self, owner: RecordType, name: str, kind: str, op: str, operand: Any, path: str) -> Node:
        self.count(path)
        bare = op.removeprefix("$")
        if not op.startswith("$") or bare not in OPERATORS[kind]:
            raise HubError("where.invalid", f"A field of kind {kind} has no operator {op[:40]}.", path=path)
        if bare in FOLDED and not owner.fields[name].option.folded:
            raise HubError("where.invalid", f"{op} needs a folded field; {name} is not declared so.", path=path)
        if bare == "null":
            if type(operand) is not bool:
                raise HubError("where.invalid", "$null takes true or false.", path=path)
            return Compare(name, kind, "null", operand)
        if operand is None and bare in {"eq", "ne"}:
            return Compare(name, kind, "null", bare == "eq")
        if bare in {"in", "nin"}:
            values = self.values(name, kind, op, operand, path)
            return Compare(name, kind, bare, tuple(dict.fromkeys(values)))
        if bare == "between":
            if type(operand) is not list or len(operand) != 2:
                raise HubError("where.invalid", "$between takes a list of two values, both included.", path=path)
            self.count(path)
            low, high = self.values(name, kind, op, operand, path)
            return All((Compare(name, kind, "gte", low), Compare(name, kind, "lte", high)))
        if kind == "list":
            return self.holds(owner, name, bare, operand, path)
        value = self.value(name, kind, operand, path)
        if bare in FOLDED:
            value = fold(value)
        return Compare(name, kind, bare, value)

    def holds(self, owner: RecordType, name: str, op: str, operand: Any, path: str) -> Node:
        """Return the node of `$has`, and of the others in its words: each of their values is a term."""
        item = owner.fields[name].item or "text"
        if op == "has":
            return Compare(name, "list", "has", self.value(name, item, operand, path))
        values = dict.fromkeys(self.values(name, item, f"${op}", operand, path))
        for _ in range(len(values) - 1):
            self.count(path)
        nodes = tuple(Compare(name, "list", "has", value) for value in values)
        if op == "hasAny":
            return Either(nodes) if nodes else NOTHING
        return All(nodes) if nodes else Compare(name, "list", "null", False)

    def values(self, name: str, kind: str, op: str, operand: Any, path: str) -> list[Any]:
        if type(operand) is not list or len(operand) > IN_VALUES:
            raise HubError("where.invalid", f"{op} takes a list of at most {IN_VALUES} values.", path=path)
        return [self.value(name, kind, value, f"{path}.{n}") for n, value in enumerate(operand)]

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
    kind: RecordType,
    where: dict[str, Any] | None,
    hidden: frozenset[str] = frozenset(),
    path: str = "where",
    *,
    reach: Reach | None = None,
    watched: bool = False,
) -> Node:
    """Return the checked nodes of a filter over `kind`; fields in `hidden` are unknown to the caller.

    Without `reach` there are no steps. Raises `where.invalid` with the path of the term at fault, `access.denied` for
    a step to a type that may not be read, and where it is `watched`, `where.not_watchable` for any step.
    """
    return EVERYTHING if where is None else _Parser(hidden, reach, watched).node(kind, where, path, 1)


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
_ORDERING: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def matcher(node: Node, others: Others | None = None) -> Matcher:
    """Return the function that says whether an image matches; steps look among `others`."""
    match node:
        case All():
            parts = [matcher(n, others) for n in node.nodes]
            if len(parts) == 1:
                return parts[0]
            return lambda image: all(part(image) for part in parts)
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
    if op in _ORDERING:
        compare = _ORDERING[op]
        return lambda image: image[field] is not None and compare(image[field], value)
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
