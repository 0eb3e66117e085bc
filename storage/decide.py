"""Decide commits: from what is stored and what is asked to what will be. Pure; used by every keeper.

A keeper opens its write transaction, makes a `Decider` over a `Loader`, decides each commit of the group
in order, writes the `puts` and log rows of those that were not refused, and commits once. A refusal is a
`HubError` and leaves no trace in the others. Knows keys and numbers; `storage.work` decides the writes.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from hub.schema.registry import Registry
from hub.schema.writes import ChangeSet, Commit, Committed, KeyClaim, Refused, Result
from hub.wire.errors import HubError
from storage.known import Known, Put
from storage.loader import KeyRow, Loader, repeated
from storage.work import Work


class Decision(msgspec.Struct, gc=False):
    """What to write for one commit. `log` is None where nothing changed; `key` where no key was given."""

    commit: Commit
    committed: Committed
    puts: list[Put] = []
    log: ChangeSet | None = None
    key: tuple[KeyClaim, KeyRow] | None = None


class Decider:
    """Decides the commits of one group, in order; later ones see what earlier ones decided."""

    def __init__(self, registry: Registry, load: Loader, now: str) -> None:
        self._load = load
        self._now = now
        self._known = Known(registry, load)
        self._keys: dict[tuple[str, str, str], KeyRow] = {}
        self._heads: dict[str, int] = {}

    def decide(self, commit: Commit) -> Decision:
        """Return what to write for a commit; raise `HubError` where it is refused."""
        account = commit.account
        head = self._heads.get(account)
        if head is None:
            head = self._heads[account] = self._load.head(account)
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
