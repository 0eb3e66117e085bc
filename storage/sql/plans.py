"""What a change of tables would do to a SQLite file, found out on a copy of its schema in memory.

The copy has every table, index and stamp (not those of full text), the facts, and one record of each type, so that
what is done only to tables with records is seen too. Nothing is written to the file, and a hub may be serving from
it meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Final

from storage.migrations import stamps
from storage.migrations.branches import Said
from storage.sql.words import SUFFIX

_CHANGES: Final = frozenset({"CREATE", "ALTER", "DROP", "INSERT", "UPDATE", "DELETE"})
_WHOLE: Final = frozenset({"meta", stamps.TABLE})


def clone(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Return the copy of a file's schema."""
    copy = sqlite3.connect(":memory:", isolation_level=None)
    made = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE sql NOT NULL AND name NOT LIKE 'sqlite_%' "
        "ORDER BY type != 'table'"
    ).fetchall()
    for kind, name, sql in made:
        if SUFFIX in name:
            continue
        copy.execute(sql)
        if kind == "table":
            few = "" if name in _WHOLE else " LIMIT 1"
            for row in connection.execute(f'SELECT * FROM "{name}"{few}').fetchall():
                places = ", ".join("?" * len(row))
                copy.execute(f'INSERT INTO "{name}" VALUES ({places})', row)
    return copy


def planned(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection, Said], Any]) -> list[str]:
    """Return the statements with which `work` changes a file, without those on the facts; raise what it raises.

    What it says it does stands as a comment before the statements that follow.
    """
    copy = clone(connection)
    statements: list[str] = []
    heading: list[str] = []

    def said(text: str) -> None:
        heading[:] = [f"-- {text}"]

    def trace(statement: str) -> None:
        words = statement.split(None, 2)
        if words and words[0].upper() in _CHANGES and words[1:2] != ["meta"]:
            statements.extend([*heading, f"{statement.strip()};"])
            heading.clear()

    try:
        copy.execute("BEGIN")
        copy.set_trace_callback(trace)
        work(copy, said)
        return statements
    finally:
        copy.close()
