"""What is particular to full text on MariaDB: hubs side by side, earlier databases, servers that leave words out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any

import pytest
from msgspec import Meta
from sqlalchemy.util import await_only

from hub.schema.access import Access
from hub.schema.record import Record, type_of
from hub.schema.search import Scope, Search, parse_search
from hub.schema.where import EVERYTHING
from hub.schema.words import LETTERS, cost
from hub.schema.writes import Commit, Create, Delete
from storage.base import StorageRefused
from storage.mariadb import words
from storage.mariadb.keeper import MariadbStorage
from storage.mariadb.searching import MariaSearcher
from storage.mariadb.words import spelt
from tests.storage.contract_again import come_and_go
from tests.storage.declared import Use, box, registry, registry_of, ticking
from tests.storage.mariadb_server import FAST, MariadbServer, running

_RULE = Access(read="viewer", create="editor", update="editor", delete="editor")
Opened = Callable[[Any], AbstractAsyncContextManager[MariadbStorage]]


def note(*searchable: str) -> Any:
    """Return a type with these searchable fields."""

    class Note(Record, access=_RULE, searchable=searchable):
        """A note."""

        title: Annotated[str, Meta(max_length=100)] = ""
        body: str | None = None
        tags: list[str] = []

    return type_of(Note)


@pytest.fixture
def opened(mariadb: MariadbServer) -> Opened:
    """Return how to open one database with one type."""
    url = mariadb.url(mariadb.new_database())

    @asynccontextmanager
    async def opening(kind: Any) -> AsyncIterator[MariadbStorage]:
        storage = MariadbStorage(registry_of(kind), url, ticking(), durability="normal")
        await storage.start()
        try:
            yield storage
        finally:
            await storage.close()

    return opening


async def found(storage: MariadbStorage, kind: Any, text: str) -> list[str]:
    """Return the titles of the hits, sorted."""
    search = Search(parse_search(text), (Scope(kind, EVERYTHING),), 1000)
    return sorted(hit.image["title"] for hit in (await storage.search("main", search)).hits)


async def fill(storage: MariadbStorage, kind: Any, count: int = 3) -> None:
    """Create notes and a tombstone."""
    for n in range(count):
        data = kind.accept_create({"title": f"t{n}", "body": "lamp", "tags": ["red", f"x{n}"]}, trusted=True)
        await storage.submit(Commit("main", (Create(kind, f"id{n:09}", data),)))
    await storage.submit(Commit("main", (Delete(kind, "id000000000"),)))


async def test_a_database_from_before_there_was_full_text_gets_it_at_the_next_start(opened: Opened) -> None:
    plain, first, more = note(), note("title"), note("title", "body", "tags")
    async with opened(plain) as storage:
        await fill(storage, plain)
    async with opened(first) as storage:
        assert await found(storage, first, "t") == ["t1", "t2"]
        assert await found(storage, first, "lamp") == []
    async with opened(more) as storage:
        assert await found(storage, more, "lamp red") == ["t1", "t2"]
    async with opened(plain) as storage:
        assert not await storage._ask(lambda c: c.exec_driver_sql("SHOW TABLES LIKE 'note$words'").all())


async def test_a_start_that_was_broken_off_goes_on_where_it_stopped(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, searched = note(), note("title")
    async with opened(plain) as storage:
        await fill(storage, plain, 5)
    steps: list[int] = []
    renew = words.MariaWordIndex.renew

    def once(self: Any, connection: Any, after: int, limit: int) -> tuple[int, int | None]:
        steps.append(after)
        if len(steps) == 2:
            raise RuntimeError("pulled the plug")
        return renew(self, connection, after, limit)

    monkeypatch.setattr(words, "CHUNK", 2)
    monkeypatch.setattr(words.MariaWordIndex, "renew", once)
    with pytest.raises(StorageRefused):
        async with opened(searched):
            raise AssertionError("it started")
    async with opened(searched) as storage:
        assert await found(storage, searched, "t") == ["t1", "t2", "t3", "t4"]
    assert steps[1] == steps[2] != 0


async def test_an_index_that_lost_what_is_there_or_kept_what_is_gone_is_healed(opened: Opened) -> None:
    kind = note("title", "body")
    async with opened(kind) as storage:
        await fill(storage, kind, 4)

        def spoil(connection: Any) -> None:
            pks = [pk for (pk,) in connection.exec_driver_sql("SELECT pk FROM note ORDER BY pk").all()]
            (text,) = connection.exec_driver_sql("SELECT words FROM `note$words` WHERE pk = %s", (pks[3],)).one()
            connection.exec_driver_sql("DELETE FROM `note$words` WHERE pk = %s", (pks[3],))
            put = "INSERT INTO `note$words` (pk, words) VALUES (%s, %s)"
            connection.exec_driver_sql(put, [(pks[0], text), (pks[3] + 99, text)])

        await storage._ask(spoil)
        assert await found(storage, kind, "lamp") == ["t1", "t2"]
        place, steps = "", 0
        while steps == 0 or place:
            _, place = await storage.reindex(kind, place, 1)
            steps += 1
        assert await found(storage, kind, "lamp") == ["t1", "t2", "t3"]
        count = await storage._ask(lambda c: c.exec_driver_sql("SELECT COUNT(*) FROM `note$words`").scalar_one())
        assert count == 3


@pytest.mark.parametrize("held", [True, False], ids=["held", "without holding the counter"])
async def test_nobody_commits_between_the_number_of_an_answer_and_its_hits(
    mariadb: MariadbServer, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    url = mariadb.url(mariadb.new_database())
    mine, other = (Use(MariadbStorage(registry, url, ticking(), durability="normal"), seed) for seed in (1, 2))
    await mine.storage.start()
    await other.storage.start()
    made = await mine.create(box, name="lamp")
    pending: list[asyncio.Future[Any]] = []
    keys = MariaSearcher.keys

    def late(self: Any, connection: Any, search: Any, scope: Any, account_pk: int) -> Any:
        if not pending:
            pending.append(asyncio.ensure_future(other.update(box, made["id"], note="changed")))
            await_only(asyncio.wait(pending, timeout=1.0))
        return keys(self, connection, search, scope, account_pk)

    monkeypatch.setattr(MariaSearcher, "keys", late)
    if not held:
        searches = mine.storage._searches  # type: ignore[attr-defined]
        searches._hold = searches._hold.replace("LOCK IN SHARE MODE", "")
    first = await mine.search("lamp", box)
    await asyncio.wait(pending)
    second = await mine.search("lamp", box)
    for use in (mine, other):
        await use.storage.close()
    seen = [(found.seq, [hit.image["version"] for hit in found.hits]) for found in (first, second)]
    assert seen[0] == ((1, [1]) if held else (1, [2])), "what is not held answers what its number does not say"
    assert seen[1] == (2, [2])


async def test_what_comes_and_goes_in_one_group_leaves_no_words(mariadb: MariadbServer) -> None:
    storage = MariadbStorage(registry, mariadb.url(mariadb.new_database()), ticking(), durability="normal")
    use = Use(storage)
    await storage.start()
    await come_and_go(use)
    left = [
        await storage._ask(lambda c, table=table: c.exec_driver_sql(f"SELECT pk FROM `{table}`").all())  # type: ignore[misc]
        for table in ("box$words", "box")
    ]
    await storage.close()
    assert left[0] == left[1]
    assert len(left[0]) == 1


def test_a_server_that_leaves_words_out_is_refused() -> None:
    with running(*FAST, "--innodb-ft-min-token-size=6") as server:
        url = server.url(server.new_database())

        async def start() -> str:
            storage = MariadbStorage(registry, url, ticking(), durability="normal")
            with pytest.raises(StorageRefused) as refusal:
                await storage.start()
            await storage.close()
            return str(refusal.value)

        assert asyncio.run(start()).startswith("The server leaves words out of full text; set innodb_ft_min_token_size")


def test_a_word_is_spelt_so_that_no_other_is_and_what_begins_it_begins_its_spelling() -> None:
    edges = (0x4FF, 0x500, 0x501, 0x22779, 0x22780, 0x22781, 0x10FFFF)
    codes = {*range(0x61, 0x7B), *range(0x80, 0x600), *range(0x600, 0x110000, 101), *edges}
    letters = [chr(code) for code in codes if not 0xD800 <= code < 0xE000]
    spellings = [spelt(letter) for letter in letters]
    assert len(set(spellings)) == len(spellings)
    assert all(len(text) == cost(letter) for letter, text in zip(letters, spellings, strict=True))
    assert all(re.fullmatch("[0-9a-z]|_[0-9a-v][0-9a-z]|_[wxy][0-9a-z]{3}|_z[0-9a-z]{4}", text) for text in spellings)
    assert 9 + len("_k") + LETTERS <= words.LONGEST, "an account's key of nine digits leaves room for the longest word"
