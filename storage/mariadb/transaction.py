"""The open write transaction of one group of one account: what the decision may ask, and writing what it decided.

The first thing it does is to lock the account's counter. Whoever writes for the account, in this process or in
another, waits there; so what is read afterwards is what is true until the commit, and nothing that a group
learned needs to be believed by the next one. Records of the account `system` that others refer to are read under
a shared lock of their own. Runs inside a greenlet of SQLAlchemy: every statement lets the event loop go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy.engine import Connection

from hub.schema.query import Query
from hub.schema.record import Image, RecordType
from hub.schema.where import Node
from hub.schema.writes import Commit, Create, Upsert
from hub.wire.requests import ItemRef
from storage.base import KEY_HOURS
from storage.decide import Decision, KeyRow, Put
from storage.mariadb.batch import Batch
from storage.mariadb.compile import ask
from storage.mariadb.literals import insert_rows
from storage.mariadb.statements import BLOCK, TAKE, Statements
from storage.removal import reborn
from storage.sql.asked import Asked
from storage.sql.rows import account_of, decode_json, is_kept, kept_key, kept_text, log_rows, millis, to_json

ACCOUNTS: Final = 10_000
"""How many accounts' internal keys are remembered."""

_Id = tuple[str, str, str]
_Entry = tuple[int, Image]
_Values = tuple[Any, ...]


TOGETHER: Final = 500
"""How many records that were found by one question are read, and asked about, at once."""


class Keys:
    """What outlives a transaction: internal keys of accounts, which never change, and unused keys of records."""

    def __init__(self) -> None:
        self.epoch = ""
        self.accounts: dict[str, int] = {}
        self._next = self._end = 0

    def forget(self) -> None:
        """Drop the internal keys of accounts; keys that were taken and not used yet stay ours."""
        self.accounts = {}

    def know(self, account: str, pk: int) -> int:
        """Remember the internal key of an account, and return it."""
        if len(self.accounts) >= ACCOUNTS:
            self.accounts = {}
        self.accounts[account] = pk
        return pk

    def take(self, connection: Connection) -> int:
        """Return a new internal key; no other instance gets the same."""
        if self._next == self._end:
            first = int(connection.exec_driver_sql(TAKE).scalar_one())
            self._next, self._end = first, first + BLOCK
        self._next += 1
        return self._next - 1


class Transaction:
    """Implements `storage.decide.Loader` for one account."""

    def __init__(self, connection: Connection, statements: Statements, keys: Keys, account: str, now: str) -> None:
        self._connection = connection
        self._statements = statements
        self._pks = keys
        self._account = account
        self._now = millis(now)
        # Whether ids of creations are taken for new.
        self._trusting = False
        self._records: dict[_Id, _Entry | None] = {}
        # Ids of live records by (type, fields of the unique) and their values; None: there is no such record.
        self._uniques: dict[tuple[str, tuple[str, ...]], dict[_Values, str | None]] = {}
        # Ids of records that depend on another, by (type, field, whether only live ones) and the other's id.
        self._depend: dict[tuple[str, str, bool], dict[str, list[str]]] = {}
        # Records that one question found, each with those beside it.
        self._beside: dict[_Id, list[str]] = {}
        self._texts: dict[int, str] = {}
        self._kept: dict[tuple[str, str], KeyRow | None] = {}
        self._outdated: list[tuple[int, str, str]] = []
        self._account_pk, self.seq = self._lock()

    def _lock(self) -> tuple[int, int]:
        connection, statements = self._connection, self._statements
        row = connection.exec_driver_sql(statements.begin_locked, (self._account,)).one_or_none()
        if row is None:
            # Two may open an account at once: one row is ignored, and both lock the other.
            fresh = (self._pks.take(connection), self._account, self._pks.epoch, 0)
            connection.exec_driver_sql(statements.open_account, fresh)
            row = connection.exec_driver_sql(statements.lock_account, (self._account,)).one()
        return int(row[0]), int(row[1])

    # -- what the decision may ask ------------------------------------------------------------------

    def prefetch(self, commits: Sequence[Commit], *, trusting: bool) -> None:
        """Read at once what the writes of these commits name; `trusting`: see `storage.sql.group.Group`."""
        self._trusting = trusting
        asked = Asked.by(commits, trusting=trusting)
        for (account, kind_name), ids in asked.named.items():
            self._read(account, kind_name, ids)
        for claims in asked.keys.values():
            self._read_keys(claims)
        self._prefetch_uniques(commits)

    def _prefetch_uniques(self, commits: Iterable[Commit]) -> None:
        wanted: dict[tuple[str, tuple[str, ...]], set[_Values]] = {}
        kinds: dict[str, RecordType] = {}
        for write in (write for commit in commits for write in commit.writes):
            if not isinstance(write, Create | Upsert) or not write.type.unique:
                continue
            kinds[write.type.name] = write.type
            data = write.data | {write.type.parent_wire or "": write.parent}
            for names in write.type.unique:
                values = tuple(data.get(name) for name in names)
                if None in values or any(isinstance(value, ItemRef) for value in values):
                    continue
                stored = self._stored(write.type, names, values)
                if stored is not None:
                    wanted.setdefault((write.type.name, names), set()).add(stored)
        for (kind_name, names), found in wanted.items():
            self._read_uniques(kinds[kind_name], names, found)

    def record(self, account: str, kind: RecordType, rec: str) -> Image | None:
        """Return a record, tombstones too."""
        entry = self._entry((account, kind.name, rec))
        return entry[1].copy() if entry is not None else None

    def is_new(self, account: str, kind: RecordType, rec: str) -> bool:
        """Say whether no record has an id, or take it for new."""
        return self._trusting or self._entry((account, kind.name, rec)) is None

    def unique(self, account: str, kind: RecordType, names: tuple[str, ...], values: tuple[Any, ...]) -> str | None:
        """Return the id of the live record with these values."""
        stored = self._stored(kind, names, values)
        if stored is None:
            return None
        if stored not in self._uniques.get((kind.name, names), {}):
            self._read_uniques(kind, names, {stored})
        return self._uniques[kind.name, names][stored]

    def children(self, account: str, kind: RecordType, parent_wire: str, parent: str) -> list[str]:
        """Return the ids of live records of `kind` under a parent."""
        return self._dependents(kind, parent_wire, parent, live=True)

    def referring(self, account: str, kind: RecordType, wire: str, rec: str) -> list[str]:
        """Return the ids of records of `kind`, tombstones too, whose parent or reference `wire` is `rec`."""
        return self._dependents(kind, wire, rec, live=False)

    def _dependents(self, kind: RecordType, wire: str, rec: str, *, live: bool) -> list[str]:
        """Return who depends on a record: asked at once for all that were found together with it."""
        target = self._statements.rows[kind.name].home.targets.get(wire)
        known = self._depend.setdefault((kind.name, wire, live), {})
        if rec not in known:
            asked: dict[int | str, str] = {}
            if target is None:  # what a record is for, of several types, is kept as its public id
                known[rec] = []
                asked[rec] = rec
            else:
                account = account_of(target, self._account)
                for one in self._beside.get((account, target.name, rec), [rec]):
                    entry = self._entry((account, target.name, one))
                    if one not in known:
                        known[one] = []
                        if entry is not None:
                            asked[entry[0]] = one
            if asked:
                text = self._statements.dependents(kind.name, wire, live)
                arguments = text.arguments({"account": self._account_pk, "targets": tuple(asked)})
                found = [(asked[pk], str(one)) for pk, one in ask(self._connection, text.sql, arguments)]
                for on, one in found:
                    known[on].append(one)
                self._found_together(kind.name, [one for _, one in found])
        return known[rec]

    def _found_together(self, kind: str, ids: list[str]) -> None:
        """Note what was found by one question: what is asked of one of them will be asked of the others."""
        for start in range(0, len(ids), TOGETHER):
            chunk = ids[start : start + TOGETHER]
            self._beside |= dict.fromkeys([(self._account, kind, rec) for rec in chunk], chunk)

    def matching(self, account: str, kind: RecordType, where: Node, limit: int) -> list[Image]:
        """Return the stored live records that match, at most `limit` of them."""
        statements, rows = self._statements, self._statements.rows[kind.name]
        sql, arguments = statements.compilers[kind.name].find(Query(kind, where), self._account_pk, limit, whole=True)
        found: list[Image] = []
        for _, _, pk, text in ask(self._connection, sql, arguments):
            if pk is not None:
                image = rows.image(decode_json(text), account)
                self._records.setdefault((account, kind.name, str(image["id"])), (int(pk), image))
                found.append(image.copy())
        self._found_together(kind.name, [image["id"] for image in found])
        return found

    def version(self, account: str, kind: RecordType, rec: str, version: int) -> Image | None:
        """Return the image that a record had as that version, where the log still says it."""
        return self._statements.past.version(self._connection, self._account_pk, kind.name, rec, version)

    def key(self, account: str, scope: str, key: str) -> KeyRow | None:
        """Return the stored answer of a keyed commit that is still kept."""
        if (scope, key) not in self._kept:
            self._read_keys([(scope, key)])
        return self._kept[scope, key]

    def head(self, account: str) -> int:
        """Return the account's last committed `seq`."""
        return self.seq

    # -- writing what was decided -------------------------------------------------------------------

    def write(self, decisions: Sequence[Decision]) -> None:
        """Write rows, then the counter, then the log and the keys."""
        connection, statements = self._connection, self._statements
        batches: dict[str, Batch] = {}
        changes: list[tuple[Any, ...]] = []
        keys: list[tuple[Any, ...]] = []
        erased: dict[str, list[str]] = {}
        removed: dict[str, list[int]] = {}
        for decision in decisions:
            for put in decision.puts:
                name = put.type.name
                if put.gone:
                    erased.setdefault(name, []).append(put.image["id"])
                    if put.changed is not None:
                        removed.setdefault(name, []).append(self._pk_of((self._account, name, put.image["id"])))
                batch = batches.get(name)
                if batch is None:
                    batch = batches[name] = Batch(connection, statements, name)
                self._put(put, batch)
            if decision.log is not None:
                self.seq = decision.log.seq
                changes += log_rows(decision.log, self._account_pk, self._texts)
            if decision.key is not None:
                claim, row = decision.key
                answer = kept_text(decision, self._texts)
                place = (self._pks.take(connection), self._account_pk, claim.scope, claim.key)
                keys.append((*place, row.digest.hex(), answer, row.seq, self._now))
        for batch in batches.values():
            batch.finish()
        for name in batches.keys() & statements.words.keys():
            gone = removed.get(name, ())
            texts, fresh = statements.words[name].texts(decisions, gone, self._pk_of, lambda account: self._account_pk)
            statements.words[name].write(connection, texts, texts.keys() - fresh)
        if changes:
            connection.exec_driver_sql(statements.move_head, (self.seq, self._account_pk))
            insert_rows(connection, statements.change, changes)
        if erased:
            again = reborn(decision.log for decision in decisions if decision.log is not None)
            for name, recs in erased.items():
                ends = {rec: again[self._account, name, rec] for rec in recs if (self._account, name, rec) in again}
                statements.past.erase(connection, self._account_pk, name, recs, ends)
        if keys:
            for outdated in self._outdated:
                connection.exec_driver_sql(statements.forget, outdated)
            insert_rows(connection, statements.key, keys)

    def _put(self, put: Put, batch: Batch) -> None:
        key = (self._account, put.type.name, put.image["id"])
        rows = self._statements.rows[put.type.name]
        if put.gone:
            if put.changed is not None:
                batch.remove(self._pk_of(key))
            return
        if put.changed is None:
            pk = self._pks.take(self._connection)
            values: list[Any] = []
            rows.insert(put, pk, self._account_pk, self._pk_of, values)
            batch.insert(tuple(values))
        else:
            pk = self._pk_of(key)
            batch.update(pk, rows.update(put, self._pk_of))
        self._records[key] = (pk, put.image)

    def prune(self) -> None:
        """Remove the oldest keys that are no longer kept."""
        self._connection.exec_driver_sql(self._statements.prune, (self._now - KEY_HOURS * 3_600_000,))

    def wrote(self, decisions: Sequence[Decision]) -> bool:
        """Say whether these decisions were committed earlier: by whom nobody knows the outcome of."""
        logs = [decision.log for decision in decisions if decision.log is not None]
        if logs:
            if self.seq < logs[-1].seq:
                return False
            text = self._statements.written
            place = {"account": self._account_pk, "first": logs[0].seq, "last": logs[-1].seq}
            found = ask(self._connection, text.sql, text.arguments(place))
            mine = [
                (log.seq, 0, log.rows[0].rec, log.rows[0].version, log.session, log.request, millis(log.at))
                for log in logs
            ]
            return sorted(map(tuple, found)) == mine
        for decision in decisions:
            if decision.key is not None:
                claim, row = decision.key
                if self.key(self._account, claim.scope, claim.key) != row:
                    return False
        return True

    # -- what they share ----------------------------------------------------------------------------

    def _stored(self, kind: RecordType, names: tuple[str, ...], values: _Values) -> _Values | None:
        """Return values of a unique as they are stored, or None where they name a record that is not there."""
        targets = self._statements.rows[kind.name].home.targets
        stored: list[Any] = []
        for name, value in zip(names, values, strict=True):
            if name in targets:
                target = targets[name]
                entry = self._entry((account_of(target, self._account), target.name, value))
                if entry is None:
                    return None
                stored.append(entry[0])
            else:
                stored.append(_stored_value(kind.kinds[name], value))
        return tuple(stored)

    def _read_uniques(self, kind: RecordType, names: tuple[str, ...], wanted: set[_Values]) -> None:
        known = self._uniques.setdefault((kind.name, names), {})
        known |= dict.fromkeys(wanted)
        values = tuple(wanted) if len(names) > 1 else tuple(value for (value,) in wanted)
        arguments = (self._account_pk, values)
        for rec, *found in ask(self._connection, self._statements.taken(kind.name, names), arguments):
            known[tuple(found)] = str(rec)

    def _account_of(self, account: str) -> int | None:
        if account == self._account:
            return self._account_pk
        known = self._pks.accounts.get(account)
        if known is None:
            row = self._connection.exec_driver_sql(self._statements.account, (account,)).one_or_none()
            if row is None:
                return None
            known = self._pks.know(account, int(row[0]))
        return known

    def _entry(self, key: _Id) -> _Entry | None:
        if key not in self._records:
            account, kind, rec = key
            beside = self._beside.get(key, [rec])
            self._read(account, kind, [one for one in beside if (account, kind, one) not in self._records])
        return self._records[key]

    def _pk_of(self, key: _Id) -> int:
        entry = self._entry(key)
        if entry is None:
            raise LookupError(f"{key[1]} {key[2]} was decided about but is not there")
        return entry[0]

    def _read(self, account: str, kind: str, ids: Iterable[str]) -> None:
        wanted = list(ids)
        self._records |= dict.fromkeys((account, kind, rec) for rec in wanted)
        account_pk = self._account_of(account)
        if account_pk is None:
            return
        rows = self._statements.rows[kind]
        foreign = account != self._account
        for row in self._statements.read(self._connection, kind, account_pk, wanted, shared=foreign):
            image = rows.image(row, account)
            self._records[account, kind, str(image["id"])] = (int(row[0]), image)

    def _read_keys(self, asked: list[tuple[str, str]]) -> None:
        self._kept |= dict.fromkeys(asked)
        text = self._statements.stored_keys
        arguments = text.arguments({"asked": tuple(asked), "account": self._account_pk})
        for scope, key, digest, seq, answer, at in ask(self._connection, text.sql, arguments):
            if is_kept(at, self._now):
                self._kept[scope, key] = kept_key(bytes.fromhex(digest), seq, answer)
            else:
                self._outdated.append((self._account_pk, scope, key))


def _stored_value(kind: str, value: Any) -> Any:
    if kind == "time":
        return millis(value)
    if kind == "boolean":
        return int(value)
    return to_json(value) if kind in {"list", "object"} else value
