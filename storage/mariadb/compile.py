"""Filters, orders and pages in MariaDB's words. Knows expressions, no table.

A parameter may be a tuple: `spread` writes as many places for it as it has members, so that one compiled statement
serves lists of any length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, cast, func, literal_column, null, or_, select, true, union_all
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Boolean

from hub.schema.fields import FOR_ID
from hub.schema.query import Query, SortKey
from storage.sql import compile as shared
from storage.sql.compile import Filters, Shape, counting, names_ids, sorted_by
from storage.sql.rows import Rows, decode_json
from storage.sql.tables import Home, Tables

DIALECT: Final = mysql.dialect(paramstyle="format")
IMPOSSIBLE: Final = ""
"""What no record has as its id."""


def compiled(statement: Any) -> shared.Text:
    """Return the text that the driver runs."""
    return shared.compiled(statement, DIALECT)


def spread(sql: str, arguments: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
    """Return a statement with places for the members of its tuples, and its parameters one behind the other."""
    if not any(type(argument) is tuple for argument in arguments):
        return sql, tuple(arguments)
    pieces = sql.split("%s")
    parts = [pieces[0]]
    flat: list[Any] = []
    for argument, piece in zip(arguments, pieces[1:], strict=True):
        parts += (_places(argument, flat), piece)
    return "".join(parts), tuple(flat)


def _places(argument: Any, flat: list[Any]) -> str:
    if type(argument) is not tuple:
        flat.append(argument)
        return "%s"
    return f"({', '.join([_places(member, flat) for member in argument])})"


def ask(connection: Connection, sql: str, arguments: Sequence[Any] = ()) -> Sequence[Any]:
    """Run a statement and return its rows."""
    return connection.exec_driver_sql(*spread(sql, arguments)).all()


def possible_id(rec: str) -> str:
    """Return an id as it may be compared with: MariaDB refuses to compare ASCII with what is not."""
    return rec if rec.isascii() else IMPOSSIBLE


class MariaRows(Rows):
    """Rows that are read as JSON arrays: MariaDB writes every number into them so that it reads back as itself."""

    def __init__(self, home: Home, tables: Tables) -> None:
        super().__init__(home, tables)
        kinds = {wire: spec.kind for wire, spec in home.kind.fields.items() if not spec.option.concealed}
        plain = [wire for wire, kind in kinds.items() if kind in {"list", "object"}]
        self._decoders += [(self._places[wire], decode_json) for wire in plain]

    def _output(self, column: ColumnElement[Any], kind: str | None) -> ColumnElement[Any]:
        return column


class holds(FunctionElement[bool]):
    """Say whether a JSON list holds a value: `holds(list, value)` with the SQL type of its items."""

    type = Boolean()
    name = "holds"
    inherit_cache = False

    def __init__(self, column: Any, bound: Any, item: str) -> None:
        super().__init__(column, bound)
        self.item = item


@compiles(holds, "mysql")
def _holds(element: holds, compiler: SQLCompiler, **options: Any) -> str:
    column, bound = (compiler.process(clause, **options) for clause in element.clauses)
    table = f"JSON_TABLE({column}, '$[*]' COLUMNS (v {element.item} PATH '$'))"
    return f"EXISTS (SELECT 1 FROM {table} AS items WHERE items.v = {bound})"


_ITEMS: Final = {"number": "DOUBLE", "integer": "BIGINT"}
_TEXTS: Final = "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"


class MariaCompiler(Filters):
    """Makes the statements of one record type's finds, and remembers them by shape."""

    def __init__(self, rows: Rows, tables: Tables) -> None:
        super().__init__(rows, tables)
        self.statement: Callable[..., shared.Text] = lru_cache(512)(self._statement)

    def find(self, query: Query, account_pk: int, limit: int, *, whole: bool) -> tuple[str, tuple[Any, ...]]:
        """Return the statement of a find and its parameters.

        Every row holds the account's seq and the total (null unless asked). Where `whole`, there is a row for each
        record, in order, with its internal key and its columns as a JSON array (one row with null where there is none);
        else one row with the internal keys in order, joined by commas.
        """
        shape, pattern, named = self.named(query, account_pk, limit)
        text = self.statement(shape, query.order, pattern, query.deleted, counting(query), whole)
        return spread(text.sql, text.arguments(named))

    def _statement(
        self,
        shape: Shape,
        order: tuple[SortKey, ...],
        pattern: tuple[bool, ...] | None,
        deleted: bool,
        count: str,
        whole: bool,
    ) -> shared.Text:
        table, counter, rows = self._table, self._tables.account, self._rows
        aside = self._rows.kind.system and names_ids(shape)
        account = table.c.account_pk + literal_column("0") if aside else table.c.account_pk
        terms = [account == bindparam("account")]
        if not deleted:
            terms.append(table.c.deleted_at.is_(None))
        terms.append(self.condition(shape))
        total: Any = null()
        if count:
            total = self.counted(terms, capped=count == "capped")
        ranges = [] if pattern is None else self._after(order, pattern)
        order_by = [sorted_by(self.key(key), key) for key in order]
        mine = counter.c.account_pk == bindparam("account")
        source = rows.source if any(key.field in rows.home.targets for key in order) else table
        if whole:
            # Only keys are sorted; what is returned is made for the chosen records alone.
            keys = [self.key(key).label(f"k{n}") for n, key in enumerate(order)]
            found = select(table.c.pk.label("chosen_pk"), *keys).select_from(source).where(*terms)
            parts = [
                found.where(part).order_by(*(sorted_by(self.key(key), key) for key in left)).limit(bindparam("limit"))
                for part, left in ranges or [(true(), order)]
            ]
            chosen = parts[0].subquery("chosen")
            if len(parts) > 1:
                # One by one, since MariaDB walks from the first record to the place where they are joined by `or`.
                ordered = (sorted_by(literal_column(f"k{n}"), key) for n, key in enumerate(order))
                chosen = union_all(*parts).order_by(*ordered).limit(bindparam("limit")).subquery("chosen")
            again = [sorted_by(chosen.c[f"k{n}"], key) for n, key in enumerate(order)]
            joined = counter.outerjoin(chosen, true()).outerjoin(table, table.c.pk == chosen.c.chosen_pk)
            answer = select(counter.c.seq, total, chosen.c.chosen_pk, func.json_array(*rows.outputs))
            return compiled(answer.select_from(rows.joined(joined)).where(mine).order_by(*again))
        # GROUP_CONCAT orders null as it likes, so it is given places instead of values.
        if ranges:
            terms.append(or_(*(part for part, _ in ranges)))
        place = func.row_number().over(order_by=order_by).label("n")
        found = select(cast(table.c.pk, mysql.CHAR).label("pk"), place).select_from(source).where(*terms)
        chosen = found.order_by(place).limit(bindparam("limit")).subquery("chosen")
        comma: Any = literal_column("','")
        every = func.aggregate_strings(chosen.c.pk, comma).aggregate_order_by(chosen.c.n)
        return compiled(select(counter.c.seq, total, select(every).scalar_subquery()).where(mine))

    def _value(self, field: str, kind: str, value: Any) -> Any:
        if field == "id" or kind == "ref" or (field == FOR_ID and kind == "id"):
            return possible_id(value)
        return super()._value(field, kind, value)

    def _many(self, values: list[Any]) -> Any:
        return tuple(values)

    def _among(self, column: ColumnElement[Any], kind: str, bound: Any) -> ColumnElement[bool]:
        return column.op("IN", is_comparison=True)(bound)

    def _has(self, column: ColumnElement[Any], item: str, bound: Any, positive: bool) -> ColumnElement[bool]:
        found = holds(column, bound, _ITEMS.get(item, _TEXTS))
        if positive:
            return found == literal_column("1")
        return found == literal_column("0")
