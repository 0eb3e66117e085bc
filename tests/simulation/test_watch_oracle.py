"""What a watch holds, after every step, is what asking again would find: any filter, any fields, any write.

A step is one random write. Then each watch is compared with a fresh `record.find` of the same filter and
fields. Finds over types that the step did not write are asked again only every `FULL` steps; between, their
last answer is what is compared with.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from channels import windows
from channels.watches import Event, WatchQuery
from handlers import people
from hub.schema.record import RecordType, referred
from hub.schema.times import canonical_time, format_time
from hub.schema.writes import ChangeRow
from hub.wire.codec import JSON, MSGPACK
from storage.base import Storage
from storage.memory import MemoryStorage
from storage.sql.sqlite import SqliteStorage
from tests.proofs.figures import SCALE, report
from tests.simulation.client import Wanted
from tests.simulation.desk import REGISTRY, Desk, DeskClient
from tests.simulation.filters import change_of, data_of, fields_of, where_of, window_of
from tests.simulation.history import difference

STEPS: Final = 1000
"""How many steps one run has; the runs together have 10,000. AETHER_PROOF multiplies the runs: in a longer one the
tombstones would pile up, and asking again would take ever longer."""
RUNS: Final = 5
WATCHES: Final = 15
"""How many watches each of the two clients holds."""
FULL: Final = 20
WINDOWS: Final = 0.4
"""How many of the watches are sorted windows."""
RENEW: Final = 25
"""Every so many steps some watches are replaced by others, or resumed."""
ALIVE: Final = 11
"""About how many live records of each type there are."""
KINDS: Final = {"thing": 8, "event_session": 8, "shelf": 2, "event": 2, "event_location": 2, "event_track": 1}
"""What is written and watched, and how often."""
MATCH: Final = {
    "thing": (["code"], ["label", "count"]),
    "event_session": (["guid"],),
    "shelf": (["name"],),
    "event": (["acronym"],),
    "event_location": (["name"],),
    "event_track": (["name", "event_id"],),
}
EXPECTED: Final = frozenset({"record.not_found", "record.exists", "record.conflict", "relation.restricted"})


@dataclass
class Pool:
    """The records that the writer thinks of."""

    ids: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in KINDS})
    tokens: itertools.count[int] = field(default_factory=itertools.count)
    parents: dict[str, str] = field(default_factory=dict)
    """The event of each record that has one."""

    def write(self, rng: Random) -> dict[str, Any]:
        """Return a random write."""
        if rng.random() < 0.15:
            ops = [self._one(rng) for _ in range(rng.randint(2, 5))]
            return {"op": "record.batch", "ops": ops}
        return self._one(rng)

    def _one(self, rng: Random) -> dict[str, Any]:
        name = rng.choices(list(KINDS), list(KINDS.values()))[0]
        kind, known = REGISTRY.types[name], self.ids[name]
        parent = kind.parent.name if kind.parent is not None else None
        if parent is not None and not self.ids[parent]:
            name, kind, known, parent = parent, REGISTRY.types[parent], self.ids[parent], None
        pick = rng.random() * (1.4 if len(known) > ALIVE else 1.0)
        if known and 0.3 < pick < 0.8:
            change: dict[str, Any] = {"op": "record.update", "type": name, "rec": rng.choice(known)}
            change["data"] = self._fitting(rng, kind, change_of(rng, kind, self.ids), self.parents.get(change["rec"]))
            return change
        if known and pick >= 0.9:
            return {"op": "record.delete", "type": name, "rec": rng.choice(known)}
        token = f"t{next(self.tokens)}"
        request: dict[str, Any] = {"op": "record.create", "type": name, "data": data_of(rng, kind, self.ids, token)}
        if parent is not None:
            request["parent"] = {"type": parent, "rec": rng.choice(self.ids[parent])}
            request["data"] = self._fitting(rng, kind, request["data"], request["parent"]["rec"])
        if pick > 0.8:
            match = rng.choice(MATCH[name])
            request |= {"op": "record.upsert", "match": match}
            for wire in match:
                if wire in kind.fields and kind.fields[wire].kind == "text":
                    request["data"][wire] = f"twin{rng.randrange(8)}"
        return request

    def _fitting(self, rng: Random, kind: RecordType, data: dict[str, Any], event: str | None) -> dict[str, Any]:
        """Return the data with references into its own event, and times in their order."""
        for wire in sorted(kind.references & data.keys()):
            if data[wire] is not None:
                known = self.ids[referred(kind.fields[wire]).name]
                here = [rec for rec in known if self.parents[rec] == event]
                data[wire] = rng.choice(here) if here else None
        starts, ends = data.get("starts_at"), data.get("ends_at")
        if starts is not None and ends is not None:
            data["starts_at"], data["ends_at"] = sorted((starts, ends), key=canonical_time)
        return data

    def answered(self, request: dict[str, Any], answer: dict[str, Any]) -> set[str]:
        """Take in an answer; return the types that were written."""
        if answer["op"] == "error":
            # One time of a session may have been changed past the other.
            late = answer["code"] == "data.invalid" and answer["path"].endswith("data.ends_at")
            assert late or answer["code"] in EXPECTED, (request, answer)
            return set()
        batch = request["op"] == "record.batch"
        items = request["ops"] if batch else [request]
        for item, result in zip(items, answer["data"]["results"] if batch else [answer["data"]], strict=True):
            known = self.ids[item["type"]]
            if item["op"] == "record.delete":
                known.remove(result["rec"])
            elif result["id"] not in known:
                known.append(result["id"])
                self.parents[result["id"]] = result.get("event_id", "")
        return {item["type"] for item in items}


class Oracle:
    """One client's watches, each with the last fresh find."""

    def __init__(self, client: DeskClient, rng: Random, pool: Pool) -> None:
        self.client = client
        self._rng = rng
        self._pool = pool
        self._paused: list[Wanted] = []
        """Watches that were stopped, to be resumed from where they were."""
        self._found: dict[Wanted, dict[str, Any]] = {}
        self.compared = 0

    async def renew(self) -> None:
        """End some watches, resume those that were paused, and start others until there are enough."""
        rng, held = self._rng, self.client.socket.watches
        ended = rng.sample(list(held), min(len(held), rng.randrange(6)))
        resumed, self._paused = self._paused, [held[watch] for watch in ended if rng.random() < 0.5]
        for watch in ended:
            self._found.pop(held[watch], None)
            await self.client.unwatch(watch)
        for wanted in resumed:
            await self.client.watch(wanted)
        while len(held) < WATCHES:
            await self.client.watch(Wanted(self.client.spec(self._request())))

    def _request(self) -> dict[str, Any]:
        rng, ids = self._rng, self._pool.ids
        kind = REGISTRY.types[rng.choices(list(KINDS), list(KINDS.values()))[0]]
        hidden = self.client.rights.hidden(kind)
        request: dict[str, Any] = {"type": kind.name}
        where, fields = where_of(rng, kind, hidden, ids), fields_of(rng, kind, hidden)
        if where is not None:
            request["where"] = where
        if fields is not None:
            request["fields"] = fields
        if rng.random() < WINDOWS:
            request |= window_of(rng, kind, hidden)
        if kind.parent is not None and ids[kind.parent.name] and rng.random() < 0.3:
            request["parent"] = {"type": kind.parent.name, "rec": rng.choice(ids[kind.parent.name])}
        return request

    async def compare(self, written: set[str] | None) -> list[str]:
        """Return how the watches differ from fresh finds; `written` None asks for all of them again."""
        held = list(self.client.socket.watches.values())
        again = [w for w in held if written is None or w.spec.kind.name in written or w not in self._found]
        asked = [w.spec.find for w in again]
        answers = await self.client.ask({"op": "session.beat"}, *asked)
        for wanted, answer in zip(again, answers[1:], strict=True):
            # A parent that is gone has no children any more.
            assert answer["op"] == "ok" or answer["code"] == "record.not_found", (wanted.spec.request, answer)
            records = answer["data"]["records"] if answer["op"] == "ok" else []
            self._found[wanted] = {record["id"]: record for record in records}
        wrong: list[str] = []
        for wanted in held:
            self.compared += 1
            differs = difference(wanted.records, self._found[wanted])
            if differs is not None:
                wrong.append(f"{wanted.spec.request}: {differs}")
        return wrong


def _memory(folder: Path) -> Storage:
    return MemoryStorage(REGISTRY, _clock())


def _sqlite(folder: Path) -> Storage:
    # Nothing is proved here about the disk; without the sync there is time for more steps.
    return SqliteStorage(REGISTRY, folder / "hub.db", _clock(), durability="normal")


def _clock() -> Callable[[], str]:
    """Return a clock that goes on by a millisecond each time it is looked at."""
    start, ticks = datetime(2026, 11, 21, 9, tzinfo=UTC), itertools.count()
    return lambda: format_time(start + timedelta(milliseconds=next(ticks)))


@pytest.fixture(autouse=True)
def small_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold so little behind each window that it is often dry."""
    monkeypatch.setattr(windows, "LEAST_RESERVE", 0)


async def _run(storage: Storage, seed: int, steps: int) -> tuple[list[str], str]:
    """Do random steps until a watch differs; return how, and figures."""
    rng = Random(f"oracle {seed}")
    desk = Desk(storage, Random(seed))
    account = await desk.start()
    _, key = await people.create_api_key(desk.services, account, "viewer", "viewer")
    owner, viewer = DeskClient(desk, JSON, "owner"), DeskClient(desk, MSGPACK, "viewer")
    await owner.hello()
    await viewer.hello(key)
    pool = Pool()
    oracles = [Oracle(owner, rng, pool), Oracle(viewer, rng, pool)]
    wrong: list[str] = []
    for step in range(steps):
        if step % RENEW == 0:
            for oracle in oracles:
                await oracle.renew()
        request = pool.write(rng)
        (answer,) = await owner.ask(request)
        written = pool.answered(request, answer)
        for oracle in oracles:
            found = await oracle.compare(None if step % FULL == 0 else written)
            wrong += [f"after step {step}, {request}: {text}" for text in found]
        if wrong:
            break
    refills = desk.live.windows.refills
    for client in (owner, viewer):
        client.end()
    await desk.close()
    compared = sum(oracle.compared for oracle in oracles)
    return wrong, f"{compared} comparisons, {owner.pushes + viewer.pushes} pushes, {refills} refills"


@pytest.mark.parametrize("seed", range(RUNS))
@pytest.mark.parametrize("keeper", [_memory, _sqlite], ids=["memory", "sqlite"])
async def test_a_watch_holds_what_a_fresh_find_returns(
    keeper: Callable[[Path], Storage], seed: int, tmp_path: Path
) -> None:
    for run in range(seed, RUNS * SCALE, RUNS):
        folder = tmp_path / str(run)
        folder.mkdir()
        wrong, figures = await _run(keeper(folder), run, STEPS)
        report("watch_oracle", f"{keeper.__name__} seed {run}: {STEPS} steps, {figures}, {len(wrong)} differences")
        assert wrong == []
        shutil.rmtree(folder)


async def test_a_watch_that_is_told_of_one_change_too_few_is_found_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = WatchQuery.event

    def event(query: WatchQuery, row: ChangeRow) -> Event | None:
        found = whole(query, row)
        # Nothing is said of the deletion of a record that is no longer as it was created.
        return None if found is not None and found.get("why") == "deleted" and row.version > 2 else found

    monkeypatch.setattr(WatchQuery, "event", event)
    wrong, _ = await _run(_memory(tmp_path), 0, 300)
    assert wrong != []


async def test_a_window_that_is_never_filled_again_is_found_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(windows.Window, "dry", False)
    wrong, _ = await _run(_memory(tmp_path), 0, 300)
    assert wrong != []
    assert "limit" in wrong[0]
