"""kill -9 at any moment: nothing acknowledged is lost, nothing is done twice, nothing is half done.

Clients write with keys over real sockets; the hub is killed and started again on the same data, over and
over. Then the database file is read without the hub, and compared with everything that clients were told.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from signal import SIGKILL
from typing import Any, Final

import pytest

from hub.access import RightsTable
from hub.schema.record import Image, type_of
from hub.schema.registry import Registry
from packs.events.records import Event
from storage.memory import MemoryDatabase
from tests.proofs.figures import SCALE, report
from tests.proofs.ledger import KIND, Ledger, audit, copied
from tests.proofs.writers import Watcher, Writer
from tests.simulation.client import Socket, Wanted
from tests.simulation.history import History, Spec, difference
from tests.wire.hubprocess import HubProcess
from tests.wire.talk import connected

KILLS: Final = 50
"""How many kills one round has; a round begins with no data."""
ROUNDS: Final = SCALE
LANES: Final = 2
"""How many hubs are killed side by side."""
WRITERS: Final = 3
EARLIEST, LATEST = 0.05, 0.5
"""When a hub is killed, in seconds after its clients are writing."""
RIGHTS: Final = RightsTable(Registry.of(["hub.schema.core", "packs.events"]))
LOOK: Final = 5
"""Every so many kills, the file is looked at as the killed hub left it."""


class _Unchecked(Socket):
    """A socket that is compared at the end, with a fresh find."""

    def __init__(self) -> None:
        super().__init__(History(MemoryDatabase(), ""), lambda: False, True)

    def _true(self, wanted: Wanted) -> None:
        """The test compares."""


@dataclass
class Lane:
    """One hub, killed over and over, and its clients."""

    folder: Path
    rng: Random
    name: str
    ledger: Ledger = field(default_factory=Ledger)
    writers: list[Writer] = field(default_factory=list)
    watcher: Watcher | None = None
    start_seconds: list[float] = field(default_factory=list)
    process: HubProcess | None = None

    @property
    def database(self) -> Path:
        """The file that the hub keeps its records in."""
        return self.folder / "data" / "hub.db"

    async def start(self) -> HubProcess:
        """Start the hub: the first time as an operator does, then without reading Python's modules again."""
        begun = time.monotonic()
        first = self.process is None
        process = await asyncio.to_thread(HubProcess, self.folder / "data", fresh=first)
        self.start_seconds.append(time.monotonic() - begun)
        return process

    async def prepare(self, process: HubProcess) -> None:
        """Make a key and the clients."""
        async with connected("ws://localhost/ws", unix=process.unix) as operator:
            self.ledger.account = (await operator.greet())["account"]
            args = {"role": "editor", "name": "proof"}
            token = (await operator.ok("action.call", action="api_key.issue", args=args))["key"]
        self.writers = [
            Writer(f"{self.name}{n}", Random(self.rng.random()), self.ledger, token) for n in range(WRITERS)
        ]
        spec = Spec.of({"type": KIND}, type_of(Event), RIGHTS.of("editor"))
        self.watcher = Watcher(token, Wanted(spec), _Unchecked())

    def end(self) -> None:
        """End the hub where a failure left it running."""
        if self.process is not None:
            self.process.signal(SIGKILL)
            self.process.wait()

    async def _all_write(self) -> None:
        for writer in self.writers:
            await writer.begun.wait()

    async def run(self, kills: int) -> list[str]:
        """Kill the hub so many times under load, then let everything come to its end; return what is wrong."""
        wrong: list[str] = []
        process = self.process = await self.start()
        await self.prepare(process)
        assert self.watcher is not None
        for kill in range(kills):
            url = process.socket_url
            tasks = [asyncio.create_task(w.run(url)) for w in self.writers]
            tasks.append(asyncio.create_task(self.watcher.run(url)))
            begun = asyncio.create_task(self._all_write())
            await asyncio.wait([begun, *tasks], timeout=30, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(self.rng.uniform(EARLIEST, LATEST))
            process.signal(SIGKILL)
            process.wait()
            await asyncio.gather(*tasks)
            assert begun.done(), "the clients did not come to write within 30 s"
            if kill % LOOK == 0:
                found = await asyncio.to_thread(audit, copied(self.database, self.folder / "copy"), self.ledger)
                wrong += [f"after kill {kill}: {text}" for text in found]
            process = self.process = await self.start()
        await asyncio.gather(*(writer.run(process.socket_url, finish=True) for writer in self.writers))
        head = max(entry.answer["seq"] for entry in self.ledger.entries if entry.answer is not None)
        await self.watcher.run(process.socket_url, lambda: self._arrived(head))
        wrong += await self._as_found(process)
        await asyncio.to_thread(process.stop)
        wrong += [f"{e.title!r} was never answered" for e in self.ledger.entries if e.answer is None]
        return wrong + await asyncio.to_thread(audit, self.database, self.ledger)

    def _arrived(self, head: int) -> bool:
        return self.watcher is not None and self.watcher.wanted.whole and self.watcher.wanted.seq >= head

    async def _as_found(self, process: HubProcess) -> list[str]:
        """Compare what the watcher holds with a fresh find, page by page; the commits it saw have no hole."""
        assert self.watcher is not None
        found: dict[str, Image] = {}
        async with connected(process.socket_url) as client:
            await client.greet(self.watcher.token)
            after: dict[str, Any] = {}
            while True:
                page = await client.ok("record.find", type=KIND, limit=1000, **after)
                found |= {record["id"]: record for record in page["records"]}
                if "next" not in page:
                    break
                after = {"after": page["next"]}
        differs = difference(self.watcher.wanted.records, found)
        wrong = [f"the watcher differs: {differs}"] if differs is not None else []
        holes = [n for n, following in itertools.pairwise(self.watcher.seqs) if following != n + 1]
        return wrong + [f"the watcher was told nothing of commit {n + 1}" for n in holes]


async def _round(folder: Path, number: int) -> list[Lane]:
    """Run one round; return its lanes. Raises where something is wrong."""
    lanes = []
    for n in range(LANES):
        (folder / str(n)).mkdir(parents=True)
        lanes.append(Lane(folder / str(n), Random(f"kill {number} {n}"), "ab"[n]))
    try:
        # One lane's failure lets the others come to their end, so that no hub is left running.
        found = await asyncio.gather(*(lane.run(KILLS // LANES) for lane in lanes), return_exceptions=True)
    finally:
        for lane in lanes:
            lane.end()
    for result in found:
        if isinstance(result, BaseException):
            raise result
        assert result[:20] == []
    return lanes


@pytest.mark.timeout(120 + 300 * ROUNDS)
def test_a_killed_hub_keeps_every_acknowledged_write_once(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        lanes = asyncio.run(_round(tmp_path / str(number), number))
        watchers = [lane.watcher for lane in lanes if lane.watcher is not None]
        repeated = sum(writer.repeated for lane in lanes for writer in lane.writers)
        replayed = sum(writer.replayed for lane in lanes for writer in lane.writers)
        resumed = sum(watcher.resumed for watcher in watchers)
        starts = sorted(seconds for lane in lanes for seconds in lane.start_seconds)
        report(
            "kill9_socket",
            f"{KILLS} kills, {sum(len(lane.ledger.acknowledged) for lane in lanes)} acknowledged writes, "
            f"{repeated} repeated, of which {replayed} had been done; 0 lost, 0 twice; "
            f"watchers resumed {resumed} times, began anew {sum(w.snapshots for w in watchers)} times; "
            f"start-up {starts[len(starts) // 2]:.2f} s in the middle, {starts[-1]:.2f} s at most",
        )
        assert repeated >= KILLS / 2
        assert replayed > 0, "no kill fell between a commit and its answer; nothing was proved about keys"
        assert resumed >= KILLS / 2
        shutil.rmtree(tmp_path / str(number))


# -- the same check goes red where something is wrong --------------------------------------------------


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Lane:
    """A hub that was killed once, and of which nothing is wrong."""
    lane = Lane(tmp_path_factory.mktemp("honest"), Random("control"), "control")
    try:
        assert asyncio.run(lane.run(1)) == []
    finally:
        lane.end()
    assert len(lane.ledger.entries) > 20
    return lane


def _last(connection: sqlite3.Connection, what: str, kind: str) -> Any:
    query = f"SELECT {what} FROM change WHERE type = 'event' AND kind = ? ORDER BY seq DESC"
    return connection.execute(query, (kind,)).fetchone()[0]


def _lose_a_change(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM change WHERE seq = ? AND kind = 'update'", (_last(connection, "seq", "update"),))


def _lose_a_row(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM event WHERE id = ?", (_last(connection, "rec", "create"),))


def _lose_the_last_write(connection: sqlite3.Connection) -> None:
    """As if the end of the file had not been synced: row, change and counter agree with each other."""
    (account, seq, rec) = connection.execute(
        "SELECT account_pk, seq, rec FROM change WHERE type = 'event' ORDER BY seq DESC"
    ).fetchone()
    connection.execute("DELETE FROM change WHERE rec = ?", (rec,))
    connection.execute("DELETE FROM event WHERE id = ?", (rec,))
    connection.execute("UPDATE account_state SET seq = ? WHERE account_pk = ?", (seq - 1, account))


def _write_half(connection: sqlite3.Connection) -> None:
    """A row that has what no change says."""
    connection.execute("UPDATE event SET title = title || '!' WHERE id = ?", (_last(connection, "rec", "update"),))


def _create_twice(connection: sqlite3.Connection) -> None:
    """A second record with the same title, whole in every other way, as if its key had been forgotten."""
    rec = _last(connection, "rec", "create")
    head = connection.execute("SELECT max(seq) FROM change WHERE type = 'event'").fetchone()[0]
    for table, condition, change in (
        ("event", f"id = '{rec}'", {"id": "twin-twin-1", "pk": 10**9}),
        ("change", f"rec = '{rec}' AND kind = 'create'", {"rec": "twin-twin-1", "seq": head + 1}),
    ):
        names = [column[1] for column in connection.execute(f"PRAGMA table_info({table})")]
        row = connection.execute(f"SELECT * FROM {table} WHERE {condition}").fetchone()
        twin = [change.get(name, value) for name, value in zip(names, row, strict=True)]
        connection.execute(f"INSERT INTO {table} ({','.join(names)}) VALUES ({','.join('?' * len(names))})", twin)
    connection.execute("UPDATE account_state SET seq = ? WHERE seq = ?", (head + 1, head))


@pytest.mark.parametrize(
    ("doctor", "told"),
    [
        (_lose_a_change, "is not in the log"),
        (_lose_a_row, "has no row"),
        (_lose_the_last_write, "is lost"),
        (_write_half, "its last change says"),
        (_create_twice, "was done 2 times"),
    ],
)
def test_the_audit_finds_what_is_wrong(
    honest: Lane, doctor: Callable[[sqlite3.Connection], None], told: str, tmp_path: Path
) -> None:
    database = copied(honest.database, tmp_path)
    assert audit(database, honest.ledger) == []
    with closing(sqlite3.connect(database)) as connection, connection:
        doctor(connection)
    assert any(told in text for text in audit(database, honest.ledger))
