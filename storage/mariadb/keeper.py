"""The keeper on MariaDB: `storage.base.Storage` over one database, which several processes may share.

It starts without the database and serves when that comes; it is ready again by itself after every fault. Stands
between the callers and `writer` and `questions`; knows no table.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from sqlalchemy.engine import Connection

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
    outcome_of,
    random_epoch,
)
from storage.decide import repeated
from storage.mariadb.apart import apart, connected
from storage.mariadb.connection import Durability, inspect, open_engine, read_url
from storage.mariadb.dump import dump
from storage.mariadb.faults import is_lost, refusal, sentence, unavailable
from storage.mariadb.questions import Questions
from storage.mariadb.schema import settle
from storage.mariadb.sealed import MariadbSealed
from storage.mariadb.searching import Searches
from storage.mariadb.statements import Statements
from storage.mariadb.transaction import Keys
from storage.mariadb.units import Units, Work
from storage.mariadb.writer import Writer
from storage.migrations.branches import Migrate, branches_of
from storage.sql.rows import millis
from storage.sql.tables import Tables

QUEUE: Final = 10_000
"""How many commits may wait; the next is refused at once."""
READERS: Final = 8
"""How many reads run at a time."""
SEARCHES: Final = 4
"""How many searches run at a time, at most."""
WRITERS: Final = 4
"""How many accounts are written at a time."""
WAITING: Final = 1000
"""How many reads may wait for a connection; the next is refused at once."""
SECONDS: Final = 5.0
"""How long a read or a group of writes may take, with its wait for a connection."""
FULL_SECONDS: Final = 10.0
"""How long after a commit was refused on a full disk writing does not count as well."""
LOOK_SECONDS: Final = 2.0
"""How long a look at the database may take: whether it answers, whether it takes writes."""
SETTLE_SECONDS: Final = 3600.0
"""How long a hub may take to make or change its tables; `aether migrate apply` has no such bound."""
START_SECONDS: Final = 60.0
"""How long a start waits for that; then the hub runs, is not ready, and serves when it is done."""

T = TypeVar("T")


class MariadbStorage(MariadbSealed):
    """Keeps records in the MariaDB database that `url` names. `clock` returns the time in wire form.

    `durability`: "full" refuses a server that acknowledges a commit before it is on disk. `seconds`: how long a
    read or a group of writes may take before it is given up. `migrate`: whether a start changes tables.
    """

    keeper: Literal["sqlite", "mariadb"] = "mariadb"

    def __init__(
        self,
        registry: Registry,
        url: str,
        clock: Callable[[], str],
        *,
        durability: Durability = "full",
        readers: int = READERS,
        writers: int = WRITERS,
        waiting: int = WAITING,
        queue: int = QUEUE,
        seconds: float = SECONDS,
        migrate: Migrate = "auto",
        new_epoch: Callable[[], str] = random_epoch,
    ) -> None:
        self._clock = clock
        self._registry = registry
        self._migrate: Migrate = migrate
        self._durability: Durability = durability
        self._new_epoch = new_epoch
        self._tables = Tables(registry)
        statements = Statements(registry, self._tables)
        self._keys = Keys()
        self._url = read_url(url)
        self._engine = open_engine(self._url, readers + writers + 1)
        self._units = Units(self._engine, readers, waiting, seconds, self._look)
        self._listener: Listener = lambda commits: None
        self._writer = Writer(registry, statements, self._units, clock, self._keys, writers, queue, self._tell)
        self._questions = Questions(statements, self._keys)
        self._past, self._feeds, self._aging = statements.past, statements.feeds, statements.aging
        self._seen, self._sealed = statements.seen, statements.sealed
        # One at a time, because a snapshot holds back what InnoDB may forget.
        self._dumping: asyncio.Task[None] | None = None
        # Half of the connections are left to the others: a search for what nearly every record has takes its time.
        self._searching = asyncio.Semaphore(max(1, min(SEARCHES, readers - 1)))
        self._searches = Searches(statements)
        self._words = list(statements.words.values())
        self._serving = False
        self._settled = False
        # The tables being made or changed; goes on where a start did not wait for its end.
        self._settling: asyncio.Task[str] | None = None
        # Point reads of this turn of the loop, asked together at its end.
        self._gets: dict[tuple[str, str, bool], list[tuple[Sequence[str], asyncio.Future[dict[str, Image]]]]] = {}

    def listen(self, listener: Listener) -> None:
        """Set who is told of commits; before `start`."""
        self._listener = listener

    def _tell(self, told: list[ChangeSet]) -> None:
        self._listener(told)

    async def start(self) -> None:
        """Connect and settle the schema; raise `StorageRefused` with a sentence.

        A database that does not answer is no reason not to start: it is looked for until it comes.
        """
        self._serving = True
        try:
            await self._look()
        except StorageRefused:
            self._serving = False
            await self._units.close()
            raise
        except Exception as error:
            if not is_lost(error) and not isinstance(error, TimeoutError):
                self._serving = False
                await self._units.close()
                raise StorageRefused(sentence(error)) from error
            self._units.lost(error)
        else:
            self._units.fault = None

    async def _look(self) -> None:
        """Reach the database; raise where it cannot be used."""
        async with asyncio.timeout(LOOK_SECONDS), self._engine.connect() as connection:
            if self._settled:
                await connection.run_sync(_read_probe)
                return
            await connection.run_sync(inspect, self._durability)
        if self._settling is None:
            self._settling = asyncio.get_running_loop().create_task(self._settle_within())
        settling = self._settling
        try:
            async with asyncio.timeout(START_SECONDS):
                self._keys.epoch = await asyncio.shield(settling)
        finally:
            if settling.done():
                self._settling = None
        self._settled = True

    async def _settle_within(self) -> str:
        async with asyncio.timeout(SETTLE_SECONDS):
            return await apart(self._settle)

    def _settle(self) -> str:
        """Make the tables what they have to be, on a connection that blocks."""
        with connected(self._url) as connection:
            branches = branches_of(self._registry)
            return settle(connection, self._tables, self._new_epoch, branches, self._migrate, self._words)

    async def close(self) -> None:
        """Finish what is queued, then close the connections."""
        if not self._serving:
            return
        self._serving = False
        self._ask_gets()
        if self._dumping is not None:
            self._dumping.cancel()
            await asyncio.wait([self._dumping])
        await self._units.close()
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.wait([self._settling])

    @property
    def ready(self) -> bool:
        """Whether reads and writes can be served now."""
        return self._serving and self._units.fault is None and self._writer.fault is None

    # -- writing ------------------------------------------------------------------------------------

    def submit(self, commit: Commit) -> asyncio.Future[Committed]:
        """Queue a commit; cancelling its future does not cancel the write."""
        self._check()
        return self._writer.submit(commit)

    def tell(self, commit: Commit, done: Callable[[Outcome], None]) -> None:
        """Queue a commit; tell what became of it."""
        self._writer.submit(commit).add_done_callback(lambda future: done(outcome_of(future)))

    async def repeated(self, account: str, claim: KeyClaim) -> Committed | None:
        """Return what was committed under a key; raise `key.reused` for another request."""
        row = await self._ask(self._questions.key(account, claim, self._clock()))
        return None if row is None else repeated(row, claim)

    # -- reading ------------------------------------------------------------------------------------

    async def get(
        self, account: str, kind: RecordType, ids: Sequence[str], *, deleted: bool = False
    ) -> dict[str, Image]:
        """Return those of the records that are there, by id."""
        self._check()
        loop = asyncio.get_running_loop()
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
            self._units.spawn(self._get(self._questions.get(account, kind, ids, deleted), waiting))

    async def _get(
        self,
        work: Work[dict[str, Image]],
        waiting: list[tuple[Sequence[str], asyncio.Future[dict[str, Image]]]],
    ) -> None:
        try:
            found = await self._units.read(work)
        except Exception as error:
            for _, future in waiting:
                if not future.done():
                    future.set_exception(refusal(error))
            return
        for wanted, future in waiting:
            if not future.done():
                future.set_result({i: found[i] for i in wanted if i in found})

    async def find(self, account: str, query: Query) -> Found:
        """Return the records of a query and the `seq` they were read at, as one consistent state."""
        return await self._ask(self._questions.find(account, query))

    async def search(self, account: str, search: Search) -> Hits:
        """Return the live records in which every term is found, as one consistent state."""
        async with self._searching:
            return await self._ask(self._searches.search(account, search))

    async def reindex(self, kind: RecordType, place: str, limit: int) -> tuple[int, str]:
        """Make the full text of the next `limit` records of a type anew; return how many, and the next place."""
        (index,) = [index for index in self._words if index.kind is kind]
        count, last = await self._ask(lambda connection: index.renew(connection, int(place or 0), limit))
        return count, "" if last is None else str(last)

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

    def forget(self) -> None:
        """Drop the internal keys of accounts; nothing else is remembered between transactions."""
        self._keys.forget()

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
        return await self._ask(lambda connection: feeds.move(connection, account, name, position))

    async def saw(self, sights: Sequence[Sight]) -> None:
        """Keep when members were last here."""
        await self._ask(lambda connection: self._seen.write(connection, sights))

    async def last_seen(self, account: str, members: Sequence[Member]) -> dict[Member, str]:
        """Return when each of these members was last kept to be here; who never was is left out."""
        return await self._ask(lambda connection: self._seen.read(connection, account, members))

    async def prune(self, before: str, limit: int) -> int:
        """Forget whole commits from the beginning of the logs that are older than a time; return how many changes."""
        past, at = self._past, millis(before)
        return await self._ask(lambda connection: past.prune(connection, at, limit))

    async def prune_type(self, kind: RecordType, before: str, limit: int) -> int:
        """Empty what the logs say of a type in commits that are older than a time; return how many were looked at."""
        aging, at = self._aging, millis(before)
        return await self._ask(lambda connection: aging.step(connection, kind.name, at, limit))

    async def probe(self) -> None:
        """Read for real; raise `HubError` where that fails."""
        await self._ask(_read_probe)

    async def probe_writing(self, timeout: float = LOOK_SECONDS) -> None:
        """Write for real; raise `HubError` where that fails or takes longer than `timeout` seconds.

        What is written here may fit where a commit did not: `storage.full` also where one was just refused so.
        """
        self._check()
        try:
            async with asyncio.timeout(timeout), self._engine.connect() as connection:
                await connection.run_sync(_write_probe)
        except TimeoutError:
            raise unavailable() from None
        except Exception as error:
            raise refusal(error) from error
        self._writer.fault = None
        if time.monotonic() - self._writer.full_at < FULL_SECONDS:
            raise HubError("storage.full", retry_after=5)

    async def dump(self, folder: Path) -> None:
        """Write the parts of a backup into an empty folder; see `Dumps`."""
        self._check()
        if self._dumping is not None:
            raise HubError("server.unavailable", "Another backup is being made; wait for its end.", retry_after=10)
        self._dumping = asyncio.get_running_loop().create_task(dump(self._engine, self._tables, folder))
        try:
            await self._dumping
        except OSError as error:
            text = f"The backup cannot be written to {folder}: {error.strerror or error}."
            raise HubError("server.unavailable", text) from error
        except HubError:
            raise
        except Exception as error:
            raise refusal(error) from error
        finally:
            self._dumping = None

    async def _ask(self, work: Work[T]) -> T:
        self._check()
        try:
            return await self._units.read(work)
        except HubError:
            raise
        except Exception as error:
            raise refusal(error) from error

    def _check(self) -> None:
        if not self._serving:
            raise HubError("server.unavailable", retry_after=1)
        if self._units.fault is not None:
            raise unavailable()


def _read_probe(connection: Connection) -> None:
    connection.exec_driver_sql("SELECT value FROM meta WHERE name = 'format'").all()


def _write_probe(connection: Connection) -> None:
    connection.exec_driver_sql("UPDATE meta SET value = value + 1 WHERE name = 'probe'")
