"""The keeper on SQLite: `storage.base.Storage` over one file, for one process. Decision 0001.

One thread writes in groups (`writer`), a few read (`readers`); this class stands on the event loop between
them and the callers. Knows no table.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from hub.schema.query import Query
from hub.schema.record import Image, RecordType
from hub.schema.registry import Registry
from hub.schema.search import Search
from hub.schema.totals import Aggregate
from hub.schema.writes import ChangeSet, Commit, Committed, KeyClaim
from hub.wire.errors import HubError
from storage.base import (
    FeedPosition,
    Found,
    Head,
    Hits,
    Listener,
    Member,
    Outcome,
    Sight,
    StorageRefused,
    Totals,
    random_epoch,
    set_outcome,
)
from storage.decide import repeated
from storage.migrations.branches import Migrate, branches_of
from storage.sql.connection import Durability, FileLock, prepare, probe_read, probe_write
from storage.sql.dump import dump
from storage.sql.errors import refusal, sentence, told
from storage.sql.estimates import estimate
from storage.sql.questions import Questions
from storage.sql.readers import Read, Readers
from storage.sql.rows import millis
from storage.sql.schema import settle
from storage.sql.sealed import SqliteSealed
from storage.sql.searching import Searches
from storage.sql.statements import Statements
from storage.sql.tables import Tables
from storage.sql.words import settle_words
from storage.sql.writer import Call, Finished, Job, Writer

QUEUE: Final = 10_000
"""How many commits may wait; the next is refused at once."""
PROBE_SECONDS: Final = 2.0
READ_SECONDS: Final = 5.0
SEARCHES: Final = 2
"""How many searches run at a time, at most; one reader fewer than there are."""
FULL_SECONDS: Final = 10.0
"""How long after a commit was refused on a full disk writing does not count as well."""

T = TypeVar("T")

log: Final = logging.getLogger(__name__)


class SqliteStorage(SqliteSealed):
    """Keeps records in the SQLite file `path`. `clock` returns the time in wire form.

    `durability`: see `storage.sql.connection.Durability`. `readers` is the number of reading threads,
    `read_seconds` how long one read may take; `queue` how many commits may wait; `checkpoint_pages` how
    large the write-ahead log grows before it is brought into the file. `migrate`: whether a start changes tables.
    """

    keeper: Literal["sqlite", "mariadb"] = "sqlite"

    def __init__(
        self,
        registry: Registry,
        path: Path,
        clock: Callable[[], str],
        *,
        durability: Durability = "full",
        readers: int = 3,
        read_seconds: float = READ_SECONDS,
        queue: int = QUEUE,
        checkpoint_pages: int = 4000,
        migrate: Migrate = "auto",
        new_epoch: Callable[[], str] = random_epoch,
    ) -> None:
        self.path = path
        self._registry = registry
        # One at a time, because it holds back the end of the write-ahead log; the event makes it stop.
        self._dump: tuple[asyncio.Task[None], threading.Event] | None = None
        self._queue = queue
        self._clock = clock
        tables = Tables(registry)
        statements = Statements(registry, tables)

        def settled(connection: sqlite3.Connection) -> str:
            epoch = settle(connection, tables, new_epoch, branches_of(registry), migrate)
            settle_words(connection, list(statements.words.values()))
            estimate(connection, tables)
            return epoch

        self._writer = Writer(registry, statements, path, clock, settled, durability, checkpoint_pages, self._hand_over)
        self._readers = Readers(path, readers, read_seconds)
        self._questions = Questions(statements)
        self._past, self._feeds, self._aging = statements.past, statements.feeds, statements.aging
        self._seen, self._sealed = statements.seen, statements.sealed
        # One reading thread is left to the others: a search for what nearly every record has takes its time.
        self._searching = asyncio.Semaphore(max(1, min(SEARCHES, readers - 1)))
        self._searches = Searches(statements, self._questions.account)
        self._words = statements.words
        self._lock = FileLock(path)
        self._listener: Listener = lambda commits: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serving = False
        self._watchdog: asyncio.TimerHandle | None = None
        # Commits of this turn of the loop, handed to the writer together at its end: were it woken by the first, its
        # group would hold little else, and the two threads would contend for Python's lock from then on.
        self._arrived: list[Job] = []
        # How many commits were queued and not decided yet.
        self._waiting = 0
        # Point reads of this turn of the loop, asked together at its end.
        self._gets: dict[tuple[str, str, bool], list[tuple[Sequence[str], asyncio.Future[dict[str, Image]]]]] = {}

    def listen(self, listener: Listener) -> None:
        """Set who is told of commits; before `start`."""
        self._listener = listener

    async def start(self) -> None:
        """Open the file, settle its schema, start the threads; raise `StorageRefused` with a sentence."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._open)
        self._writer.start()
        self._readers.start(self._loop)
        self._serving = True
        self._watch()

    def _open(self) -> None:
        prepare(self.path)
        try:
            self._lock.take()
        except OSError as error:
            raise StorageRefused(f"{self._lock.path} cannot be written: {error.strerror}.") from None
        try:
            self._writer.open()
            self._questions.epoch = self._writer.epoch
            self._readers.open()
        except BaseException as error:
            self._readers.close()
            self._writer.close()
            self._lock.release()
            if isinstance(error, sqlite3.Error):
                raise StorageRefused(sentence(self.path, error)) from None
            raise

    async def close(self) -> None:
        """Finish what is queued, then close the readers, then the writer."""
        if not self._serving:
            return
        self._serving = False
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._ask_gets()
        self._hand_in()
        if self._dump is not None:
            copying, stopped = self._dump
            stopped.set()
            await asyncio.wait([copying])
        await asyncio.to_thread(self._shut)

    def _watch(self) -> None:
        """Once a second, break off reads that take too long."""
        self._readers.interrupt_slow()
        if self._loop is not None:
            self._watchdog = self._loop.call_later(1.0, self._watch)

    def _shut(self) -> None:
        self._writer.stop()
        self._readers.close()
        self._writer.close()
        self._lock.release()

    @property
    def ready(self) -> bool:
        """Whether reads and writes can be served now."""
        return self._serving and self._writer.alive and self._writer.fault is None

    # -- writing ------------------------------------------------------------------------------------

    def submit(self, commit: Commit) -> asyncio.Future[Committed]:
        """Queue a commit; cancelling its future does not cancel the write."""
        future: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self.tell(commit, partial(set_outcome, future))
        return future

    def tell(self, commit: Commit, done: Callable[[Outcome], None]) -> None:
        """Queue a commit; tell what became of it."""
        if not self._serving or self._loop is None:
            raise HubError("server.unavailable", retry_after=1)
        if self._waiting >= self._queue:
            raise HubError("server.unavailable", "Too many writes are waiting; try again shortly.", retry_after=1)
        if not self._arrived:
            self._loop.call_soon(self._hand_in)
        self._arrived.append(Job(commit, done))
        self._waiting += 1

    def _hand_in(self) -> None:
        """Give the writer the commits that arrived in this turn of the loop."""
        if self._arrived:
            jobs, self._arrived = self._arrived, []
            self._writer.put(jobs)

    def _call(self, call: Call) -> None:
        """Queue a call behind the commits that arrived before it."""
        self._hand_in()
        self._writer.put(call)

    def _hand_over(self, finished: Finished) -> None:
        """On the writer's thread: pass a group's outcome to the loop."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._finish, finished)

    def _finish(self, finished: Finished) -> None:
        self._waiting -= len(finished.jobs)
        try:
            if finished.told:
                self._listener(finished.told)
        finally:
            for job in finished.jobs:
                try:
                    job.done(job.outcome or HubError("server.error"))
                except Exception:
                    # A fault of the caller's, not of the commit: the commits behind it are on disk as well, and their
                    # callers wait for nothing else.
                    log.exception("who was told of a commit of account %s failed", job.commit.account)

    async def repeated(self, account: str, claim: KeyClaim) -> Committed | None:
        """Return what was committed under a key; raise `key.reused` for another request."""
        row = await self._ask(self._questions.key(account, claim, self._clock()))
        return None if row is None else repeated(row, claim)

    # -- reading ------------------------------------------------------------------------------------

    async def get(
        self, account: str, kind: RecordType, ids: Sequence[str], *, deleted: bool = False
    ) -> dict[str, Image]:
        """Return those of the records that are there, by id."""
        loop = self._check()
        future: asyncio.Future[dict[str, Image]] = loop.create_future()
        if not self._gets:
            loop.call_soon(self._ask_gets)
        self._gets.setdefault((account, kind.name, deleted), []).append((ids, future))
        return await future

    def _ask_gets(self) -> None:
        """Ask all point reads of this turn, one statement per account and type."""
        gets, self._gets = self._gets, {}
        for (account, kind, deleted), waiting in gets.items():
            ids = list(dict.fromkeys(i for wanted, _ in waiting for i in wanted))
            answer = self._readers.ask(self._questions.get(account, kind, ids, deleted))

            def settle(answer: asyncio.Future[dict[str, Image]], waiting: Any = waiting) -> None:
                error = answer.exception()
                found = answer.result() if error is None else {}
                for wanted, future in waiting:
                    if future.done():
                        continue
                    if error is not None:
                        future.set_exception(told(error))
                    else:
                        future.set_result({i: found[i] for i in wanted if i in found})

            answer.add_done_callback(settle)

    async def find(self, account: str, query: Query) -> Found:
        """Return the records of a query and the `seq` they were read at, as one consistent state."""
        return await self._ask(self._questions.find(account, query))

    async def search(self, account: str, search: Search) -> Hits:
        """Return the live records in which every term is found, as one consistent state."""
        async with self._searching:
            return await self._ask(self._searches.search(account, search))

    async def aggregate(self, account: str, aggregate: Aggregate) -> Totals:
        """Return what the live records add up to and the `seq` they were read at, as one consistent state."""
        return await self._ask(self._questions.aggregate(account, aggregate))

    async def changes(self, account: str, after: int, limit: int) -> list[ChangeSet]:
        """Return the commits with `seq` above `after`, in order, at most `limit`."""
        return await self._ask(self._questions.changes(account, after, limit))

    async def history(self, account: str, kind: RecordType, rec: str, below: int | None, limit: int) -> list[ChangeSet]:
        """Return the changes of one record, newest first: each as its commit, with that row alone."""
        return await self._ask(self._questions.history(account, kind.name, rec, below, limit))

    async def heads(self, accounts: Sequence[str]) -> dict[str, Head]:
        """Return where the logs of these accounts stand."""
        return await self._ask(self._questions.heads(accounts))

    async def lookup(self, kind: RecordType, field: str, value: Any) -> list[Image]:
        """Return the live records (≤ 1,000) of every account whose `field` (may be secret) equals `value`."""
        return await self._ask(self._questions.lookup(kind, field, value))

    async def secret(self, account: str, kind: RecordType, rec: str, field: str) -> str | None:
        """Return what a live record holds in a `secret` field."""
        return await self._ask(self._questions.secret(account, kind, rec, field))

    async def probe(self) -> None:
        """Read for real; raise `HubError` where that fails."""
        await self._ask(probe_read)

    async def probe_writing(self, timeout: float = PROBE_SECONDS) -> None:
        """Write for real; raise `HubError` where that fails or takes longer than `timeout` seconds.

        What is written here may fit where a commit did not: `storage.full` also where one was just refused so.
        """
        loop = self._check()
        written: asyncio.Future[None] = loop.create_future()

        def settle(error: BaseException | None) -> None:
            if written.done():
                return
            if error is not None:
                written.set_exception(error)
            else:
                written.set_result(None)

        self._call(Call(probe_write, lambda error: _call_in(loop, settle, error)))
        try:
            async with asyncio.timeout(timeout):
                await written
        except TimeoutError:
            raise HubError("server.unavailable", "The database did not answer in time.", retry_after=2) from None
        except sqlite3.Error as error:
            raise refusal(error) from None
        if time.monotonic() - self._writer.full_at < FULL_SECONDS:
            raise HubError("storage.full", retry_after=5)

    def forget(self) -> None:
        """Drop what the writer and the readers remember; the writer between two groups."""
        self._questions.forget()
        self._writer.forget()

    async def taken(self, kind: RecordType, values: Sequence[str], field: str) -> set[str]:
        """Return those texts of a field that a record of the type has, in whichever account."""
        return await self._ask(self._questions.taken(kind.name, values, field))

    async def feed_position(self, account: str, name: str) -> FeedPosition | None:
        """Return where a feed stands, or None where nothing of it was acknowledged."""
        feeds = self._feeds
        return await self._ask(lambda connection: feeds.read(connection, account, name))

    async def move_feed(self, account: str, name: str, position: FeedPosition | None) -> FeedPosition | None:
        """Keep where a feed stands, or with None forget it; return where it stands now, on disk."""
        feeds = self._feeds
        return await self._write(lambda connection: feeds.move(connection, account, name, position))

    async def saw(self, sights: Sequence[Sight]) -> None:
        """Keep when members were last here."""
        await self._write(lambda connection: self._seen.write(connection, sights))

    async def last_seen(self, account: str, members: Sequence[Member]) -> dict[Member, str]:
        """Return when each of these members was last kept to be here; who never was is left out."""
        return await self._ask(lambda connection: self._seen.read(connection, account, members))

    async def prune(self, before: str, limit: int) -> int:
        """Forget whole commits from the beginning of the logs that are older than a time; return how many changes."""
        past = self._past
        return await self._write(lambda connection: past.prune(connection, millis(before), limit))

    async def prune_type(self, kind: RecordType, before: str, limit: int) -> int:
        """Empty what the logs say of a type in commits that are older than a time; return how many were looked at."""
        aging = self._aging
        return await self._write(lambda connection: aging.step(connection, kind.name, millis(before), limit))

    async def reindex(self, kind: RecordType, place: str, limit: int) -> tuple[int, str]:
        """Make the full text of the next `limit` records of a type anew; return how many, and the next place."""
        index = self._words[kind.name]
        count, last = await self._write(lambda connection: index.renew(connection, int(place or 0), limit))
        return count, "" if last is None else str(last)

    async def _write(self, work: Read[T]) -> T:
        """Do something in a transaction of its own, between two groups."""
        loop = self._check()
        done: asyncio.Future[T] = loop.create_future()
        found: list[T] = []

        def run(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            found.append(work(connection))
            connection.execute("COMMIT")

        def settle(error: BaseException | None) -> None:
            if done.done():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(found[0])

        self._call(Call(run, lambda error: _call_in(loop, settle, error)))
        try:
            return await done
        except sqlite3.Error as error:
            raise refusal(error) from error

    async def dump(self, folder: Path) -> None:
        """Write the parts of a backup into an empty folder; see `Dumps`."""
        self._check()
        if self._dump is not None:
            raise HubError("server.unavailable", "Another backup is being made; wait for its end.", retry_after=10)
        stopped = threading.Event()
        copying = asyncio.create_task(asyncio.to_thread(dump, self.path, self._registry, folder, stopped))
        self._dump = (copying, stopped)
        copying.add_done_callback(self._dumped)
        try:
            await asyncio.shield(copying)
        except asyncio.CancelledError:
            stopped.set()
            raise

    def _dumped(self, copying: asyncio.Task[None]) -> None:
        self._dump = None
        if not copying.cancelled():
            copying.exception()  # whoever wanted it may have gone

    async def _ask(self, run: Read[T]) -> T:
        self._check()
        try:
            return await self._readers.ask(run)
        except HubError:
            raise
        except Exception as error:
            raise told(error) from error

    def _check(self) -> asyncio.AbstractEventLoop:
        if not self._serving or self._loop is None:
            raise HubError("server.unavailable", retry_after=1)
        return self._loop


def _call_in(loop: asyncio.AbstractEventLoop, call: Callable[[Any], None], value: Any) -> None:
    loop.call_soon_threadsafe(call, value)
