"""Decide commits: from what is stored and what is asked to what will be. Pure; used by every keeper.

A keeper opens its write transaction, makes a `Decider` over a `Loader`, decides each commit of the group
in order, writes the `puts` and log rows of those that were not refused, and commits once. A refusal is a
`HubError` and leaves no trace in the others. Knows keys and numbers; `storage.work` decides the writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from hub.access import SYSTEM
from hub.schema.record import RecordType
from hub.schema.registry import Registry
from hub.schema.writes import ChangeRow, ChangeSet, Commit, Committed, Create, KeyClaim, Refused, Result
from hub.wire.errors import HubError
from storage.known import Known, Put, newborn, plan_of
from storage.loader import KeyRow, Loader, repeated
from storage.work import Work

_NO_SECRETS: Final[dict[str, Any]] = {}


class Decision(msgspec.Struct, gc=False):
    """What to write for one commit. `log` is None where nothing changed; `key` where no key was given."""

    commit: Commit
    committed: Committed
    puts: Sequence[Put] = ()
    log: ChangeSet | None = None
    key: tuple[KeyClaim, KeyRow] | None = None


class Decider:
    """Decides the commits of one group, in order; later ones see what earlier ones decided.

    `closely`: without the shorter way for the commonest commits, which the tests compare with this one.
    """

    def __init__(self, registry: Registry, load: Loader, now: str, *, closely: bool = False) -> None:
        self._load = load
        self._now = now
        self._known = Known(registry, load)
        self._keys: dict[tuple[str, str, str], KeyRow] = {}
        self._heads: dict[str, int] = {}
        self._closely = closely
        # Types whose creations may go the shorter way.
        self._plain: dict[RecordType, bool] = {}

    def decide(self, commit: Commit) -> Decision:
        """Return what to write for a commit; raise `HubError` where it is refused."""
        account = commit.account
        head = self._heads.get(account)
        if head is None:
            head = self._heads[account] = self._load.head(account)
        writes = commit.writes
        if len(writes) == 1 and type(writes[0]) is Create:
            alone = self._creation(commit, writes[0], head + 1)
            if alone is not None:
                self._heads[account] = head + 1
                return alone
        if commit.key is not None:
            kept = self._keys.get((account, commit.key.scope, commit.key.key))
            kept = kept or self._load.key(account, commit.key.scope, commit.key.key)
            if kept is not None:
                return Decision(commit, repeated(kept, commit.key))
        work = self._together(commit) if commit.atomic else self._one_by_one(commit)
        seq = head + 1 if work.rows else head
        results = tuple(work.results)
        log = None
        if work.rows:
            log = ChangeSet(account, seq, self._now, commit.actor, commit.session, commit.request, tuple(work.rows))
        committed = Committed(seq, results)
        if commit.answer is not None:
            # Through JSON, so that the first answer is the one that is kept.
            answer = msgspec.json.decode(msgspec.json.encode(commit.answer(committed)))
            committed = Committed(seq, results, answer=answer)
        decision = Decision(commit, committed, work.done or list(work.puts.values()), log)
        if commit.key is not None and (commit.atomic or any(r.refused is None for r in results)):
            row = KeyRow(commit.key.digest, seq, results)
            if commit.answer is not None:
                row = KeyRow(commit.key.digest, seq, (), UNSET if commit.shown_once else committed.answer)
            decision.key = (commit.key, row)
            self._keys[(account, commit.key.scope, commit.key.key)] = row
        # Only a commit that was decided to its end becomes visible to the next one.
        self._heads[account] = seq
        self._known.learn(work, log)
        return decision

    def _creation(self, commit: Commit, write: Create, seq: int) -> Decision | None:
        """Decide a commit that creates one record of a plain type; None where a `Work` has to look at it.

        Most commits are such, and a `Work` with all that it holds costs several times what there is to decide.
        """
        kind, account, known = write.type, commit.account, self._known
        plain = self._plain.get(kind)
        if plain is None:
            special = self._closely or kind.system or kind.name in known.registry.before
            plain = self._plain[kind] = plan_of(kind).plain and not special
        if not plain or commit.key is not None or commit.answer is not None or not commit.atomic or account == SYSTEM:
            return None
        if commit.rules is not None:
            return None
        above, parent, records = kind.parent, write.parent, known.records
        if above is None:
            if parent is not None:
                return None
        else:
            if type(parent) is not str:
                return None
            beneath = (account, above.name, parent)
            if beneath in records:
                there = records[beneath]
            else:
                there = records[beneath] = self._load.record(account, above, parent)
            if there is None or there["deleted_at"] is not None:
                return None
        key = (account, kind.name, write.id)
        if not known.is_new(key, kind):
            return None
        now, actor = self._now, commit.actor
        image = newborn(kind, write.id, account, parent, now, actor)
        image |= write.data
        row = ChangeRow(0, kind.name, write.id, "create", 1, image, None)
        log = ChangeSet(account, seq, now, actor, commit.session, commit.request, (row,))
        records[key] = image
        known.logs.append(log)
        return Decision(commit, Committed(seq, (Result(image, True),)), (Put(kind, image, None, _NO_SECRETS),), log)

    def _together(self, commit: Commit) -> Work:
        work = Work(self._known, commit, self._now)
        many = len(commit.writes) > 1
        for n, write in enumerate(commit.writes):
            try:
                work.do(write)
            except HubError as refusal:
                raise refusal.at(f"ops.{n}") if many else refusal from None
        return work

    def _one_by_one(self, commit: Commit) -> Work:
        """Decide each write by itself; what is refused leaves no trace but its result."""
        whole, seen = Work(self._known, commit, self._now), self._known.copy()
        for n, write in enumerate(commit.writes):
            if isinstance(write, Refused):
                whole.results.append(Result({}, refused=write.body))
                continue
            item = Work(seen, commit, self._now, whole)
            try:
                item.do(write)
            except HubError as refusal:
                whole.results.append(Result({}, refused=refusal.at(f"ops.{n}").body()))
                continue
            seen.learn(item, ChangeSet(commit.account, 0, self._now, None, None, None, tuple(item.rows)))
            whole.take(item)
        return whole


__all__ = ["Decider", "Decision", "KeyRow", "Loader", "Put", "repeated"]
