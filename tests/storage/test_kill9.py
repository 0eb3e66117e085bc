"""A killed process loses nothing that it acknowledged and leaves nothing half done.

A child writes with keys and is killed with SIGKILL at a random moment, again and again on one file; what
it acknowledged is compared with what is there. AETHER_PROOF multiplies the number of kills.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hub.schema.query import Query
from hub.schema.record import Image
from hub.schema.writes import ChangeRow, Create
from tests.forked import CONTEXT
from tests.proofs.figures import SCALE, report
from tests.storage import kill9_child
from tests.storage.declared import Use, box, item

KILLS = 5 * SCALE


@dataclass
class Ledger:
    """What was acknowledged: the seq of each key; and what was seen broken."""

    acknowledged: dict[int, int] = field(default_factory=dict)
    lost: list[int] = field(default_factory=list)
    settled: int = -1


async def write_until_killed(place: Path | str, ledger: Ledger, seconds: float) -> int:
    """Let a child write, kill it some time after its first acknowledgement; return how many it gave."""
    ours, theirs = CONTEXT.Pipe(duplex=False)
    child = CONTEXT.Process(target=kill9_child.run, args=(str(place), ledger.settled + 1, theirs), daemon=True)
    child.start()
    theirs.close()
    loop, said = asyncio.get_running_loop(), asyncio.StreamReader()
    file = os.fdopen(os.dup(ours.fileno()), "rb", buffering=0)
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(said), file)
    ours.close()
    given = 0
    try:
        async with asyncio.timeout(60):
            while line := await said.readline():
                if not given:
                    loop.call_later(seconds, child.kill)
                if line.endswith(b"\n"):
                    key, seq = map(int, line.split())
                    ledger.acknowledged[key] = seq
                    given += 1
    finally:
        child.kill()
        pipe.close()
        await asyncio.to_thread(child.join)
    assert child.exitcode == -signal.SIGKILL
    assert given, "it was killed before it wrote"
    return given


async def begin(place: Path | str) -> Ledger:
    """Make a fresh database with the record that is counted up."""
    use = await kill9_child.started(place)
    await use.commit(Create(box, kill9_child.COUNTER, box.accept_create({"name": "counter"})))
    await use.storage.close()
    return Ledger()


async def compare(place: Path | str, ledger: Ledger) -> None:
    """Open the database as the next process would, and hold it against the ledger."""
    use = await kill9_child.started(place)
    try:
        log = await use.log()
        assert [s.seq for s in log] == list(range(1, len(log) + 1))
        assert await use.seq() == len(log)
        await each_row_has_its_log(use, [row for s in log for row in s.rows])
        if isinstance(place, Path):
            await asyncio.to_thread(each_record_has_its_words, place)
        # Asked again, an acknowledged key repeats its answer; one that was not is done now, at the latest.
        last = max(ledger.acknowledged) + 3 * kill9_child.IN_FLIGHT
        keys = range(ledger.settled + 1, last + 1)
        answers = await asyncio.gather(*(use.storage.submit(kill9_child.request(use, key)) for key in keys))
        for key, answer in zip(keys, answers, strict=True):
            if key in ledger.acknowledged and (not answer.replayed or answer.seq != ledger.acknowledged[key]):
                ledger.lost.append(key)
        ledger.settled = last
        # Nothing is there twice, and every key had its effect once.
        boxes = Counter(i["name"] for i in (await use.storage.find("main", Query(box))).records)
        expected = [f"box {n}" for n in range(last + 1) if n % 3]
        assert boxes == Counter([*expected, "counter"])
        amounts = Counter(i["amount"] for i in (await use.storage.find("main", Query(item))).records)
        assert amounts == Counter([n for n in range(last + 1) if n % 3]) + Counter({None: len(expected)})
        counter = await use.get(box, kill9_child.COUNTER)
        assert counter is not None
        assert counter["version"] == 1 + len(range(0, last + 1, 3))
    finally:
        await use.storage.close()


async def each_row_has_its_log(use: Use, rows: list[ChangeRow]) -> None:
    """Check that the rows of the tables are exactly what the log leads to."""
    logged: dict[str, Image] = {}
    for row in rows:
        before = logged.get(row.rec)
        assert row.version == (1 if before is None else before["version"] + 1)
        assert row.previous() == before
        logged[row.rec] = row.after
    stored: list[Image] = []
    for kind in (box, item):
        stored += (await use.storage.find("main", Query(kind, deleted=True))).records
    assert {i["id"]: i for i in stored} == logged
    assert len(stored) == len(logged)


def each_record_has_its_words(path: Path) -> None:
    """Check that full text holds exactly the live records that have words."""
    connection = sqlite3.connect(path)
    try:
        for table, texts in (("box", "name || coalesce(note, '')"), ("item", "label || coalesce(about, '')")):
            listed = " OR words <> '[]'" if table == "item" else ""
            wanted = f"SELECT pk FROM {table} WHERE deleted_at IS NULL AND ({texts} <> ''{listed}) ORDER BY pk"
            indexed = f'SELECT rowid FROM "{table}$words" ORDER BY rowid'
            assert connection.execute(indexed).fetchall() == connection.execute(wanted).fetchall()
            connection.execute(f"""INSERT INTO "{table}$words" ("{table}$words") VALUES ('integrity-check')""")
        connection.rollback()
    finally:
        connection.close()


@pytest.mark.timeout(120 * SCALE)
async def test_kill_9_loses_no_acknowledged_commit_and_leaves_no_half(tmp_path: Path) -> None:
    path = tmp_path / "hub.sqlite"
    chance = random.Random(20261121)
    ledger = await begin(path)
    given = 0
    for kill in range(KILLS):
        if kill % 20 == 19:  # a fresh file, so that comparing does not grow with the number of kills
            path = tmp_path / f"hub-{kill}.sqlite"
            ledger = await begin(path)
        given += await write_until_killed(path, ledger, chance.uniform(0.0, 0.3))
        await compare(path, ledger)
        assert ledger.lost == []
    report("sqlite-kill9", f"{KILLS} kills, {given} acknowledged commits, 0 lost, 0 twice, 0 halves")

    def whole() -> list[tuple[str]]:
        connection = sqlite3.connect(path)
        try:
            return connection.execute("PRAGMA integrity_check").fetchall()
        finally:
            connection.close()

    assert await asyncio.to_thread(whole) == [("ok",)]


async def test_the_comparison_notices_what_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "hub.sqlite"
    use = await kill9_child.started(path)
    await use.commit(Create(box, kill9_child.COUNTER, box.accept_create({"name": "counter"})))
    for n in range(6):
        await use.storage.submit(kill9_child.request(use, n))
    await use.storage.close()

    def lose(statement: str) -> None:
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.commit()
        connection.close()

    ledger = Ledger({n: n + 2 for n in range(6)})
    await asyncio.to_thread(lose, "DELETE FROM idempotency WHERE key = '0'")
    with pytest.raises(AssertionError):
        await compare(path, ledger)  # key 0 counts up a second time
    assert ledger.lost == [0]
    await asyncio.to_thread(lose, 'DELETE FROM "box$words" WHERE rowid = 2')
    with pytest.raises(AssertionError):
        each_record_has_its_words(path)
    await asyncio.to_thread(lose, "DELETE FROM item WHERE amount = 1")
    with pytest.raises(AssertionError):
        await compare(path, ledger)
    await asyncio.to_thread(lose, "DELETE FROM change WHERE seq = 4")
    with pytest.raises(AssertionError):
        await compare(path, ledger)
