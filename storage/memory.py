"""The keeper in memory: for tests and simulations. Keeps every promise but survival of the process.

Several `MemoryStorage` over one `MemoryDatabase` behave like several instances over one database.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from msgspec import structs

from hub.schema.query import Query, is_after, sort_images
from hub.schema.record import Image, RecordType
from hub.schema.registry import Registry
from hub.schema.search import Hit, Search, rank, tier_of
from hub.schema.times import to_millis
from hub.schema.totals import Aggregate, totals_of
from hub.schema.where import Node, Others, matcher
from hub.schema.writes import ChangeRow, ChangeSet, Commit, Committed, KeyClaim
from hub.wire.errors import HubError
from storage.base import (
    FEEDS,
    FIND_CEILING,
    FeedPosition,
    Found,
    Head,
    Hits,
    Listener,
    Member,
    Outcome,
    SealedRow,
    Sight,
    Totals,
    moved,
    outcome_of,
    set_outcome,
    too_many_feeds,
)
from storage.decide import Decider, Decision, KeyRow, repeated
from storage.known import RecordKey, plan_of
from storage.loader import NotAlone
from storage.related import complete, found_of
from storage.removal import reborn
from storage.retention import first_kept

log = logging.getLogger(__name__)

_Place = tuple[int, int]


class MemoryDatabase:
    """What the instances share: rows, log, kept keys. Implements `Loader`."""

    def __init__(self, epoch: str = "memory") -> None:
        self.epoch = epoch
        self.rows: dict[tuple[str, str], dict[str, Image]] = {}
        self.secrets: dict[RecordKey, dict[str, Any]] = {}
        self.log: dict[str, list[ChangeSet]] = {}
        # How many commits were forgotten at the beginning of each log.
        self.pruned: dict[str, int] = {}
        self.keys: dict[tuple[str, str, str], KeyRow] = {}
        # Up to which commit the log says nothing of a type any more, by account and type.
        self.aged: dict[tuple[str, str], int] = {}
        # Where feeds stand, by account and name.
        self.feeds: dict[tuple[str, str], FeedPosition] = {}
        # When members were last here, by account.
        self.sights: dict[str, dict[Member, str]] = {}

    def table(self, account: str, kind: str) -> dict[str, Image]:
        """Return the rows of one type in one account, by id."""
        return self.rows.setdefault((account, kind), {})

    def record(self, account: str, kind: RecordType, rec: str) -> Image | None:
        """Return a record, tombstones too."""
        found = self.table(account, kind.name).get(rec)
        return None if found is None else dict(found)

    def is_new(self, account: str, kind: RecordType, rec: str) -> bool:
        """Say whether no record has an id."""
        return rec not in self.table(account, kind.name)

    def unique(self, account: str, kind: RecordType, names: tuple[str, ...], values: tuple[Any, ...]) -> str | None:
        """Return the id of the live record with these values."""
        for image in self.table(account, kind.name).values():
            if image["deleted_at"] is None and all(image[n] == v for n, v in zip(names, values, strict=True)):
                return str(image["id"])
        return None

    def children(self, account: str, kind: RecordType, parent_wire: str, parent: str) -> list[str]:
        """Return the ids of live records of `kind` under a parent."""
        rows = self.table(account, kind.name).values()
        return [i["id"] for i in rows if i["deleted_at"] is None and i[parent_wire] == parent]

    def referring(self, account: str, kind: RecordType, wire: str, rec: str) -> list[str]:
        """Return the ids of records of `kind`, tombstones too, whose parent or reference `wire` is `rec`."""
        return [i["id"] for i in self.table(account, kind.name).values() if i[wire] == rec]

    def matching(self, account: str, kind: RecordType, where: Node, limit: int) -> list[Image]:
        """Return the live records that match, at most `limit` of them."""
        matches = matcher(where, self.others(account))
        rows = self.table(account, kind.name).values()
        return list(islice((dict(i) for i in rows if i["deleted_at"] is None and matches(i)), limit))

    def others(self, account: str) -> Others:
        """Return what the steps of filters look among."""

        def found(kind: RecordType, wire: str, value: Any) -> Iterator[Image]:
            rows = self.table(account, kind.name)
            near = [rows[value]] if wire == "id" and value in rows else [] if wire == "id" else rows.values()
            return (image for image in near if image["deleted_at"] is None and image[wire] == value)

        return found

    def key(self, account: str, scope: str, key: str) -> KeyRow | None:
        """Return the stored answer of a keyed commit."""
        return self.keys.get((account, scope, key))

    def head(self, account: str) -> int:
        """Return the account's last committed `seq`."""
        return self.pruned.get(account, 0) + len(self.log.get(account, ()))

    def version(self, account: str, kind: RecordType, rec: str, version: int) -> Image | None:
        """Return the image that a record had as that version."""
        for _, row in self.past(account, kind, rec):
            if row.version == version:
                return row.after or None
            if row.version == version + 1:
                return row.previous()
        return None

    def past(self, account: str, kind: RecordType, rec: str) -> Iterator[tuple[ChangeSet, ChangeRow]]:
        """Yield the changes of a record, newest first, each with its commit; none of what was purged."""
        for commit in reversed(self.log.get(account, [])):
            for row in reversed(commit.rows):
                if (row.type, row.rec) == (kind.name, rec) and row.after:
                    yield commit, row

    def write(self, decision: Decision) -> None:
        """Make a decision true."""
        account = decision.commit.account
        for put in decision.puts:
            if put.gone:
                self.table(account, put.type.name).pop(put.image["id"], None)
                self.secrets.pop((account, put.type.name, put.image["id"]), None)
                continue
            self.table(account, put.type.name)[put.image["id"]] = dict(put.image)
            if put.secrets:
                self.secrets.setdefault((account, put.type.name, put.image["id"]), {}).update(put.secrets)
        if decision.log is not None:
            self.log.setdefault(account, []).append(decision.log)
        erased = {(put.type.name, put.image["id"]) for put in decision.puts if put.gone}
        if erased and decision.log is not None:
            ends = {key[1:]: end for key, end in reborn([decision.log]).items()}
            self.log[account] = [_without(commit, erased, ends) for commit in self.log[account]]
        if decision.key is not None:
            claim, row = decision.key
            self.keys[(account, claim.scope, claim.key)] = row


def _without(commit: ChangeSet, erased: set[tuple[str, Any]], ends: dict[tuple[str, str], _Place]) -> ChangeSet:
    """Return a commit whose rows hold no image of these records; `ends` says up to where, if not everywhere."""

    def goes(row: ChangeRow) -> bool:
        key = (row.type, row.rec)
        return key in erased and (key not in ends or (commit.seq, row.part) <= ends[key])

    if not any(map(goes, commit.rows)):
        return commit
    return structs.replace(commit, rows=tuple(row.emptied() if goes(row) else row for row in commit.rows))


class MemoryStorage:
    """One instance's view of a `MemoryDatabase`. `clock` returns the time in wire form."""

    def __init__(self, registry: Registry, clock: Callable[[], str], database: MemoryDatabase | None = None) -> None:
        self._registry = registry
        self._clock = clock
        self.database = database or MemoryDatabase()
        self._listener: Listener = lambda commits: None
        self._queue: deque[tuple[Commit, asyncio.Future[Committed]]] = deque()
        self.ready = False

    def listen(self, listener: Listener) -> None:
        """Set who is told of commits."""
        self._listener = listener

    async def start(self) -> None:
        """Begin to serve."""
        self.ready = True

    async def close(self) -> None:
        """Finish what is queued."""
        self._run()
        self.ready = False

    def submit(self, commit: Commit) -> asyncio.Future[Committed]:
        """Queue a commit; the group is what arrives in one turn of the loop."""
        if not self.ready:
            raise HubError("server.unavailable", retry_after=1)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Committed] = loop.create_future()
        if not self._queue:
            loop.call_soon(self._run)
        self._queue.append((commit, future))
        return future

    def tell(self, commit: Commit, done: Callable[[Outcome], None]) -> None:
        """Queue a commit; tell what became of it."""
        self.submit(commit).add_done_callback(lambda future: done(outcome_of(future)))

    def _run(self) -> None:
        decider = Decider(self._registry, self.database, self._clock())
        done: list[tuple[asyncio.Future[Committed], Committed | HubError]] = []
        logs: list[ChangeSet] = []
        while self._queue:
            commit, future = self._queue.popleft()
            try:
                try:
                    decision = decider.decide(commit)
                except NotAlone:
                    decider = Decider(self._registry, self.database, self._clock())
                    decision = decider.decide(commit)
            except HubError as refusal:
                done.append((future, refusal))
                continue
            except Exception:
                # Whatever it is, it is the fault of this one commit, as it is in the writers of the databases: its
                # caller is told, and those behind it in the queue are decided.
                log.exception("a commit of account %s failed", commit.account)
                done.append((future, HubError("server.error")))
                continue
            self.database.write(decision)
            if decision.log is not None:
                logs.append(decision.log)
            done.append((future, decision.committed))
        if logs:
            self._listener(logs)
        for future, outcome in done:
            set_outcome(future, outcome)

    async def repeated(self, account: str, claim: KeyClaim) -> Committed | None:
        """Return what was committed under a key; raise `key.reused` for another request."""
        row = self.database.key(account, claim.scope, claim.key)
        return None if row is None else repeated(row, claim)

    async def get(
        self, account: str, kind: RecordType, ids: Sequence[str], *, deleted: bool = False
    ) -> dict[str, Image]:
        """Return those of the records that are there, by id."""
        table = self.database.table(account, kind.name)
        return {i: dict(table[i]) for i in ids if i in table and (deleted or table[i]["deleted_at"] is None)}

    async def find(self, account: str, query: Query) -> Found:
        """Return the records of a query and the `seq` they were read at."""
        found = self._find(account, query)
        return replace(found, included=complete(lambda along: self._find(account, along), query, found.records))

    def _find(self, account: str, query: Query) -> Found:
        matches = matcher(query.where, self.database.others(account))
        rows = self.database.table(account, query.type.name).values()
        found = [dict(i) for i in rows if (query.deleted or i["deleted_at"] is None) and matches(i)]
        total = len(found) if query.count else None
        if query.view is not None:  # the order may be by one of its fields
            complete(lambda along: self._find(account, along), replace(query, include=()), found)
        found = sort_images(found, query.order)
        if query.after is not None:
            found = [i for i in found if is_after(i, query.order, query.after)]
        limit = query.limit if query.limit is not None else FIND_CEILING
        return found_of(query, found[:limit], self.database.head(account), len(found) > limit, total)

    async def search(self, account: str, search: Search) -> Hits:
        """Return the live records in which every term is found."""
        found: list[Hit] = []
        for scope in search.scopes:
            matches = matcher(scope.where, self.database.others(account))
            for image in self.database.table(account, scope.type.name).values():
                if image["deleted_at"] is None and matches(image):
                    tier = tier_of(search.terms, scope.type, image)
                    found += [] if tier is None else [Hit(dict(image), tier)]
        found.sort(key=lambda hit: rank(hit.place))
        if search.after is not None:
            end = rank(search.after)
            found = [hit for hit in found if rank(hit.place) > end]
        return Hits(found[: search.limit], self.database.head(account), len(found) > search.limit)

    async def reindex(self, kind: RecordType, place: str, limit: int) -> tuple[int, str]:
        """Say that there is nothing to be made anew: texts are read each time."""
        return 0, ""

    async def aggregate(self, account: str, aggregate: Aggregate) -> Totals:
        """Return what the live records add up to and the `seq` they were read at."""
        found = self._find(account, Query(aggregate.type, aggregate.where))
        groups, more = totals_of(found.records, aggregate)
        return Totals(groups, found.seq, more)

    async def changes(self, account: str, after: int, limit: int) -> list[ChangeSet]:
        """Return the commits with `seq` above `after`."""
        gone = self.database.pruned.get(account, 0)
        return self.database.log.get(account, [])[max(after - gone, 0) : max(after + limit - gone, 0)]

    async def history(self, account: str, kind: RecordType, rec: str, below: int | None, limit: int) -> list[ChangeSet]:
        """Return the changes of one record, newest first."""
        rows = self.database.past(account, kind, rec)
        found = (structs.replace(c, rows=(row,)) for c, row in rows if below is None or row.version < below)
        return list(islice(found, limit))

    async def heads(self, accounts: Sequence[str]) -> dict[str, Head]:
        """Return where the logs of these accounts stand."""
        return {a: Head(self.database.epoch, self.database.head(a)) for a in accounts}

    async def lookup(self, kind: RecordType, field: str, value: Any) -> list[Image]:
        """Return the live records of every account whose `field` equals `value`."""
        secret = kind.fields[field].option.concealed
        found: list[Image] = []
        for (account, name), table in self.database.rows.items():
            for image in table.values() if name == kind.name else ():
                row = self.database.secrets.get((account, name, image["id"]), {}) if secret else image
                if image["deleted_at"] is None and row.get(field) == value:
                    found.append(image)
        return found

    async def secret(self, account: str, kind: RecordType, rec: str, field: str) -> str | None:
        """Return what a live record holds in a concealed field."""
        image = self.database.rows.get((account, kind.name), {}).get(rec)
        if image is None or image["deleted_at"] is not None:
            return None
        held: str | None = self.database.secrets.get((account, kind.name, rec), {}).get(field)
        return held

    def _sealed(self, key: RecordKey, kind: RecordType) -> dict[str, str]:
        held = self.database.secrets.get(key, {})
        return {name: held[name] for name in kind.fields if name in plan_of(kind).sealed and held.get(name)}

    async def sealed_rows(self, kind: RecordType, below: str, limit: int, *, oldest: bool = False) -> list[SealedRow]:
        """Return what records of a type in all accounts hold encrypted, the newest first."""
        keys = [key for key in self.database.secrets if key[1] == kind.name]
        rows = [SealedRow(str(n), key[2], self._sealed(key, kind)) for n, key in enumerate(keys)]
        found = [row for row in rows if row.texts]
        if not oldest:
            found = [row for row in reversed(found) if not below or int(row.place) < int(below)]
        return found[:limit]

    async def reseal(self, kind: RecordType, rows: Sequence[tuple[SealedRow, dict[str, str]]]) -> int:
        """Put other texts in the place of these, where they still stand there."""
        keys, done = [key for key in self.database.secrets if key[1] == kind.name], 0
        for row, texts in rows:
            held = self.database.secrets[keys[int(row.place)]]
            for name, text in texts.items():
                if held.get(name) == row.texts[name]:
                    held[name], done = text, done + 1
        return done

    def forget(self) -> None:
        """Memory is all that there is: nothing to drop."""

    async def taken(self, kind: RecordType, values: Sequence[str], field: str) -> set[str]:
        """Return those texts of a field that a record of the type has, in whichever account."""
        tables = [table for (_, name), table in self.database.rows.items() if name == kind.name]
        return {image[field] for table in tables for image in table.values()} & set(values)

    async def feed_position(self, account: str, name: str) -> FeedPosition | None:
        """Return where a feed stands, or None where nothing of it was acknowledged."""
        return self.database.feeds.get((account, name))

    async def move_feed(self, account: str, name: str, position: FeedPosition | None) -> FeedPosition | None:
        """Keep where a feed stands, or with None forget it; return where it stands now."""
        feeds, place = self.database.feeds, (account, name)
        if position is None or not self.database.head(account):
            feeds.pop(place, None)
            return None
        if place not in feeds and sum(known == account for known, _ in feeds) >= FEEDS:
            raise too_many_feeds()
        feeds[place] = moved(feeds.get(place), position)
        return feeds[place]

    async def saw(self, sights: Sequence[Sight]) -> None:
        """Keep when members were last here."""
        for sight in sights:
            if self.database.head(sight.account):
                kept = self.database.sights.setdefault(sight.account, {})
                kept[sight.member] = max(kept.get(sight.member, ""), sight.at)

    async def last_seen(self, account: str, members: Sequence[Member]) -> dict[Member, str]:
        """Return when each of these members was last kept to be here."""
        kept = self.database.sights.get(account, {})
        return {member: kept[member] for member in members if member in kept}

    async def prune(self, before: str, limit: int) -> int:
        """Forget whole commits from the beginning of the logs that are older than a time."""
        removed = 0
        for account, commits in self.database.log.items():
            while commits and commits[0].at < before and removed < limit:
                removed += len(commits.pop(0).rows)
                self.database.pruned[account] = self.database.pruned.get(account, 0) + 1
        return removed

    async def prune_type(self, kind: RecordType, before: str, limit: int) -> int:
        """Empty what the logs say of a type in commits that are older than a time; return how many were looked at."""
        for account, commits in self.database.log.items():
            reached = self.database.aged.get((account, kind.name), 0)
            later = [(n, commit) for n, commit in enumerate(commits) if commit.seq > reached]
            rows = [(commit.seq, commit.at) for _, commit in later for _ in commit.rows][: limit + 1]
            if end := first_kept([(seq, to_millis(at)) for seq, at in rows], to_millis(before), limit):
                for n, commit in later:
                    if commit.seq < end:
                        left = tuple(row.emptied() if row.type == kind.name else row for row in commit.rows)
                        commits[n] = structs.replace(commit, rows=left)
                self.database.aged[account, kind.name] = end - 1
                return sum(seq < end for seq, _ in rows)
        return 0

    async def probe(self) -> None:
        """Memory always serves."""

    async def probe_writing(self) -> None:
        """Memory always takes writes."""
