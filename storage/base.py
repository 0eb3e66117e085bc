"""The promise of storage: what every keeper does, whatever database is behind it.

- `submit` queues a commit at once, in call order; its future is done when the commit is on disk and the
  listener has been told. A refusal is a `HubError`; a commit is never half done.
- Commits of one account get `seq` 1, 2, 3, … without a hole, in commit order; the log row of every
  change is written in the same transaction.
- Reads see one consistent state and say which `seq` it is.

Accounts, records and actors are named by public ids; internal keys never leave a keeper. Images hold no concealed
field; `lookup` can compare a hashed one, `secret` reads what is kept of one. Held to this by
`tests/storage/contract.py`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from hub.schema.query import Query
from hub.schema.record import Image, RecordType
from hub.schema.search import Hit, Search
from hub.schema.totals import Aggregate, Part
from hub.schema.writes import ChangeSet, Commit, Committed, KeyClaim
from hub.wire.errors import HubError

FIND_CEILING = 100_000
"""The most records that one find without a limit returns."""

LOOKUP_CEILING = 1000
"""The most records that one lookup returns."""

KEY_HOURS = 24
"""How long the answer of a keyed write is kept."""


FEEDS: Final = 100
"""The most feeds of one account whose positions are kept."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where an account's log stands: the number of its last commit, and the epoch that numbers belong to."""

    epoch: str
    seq: int


@dataclass(frozen=True, slots=True)
class FeedPosition:
    """Up to which commit a feed was acknowledged, and the epoch that this number belongs to."""

    epoch: str
    seq: int


@dataclass(frozen=True, slots=True)
class SealedRow:
    """What a record holds encrypted, by field. `place` is where it stands in its table, for `sealed_rows`."""

    place: str
    rec: str
    texts: dict[str, str]


SIGHTS: Final = 1000
"""The most sights that are kept, or members that are asked for, in one call."""
Member = tuple[str, str]
"""Somebody who can be present in an account: `user` or `device`, and their public id."""


@dataclass(frozen=True, slots=True)
class Sight:
    """That a member was in an account at a time, which is in wire form."""

    account: str
    member: Member
    at: str


Outcome = Committed | HubError
"""What became of a commit."""


def random_epoch() -> str:
    """Return a fresh name for what the numbers of an account's commits belong to."""
    return secrets.token_urlsafe(6)


def set_outcome(future: asyncio.Future[Committed], outcome: Outcome) -> None:
    """Give a future the outcome that it stands for, unless nobody waits for it any more."""
    if future.done():
        return
    if isinstance(outcome, HubError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def outcome_of(future: asyncio.Future[Committed]) -> Outcome:
    """Return what became of the commit that a future stands for."""
    if future.cancelled():
        return HubError("server.unavailable", retry_after=1)
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, HubError):
        return error
    fault = HubError("server.error")
    fault.__cause__ = error  # its traceback is for the log line that the client is told of
    return fault


def moved(kept: FeedPosition | None, asked: FeedPosition) -> FeedPosition:
    """Return where a feed stands when it was asked to move: never back within an epoch."""
    return kept if kept is not None and kept.epoch == asked.epoch and kept.seq >= asked.seq else asked


def too_many_feeds() -> HubError:
    """Return the refusal of one feed more than an account may have."""
    return HubError("rate.limited", f"An account keeps at most {FEEDS} feeds; stop one with `forget`.", path="name")


@dataclass(frozen=True, slots=True)
class Found:
    """A consistent answer of `find`: the records, the account's `seq` they were read at.

    `more`: records beyond the limit (or the ceiling) exist. `total` is the count where asked: the exact one, or where
    it is `capped`, the cap of the query, beyond which there are more. The records hold the joined fields of the
    query's view. `included` has for each record what the query includes, by name: a record or None, or a list of
    children and whether there are more.
    """

    records: list[Image]
    seq: int
    more: bool = False
    total: int | None = None
    capped: bool = False
    included: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Hits:
    """A consistent answer of `search`: what was found, in order, the account's `seq`, and whether more is behind it."""

    hits: list[Hit]
    seq: int
    more: bool = False


@dataclass(frozen=True, slots=True)
class Totals:
    """A consistent answer of `aggregate`: for each group, by its value and null first, the parts of its values.

    Without a group there is one, of None. `more`: groups beyond the limit exist.
    """

    groups: list[tuple[Any, dict[Part, Any]]]
    seq: int
    more: bool = False


Listener = Callable[[list[ChangeSet]], None]
"""Told of every commit of this process, on the event loop, in order, before the futures are done."""


class Storage(Protocol):
    """A keeper of records. Start it before use, close it once; every method runs on the event loop."""

    def listen(self, listener: Listener) -> None:
        """Set who is told of commits; before `start`."""

    async def start(self) -> None:
        """Open, check the schema stamp, create what is missing; raise `StorageRefused` with a sentence."""

    async def close(self) -> None:
        """Finish what is queued, then close."""

    @property
    def ready(self) -> bool:
        """Whether reads and writes can be served now."""

    def submit(self, commit: Commit) -> asyncio.Future[Committed]:
        """Queue a commit; cancelling the future, or whoever waits for it, does not stop the commit.

        Raises `server.unavailable` at once where the queue is full or storage is down.
        """

    def tell(self, commit: Commit, done: Callable[[Outcome], None]) -> None:
        """Queue a commit as `submit` does; `done` is called with what became of it when its future would be done.

        For those who have much to do and need no future each. `done` is called on the loop and waits for nothing.
        """

    async def repeated(self, account: str, claim: KeyClaim) -> Committed | None:
        """Return what was committed under a key, None where nothing is kept; raise `key.reused` for another request.

        A commit with the claim decides for good; this tells beforehand, for who would else do much in vain.
        """

    async def get(
        self, account: str, kind: RecordType, ids: Sequence[str], *, deleted: bool = False
    ) -> dict[str, Image]:
        """Return those of the records that are there, by id."""

    async def find(self, account: str, query: Query) -> Found:
        """Return the records of a query and the `seq` they were read at, as one consistent state."""

    async def search(self, account: str, search: Search) -> Hits:
        """Return the live records in which every term is found, as one consistent state."""

    async def reindex(self, kind: RecordType, place: str, limit: int) -> tuple[int, str]:
        """Make the full text of the next `limit` records of a type anew, of all accounts, while others go on.

        `place` is empty at first, then what the last step returned; return how many records it were, and the place
        of the next step, empty behind the last one.
        """

    async def aggregate(self, account: str, aggregate: Aggregate) -> Totals:
        """Return what the live records add up to and the `seq` they were read at, as one consistent state."""

    async def changes(self, account: str, after: int, limit: int) -> list[ChangeSet]:
        """Return the commits with `seq` above `after`, in order, at most `limit`.

        They are fewer where they hold many changes, but at least one where there is one: how much is in memory goes
        by changes, of which a commit may have thousands.
        """

    async def history(self, account: str, kind: RecordType, rec: str, below: int | None, limit: int) -> list[ChangeSet]:
        """Return the changes of one record, newest first: each as its commit, with that row alone.

        Only versions under `below` where it is given, at most `limit`. Ends earlier than version 1 where the
        log was pruned. Says nothing of a record that was purged, nor of one that had the id before.
        """

    async def heads(self, accounts: Sequence[str]) -> dict[str, Head]:
        """Return where the logs of these accounts stand (`seq` 0 where nothing was committed yet)."""

    async def lookup(self, kind: RecordType, field: str, value: Any) -> list[Image]:
        """Return the live records (≤ 1,000) of every account whose `field` (may be hashed) equals `value`.

        Only for deciding who somebody is, before there is an account to be limited to.
        """

    async def secret(self, account: str, kind: RecordType, rec: str, field: str) -> str | None:
        """Return what is kept of a concealed field of a live record; None where that is nothing, or it is not there.

        Of a hashed field it is the hash, of a secret one what is sealed (`hub.vault`). It goes nowhere else.
        """

    async def sealed_rows(self, kind: RecordType, below: str, limit: int, *, oldest: bool = False) -> list[SealedRow]:
        """Return what records of a type in all accounts hold encrypted, tombstones too, the newest first.

        `below` is the place of the last one that was returned, empty at first. `oldest`: those from the other end.
        """

    async def reseal(self, kind: RecordType, rows: Sequence[tuple[SealedRow, dict[str, str]]]) -> int:
        """Put other texts in the place of these, where they still stand there; return how many that were.

        On disk when it returns. It is no commit: no `seq`, no version, no log row.
        """

    def forget(self) -> None:
        """Drop what is remembered of the database only to be quicker; at any time, and nothing else changes by it."""

    async def taken(self, kind: RecordType, values: Sequence[str], field: str) -> set[str]:
        """Return those texts of a field that a record has, in whichever account, tombstones too.

        Only for housekeeping: no caller may be told of another account's.
        """

    async def feed_position(self, account: str, name: str) -> FeedPosition | None:
        """Return where a feed stands, or None where nothing of it was acknowledged."""

    async def move_feed(self, account: str, name: str, position: FeedPosition | None) -> FeedPosition | None:
        """Keep where a feed stands, or with None forget it; return where it stands now, on disk.

        Never back within an epoch. Raises `rate.limited` for one feed more than `FEEDS`. An account that never
        committed anything has no feeds: nothing is kept.
        """

    async def saw(self, sights: Sequence[Sight]) -> None:
        """Keep when members were last here, at most `SIGHTS` of them; on disk when it returns.

        What is kept never goes back. It is no commit: no `seq`, no version, no log row. Sights of an account that
        never committed anything are not kept.
        """

    async def last_seen(self, account: str, members: Sequence[Member]) -> dict[Member, str]:
        """Return when each of these members (at most `SIGHTS`) was last kept to be here; who never was is left out."""

    async def prune(self, before: str, limit: int) -> int:
        """Forget whole commits from the beginning of the logs that are older than a time; return how many changes.

        About `limit` at most, so that a write behind it does not wait for long; 0: nothing older is left.
        """

    async def prune_type(self, kind: RecordType, before: str, limit: int) -> int:
        """Empty what the logs say of records of a type in commits that are older than a time.

        The commits stay, with their numbers; a history says nothing of such changes. Return how many changes were
        looked at, of whatever type, about `limit` at most and in one account; 0: nothing older is left.
        """

    async def probe(self) -> None:
        """Do the smallest honest read; raise where storage cannot serve."""

    async def probe_writing(self) -> None:
        """Do the smallest honest write; raise where storage serves reads at most."""


class StorageRefused(Exception):
    """Storage cannot be opened as it is; the text says why and what to do."""
