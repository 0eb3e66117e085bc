"""What is particular to full text on MariaDB: hubs side by side, earlier databases, how words are looked up."""

from __future__ import annotations

import asyncio
import contextlib
import os
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
from storage.mariadb import searching, words
from storage.mariadb.keeper import MariadbStorage
from storage.mariadb.searching import MariaSearcher
from storage.mariadb.words import spelt
from storage.sql.words import number
from tests.storage.contract_again import come_and_go
from tests.storage.declared import Use, box, registry, registry_of, ticking
from tests.storage.mariadb_server import MariadbServer

SCALE = 100 if os.environ.get("AETHER_PROOF") else 1
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
            connection.exec_driver_sql("DELETE FROM `note$words_at` WHERE pk = %s AND word LIKE '%%lamp'", (pks[2],))
            put = "INSERT INTO `note$words` (pk, words) VALUES (%s, %s)"
            connection.exec_driver_sql(put, [(pks[0], text), (pks[3] + 99, text)])

        await storage._ask(spoil)
        assert await found(storage, kind, "lamp") == ["t1"]
        place, steps = "", 0
        while steps == 0 or place:
            _, place = await storage.reindex(kind, place, 1)
            steps += 1
        assert await found(storage, kind, "lamp") == ["t1", "t2", "t3"]
        for table, rows in (("note$words", 3), ("note$words_at", 6)):
            count = f"SELECT COUNT(*) FROM `{table}`"
            assert await storage._ask(lambda c, count=count: c.exec_driver_sql(count).scalar_one()) == rows  # type: ignore[misc]


@pytest.mark.parametrize("whole", [True, False], ids=["one state", "each statement by itself"])
async def test_nobody_commits_between_the_number_of_an_answer_and_its_hits(
    mariadb: MariadbServer, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    url = mariadb.url(mariadb.new_database())
    mine, other = (Use(MariadbStorage(registry, url, ticking(), durability="normal"), seed) for seed in (1, 2))
    await mine.storage.start()
    await other.storage.start()
    made = await mine.create(box, name="lamp")
    changed: list[Any] = []
    keys = MariaSearcher.keys

    def late(self: Any, connection: Any, search: Any, scope: Any, account_pk: int) -> Any:
        if not changed:  # a search keeps no writer waiting
            changed.append(await_only(other.update(box, made["id"], name="lantern")))
        return keys(self, connection, search, scope, account_pk)

    monkeypatch.setattr(MariaSearcher, "keys", late)
    if not whole:
        monkeypatch.setattr(searching, "snapshot", contextlib.nullcontext)
    first = await mine.search("lamp", box)
    second = await mine.search("lamp", box)
    third = await mine.search("lantern", box)
    for use in (mine, other):
        await use.storage.close()
    seen = [(found.seq, [hit.image["version"] for hit in found.hits]) for found in (first, second, third)]
    assert seen == [(1, [1] if whole else []), (2, []), (2, [2])]


async def test_what_is_acknowledged_is_found_while_others_write(mariadb: MariadbServer) -> None:
    kind = note("title", "body")
    url = mariadb.url(mariadb.new_database())
    hubs = [MariadbStorage(registry_of(kind), url, ticking(), durability="normal") for _ in range(2)]
    for hub in hubs:
        await hub.start()

    async def write(lane: int, hub: MariadbStorage) -> None:
        for n in range(5 * SCALE):
            made = [f"{lane}n{n}m{m}" for m in range(40)]
            data = [kind.accept_create({"title": f"a{name}", "body": f"b{name} c{name}x"}) for name in made]
            writes = tuple(Create(kind, f"{lane}{n:06}{m:04}", one) for m, one in enumerate(data))
            await hub.submit(Commit("main", writes))
            for name in (made[0], made[-1]):
                assert await found(hubs[1 - lane], kind, f"a{name} b{name[:-1]}* c{name}") == [f"a{name}"]

    await asyncio.gather(*(write(lane, hub) for lane, hub in enumerate(hubs)))
    for hub in hubs:
        await hub.close()


async def test_words_are_looked_up_by_the_rarest_however_many_have_the_others(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "_FEW", (2, 4))
    kind = note("title")
    async with opened(kind) as storage:
        data = [kind.accept_create({"title": f"all begin{n} {'half' * (n % 2)} t{n}"}) for n in range(8)]
        await storage.submit(Commit("main", tuple(Create(kind, f"id{n:09}", one) for n, one in enumerate(data))))
        assert len(await found(storage, kind, "all begin")) == 8
        assert len(await found(storage, kind, "all begin* half")) == 4
        assert await found(storage, kind, "begin* half all t3") == [data[3]["title"]]
        assert await found(storage, kind, "all begin3 half t1") == []
        many = " ".join(["all", "half", *(f"begin{n}" for n in range(8))])
        assert await found(storage, kind, many) == []
        asked = [words.asked(parse_search(text), 1)[0][0] for text in ("a bcd ef", "ab* c", "ab cde*", '"xy uvw"')]
        assert [low for low, _ in asked] == ["1_kbcd", "1_kab", "1_kab", "1_kuvw"]


async def test_words_of_a_layout_of_before_are_made_anew(opened: Opened) -> None:
    kind = note("title", "body")
    async with opened(kind) as storage:
        await fill(storage, kind)
        asked = "SELECT value FROM meta WHERE name = 'words:note'"
        stamp = await storage._ask(lambda c: c.exec_driver_sql(asked).scalar_one())

        def before(connection: Any) -> None:
            """Leave what a hub left that looked words up by FULLTEXT."""
            connection.exec_driver_sql("DROP TABLE `note$words_at`")
            connection.exec_driver_sql("ALTER TABLE `note$words` ADD FULLTEXT KEY words (words)")
            old = (stamp.partition(":")[2],)
            connection.exec_driver_sql("UPDATE meta SET value = %s WHERE name = 'words:note'", old)

        await storage._ask(before)
    async with opened(kind) as storage:
        assert await found(storage, kind, "lamp") == ["t1", "t2"]
        made = await storage._ask(lambda c: c.exec_driver_sql("SHOW CREATE TABLE `note$words`").one()[1])
        assert "FULLTEXT" not in made


async def test_what_comes_and_goes_in_one_group_leaves_no_words(mariadb: MariadbServer) -> None:
    storage = MariadbStorage(registry, mariadb.url(mariadb.new_database()), ticking(), durability="normal")
    use = Use(storage)
    await storage.start()
    await come_and_go(use)
    left = [
        await storage._ask(lambda c, table=table: c.exec_driver_sql(f"SELECT pk FROM `{table}`").all())  # type: ignore[misc]
        for table in ("box$words", "box")
    ]
    placed = await storage._ask(lambda c: c.exec_driver_sql("SELECT DISTINCT pk FROM `box$words_at`").all())
    await storage.close()
    assert left[0] == left[1] == placed
    assert len(left[0]) == 1


def test_a_word_is_spelt_so_that_no_other_is_and_what_begins_it_begins_its_spelling() -> None:
    edges = (0x4FF, 0x500, 0x501, 0x22779, 0x22780, 0x22781, 0x10FFFF)
    codes = {*range(0x61, 0x7B), *range(0x80, 0x600), *range(0x600, 0x110000, 101), *edges}
    letters = [chr(code) for code in codes if not 0xD800 <= code < 0xE000]
    spellings = [spelt(letter) for letter in letters]
    assert len(set(spellings)) == len(spellings)
    assert all(len(text) == cost(letter) for letter, text in zip(letters, spellings, strict=True))
    assert all(re.fullmatch("[0-9a-z]|_[0-9a-v][0-9a-z]|_[wxy][0-9a-z]{3}|_z[0-9a-z]{4}", text) for text in spellings)
    assert len(number(2**63 - 1)) + len("_k") + LETTERS <= words.LONGEST, "the longest word of the last account fits"
