"""Aggregates as statements: counts, sums and bounds of one record type's records, over all or in groups.

`Totals` holds what is the same on every database and SQLite's words. A sum of integers may need more than the 64 bits
that SQLite adds in, so it is added up in two halves. Runs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, bindparam, func, literal_column, select

from hub.schema.totals import Aggregate, Part
from storage.sql.compile import Filters, Shape, Text, compiled
from storage.sql.rows import Rows, wire_time
from storage.sql.tables import Tables

_HALF: Final = 1 << 26
_DECODED: Final[dict[str, Callable[[Any], Any]]] = {"time": wire_time, "boolean": bool, "number": float}


class Totals:
    """Makes the statements of one record type's aggregates, and remembers them by shape."""

    def __init__(self, filters: Filters, rows: Rows, tables: Tables) -> None:
        self._filters = filters
        self._rows = rows
        self._tables = tables
        self._kinds = rows.kind.kinds
        self._text: Callable[..., Text] = lru_cache(256)(self._statement)

    def statement(self, aggregate: Aggregate, account_pk: int) -> tuple[str, list[Any]]:
        """Return the statement of an aggregate and its parameters, for one group more than it wants."""
        values: list[Any] = []
        shape = self._filters.split(aggregate.where, values)
        text = self._text(shape, aggregate.group, aggregate.parts())
        named = {f"v{n}": value for n, value in enumerate(values)}
        return text.sql, text.arguments(named | {"account": account_pk, "limit": aggregate.limit + 1})

    def groups(self, aggregate: Aggregate, rows: Sequence[Sequence[Any]]) -> list[tuple[Any, dict[Part, Any]]]:
        """Return each group's value and parts; a row holds the value, then the columns of every part."""
        group = aggregate.group
        decode = _DECODED.get(self._kinds[group]) if group is not None else None
        found: list[tuple[Any, dict[Part, Any]]] = []
        for value, *columns in rows:
            place = iter(columns)
            parts = {part: self.part(part, [next(place) for _ in self.columns(part)]) for part in aggregate.parts()}
            found.append((value if value is None or decode is None else decode(value), parts))
        return found

    def _statement(self, shape: Shape, group: str | None, parts: tuple[Part, ...]) -> Text:
        table, rows = self._rows.home.table, self._rows
        value: ColumnElement[Any] = rows.public[group] if group is not None else literal_column("NULL")
        shown = self.shown(value, self._kinds[group] if group is not None else "")
        columns = [column for part in parts for column in self.columns(part)]
        labelled = [shown.label("g"), *(column.label(f"c{n}") for n, column in enumerate(columns))]
        where = [table.c.account_pk == bindparam("account"), table.c.deleted_at.is_(None)]
        found = select(*labelled).select_from(rows.source if group in rows.home.targets else table)
        found = found.where(*where, self._filters.condition(shape))
        if group is not None:
            found = found.group_by(value).order_by(value.asc()).limit(bindparam("limit"))
        return self.whole(found)

    # -- in SQLite's words --------------------------------------------------------------------------

    def shown(self, column: ColumnElement[Any], kind: str) -> ColumnElement[Any]:
        """Return a value as it is selected."""
        return func.aether_number_text(column) if kind == "number" else column

    def columns(self, part: Part) -> list[ColumnElement[Any]]:
        """Return what is selected for a part."""
        function, field = part
        if field is None:
            return [func.count()]
        column: ColumnElement[Any] = self._rows.home.table.c[field]
        kind = self._kinds[field]
        if function == "count":
            return [func.count(column)]
        if function == "sum" and kind == "integer":
            half: ColumnElement[int] = literal_column(str(_HALF))
            return [func.coalesce(func.sum(column.op(op)(half)), 0) for op in ("/", "%")]
        found: ColumnElement[Any] = func.total(column) if function == "sum" else getattr(func, function)(column)
        return [self.shown(found, kind)]

    def part(self, part: Part, values: list[Any]) -> Any:
        """Return a part, made of what was selected for it."""
        function, field = part
        if len(values) == 2:
            return values[0] * _HALF + values[1]
        kind = "" if field is None or function == "count" else self._kinds[field]
        if values[0] is None:
            # A sum has a value unless it is of infinite numbers of both signs.
            return float("nan") if function == "sum" else None
        return _DECODED[kind](values[0]) if kind in _DECODED else values[0]

    def whole(self, found: Select[Any]) -> Text:
        """Return the statement whose one row holds the account's seq and the rows, joined by commas."""
        counter, inner = self._tables.account, found.subquery("found")
        joined = select(func.group_concat(func.json_array(*inner.c))).scalar_subquery()
        seq = select(counter.c.seq).where(counter.c.account_pk == bindparam("account")).scalar_subquery()
        return compiled(select(seq, joined))
