"""What the SQLite keeper answers when the disk is full or the database fails in the middle of something."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hub import logs
from hub.schema.writes import Commit, Create, KeyClaim
from hub.wire.errors import HubError
from storage.sql.sqlite import SqliteStorage
from tests.storage import full_disk_child
from tests.storage.declared import Use, box, item, registry, ticking

REPOSITORY = Path(__file__).resolve().parents[2]


class Faulty:
    """A connection that fails some times, at a statement that begins with a given text."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._begins = ""
        self._left = 0
        self._error = sqlite3.Error()

    def fail(self, begins: str, code: int, text: str, times: int = 1) -> None:
        """Fail at the next statements that begin so."""
        self._begins = begins
        self._left = times
        self._error = sqlite3.OperationalError(text)
        self._error.sqlite_errorcode = code

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        """Run a statement, or fail."""
        if self._left and sql.startswith(self._begins):
            self._left -= 1
            raise self._error
        return self._connection.execute(sql, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.fixture
async def use(tmp_path: Path) -> AsyncIterator[Use]:
    """Return a keeper on SQLite."""
    use = Use(SqliteStorage(registry, tmp_path / "hub.sqlite", ticking()))
    await use.storage.start()
    yield use
    await use.storage.close()


@pytest.fixture
def faulty(use: Use) -> Faulty:
    """Return the faulty connection that the keeper writes with."""
    assert isinstance(use.storage, SqliteStorage)
    writer: Any = use.storage._writer
    connection = Faulty(writer._connection)
    writer._connection = connection
    return connection


def submit(use: Use, *names: str) -> list[Any]:
    """Queue creations of boxes, as one group."""
    return [use.storage.submit(Commit("main", (use.new(box, name=name),))) for name in names]


async def codes(futures: list[Any]) -> list[Any]:
    """Return the seq or the code of the refusal of each."""
    found: list[Any] = []
    for future in futures:
        try:
            found.append((await future).seq)
        except HubError as refusal:
            found.append(refusal.code)
    return found


def test_a_disk_that_is_really_full_refuses_writes_serves_reads_and_heals(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-m", "-r"]
    command = [*unshare, sys.executable, str(Path(full_disk_child.__file__)), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["acknowledged"] > 100
    count = found.pop("acknowledged")
    assert found == {
        "codes": ["storage.full"],
        "ready": True,
        "probe": "ok",
        "probe of writing": "storage.full",
        "read": count,
        "healed": "ok",
        "probe after": "ok",
        "log": count + 1,
        "continuous": True,
    }


async def test_an_unknown_outcome_is_said_so_and_the_key_settles_it(use: Use, faulty: Faulty) -> None:
    key = KeyClaim("user", "k", b"digest")
    faulty.fail("COMMIT", sqlite3.SQLITE_IOERR | 4 << 8, "disk I/O error")
    with pytest.raises(HubError) as refusal:
        await use.commit(use.new(box, name="a"), key=key)
    assert (refusal.value.code, refusal.value.retry_after) == ("write.unknown", 1)
    assert not use.storage.ready
    assert use.told == []
    again = await use.commit(use.new(box, name="a"), key=key)
    assert (again.seq, again.replayed) == (1, False)
    assert use.storage.ready


async def test_a_group_that_fails_is_tried_one_by_one(use: Use, faulty: Faulty) -> None:
    await use.create(box, name="warm")
    faulty.fail("INSERT OR ROLLBACK INTO change", sqlite3.SQLITE_FULL, "database or disk is full")
    assert await codes(submit(use, "a", "b", "c")) == [2, 3, 4]
    faulty.fail("COMMIT", sqlite3.SQLITE_FULL, "database or disk is full")
    assert await codes(submit(use, "d", "e")) == [5, 6]
    assert [s.seq for s in use.told] == [1, 2, 3, 4, 5, 6]
    assert use.told == await use.log()


@pytest.mark.parametrize(
    ("code", "answer", "ready"),
    [
        (sqlite3.SQLITE_FULL, "storage.full", True),
        (sqlite3.SQLITE_BUSY, "server.unavailable", False),
        (sqlite3.SQLITE_IOERR, "server.unavailable", False),
        (sqlite3.SQLITE_READONLY, "server.unavailable", False),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, "record.exists", True),
        (sqlite3.SQLITE_CONSTRAINT_NOTNULL, "server.error", True),
        (sqlite3.SQLITE_CORRUPT, "server.error", False),
    ],
)
async def test_an_error_of_the_database_has_its_code_and_the_next_write_works(
    use: Use, faulty: Faulty, code: int, answer: str, ready: bool
) -> None:
    await use.create(box, name="a")
    faulty.fail("INSERT OR ROLLBACK INTO box", code, "as the test wants", times=2)
    assert await codes(submit(use, "b")) == [answer]
    assert use.storage.ready == ready
    assert await codes(submit(use, "b")) == [2]
    assert use.storage.ready


async def test_what_passes_by_itself_is_not_even_noticed(use: Use, faulty: Faulty) -> None:
    inserts = ("INSERT OR ROLLBACK INTO box", "INSERT OR ROLLBACK INTO change")
    for n, begins in enumerate(("BEGIN", *inserts, "UPDATE account_state")):
        faulty.fail(begins, sqlite3.SQLITE_BUSY, "database is locked")
        assert await codes(submit(use, f"{n}")) == [n + 1]
        assert use.storage.ready


async def test_a_probe_says_that_writing_fails_and_heals_what_it_finds_well(use: Use, faulty: Faulty) -> None:
    faulty.fail("BEGIN", sqlite3.SQLITE_IOERR, "disk I/O error", times=2)
    assert await codes(submit(use, "a")) == ["server.unavailable"]
    assert not use.storage.ready
    faulty.fail("UPDATE meta", sqlite3.SQLITE_FULL, "database or disk is full")
    with pytest.raises(HubError, match=r"storage\.full"):
        await use.storage.probe_writing()
    await use.storage.probe()
    assert not use.storage.ready, "a read says nothing of writing"
    await use.storage.probe_writing()
    assert use.storage.ready


async def test_what_no_one_foresaw_is_logged_once_with_its_ids_and_told_as_an_error(use: Use) -> None:
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logs.JsonFormatter())
    logging.getLogger().addHandler(handler)
    try:
        parent = (await use.create(box, name="a"))["id"]
        broken = Create(item, use.id(), item.accept_create({}) | {"label": "\ud800"}, parent)
        failing = use.storage.submit(Commit("main", (broken,), session="S", request="7"))
        assert await codes([*submit(use, "b"), failing, *submit(use, "c")]) == [2, "server.error", 3]
    finally:
        logging.getLogger().removeHandler(handler)
    (line,) = [json.loads(line) for line in text.getvalue().splitlines()]
    assert (line["request"], line["session"], line["level"]) == (7, "S", "error")
    assert line["message"].startswith("a commit of account main failed: UnicodeEncodeError: ")
    told = failing.exception()
    assert told is not None
    assert isinstance(told.__cause__, UnicodeEncodeError), "for the incident of whoever asked"


async def test_a_listener_that_fails_does_not_keep_answers_back(use: Use) -> None:
    def fail(commits: object) -> None:
        raise ValueError("a listener's fault")

    use.storage.listen(fail)
    seen = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))
    assert await codes(submit(use, "a", "b")) == [1, 2]
    assert {str(error) for error in seen} == {"a listener's fault"}, "once a group: the two may be in two"


async def test_the_lock_of_another_writer_is_waited_for(use: Use) -> None:
    assert isinstance(use.storage, SqliteStorage)
    other = sqlite3.connect(use.storage.path, isolation_level=None, check_same_thread=False)
    await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
    futures = submit(use, "a", "b")
    done, waiting = await asyncio.wait(futures, timeout=0.2)
    assert (done, len(waiting)) == (set(), 2)
    assert (await use.find(box)).records == []
    await asyncio.to_thread(other.close)
    assert await codes(futures) == [1, 2]
