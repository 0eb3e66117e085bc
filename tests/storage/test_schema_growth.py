"""What becomes of a database when its record types are declared differently at the next start."""

from __future__ import annotations

import asyncio
import itertools
import types
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import pytest
from msgspec import Meta

from hub.schema.access import Access
from hub.schema.fields import DeclarationError, Field, Ref
from hub.schema.record import Image, Record, RecordType, type_of
from storage.base import Storage, StorageRefused
from storage.mariadb.keeper import MariadbStorage
from storage.sql.sqlite import SqliteStorage
from storage.sql.tables import Tables
from tests.storage.declared import Use, registry_of, ticking
from tests.storage.mariadb_server import MariadbServer

RULE = Access(read="viewer", create="editor", update="editor", delete="editor")


def declared(
    name: str, annotations: dict[str, Any], defaults: dict[str, Any] | None = None, **options: Any
) -> RecordType:
    """Return a record type as a class statement would make it."""
    body = {"__annotations__": annotations, "__module__": __name__, **(defaults or {})}
    made = types.new_class(name, (Record,), {"access": RULE, **options}, lambda space: space.update(body))
    return type_of(made)


MORE_DEFAULTS = {
    "since": datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC),
    "day": date(2020, 1, 2),
    "marks": ["a'b\\c", "100 %s"],
    "cfg": {"it's": ["\\", 1]},
    "share": 0.1,
}
TITLE = Annotated[str, Meta(max_length=50)]
BEFORE = declared("Note", {"title": TITLE, "body": str | None})

_seeds = itertools.count()


Place = Path | str
"""A file of SQLite, or the address of a database on MariaDB."""


def keeper(place: Place, *kinds: RecordType) -> Storage:
    """Return the keeper of a database."""
    if isinstance(place, Path):
        return SqliteStorage(registry_of(*kinds), place, ticking())
    return MariadbStorage(registry_of(*kinds), place, ticking(), durability="normal")


async def _session(path: Place, kinds: tuple[RecordType, ...], work: Callable[[Use], Awaitable[Any]] | None) -> Any:
    use = Use(keeper(path, *kinds), seed=next(_seeds))
    await use.storage.start()
    try:
        return await work(use) if work is not None else None
    finally:
        await use.storage.close()


def session(path: Place, *kinds: RecordType, work: Callable[[Use], Awaitable[Any]] | None = None) -> Any:
    """Open a database with these types, do something, close it."""
    return asyncio.run(_session(path, kinds, work))


@pytest.fixture(params=["sqlite", "mariadb"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return a database without anything."""
    if request.param == "sqlite":
        return tmp_path / "hub.sqlite"
    server: MariadbServer = request.getfixturevalue("mariadb")
    return server.url(server.new_database())


@pytest.fixture
def path(empty: Place) -> Place:
    """Return a database with one note."""
    path = empty
    session(path, BEFORE, work=lambda use: use.create(BEFORE, title="Größe", body="x"))
    return path


def notes(path: Place, *kinds: RecordType) -> list[Image]:
    """Return the notes after opening with these types, and check that the log shows the same."""

    async def read(use: Use) -> list[Image]:
        found = (await use.find(kinds[0])).records
        assert sorted((s.rows[0].after for s in await use.log()), key=lambda image: str(image["id"])) == found
        return found

    return list(session(path, *kinds, work=read))


def test_the_same_types_open_again(path: Place) -> None:
    assert [n["title"] for n in notes(path, BEFORE)] == ["Größe"]


def test_a_new_type_gets_its_table(path: Place) -> None:
    label = declared("Label", {"text": TITLE, "note": Ref[BEFORE.declared]})  # type: ignore[name-defined]  # a value

    async def work(use: Use) -> Image:
        note = (await use.find(BEFORE)).records[0]
        return await use.create(label, text="x", note_id=note["id"])

    session(path, BEFORE, label, work=work)
    assert session(path, BEFORE, label, work=lambda use: use.find(label)).records[0]["text"] == "x"


def test_new_fields_have_their_default_in_rows_and_in_the_log(path: Place) -> None:
    after = declared(
        "Note",
        {
            "title": TITLE,
            "body": str | None,
            "rank": int,
            "tags": list[str],
            "done": bool,
            "by": TITLE,
            "maybe": float | None,
            "since": datetime,
            "day": date,
            "marks": list[str],
            "cfg": dict[str, Any],
            "share": float,
        },
        {"rank": 3, "tags": [], "done": True, "by": "it's me", **MORE_DEFAULTS},
    )
    (note,) = notes(path, after)
    assert {k: note[k] for k in ("rank", "tags", "done", "by", "maybe")} == {
        "rank": 3, "tags": [], "done": True, "by": "it's me", "maybe": None,
    }  # fmt: skip
    new = after.accept_create({"title": "x"})
    assert {k: note[k] for k in MORE_DEFAULTS} == {k: new[k] for k in MORE_DEFAULTS}
    assert (new["since"], new["day"], new["marks"]) == ("2020-01-02T03:04:05.000Z", "2020-01-02", ["a'b\\c", "100 %s"])
    changed = session(path, after, work=lambda use: use.update(after, note["id"], rank=4))
    assert changed.results[0].image["rank"] == 4


def test_a_field_can_become_folded_indexed_and_longer(path: Place) -> None:
    longer = Annotated[str, Meta(max_length=5000), Field(folded=True)]
    after = declared("Note", {"title": longer, "body": str | None}, indexes=(("body",),))
    found = session(path, after, work=lambda use: use.find(after, {"title": {"$istarts": "GRÖSSE"}}))
    assert [n["title"] for n in found.records] == ["Größe"]


def test_a_unique_can_be_declared_where_it_holds(path: Place) -> None:
    after = declared("Note", {"title": TITLE, "body": str | None}, unique=(("title",),))
    assert len(notes(path, after)) == 1
    session(path, BEFORE, work=lambda use: use.create(BEFORE, title="Größe"))
    with pytest.raises(StorageRefused, match="Records of type note are not unique by title"):
        session(path, after)
    assert len(notes(path, BEFORE)) == 2


@pytest.mark.parametrize(
    ("annotations", "sentence"),
    [
        ({"title": TITLE}, "a field body of note that is no longer declared"),
        ({"title": int, "body": str | None}, "field title of note is declared differently than it is stored"),
        ({"title": TITLE | None, "body": str | None}, "field title of note is declared differently"),
        ({"title": TITLE, "body": str | None, "rank": int}, "new field rank of note has no default"),
    ],
)
def test_what_needs_a_migration_is_refused_and_nothing_is_changed(
    path: Place, annotations: dict[str, Any], sentence: str
) -> None:
    for _ in range(2):
        with pytest.raises(StorageRefused, match=sentence):
            session(path, declared("Note", annotations), declared("Other", {"x": int}))
    assert len(notes(path, BEFORE)) == 1


def test_a_type_that_is_no_longer_declared_is_refused(path: Place) -> None:
    with pytest.raises(StorageRefused, match="records of type note, which no loaded pack declares"):
        session(path, declared("Other", {"x": int}))


def test_an_empty_table_is_made_anew(empty: Place) -> None:
    path = empty
    session(path, BEFORE)
    after = declared("Note", {"title": int, "rank": int})
    session(path, after, work=lambda use: use.create(after, title=1, rank=2))
    assert [n["rank"] for n in notes(path, after)] == [2]


@pytest.mark.parametrize(
    ("name", "field", "sentence"),
    [("Change", "x", "storage has a table"), ("Note", "pk", "storage has a column"), ("Note", "alive", "a column")],
)
def test_names_that_storage_needs_itself_are_refused(name: str, field: str, sentence: str) -> None:
    with pytest.raises(DeclarationError, match=sentence):
        Tables(registry_of(declared(name, {field: int})))
