"""What is particular to full text in a SQLite file: made and removed with the declarations, healed, cheap to ask."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
from msgspec import Meta

from hub.schema.access import Access
from hub.schema.fields import DeclarationError, Field
from hub.schema.record import Record, type_of
from hub.schema.search import Scope, Search, parse_search
from hub.schema.where import EVERYTHING
from hub.schema.writes import Commit, Create, Delete
from storage.sql import words
from storage.sql.sqlite import SqliteStorage
from tests.storage.contract_again import come_and_go
from tests.storage.declared import Use, box, registry, registry_of, sticker, ticking

_RULE = Access(read="viewer", create="editor", update="editor", delete="editor")


def note(*searchable: str) -> Any:
    """Return a type with these searchable fields."""

    class Note(Record, access=_RULE, searchable=searchable):
        """A note."""

        title: Annotated[str, Meta(max_length=100)] = ""
        body: str | None = None
        tags: list[str] = []

    return type_of(Note)


Opened = Callable[[Any], AbstractAsyncContextManager[SqliteStorage]]


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """Return how to open one file with one type."""

    @asynccontextmanager
    async def opening(kind: Any) -> AsyncIterator[SqliteStorage]:
        storage = SqliteStorage(registry_of(kind), tmp_path / "hub.sqlite", ticking(), durability="normal")
        await storage.start()
        try:
            yield storage
        finally:
            await storage.close()

    return opening


async def found(storage: SqliteStorage, kind: Any, text: str) -> list[str]:
    """Return the titles of the hits, sorted."""
    search = Search(parse_search(text), (Scope(kind, EVERYTHING),), 1000)
    return sorted(hit.image["title"] for hit in (await storage.search("main", search)).hits)


async def fill(storage: SqliteStorage, kind: Any, count: int = 3) -> None:
    """Create notes and a tombstone."""
    for n in range(count):
        data = kind.accept_create({"title": f"t{n}", "body": "lamp", "tags": ["red", f"x{n}"]}, trusted=True)
        await storage.submit(Commit("main", (Create(kind, f"id{n:09}", data),)))
    await storage.submit(Commit("main", (Delete(kind, "id000000000"),)))


def tables(path: Path) -> set[str]:
    """Return the tables of full text in a file."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE '%$words'").fetchall()
    connection.close()
    return {name for (name,) in rows}


async def test_a_file_from_before_there_was_full_text_gets_it_at_the_next_start(opened: Opened, tmp_path: Path) -> None:
    plain, searched = note(), note("title", "body", "tags")
    async with opened(plain) as storage:
        await fill(storage, plain, words.CHUNK + 3)
    assert tables(tmp_path / "hub.sqlite") == set()
    async with opened(searched) as storage:
        assert len(await found(storage, searched, "lamp red")) == words.CHUNK + 2
        assert await found(storage, searched, "x1") == sorted(
            f"t{n}" for n in range(words.CHUNK + 3) if str(n).startswith("1")
        )
    async with opened(plain):
        assert tables(tmp_path / "hub.sqlite") == set()


async def test_an_index_of_other_fields_or_other_words_is_made_anew(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = note("title"), note("title", "body")
    async with opened(first) as storage:
        await fill(storage, first)
        assert await found(storage, first, "lamp") == []
    async with opened(second) as storage:
        assert await found(storage, second, "lamp") == ["t1", "t2"]
    monkeypatch.setattr(words, "VERSION", "other words")
    monkeypatch.setattr(words, "words", lambda text: ["always"])
    again = note("title", "body")  # what was worked out for `second` is kept (tests.prepared)
    async with opened(again) as storage:
        assert await found(storage, again, "lamp") == []
        assert await found(storage, again, "always") == ["t1", "t2"]


async def test_an_index_that_lost_what_is_there_or_kept_what_is_gone_is_healed(opened: Opened, tmp_path: Path) -> None:
    kind = note("title", "body")
    async with opened(kind) as storage:
        await fill(storage, kind)
    connection = sqlite3.connect(tmp_path / "hub.sqlite", isolation_level=None)
    connection.execute('DELETE FROM "note$words" WHERE rowid = 2')
    connection.execute('INSERT INTO "note$words" (rowid, words) VALUES (1, ?), (77, ?)', ["1\u00b7lamp"] * 2)
    connection.close()
    async with opened(kind) as storage:
        assert await found(storage, kind, "lamp") == ["t2"]
        place, steps = "", 0
        while steps == 0 or place:
            _, place = await storage.reindex(kind, place, 1)
            steps += 1
        assert steps == 3
        assert await found(storage, kind, "lamp") == ["t1", "t2"]
    connection = sqlite3.connect(tmp_path / "hub.sqlite")
    assert [row for (row,) in connection.execute('SELECT rowid FROM "note$words" ORDER BY rowid')] == [2, 3]
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def test_searches_that_take_long_leave_a_reader_to_the_others(tmp_path: Path) -> None:
    storage = SqliteStorage(registry, tmp_path / "hub.sqlite", ticking(), durability="normal", readers=2)
    await storage.start()
    use = Use(storage)
    made = await use.create(box, name="lamp")
    going_on = threading.Event()
    ask = storage._searches.search

    def slow(account: str, search: Search) -> Any:
        run = ask(account, search)
        return lambda connection: going_on.wait(20) and run(connection)

    storage._searches.search = slow  # type: ignore[method-assign]
    searches = [asyncio.ensure_future(use.search("lamp")) for _ in range(4)]
    try:
        async with asyncio.timeout(10):
            assert await use.get(box, made["id"]) == made
        assert not any(search.done() for search in searches)
    finally:
        going_on.set()
        found = await asyncio.gather(*searches)
        await storage.close()
    assert [[hit.image for hit in one.hits] for one in found] == [[made]] * 4


async def test_what_comes_and_goes_in_one_group_leaves_no_words(tmp_path: Path) -> None:
    storage = SqliteStorage(registry, tmp_path / "hub.sqlite", ticking(), durability="normal")
    use = Use(storage)
    await storage.start()
    await come_and_go(use)
    await storage.close()
    connection = sqlite3.connect(tmp_path / "hub.sqlite")
    for table in ("box$words", "box"):
        assert connection.execute(f'SELECT rowid FROM "{table}"').fetchall() == [(2,)]
    connection.close()


async def test_a_type_without_searchable_fields_has_no_index(tmp_path: Path) -> None:
    storage = SqliteStorage(registry, tmp_path / "hub.sqlite", ticking(), durability="normal")
    await storage.start()
    await storage.close()
    assert tables(tmp_path / "hub.sqlite") == {"box$words", "item$words", "tag$words"}
    assert box.searchable
    assert not sticker.searchable


async def test_a_search_is_answered_from_the_words_and_not_by_reading_every_record(tmp_path: Path) -> None:
    storage = SqliteStorage(registry, tmp_path / "hub.sqlite", ticking(), durability="normal")
    await storage.start()
    text = storage._searches._searchers["box"]._text(("and",), True)
    await storage.close()
    connection = sqlite3.connect(tmp_path / "hub.sqlite")
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text.sql}", [0] * len(text.names))]
    connection.close()
    assert any("box USING INTEGER PRIMARY KEY" in step for step in plan), plan
    assert not [step for step in plan if step.startswith("SCAN box") and "$words" not in step], plan


@pytest.mark.parametrize(
    ("options", "field", "said"),
    [
        ({"searchable": ("count",)}, int, "only a text or a list of texts"),
        ({"searchable": ("count",)}, Annotated[str, Field(secret=True)], "not everybody sees"),
        ({"searchable": ("count",)}, Annotated[str, Field(hidden_from="viewer")], "not everybody sees"),
        ({"searchable": ("id",)}, str, "only a text or a list of texts"),
        ({"searchable": ("other",)}, str, "which is no field"),
    ],
)
def test_what_cannot_be_searched_is_refused_when_it_is_declared(options: Any, field: Any, said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        type("Thing", (Record,), {"__annotations__": {"count": field}}, access=_RULE, **options)
