"""The SQLite file: what survives closing, who may open it, what is refused with a sentence, a full disk."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from hub.schema.times import from_millis
from hub.schema.writes import Commit, Committed, KeyClaim
from hub.wire.errors import HubError
from storage.base import StorageRefused
from storage.sql import sqlite as sqlite_module
from storage.sql.sqlite import SqliteStorage
from storage.sql.writer import Call
from tests.storage.declared import Use, box, item, registry, ticking

REPOSITORY = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def opened(path: Path, **options: Any) -> AsyncIterator[Use]:
    """Open a keeper on a file, and close it."""
    use = Use(SqliteStorage(options.pop("registry", registry), path, options.pop("clock", ticking()), **options))
    await use.storage.start()
    try:
        yield use
    finally:
        await use.storage.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a database may be made; its folder is not there yet."""
    return tmp_path / "data" / "hub.sqlite"


def keeper(use: Use) -> SqliteStorage:
    """Return the keeper itself."""
    assert isinstance(use.storage, SqliteStorage)
    return use.storage


async def on_writer(use: Use, run: Callable[[sqlite3.Connection], None]) -> None:
    """Run something on the writing connection, between two groups."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[BaseException | None] = loop.create_future()

    def finish(error: BaseException | None) -> None:
        loop.call_soon_threadsafe(done.set_result, error)

    keeper(use)._writer.put(Call(run, finish))
    assert await done is None


async def facts(use: Use) -> dict[str, int]:
    """Return settings of the writing connection."""
    found = {}

    def read(connection: sqlite3.Connection) -> None:
        for name in ("synchronous", "journal_mode", "busy_timeout"):
            found[name] = connection.execute(f"PRAGMA {name}").fetchone()[0]

    await on_writer(use, read)
    return found


async def limit(use: Use, count: Callable[[int], int]) -> int:
    """Set how many pages the file may have, in the place of a full disk; return how many it has."""
    now = [0]

    def run(connection: sqlite3.Connection) -> None:
        now[0] = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {count(now[0])}").fetchone()

    await on_writer(use, run)
    return now[0]


def refusal_of(path: Path) -> str:
    """Return the sentence that opening is refused with; the lock is free afterwards."""

    async def open_it() -> None:
        async with opened(path):
            pass

    sentences = []
    for _ in range(2):
        with pytest.raises(StorageRefused) as refusal:
            asyncio.run(open_it())
        sentences.append(str(refusal.value))
    assert sentences[0] == sentences[1]
    return sentences[0]


def made(path: Path) -> None:
    """Make a database with one record."""

    async def make() -> None:
        async with opened(path) as use:
            await use.create(box, name="a")

    asyncio.run(make())


async def test_what_was_committed_is_there_after_reopening(path: Path) -> None:
    clock = ticking()
    claim = KeyClaim("user", "k", b"digest")
    async with opened(path, clock=clock) as use:
        a = await use.create(box, name="a")
        b = await use.commit(use.new(box, name="b"), use.new(item, a["id"], label="x", words=["y"]), key=claim)
        log, head = await use.log(), (await use.storage.heads(["main"]))["main"]
    async with opened(path, clock=clock) as use:
        assert await use.log() == log
        assert (await use.storage.heads(["main"]))["main"] == head
        assert await use.get(box, a["id"]) == a
        assert await use.get(item, b.results[1].image["id"]) == b.results[1].image
        again = await use.commit(use.new(box, name="b"), use.new(item, a["id"]), key=claim)
        assert (again.replayed, again.seq, again.results) == (True, 2, b.results)
        with pytest.raises(HubError, match=r"record\.exists"):
            await use.create(box, name="a")
        assert (await use.commit(use.new(box, name="c"))).seq == 3


async def test_a_new_file_has_a_new_epoch_and_keeps_it(tmp_path: Path) -> None:
    epochs = []
    for name in ("one", "two", "one"):
        async with opened(tmp_path / name) as use:
            epochs.append((await use.storage.heads(["main"]))["main"].epoch)
    assert epochs[0] == epochs[2] != epochs[1]


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("normal", 1)])
async def test_the_writer_syncs_as_it_was_told(path: Path, durability: str, synchronous: int) -> None:
    async with opened(path, durability=durability) as use:
        await use.create(box, name="a")
        assert await facts(use) == {"synchronous": synchronous, "journal_mode": "wal", "busy_timeout": 5000}


async def test_full_durability_is_the_default(path: Path) -> None:
    async with opened(path) as use:
        assert (await facts(use))["synchronous"] == 2


async def test_readers_can_neither_write_nor_checkpoint(path: Path) -> None:
    async with opened(path) as use:
        reader = keeper(use)._readers._readers[0].connection
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await asyncio.to_thread(reader.execute, "INSERT INTO meta (name, value) VALUES ('x', 'y')")
        assert await asyncio.to_thread(lambda: reader.execute("PRAGMA wal_autocheckpoint").fetchone()) == (0,)


async def test_a_second_keeper_on_the_same_file_is_refused(path: Path, tmp_path: Path) -> None:
    async with opened(path) as use:
        link = tmp_path / "link"
        link.symlink_to(path)
        for name in (path, link):
            with pytest.raises(StorageRefused, match=f"already open in process {os.getpid()}"):
                await SqliteStorage(registry, name, ticking()).start()
        assert (await use.create(box, name="a"))["version"] == 1
    async with opened(path) as use:
        assert await use.seq() == 1


async def test_a_second_process_is_refused_and_told_which_one_has_it(path: Path) -> None:
    program = textwrap.dedent("""
        import asyncio, sys
        from pathlib import Path
        from storage.base import StorageRefused
        from storage.sql.sqlite import SqliteStorage
        from tests.storage.declared import registry, ticking
        try:
            asyncio.run(SqliteStorage(registry, Path(sys.argv[1]), ticking()).start())
        except StorageRefused as refusal:
            print(refusal)
    """)
    async with opened(path):
        command = [sys.executable, "-c", program, str(path)]
        process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stdout=subprocess.PIPE)
        output, _ = await process.communicate()
    assert f"already open in process {os.getpid()}" in output.decode()
    assert "another folder" in output.decode()


async def test_a_lock_left_by_a_dead_process_is_no_lock(path: Path) -> None:
    path.parent.mkdir()
    path.with_name("hub.sqlite.lock").write_text("1\n", encoding="ascii")
    async with opened(path) as use:
        assert use.storage.ready


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database, but longer than a header of one hundred bytes " * 4)
    assert "is not a SQLite database" in refusal_of(path)
    assert path.read_bytes().startswith(b"not a database")


def test_a_damaged_database_is_refused(path: Path) -> None:
    made(path)
    data = bytearray(path.read_bytes())
    data[100:4096] = b"\xff" * 3996
    path.write_bytes(data)
    assert "is damaged" in refusal_of(path)


def test_a_database_of_another_program_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    assert "database of another program" in refusal_of(path)


@pytest.mark.parametrize("value", ["2", "0", "next"])
def test_an_unknown_format_is_refused(path: Path, value: str) -> None:
    made(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = ? WHERE name = 'format'", (value,))
    connection.close()
    assert f"has format {value}, this hub knows format 1" in refusal_of(path)


def test_a_folder_in_the_place_of_the_file_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    assert "is a folder" in refusal_of(path)


def test_a_file_in_the_place_of_the_folder_is_refused(path: Path) -> None:
    path.parent.write_text("x", encoding="ascii")
    assert "cannot be made" in refusal_of(path)


def test_a_file_without_permission_is_refused() -> None:
    program = textwrap.dedent("""
        import asyncio, os, sys
        import concurrent.futures.thread  # this Python may be out of reach below
        from pathlib import Path
        from storage.base import StorageRefused
        from storage.sql.sqlite import SqliteStorage
        from tests.storage.declared import registry, ticking
        if os.geteuid() == 0:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        for name in sys.argv[1:]:
            try:
                asyncio.run(SqliteStorage(registry, Path(name), ticking()).start())
            except StorageRefused as refusal:
                print(refusal)
    """)
    # A folder of its own: the one that pytest gives is closed to the user that the child becomes.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "hub.sqlite"
        made(path)
        path.chmod(0o444)
        path.with_name("hub.sqlite.lock").chmod(0o666)
        closed = folder / "closed"
        closed.mkdir(mode=0o555)
        folder.chmod(0o777)
        command = [sys.executable, "-c", program, str(path), str(closed / "hub.sqlite")]
        result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True)
    lines = result.stdout.splitlines()
    assert len(lines) == 2, lines
    assert "cannot be opened for writing" in lines[0]
    assert "cannot be written" in lines[1]


async def test_a_full_disk_refuses_writes_serves_reads_and_heals(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(path) as use:
        kept = await use.create(box, name="first")
        pages = await limit(use, lambda count: count + 20)
        outcomes: list[Committed | BaseException] = []
        while not any(isinstance(o, HubError) for o in outcomes):
            commits = [Commit("main", (use.new(box, name=use.id(), note="x" * 500),)) for _ in range(40)]
            outcomes += await asyncio.gather(*map(use.storage.submit, commits), return_exceptions=True)
        refused = [o for o in outcomes if isinstance(o, HubError)]
        assert {(o.code, o.retry_after) for o in refused} == {("storage.full", 5)}
        done = [o for o in outcomes if isinstance(o, Committed)]
        assert await use.get(box, kept["id"]) == kept
        assert [s.seq for s in await use.log()] == list(range(1, len(done) + 2))
        assert use.storage.ready
        await limit(use, lambda count: pages * 100)
        assert (await use.create(box, name="again"))["version"] == 1
        assert await use.seq() == len(done) + 2
        assert (await use.find(box, count=True, limit=1)).total == len(done) + 2
        assert use.told == await use.log()
        await use.storage.probe()
        with pytest.raises(HubError, match=r"storage\.full"):
            await use.storage.probe_writing()
        monkeypatch.setattr(sqlite_module, "FULL_SECONDS", 0.0)
        await use.storage.probe_writing()


async def test_a_full_queue_refuses_at_once(path: Path) -> None:
    async with opened(path, queue=10) as use:
        go = threading.Event()
        keeper(use)._writer.put(Call(lambda connection: print(go.wait(10)), lambda error: None))
        futures = []

        def fill() -> None:
            for n in range(20):
                futures.append(use.storage.submit(Commit("main", (use.new(box, name=f"{n}"),))))

        with pytest.raises(HubError) as refusal:
            fill()
        assert (refusal.value.code, refusal.value.retry_after) == ("server.unavailable", 1)
        with pytest.raises(HubError, match="did not answer in time"):
            await keeper(use).probe_writing(timeout=0.05)
        await use.storage.probe()  # reading goes on meanwhile
        go.set()
        outcomes = await asyncio.gather(*futures)
        assert [o.seq for o in outcomes] == list(range(1, len(futures) + 1))
        assert 9 <= len(futures) <= 10
        await use.storage.probe_writing()


async def test_a_read_that_takes_too_long_is_broken_off(path: Path) -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    async with opened(path, read_seconds=0.1, readers=1) as use:
        with pytest.raises(HubError) as refusal:
            await keeper(use)._ask(lambda connection: connection.execute(endless).fetchone())
        assert refusal.value.code == "server.unavailable"
        assert "too long" in refusal.value.message
        assert (await use.find(box)).records == []


async def test_keys_are_kept_for_a_day_and_then_forgotten(path: Path) -> None:
    now = [1_800_000_000_000]
    async with opened(path, clock=lambda: from_millis(now[0])) as use:
        made = await use.create(box, name="a")
        claims = [KeyClaim("user", f"{n}", b"one") for n in range(300)]
        write = use.new(box, name="b")
        first = await use.commit(write, key=claims[0])
        now[0] += 24 * 3_600_000 - 1
        assert (await use.commit(write, key=claims[0])).replayed
        assert await use.storage.repeated("main", claims[0]) is not None
        now[0] += 1
        assert await use.storage.repeated("main", claims[0]) is None
        with pytest.raises(HubError, match=r"record\.exists"):
            await use.commit(write, key=claims[0])
        await use.delete(box, first.results[0].image["id"])
        again = await use.commit(use.new(box, name="b"), key=KeyClaim("user", "0", b"another"))
        assert (again.replayed, again.seq) == (False, 4)
        now[0] += 24 * 3_600_000
        for claim in claims:
            await use.update(box, made["id"], note=claim.key)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM idempotency").fetchone() == (0,)
    connection.close()


async def test_an_answer_that_nobody_received_is_there_after_reopening(path: Path) -> None:
    claims = {once: KeyClaim("user", f"{once}", b"one") for once in (False, True)}
    async with opened(path) as use:
        for once, claim in claims.items():
            write = Commit("main", (use.new(box, name=f"{once}"),), key=claim, answer=str, shown_once=once)
            use.storage.submit(write).cancel()
    async with opened(path) as use:
        for seq, (once, claim) in enumerate(claims.items(), 1):
            found = await use.storage.repeated("main", claim)
            assert found is not None
            assert (found.seq, found.replayed, found.answer is UNSET) == (seq, True, once)


async def test_the_file_is_whole_and_its_references_hold(path: Path) -> None:
    async with opened(path) as use:
        parents = [await use.create(box, name=f"{n}") for n in range(3)]
        for n in range(30):
            made = await use.create(item, parents[n % 3]["id"], other_id=parents[n % 2]["id"])
            if n % 5 == 0:
                await use.delete(item, made["id"])
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
    assert sorted(p.name for p in path.parent.iterdir()) == ["hub.sqlite", "hub.sqlite.lock"]
