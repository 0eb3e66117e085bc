"""The live side of one hub: follows accounts, starts and resumes watches, keeps sessions over a cut.

    commit (own or from the bus) -> Dispatcher -> Watches -> Outlets

A watch starts as `channels.starts` says. From its answer on, in the same turn of the loop, the socket is a member of
the group. So there is no gap and no duplicate, and everything up to the answer's `seq` was pushed before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from channels.after import AfterCommit
from channels.calls import Calls
from channels.dispatch import Dispatcher
from channels.feeds import Feeds
from channels.hall import Hall
from channels.locks import LockNews
from channels.messages import Messages
from channels.outlet import Outlet
from channels.presence import Presence
from channels.refills import Windows
from channels.reviews import Reviews
from channels.rosters import Rosters
from channels.seen import Seen, wall_clock
from channels.sessions import SessionState
from channels.starts import Since, Started, Starts
from channels.watches import Recorder, Watches, WatchQuery
from hub.access import SYSTEM, Identity, rights_changed
from hub.schema.writes import ChangeSet
from hub.wire import close
from hub.wire.errors import HubError
from storage.base import Storage
from storage.bus import Bus
from storage.channel_log import ChannelLog, InProcessLog
from storage.locks import InProcessLocks, Locks
from storage.presence import Line

WATCHES_PER_SOCKET: Final = 100
WINDOW_RECORDS_PER_SOCKET: Final = 10_000
"""How many records the sorted windows of a socket show together at most: they are held in memory."""
GRACE_SECONDS: Final = 10.0
BEAT_SECONDS: Final = 1.0
POLL_SECONDS: Final = 10.0
POLL_WITHOUT_BUS_SECONDS: Final = 2.0


__all__ = ["Live", "SessionState"]


class Live:
    """The live side of one hub."""

    def __init__(
        self,
        storage: Storage,
        bus: Bus,
        *,
        read_gaps: bool = True,
        after: AfterCommit | None = None,
        resume_from: Callable[[], str] = lambda: "",
        log: ChannelLog | None = None,
        locks: Locks | None = None,
        calls: Calls | None = None,
        clock: Callable[[], str] = wall_clock,
        line: Line | None = None,
    ) -> None:
        """Run over a keeper and a bus; `resume_from` returns the time in wire form before which nothing is resumed."""
        self.storage = storage
        self.bus = bus
        self._after = after or None
        """The hooks of packs, where there are any."""
        self.watches = Watches()
        self.rosters = Rosters()
        self.presence = Presence(self.rosters, line, self._superseded)
        self.grace_seconds = GRACE_SECONDS
        """How long a session without a socket is waited for; longer while its hub goes away."""
        self._ends_at: float | None = None
        """By when sessions are to be back elsewhere, where this hub goes away."""
        self.seen = Seen(storage, clock)
        self.hall = Hall(self.rosters, self.seen, clock)
        self.messages = Messages(log or InProcessLog(), self._too_slow, self.watches.fanout)
        self.locks = locks or InProcessLocks()
        self.locks.listen(LockNews(self.messages, self._outlet_of).told)
        self.presence.when_gone(self.locks.end)
        self.calls = calls or Calls()
        self.feeds = Feeds(storage)
        self.dispatcher = Dispatcher(storage, self._deliver, read_gaps=read_gaps)
        self.windows = Windows(storage, self.dispatcher, self.watches)
        self._starts = Starts(storage, self.dispatcher, self.windows, resume_from)
        self._sessions: dict[str, SessionState] = {}
        self._by_outlet: dict[Outlet, SessionState] = {}
        self._by_proof: dict[str, SessionState] = {}
        self._pulse: asyncio.Task[None] | None = None
        self._system: asyncio.Task[None] | None = None
        """Follows the account in which people and tokens live: from the first session on."""
        self.reviews = Reviews(self)
        self.deletions = 0
        """How many deletions of records were heard of."""
        storage.listen(self._committed)
        bus.listen(self.dispatcher.offer, self.dispatcher.heads, self.dispatcher.look_soon)
        self.watches.listen(self._lost_watch)

    async def start(self) -> None:
        """Begin to hear of others, to beat and to look at the logs."""
        await self.bus.start()
        await self.messages.log.start()
        await self.locks.start()
        await self.calls.start()
        await self.presence.start()
        self._pulse = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop; forget every session. The bus goes on, for what storage still commits."""
        self.reviews.stop()
        if self._pulse is not None:
            self._pulse.cancel()
        for session in list(self._sessions.values()):
            if session.gone is not None:
                session.gone.cancel()
        self._sessions.clear()
        left = 0.0 if self._ends_at is None else self._ends_at - asyncio.get_running_loop().time()
        await self.presence.close(max(left, 0.0))
        await self.seen.close()
        self.feeds.close_all()
        self._starts.shared.close()
        self.windows.close()
        await self.calls.close()
        await self.messages.log.close()
        await self.locks.close()
        await self.dispatcher.close()

    def _committed(self, commits: list[ChangeSet]) -> None:
        self.dispatcher.offer(commits)
        self.bus.publish(commits)
        if self._after is not None and self._after.concerns(commits):
            asyncio.get_running_loop().call_soon(self._after.tell, commits)

    def _deliver(self, commit: ChangeSet) -> None:
        """Hand a commit on; what it withdraws is withdrawn before anybody hears of anything else."""
        for row in commit.rows:
            if row.kind == "create":
                continue  # takes nothing from anybody
            if row.before is not None:
                self.reviews.heard(commit.account, row, row.before)
            if row.kind in {"delete", "purge"}:
                self.deletions += 1
                if row.kind == "purge":
                    self._starts.shared.forget(commit.account)
                self.locks.forget((commit.account, row.type, row.rec))
                self._end_channel(commit.account, f"{row.type}:{row.rec}")
            elif row.type in self.reviews.ruled:
                self.deletions += 1  # for whom it leaves their row rule it is as if it were deleted
                self.reviews.changed(commit.account, row)
        self.watches.tell(commit)
        self.feeds.tell(commit.account)

    def _end_channel(self, account: str, name: str) -> None:
        """The record of a channel is deleted: everybody leaves, and nobody is in it any more."""
        for outlet in {*self.rosters.end((account, name)), *self.messages.end((account, name))}:
            session = self._by_outlet.get(outlet)
            if session is not None:
                session.channels.discard(name)

    def session_of(self, outlet: Outlet) -> SessionState | None:
        """Return the session that a socket is of."""
        return self._by_outlet.get(outlet)

    def session_named(self, session: str) -> SessionState | None:
        """Return a session of this instance."""
        return self._sessions.get(session)

    def _outlet_of(self, account: str, session: str) -> Outlet | None:
        found = self._sessions.get(session)
        return found.outlet if found is not None and found.account == account else None

    def _too_slow(self, outlet: Outlet) -> None:
        session = self._by_outlet.get(outlet)
        if session is not None and session.closing is not None:
            session.closing(close.SLOW.code, close.SLOW.reason)

    async def _run(self) -> None:
        waited = 0.0
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            waited += BEAT_SECONDS
            self.bus.beat(self.dispatcher.positions())
            self.locks.look()
            self.rosters.tick()
            self.seen.tick(asyncio.get_running_loop().time())
            if waited >= (POLL_SECONDS if self.bus.healthy else POLL_WITHOUT_BUS_SECONDS):
                waited = 0.0
                self.dispatcher.look_soon()

    # -- watches -------------------------------------------------------------------------------------

    async def watch(self, session: SessionState, query: WatchQuery, since: Since | None = None) -> Started:
        """Start or resume a watch of a session; raise `watch.too_many`, `watch.too_large`.

        Runs to its answer; the caller queues the answer before it waits for anything else.
        """
        self._admit(session, query)
        outlet, turn = session.outlet, session.turn
        # Followed for as long as this takes, so that what is recorded has no gap whatever the session does.
        await self.dispatcher.follow(query.account)
        epoch = self.dispatcher.epoch(query.account)
        group = self.watches.group(query) if query.limit is None else self.windows.group(query)
        recorder = Recorder()
        group.recorders.append(recorder)
        try:
            started = await self._starts.start(group, recorder, outlet, epoch, since)
            if session.turn != turn:
                raise HubError("action.cancelled", "The session has changed its account meanwhile.")
            self._admit(session, query)  # again: others may have started, or its rights may be others, meanwhile
            if outlet is not None and session.outlet is outlet:
                group.join(outlet, self.watches.fanout)
                session.watches[query.id] = group
            return started
        finally:
            group.recorders.remove(recorder)
            self.watches.release(group)
            self.dispatcher.unfollow(query.account)

    def _admit(self, session: SessionState, query: WatchQuery) -> None:
        if session.rights is not None and not query.is_seen_by(session.rights, session.identity):
            raise rights_changed()
        if query.id in session.watches:
            return
        if len(session.watches) >= WATCHES_PER_SOCKET:
            raise HubError("watch.too_many", f"A socket holds at most {WATCHES_PER_SOCKET} watches; stop one first.")
        if query.limit is not None:
            shown = sum(group.query.limit or 0 for group in session.watches.values())
            if shown + query.limit > WINDOW_RECORDS_PER_SOCKET:
                text = f"The windows of a socket show at most {WINDOW_RECORDS_PER_SOCKET} records; ask for less."
                raise HubError("watch.too_many", text, path="limit")

    def unwatch(self, session: SessionState, watch: str) -> None:
        """Stop a watch once; raise `record.not_found` where the session does not hold it."""
        group = session.watches.get(watch)
        if group is None or session.outlet is None:
            raise HubError("record.not_found", "This session holds no such watch.", path="watch")
        count = group.outlets.get(session.outlet, 0) - 1
        if count > 0:
            group.outlets[session.outlet] = count
            return
        del session.watches[watch]
        self.watches.stop(group, session.outlet)

    def _lost_watch(self, outlet: Outlet, watch: str) -> None:
        session = self._by_outlet.get(outlet)
        if session is not None:
            session.watches.pop(watch, None)

    # -- sessions ------------------------------------------------------------------------------------

    async def open(self, session: SessionState) -> None:
        """Take in a new session, or one of another instance that comes back here, and follow its account."""
        await self._follow_people()
        if session.account is not None:
            await self.dispatcher.follow(session.account)
        self._sessions[session.id] = session
        self._by_proof[session.resume] = session
        if session.outlet is not None:
            self._by_outlet[session.outlet] = session
        self._enter(session)

    def _enter(self, session: SessionState) -> None:
        """Show a session in its account."""
        who = session.who
        if session.account is not None and session.outlet is not None and who is not None:
            self.tell_of(session)
            self.hall.enter(session.account, who, session.id, session.outlet, session.status)

    def tell_of(self, session: SessionState) -> None:
        """Have the other instances told what there is to know of a session."""
        opened = session.opened
        if opened is not None:
            self.presence.lists.opened(opened)

    def _part(self, session: SessionState) -> None:
        """Show a session in its account no longer."""
        who = session.who
        if session.account is not None and who is not None:
            self.hall.leave(session.account, who, session.id, session.outlet)

    async def _follow_people(self) -> None:
        """Hear of every key and token that is withdrawn; raise `server.unavailable` where that cannot be."""
        if self._system is None:
            self._system = asyncio.get_running_loop().create_task(self.dispatcher.follow(SYSTEM))
        try:
            await asyncio.shield(self._system)
        except HubError:
            self._system = None
            raise

    def hears_of(self, account: str | None) -> bool:
        """Say whether the withdrawal of what lets somebody into an account is heard of already."""
        followed = self.dispatcher.positions()
        return account is None or (account in followed and SYSTEM in followed)

    def sessions(self) -> list[SessionState]:
        """Return every live session, those within their grace too."""
        return list(self._sessions.values())

    async def switch(self, session: SessionState, identity: Identity, account: str | None, proof: str) -> SessionState:
        """Move a session to another identity or account: its watches and channels end."""
        if account is not None:
            await self.dispatcher.follow(account)
        if self._sessions.get(session.id) is not session:
            if account is not None:
                self.dispatcher.unfollow(account)
            raise HubError("auth.required", "This session has ended meanwhile.")
        self.leave_account(session)
        if session.account is not None:
            self.dispatcher.unfollow(session.account)
        self._part(session)
        self.presence.lists.closed(session.id)
        session.identity, session.account = identity, account
        self._rotate(session, proof)
        self._enter(session)
        return session

    def _rotate(self, session: SessionState, proof: str) -> None:
        self._by_proof.pop(session.resume, None)
        session.resume = proof
        self._by_proof[proof] = session

    def resumable(self, proof: str) -> SessionState | None:
        """Return the live session of this instance that the secret with this proof brings back, or None."""
        return self._by_proof.get(proof)

    def bind(self, session: SessionState, outlet: Outlet, proof: str) -> None:
        """Bring a session back on a new socket; the secret rotates."""
        if session.gone is not None:
            session.gone.cancel()
            session.gone = None
        session.outlet = outlet
        self._rotate(session, proof)
        self._by_outlet[outlet] = session
        self.stand(session)
        self._enter(session)

    def stand(self, session: SessionState) -> None:
        """Show the status that a session declared."""
        self.presence.lists.stands(session.id, session.status)

    def goes_away(self, seconds: float) -> None:
        """This hub goes away: its clients were asked to come back elsewhere over so many seconds."""
        self.grace_seconds = seconds + GRACE_SECONDS
        self._ends_at = asyncio.get_running_loop().time() + self.grace_seconds

    def cut(self, session: SessionState, *, clean: bool) -> None:
        """The socket of a session is gone: end it at once, or after the grace."""
        self._unbind(session)
        if clean:
            self.end(session)
            return
        self.presence.lists.stands(session.id, session.status, cut=True)
        who = session.who
        if session.account is not None and who is not None:
            self.hall.cut(session.account, who, session.id)
        if session.gone is None:
            session.gone = asyncio.get_running_loop().call_later(self.grace_seconds, self._vanish, session)

    def _unbind(self, session: SessionState) -> None:
        """Nothing reaches the socket of a session any more."""
        outlet = session.outlet
        if outlet is not None:
            self._by_outlet.pop(outlet, None)
            for group in session.watches.values():
                self.watches.stop(group, outlet)
            self.rosters.deafen(outlet)
            self.messages.drop(outlet)
            self.feeds.drop(outlet)
            self.calls.targets.depart(session.id)
            self.calls.drop(outlet)
            outlet.close()
        session.watches.clear()
        session.channels.clear()
        session.outlet = None

    def _vanish(self, session: SessionState) -> None:
        """The grace is over."""
        self.presence.lists.closed(session.id, vanished=True)
        self.end(session)

    def _superseded(self, name: str) -> None:
        """A session of this instance goes on at another one: here it is over, and it left nothing."""
        session = self._sessions.pop(name, None)
        if session is None:
            return
        closing = session.closing if session.outlet is not None else None
        self._unbind(session)
        self._by_proof.pop(session.resume, None)
        if session.gone is not None:
            session.gone.cancel()
        self._part(session)
        self.calls.targets.end(session.id)
        if session.account is not None:
            self.dispatcher.unfollow(session.account)
        if closing is not None:
            closing(close.RESUMED.code, close.RESUMED.reason)

    def end(self, session: SessionState) -> None:
        """End a session: it leaves its channels and can no longer be resumed."""
        if self._sessions.pop(session.id, None) is None:
            return
        self._by_proof.pop(session.resume, None)
        if session.gone is not None:
            session.gone.cancel()
        self._part(session)
        self.presence.lists.closed(session.id)
        self.calls.targets.end(session.id)
        if session.account is not None:
            self.locks.end(session.account, session.id)
            self.dispatcher.unfollow(session.account)

    def leave_account(self, session: SessionState) -> None:
        """End the watches and channels of a session that switches account."""
        session.turn += 1
        session.rights = None
        self.calls.targets.end(session.id)
        outlet = session.outlet
        if outlet is not None:
            for group in list(session.watches.values()):
                self.watches.stop(group, outlet)
            if session.account is not None:
                self.locks.end(session.account, session.id)
                for channel in session.channels:
                    self.rosters.leave((session.account, channel), outlet, session.id)
            self.messages.drop(outlet)
            self.feeds.drop(outlet)
        session.watches.clear()
        session.channels.clear()
