"""One group of commits on the writing connection: what the decision may ask, and writing what it decided.

Everything that the group will need is read with one statement per record type before the first decision,
and everything it changes is written with few statements of many rows: the driver gives up Python's lock
at every step. What was committed is remembered; only this connection writes, so what is remembered holds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

from hub.schema.record import Image, RecordType
from hub.schema.writes import ChangeSet, Commit, Create, Delete, Result, Update, Upsert
from storage.base import KEY_HOURS
from storage.decide import Decision, KeyRow
from storage.sql.rows import account_of, decode_json, millis, to_json
from storage.sql.statements import Statements

KNOWN: Final = 20_000
"""How many records the writer remembers between groups."""
_DAY: Final = KEY_HOURS * 3_600_000

_Id = tuple[str, str, str]
_Entry = tuple[int, Image]


class Memory:
    """What the writer remembers between groups: only what was committed."""

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        # Records by (account, type, id), tombstones too, with their internal keys; the oldest go first.
        self.records: dict[_Id, _Entry] = {}
        # Internal key and last seq of every account asked for so far.
        self.accounts: dict[str, tuple[int, int]] = {}
        # The last internal key of each table; it may run ahead of what was committed.
        self.last_pk: dict[str, int] = {}

    def learn(self, group: Group) -> None:
        """Take over what a group that was committed knows."""
        self.accounts |= group.accounts
        for key, entry in group.records.items():
            if entry is not None:
                self.records.pop(key, None)
                self.records[key] = entry
        for key in list(self.records)[: max(0, len(self.records) - KNOWN)]:
            del self.records[key]


class Group:
    """The open write transaction of one group. Implements `storage.decide.Loader`."""

    def __init__(self, connection: sqlite3.Connection, statements: Statements, memory: Memory, now: str) -> None:
        self._connection = connection
        self._statements = statements
        self._memory = memory
        self._now = millis(now)
        # What this group read or wrote, on top of what is remembered; None: there is no such record.
        self.records: dict[_Id, _Entry | None] = {}
        self.accounts: dict[str, tuple[int, int]] = {}
        self._opened: list[list[Any]] = []
        self._keys: dict[tuple[str, str, str], KeyRow | None] = {}

    # -- what the decision may ask ------------------------------------------------------------------

    def prefetch(self, commits: Iterable[Commit]) -> None:
        """Read at once what the writes of these commits name: the records themselves and their parents."""
        wanted: dict[tuple[str, str], set[str]] = {}
        for commit in commits:
            for write in commit.writes:
                kind = write.type
                names = wanted.setdefault((commit.account, kind.name), set())
                match write:
                    case Create() | Upsert():
                        names.add(write.id)
                        if kind.parent is not None and isinstance(write.parent, str):
                            key = (account_of(kind.parent, commit.account), kind.parent.name)
                            wanted.setdefault(key, set()).add(write.parent)
                    case Update() | Delete():
                        if isinstance(write.rec, str):
                            names.add(write.rec)
        for (account, kind_name), ids in wanted.items():
            missing = [i for i in ids if (account, kind_name, i) not in self._memory.records]
            if missing:
                self._read(account, kind_name, missing)

    def record(self, account: str, kind: RecordType, rec: str) -> Image | None:
        """Return a record, tombstones too."""
        entry = self._entry(account, kind.name, rec)
        return entry[1] if entry is not None else None

    def unique(self, account: str, kind: RecordType, names: tuple[str, ...], values: tuple[Any, ...]) -> str | None:
        """Return the id of the live record with these values."""
        text = self._statements.unique(kind.name, names)
        arguments: dict[str, Any] = {"account": self._account(account)[0]}
        targets = self._statements.rows[kind.name].home.targets
        for name, value in zip(names, values, strict=True):
            if name in targets:
                target = targets[name]
                entry = self._entry(account_of(target, account), target.name, value)
                if entry is None:
                    return None
                arguments[f"n_{name}"] = entry[0]
            else:
                arguments[f"n_{name}"] = millis(value) if kind.kinds[name] == "time" else value
        row = self._connection.execute(text.sql, text.arguments(arguments)).fetchone()
        return str(row[0]) if row is not None else None

    def children(self, account: str, kind: RecordType, parent_wire: str, parent: str) -> list[str]:
        """Return the ids of live records of `kind` under a parent."""
        parent_kind = self._statements.rows[kind.name].home.targets[parent_wire]
        entry = self._entry(account_of(parent_kind, account), parent_kind.name, parent)
        if entry is None:
            return []
        text = self._statements.children(kind.name, parent_wire)
        arguments = text.arguments({"account": self._account(account)[0], "parent": entry[0]})
        return [str(row[0]) for row in self._connection.execute(text.sql, arguments)]

    def key(self, account: str, scope: str, key: str) -> KeyRow | None:
        """Return the stored answer of a keyed commit that is still kept."""
        account_pk = self._account(account)[0]
        row = self._connection.execute(
            self._statements.stored_key, (account_pk, scope, key, self._now - _DAY)
        ).fetchone()
        if row is None:
            return None
        results = tuple(Result(image, created) for image, created in decode_json(row[2]))
        return KeyRow(row[0], row[1], results)

    def head(self, account: str) -> int:
        """Return the account's last committed `seq`."""
        return self._account(account)[1]

    # -- writing what was decided -------------------------------------------------------------------

    def write(self, decisions: Sequence[Decision]) -> None:
        """Write rows, then counters, then the log and the keys."""
        tables: dict[str, list[tuple[str, list[list[Any]]]]] = {}
        changes: list[list[Any]] = []
        keys: list[list[Any]] = []
        moved: dict[str, int] = {}
        for decision in decisions:
            account = decision.commit.account
            self._put(decision, account, tables)
            images: dict[int, str] = {}
            if decision.log is not None:
                moved[account] = decision.log.seq
                self._log(decision.log, changes, images)
            if decision.key is not None:
                claim, row = decision.key
                answer = ",".join(
                    f"[{images.get(id(r.image)) or to_json(r.image)},{'true' if r.created else 'false'}]"
                    for r in row.results
                )
                keys.append(
                    [
                        0,
                        self._account(account)[0],
                        claim.scope,
                        claim.key,
                        row.digest,
                        f"[{answer}]",
                        row.seq,
                        self._now,
                    ]
                )
        if self._opened:
            self._statements.open_account.run(self._connection, self._opened)
        for name, runs in tables.items():
            for sql, rows in runs:
                if sql:
                    self._connection.executemany(sql, rows)
                else:
                    self._statements.inserts[name].run(self._connection, rows)
        for account, seq in moved.items():
            account_pk = self._account(account)[0]
            self._connection.execute(self._statements.move_head, (seq, account_pk))
            self.accounts[account] = (account_pk, seq)
        if changes:
            self._statements.change.run(self._connection, changes)
        if keys:
            first = self._take("idempotency", self._statements.last_key, len(keys))
            for n, values in enumerate(keys):
                values[0] = first + n
            # A key that is no longer kept may still have its row.
            self._connection.executemany(self._statements.forget, [values[1:4] for values in keys])
            self._statements.key.run(self._connection, keys)

    def prune(self) -> None:
        """Remove the oldest keys that are no longer kept."""
        text = self._statements.prune
        self._connection.execute(text.sql, text.arguments({"until": self._now - _DAY}))

    def _put(self, decision: Decision, account: str, tables: dict[str, list[tuple[str, list[list[Any]]]]]) -> None:
        for put in decision.puts:
            kind = put.type.name
            rows = self._statements.rows[kind]
            runs = tables.setdefault(kind, [])
            key = (account, kind, str(put.image["id"]))
            if put.changed is None:
                pk = self._take(kind, self._statements.last_pk[kind], 1)
                sql, values = "", rows.insert(put, pk, self._account(account)[0], self._pk_of)
            else:
                pk = self._known(*key)[0]
                replaced = rows.update(put, self._pk_of)
                text = self._statements.update(kind, tuple(replaced))
                sql, values = text.sql, text.arguments({**replaced, "_row": pk})
            self.records[key] = (pk, put.image)
            # Rows are written in the order of the commits, because of unique indexes.
            if runs and runs[-1][0] == sql:
                runs[-1][1].append(values)
            else:
                runs.append((sql, [values]))

    def _log(self, log: ChangeSet, changes: list[list[Any]], images: dict[int, str]) -> None:
        account_pk = self._account(log.account)[0]
        at = millis(log.at)
        for row in log.rows:
            after = images[id(row.after)] = to_json(row.after)
            changes.append([
                account_pk, log.seq, row.part, row.type, row.rec, row.kind, row.version, after,
                None if row.before is None else to_json(row.before),
                log.actor, log.session, log.request, at,
            ])  # fmt: skip

    # -- what they share ----------------------------------------------------------------------------

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
                self._opened.append([known[0], account, self._memory.epoch, 0])
            self.accounts[account] = known
        return known

    def _entry(self, account: str, kind: str, rec: str) -> _Entry | None:
        key = (account, kind, rec)
        if key in self.records:
            return self.records[key]
        found = self._memory.records.get(key)
        if found is None:
            self._read(account, kind, [rec])
            return self.records[key]
        return found

    def _known(self, account: str, kind: str, rec: str) -> _Entry:
        entry = self._entry(account, kind, rec)
        if entry is None:
            raise LookupError(f"{kind} {rec} was decided about but is not there")
        return entry

    def _pk_of(self, account: str, kind: RecordType, rec: str) -> int:
        return self._known(account, kind.name, rec)[0]

    def _read(self, account: str, kind: str, ids: Iterable[str]) -> None:
        wanted = list(ids)
        self.records |= dict.fromkeys((account, kind, rec) for rec in wanted)
        rows = self._statements.rows[kind]
        for row in self._statements.images(self._connection, kind, self._account(account)[0], wanted):
            image = rows.image(row, account)
            self.records[account, kind, str(image["id"])] = (int(row[0]), image)
