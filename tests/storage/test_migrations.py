"""Steps on both databases, with data in place: up, down and up again, broken off, refused, planned, adopted."""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy.engine import Connection

from hub.schema.registry import Registry
from storage.base import StorageRefused
from storage.mariadb.schema import changing
from storage.migrations.drafts import draft
from storage.migrations.drift import compare
from tests.storage.declared import Use
from tests.storage.mariadb_server import MariadbServer
from tests.storage.migrating import (
    Place,
    applied,
    asked,
    catalogue,
    change,
    keeper,
    migrator,
    on_mariadb,
    records,
    rows,
    session,
)
from tests.storage.packs_on_disk import PackOnDisk

FIRST = """
class Shelf(Record, access=RULE):
    name: Title

class Note(Record, parent=Shelf, access=RULE, unique=(("shelf", "title"),)):
    title: Title
    body: str | None = None
    other: Ref[Shelf] | None = None
"""
RANKED = (
    FIRST
    + """
    rank: int = 3
    tags: list[str] = []
    found: Annotated[str, Meta(max_length=60), Field(folded=True)] = "Ähm"
    third: Ref[Shelf] | None = None

class Label(Record, parent=Note, access=RULE, indexes=(("text",),)):
    text: Title
"""
)
RENAMED = RANKED.replace("title: Title\n    body: str | None = None", "headline: Title\n    body: str = ''").replace(
    '("shelf", "title")', '("shelf", "headline"), ("shelf", "rank", "headline")'
)
"""The title got another name, a body is always there, and there is one more unique."""

RENAME_UP = """
op.execute("UPDATE note SET body = '' WHERE body IS NULL")
op.drop_index("note_shelf_id_title_once", table_name="note")
with op.batch_alter_table("note") as batch:
    batch.alter_column("body", existing_type=LONG, nullable=False)
    batch.alter_column("title", new_column_name="headline", existing_type=sa.String(50), existing_nullable=False)
names = ["account_pk", "shelf_id", "headline", "alive"]
op.create_index("note_shelf_id_headline_once", "note", names, unique=True)
names = ["account_pk", "shelf_id", "rank", "headline", "alive"]
op.create_index("note_shelf_id_rank_headline_once", "note", names, unique=True)
"""
RENAME_DOWN = """
op.drop_index("note_shelf_id_rank_headline_once", table_name="note")
op.drop_index("note_shelf_id_headline_once", table_name="note")
with op.batch_alter_table("note") as batch:
    batch.alter_column("headline", new_column_name="title", existing_type=sa.String(50), existing_nullable=False)
    batch.alter_column("body", existing_type=LONG, nullable=True)
names = ["account_pk", "shelf_id", "title", "alive"]
op.create_index("note_shelf_id_title_once", "note", names, unique=True)
"""


@pytest.fixture(params=["sqlite", "mariadb"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return a database without anything."""
    if request.param == "sqlite":
        return tmp_path / "hub.sqlite"
    server: MariadbServer = request.getfixturevalue("mariadb")
    return server.url(server.new_database())


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackOnDisk:
    """Return a pack with its first step."""
    monkeypatch.syspath_prepend(tmp_path / "packs")
    made = PackOnDisk(tmp_path / "packs")
    drafted(made, made.declare(FIRST), "The first tables")
    return made


def drafted(pack: PackOnDisk, registry: Registry, title: str) -> str:
    """Let the next step of a pack be written, and return it as a text."""
    file = draft(registry, pack.name, title)
    assert file is not None
    return file.read_text()


def filled(place: Place, pack: PackOnDisk) -> None:
    """Put a shelf with two notes into a database, one of them deleted, after a change of the other."""

    async def work(use: Use) -> None:
        shelf = await use.create(pack.kind("Shelf"), name="Größe")
        note = await use.create(pack.kind("Note"), shelf["id"], title="It's", body="x\ny", other_id=shelf["id"])
        gone = await use.create(pack.kind("Note"), shelf["id"], title="gone")
        await use.update(pack.kind("Note"), note["id"], title="That's")
        await use.delete(pack.kind("Note"), gone["id"])

    session(place, pack.registry(), work)


def stamp(place: Place) -> set[str]:
    """Return the stamps of a database."""
    return {row[0] for row in rows(place, "SELECT version_num FROM alembic_version")}


def grown(pack: PackOnDisk) -> tuple[str, str, str]:
    """Give the pack its second and third step and return the revisions of all."""
    drafted(pack, pack.declare(RANKED), "Ranks and labels")
    last = pack.step(RENAME_UP, RENAME_DOWN)
    pack.declare(RENAMED)
    return f"{pack.label}_0001", f"{pack.label}_0002", last


def test_up_down_up_with_data(place: Place, pack: PackOnDisk) -> None:
    filled(place, pack)
    shape, kept = catalogue(place), rows(place, "SELECT * FROM note ORDER BY pk")
    first, second, last = grown(pack)
    registry = pack.registry()
    for _ in range(2):
        applied(place, registry)
        assert stamp(place) == {last}
        fresh = records(place, registry, pack, "Note")
        assert [(n["headline"], n["body"], n["rank"], n["tags"], n["found"]) for n in fresh] == [
            ("That's", "x\ny", 3, [], "Ähm")
        ]
        assert rows(place, "SELECT body, found_fold FROM note ORDER BY pk") == [("x\ny", "ähm"), ("", "ähm")]
        assert applied(place, registry, second) == [f"down from {last}: A step."]
        applied(place, registry, first)
        assert catalogue(place) == shape
        # What null became stays: nobody knows any more that it was null.
        columns = "pk, id, account_pk, alive, version, created_at, updated_at, deleted_at, shelf_id, title, other_id"
        assert rows(place, f"SELECT {columns} FROM note ORDER BY pk") == [
            (*row[:8], *row[10:12], row[13]) for row in kept
        ]
    # The hub of before goes on with what is there.
    for file in pack.revisions()[1:]:
        file.unlink()
    old = pack.declare(FIRST)
    assert [n["title"] for n in records(place, old, pack, "Note")] == ["That's"]


def test_a_fresh_database_and_a_migrated_one_are_alike(place: Place, pack: PackOnDisk, tmp_path: Path) -> None:
    filled(place, pack)
    grown(pack)
    session(place, pack.registry())
    shape = catalogue(place)
    if isinstance(place, Path):
        place.unlink()
    else:
        for name in (*shape, "alembic_version"):
            change(place, f"DROP TABLE `{name}`")
    session(place, pack.registry())
    assert list(compare(catalogue(place), shape, shape)) == []
    assert stamp(place) == {f"{pack.label}_0003"}


def test_a_step_that_fails_says_so_and_is_run_again(place: Place, pack: PackOnDisk, tmp_path: Path) -> None:
    filled(place, pack)
    shape = catalogue(place)
    flag = tmp_path / "flag"
    flag.touch()
    revision = pack.step(
        f"""
op.add_column("note", sa.Column("extra", sa.BigInteger(), server_default="7", nullable=False))
if Path({str(flag)!r}).exists():
    raise ValueError("broken off")
op.create_index("note_extra", "note", ["account_pk", "extra"])
"""
    )
    registry = pack.declare(FIRST.replace('"title"),)', '"title"),), indexes=(("extra",),)') + "    extra: int = 7\n")
    for _ in range(2):
        with pytest.raises(StorageRefused) as refusal:
            session(place, registry)
        assert str(refusal.value).startswith(f"The step {revision} failed with ValueError: broken off. ")
        assert ("extra" in catalogue(place)["note"].columns) == isinstance(place, str)
        assert isinstance(place, str) or catalogue(place) == shape
        assert stamp(place) == {f"{pack.label}_0001"}
    flag.unlink()
    assert [note["extra"] for note in records(place, registry, pack, "Note")] == [7]
    assert stamp(place) == {revision}


def test_a_whole_branch_can_be_run_again_on_mariadb(mariadb: MariadbServer, pack: PackOnDisk) -> None:
    place = mariadb.url(mariadb.new_database())
    filled(place, pack)
    first, second, last = grown(pack)
    registry = pack.registry()
    applied(place, registry)
    shape = catalogue(place)
    change(place, f"UPDATE alembic_version SET version_num = '{first}'")
    assert [line.partition(":")[0] for line in applied(place, registry)] == [second, last]
    assert catalogue(place) == shape
    assert [n["headline"] for n in records(place, registry, pack, "Note")] == ["That's"]


def test_a_start_that_is_to_refuse_names_the_command_and_changes_nothing(place: Place, pack: PackOnDisk) -> None:
    session(place, pack.registry(), migrate="refuse")  # an empty database is made in any case
    filled(place, pack)
    shape = catalogue(place)
    drafted(pack, pack.declare(RANKED), "Ranks")
    with pytest.raises(StorageRefused, match="aether migrate apply"):
        session(place, pack.registry(), migrate="refuse")
    assert catalogue(place) == shape
    assert stamp(place) == {f"{pack.label}_0001"}
    applied(place, pack.registry())
    session(place, pack.registry(), migrate="refuse")
    # What a declaration adds without a step is refused as well.
    registry = pack.declare(RANKED + "    colour: str | None = None\n")
    with pytest.raises(StorageRefused, match="aether migrate apply"):
        session(place, registry, migrate="refuse")
    applied(place, registry)
    session(place, registry, migrate="refuse")


def test_a_database_of_an_unknown_stamp_is_refused(place: Place, pack: PackOnDisk) -> None:
    filled(place, pack)
    change(place, f"UPDATE alembic_version SET version_num = '{pack.label}_0007'")
    newer = f"was brought to {pack.label}_0007, and this hub knows {pack.label} up to {pack.label}_0001"
    with pytest.raises(StorageRefused, match=newer):
        session(place, pack.registry())
    with pytest.raises(StorageRefused, match=newer):
        applied(place, pack.registry())
    with pytest.raises(StorageRefused, match=newer):
        asked(migrator(place, pack.registry()).status())
    with pytest.raises(StorageRefused, match=newer):
        asked(migrator(place, pack.registry()).plan())
    change(place, "UPDATE alembic_version SET version_num = 'other_0001'")
    with pytest.raises(StorageRefused, match="the tables of the pack other, which is not loaded"):
        session(place, pack.registry())
    change(place, "UPDATE alembic_version SET version_num = 'nonsense'")
    with pytest.raises(StorageRefused, match="its stamp is nonsense"):
        session(place, pack.registry())


def test_a_plan_says_what_is_done_and_does_nothing(place: Place, pack: PackOnDisk) -> None:
    filled(place, pack)
    assert asked(migrator(place, pack.registry()).plan()) == []
    _, second, last = grown(pack)
    registry = pack.declare(RENAMED + "\nclass More(Record, access=RULE):\n    name: Title\n")
    it = migrator(place, registry)
    shape = catalogue(place)
    (standing,) = asked(it.status())
    assert (standing.stamp, standing.pending) == (f"{pack.label}_0001", (second, last))
    plan = asked(it.plan())
    heads = [line for line in plan if line.startswith("--")]
    assert heads[:2] == [f"-- {second}: Ranks and labels.", f"-- {last}: A step."]
    whole = "\n".join(plan)
    assert "ADD COLUMN" in whole
    assert "CREATE TABLE label" in whole
    assert catalogue(place) == shape
    assert asked(it.status()) == [standing]
    session(place, registry)
    assert asked(it.plan()) == []


def test_a_plan_is_made_beside_a_hub_that_serves(place: Place, pack: PackOnDisk) -> None:
    filled(place, pack)
    registry = pack.declare(FIRST + "    rank: int = 3\n")
    pack.declare(FIRST)

    async def look(use: Use) -> list[str]:
        plan = await migrator(place, registry).plan()
        assert (await use.create(pack.kind("Shelf"), name="next"))["name"] == "next"
        return plan

    plan = session(place, pack.registry(), look)
    assert plan[0] == "-- what declarations add"
    assert "DEFAULT 3" in plan[1]


def test_a_pack_may_begin_its_steps_later(place: Place, pack: PackOnDisk) -> None:
    shutil.rmtree(pack.steps)
    filled(place, pack)
    shape = catalogue(place)
    drafted(pack, pack.declare(FIRST), "What there is")
    assert [n["title"] for n in records(place, pack.registry(), pack, "Note")] == ["That's"]
    assert catalogue(place) == shape
    assert stamp(place) == {f"{pack.label}_0001"}


def test_a_pack_with_steps_comes_to_a_database_that_is_there(
    place: Place, pack: PackOnDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path / "more")
    other = PackOnDisk(tmp_path / "more", "things")
    drafted(other, other.declare("class Thing(Record, access=RULE):\n    name: Title\n"), "Things")
    other.step("raise ValueError('never run where its tables are made as declared')")
    filled(place, pack)
    session(place, pack.registry(other.name))
    assert stamp(place) == {f"{pack.label}_0001", f"{other.label}_0002"}
    with pytest.raises(StorageRefused, match=f"the tables of the pack {other.label}, which is not loaded"):
        session(place, pack.registry())


def test_a_step_that_leaves_a_reference_to_nothing_is_refused(tmp_path: Path, pack: PackOnDisk) -> None:
    place = tmp_path / "hub.sqlite"
    filled(place, pack)
    pack.step('op.execute("DELETE FROM shelf")')
    with pytest.raises(StorageRefused, match="a record of note refers to nothing in shelf; the file is as it was"):
        session(place, pack.registry())
    assert rows(place, "SELECT count(*) FROM shelf") == [(1,)]


def test_applying_waits_for_the_file_and_says_who_has_it(tmp_path: Path, pack: PackOnDisk) -> None:
    place = tmp_path / "hub.sqlite"
    filled(place, pack)
    pack.step("import time; time.sleep(0.3)\nop.execute('UPDATE note SET version = version + 1')")
    registry = pack.registry()
    before = rows(place, "SELECT sum(version) FROM note")[0][0]

    def apply(_: int) -> list[str]:
        return applied(place, registry)

    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(apply, range(2)))
    assert sorted(map(len, said)) == [0, 1]
    assert rows(place, "SELECT sum(version) FROM note")[0][0] == before + 2  # two notes, once each

    async def beside(use: Use) -> None:
        with pytest.raises(StorageRefused, match="already open in process"):
            await migrator(place, registry, lock_seconds=0.1).apply(lambda text: None)

    session(place, registry, beside)


async def test_starts_at_the_same_time_run_a_step_once(mariadb: MariadbServer, pack: PackOnDisk) -> None:
    place = mariadb.url(mariadb.new_database())
    await asyncio.to_thread(filled, place, pack)
    pack.step("op.execute('DO SLEEP(0.5)')\nop.execute('UPDATE note SET version = version + 1')")
    registry = await asyncio.to_thread(pack.registry)
    before = (await asyncio.to_thread(rows, place, "SELECT sum(version) FROM note"))[0][0]
    hubs = [keeper(place, registry) for _ in range(3)]
    await asyncio.gather(*(hub.start() for hub in hubs))
    assert [hub.ready for hub in hubs] == [True] * 3
    assert (await asyncio.to_thread(rows, place, "SELECT sum(version) FROM note"))[0][0] == before + 2
    for hub in hubs:
        await hub.close()


def test_who_waits_too_long_for_the_lock_is_told(mariadb: MariadbServer) -> None:
    place = mariadb.url(mariadb.new_database())

    def wait(connection: Connection) -> None:
        with changing(connection, 0.1):
            raise AssertionError("two hold the lock")

    def hold(connection: Connection) -> None:
        with changing(connection), pytest.raises(StorageRefused, match="changing this database's tables for long"):
            on_mariadb(place, wait)

    on_mariadb(place, hold)
    on_mariadb(place, lambda connection: changing(connection, 0.1).__enter__())


async def test_a_hub_that_loses_the_database_in_a_step_goes_on_when_it_is_back(
    mariadb: MariadbServer, pack: PackOnDisk, tmp_path: Path
) -> None:
    name = mariadb.new_database()
    place = mariadb.url(name)
    await asyncio.to_thread(filled, place, pack)
    flag = tmp_path / "flag"
    flag.touch()
    pack.step(
        f"""
op.add_column("note", sa.Column("extra", sa.BigInteger(), nullable=True))
if Path({str(flag)!r}).exists():
    op.execute("DO SLEEP(50)")
"""
    )
    registry = await asyncio.to_thread(pack.declare, FIRST + "    extra: int | None = None\n")
    hub = keeper(place, registry)
    starting = asyncio.create_task(hub.start())
    asleep = f"SELECT ID FROM information_schema.PROCESSLIST WHERE DB = '{name}' AND INFO LIKE 'DO SLEEP%'"
    while not (found := await asyncio.to_thread(mariadb.run, asleep)):
        await asyncio.sleep(0.02)
    flag.unlink()
    await asyncio.to_thread(mariadb.run, f"KILL {found[0][0]}")
    await starting
    async with asyncio.timeout(10):
        while not hub.ready:
            await asyncio.sleep(0.02)
    assert f"{pack.label}_0002" in await asyncio.to_thread(stamp, place)
    await hub.close()
