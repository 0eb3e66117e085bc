"""Who came in, what was refused, which keys and roles changed: kept as audit entries, off the way of any request.

    services.audit.note("secret.read", account, actor=…, subject=…)

What repeats within a minute, by the same caller at the same thing, is one entry whose `count` says how often. A second
after it happened an entry is written, with all that wait for the same account in one commit; what repeats is added
when the minute is over. How many entries there may be in a minute is bounded: the rest is counted together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from hub.schema.core.audits import AuditEntry
from hub.schema.record import type_of
from hub.schema.writes import Commit, Create, Update, Write
from hub.wire.errors import HubError
from storage.base import Storage

log = logging.getLogger("hub.audit")

FLUSH_SECONDS: Final = 1.0
"""How soon an entry is written."""
MINUTE: Final = 60.0
"""For how long what repeats is one entry, in seconds."""
PER_ACCOUNT: Final = 100
"""How many entries of refusals one account gets in a minute, at most; further ones are one entry."""
IN_ALL: Final = 2000
"""How many entries are held at a time; beyond, they are only counted in the log."""
REFUSALS: Final = frozenset({"access.denied", "auth.refused", "session.failed", "rate.limited"})
"""What strangers can cause, as often as they like: written when the minute is over, and bounded by `PER_ACCOUNT`."""
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
        if account is None:
            log.info("%s: %s from %s, %s", what, actor or name or "a guest", address or "here", subject)
            return
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
        due: dict[str, list[Write]] = {}
        for key, entry in list(self._entries.items()):
            over = everything or now - entry.begun >= MINUTE
            if over:
                del self._entries[key]
                if key[1] in REFUSALS and key[4] != "others":
                    self._refusals[key[0]] -= 1
                    if not self._refusals[key[0]]:
                        del self._refusals[key[0]]
            if entry.count != entry.written and (over or (entry.rec is None and key[1] not in REFUSALS)):
                due.setdefault(key[0], []).append(self._write(entry))
        if self._lost:
            log.warning("%d audit entries more than may be held at a time were not kept", self._lost)
            self._lost = 0
        for account, writes in due.items():
            try:
                await self.storage.submit(Commit(account, tuple(writes), atomic=False))
            except HubError as error:
                log.warning("%d audit entries could not be kept: %s", len(writes), error)

    def _write(self, entry: _Entry) -> Write:
        kind = type_of(AuditEntry)
        entry.written = entry.count
        if entry.rec is not None:
            return Update(kind, entry.rec, {"count": entry.count})
        entry.rec = self.new_id()
        return Create(kind, entry.rec, kind.accept_create({**entry.data, "count": entry.count}, trusted=True))

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
