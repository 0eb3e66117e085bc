"""Aggregates in MariaDB's words: it adds integers up as decimals, which are exact."""

from __future__ import annotations

import math
import sys
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, func, literal_column, select, true

from hub.schema.totals import Part
from storage.mariadb.compile import compiled
from storage.sql.compile import Text
from storage.sql.totals import Totals


class MariaTotals(Totals):
    """Makes the statements of one record type's aggregates. Every row holds the account's seq, whether there is a row
    at all, and the row."""

    def shown(self, column: ColumnElement[Any], kind: str) -> ColumnElement[Any]:
        """Return a value as it is selected."""
        return column

    def columns(self, part: Part) -> list[ColumnElement[Any]]:
        """Return what is selected for a part."""
        function, field = part
        if field is None:
            return [func.count()]
        column: ColumnElement[Any] = self._rows.home.table.c[field]
        if function == "sum":
            added: ColumnElement[Any] = func.coalesce(func.sum(column), 0)
            # What is more than a number holds is sent as 0, but compared as what it is.
            return [added, func.abs(added) > sys.float_info.max] if self._kinds[field] == "number" else [added]
        return [getattr(func, function)(column)]

    def part(self, part: Part, values: list[Any]) -> Any:
        """Return a part, made of what was selected for it."""
        if part[0] == "sum":
            return int(values[0]) if len(values) == 1 else math.inf if values[1] else float(values[0])
        return super().part(part, values)

    def whole(self, found: Select[Any]) -> Text:
        """Return the statement with a row for each group, or one row without."""
        counter, inner = self._tables.account, found.add_columns(literal_column("1").label("there")).subquery("found")
        answer = select(counter.c.seq, inner.c.there, *(column for column in inner.c if column.key != "there"))
        joined = answer.select_from(counter.outerjoin(inner, true()))
        return compiled(joined.where(counter.c.account_pk == bindparam("account")).order_by(inner.c.g))
