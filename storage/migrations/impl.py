"""What Alembic's operations do here: each looks into the catalogue first, so that a step can be run again.

MariaDB commits at every ALTER, so a step may have been broken off in the middle; and what a declaration adds may
have been added at a start before its step was written. Loading this module puts the two in the place of Alembic's own.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic.ddl.impl import DefaultImpl
from alembic.ddl.mysql import MySQLImpl
from alembic.ddl.sqlite import SQLiteImpl
from sqlalchemy import Column, Constraint, ForeignKeyConstraint, Index, Table
from sqlalchemy.schema import CreateTable


class _Rerunnable(DefaultImpl):
    """Operations that do what is not done yet. Where SQL is only printed they print all of it."""

    references = True
    """Whether the database is told what a column refers to."""

    def _there(self, table: str) -> bool | None:
        """Say whether a table is there; None where nobody can look."""
        return None if self.as_sql else sa.inspect(self._live()).has_table(table)

    def _columns(self, table: str) -> set[str] | None:
        return None if self.as_sql else {str(c["name"]) for c in sa.inspect(self._live()).get_columns(table)}

    def _indexes(self, table: str) -> set[str] | None:
        return None if self.as_sql else {str(i["name"]) for i in sa.inspect(self._live()).get_indexes(table)}

    def _live(self) -> Any:
        assert self.connection is not None
        return self.connection

    def create_table(self, table: Table, **options: Any) -> None:
        """Make a table and its indexes."""
        if not self._there(table.name):
            self._make(table, **options)
        for index in table.indexes:
            self.create_index(index)

    def _make(self, table: Table, **options: Any) -> None:
        self._exec(CreateTable(table, **options))

    def drop_table(self, table: Table, **options: Any) -> None:
        """Remove a table."""
        if self._there(table.name) is not False:
            super().drop_table(table, **options)

    def rename_table(self, old_table_name: str, new_table_name: Any, schema: Any = None) -> None:
        """Give a table another name."""
        if self._there(old_table_name) is not False:
            super().rename_table(old_table_name, new_table_name, schema)

    def add_column(self, table_name: str, column: Column[Any], **options: Any) -> None:
        """Add a column, with what it refers to."""
        if column.name not in (self._columns(table_name) or ()):
            super().add_column(table_name, column, **options | {"inline_references": self.references})
        self.memo["added"] = (table_name, column.name)

    def add_constraint(self, const: Constraint, **options: Any) -> None:
        """Add a constraint, but the reference of a column that was just added, which has it already."""
        if isinstance(const, ForeignKeyConstraint):
            assert const.table is not None
            if not self.references or [(const.table.name, c.name) for c in const.columns] == [self.memo.get("added")]:
                return
        super().add_constraint(const, **options)

    def drop_column(self, table_name: str, column: Column[Any], **options: Any) -> None:
        """Remove a column."""
        there = self._columns(table_name)
        if there is None or column.name in there:
            super().drop_column(table_name, column, **options)

    def alter_column(self, table_name: str, column_name: str, **options: Any) -> None:
        """Change a column; its new name is what is done last."""
        there = self._columns(table_name)
        if there is not None and column_name not in there and options.get("name") in there:
            return
        super().alter_column(table_name, column_name, **options)

    def create_index(self, index: Index, **options: Any) -> None:
        """Make an index."""
        assert index.table is not None
        if index.name not in (self._indexes(index.table.name) or ()):
            super().create_index(index, **options)

    def drop_index(self, index: Index, **options: Any) -> None:
        """Remove an index."""
        assert index.table is not None
        there = self._indexes(index.table.name)
        if there is None or index.name in there:
            super().drop_index(index, **options)


class RerunnableSqlite(_Rerunnable, SQLiteImpl):
    """On SQLite, where what runs the steps has begun the transaction."""

    __dialect__ = "sqlite"


class RerunnableMariadb(_Rerunnable, MySQLImpl):
    """On MariaDB, where tables have no foreign keys: the decision checks references under the account's lock."""

    __dialect__ = "mysql"
    references = False

    def _make(self, table: Table, **options: Any) -> None:
        super()._make(table, include_foreign_key_constraints=[], **options)
