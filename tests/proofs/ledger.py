"""What clients were promised, and whether a database file keeps it.

A `Ledger` holds every keyed write that was sent, with its answer. `audit` reads a SQLite file of a stopped
hub directly, without the hub's code, and returns a sentence for everything that is not as promised: a lost
or doubled write, a hole in the log, a row without its change or a change without its row.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.schema.times import to_millis

KIND = "event"
"""The type that the clients of these proofs write."""


@dataclass(eq=False)
class Entry:
    """One keyed write: `record.create` of a title, or `record.update` to one. `answer` None: not answered yet."""

    request: dict[str, Any]
    answer: dict[str, Any] | None = None

    @property
    def title(self) -> str:
        """The title that this write sets, which no other write does."""
        return str(self.request["data"]["title"])


@dataclass
class Ledger:
    """Every write of every client, in the order in which it was first sent."""

    account: str = ""
    entries: list[Entry] = field(default_factory=list)

    @property
    def acknowledged(self) -> list[Entry]:
        """The writes that were answered."""
        return [entry for entry in self.entries if entry.answer is not None]


def copied(database: Path, folder: Path) -> Path:
    """Return a copy of a database with its write-ahead log, to look at without touching the original."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (database.name, f"{database.name}-wal"):
        source = database.with_name(name)
        (folder / name).unlink(missing_ok=True)
        if source.exists():
            shutil.copyfile(source, folder / name)
    (folder / f"{database.name}-shm").unlink(missing_ok=True)
    return folder / database.name


def audit(database: Path, ledger: Ledger) -> list[str]:
    """Return what is wrong in a database file that no hub has open."""
    with closing(sqlite3.connect(database)) as connection:
        wrong = _sound(connection)
        found = connection.execute("SELECT account_pk, seq FROM account_state WHERE account = ?", (ledger.account,))
        account_pk, head = found.fetchone() or (0, 0)
        columns = "seq, part, rec, kind, version, after"
        query = f"SELECT {columns} FROM change WHERE account_pk = ? AND type = ? ORDER BY seq, part"
        changes = connection.execute(query, (account_pk, KIND)).fetchall()
        wrong += _continuous(connection, account_pk, head)
        wrong += _rows_and_changes(connection, account_pk, changes)
    return wrong + _promises(ledger, changes)


def _sound(connection: sqlite3.Connection) -> list[str]:
    found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    wrong = [] if found == ["ok"] else [f"integrity_check: {text}" for text in found]
    return wrong + [f"foreign_key_check: {row}" for row in connection.execute("PRAGMA foreign_key_check")]


def _continuous(connection: sqlite3.Connection, account_pk: int, head: int) -> list[str]:
    """The log numbers commits 1..head and the changes of each 0..n, without a hole."""
    parts: dict[int, list[int]] = {}
    for seq, part in connection.execute("SELECT seq, part FROM change WHERE account_pk = ?", (account_pk,)):
        parts.setdefault(seq, []).append(part)
    wrong = [f"commit {seq} is not in the log" for seq in range(1, head + 1) if seq not in parts]
    wrong += [f"the log has commit {seq}, the account stands at {head}" for seq in parts if not 1 <= seq <= head]
    torn = [seq for seq, found in parts.items() if sorted(found) != [*range(len(found))]]
    return wrong + [f"commit {seq} has parts {parts[seq]}" for seq in torn]


def _rows_and_changes(connection: sqlite3.Connection, account_pk: int, changes: list[Any]) -> list[str]:
    """Each row is what its last change says; each change belongs to a row; versions have no hole."""
    wrong: list[str] = []
    last: dict[str, tuple[int, Any]] = {}
    for seq, _, rec, kind, version, after in changes:
        before = last.get(rec)
        if version != (before[0] + 1 if before else 1) or (kind == "create") != (before is None):
            wrong.append(f"change {seq} is a {kind} of {rec} to version {version}, after {before and before[0]}")
        last[rec] = (version, json.loads(after))
    columns = "id, version, title, acronym, created_at, updated_at, deleted_at"
    rows = connection.execute(f"SELECT {columns} FROM {KIND} WHERE account_pk = ?", (account_pk,)).fetchall()
    for rec, version, title, acronym, created_at, updated_at, deleted_at in rows:
        logged = last.pop(rec, None)
        if logged is None:
            wrong.append(f"row {rec} has no change")
            continue
        image = logged[1]
        times = [to_millis(image["created_at"]), to_millis(image["updated_at"])]
        row = (version, title, acronym, created_at, updated_at, deleted_at)
        if row != (logged[0], image["title"], image["acronym"], *times, None):
            wrong.append(f"row {rec} is {row}, its last change says {logged}")
    return wrong + [f"the change of {rec} has no row" for rec in last]


def _promises(ledger: Ledger, changes: list[Any]) -> list[str]:
    """Each write that was answered is there once, as answered; an unanswered one at most once; nothing else."""
    wrong: list[str] = []
    times = Counter(json.loads(change[5])["title"] for change in changes)
    logged = {(seq, rec): (version, json.loads(after)) for seq, _, rec, _, version, after in changes}
    known = {entry.title: entry for entry in ledger.entries}
    for title, entry in known.items():
        if times[title] > 1:
            wrong.append(f"the write of {title!r} was done {times[title]} times")
        if entry.answer is None:
            continue
        data = entry.answer["data"]
        found = logged.get((entry.answer["seq"], data["id"]))
        if times[title] == 0 or found is None:
            wrong.append(f"the acknowledged write of {title!r} is lost")
        elif found != (data["version"], data):
            wrong.append(f"the write of {title!r} was answered {data}, the log has {found}")
    return wrong + [f"nobody asked for the write of {title!r}" for title in times if title not in known]
