"""The writer: one thread, one connection, one transaction per group of commits.

A group is everything that was queued while the last one committed; it shares one sync. What the decision
refuses is answered alone. Where the database refuses a group, its commits are tried again one by one, so
that only those at fault fail. After a group the loop is handed one list of outcomes, never more.
"""

from __future__ import annotations

import logging
import math
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from hub.logs import naming
from hub.schema.registry import Registry
from hub.schema.writes import ChangeSet, Commit
from hub.wire.errors import HubError
from storage.base import Outcome
from storage.decide import Decider, Decision
from storage.sql.connection import BUSY_MILLIS, Durability, open_writer
from storage.sql.errors import NO_FAULT, UNDONE, error_code, refusal
from storage.sql.group import Group, Memory
from storage.sql.statements import Statements

GROUP_COMMITS: Final = 1024
"""The most commits of one transaction."""
GROUP_WRITES: Final = 8192
"""A transaction takes no further commit once it has this many writes."""
PRUNE_GROUPS: Final = 256
"""Every so many groups the oldest keys are looked at."""
WAL_BYTES: Final = 64 << 20
"""How large the write-ahead log may grow before the writer waits for readers to empty it."""
WAL_WAIT_MILLIS: Final = 250

log: Final = logging.getLogger(__name__)


class Job(msgspec.Struct, eq=False):
    """A queued commit; `done` is to be told what became of it. `outcome` is set when it is decided for good."""

    commit: Commit
    done: Callable[[Outcome], None]
    outcome: Outcome | None = None


@dataclass(slots=True, eq=False)
class Call:
    """A queued question to the writing thread: run with the connection, between two groups."""

    run: Callable[[sqlite3.Connection], None]
    done: Callable[[BaseException | None], None]


@dataclass(slots=True)
class Finished:
    """What the loop is handed after a group: the commits to tell of, then the jobs to answer."""

    told: list[ChangeSet] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)


class Writer:
    """Owns the writing connection. `deliver` is called on the writer's thread, once per group."""

    def __init__(
        self,
        registry: Registry,
        statements: Statements,
        path: Path,
        clock: Callable[[], str],
        settle: Callable[[sqlite3.Connection], str],
        durability: Durability,
        checkpoint_pages: int,
        deliver: Callable[[Finished], None],
    ) -> None:
        self._registry = registry
        self._statements = statements
        self._path = path
        self._clock = clock
        # Makes the file's schema what it has to be, and returns the epoch.
        self._settle = settle
        self._durability: Durability = durability
        self._checkpoint_pages = checkpoint_pages
        self._deliver = deliver
        self._queue: queue.SimpleQueue[list[Job] | Call | None] = queue.SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._memory = Memory("")
        self._forgetful = False  # set from any thread: the next group begins without what is remembered
        self._thread: threading.Thread | None = None
        self._groups = 0
        self._wal = f"{path}-wal"
        # The size of the write-ahead log at which it is emptied by force.
        self._wal_limit = WAL_BYTES
        # The last error of the database that was not the fault of one commit; None after a success.
        self.fault: str | None = None
        # When a commit was last refused because the disk is full, by the monotonic clock.
        self.full_at = -math.inf
        self.epoch = ""

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def open(self) -> None:
        """Open the file and settle its schema; blocking, on any thread, before `start`."""
        connection = open_writer(self._path, self._durability, self._checkpoint_pages)
        try:
            self.epoch = self._settle(connection)
        except BaseException:
            connection.close()
            raise
        self._memory = Memory(self.epoch)
        self._connection = connection

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="aether-writer", daemon=True)
        self._thread.start()

    def put(self, item: list[Job] | Call) -> None:
        """Queue commits that came together, or a call; order is kept."""
        self._queue.put(item)

    def forget(self) -> None:
        """Drop what is remembered, before the next group; from any thread."""
        self._forgetful = True

    def stop(self) -> None:
        """Finish what is queued and end the thread; blocking. The connection stays open."""
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Close the connection, which brings everything from the WAL into the file; blocking."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- on the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        going = True
        while going:
            item = self._queue.get()
            jobs: list[Job] = []
            while isinstance(item, list):
                jobs += item
                if len(jobs) >= GROUP_COMMITS:
                    break
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
            start = 0
            while start < len(jobs):
                stop = _end_of_group(jobs, start)
                self._group(jobs[start:stop])
                start = stop
            if isinstance(item, Call):
                self._call(item)
            going = item is not None

    def _group(self, jobs: list[Job]) -> None:
        if self._forgetful:
            self._forgetful = False
            self._memory.flush()
        finished = Finished(jobs=jobs)
        if not self._attempt(jobs, finished, trusting=True):
            # What one commit is at fault for is no reason to refuse the others.
            for job in jobs:
                self._attempt([job], finished, trusting=False)
        self._deliver(finished)
        self._bound_wal()

    def _bound_wal(self) -> None:
        """Empty the write-ahead log where readers have kept it from starting again for too long.

        SQLite brings it into the file by itself, but begins it anew only in a moment without older readers;
        under steady reading there is none. This waits for them a little, and else tries again later.
        """
        try:
            size = os.stat(self._wal).st_size
            if size < self._wal_limit or self._connection is None:
                return
            self._connection.execute(f"PRAGMA busy_timeout = {WAL_WAIT_MILLIS}").fetchone()
            try:
                (busy, _, _) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self._connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLIS}").fetchone()
            self._wal_limit = size + size // 4 if busy else WAL_BYTES
        except (OSError, sqlite3.Error) as error:
            log.warning("the write-ahead log could not be emptied: %s", error)

    def _attempt(self, jobs: Sequence[Job], finished: Finished, *, trusting: bool) -> bool:
        """Commit jobs in one transaction; say whether they are answered. Without trust a single job always is."""
        try:
            finished.told += self._commit(jobs, trusting)
            self.fault = None
        except _Unsettled as unsettled:
            # What is remembered may no longer be true; nothing is tried again, for it may be done.
            self._memory = Memory(self.epoch)
            self.fault = str(unsettled)
            log.error("the outcome of %d commits is not known: %s", len(jobs), unsettled)
            for job in jobs:
                job.outcome = HubError("write.unknown", retry_after=1)
        except Exception as error:
            if trusting:
                return False
            jobs[0].outcome = self._refusal(jobs[0].commit, error)
        return True

    def _refusal(self, commit: Commit, error: Exception) -> HubError:
        """Return what is answered to the one commit that failed with an unexpected error, and log it."""
        answer = refusal(error) if isinstance(error, sqlite3.Error) else HubError("server.error")
        if answer.code != "record.exists":
            number = int(commit.request) if commit.request and commit.request.isdecimal() else None
            with naming(number or None, commit.session):
                log.error("a commit of account %s failed: %s: %s", commit.account, type(error).__name__, error)
        if answer.code == "storage.full":
            self.full_at = time.monotonic()
        if answer.code == "server.error":
            answer.__cause__ = error  # the traceback is for the log line that the client is told of
        if isinstance(error, sqlite3.Error) and error_code(error) not in NO_FAULT:
            self.fault = str(error)
        return answer

    def _commit(self, jobs: Sequence[Job], trusting: bool) -> list[ChangeSet]:
        """Decide and write jobs in one transaction; set their outcomes and return what to tell of."""
        connection = self._connection
        if connection is None:
            raise sqlite3.ProgrammingError("the database is closed")
        now = self._clock()
        group = Group(connection, self._statements, self._memory, now)
        try:
            return self._run_group(connection, group, jobs, trusting, now)
        finally:
            if group.gone:
                connection.execute("PRAGMA foreign_keys = ON")

    def _run_group(
        self, connection: sqlite3.Connection, group: Group, jobs: Sequence[Job], trusting: bool, now: str
    ) -> list[ChangeSet]:
        outcomes: list[Outcome] = []
        decisions: list[Decision] = []
        connection.execute("BEGIN IMMEDIATE")
        try:
            group.prefetch([job.commit for job in jobs], trusting=trusting)
            decider = Decider(self._registry, group, now)
            for job in jobs:
                try:
                    decision = decider.decide(job.commit)
                except HubError as refused:
                    outcomes.append(refused)
                    continue
                outcomes.append(decision.committed)
                if decision.log is not None or decision.key is not None:
                    decisions.append(decision)
            if decisions:
                group.write(decisions)
                self._groups += 1
                if self._groups % PRUNE_GROUPS == 1:
                    group.prune()
        except BaseException:
            self._roll_back(connection)
            raise
        if decisions:
            try:
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back(connection)
                if error_code(error) in UNDONE:
                    raise
                raise _Unsettled(str(error)) from error
            self._memory.learn(group)
        else:
            self._roll_back(connection)
        for job, outcome in zip(jobs, outcomes, strict=True):
            job.outcome = outcome
        return [decision.log for decision in decisions if decision.log is not None]

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")

    def _call(self, call: Call) -> None:
        if self._connection is None:
            call.done(sqlite3.ProgrammingError("the database is closed"))
            return
        try:
            call.run(self._connection)
        except Exception as error:
            self._roll_back(self._connection)
            call.done(error)
        else:
            self.fault = None
            call.done(None)


def _end_of_group(jobs: Sequence[Job], start: int) -> int:
    """Return where the group that begins at `start` ends: at its first bound, but not before its first commit."""
    writes = 0
    for n in range(start, min(len(jobs), start + GROUP_COMMITS)):
        writes += len(jobs[n].commit.writes) + jobs[n].commit.extra
        if writes >= GROUP_WRITES:
            return n + 1
    return min(len(jobs), start + GROUP_COMMITS)


class _Unsettled(Exception):
    """COMMIT failed in a way that does not say whether the commits are on disk."""
