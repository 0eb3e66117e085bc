"""Random data and random filters over any record type, drawn from small pools so that they meet."""

from __future__ import annotations

from random import Random
from typing import Any, Final

import msgspec

from hub.schema.fields import FieldSpec
from hub.schema.record import RecordType
from hub.schema.where import FOLDED, operators_of

TEXTS: Final = (
    "", "a", "A", "ab", "Ab", "aB c", "ß", "SS", "straße", "STRASSE", "Ä", "ä", "ﬁ", "fi", "%", "_", "a%b", "\\",
    "'", '"', "日本", "😀", "z\tz", "z\nz",
)  # fmt: skip
INTEGERS: Final = (-(2**53) + 1, -1, 0, 1, 2, 3, 2**53 - 1)
NUMBERS: Final = (-1.5, 0.0, 0.1, 1.0, 1.5, 2, 1e300, 5e-324)
TIMES: Final = (
    "2026-11-21T08:54:49.123Z",
    "2026-11-21T09:54:49.123+01:00",
    "2026-11-21T08:54:49.1239Z",
    "1969-12-31T23:59:59.999Z",
    "2026-11-21T09:00:02.000Z",
)
DAYS: Final = ("2026-11-21", "2026-12-31", "1999-01-01")
OBJECTS: Final[tuple[dict[str, Any], ...]] = ({}, {"a": 1}, {"a": True}, {"a": {"b": [1, 1.5, None, "x"]}})
_POOLS: Final[dict[str, tuple[Any, ...]]] = {
    "text": TEXTS,
    "integer": INTEGERS,
    "number": NUMBERS,
    "boolean": (True, False),
    "time": TIMES,
    "date": DAYS,
    "object": OBJECTS,
}
CHANGED: Final = 3
"""How many fields a random change has at most."""


def value_for(rng: Random, spec: FieldSpec, ids: dict[str, list[str]]) -> Any:
    """Return a random valid value of a field; `ids` holds the known ids of each type."""
    while not _is_valid(value := _any_value(rng, spec, ids), spec):
        pass
    return value


def _is_valid(value: Any, spec: FieldSpec) -> bool:
    try:
        msgspec.convert(value, spec.accepts)
    except msgspec.ValidationError:
        return False
    return True


def _any_value(rng: Random, spec: FieldSpec, ids: dict[str, list[str]]) -> Any:
    if spec.nullable and rng.random() < 0.25:
        return None
    if spec.choices:
        return rng.choice(spec.choices)
    if spec.kind == "list":
        return rng.choices(_POOLS[spec.item or "text"], k=rng.randrange(4))
    if spec.kind == "ref":
        known = ids.get(_target(spec), [])
        return rng.choice(known) if known else None if spec.nullable else "nobody-here"
    return rng.choice(_POOLS[spec.kind])


def _target(spec: FieldSpec) -> str:
    name: str = getattr(spec.ref, "__record_type__").name  # noqa: B009  # set for every declared type
    return name


def change_of(rng: Random, kind: RecordType, ids: dict[str, list[str]]) -> dict[str, Any]:
    """Return random data of an update."""
    open_fields = [s for s in kind.fields.values() if not (s.option.write_once or s.option.read_only)]
    chosen = rng.sample(open_fields, min(len(open_fields), rng.randint(1, CHANGED)))
    return {s.wire: value_for(rng, s, ids) for s in chosen}


def data_of(rng: Random, kind: RecordType, ids: dict[str, list[str]], token: str) -> dict[str, Any]:
    """Return random data of a creation; text fields that are required or written once get `token`."""
    data: dict[str, Any] = {}
    for spec in kind.fields.values():
        if spec.option.read_only:
            continue
        if spec.kind == "text" and not spec.choices and (spec.required or spec.option.write_once):
            data[spec.wire] = token
        elif spec.required or rng.random() < 0.6:
            data[spec.wire] = value_for(rng, spec, ids)
    return data


def where_of(rng: Random, kind: RecordType, hidden: frozenset[str], ids: dict[str, list[str]]) -> dict[str, Any] | None:
    """Return a random filter over the fields that may be seen."""
    if rng.random() < 0.15:
        return None
    return _node(rng, kind, hidden, ids, 1)


def window_of(rng: Random, kind: RecordType, hidden: frozenset[str]) -> dict[str, Any]:
    """Return a random order and limit, either of which may be left out."""
    window: dict[str, Any] = {}
    if rng.random() < 0.9:
        names = rng.sample(sorted(kind.sortable - hidden), rng.randint(1, 3))
        window["order"] = [rng.choice(("", "-")) + name for name in names]
    if rng.random() < 0.9:
        window["limit"] = rng.choice((1, 2, 3, 4, 6, 10))
    return window


def _node(
    rng: Random, kind: RecordType, hidden: frozenset[str], ids: dict[str, list[str]], depth: int
) -> dict[str, Any]:
    node: dict[str, Any] = {}
    for _ in range(rng.choice((1, 1, 1, 2))):
        pick = rng.random()
        if depth < 4 and pick < 0.15:
            node["$or"] = [_node(rng, kind, hidden, ids, depth + 1) for _ in range(rng.randint(1, 3))]
        elif depth < 4 and pick < 0.2:
            node["$and"] = [_node(rng, kind, hidden, ids, depth + 1) for _ in range(rng.randint(1, 2))]
        elif depth < 4 and pick < 0.35:
            node["$not"] = _node(rng, kind, hidden, ids, depth + 1)
        else:
            name = rng.choice([n for n in kind.kinds if n not in hidden and operators_of(kind, n)])
            node[name] = _condition(rng, kind, name, ids)
    return node


def _condition(rng: Random, kind: RecordType, name: str, ids: dict[str, list[str]]) -> Any:
    ops = operators_of(kind, name)
    if "$eq" in ops and rng.random() < 0.1:
        return None
    op = rng.choice(ops)
    operand: Any
    if op == "$null":
        operand = rng.random() < 0.5
    elif op == "$between":
        operand = [_operand(rng, kind, name, ids) for _ in range(2)]
    elif op in {"$in", "$nin", "$hasAny", "$hasAll"}:
        operand = [_operand(rng, kind, name, ids) for _ in range(rng.randrange(4))]
    else:
        operand = _operand(rng, kind, name, ids)
        if op.removeprefix("$") in FOLDED | {"contains", "starts", "ends"}:
            operand = operand[: rng.choice((1, 2, 99))]
    if op == "$eq" and rng.random() < 0.5:
        return operand
    condition = {op: operand}
    if "$lt" in ops and rng.random() < 0.2:
        condition["$ne"] = _operand(rng, kind, name, ids)
    return condition


def _operand(rng: Random, kind: RecordType, name: str, ids: dict[str, list[str]]) -> Any:
    what = kind.kinds[name]
    spec = kind.fields.get(name)
    if name == "version":
        return rng.randint(1, 5)
    if what == "list" and spec is not None:
        return rng.choice(_POOLS[spec.item or "text"])
    if spec is not None and spec.choices:
        return rng.choice(spec.choices)
    if what in {"ref", "id"}:
        known = [i for found in ids.values() for i in found]
        return rng.choice([*known[-20:], "nobody-here"])
    return rng.choice(_POOLS[what])


def fields_of(rng: Random, kind: RecordType, hidden: frozenset[str]) -> list[str] | None:
    """Return a random choice of fields, or None for all of them."""
    if rng.random() < 0.6:
        return None
    names = [n for n in kind.kinds if n not in hidden]
    return rng.sample(names, rng.randint(0, 4))
