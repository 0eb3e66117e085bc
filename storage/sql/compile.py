"""Filters, orders and cursors to SQL: the same nodes that `hub.schema.where` matches in memory.

A filter is first split into its shape and its values, so that one statement serves every value of a
shape. Negation is pushed down to the terms, each of which has an exact opposite; null never decides.
`Filters` holds what is the same on every database, `Compiler` what is said in SQLite's words. Knows
SQLAlchemy expressions and the meaning of terms; runs nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    FromClause,
    Index,
    UnaryExpression,
    and_,
    bindparam,
    exists,
    false,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.operators import custom_op

from hub.schema.query import Query, SortKey
from hub.schema.where import All, Compare, Either, Node, Not, Step
from storage.sql.rows import Rows, millis, to_json
from storage.sql.tables import FOLD, Home, Tables, with_id

Shape = tuple[Any, ...]
"""A filter without its values: `("and" | "or", *shapes)`, `("not", shape)`, `("null", field, is_null)`,
`("step", type, near, far, shape)` or `(op, field, kind, place of the value)`."""
_TRUE: Final[Shape] = ("and",)
_FALSE: Final[Shape] = ("or",)
DIALECT: Final = sqlite.dialect(paramstyle="qmark")
_NO_KEY: Final[ColumnElement[int]] = literal_column("-1")
_ORDERING: Final[dict[str, str]] = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_OPPOSITE: Final[dict[str, str]] = {"gt": "<=", "gte": "<", "lt": ">=", "lte": ">"}


@dataclass(frozen=True, slots=True)
class Text:
    """A compiled statement: its text, and the names of its parameters in the order of their places.

    `constants` holds those parameters that are part of the statement.
    """

    sql: str
    names: tuple[str, ...]
    constants: dict[str, Any]

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """Return the parameters in order."""
        if self.constants:
            values = self.constants | values
        return [values[name] for name in self.names]


def compiled(statement: ClauseElement, dialect: Dialect = DIALECT) -> Text:
    """Return the text that the driver runs."""
    result = statement.compile(dialect=dialect)
    if not isinstance(result, SQLCompiler):
        raise TypeError(f"not a statement: {statement!r}")
    names = tuple(result.positiontup or ())
    binds = result.binds
    constants = {name: binds[name].value for name in names if name in binds and not binds[name].required}
    return Text(str(result), names, constants)


def value_of(kind: str, value: Any) -> Any:
    """Return a filter's value as the column of that kind holds it."""
    if kind == "time":
        return millis(value)
    return int(value) if kind == "boolean" else value


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """The records that a part of a filter is about: where they live, and what their table is called there."""

    home: Home
    table: FromClause


def _joined(op: str, parts: list[Shape]) -> Shape:
    """Return parts joined by `and` or `or`, without those that decide nothing: SQLite bounds the depth."""
    neutral, deciding = (_TRUE, _FALSE) if op == "and" else (_FALSE, _TRUE)
    if deciding in parts:
        return deciding
    kept = [part for part in parts if part != neutral]
    return kept[0] if len(kept) == 1 else (op, *kept)


def names_ids(shape: Shape) -> bool:
    """Say whether a filter lets through only records whose ids it names."""
    if shape[0] == "and":
        return any(names_ids(inner) for inner in shape[1:])
    return shape[0] in {"eq", "in"} and shape[1] == "id"


def counting(query: Query) -> str:
    """Say how a query counts what matches: `exact`, `capped`, or not at all."""
    return "" if not query.count else "exact" if query.cap is None else "capped"


def sorted_by(column: ColumnElement[Any], key: SortKey) -> ColumnElement[Any]:
    """Return a column in the direction of a sort key."""
    return column.desc() if key.descending else column.asc()


class Filters:
    """The conditions of one record type's finds."""

    def __init__(self, rows: Rows, tables: Tables) -> None:
        self._rows = rows
        self._tables = tables
        self._table = rows.home.table
        self._place = Place(rows.home, rows.home.table)

    def split(self, node: Node, values: list[Any]) -> Shape:
        """Return the shape of a filter; its values are appended to `values` in the order of the shape."""
        match node:
            case Compare(op="null"):
                return ("null", node.field, bool(node.value))
            case Compare(op="in" | "nin"):
                if not node.value:
                    return _FALSE if node.op == "in" else _TRUE
                values.append(self._many([self._value(node.field, node.kind, value) for value in node.value]))
            case Compare():
                values.append(self._value(node.field, node.kind, node.value))
            case All():
                return _joined("and", [self.split(inner, values) for inner in node.nodes])
            case Either():
                return _joined("or", [self.split(inner, values) for inner in node.nodes])
            case Not():
                inner = self.split(node.node, values)
                return {_TRUE: _FALSE, _FALSE: _TRUE}.get(inner, ("not", inner))
            case Step():
                inner = self.split(node.node, values)
                return _FALSE if inner == _FALSE else ("step", node.type, node.near, node.far, inner)
        return (node.op, node.field, node.kind, len(values) - 1)

    def named(self, query: Query, account_pk: int, limit: int) -> tuple[Shape, tuple[bool, ...] | None, dict[str, Any]]:
        """Return a query's shape, which values of its place are null (None: it has no place), and its parameters."""
        values: list[Any] = []
        shape = self.split(query.where, values)
        named: dict[str, Any] = {f"v{n}": value for n, value in enumerate(values)}
        named["account"] = account_pk
        named["limit"] = limit
        named["cap"] = (query.cap or 0) + 1
        pattern: tuple[bool, ...] | None = None
        if query.after is not None:
            pattern = tuple(value is None for value in query.after)
            for n, (key, value) in enumerate(zip(query.order, query.after, strict=True)):
                kind = key.joined.kind if key.joined is not None else self._rows.kind.kinds[key.field]
                named[f"a{n}"] = None if value is None else self._value(key.field, kind, value)
        return shape, pattern, named

    def _value(self, field: str, kind: str, value: Any) -> Any:
        """Return a value as it is compared with a field."""
        return value_of(kind, value)

    def _many(self, values: list[Any]) -> Any:
        """Return several values as one parameter."""
        return to_json(values)

    def _after(
        self, order: Sequence[SortKey], pattern: tuple[bool, ...]
    ) -> list[tuple[ColumnElement[bool], Sequence[SortKey]]]:
        """Return the conditions of standing behind the sort key, null being lowest: each record fulfils one at most.

        Apart they are each one stretch of an index; joined by `or` not every database sees that. With each comes what
        is left of the order where it holds.
        """
        ranges: list[tuple[ColumnElement[bool], Sequence[SortKey]]] = []
        same: list[ColumnElement[bool]] = []
        for n, (key, is_null) in enumerate(zip(order, pattern, strict=True)):
            column = self.key(key)
            bound: BindParameter[Any] = bindparam(f"a{n}")
            if is_null:
                if not key.descending:
                    ranges.append((and_(*same, column.is_not(None)), order[n:]))
            elif key.descending:
                ranges.append((and_(*same, column < bound), order[n:]))
                if self._may_be_null(key):
                    ranges.append((and_(*same, column.is_(None)), order[n + 1 :]))
            else:
                ranges.append((and_(*same, column > bound), order[n:]))
            same.append(column.is_(None) if is_null else column == bound)
        return ranges

    def _may_be_null(self, key: SortKey) -> bool:
        return key.joined is not None or bool(self._table.c[key.field].nullable)

    def key(self, key: SortKey) -> ColumnElement[Any]:
        """Return what a sort key sorts by."""
        if key.joined is None:
            return self._rows.public[key.field]
        terms: list[ColumnElement[bool]] = []
        place: FromClause = self._table
        joined: list[FromClause] = []
        for hop in key.joined.hops:
            other = self._tables.of(hop.type).table.alias()
            terms += [other.c.pk == place.c[hop.near], other.c.deleted_at.is_(None)]
            terms.append(other.c.account_pk == bindparam("account"))
            joined.append(other)
            place = other
        return select(place.c[key.joined.field]).select_from(*joined).where(*terms).scalar_subquery()

    def counted(self, terms: Sequence[ColumnElement[bool]], *, capped: bool) -> ColumnElement[int]:
        """Return how many records satisfy all terms; where it is `capped`, at most one more than the cap."""
        if not capped:
            return select(func.count()).select_from(self._table).where(*terms).scalar_subquery()
        some = select(self._table.c.pk).where(*terms).limit(bindparam("cap")).subquery()
        return select(func.count()).select_from(some).scalar_subquery()

    def condition(self, shape: Shape) -> ColumnElement[bool]:
        """Return what is true exactly for the records that match."""
        return self._node(shape, True, self._place)

    def _node(self, shape: Shape, positive: bool, at: Place) -> ColumnElement[bool]:
        op = shape[0]
        if op in {"and", "or"}:
            parts = [self._node(inner, positive, at) for inner in shape[1:]]
            return and_(true(), *parts) if (op == "and") == positive else or_(false(), *parts)
        if op == "not":
            return self._node(shape[1], not positive, at)
        if op == "step":
            return self._step(shape, positive, at)
        if op == "null":
            column = at.table.c[shape[1]]
            return column.is_(None) if shape[2] == positive else column.is_not(None)
        if op in {"ne", "nin"}:
            op, positive = ("eq" if op == "ne" else "in"), not positive
        _, field, kind, place = shape
        return self._term(op, field, kind, bindparam(f"v{place}"), positive, at)

    def _step(self, shape: Shape, positive: bool, at: Place) -> ColumnElement[bool]:
        """Return what is true where one of the records that belong together matches, or where none does."""
        _, kind, near, far, inner = shape
        home = self._tables.of(kind)
        other = Place(home, home.table.alias())
        terms = [other.table.c.account_pk == bindparam("account"), other.table.c.deleted_at.is_(None)]
        terms.append(self._node(inner, True, other))
        if far == "id":  # the few that match are looked up once, and lead to the many that point to them
            column = at.table.c[near]
            found = column.in_(select(other.table.c.pk).where(*terms))
            return found if positive else or_(column.is_(None), ~found)
        there = exists(select(other.table.c.pk).where(other.table.c[far] == at.table.c.pk, *terms))
        return there if positive else ~there

    def _term(self, op: str, field: str, kind: str, bound: Any, positive: bool, at: Place) -> ColumnElement[bool]:
        """Return what is true exactly where the term is, or exactly where it is not."""
        column: ColumnElement[Any] = at.table.c[field]
        found: ColumnElement[bool]
        if kind == "ref":
            other = at.home.targets[field]
            target = self._tables.of(other).table.alias()
            keys = select(target.c.pk).where(*with_id(other, target, bindparam("account")))
            if op == "eq":
                key = keys.where(target.c.id == bound).scalar_subquery()
                return column == key if positive else column.is_distinct_from(func.coalesce(key, _NO_KEY))
            found = column.in_(keys.where(self._among(target.c.id, "id", bound)))
            return found if positive else or_(column.is_(None), ~found)
        if op == "eq":
            return column == bound if positive else column.is_distinct_from(bound)
        if op == "in":
            found = self._among(column, kind, bound)
            return found if positive else or_(column.is_(None), ~found)
        if op in _ORDERING:
            compare = column.op(_ORDERING[op] if positive else _OPPOSITE[op], is_comparison=True)(bound)
            return compare if positive else or_(column.is_(None), compare)
        if op == "has":
            return self._has(column, at.home.kind.fields[field].item or "text", bound, positive)
        if op in {"icontains", "istarts", "iends"}:
            column, op = at.table.c[field + FOLD], op[1:]
        if op == "contains":
            found = func.instr(column, bound) > 0
        elif op == "ends":
            found = func.substr(column, func.char_length(column) - func.char_length(bound) + 1) == bound
        else:
            found = func.substr(column, 1, func.char_length(bound)) == bound
            if positive:  # lets an index on the column narrow the search
                found = and_(column >= bound, found)
        return found if positive else or_(column.is_(None), ~found)

    def _among(self, column: ColumnElement[Any], kind: str, bound: Any) -> ColumnElement[bool]:
        """Return what is true where a column is one of several values, and null where it is null."""
        return column.in_(select(func.json_each(bound).table_valued("value").c.value))

    def _has(self, column: ColumnElement[Any], item: str, bound: Any, positive: bool) -> ColumnElement[bool]:
        """Return what is true exactly where a list holds a value, or exactly where it does not."""
        each = func.json_each(column).table_valued("value")
        found = exists().select_from(each).where(each.c.value == bound)
        return found if positive else ~found


def _partial(index: Index) -> bool:
    return index.dialect_options["sqlite"]["where"] is not None


class Compiler(Filters):
    """Makes the statements of one record type's finds on SQLite, and remembers them by shape."""

    def __init__(self, rows: Rows, tables: Tables) -> None:
        super().__init__(rows, tables)
        self.statement: Callable[..., Text] = lru_cache(512)(self._statement)
        led = [[column.name for column in index.columns] for index in self._table.indexes if not _partial(index)]
        # What the indexes that begin with the account have behind it.
        self._indexes = [names[1:] for names in led if names[0] == "account_pk"]
        # By which fields an index finds few of the account's records.
        self._leading = {index.columns[1].name for index in self._table.indexes if len(index.columns) > 1} - {"id"}

    def find(self, query: Query, account_pk: int, limit: int, *, whole: bool) -> tuple[str, list[Any]]:
        """Return the statement of a find and its parameters.

        Its one row holds the account's seq, the total (null unless asked) and, joined by commas and null
        where there are none, the chosen records in order: JSON arrays of their rows where `whole`, else
        their internal keys.
        """
        shape, pattern, named = self.named(query, account_pk, limit)
        text = self.statement(shape, query.order, pattern, query.deleted, counting(query), whole)
        return text.sql, text.arguments(named)

    def _statement(
        self,
        shape: Shape,
        order: tuple[SortKey, ...],
        pattern: tuple[bool, ...] | None,
        deleted: bool,
        count: str,
        whole: bool,
    ) -> Text:
        table = self._table
        # Of no account's, an id says more than the account; as an expression, that does not tempt to its index.
        aside = self._rows.kind.system and names_ids(shape)
        account = table.c.account_pk + literal_column("0") if aside else table.c.account_pk
        terms = [account == bindparam("account")]
        if not deleted:
            terms.append(table.c.deleted_at.is_(None))
        terms.append(self.condition(shape))
        total: Any = null()
        if count:
            total = self.counted(terms, capped=count == "capped")
        walked = self._walked(shape, order)
        if whole and walked:
            # An index has the order, so it ends with the page: each record is looked at once.
            ranges = [] if pattern is None else self._behind(order, pattern, [self.key(key) for key in order])
            if len(ranges) < 2:
                answer = select(func.json_array(*self._rows.outputs).label("j")).select_from(self._rows.source)
                answer = answer.where(*terms, *ranges).order_by(*(sorted_by(self.key(key), key) for key in order))
                return self._answer(total, answer.limit(bindparam("limit")).subquery("answer").c.j)
        # Only keys are sorted; what is returned is made for the chosen records alone.
        by_target = any(key.field in self._rows.home.targets for key in order)
        # As an expression, the order of the ids does not tempt away from the index that finds few records.
        aside = order[0].field == "id" and not walked
        places = [UnaryExpression(k, operator=custom_op("+")) if aside else k for k in map(self.key, order)]
        keys = [place.label(f"k{n}") for n, place in enumerate(places)]
        found = select(table.c.pk.label("chosen_pk"), *keys)
        found = found.select_from(self._rows.source if by_target else table).where(*terms)
        ranges = [] if pattern is None else self._behind(order, pattern, places)
        if len(ranges) > 1:
            # One by one, since SQLite walks from the first record to the place where they are joined by `or`.
            every = union_all(*(found.where(part) for part in ranges))
            ordered = every.order_by(*(sorted_by(literal_column(f"k{n}"), key) for n, key in enumerate(order)))
            chosen = ordered.limit(bindparam("limit")).subquery("chosen")
        else:
            ordered_by = [sorted_by(place, key) for place, key in zip(places, order, strict=True)]
            chosen = found.where(*ranges).order_by(*ordered_by).limit(bindparam("limit")).subquery("chosen")
        if not whole:
            return self._answer(total, chosen.c.chosen_pk)
        # What was chosen comes first in every plan, in its order: the others are only looked up.
        looked_up = self._rows.joined(chosen.outerjoin(table, table.c.pk == chosen.c.chosen_pk))
        answer = select(func.json_array(*self._rows.outputs).label("j")).select_from(looked_up)
        return self._answer(total, answer.subquery("answer").c.j)

    def _answer(self, total: Any, column: ColumnElement[Any]) -> Text:
        """Return the statement of one row: the account's seq, the total, and what a column holds, joined by commas."""
        counter = self._tables.account
        joined = select(func.group_concat(column)).scalar_subquery()
        seq = select(counter.c.seq).where(counter.c.account_pk == bindparam("account")).scalar_subquery()
        return compiled(select(seq, total, joined))

    def _walked(self, shape: Shape, order: tuple[SortKey, ...]) -> bool:
        """Say whether an index has the records that match some values in this order."""
        down = order[0].descending
        targets = self._rows.home.targets  # sorted by their public ids, which are elsewhere
        if any(key.joined is not None or key.field in targets or key.descending != down for key in order):
            return False
        equal = {part[1] for part in (shape[1:] if shape[0] == "and" else [shape]) if part[0] == "eq"}
        wanted = tuple(key.field for key in order)
        for index in self._indexes:
            rest = tuple(itertools.dropwhile(equal.__contains__, index))
            if rest == wanted and (index != ["id"] or not self._narrows(shape)):
                return True
        return False

    def _narrows(self, shape: Shape) -> bool:
        """Say whether an index finds those that match among the records of the account."""
        op = shape[0]
        if op in {"and", "or"}:
            return (any if op == "and" else all)(map(self._narrows, shape[1:]))
        if op == "step":
            return shape[3] == "id" and shape[2] in self._leading
        return op in {"eq", "in", "starts", *_ORDERING} and shape[1] in self._leading

    def _behind(
        self, order: Sequence[SortKey], pattern: tuple[bool, ...], places: Sequence[ColumnElement[Any]]
    ) -> list[ColumnElement[bool]]:
        """Return the conditions of standing behind the sort key: one, where the keys say it together.

        SQLite walks from there on where an index has the keys. A null is neither more nor less than anything, so it
        must not stand behind the place: it may where a key descends.
        """
        down = order[0].descending
        if any(pattern) or any(key.descending != down or (down and self._may_be_null(key)) for key in order):
            return [part for part, _ in self._after(order, pattern)]
        place = tuple_(*(bindparam(f"a{n}") for n in range(len(order))))
        keys = tuple_(*places)
        return [keys < place if down else keys > place]

    def _among(self, column: ColumnElement[Any], kind: str, bound: Any) -> ColumnElement[bool]:
        if kind == "number":
            return func.aether_number_in(bound, column) == 1
        return super()._among(column, kind, bound)

    def _has(self, column: ColumnElement[Any], item: str, bound: Any, positive: bool) -> ColumnElement[bool]:
        if item == "number":
            return func.aether_number_in(column, bound) == (1 if positive else 0)
        return super()._has(column, item, bound, positive)
