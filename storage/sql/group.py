"""One group of commits on the writing connection: what the decision may ask, and writing what it decided.

Everything that the group will need is read with one statement per record type before the first decision,
and everything it changes is written with few statements of many rows: the driver gives up Python's lock
at every step. What was committed is remembered; only this connection writes, so what is remembered holds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from hub.schema.query import Query
from hub.schema.record import Image, RecordType
from hub.schema.where import Node
from hub.schema.writes import ChangeSet, Commit
from storage.base import KEY_HOURS
from storage.decide import Decision, KeyRow, Put
from storage.removal import reborn
from storage.sql.asked import Asked
from storage.sql.rows import account_of, add_log_rows, decode_json, is_kept, kept_key, kept_text, millis, to_json
from storage.sql.statements import Statements

KNOWN: Final = 4_000
"""How many records the writer remembers between groups."""
ACCOUNTS: Final = 10_000
"""Of how many accounts it remembers the counter."""
_DAY: Final = KEY_HOURS * 3_600_000

_Id = tuple[str, str, str]
_Entry = tuple[int, Image]
_Kept = tuple[int, str]


@dataclass(slots=True)
class _Run:
    """Rows of one table for one statement: an update's text with a list per row, or (no text) an insert's values."""

    sql: str
    values: list[Any]


class Memory:
    """What the writer remembers between groups: only what was committed, and no more than so much of it.

    It saves reading what was just written: of a record its internal key and its image, of an account its counter. A
    record that is removed for good is forgotten with its commit. Nothing depends on what is remembered being there.
    """

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        # Records by (account, type, id) as JSON text, tombstones too, with their internal keys; the oldest go first.
        self.records: dict[_Id, _Kept] = {}
        # Internal key and last seq of every account asked for so far.
        self.accounts: dict[str, tuple[int, int]] = {}
        # The last internal key of each table; it may run ahead of what was committed.
        self.last_pk: dict[str, int] = {}

    def flush(self) -> None:
        """Forget everything; between two groups, since the keys that an open one took are nowhere else yet."""
        self.records.clear()
        self.accounts.clear()
        self.last_pk.clear()

    def learn(self, group: Group) -> None:
        """Take over what a group that was committed knows."""
        self.accounts |= group.accounts
        if len(self.accounts) > ACCOUNTS:
            self.accounts = dict(group.accounts)
        records = self.records
        # Text, not images: those are handed to whoever asked, who may do with them what they like.
        texts = group.texts
        found = {
            key: (entry[0], texts.get(id(entry[1])) or to_json(entry[1]))
            for key, entry in group.records.items()
            if entry is not None
        }
        for key in records.keys() & found.keys():
            del records[key]  # so that it goes to the end
        records |= found
        for key in group.gone:
            records.pop(key, None)
        for key in list(islice(records, max(0, len(records) - KNOWN))):
            del records[key]


class Group:
    """The open write transaction of one group. Implements `storage.decide.Loader`."""

    def __init__(self, connection: sqlite3.Connection, statements: Statements, memory: Memory, now: str) -> None:
        self._connection = connection
        self._statements = statements
        self._memory = memory
        self._now = millis(now)
        # Whether ids of creations are taken for new.
        self._trusting = False
        # What this group read or wrote, on top of what is remembered; None: there is no such record.
        self.records: dict[_Id, _Entry | None] = {}
        # What it created, which is not worth remembering: most of it is not asked for soon.
        self.created: dict[_Id, _Entry] = {}
        self.accounts: dict[str, tuple[int, int]] = {}
        # Accounts that commit for the first time, as values of rows.
        self._opened: list[Any] = []
        # Records that are removed, with the times when they were created (an id may be given again), and the internal
        # keys of their rows by type; afterwards they are forgotten.
        self.gone: dict[_Id, set[int]] = {}
        self.removed: dict[str, list[int]] = {}
        # What the log says of images that were written, by their identity: they live as long as this group.
        self.texts: dict[int, str] = {}
        # Stored answers by (account, scope, key), and the rows of those that are no longer kept.
        self._keys: dict[_Id, KeyRow | None] = {}
        self._outdated: list[tuple[int, str, str]] = []

    # -- what the decision may ask ------------------------------------------------------------------

    def prefetch(self, commits: Iterable[Commit], *, trusting: bool) -> None:
        """Read at once what the writes of these commits name: the records themselves and their parents.

        `trusting`: an id that is only to be created is taken for new without looking, since it is random;
        were it not, the unique index refuses the group, and what comes then does not trust.
        """
        self._trusting = trusting
        asked = Asked.by(commits, trusting=trusting)
        for (account, kind_name), ids in asked.named.items():
            missing = [i for i in ids if (account, kind_name, i) not in self._memory.records]
            if missing:
                self._read(account, kind_name, missing)
        for account, claims in asked.keys.items():
            self._read_keys(account, claims)

    def record(self, account: str, kind: RecordType, rec: str) -> Image | None:
        """Return a record, tombstones too."""
        entry = self._entry(account, kind.name, rec)
        return entry[1].copy() if entry is not None else None

    def is_new(self, account: str, kind: RecordType, rec: str) -> bool:
        """Say whether no record has an id, or take it for new."""
        return self._trusting or self._entry(account, kind.name, rec) is None

    def unique(self, account: str, kind: RecordType, names: tuple[str, ...], values: tuple[Any, ...]) -> str | None:
        """Return the id of the live record with these values."""
        text = self._statements.unique(kind.name, names)
        arguments: dict[str, Any] = {"account": self._account(account)[0]}
        targets = self._statements.rows[kind.name].home.targets
        for name, value in zip(names, values, strict=True):
            if name in targets:
                target = targets[name]
                pk = self._pk(account_of(target, account), target.name, value)
                if pk is None:
                    return None
                arguments[f"n_{name}"] = pk
            else:
                arguments[f"n_{name}"] = millis(value) if kind.kinds[name] == "time" else value
        row = self._connection.execute(text.sql, text.arguments(arguments)).fetchone()
        return str(row[0]) if row is not None else None

    def children(self, account: str, kind: RecordType, parent_wire: str, parent: str) -> list[str]:
        """Return the ids of live records of `kind` under a parent."""
        parent_kind = self._statements.rows[kind.name].home.targets[parent_wire]
        pk = self._pk(account_of(parent_kind, account), parent_kind.name, parent)
        if pk is None:
            return []
        text = self._statements.children(kind.name, parent_wire)
        arguments = text.arguments({"account": self._account(account)[0], "parent": pk})
        return [str(row[0]) for row in self._connection.execute(text.sql, arguments)]

    def referring(self, account: str, kind: RecordType, wire: str, rec: str) -> list[str]:
        """Return the ids of records of `kind`, tombstones too, whose parent or reference `wire` is `rec`."""
        target = self._statements.rows[kind.name].home.targets.get(wire)
        # What a record is for, of several types, is kept as its public id.
        key = rec if target is None else self._pk(account_of(target, account), target.name, rec)
        if key is None:
            return []
        text = self._statements.referring(kind.name, wire)
        arguments = text.arguments({"account": self._account(account)[0], "target": key})
        return [str(row[0]) for row in self._connection.execute(text.sql, arguments)]

    def matching(self, account: str, kind: RecordType, where: Node, limit: int) -> list[Image]:
        """Return the stored live records that match, at most `limit` of them."""
        account_pk = self._account(account)[0]
        statements, rows = self._statements, self._statements.rows[kind.name]
        sql, arguments = statements.compilers[kind.name].find(Query(kind, where), account_pk, limit, whole=True)
        (_, _, text) = self._connection.execute(sql, arguments).fetchone() or (0, None, None)
        found: list[Image] = []
        for row in decode_json(f"[{text or ''}]"):
            image = rows.image(row, account)
            key = (account, kind.name, str(image["id"]))
            self.records.setdefault(key, (int(row[0]), image))
            found.append(image.copy())
        return found

    def key(self, account: str, scope: str, key: str) -> KeyRow | None:
        """Return the stored answer of a keyed commit that is still kept."""
        if (account, scope, key) not in self._keys:
            self._read_keys(account, [(scope, key)])
        return self._keys[account, scope, key]

    def head(self, account: str) -> int:
        """Return the account's last committed `seq`."""
        return self._account(account)[1]

    def version(self, account: str, kind: RecordType, rec: str, version: int) -> Image | None:
        """Return the image that a record had as that version, where the log still says it."""
        account_pk = self._account(account)[0]
        return self._statements.past.version(self._connection, account_pk, kind.name, rec, version)

    # -- writing what was decided -------------------------------------------------------------------

    def write(self, decisions: Sequence[Decision]) -> None:
        """Write rows, then counters, then the log and the keys."""
        tables: dict[str, list[_Run]] = {}
        changes: list[Any] = []
        keys: list[Decision] = []
        moved: dict[str, int] = {}
        account, account_pk = "", 0
        for decision in decisions:
            if decision.commit.account != account:
                account = decision.commit.account
                account_pk = self._account(account)[0]
            for put in decision.puts:
                self._put(put, account, account_pk, tables)
            log = decision.log
            if log is not None:
                moved[account] = log.seq
                add_log_rows(log, account_pk, self.texts, changes)
            if decision.key is not None:
                keys.append(decision)
        connection, statements = self._connection, self._statements
        if self.gone:
            # SQLite would go through every table that may refer to a removed row, row by row; the decision has asked
            # the indexes. Nothing is written yet and nobody else writes, so what was read holds in a new transaction.
            connection.execute("ROLLBACK")
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute("BEGIN IMMEDIATE")
        if self._opened:
            statements.open_account.run(connection, self._opened)
        for name in sorted(tables, key=statements.order.__getitem__):
            for run in tables[name]:
                if run.sql:
                    connection.executemany(run.sql, run.values)
                else:
                    statements.inserts[name].run(connection, run.values)
        for name in tables.keys() & statements.words.keys():
            index = statements.words[name]
            removed = self.removed.get(name, ())
            texts, fresh = index.texts(decisions, removed, self._pk_of, lambda account: self._account(account)[0])
            index.write(connection, texts, texts.keys() - fresh)
        for account, seq in moved.items():
            account_pk = self._account(account)[0]
            connection.execute(statements.move_head, (seq, account_pk))
            self.accounts[account] = (account_pk, seq)
        if changes:
            statements.change.run(connection, changes)
        if self.gone:
            self._erase([decision.log for decision in decisions if decision.log is not None])
        if keys:
            self._write_keys(keys)

    def _put(self, put: Put, account: str, account_pk: int, tables: dict[str, list[_Run]]) -> None:
        """Add one row to the runs of its table: rows are written in the order of the commits, because of uniques."""
        kind = put.type.name
        rows = self._statements.rows[kind]
        runs = tables.get(kind)
        if runs is None:
            runs = tables[kind] = []
        last = runs[-1] if runs else None
        key = (account, kind, put.image["id"])
        if put.changed is None and not put.gone:
            last_pk = self._memory.last_pk
            pk = last_pk[kind] = (last_pk[kind] if kind in last_pk else self._last(kind)) + 1
            if last is None or last.sql:
                last = _Run("", [])
                runs.append(last)
            rows.insert(put, pk, account_pk, self._pk_of, last.values)
            if key in self.records:
                del self.records[key]  # one that had the id before and is removed by now, or none
            self.created[key] = (pk, put.image)
            return
        if put.gone:
            self.gone.setdefault(key, set()).add(millis(put.image["created_at"]))
            if put.changed is not None:
                pk = self._pk_of(key)
                self.removed.setdefault(kind, []).append(pk)
                runs.append(_Run(self._statements.remove(kind), [[pk]]))
            return
        pk = self._pk_of(key)
        replaced = rows.update(put, self._pk_of)
        text = self._statements.update(kind, tuple(replaced))
        replaced["_row"] = pk
        if last is None or last.sql != text.sql:
            last = _Run(text.sql, [])
            runs.append(last)
        last.values.append(text.arguments(replaced))
        self.records[key] = (pk, put.image)

    def _erase(self, logs: Sequence[ChangeSet]) -> None:
        """Empty the images of what is removed."""
        again = reborn(logs)
        erased: dict[tuple[str, str], dict[str, set[int]]] = {}
        for (account, name, rec), births in self.gone.items():
            erased.setdefault((account, name), {})[rec] = births
        for (account, name), gone in erased.items():
            ends = {rec: again[account, name, rec] for rec in gone if (account, name, rec) in again}
            self._statements.past.erase(self._connection, self._account(account)[0], name, gone, ends)

    def _write_keys(self, keys: list[Decision]) -> None:
        texts = self.texts
        pk = self._take("idempotency", self._statements.last_key, len(keys))
        values: list[Any] = []
        for decision in keys:
            if decision.key is None:
                continue
            claim, row = decision.key
            answer = kept_text(decision, texts)
            account_pk = self._account(decision.commit.account)[0]
            values += (pk, account_pk, claim.scope, claim.key, row.digest, answer, row.seq, self._now)
            pk += 1
        if self._outdated:
            self._connection.executemany(self._statements.forget, self._outdated)
        self._statements.key.run(self._connection, values)

    def prune(self) -> None:
        """Remove the oldest keys that are no longer kept."""
        text = self._statements.prune
        self._connection.execute(text.sql, text.arguments({"until": self._now - _DAY}))

    # -- what they share ----------------------------------------------------------------------------

    def _last(self, kind: str) -> int:
        """Return the largest internal key of a table of records."""
        return int(self._connection.execute(self._statements.last_pk[kind]).fetchone()[0])

    def _take(self, table: str, last: str, count: int) -> int:
        """Return the first of `count` new internal keys."""
        known = self._memory.last_pk.get(table)
        if known is None:
            known = int(self._connection.execute(last).fetchone()[0])
        self._memory.last_pk[table] = known + count
        return known + 1

    def _account(self, account: str) -> tuple[int, int]:
        """Return the internal key and the last seq of an account; a new one is opened."""
        known = self.accounts.get(account) or self._memory.accounts.get(account)
        if known is None:
            row = self._connection.execute(self._statements.account, (account,)).fetchone()
            if row is not None:
                known = (int(row[0]), int(row[1]))
            else:
                known = (self._take("account_state", self._statements.last_account, 1), 0)
                self._opened += (known[0], account, self._memory.epoch, 0)
            self.accounts[account] = known
        return known

    def _entry(self, account: str, kind: str, rec: str) -> _Entry | None:
        key = (account, kind, rec)
        if key in self.records:
            return self.records[key]
        if key in self.created:
            return self.created[key]
        kept = self._memory.records.get(key)
        if kept is not None:
            return kept[0], decode_json(kept[1])
        self._read(account, kind, [rec])
        return self.records[key]

    def _pk(self, account: str, kind: str, rec: str) -> int | None:
        """Return the internal key of a record, tombstones too."""
        key = (account, kind, rec)
        known = self.records.get(key) or self.created.get(key) or self._memory.records.get(key) or self._entry(*key)
        return None if known is None else known[0]

    def _pk_of(self, key: _Id) -> int:
        known = self.records.get(key) or self.created.get(key) or self._memory.records.get(key) or self._entry(*key)
        if known is None:
            raise LookupError(f"{key[1]} {key[2]} was decided about but is not there")
        return known[0]

    def _read(self, account: str, kind: str, ids: Iterable[str]) -> None:
        wanted = list(ids)
        self.records |= dict.fromkeys((account, kind, rec) for rec in wanted)
        rows = self._statements.rows[kind]
        for row in self._statements.images(self._connection, kind, self._account(account)[0], wanted):
            image = rows.image(row, account)
            self.records[account, kind, str(image["id"])] = (int(row[0]), image)

    def _read_keys(self, account: str, asked: list[tuple[str, str]]) -> None:
        self._keys |= dict.fromkeys((account, scope, key) for scope, key in asked)
        text, account_pk = self._statements.stored_keys, self._account(account)[0]
        arguments = text.arguments({"asked": to_json(asked), "account": account_pk})
        for scope, key, digest, seq, answer, at in self._connection.execute(text.sql, arguments).fetchall():
            if not is_kept(at, self._now):
                self._outdated.append((account_pk, scope, key))
                continue
            self._keys[account, scope, key] = kept_key(digest, seq, answer)
