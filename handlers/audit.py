"""Who came in, what was refused, which keys and roles changed: kept as audit entries, off the way of any request.

    services.audit.note("secret.read", account, actor=…, subject=…)

What repeats within a minute, by the same caller at the same thing, is one entry whose `count` says how often. A second
after it happened an entry is written, with all that wait for the same account in one commit; what repeats is added
when the minute is over. How many entries there may be in a minute is bounded: the rest is counted together.
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
REFUSALS: Final = frozenset({"access.denied", "auth.refused", "session.failed"})
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
ACCOUNTS: Final = 10
"""In how many accounts of a person it is noted that they have signed in."""
PRUNED: Final = 500
"""How many entries are removed at a time that are too old."""
ROUND_SECONDS: Final = 3600.0
OF_USER: Final = "user:"
"""Stands before a user's id where their accounts are not known yet."""
_Key = tuple[str, str, str, str, str]


@dataclass(slots=True)
class _Entry:
    data: dict[str, Any]
    begun: float
    rec: str | None = None
    """The id under which it was written; None: not yet."""
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
    """By account, what happened, who did it, from where, and to what."""
    _refusals: dict[str, int] = field(default_factory=dict)
    """How many of them are of refusals, by account."""
    _lost: int = 0
    _task: asyncio.Task[None] | None = None

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
    ) -> None:
        """Note what happened, now; nothing of it may be a secret. Without an account it is only logged."""
        if not self.on:
            return
        account = account or ""
        key = (account, what, actor, address or "", subject)
        if key not in self._entries and what in REFUSALS:
            if self._refusals.get(account, 0) >= PER_ACCOUNT:
                key, name, details = (account, what, "", "", "others"), "", None
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
            rows = commit.rows
            if len(rows) == 1 and rows[0].type not in AUDITED:
                continue  # as most are
            for row in rows:
                if row.type in AUDITED:
                    self._changed(commit, row)

    def _changed(self, commit: ChangeSet, row: ChangeRow) -> None:
        image = row.after or row.before or {}
        actor, subject = commit.actor or "", f"{row.type} {row.rec}"
        changed = sorted((row.before or {}).keys() - _ALWAYS) if row.kind == "update" else []
        if row.kind == "update" and not changed and row.type != "user":
            return
        details: dict[str, Any] = {"fields": changed} if changed else {}
        if "role" in image:
            details["role"] = [(row.before or {}).get("role"), image["role"]] if "role" in changed else image["role"]
        account = f"{OF_USER}{row.rec}" if row.type == "user" else commit.account
        what = f"{AUDITED[row.type]}.{_VERBS.get(row.kind, 'removed')}"
        self.note(what, account, actor=actor, name=str(image.get("name", "")), subject=subject, details=details)

    def __len__(self) -> int:
        return len(self._entries)

    async def _run(self) -> None:
        """Write what is due, once a second, until nothing is held any more."""
        while self._entries:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()
        self._task = None

    async def flush(self, *, everything: bool = False) -> None:
        """Write what is due; `everything`: all that there is, as at the end."""
        now = asyncio.get_running_loop().time()
        due: dict[str, list[_Entry]] = {}
        for key, entry in list(self._entries.items()):
            over = everything or now - entry.begun >= MINUTE
            if over:
                del self._entries[key]
                if key[1] in REFUSALS and key[4] != "others":
                    self._refusals[key[0]] -= 1
                    if not self._refusals[key[0]]:
                        del self._refusals[key[0]]
            if entry.count != entry.written and (over or (entry.rec is None and key[1] not in REFUSALS)):
                due.setdefault(key[0], []).append(entry)
        if self._lost:
            log.warning("%d audit entries more than may be held at a time were not kept", self._lost)
            self._lost = 0
        for account, entries in due.items():
            try:
                for place in await self._places(account):
                    writes = tuple(self._write(entry, known=place == account) for entry in entries)
                    await self.storage.submit(Commit(place, writes, atomic=False))
            except HubError as error:
                log.warning("%d audit entries could not be kept: %s", len(entries), error)
            if not account:
                for entry in entries:
                    log.info("%(what)s from %(address)s: %(subject)s", entry.data, extra={"count": entry.count})
            for entry in entries:
                entry.written = entry.count

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
        for account in (await self.storage.find(SYSTEM, Query(type_of(Account)))).records:
            while found := (await self.storage.find(account["id"], Query(kind, old, limit=PRUNED))).records:
                deletes = tuple(Delete(kind, image["id"], hard=True) for image in found)
                await self.storage.submit(Commit(account["id"], deletes, atomic=False))
                total += len(found)
                await asyncio.sleep(0.01)
        return total

    def _write(self, entry: _Entry, *, known: bool) -> Write:
        """Return what keeps an entry; of what is kept in several accounts each gets one of its own."""
        kind = type_of(AuditEntry)
        if entry.rec is not None and known:
            return Update(kind, entry.rec, {"count": entry.count})
        rec = self.new_id()
        if known:
            entry.rec = rec
        count = entry.count if known else entry.count - entry.written
        return Create(kind, rec, kind.accept_create({**entry.data, "count": count}, trusted=True))

    async def close(self) -> None:
        """Write what waits."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        await self.flush(everything=True)


def _data(key: _Key, name: str, details: dict[str, Any] | None) -> dict[str, Any]:
    """Return what an entry says, cut to what fits."""
    _, what, actor, address, subject = key
    return {
        "what": what[:64],
        "actor": actor[:64],
        "name": name[:200],
        "address": address[:64],
        "subject": subject[:200],
        "details": details or {},
    }
