"""Drafts of steps: what declarations add to what the steps make so far, written down as the next step.

What only adds is written out: tables, fields that may be null or have a default, indexes, room for a longer text, null.
What loses or reinterprets values is not guessed at; the author writes that step (docs/migrations.md).
"""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal

from alembic.autogenerate import render_python_code
from alembic.operations import ops
from sqlalchemy import Column, ForeignKey, String, Table, Text, text
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.types import TypeEngine

from hub.schema.registry import Registry
from storage.base import StorageRefused
from storage.migrations.branches import Branch, branches_of, folder_of, owned
from storage.migrations.catalogue import of_sqlite
from storage.migrations.drift import Difference, compare, scratch_of
from storage.sql.ddl import create
from storage.sql.growth import default_of, literal
from storage.sql.tables import Key, Tables

_NAMED: Final[dict[str, TypeEngine[Any]]] = {
    "KEY": Key,
    "ID": String(64).with_variant(mysql.VARCHAR(64, charset="ascii", collation="ascii_nopad_bin"), "mysql"),
    "LONG": Text().with_variant(mysql.LONGTEXT(), "mysql"),
}
_SPELLED: Final = {
    "KEY": 'sa.BigInteger().with_variant(sa.Integer(), "sqlite")',
    "ID": 'sa.String(64).with_variant(mysql.VARCHAR(64, charset="ascii", collation="ascii_nopad_bin"), "mysql")',
    "LONG": 'sa.Text().with_variant(mysql.LONGTEXT(), "mysql")',
}
_SQLITE: Final = sqlite.dialect()
_MARIADB: Final = mysql.dialect()
_KEPT: Final = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_nopad_bin",
    "mysql_engine": "InnoDB",
    "mysql_row_format": "DYNAMIC",
}
_NOTHING_BEFORE: Final = '    raise RuntimeError("there is nothing before the first step; restore a backup")'
_FILE: Final = '''"""{title}"""

from __future__ import annotations

{imports}
revision = "{revision}"
down_revision = {before}
branch_labels = {labels}
{names}

def upgrade() -> None:
    """Do it."""
{up}


def downgrade() -> None:
    """Take it back."""
{down}
'''


def draft(registry: Registry, package: str, title: str) -> Path | None:
    """Write the next step of a package and return its file, None where there is nothing to write.

    Raises `StorageRefused` for what has to be written by hand.
    """
    folder = folder_of(package) if package in registry.packages else None
    if folder is None:
        raise StorageRefused(f"{package} is no package among the packs that are loaded, so it can have no steps.")
    branches = branches_of(registry)
    branch = next((branch for branch in branches if branch.package == package), None)
    up = ops.UpgradeOps(ops=[*_operations(registry, branches, branch, package)])
    if not up.ops:
        return None
    label = branch.label if branch is not None else re.sub(r"[^a-z0-9]", "", package.rpartition(".")[2].lower())
    revision = f"{label}_{len(branch.revisions) + 1 if branch is not None else 1:04}"
    words = "_".join(re.findall(r"[a-z0-9]+", title.lower()))[:60].strip("_") or "step"
    file = folder / f"{revision}_{words}.py"
    folder.mkdir(exist_ok=True)
    file.write_text(_text(title, revision, branch, label, up), encoding="utf-8")
    formatter = Path(sys.executable).with_name("ruff")
    if formatter.exists():
        subprocess.run([str(formatter), "format", "--quiet", "--line-length", "120", str(file)], check=True)
    return file


def _operations(
    registry: Registry, branches: tuple[Branch, ...], branch: Branch | None, package: str
) -> Iterable[ops.MigrateOperation]:
    tables = Tables(registry)
    made = scratch_of(branches)
    wanted = sqlite3.connect(":memory:", isolation_level=None)
    create(wanted, tables)
    mine = owned(registry, tables.own, [branch or Branch("", package, Path(), ("",))])
    if branch is not None:
        # What the others make without it is not its own. Its steps alone may not run: they change tables that refer to
        # those of the core, which stands first and needs nobody.
        is_core = branch is branches[0]
        some = scratch_of((branch,) if is_core else tuple(other for other in branches if other is not branch))
        mine |= of_sqlite(some).keys() if is_core else of_sqlite(made).keys() - of_sqlite(some).keys()
        some.close()
    differences = [d for d in compare(of_sqlite(made), of_sqlite(wanted), mine) if d.table in mine]
    made.close()
    wanted.close()
    order = {"table": 0, "column": 1, "index": 2}
    for difference in sorted(differences, key=lambda d: order[d.part]):
        table = tables.metadata.tables.get(difference.table)
        if table is None or (difference.part == "table" and difference.made is not None):
            raise _by_hand(difference)
        if difference.part == "table":
            yield ops.CreateTableOp.from_table(table)
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                yield ops.CreateIndexOp.from_index(index)
        elif difference.part == "column":
            yield _column(tables, table, difference)
        else:
            yield from _index(table, difference)


def _column(tables: Tables, table: Table, difference: Difference) -> ops.MigrateOperation:
    column = table.c.get(difference.name)
    if column is None or difference.made is not None:
        raise _by_hand(difference)
    referred = [
        ForeignKey(key.target_fullname, deferrable=key.deferrable, initially=key.initially)
        for key in column.foreign_keys
    ]
    default = None if column.nullable else default_of(tables, table, column)
    if default is None and not column.nullable:
        raise _by_hand(difference)
    given = None if default is None else text(literal(default))
    added = Column(column.name, column.type, *referred, nullable=column.nullable, server_default=given)
    return ops.ModifyTableOps(table.name, [ops.AddColumnOp(table.name, added)])


def _index(table: Table, difference: Difference) -> Iterable[ops.MigrateOperation]:
    index = next((i for i in table.indexes if i.name == difference.name), None)
    if index is None and (difference.wanted is not None or not difference.name.startswith(f"{table.name}_")):
        raise _by_hand(difference)
    if difference.made is not None:
        names = [name.strip() for name in difference.made.partition("(")[2].partition(")")[0].split(",")]
        unique = difference.made.startswith("UNIQUE")
        where = difference.made.partition(" WHERE ")[2]
        partial: dict[str, Any] = {"sqlite_where": text(where)} if where else {}
        again = ops.CreateIndexOp(difference.name, table.name, names, unique=unique, **partial)
        yield ops.DropIndexOp(difference.name, table.name, _reverse=again)
    if index is not None:
        yield ops.CreateIndexOp.from_index(index)


def _text(title: str, revision: str, branch: Branch | None, label: str, up: ops.UpgradeOps) -> str:
    used: set[str] = set()

    def named(kind: str, value: Any, _: Any) -> str | Literal[False]:
        if kind == "type":
            for name, known in _NAMED.items():
                if _told(known) == _told(value):
                    used.add(name)
                    return name
        if kind == "column" and value.table is None and value.foreign_keys:  # Alembic leaves out what it refers to
            (target,) = (key.target_fullname for key in value.foreign_keys)
            used.add("KEY")
            refers = f'sa.ForeignKey("{target}", deferrable=True, initially="DEFERRED")'
            return f'sa.Column("{value.name}", KEY, {refers}, nullable={value.nullable})'
        return False

    def body(operations: Any, *, batch: bool) -> str:
        code = render_python_code(operations, render_item=named, render_as_batch=batch)
        code = "\n".join(line for line in code.splitlines() if not line.strip().startswith("# ###"))
        code = code.replace(", mysql_length={}", "").replace(", sqlite_where=None", "")
        kept = ",\n".join(f"    {name}={value!r}" for name, value in sorted(_KEPT.items()))
        if kept in code:
            used.add("KEPT")
        return code.replace(kept, "    **KEPT")

    done = body(up, batch=False)
    undone = body(up.reverse(), batch=True) if branch is not None else _NOTHING_BEFORE
    names = "".join(f"\n{name} = {_SPELLED[name]}" for name in _SPELLED if name in used)
    if "KEPT" in used:
        names += f"\nKEPT: dict[str, Any] = {_KEPT!r}"
    code = done + undone + names
    wanted = {
        "from typing import Any\n\n": "Any" in code,
        "import sqlalchemy as sa\n": "sa." in code,
        "from alembic import op\n": True,
        "from sqlalchemy.dialects import mysql\n": "mysql." in code,
    }
    return _FILE.format(
        title=f"{title[:1].upper()}{title[1:].rstrip('.')}.",
        imports="".join(line for line, used_there in wanted.items() if used_there),
        revision=revision,
        before=repr(branch.head if branch is not None else None).replace("'", '"'),
        labels="None" if branch is not None else f'("{label}",)',
        names=names,
        up=done,
        down=undone,
    )


def _told(kind: TypeEngine[Any]) -> tuple[str, str]:
    return kind.compile(_SQLITE), kind.compile(_MARIADB)


def _by_hand(difference: Difference) -> StorageRefused:
    return StorageRefused(
        f"This step has to be written by hand, because a value may be lost or changed by it: {difference}. "
        "See docs/migrations.md."
    )
