"""The tables: SQLAlchemy metadata built from the registry, and those that the log, keys and accounts need.

One table per record type. `pk` and `account_pk` are internal and never leave storage; references hold
the `pk` of their target while images carry public ids. What MariaDB needs said otherwise stands beside it as
a variant. Knows names and types of columns, runs nothing. Source: DESIGN.md section 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    FromClause,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

from hub.schema.fields import DeclarationError, FieldSpec
from hub.schema.record import RecordType, referred
from hub.schema.registry import Registry

Key: Final = BigInteger().with_variant(Integer, "sqlite")
"""The type of internal keys: SQLite makes its row number of an INTEGER PRIMARY KEY only."""
ID_CHARS: Final = 64
FOLD: Final = "_fold"
"""What is put behind a field's name for the column that holds its folded copy."""
INTERNAL: Final = ("pk", "account_pk", "alive")
KEY_CHARS: Final = 190
"""How much of a text without a bound MariaDB keeps in an index."""
_TABLE: Final[dict[str, Any]] = {
    "mysql_engine": "InnoDB",
    "mysql_row_format": "DYNAMIC",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_nopad_bin",
}


def _id_type() -> TypeEngine[Any]:
    """Return the type of what only ever holds our own public ids or names."""
    return String(ID_CHARS).with_variant(mysql.VARCHAR(ID_CHARS, charset="ascii", collation="ascii_nopad_bin"), "mysql")


def _digest_type() -> TypeEngine[Any]:
    """Return the type of a hash: aiomysql 0.3.2 cannot pass bytes to PyMySQL 1.2, so MariaDB keeps it as hex digits."""
    return LargeBinary(64).with_variant(mysql.VARCHAR(128, charset="ascii", collation="ascii_nopad_bin"), "mysql")


def _long() -> TypeEngine[Any]:
    """Return the type of text without a bound."""
    return Text().with_variant(mysql.LONGTEXT(), "mysql")


@dataclass(frozen=True, slots=True, eq=False)
class Home:
    """Where the records of one type live. `targets`: reference columns, the parent's too, and their types."""

    kind: RecordType
    table: Table
    targets: dict[str, RecordType]

    def fold(self, wire: str) -> Column[Any]:
        """Return the column with the folded copy of a text field."""
        return self.table.c[wire + FOLD]


def with_id(kind: RecordType, table: FromClause, account: ColumnElement[int]) -> list[ColumnElement[bool]]:
    """Return the conditions under which an id names one record at most: it is one of the account, or of no account."""
    return [] if kind.system else [table.c.account_pk == account]


class Tables:
    """The tables of one registry."""

    def __init__(self, registry: Registry) -> None:
        self.metadata = MetaData()
        m = self.metadata
        # Facts about the database itself: format, schema, epoch.
        self.meta = Table(
            "meta", m, Column("name", String(64), primary_key=True), Column("value", Text, nullable=False), **_TABLE
        )
        # One row per account that ever committed; `seq` is the counter that makes the log gapless.
        self.account = Table(
            "account_state",
            m,
            Column("account_pk", Key, primary_key=True, autoincrement=False),
            Column("account", String(ID_CHARS), nullable=False, unique=True),
            Column("epoch", String(32), nullable=False),
            Column("seq", BigInteger, nullable=False),
            **_TABLE,
        )
        # The log: outbox, resume feed and history.
        self.change = Table(
            "change",
            m,
            Column("account_pk", Key, nullable=False),
            Column("seq", BigInteger, nullable=False),
            Column("part", Integer, nullable=False),
            Column("type", String(48), nullable=False),
            Column("rec", _id_type(), nullable=False),
            Column("kind", String(16), nullable=False),
            Column("version", BigInteger, nullable=False),
            Column("after", _long(), nullable=False),
            Column("before", _long()),
            Column("actor", String(ID_CHARS)),
            Column("session", String(ID_CHARS)),
            Column("request", _long()),
            Column("at", BigInteger, nullable=False),
            PrimaryKeyConstraint("account_pk", "seq", "part"),
            sqlite_with_rowid=False,
            **_TABLE,
        )
        # The versions of a record. Creations are left out where that is possible, because they are the most rows
        # and a random place in an index each: `past` finds them by their time. Decision 0012.
        Index(
            "change_of", self.change.c.account_pk, self.change.c.rec, self.change.c.version,
            sqlite_where=self.change.c.kind != literal_column("'create'"),
        )  # fmt: skip
        # Answers of keyed writes; `pk` grows with time, so the oldest are found without an index.
        self.key = Table(
            "idempotency",
            m,
            Column("pk", Key, primary_key=True, autoincrement=False),
            Column("account_pk", Key, nullable=False),
            Column("scope", String(200), nullable=False),
            Column("key", String(ID_CHARS), nullable=False),
            Column("digest", _digest_type(), nullable=False),
            Column("answer", _long(), nullable=False),
            Column("seq", BigInteger, nullable=False),
            Column("at", BigInteger, nullable=False),
            UniqueConstraint("account_pk", "scope", "key"),
            **_TABLE,
        )
        # Up to where each feed of an account was acknowledged.
        self.feed = Table(
            "feed_position",
            m,
            Column("account_pk", Key, nullable=False),
            Column("name", _id_type(), nullable=False),
            Column("epoch", String(32), nullable=False),
            Column("seq", BigInteger, nullable=False),
            PrimaryKeyConstraint("account_pk", "name"),
            sqlite_with_rowid=False,
            **_TABLE,
        )
        # Up to which commit an account's log says nothing of a type any more, of those that say for how long.
        self.mark = Table(
            "history_mark",
            m,
            Column("account_pk", Key, nullable=False),
            Column("type", String(48), nullable=False),
            Column("seq", BigInteger, nullable=False),
            PrimaryKeyConstraint("account_pk", "type"),
            sqlite_with_rowid=False,
            **_TABLE,
        )
        # When users and devices were last in an account; beside the records, because it is no change of theirs.
        self.seen = Table(
            "last_seen",
            m,
            Column("account_pk", Key, nullable=False),
            Column("kind", String(16), nullable=False),
            Column("rec", _id_type(), nullable=False),
            Column("at", BigInteger, nullable=False),
            PrimaryKeyConstraint("account_pk", "kind", "rec"),
            sqlite_with_rowid=False,
            **_TABLE,
        )
        self.own = frozenset(m.tables)
        self._homes: dict[str, Home] = {}
        for kind in sorted(registry.types.values(), key=lambda kind: kind.name):
            self._homes[kind.name] = self._home(kind)

    def of(self, kind: RecordType) -> Home:
        """Return where the records of a type live."""
        return self._homes[kind.name]

    def homes(self) -> Iterator[Home]:
        """Return every type's home, by name."""
        yield from self._homes.values()

    def _home(self, kind: RecordType) -> Home:
        if kind.name in self.own:
            raise DeclarationError(f"{kind.name}: storage has a table of this name; choose another")
        targets: dict[str, RecordType] = {}
        columns: list[Column[Any]] = [
            Column("pk", Key, primary_key=True, autoincrement=False),
            # What is of no account is asked for from every account.
            Column("id", _id_type(), nullable=False, unique=kind.system),
            Column("account_pk", Key, nullable=False),
            Column("alive", Boolean(create_constraint=False)),
            Column("version", BigInteger, nullable=False),
            Column("created_at", BigInteger, nullable=False),
            Column("updated_at", BigInteger, nullable=False),
            Column("deleted_at", BigInteger),
            Column("created_by", String(ID_CHARS)),
            Column("updated_by", String(ID_CHARS)),
        ]
        if kind.parent is not None and kind.parent_wire is not None:
            targets[kind.parent_wire] = kind.parent
            columns.append(Column(kind.parent_wire, Key, _points_to(kind.parent), nullable=False))
        for wire, spec in kind.fields.items():
            if spec.kind == "ref":
                targets[wire] = referred(spec)
                columns.append(Column(wire, Key, _points_to(targets[wire]), nullable=spec.nullable))
                continue
            columns.append(Column(wire, _type(spec), nullable=spec.nullable))
            if spec.option.folded:
                columns.append(Column(wire + FOLD, _long()))
        names = [column.name for column in columns]
        for name in names:
            if names.count(name) > 1:
                raise DeclarationError(f"{kind.name}.{name}: storage has a column of this name; choose another")
        table = Table(kind.name, self.metadata, *columns, **_TABLE)
        # What is in the account, and what is under a parent, in the order of the ids: that is the order where none is
        # asked for. The first is also what finds a record by its id, and keeps ids apart. Decision 0031.
        if not kind.system:
            Index(f"{kind.name}_ids", table.c.account_pk, table.c.id, unique=True)
        if kind.system or kind.parent_wire:
            whole = [table.c.account_pk, *([table.c[kind.parent_wire]] if kind.parent_wire else [])]
            Index(f"{kind.name}_of", *whole, table.c.id)
        for fields in kind.unique:
            Index(
                f"{kind.name}_{'_'.join(fields)}_once",
                *(table.c[name] for name in ("account_pk", *fields, "alive")),
                unique=True,
            )
        for fields in kind.indexes:
            # What is looked up before there is an account is not led by the account.
            # The id at the end makes it the whole order of a page, however many records have the same values.
            keys = fields if _secret(kind, fields) else ("account_pk", *fields, "id")
            Index(
                f"{kind.name}_{'_'.join(fields)}",
                *(table.c[name] for name in keys),
                mysql_length={name: KEY_CHARS for name in fields if _unbounded(kind, name)},
            )
        led = {fields[0] for fields in (*kind.unique, *kind.indexes) if not _secret(kind, fields)}
        for wire in sorted(kind.references):
            # Who refers to a record; where none does, it is no place in the index (SQLite) and costs nothing.
            if wire not in led:
                column = table.c[wire]
                some = column.is_not(None) if column.nullable else None
                Index(f"{kind.name}_{wire}", table.c.account_pk, column, table.c.id, sqlite_where=some)
        return Home(kind, table, targets)


def _secret(kind: RecordType, fields: tuple[str, ...]) -> bool:
    return any(name in kind.fields and kind.fields[name].option.concealed for name in fields)


def _unbounded(kind: RecordType, field: str) -> bool:
    spec = kind.fields.get(field)
    return spec is not None and spec.kind != "ref" and isinstance(_type(spec), Text)


def _points_to(target: RecordType) -> ForeignKey:
    # Deferred: the rows of one transaction are written table by table.
    return ForeignKey(f"{target.name}.pk", deferrable=True, initially="DEFERRED")


def _type(spec: FieldSpec) -> TypeEngine[Any]:
    """Return the column type of a field that is no reference."""
    if spec.option.secret:
        return _long()  # what encryption makes of it
    match spec.kind:
        case "integer" | "time":
            return BigInteger()
        case "number":
            return Float(53).with_variant(mysql.DOUBLE(), "mysql")
        case "boolean":
            return Boolean(create_constraint=False)
        case "date":
            return String(10)
        case "id":
            return _id_type()
        case "text" if spec.max_length is not None and spec.max_length <= 700:
            return String(spec.max_length)
        case "text" if spec.choices:
            return Text().with_variant(mysql.VARCHAR(max(map(len, spec.choices))), "mysql")
        case _:
            return _long()
