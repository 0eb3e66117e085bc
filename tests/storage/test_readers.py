"""The reading threads: who is asked, and that everybody is answered."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from storage.sql.connection import open_writer
from storage.sql.readers import Readers


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return an empty file."""
    path = tmp_path / "hub.sqlite"
    open_writer(path, "normal", 1000).close()
    return path


async def opened(path: Path, count: int) -> Readers:
    """Return readers that wait for questions."""
    readers = Readers(path, count, 5.0)
    await asyncio.to_thread(readers.open)
    readers.start(asyncio.get_running_loop())
    return readers


async def test_of_the_idle_ones_who_answered_last_is_asked(path: Path) -> None:
    readers = await opened(path, 3)
    asked = [await readers.ask(id) for _ in range(100)]
    await asyncio.to_thread(readers.close)
    assert len(set(asked[-50:])) == 1  # at first those who start late take their first turn


async def test_all_answer_beside_each_other_and_what_is_beyond_them_waits(path: Path) -> None:
    readers = await opened(path, 3)
    together, go = threading.Barrier(4), threading.Event()

    def held(connection: sqlite3.Connection) -> int:
        together.wait(5)
        assert go.wait(5)
        return id(connection)

    busy = [readers.ask(held) for _ in range(3)]
    await asyncio.to_thread(together.wait, 5)
    later = [readers.ask(lambda connection, n=n: n) for n in range(20)]  # type: ignore[misc]
    assert readers.waiting == 20
    go.set()
    assert len(set(await asyncio.gather(*busy))) == 3
    assert await asyncio.gather(*later) == list(range(20))
    assert readers.waiting == 0
    await asyncio.to_thread(readers.close)


async def test_what_was_asked_before_the_end_is_answered(path: Path) -> None:
    readers = await opened(path, 2)
    asked = [readers.ask(lambda connection, n=n: n) for n in range(200)]  # type: ignore[misc]
    await asyncio.to_thread(readers.close)
    assert await asyncio.gather(*asked) == list(range(200))
