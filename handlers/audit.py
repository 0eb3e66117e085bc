"""Who came in, what was refused, which keys and roles changed: kept as audit entries, off the way of any request.

    services.audit.note("secret.read", account, actor=…, subject=…)

What repeats within a minute, by the same caller at the same thing, is one entry whose `count` says how often. A second
after it happened an entry is written, with all that wait for the same account in one commit; what repeats is added
when the minute is over. Every change is an entry of its own. How many entries there may be in a minute is bounded: the
rest is counted together. What cannot be kept is tried again for a minute.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from hub.access import SYSTEM
from hub.schema.core.audits import AuditEntry
from hub.schema.core.identity import Account, Membership
from hub.schema.query import Query
from hub.schema.record import type_of
from hub.schema.where import parse_where
from hub.schema.writes import ChangeRow, ChangeSet, Commit, Create, Delete, Update, Write
from hub.wire.errors import HubError
from storage.base import Storage

if TYPE_CHECKING:
    from handlers.base import Peer

log = logging.getLogger("hub.audit")

FLUSH_SECONDS: Final = 1.0
"""How soon an entry is written."""
MINUTE: Final = 60.0
"""For how long what repeats is one entry, in seconds."""
PER_ACCOUNT: Final = 100
"""How many entries of refusals one account gets in a minute, at most; further ones are one entry."""
IN_ALL: Final = 2000
"""How many entries are held at a time; beyond, they are only counted in the log."""
REFUSALS: Final = frozenset({"access.denied", "auth.refused", "session.failed", "password.failed"})
"""What strangers can cause, as often as they like: written when the minute is over, and bounded by `PER_ACCOUNT`."""
AUDITED: Final = {
    "api_key": "key",
    "role": "role",
    "membership": "membership",
    "service_account": "service_account",
    "device": "device",
    "user": "user",
}
"""The record types whose changes are noted, and what they are called there."""
_ALWAYS: Final = frozenset({"version", "updated_at", "updated_by", "last_used_at", "used_at", "digest", "expires_at"})
"""What changes without anybody's getting more or less."""
_VERBS: Final = {"create": "created", "import": "created", "update": "changed", "restore": "restored"}
ACCOUNTS: Final = 20
"""In how many accounts of a person it is noted that they were changed."""
PRUNED: Final = 500
"""How many entries are removed at a time that are too old."""
ROUND_SECONDS: Final = 3600.0
OF_USER: Final = "user:"
"""Stands before a user's id where their accounts are not known yet."""
_Key = tuple[str, str, str, str, str, int]


@dataclass(slots=True)
class _Entry:
    data: dict[str, Any]
    begun: float
    rec: str = ""
    """The id under which it is written."""
    count: int = 0
    written: int = 0
    """Which count was written last."""


@dataclass(slots=True)
class Audit:
    """The audit of one hub; with `on` false, there is none."""

    storage: Storage
    new_id: Callable[[], str]
    on: bool = False
    _entries: dict[_Key, _Entry] = field(default_factory=dict)
    """By account, what happened, who did it, from where, to what, and for changes their number."""
    _refusals: dict[str, int] = field(default_factory=dict)
    """How many of them are of refusals, by account."""
    _lost: int = 0
    _changes: int = 0
    _task: asyncio.Task[None] | None = None
    _closing: asyncio.Event = field(default_factory=asyncio.Event)

    def note(
        self,
        what: str,
        account: str | None,
        *,
        actor: str = "",
        name: str = "",
        address: str | None = None,
        subject: str = "",
        details: dict[str, Any] | None = None,
        number: int = 0,
    ) -> None:
        """Note what happened, now; nothing of it may be a secret. Without an account it is only logged.

        What has a `number` of its own is not counted together with anything.
        """
        if not self.on:
            return
        account = account or ""
        key = (account, what, actor, address or "", subject, number)
        if key not in self._entries and what in REFUSALS:
            if self._refusals.get(account, 0) >= PER_ACCOUNT:
                key, name, details = (account, what, "", "", "others", 0), "", None
            else:
                self._refusals[account] = self._refusals.get(account, 0) + 1
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= IN_ALL:
                self._lost += 1
                return
            entry = self._entries[key] = _Entry(_data(key, name, details), asyncio.get_running_loop().time())
            if self._task is None:
                self._task = asyncio.get_running_loop().create_task(self._run())
        entry.count += 1

    def refused(self, peer: Peer, op: str, error: HubError) -> None:
        """Note that a request was refused because of who asked."""
        if self.on and error.kind.http in {401, 403}:
            what = "access.denied" if error.kind.http == 403 else "auth.refused"
            needs = (error.details or {}).get("needs", "")
            who = peer.identity
            self.note(
                what, peer.account, actor=who.actor or "", name=who.name, address=peer.address,
                subject=f"{op} {needs}".strip(), details={"code": error.code},
            )  # fmt: skip

    def saw(self, commits: Sequence[ChangeSet]) -> None:
        """Note what commits of this hub changed of who may come in, and what they may."""
        for commit in commits:
            for row in commit.rows:
                if row.type in AUDITED:
                    self._changed(commit, row)

    def _changed(self, commit: ChangeSet, row: ChangeRow) -> None:
        image = row.after or row.before or {}
        changed = sorted((row.before or {}).keys() - _ALWAYS) if row.kind == "update" else []
        if row.kind == "update" and not changed:
            return  # also where a password was set, which whoever lets set it notes
        details: dict[str, Any] = {"fields": changed} if changed else {}
        if "name" in image:
            details["name"] = image["name"]
        if "role" in image:
            details["role"] = [(row.before or {}).get("role"), image["role"]] if "role" in changed else image["role"]
        account = f"{OF_USER}{row.rec}" if row.type == "user" else commit.account
        what = f"{AUDITED[row.type]}.{_VERBS.get(row.kind, 'removed')}"
        self._changes += 1
        subject = f"{row.type} {row.rec}"
        self.note(what, account, actor=commit.actor or "", subject=subject, details=details, number=self._changes)

    def __len__(self) -> int:
        return len(self._entries)

    async def _run(self) -> None:
        """Write what is due, once a second, until nothing is held any more."""
        try:
            while self._entries and not self._closing.is_set():
                closing = asyncio.ensure_future(self._closing.wait())
                await asyncio.wait([closing], timeout=FLUSH_SECONDS)
                closing.cancel()
                await self.flush()
        finally:
            self._task = None

    async def flush(self, *, everything: bool = False) -> None:
        """Write what is due; `everything`: all that there is, as at the end."""
        now = asyncio.get_running_loop().time()
        due: dict[str, list[tuple[_Key, _Entry, int]]] = {}
        for key, entry in list(self._entries.items()):
            over = everything or key[5] > 0 or now - entry.begun >= MINUTE
            if over:
                self._forget(key)
            if entry.count != entry.written and (over or (entry.written == 0 and key[1] not in REFUSALS)):
                due.setdefault(key[0], []).append((key, entry, entry.count))
        if self._lost:
            log.warning("%d audit entries more than may be held at a time were not kept", self._lost)
            self._lost = 0
        for account, found in due.items():
            try:
                await self._keep(account, [(entry, count) for _, entry, count in found])
            except HubError as error:
                late = [key for key, entry, _ in found if everything or now - entry.begun >= 2 * MINUTE]
                log.warning("%d audit entries could not be kept, %d for good: %s", len(found), len(late), error)
                for key, entry, _ in found:
                    if key not in late:
                        self._again(key, entry)
            else:
                for _, entry, count in found:
                    entry.written = count

    def _forget(self, key: _Key) -> None:
        del self._entries[key]
        if key[1] in REFUSALS and key[4] != "others":
            self._refusals[key[0]] -= 1
            if not self._refusals[key[0]]:
                del self._refusals[key[0]]

    def _again(self, key: _Key, entry: _Entry) -> None:
        """Hold an entry that could not be kept, together with what came meanwhile."""
        held = self._entries.setdefault(key, entry)
        if held is not entry:
            held.count += entry.count - entry.written
        elif key[1] in REFUSALS and key[4] != "others":
            self._refusals[key[0]] = self._refusals.get(key[0], 0) + 1

    async def _keep(self, account: str, found: list[tuple[_Entry, int]]) -> None:
        """Write entries with their counts; raise `HubError`."""
        if not account:
            for entry, count in found:
                said = entry.data
                log.info("%s from %s, %d times: %s", said["what"], said["address"] or "here", count, said["subject"])
        for place in await self._places(account):
            writes = tuple(self._write(entry, count) for entry, count in found)
            await self.storage.submit(Commit(place, writes, atomic=False))

    async def _places(self, account: str) -> list[str]:
        """Return the accounts in which something is kept: its own, or those of the person it is about."""
        if not account.startswith(OF_USER):
            return [account] if account else []
        user = account.removeprefix(OF_USER)
        members = await self.storage.lookup(type_of(Membership), "user_id", user) if user else []
        return [member["account_id"] for member in members[:ACCOUNTS]]

    async def keep(self, before: Callable[[], str]) -> None:
        """Remove what is too old, now and every hour, until cancelled; `before` returns the time in wire form."""
        while True:
            try:
                removed = await self.prune(before())
                if removed:
                    log.info("%d audit entries that are older than audit_days were removed", removed)
            except HubError as error:
                log.warning("old audit entries cannot be removed: %s", error)
            await asyncio.sleep(ROUND_SECONDS)

    async def prune(self, before: str) -> int:
        """Remove the entries of all accounts that are older than a time, in steps; return how many."""
        kind, total = type_of(AuditEntry), 0
        old = parse_where(kind, {"created_at": {"$lt": before}})
        accounts = (await self.storage.find(SYSTEM, Query(type_of(Account)))).records
        for account in (SYSTEM, *(image["id"] for image in accounts)):
            while found := (await self.storage.find(account, Query(kind, old, limit=PRUNED))).records:
                deletes = tuple(Delete(kind, image["id"], hard=True) for image in found)
                await self.storage.submit(Commit(account, deletes, atomic=False))
                total += len(found)
                await asyncio.sleep(0.01)
        return total

    def _write(self, entry: _Entry, count: int) -> Write:
        kind = type_of(AuditEntry)
        if entry.written:
            return Update(kind, entry.rec, {"count": count})
        entry.rec = self.new_id()
        return Create(kind, entry.rec, kind.accept_create({**entry.data, "count": count}, trusted=True))

    async def close(self) -> None:
        """Write what waits."""
        self._closing.set()
        if self._task is not None:
            await asyncio.wait([self._task])
        await self.flush(everything=True)


def _data(key: _Key, name: str, details: dict[str, Any] | None) -> dict[str, Any]:
    """Return what an entry says, cut to what fits."""
    _, what, actor, address, subject, _ = key
    return {
        "what": what[:64],
        "actor": actor[:64],
        "name": name[:200],
        "address": address[:64],
        "subject": subject[:200],
        "details": details or {},
    }
