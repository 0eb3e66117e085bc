"""The writer: a group of commits per account and transaction, several accounts at a time.

A group is what arrived for one account while the last one committed; it shares one sync. Nothing waits for company.
Every way in which a transaction can fail has its answer here:

- what the decision refuses is answered alone, the rest goes on;
- what the database refuses of a group is tried again one by one, so that only those at fault fail;
- a deadlock, a lock that takes too long, a record that changed: the whole transaction again, a few times;
- a connection that is lost before COMMIT was sent: once more on a fresh one;
- a connection that is lost at COMMIT: the next one looks, under the account's lock, whether it was committed. Where it
  cannot be told in time the answer is `write.unknown`, and only there; who listens is told once it was found out, and
  before anything that comes after it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.logs import naming
from hub.schema.registry import Registry
from hub.schema.writes import ChangeSet, Commit, Committed
from hub.wire.errors import HubError
from storage.decide import Decider, Decision
from storage.mariadb.connection import LOCK_SECONDS, roll_back, rolled_back
from storage.mariadb.faults import AGAIN, FULL, READ_ONLY, TAKEN, code_of, is_lost, refusal, unavailable
from storage.mariadb.statements import Statements
from storage.mariadb.transaction import Keys, Transaction
from storage.mariadb.units import PAUSE_SECONDS, Units

GROUP_COMMITS: Final = 256
"""The most commits of one transaction: deciding and writing them keeps the event loop for some milliseconds."""
GROUP_WRITES: Final = 2048
"""A transaction takes no further commit once it has this many writes."""
RETRIES: Final = 3
"""How often a transaction is run again that another one stood in the way of."""
JITTER_SECONDS: Final = 0.02
LEAST: Final = 0.2
"""A group is not begun with less of its time left than this part."""
PRUNE_GROUPS: Final = 256

log: Final = logging.getLogger(__name__)

Outcome = Committed | HubError
Told = Callable[[list[ChangeSet]], None]


class Job(msgspec.Struct, eq=False):
    """A queued commit, when it was queued, and whoever waits for it."""

    commit: Commit
    future: asyncio.Future[Committed]
    since: float


class _Doubt(Exception):
    """COMMIT was sent and not answered: `decisions` may have been committed, with these outcomes."""

    def __init__(self, decisions: list[Decision], outcomes: list[Outcome]) -> None:
        super().__init__("the connection was lost at COMMIT")
        self.decisions = decisions
        self.outcomes = outcomes


class Writer:
    """Takes commits and answers them. `tell` hears of what was committed, before the answers."""

    def __init__(
        self,
        registry: Registry,
        statements: Statements,
        units: Units,
        clock: Callable[[], str],
        keys: Keys,
        writers: int,
        limit: int,
        tell: Told,
    ) -> None:
        self._registry = registry
        self._statements = statements
        self._units = units
        self._clock = clock
        self._keys = keys
        self._places = asyncio.Semaphore(writers)
        self._limit = limit
        self._tell = tell
        self._queues: dict[str, deque[Job]] = {}
        # What was answered `write.unknown` and is still to be found out, by account; and who is finding out.
        self._doubts: dict[str, list[_Doubt]] = {}
        self._finding = asyncio.Lock()
        self._groups = 0
        self.waiting = 0
        # The last error of writing that says something against the database; None after a success.
        self.fault: str | None = None
        # When a commit was last refused because the disk is full, by the monotonic clock.
        self.full_at = -math.inf

    def submit(self, commit: Commit) -> asyncio.Future[Committed]:
        """Queue a commit."""
        if self.waiting >= self._limit:
            raise HubError("server.unavailable", "Too many writes are waiting; try again shortly.", retry_after=1)
        loop = asyncio.get_running_loop()
        job = Job(commit, loop.create_future(), time.monotonic())
        self.waiting += 1
        queue = self._queues.get(commit.account)
        if queue is None:
            self._queues[commit.account] = deque([job])
            self._units.spawn(self._drain(commit.account))
        else:
            queue.append(job)
        return job.future

    async def _drain(self, account: str) -> None:
        """Write what is queued for an account, group by group, until nothing is."""
        queue = self._queues[account]
        while queue:
            jobs: list[Job] = []
            writes = 0
            while queue and len(jobs) < GROUP_COMMITS and writes < GROUP_WRITES:
                jobs.append(queue.popleft())
                writes += len(jobs[-1].commit.writes) + jobs[-1].commit.extra
            self.waiting -= len(jobs)
            try:
                await self._group(account, jobs)
            except Exception as error:
                log.exception("a group of account %s failed", account)
                _answer_all(jobs, refusal(error))
        del self._queues[account]

    async def _group(self, account: str, jobs: list[Job]) -> None:
        """Write a group and answer its jobs: together, or one by one where the database refuses them together."""
        if not await self._try(account, jobs, trusting=True):
            for job in jobs:
                await self._try(account, [job], trusting=False)

    async def _try(self, account: str, jobs: list[Job], *, trusting: bool) -> bool:
        """Write jobs in one transaction; say whether they are answered. Without trust a single job always is."""
        # Who waited for too long is told so before anything is done, and the others still have time enough.
        now = time.monotonic()
        late = [job for job in jobs if now - job.since > self._units.seconds * (1 - LEAST)]
        if late or self._units.fault is not None:
            _answer_all(late or jobs, unavailable())
            jobs = [job for job in jobs if not job.future.done()] if self._units.fault is None else []
        if not jobs:
            return True
        doubt: list[_Doubt] = []
        begun = False
        try:
            async with asyncio.timeout(jobs[0].since + self._units.seconds - now), self._places:
                begun = True
                outcomes, told = await self._settle(account, jobs, trusting, doubt)
        except TimeoutError as error:
            if begun:
                self._units.suspect()
            self._give_up(account, jobs, doubt, error)
            return True
        except Exception as error:
            code = code_of(error)
            if is_lost(error):
                self._units.lost(error)
                self._give_up(account, jobs, doubt, error)
                return True
            if trusting and code not in READ_ONLY | AGAIN:
                return False
            if code and code not in TAKEN | AGAIN:
                self.fault = None if code in FULL else str(error)
            for job in jobs:
                _answer(job, self._refusal(job.commit, error))
            return True
        self.fault = None
        try:
            if told:
                self._tell(told)
        finally:
            for job, outcome in zip(jobs, outcomes, strict=True):
                _answer(job, outcome)
        return True

    def _give_up(self, account: str, jobs: Sequence[Job], doubt: list[_Doubt], error: BaseException) -> None:
        """Answer jobs whose time is up; where they may be committed, that is found out behind their back."""
        if not doubt:
            _answer_all(jobs, refusal(error))
            return
        unknown = HubError("write.unknown", retry_after=1)
        unknown.__cause__ = error
        _answer_all(jobs, unknown)
        if account not in self._doubts:
            self._units.spawn(self._look_later(account))
        self._doubts.setdefault(account, []).extend(doubt)

    async def _look_later(self, account: str) -> None:
        """Find out what is in doubt as soon as the database serves."""
        while account in self._doubts and not self._units.closed:
            await asyncio.sleep(PAUSE_SECONDS)
            if self._units.fault is not None:
                continue
            try:
                async with asyncio.timeout(self._units.seconds), self._units.connection() as connection:
                    await self._find_out(account, connection)
            except Exception as error:
                log.warning("what became of a commit of account %s is looked at again: %s", account, error)

    async def _find_out(self, account: str, connection: AsyncConnection) -> None:
        """Tell of what was committed although its outcome was not known."""
        async with self._finding:
            while doubts := self._doubts.get(account):
                logs = _logs(doubts[0].decisions)
                wrote = bool(logs) and await connection.run_sync(self._wrote, account, doubts[0].decisions)
                doubts.pop(0)
                if wrote:
                    self._tell(logs)
            self._doubts.pop(account, None)

    async def _settle(
        self, account: str, jobs: Sequence[Job], trusting: bool, doubt: list[_Doubt]
    ) -> tuple[list[Outcome], list[ChangeSet]]:
        """Run the transaction until its outcome is known. While it is not, `doubt` holds what may be committed."""
        again = fresh = 0
        until = jobs[0].since + self._units.seconds - LOCK_SECONDS
        while True:
            try:
                async with self._units.connection() as connection:
                    if account in self._doubts:
                        await self._find_out(account, connection)
                    if doubt:
                        if await connection.run_sync(self._wrote, account, doubt[0].decisions):
                            return doubt[0].outcomes, _logs(doubt[0].decisions)
                        doubt.clear()
                    return await connection.run_sync(self._run, account, jobs, trusting, doubt)
            except _Doubt as error:
                cause: BaseException = error
            except Exception as error:
                cause = error
                if code_of(error) in AGAIN and again < RETRIES and time.monotonic() < until:
                    again += 1
                    await asyncio.sleep(random.uniform(0, JITTER_SECONDS * 2**again))
                    continue
                if not is_lost(error) and code_of(error) not in READ_ONLY:
                    raise
            fresh += 1
            if not doubt and fresh > 1:
                raise cause
            if doubt:
                # Nothing else helps: look again until the time is up.
                await asyncio.sleep(min(0.05 * fresh, 0.5))

    def _run(
        self, connection: Connection, account: str, jobs: Sequence[Job], trusting: bool, doubt: list[_Doubt]
    ) -> tuple[list[Outcome], list[ChangeSet]]:
        """Decide and write jobs in one transaction. In a greenlet."""
        outcomes: list[Outcome] = []
        decisions: list[Decision] = []
        with rolled_back(connection):
            now = self._clock()
            transaction = Transaction(connection, self._statements, self._keys, account, now)
            transaction.prefetch([job.commit for job in jobs], trusting=trusting)
            decider = Decider(self._registry, transaction, now)
            for job in jobs:
                try:
                    decision = decider.decide(job.commit)
                except HubError as refused:
                    outcomes.append(refused)
                    continue
                outcomes.append(decision.committed)
                if decision.log is not None or decision.key is not None:
                    decisions.append(decision)
            if not decisions:
                roll_back(connection)
                return outcomes, []
            transaction.write(decisions)
            self._groups += 1
            if self._groups % PRUNE_GROUPS == 1:
                transaction.prune()
        doubt.append(_Doubt(decisions, outcomes))
        try:
            connection.exec_driver_sql("COMMIT")
        except Exception as error:
            if code_of(error) in AGAIN | READ_ONLY | FULL:
                doubt.clear()
                roll_back(connection)
                raise
            connection.invalidate(error)
            raise doubt[0] from error
        doubt.clear()
        return outcomes, _logs(decisions)

    def _wrote(self, connection: Connection, account: str, decisions: Sequence[Decision]) -> bool:
        """Say whether decisions were committed; whoever was committing them is done once the account is locked."""
        with rolled_back(connection):
            transaction = Transaction(connection, self._statements, self._keys, account, self._clock())
            wrote = transaction.wrote(decisions)
            roll_back(connection)
        return wrote

    def _refusal(self, commit: Commit, error: Exception) -> HubError:
        """Return what is answered to the one commit that failed with an unexpected error, and log it."""
        answer = refusal(error)
        if answer.code == "storage.full":
            self.full_at = time.monotonic()
        if answer.code != "record.exists":
            number = int(commit.request) if commit.request and commit.request.isdecimal() else None
            with naming(number or None, commit.session):
                log.error("a commit of account %s failed: %s: %s", commit.account, type(error).__name__, error)
        return answer


def _logs(decisions: Sequence[Decision]) -> list[ChangeSet]:
    return [decision.log for decision in decisions if decision.log is not None]


def _answer_all(jobs: Sequence[Job], outcome: HubError) -> None:
    for job in jobs:
        _answer(job, outcome)


def _answer(job: Job, outcome: Outcome) -> None:
    if job.future.done():
        return
    if isinstance(outcome, HubError):
        job.future.set_exception(outcome)
    else:
        job.future.set_result(outcome)
