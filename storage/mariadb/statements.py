"""The statements of the MariaDB keeper: built once by SQLAlchemy, run as text by the driver.

Knows tables and columns, decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Table, bindparam, func, insert, literal_column, select, tuple_, update
from sqlalchemy.engine import Connection

from hub.schema.registry import Registry
from storage.mariadb.aging import Aging
from storage.mariadb.compile import MariaCompiler, MariaRows, ask, compiled, possible_id
from storage.mariadb.connection import begun_with
from storage.mariadb.feeds import FeedPositions
from storage.mariadb.past import Past
from storage.mariadb.seen import LastSeen
from storage.mariadb.totals import MariaTotals
from storage.mariadb.words import MariaWordIndex
from storage.sql.compile import Text
from storage.sql.rows import decode_json
from storage.sql.sealed import SealedStatements
from storage.sql.tables import Tables, with_id

BLOCK: Final = 1024
"""How many internal keys an instance takes from the database at a time."""
SEQUENCE: Final = "record_pk"
TAKE: Final = f"SELECT NEXT VALUE FOR {SEQUENCE}"
PRUNE: Final = 500
"""How many outdated keys are removed at a time."""
CASES: Final = 256
"""How many rows one statement changes at most."""
REMOVED: Final = 500
"""How many rows one statement removes at most."""
BYTES: Final = 1 << 20
"""About how long the values of one statement may be; servers refuse statements beyond 16 MiB."""


class Statements:
    """The texts that reading and writing need."""

    def __init__(self, registry: Registry, tables: Tables) -> None:
        self.tables = tables
        self.rows = {kind.name: MariaRows(tables.of(kind), tables) for kind in registry.types.values()}
        self.compilers = {name: MariaCompiler(rows, tables) for name, rows in self.rows.items()}
        # The indexes of full text, of those types that have searchable fields.
        self.words = {name: MariaWordIndex(rows) for name, rows in self.rows.items() if rows.kind.searchable}
        self.totals = {name: MariaTotals(self.compilers[name], rows, tables) for name, rows in self.rows.items()}
        self.past = Past(tables, self.rows)
        self.feeds = FeedPositions(tables)
        self.seen = LastSeen(tables)
        self.sealed = SealedStatements(tables, compiled)
        self.aging = Aging(tables)
        self.inserts = {name: _insert(rows.home.table, rows.columns) for name, rows in self.rows.items()}
        # Columns that a unique index covers: their rows are written in the order of the commits.
        self.guarded = {
            kind.name: frozenset(["alive", *(name for names in kind.unique for name in names)] if kind.unique else ())
            for kind in registry.types.values()
        }
        log, keys, account = tables.change, tables.key, tables.account
        self.change = _insert(log, log.c.keys())
        self.key = _insert(keys, keys.c.keys())
        same_key = [keys.c.account_pk == bindparam("account"), keys.c.scope == bindparam("scope")]
        self.forget = compiled(keys.delete().where(*same_key, keys.c.key == bindparam("key"))).sql
        self.prune = (
            compiled(keys.delete().where(keys.c.at <= bindparam("until"))).sql
            + f" ORDER BY {keys.c.at.name} LIMIT {PRUNE}"
        )
        mine = account.c.account == bindparam("account")
        self.account = compiled(select(account.c.account_pk, account.c.seq).where(mine)).sql
        self.lock_account = compiled(select(account.c.account_pk, account.c.seq).where(mine).with_for_update()).sql
        self.begin_locked = begun_with(self.lock_account)
        self.open_account = compiled(insert(account).prefix_with("IGNORE")).sql
        self.move_head = compiled(
            update(account).values(seq=bindparam("s")).where(account.c.account_pk == bindparam("a"))
        ).sql
        kept = (keys.c.scope, keys.c.key, keys.c.digest, keys.c.seq, keys.c.answer, keys.c.at)
        claims = tuple_(keys.c.scope, keys.c.key).op("IN", is_comparison=True)(bindparam("asked"))
        self.stored_keys = compiled(select(*kept).where(keys.c.account_pk == bindparam("account"), claims))
        facts = (log.c.seq, log.c.part, log.c.rec, log.c.version, log.c.session, log.c.request, log.c.at)
        self.written = compiled(
            select(*facts).where(
                log.c.account_pk == bindparam("account"),
                log.c.seq.between(bindparam("first"), bindparam("last")),
                log.c.part == 0,
            )
        )
        self.images: Callable[[str, bool], Text] = lru_cache(512)(self._images)
        self.by_key: Callable[[str], str] = lru_cache(256)(self._by_key)
        self.update: Callable[[str, tuple[str, ...], int], str] = lru_cache(1024)(self._update)
        self.taken: Callable[[str, tuple[str, ...]], str] = lru_cache(256)(self._taken)
        self.remove: Callable[[str], str] = lru_cache(256)(self._remove)
        self.dependents: Callable[[str, str, bool], Text] = lru_cache(512)(self._dependents)

    def read(
        self, connection: Connection, kind: str, account_pk: int, ids: Iterable[str], *, shared: bool = False
    ) -> Iterator[list[Any]]:
        """Yield the rows (tombstones too) of those ids that are there; `shared`: nobody changes them meanwhile."""
        wanted = tuple(rec for rec in ids if possible_id(rec))
        if not wanted:
            return
        images = self.images(kind, shared)
        for (text,) in ask(connection, images.sql, images.arguments({"ids": wanted, "account": account_pk})):
            row = decode_json(text)
            if row.pop() == account_pk:
                yield row

    def page(self, connection: Connection, kind: str, keys: Sequence[int]) -> Iterator[list[Any]]:
        """Yield the rows with these internal keys, in their order."""
        found = {}
        for (text,) in ask(connection, self.by_key(kind), (tuple(keys),)):
            row = decode_json(text)
            found[row[0]] = row
        yield from (found[key] for key in keys)

    def _images(self, kind: str, shared: bool) -> Text:
        rows = self.rows[kind]
        table = rows.home.table
        found = select(func.json_array(*rows.outputs, table.c.account_pk)).select_from(rows.source)
        mine = with_id(rows.kind, table, bindparam("account"))
        found = found.where(*mine, table.c.id.op("IN", is_comparison=True)(bindparam("ids")))
        return compiled(found.with_for_update(read=True) if shared else found)

    def _by_key(self, kind: str) -> str:
        rows = self.rows[kind]
        found = select(func.json_array(*rows.outputs)).select_from(rows.source)
        return compiled(found.where(rows.home.table.c.pk.op("IN", is_comparison=True)(bindparam("keys")))).sql

    def _update(self, kind: str, names: tuple[str, ...], count: int) -> str:
        """Return the statement that changes these columns of so many rows.

        Its parameters: for each column a pair of internal key and value per row, then all keys.
        """
        table = self.rows[kind].home.table
        if count == 1:
            sets = ", ".join(f"{_quote(name)} = %s" for name in names)
            return f"UPDATE {_quote(table.name)} SET {sets} WHERE pk = %s"
        cases = " ".join(["WHEN %s THEN %s"] * count)
        sets = ", ".join(f"{_quote(name)} = CASE pk {cases} END" for name in names)
        return f"UPDATE {_quote(table.name)} SET {sets} WHERE pk IN ({', '.join(['%s'] * count)})"

    def _taken(self, kind: str, names: tuple[str, ...]) -> str:
        """Return the statement that finds the live records with one of several values of a unique."""
        table = self.rows[kind].home.table
        columns = [table.c[name] for name in names]
        one_of: Any = columns[0] if len(columns) == 1 else tuple_(*columns)
        alive = [table.c.account_pk == bindparam("account"), table.c.alive == literal_column("1")]
        found = select(table.c.id, *columns).where(*alive, one_of.op("IN", is_comparison=True)(bindparam("values")))
        return compiled(found).sql

    def _remove(self, kind: str) -> str:
        table = self.rows[kind].home.table
        return compiled(table.delete().where(table.c.pk.op("IN", is_comparison=True)(bindparam("keys")))).sql

    def _dependents(self, kind: str, wire: str, live: bool) -> Text:
        """Return the statement that finds who refers to several records, with the internal keys of those."""
        table = self.rows[kind].home.table
        on = table.c[wire]
        here = [table.c.account_pk == bindparam("account"), on.op("IN", is_comparison=True)(bindparam("targets"))]
        if live:
            here.append(table.c.deleted_at.is_(None))
        return compiled(select(on, table.c.id).where(*here).order_by(on, table.c.pk))


def change_rows(
    connection: Connection, statements: Statements, kind: str, names: tuple[str, ...], rows: dict[int, dict[str, Any]]
) -> None:
    """Write new values of the same columns into several rows, given by internal key."""
    chunk: list[tuple[int, dict[str, Any]]] = []
    size = 0
    for pk, values in rows.items():
        chunk.append((pk, values))
        size += sum(len(value) for value in values.values() if type(value) is str)
        if len(chunk) == CASES or size > BYTES:
            _change(connection, statements, kind, names, chunk)
            chunk, size = [], 0
    if chunk:
        _change(connection, statements, kind, names, chunk)


def _change(
    connection: Connection,
    statements: Statements,
    kind: str,
    names: tuple[str, ...],
    rows: list[tuple[int, dict[str, Any]]],
) -> None:
    sql = statements.update(kind, names, len(rows))
    if len(rows) == 1:
        pk, values = rows[0]
        arguments = [*(values[name] for name in names), pk]
    else:
        arguments = [part for name in names for pk, values in rows for part in (pk, values[name])]
        arguments += [pk for pk, _ in rows]
    connection.exec_driver_sql(sql, tuple(arguments))


def _insert(table: Table, columns: Sequence[str]) -> str:
    """Return an insert up to its rows, for `insert_rows`."""
    return f"INSERT INTO {_quote(table.name)} ({', '.join(map(_quote, columns))}) VALUES"


def _quote(name: str) -> str:
    return f"`{name}`"
