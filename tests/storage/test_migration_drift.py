"""The steps make what is declared, on both databases; drafts of steps; databases of before there were steps."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Connection

from hub.app import CORE
from hub.schema.registry import Registry
from storage.base import StorageRefused
from storage.mariadb.schema import make_all
from storage.migrations.branches import Branch, branches_of, judge, owned
from storage.migrations.catalogue import Catalogue, of_mariadb, of_sqlite
from storage.migrations.drafts import draft
from storage.migrations.drift import Difference, compare, drift
from storage.migrations.runner import Runner
from storage.sql.ddl import create
from storage.sql.tables import Tables
from tests.storage.declared import Use
from tests.storage.mariadb_server import MariadbServer
from tests.storage.migrating import Place, applied, asked, catalogue, migrator, on_mariadb, rows, session
from tests.storage.packs_on_disk import PackOnDisk

REPOSITORY = Path(__file__).resolve().parents[2]
OLD = Path(__file__).with_name("data") / "made-by-26d47a9.sql"
SHIPPED = (*CORE, "packs.events")

THING = """
class Thing(Record, access=RULE, unique=(("name",),)):
    name: Title
    size: int | None = None
"""


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackOnDisk:
    """Return a pack with its first step."""
    monkeypatch.syspath_prepend(tmp_path)
    made = PackOnDisk(tmp_path, "things")
    assert draft(made.declare(THING), made.name, "Things") is not None
    return made


def drift_on_mariadb(server: MariadbServer, registry: Registry) -> list[Difference]:
    """Return where steps and declarations differ on MariaDB."""
    branches, tables = branches_of(registry), Tables(registry)

    def run(connection: Connection) -> None:
        for branch in branches:
            Runner(branches).up(connection, branch.head)

    places = [server.url(server.new_database()) for _ in range(2)]
    on_mariadb(places[0], run)
    on_mariadb(places[1], lambda connection: make_all(connection, tables))
    made, wanted = (on_mariadb(place, of_mariadb) for place in places)
    return list(compare(made, wanted, owned(registry, tables.own, branches)))


def test_the_shipped_steps_make_what_is_declared(mariadb: MariadbServer) -> None:
    registry = Registry.of(SHIPPED)
    assert {branch.label for branch in branches_of(registry)} == {"core", "events"}
    assert drift(registry) == []
    assert drift_on_mariadb(mariadb, registry) == []


@pytest.mark.parametrize(
    ("declared", "differs"),
    [
        (THING + "    more: str = ''\n", "column more of thing is declared"),
        (THING.replace("    size: int | None = None\n", ""), "column size of thing is made by a step"),
        (THING.replace("size: int", "size: float"), "column size of thing is "),
        (THING.replace("int | None = None", "int = 0"), "column size of thing is "),
        (THING.replace("name: Title", "name: Annotated[str, Meta(max_length=60)]"), "column name of thing is "),
        (THING.replace('unique=(("name",),)', 'indexes=(("name",),)'), "index thing_name "),
        (THING.replace('unique=(("name",),)', 'unique=(("name", "size"),)'), "index thing_name_size_once "),
        (THING + "class More(Record, access=RULE):\n    name: Title\n", "more is declared"),
        (THING.replace("class Thing", "class Other"), "thing is made by a step"),
    ],
)
def test_what_is_declared_without_a_step_turns_the_check_red(
    pack: PackOnDisk, mariadb: MariadbServer, declared: str, differs: str
) -> None:
    assert drift(pack.registry()) == []
    registry = pack.declare(declared)
    for found in (drift(registry), drift_on_mariadb(mariadb, registry)):
        assert any(str(difference).startswith(differs) for difference in found), found


def test_the_check_ends_with_1_where_there_is_drift(pack: PackOnDisk) -> None:
    def checked() -> tuple[int, str]:
        command = [sys.executable, "scripts/drift.py", pack.name]
        environment = {"PYTHONPATH": str(pack.folder.parent), "PATH": ""}
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    assert checked() == (0, "")
    pack.declare(THING + "    more: str | None = None\n")
    code, said = checked()
    assert code == 1
    assert "column more of thing is declared (TEXT), and no step makes it" in said


ADDED = """
class Thing(Record, access=RULE, unique=(("name", "kind"),), indexes=(("size",), ("about",))):
    name: Annotated[str, Meta(max_length=50), Field(folded=True)]
    size: int | None = None
    kind: Annotated[str, Meta(max_length=20)] = "it's"
    about: Annotated[str, Field(folded=True)] = "%s 100 %"
    weight: float = 1.5
    yes: bool = True
    at: datetime | None = None
    tags: list[str] = []
    other: Ref[Other] | None = None

class Part(Record, parent=Thing, access=RULE):
    other: Ref[Other]
"""


def test_a_draft_adds_all_that_can_be_added(pack: PackOnDisk, mariadb: MariadbServer) -> None:
    registry = pack.declare(
        ADDED.replace("class Thing", "class Other(Record, access=RULE):\n    name: Title\n\nclass Thing", 1)
    )
    assert drift(registry) != []
    file = draft(registry, pack.name, "All that can be added!")
    assert file is not None
    assert file.name == f"{pack.label}_0002_all_that_can_be_added.py"
    assert drift(registry) == []
    assert drift_on_mariadb(mariadb, registry) == []
    assert draft(registry, pack.name, "Nothing") is None
    assert max(map(len, file.read_text().splitlines())) <= 120


@pytest.mark.parametrize(
    ("declared", "because"),
    [
        (THING.replace("    size: int | None = None\n", ""), "column size of thing is made by a step"),
        (THING.replace("int | None = None", "int = 0"), "column size of thing is BIGINT by the steps"),
        (THING + "    must: int\n", "column must of thing is declared"),
        (THING.replace("Thing", "Other"), "thing is made by a step"),
    ],
)
def test_a_draft_leaves_to_its_author_what_may_lose_values(pack: PackOnDisk, declared: str, because: str) -> None:
    with pytest.raises(
        StorageRefused, match=f"written by hand, because a value may be lost or changed by it: {because}"
    ):
        draft(pack.declare(declared), pack.name, "Not so")
    assert len(pack.revisions()) == 1


@pytest.mark.parametrize("package", SHIPPED)
def test_nothing_is_drafted_where_the_steps_make_what_is_declared(package: str) -> None:
    if package in {branch.package for branch in branches_of(Registry.of(SHIPPED))}:
        assert draft(Registry.of(SHIPPED), package, "Nothing") is None


def test_a_draft_is_for_a_pack_that_is_loaded_and_has_a_folder(pack: PackOnDisk) -> None:
    with pytest.raises(StorageRefused, match=r"packs\.nothing is no package among the packs that are loaded"):
        draft(pack.registry(), "packs.nothing", "x")
    with pytest.raises(StorageRefused, match=r"handlers\.operator is no package"):
        draft(Registry.of(SHIPPED), "handlers.operator", "x")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["{0}_0001_a", "{0}_0003_b"], "have number 0003 where 0002 is due"),
        (["{0}_0001_a", "{0}_0002_b", "{0}_0002_c"], "have number 0002 where 0003 is due"),
        (["{0}_0001_a", "other_0002_b"], "begin with other and {0}; one name is enough"),
        (["{0}_0001_a", "notes"], "notes.py among the steps of {0} is not named like core_0001_words.py"),
        (["core_0001_a"], "are both named core_"),
    ],
)
def test_steps_out_of_order_are_refused(pack: PackOnDisk, names: list[str], sentence: str) -> None:
    for file in pack.revisions():
        file.unlink()
    for name in names:
        (pack.steps / f"{name.format(pack.name)}.py").touch()
    with pytest.raises(StorageRefused, match=re.escape(sentence.format(pack.name))):
        branches_of(pack.registry(*CORE))


def test_a_step_that_says_another_place_than_its_name_is_refused(pack: PackOnDisk) -> None:
    pack.step("pass")
    file = pack.revisions()[-1]
    file.write_text(file.read_text().replace(f"down_revision = '{pack.label}_0001'", "down_revision = None"))
    with pytest.raises(StorageRefused, match=f"does not say revision = '{pack.label}_0002' and down_revision"):
        Runner(branches_of(pack.registry())).titles()


def test_judging_asks_for_tables_only_where_there_is_no_stamp() -> None:
    a, b, c = (Branch(label, label, Path(), (f"{label}_0001", f"{label}_0002")) for label in "abc")
    asked = []

    def there(branch: Branch) -> bool:
        asked.append(branch.label)
        return branch is b

    found = judge((a, b, c), frozenset({"a_0001"}), there)
    assert (found.adopted, found.begun, found.pending) == ((b,), (c,), ("a_0002", "b_0002"))
    assert asked == ["b", "c"]
    assert judge((a,), frozenset({"a_0002"}), there).settled


def _data(place: Place, shape: Catalogue) -> dict[str, list[tuple[Any, ...]]]:
    """Return what is in the tables and columns of a catalogue, but the facts about the database."""
    mark = "`" if isinstance(place, str) else '"'
    found = {}
    for table in shape.keys() - {"meta"}:
        columns = ", ".join(f"{mark}{name}{mark}" for name in sorted(shape[table].columns))
        found[table] = sorted(rows(place, f"SELECT {columns} FROM {mark}{table}{mark}"), key=str)
    return found


def test_a_database_of_before_there_were_steps_is_adopted_without_loss(tmp_path: Path) -> None:
    place = tmp_path / "hub.db"
    with sqlite3.connect(place) as connection:
        connection.executescript(OLD.read_text("utf-8"))
    connection.close()
    shape = catalogue(place)
    before = _data(place, shape)
    registry = Registry.of(SHIPPED)

    async def read(use: Use) -> tuple[list[str], int]:
        (event,) = (await use.find(registry.types["event"], account=account)).records
        (talk,) = (await use.find(registry.types["event_session"], account=account)).records
        found = await use.find(registry.types["event_location"], account=account, deleted=True)
        changes = await use.storage.changes(account, 0, 1000)
        return [event["title"], talk["title"], *sorted(place["name"] for place in found.records)], len(changes)

    with sqlite3.connect(place) as connection:
        (account,) = connection.execute("SELECT id FROM account").fetchone()
    connection.close()
    assert session(place, registry, read) == (["Größe Ω", "It's off", "Saal 1", "Saal 2"], 12)
    assert _data(place, shape) == before
    assert {row[0] for row in rows(place, "SELECT version_num FROM alembic_version")} == {
        branch.head for branch in branches_of(registry)
    }
    stored = catalogue(place)
    fresh = sqlite3.connect(":memory:")
    create(fresh, Tables(registry))
    assert list(compare(stored, of_sqlite(fresh), stored)) == []
    fresh.close()


def test_a_database_of_before_there_were_steps_that_grew_is_adopted(tmp_path: Path, pack: PackOnDisk) -> None:
    """A developer's pack without steps beside the core; it goes on growing."""
    place = tmp_path / "hub.db"
    with sqlite3.connect(place) as connection:
        connection.executescript(OLD.read_text("utf-8"))
    connection.close()
    for file in pack.revisions():
        file.unlink()

    async def make_one(use: Use) -> None:
        await use.create(pack.kind("Thing"), name="x")

    session(place, pack.registry(*SHIPPED), make_one)
    session(place, registry := pack.declare(THING + "    more: int = 4\n").of((*SHIPPED, pack.name)))
    found = session(place, registry, lambda use: use.find(pack.kind("Thing"))).records
    assert [thing["more"] for thing in found] == [4]


@pytest.mark.parametrize("database", ["sqlite", "mariadb"])
def test_every_shipped_step_goes_up_down_and_up_with_data(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    registry = Registry.of(SHIPPED)
    branches = branches_of(registry)
    place = _of_the_first_version(tmp_path, request if database == "mariadb" else None)
    tables = [table for table in catalogue(place) if table != "meta"]
    shape = {table: catalogue(place)[table] for table in tables}

    before = _data(place, shape)
    assert sum(map(len, before.values())) > 30
    for _ in range(2):
        applied(place, registry)
        assert {row[0] for row in rows(place, "SELECT version_num FROM alembic_version")} == {b.head for b in branches}
        assert asked(migrator(place, registry).plan()) == []
        assert _data(place, shape) == before
        for branch in reversed(branches):  # packs refer to the core
            for revision in reversed(branch.revisions[:-1]):
                applied(place, registry, revision)
        assert {table: catalogue(place)[table] for table in tables} == shape
        assert _data(place, shape) == before


def _of_the_first_version(folder: Path, request: pytest.FixtureRequest | None) -> Place:
    """Return a database as the first steps make it, with what a hub of that time had in it."""
    lines = OLD.read_text("utf-8")
    if request is None:
        with sqlite3.connect(folder / "hub.db") as connection:
            connection.executescript(lines)
        connection.close()
        return folder / "hub.db"
    server: MariadbServer = request.getfixturevalue("mariadb")
    name = server.new_database()
    branches = branches_of(Registry.of(SHIPPED))

    def run(connection: Connection) -> None:
        for branch in branches:
            Runner(branches).up(connection, branch.revisions[0])
        connection.exec_driver_sql("DROP TABLE alembic_version")

    on_mariadb(server.url(name), run)
    inserts = re.findall(r'^INSERT INTO (?!"idempotency").*?\);$', lines, flags=re.DOTALL | re.MULTILINE)
    server.run("SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'", *inserts, database=name)
    return server.url(name)
