"""Live rights: when something changed that decides who may do what, the sessions concerned are looked at again.

    commit -> heard: ended at once, or -> look: credential and roles are read again -> settle: what was lost ends

A session that lost a part goes on with the rest: watches and channels that it may no longer hear are reset (`rights`),
its locks and calls end where it lost any right to hold or make them. Where nothing is left its socket is closed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from channels.outlet import Encoded, Outlet
from channels.sessions import SessionState
from hub.access import Identity, Rights
from hub.logs import naming
from hub.schema.access import ROLES
from hub.schema.rows import RowRules
from hub.schema.writes import ChangeRow
from hub.wire import close, frames
from hub.wire.errors import HubError
from storage.locks import LockKey

if TYPE_CHECKING:
    from channels.live import Live

AT_ONCE: Final = 16
"""How many credentials are read at a time."""
TURN: Final = 200
"""How many sessions are settled in one turn of the loop."""
LATE_SECONDS: Final = 3.0
"""How long rights that cannot be read may stay in force; then the sessions end, and come back when they can be read."""
RETRY_SECONDS: Final = 0.2
WATCHED: Final[dict[str, frozenset[str]]] = {
    "user": frozenset(),
    "session": frozenset({"expires_at", "user_id", "kind"}),
    "membership": frozenset({"role"}),
    "role": frozenset({"permissions"}),
    "api_key": frozenset({"role", "scopes", "expires_at"}),
    "service_account": frozenset({"role"}),
    "device": frozenset({"role"}),
}
"""The record types that say who may do what, and which fields of theirs; besides, that they are there and enabled."""

log = logging.getLogger("hub.reviews")

Verdict = tuple[Identity, str | None, Rights | None]
"""Who somebody is now, in which role of the account, with which rights there."""
Judge = Callable[[Identity, str | None, bool], Awaitable[Verdict]]
"""Reads what an identity may in an account; raise `HubError` where it may not come in. The last says whether its
credential is to be read again as well."""


class Reviews:
    """Looks again at the sessions of one instance."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._judges: Callable[[], Judge] | None = None
        self.enabled = True
        """False only in the tests that show what this is for."""
        self.ruled: frozenset[str] = frozenset()
        """The names of the types that have row rules."""
        self.heard_of = 0
        """How many changes of what gives rights were heard of."""
        self._waiting: dict[str, tuple[bool, float]] = {}
        """The sessions to be looked at: whether their credential is read too, and since when they wait."""
        self._task: asyncio.Task[None] | None = None
        self._releasing: set[asyncio.Task[None]] = set()
        """Locks that are being let go."""

    def by(self, judges: Callable[[], Judge]) -> None:
        """Set what makes the judge of one look at many sessions; without one, sessions that changed are ended."""
        self._judges = judges

    def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()

    # -- what happened -------------------------------------------------------------------------------

    def heard(self, account: str, row: ChangeRow, before: dict[str, Any]) -> None:
        """Take in that a record changed; what lets nobody in any more ends before anybody hears of anything else."""
        fields = WATCHED.get(row.type)
        if fields is None or not self.enabled:
            return
        after = row.after
        gone = not after or after["deleted_at"] is not None or after.get("disabled", False)
        if not gone and before.keys().isdisjoint(fields) and "deleted_at" not in before and "disabled" not in before:
            return
        self.heard_of += 1
        concerned = self._concerned(account, row, after or before)
        if row.type == "role":
            self._look(concerned, anew=False)
        elif gone:
            for session in concerned:
                self._end(session, close.REVOKED)
        else:
            self._look(concerned, anew=True)

    def _concerned(self, account: str, row: ChangeRow, image: dict[str, Any]) -> list[SessionState]:
        """Return the sessions whose rights come from a record."""
        sessions, rec = self._live.sessions(), row.rec
        match row.type:
            case "user":
                return [s for s in sessions if s.identity.user == rec]
            case "membership":
                user = image.get("user_id")
                return [s for s in sessions if s.account == account and user is not None and s.identity.user == user]
            case "service_account" | "device":
                return [s for s in sessions if s.identity.acts_for == rec]
            case "role":
                name = image.get("name")  # a purge does not say it
                return [s for s in sessions if s.account == account and _has_role(s.identity, account, name)]
            case _:
                return [s for s in sessions if s.identity.credential == rec]

    # -- looking -------------------------------------------------------------------------------------

    def _look(self, sessions: Iterable[SessionState], *, anew: bool) -> None:
        if self._judges is None:
            for session in sessions:
                self._end(session, close.Close(close.RESTART.code, "the rights have changed"))
            return
        now = asyncio.get_running_loop().time()
        for session in sessions:
            before = self._waiting.get(session.id, (False, now))
            self._waiting[session.id] = (before[0] or anew, before[1])
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._waiting and self._judges is not None:
            waiting, self._waiting, judge = self._waiting, {}, self._judges()
            found = {session.id: session for session in self._live.sessions()}
            alike: dict[tuple[Identity, str | None, bool], list[SessionState]] = {}
            for name, (anew, _) in waiting.items():
                if (session := found.get(name)) is not None:
                    alike.setdefault((session.identity, session.account, anew), []).append(session)
            again: list[SessionState] = []
            gate = asyncio.Semaphore(AT_ONCE)
            asked = [self._one(judge, *key, sessions, again, gate) for key, sessions in alike.items()]
            await asyncio.gather(*asked)
            now = asyncio.get_running_loop().time()
            for session in again:
                anew, since = waiting[session.id]
                if now - since >= LATE_SECONDS:
                    self._end(session, close.Close(close.RESTART.code, "its rights cannot be read at the moment"))
                else:
                    fresh = self._waiting.get(session.id, (False, since))
                    self._waiting[session.id] = (anew or fresh[0], since)
            if again:
                await asyncio.sleep(RETRY_SECONDS)

    async def _one(
        self,
        judge: Judge,
        identity: Identity,
        account: str | None,
        anew: bool,
        sessions: list[SessionState],
        again: list[SessionState],
        gate: asyncio.Semaphore,
    ) -> None:
        """Look at the sessions of one identity in one account; add those to `again` that could not be looked at."""
        try:
            async with asyncio.timeout(LATE_SECONDS), gate:
                verdict = await judge(identity, account, anew)
        except TimeoutError:
            again += sessions
            return
        except HubError as refusal:
            if refusal.retry_after is not None:
                again += sessions
                return
            ending = close.NOT_AUTHENTICATED if refusal.code == "auth.expired" else close.REVOKED
            for session in sessions:
                self._end(session, ending)
            return
        for n, session in enumerate(sessions, 1):
            if session.identity == identity and session.account == account:  # else a hello was quicker
                self.settle(session, *verdict)
            if n % TURN == 0:
                await asyncio.sleep(0)

    def _end(self, session: SessionState, ending: close.Close) -> None:
        closing = session.closing
        self._live.cut(session, clean=True)
        if closing is not None:
            closing(ending.code, ending.reason)

    # -- what was lost -------------------------------------------------------------------------------

    def settle(self, session: SessionState, identity: Identity, role: str | None, rights: Rights | None) -> None:
        """Give a session its rights of now, in the account that it is in; what it may no longer have ends."""
        before, known = session.rights, session.identity
        session.identity, session.rights = identity, rights
        if session.changed is not None:
            session.changed(identity, role, rights)
        account = session.account
        if rights is None or before is None or account is None:
            return
        if rights.fingerprint == before.fingerprint and not (rights.ruled and role != known.role_in(account)):
            return
        if not rights.permissions:
            self._end(session, close.REVOKED)
            return
        with naming(None, session.id):
            log.info("its rights have changed: role %s", rights.role)
        if session.outlet is None:
            return  # a hello brings it back, and looks at everything
        notice = frames.notice("rights.changed", "What this session may has changed.", {"roles": [role]})
        session.outlet.push(session.outlet.codec.encode(notice), None, force=True)
        for group in list(session.watches.values()):
            if not group.query.is_seen_by(rights, identity):
                self._live.watches.reset(group, session.outlet, "rights")
        self._channels(session, account, session.outlet, before.rules_for(known, account), before)
        self._held(session, before, rights)

    def _channels(self, session: SessionState, account: str, outlet: Outlet, ruled: RowRules, before: Rights) -> None:
        rights = session.rights
        if rights is None:
            return
        rules = rights.rules_for(session.identity, account)
        for name in list(session.channels):
            channel = rights.registry.channel(name.partition(":")[0])
            kind = channel.record
            sees = channel.presence and rights.allows(channel.seeing)
            same = sees == (channel.presence and before.allows(channel.seeing))
            same = same and (kind is None or rules.node(kind, "read") == ruled.node(kind, "read"))
            if same and rights.allows(channel.joining):
                continue
            self._out(session, account, name, outlet)

    def _out(self, session: SessionState, account: str, name: str, outlet: Outlet) -> None:
        """Take a session out of a channel that it may not hear any more."""
        self._live.rosters.leave((account, name), outlet, session.id)
        self._live.messages.leave((account, name), outlet)
        session.channels.discard(name)
        push = Encoded(frames.channel_reset(name, "rights"))
        outlet.push(push.frame(outlet.codec), None, force=True)

    def changed(self, account: str, row: ChangeRow) -> None:
        """Take in that a record of a ruled type changed: who lost it leaves its channel, and loses its lock."""
        live, name = self._live, f"{row.type}:{row.rec}"
        for outlet in live.messages.heard_by((account, name)):
            session = live.session_of(outlet)
            if session is not None and not _may(session, account, row, "read"):
                self._out(session, account, name, outlet)
        lock = live.locks.held((account, row.type, row.rec))
        holder = live.session_named(lock.holder.session) if lock is not None else None
        if holder is not None and not (_may(holder, account, row, "read") and _may(holder, account, row, "update")):
            task = asyncio.get_running_loop().create_task(self._release((account, row.type, row.rec), holder.id))
            self._releasing.add(task)
            task.add_done_callback(self._releasing.discard)

    async def _release(self, key: LockKey, session: str) -> None:
        try:
            await self._live.locks.release(key, session)
        except HubError as refusal:
            log.info("the lock of session %s was not let go, and lapses: %s", session, refusal)

    def _held(self, session: SessionState, before: Rights, rights: Rights) -> None:
        """End what was taken under rights that are lost: locks, calls, feeds."""
        lost, outlet = before.permissions - rights.permissions, session.outlet
        if outlet is None or session.account is None:
            return
        self._live.feeds.drop(outlet, "rights")
        if any(permission.endswith(".update") for permission in lost):
            self._live.locks.end(session.account, session.id)
        if not lost.isdisjoint(command.needs for command in rights.registry.commands.values()):
            self._live.calls.drop(outlet, "The right to ask for this was taken away.")


def _may(session: SessionState, account: str, row: ChangeRow, verb: str) -> bool:
    """Say whether the row rules of a session let it do that with a record as it is now."""
    rights = session.rights
    if rights is None or session.account != account:
        return False
    kind = rights.registry.types[row.type]
    return rights.rules_for(session.identity, account).allows(kind, verb, row.after)


def _has_role(identity: Identity, account: str, name: str | None) -> bool:
    """Say whether somebody has an own role of this name, or any where it has none."""
    roles = {identity.role_in(account), identity.bound} - {None}
    return name in roles if name is not None else not roles <= set(ROLES)
