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

from datetime import date
from typing import Any, Final, Protocol

from hub.schema.fold import fold
from hub.schema.nodes import (
    EVERYTHING,
    NOTHING,
    All,
    Compare,
    Either,
    Matcher,
    Node,
    Not,
    Others,
    Step,
    both,
    canonical,
    equals,
    fingerprint,
    has_steps,
    matcher,
)
from hub.schema.record import RecordType, referred
from hub.schema.times import canonical_time
from hub.schema.views import STEPS, Joined, Sight
from hub.wire.codec import ECHO, INTEGER
from hub.wire.errors import HubError

__all__ = [
    "EVERYTHING", "NOTHING", "OF_LISTS", "All", "Compare", "Either", "Matcher", "Node", "Not", "Others", "Reach",
    "Step", "both", "canonical", "equals", "fingerprint", "has_steps", "matcher", "operators_of", "parse_where",
]  # fmt: skip

DEPTH: Final = 5
TERMS: Final = 200
FILTERS: Final = 1000
IN_VALUES: Final = 1000


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
OF_LISTS: Final = ("$has", "$hasAll", "$hasAny", "$null")
"""The operators of a list in a view."""
FOLDED: Final = frozenset({"icontains", "istarts", "iends"})


class Reach(Protocol):
    """How far the filters of who asks reach: which types they may step to, and what they do not see there."""

    def hidden(self, kind: RecordType) -> frozenset[str]:
        """Return the wire names of the fields that are unknown to them."""

    def children(self, kind: RecordType) -> list[RecordType]:
        """Return the types whose records belong to records of `kind`."""

    def enter(self, kind: RecordType, path: str) -> None:
        """Raise `access.denied` unless records of `kind` may be read."""

    def rule(self, kind: RecordType) -> Node:
        """Return the filter of those records of `kind` that may be read."""


def operators_of(kind: RecordType, field: str) -> list[str]:
    """Return the operators of one field of a type, with `$`, sorted."""
    found = OPERATORS[kind.kinds[field]]
    spec = kind.fields.get(field)
    if spec is None or not spec.option.folded:
        found -= FOLDED
    return sorted(f"${name}" for name in found)


class _Parser:
    def __init__(self, hidden: frozenset[str], reach: Reach | None, watched: bool, view: Sight | None) -> None:
        self.hidden = hidden
        self.reach = reach
        self.watched = watched
        # The joined fields of the records that are asked for; not of those that steps lead to.
        self.joined: dict[str, Joined] = view.fields if view is not None else {}
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
            elif self.is_step(kind, key):
                nodes.append(self.step(kind, key, value, here, depth + 1))
            else:
                nodes.extend(self.field(kind, key, value, here))
        return nodes[0] if len(nodes) == 1 else All(tuple(nodes))

    def is_step(self, kind: RecordType, key: str) -> bool:
        if key in kind.kinds:
            return False
        return key in STEPS or (key in kind.steps and kind.steps[key] not in self.hidden)

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
        outer = self.hidden, self.joined
        if self.reach is not None:
            self.reach.enter(kind, path)
            self.hidden, self.joined = self.reach.hidden(kind), {}
        node = self.node(kind, where, path, depth)
        if self.reach is not None:
            node = both(self.reach.rule(kind), node)
        self.hidden, self.joined = outer
        return Step(kind, near, far, node)

    def count(self, path: str) -> None:
        self.terms += 1
        if self.terms > TERMS:
            raise HubError("where.invalid", f"A filter has at most {TERMS} terms.", path=path)

    def field(self, kind: RecordType, name: str, value: Any, path: str) -> list[Node]:
        joined = self.joined.get(name)
        what = kind.kinds.get(name) if joined is None else joined.kind
        if what is None or name in self.hidden:
            raise HubError("where.invalid", f"{kind.name} has no field {name[:48]!r}.", path=path)
        if type(value) is dict and not value:
            raise HubError("where.invalid", 'A condition names an operator, such as {"$eq": 1}.', path=path)
        conditions = value.items() if type(value) is dict else [("$eq", value)]
        nodes: list[Node] = []
        for op, operand in conditions:
            here = f"{path}.{op[:ECHO]}" if type(value) is dict else path
            if joined is not None:
                nodes.append(self.seen(joined, op, operand, here))
            else:
                nodes.append(self.term(kind, name, what, op, operand, here))
        return nodes

    def seen(self, field: Joined, op: str, operand: Any, path: str) -> Node:
        """Return the node of a term on a joined field: one of the record that has it, behind steps to there."""
        if not field.many:
            node = self.term(field.type, field.field, field.kind, op, operand, path)
            if isinstance(node, Compare) and node.op in _ABSENT:
                # True also where no such record is.
                op, value = ("null", False) if node.op == "null" else (_ABSENT[node.op], node.value)
                if node.op != "null" or node.value:
                    return Not(_behind(field, Compare(node.field, node.kind, op, value)))
            return _behind(field, node)
        self.count(path)
        if op == "$null" and type(operand) is bool:
            return NOTHING if operand else EVERYTHING
        if op not in OF_LISTS or op == "$null":
            raise HubError("where.invalid", f"A list in a view has no operator {op[:40]}.", path=path)
        if op == "$has":
            values = [self.value(field.name, field.kind, operand, path)]
        else:
            values = list(dict.fromkeys(self.values(field.name, field.kind, op, operand, path)))
        for _ in values[1:]:
            self.count(path)
        nodes = tuple(_behind(field, Compare(field.field, field.kind, "eq", value)) for value in values)
        return All(nodes) if op == "$hasAll" else Either(nodes)

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


_ABSENT: Final = {"ne": "eq", "nin": "in", "null": "null"}
"""The terms that null may satisfy, each with its opposite."""


def _behind(field: Joined, node: Node) -> Node:
    """Return what is true where a record that a joined field is taken from satisfies `node`."""
    for hop in reversed(field.hops):
        node = Step(hop.type, hop.near, hop.far, node if hop.where is None else both(hop.where, node))
    return node


def parse_where(
    kind: RecordType,
    where: dict[str, Any] | None,
    hidden: frozenset[str] = frozenset(),
    path: str = "where",
    *,
    reach: Reach | None = None,
    watched: bool = False,
    view: Sight | None = None,
) -> Node:
    """Return the checked nodes of a filter over `kind`; fields in `hidden` are unknown to the caller.

    Without `reach` there are no steps; `view` brings its joined fields. Raises `where.invalid` with the path of the
    term at fault, `access.denied` for a step to a type that may not be read, and where it is `watched`,
    `where.not_watchable` for any step.
    """
    return EVERYTHING if where is None else _Parser(hidden, reach, watched, view).node(kind, where, path, 1)
