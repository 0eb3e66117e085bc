"""One run of full text on SQLite, in a process of its own: `python -m benchmarks.searching WHAT FOLDER`.

A file is filled with sessions whose texts are words as texts have them, few often and many seldom. One in a hundred has
the word `keeper`, one in a hundred a word that begins with `migra`. Prints what `benchmarks.storing` prints.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sqlite3
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from benchmarks.storing import EVENT, REGISTRY, SESSION, clock, cpu, main, measured, new_id
from hub.schema.search import Scope, Search, parse_search
from hub.schema.where import EVERYTHING
from hub.schema.writes import Commit, Create
from storage.sql.sqlite import SqliteStorage
from storage.sql.words import ANYWHERE, match_of

LIMIT: Final = 50
"""How many hits an answer has."""
VOCABULARY: Final = [
    "".join(parts) for parts in itertools.product(("ka", "lo", "mi", "ne", "su", "ta", "ri", "vo"), repeat=5)
][::2]
SHARES: Final = list(itertools.accumulate(1 / (place + 10) for place in range(len(VOCABULARY))))
"""The n-th word is about a n-th as frequent as the first."""
_chance = random.Random(2)


def _words(count: int) -> list[str]:
    found = _chance.choices(VOCABULARY, cum_weights=SHARES, k=count)
    if _chance.random() < 0.01:
        found[_chance.randrange(count)] = "keeper"
    if _chance.random() < 0.01:
        found[_chance.randrange(count)] = f"migra{_chance.choice(VOCABULARY)}"
    return found


async def build_words(options: argparse.Namespace) -> dict[str, Any]:
    """Fill a file with sessions of one event: four words in the title, sixteen in the abstract."""
    keeper = SqliteStorage(REGISTRY, options.folder / "hub.db", clock, durability="normal")
    await keeper.start()
    parent = new_id()
    await keeper.submit(Commit("main", (Create(EVENT, parent, EVENT.accept_create({"title": "Bench"})),)))
    data = SESSION.accept_create({"title": "A talk"})
    begun, used = time.perf_counter(), cpu()
    for _ in range(0, options.rows, 1000):
        texts = [_words(20) for _ in range(1000)]
        given = ({**data, "title": " ".join(some[:4]), "abstract": " ".join(some[4:])} for some in texts)
        await keeper.submit(Commit("main", tuple(Create(SESSION, new_id(), one, parent) for one in given)))
    seconds = time.perf_counter() - begun
    await keeper.close()
    return {"messages": options.rows, "seconds": seconds, "cpu": cpu() - used}


async def keeper_search(options: argparse.Namespace) -> dict[str, Any]:
    """Measure searches for what `--words` says through the keeper, one at a time."""
    keeper = SqliteStorage(REGISTRY, options.folder / "hub.db", clock)
    await keeper.start()
    search = Search(parse_search(options.words), (Scope(SESSION, EVERYTHING),), LIMIT)

    async def one() -> None:
        assert len((await keeper.search("main", search)).hits) == LIMIT

    found = await measured(1, options.seconds, one, [])
    await keeper.close()
    return found


async def raw_search(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the same words in the same index through the bare driver: the last changed first, as tuples."""
    connection = sqlite3.connect(options.folder / "hub.db")
    connection.execute("PRAGMA query_only = 1")
    (account,) = connection.execute("SELECT account_pk FROM event").fetchone()
    match = match_of(parse_search(options.words), account, ANYWHERE)
    chosen = (
        'SELECT pk FROM event_session WHERE pk IN (SELECT rowid FROM "event_session$words" WHERE words MATCH ?) '
        f"AND deleted_at IS NULL ORDER BY updated_at DESC, id LIMIT {LIMIT}"
    )
    page = f"SELECT * FROM event_session WHERE pk IN ({chosen}) ORDER BY updated_at DESC, id"

    async def one() -> None:
        assert len(connection.execute(page, (match,)).fetchall()) == LIMIT

    found = await measured(1, options.seconds, one, [])
    connection.close()
    return found


RUNS: Final[dict[str, Callable[[argparse.Namespace], Awaitable[dict[str, Any]]]]] = {
    "build-words": build_words,
    "keeper-search": keeper_search,
    "raw-search": raw_search,
}

if __name__ == "__main__":
    main(RUNS)
