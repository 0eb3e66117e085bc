"""What a keeper remembers of the database may be dropped at any time: nothing is answered or written differently."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from hub.schema.query import Query
from hub.schema.writes import Commit, Committed, Create, Delete, Move, Restore, Update, Write
from hub.wire.errors import HubError
from storage.base import Storage
from storage.mariadb.keeper import MariadbStorage
from storage.memory import MemoryStorage
from storage.sql import group
from storage.sql.rows import to_json
from storage.sql.sqlite import SqliteStorage
from tests.storage.contract import StorageContract
from tests.storage.declared import Use, box, item, registry, sticker, ticking
from tests.storage.mariadb_server import MariadbServer

ROUNDS = 60


class Forgetful(SqliteStorage):
    """Forgets before every third commit, at random."""

    dice = random.Random(5)

    def submit(self, commit: Commit) -> asyncio.Future[Committed]:
        if self.dice.random() < 0.3:
            self.forget()
        return super().submit(commit)


class TestForgetfulSqlite(StorageContract):
    """The whole contract."""

    @pytest.fixture
    async def use(self, tmp_path: Path) -> AsyncIterator[Use]:
        """Return an empty keeper."""
        use = Use(Forgetful(registry, tmp_path / "hub.sqlite", ticking(), durability="normal"))
        await use.storage.start()
        yield use
        await use.storage.close()


def writes(rng: random.Random, ids: list[tuple[Any, str]], fresh: Callable[[], str]) -> tuple[Write, ...]:
    """Return the writes of a commit over records that are there, are gone or never were."""
    found: list[Write] = []
    for _ in range(rng.choice([1, 1, 1, 2])):
        kind, rec = rng.choice(ids[-40:]) if ids and rng.random() < 0.95 else (box, "never-there")
        parents = [one for one in ids if one[0] is (box if kind is item else item)] or [(box, "never-there")]
        match rng.randrange(8):
            case 0 | 1:
                found.append(Create(box, fresh(), box.accept_create({"name": f"box {rng.randrange(200)}"})))
            case 2:
                found.append(
                    Create(item, fresh(), item.accept_create({"code": f"{rng.randrange(50)}"}), rng.choice(parents)[1])
                )
            case 3:
                found.append(Create(sticker, fresh(), sticker.accept_create({"text": "s"}), rng.choice(parents)[1]))
            case 4:
                change = {"name": f"box {rng.randrange(200)}"} if kind is box else {}
                found.append(Update(kind, rec, change, rng.choice([None, None, 1, 2])))
            case 5:
                found.append(Delete(kind, rec, hard=rng.random() < 0.5))
            case 6:
                found.append(Restore(kind, rec))
            case _ if kind is not box:
                found.append(Move(kind, rec, rng.choice(parents)[1]))
            case _:
                found.append(Update(kind, rec, {}))
    return tuple(found)


async def outcome(use: Use, commit: Commit) -> Any:
    """Return what became of a commit, without the texts of refusals."""
    try:
        done = await use.storage.submit(commit)
    except HubError as refusal:
        return refusal.code, refusal.path
    return done.seq, done.results


async def compared(storage: Storage, *, forget: bool = True) -> int:
    """Do the same to a keeper that forgets and to the one in memory; return how many commits were done."""
    mine, model = Use(storage), Use(MemoryStorage(registry, lambda: "2026-11-21T09:00:00.000Z"))
    await mine.storage.start()
    await model.storage.start()
    rng, pauses, numbers = random.Random(9), random.Random(1), itertools.count(10_000_000_000)
    ids: list[tuple[Any, str]] = []
    done = 0
    for _ in range(ROUNDS):
        commits = [Commit("main", writes(rng, ids, lambda: f"{next(numbers)}")) for _ in range(rng.randrange(1, 12))]
        answers = asyncio.gather(*(outcome(mine, commit) for commit in commits))
        while not answers.done():
            if forget:
                mine.storage.forget()
            await asyncio.sleep(pauses.choice([0, 0.0005]))
        theirs = [await outcome(model, commit) for commit in commits]
        assert await answers == theirs
        done += sum(isinstance(one[0], int) for one in theirs)
        ids += [(w.type, w.id) for commit in commits for w in commit.writes if isinstance(w, Create)]
    for kind in (box, item, sticker):
        query = Query(kind, deleted=True)
        assert (await mine.storage.find("main", query)).records == (await model.storage.find("main", query)).records
    assert await mine.log() == await model.log()
    return done


def standing() -> str:
    """Return one time for everything, so that two keepers write the same."""
    return "2026-11-21T09:00:00.000Z"


async def test_a_sqlite_keeper_that_forgets_at_any_moment_does_what_the_model_does(tmp_path: Path) -> None:
    keeper = SqliteStorage(registry, tmp_path / "hub.sqlite", standing, durability="normal")
    assert await compared(keeper) > ROUNDS
    await keeper.close()


async def test_the_model_notices_a_keeper_that_remembers_what_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = group.Memory.learn

    def stale(memory: group.Memory, done: group.Group) -> None:
        had = {key: done.records.get(key) for key in done.gone}
        gone = {key: (entry[0], to_json(entry[1])) for key, entry in had.items() if entry is not None}
        learn(memory, done)
        memory.records |= gone

    monkeypatch.setattr(group.Memory, "learn", stale)
    keeper = SqliteStorage(registry, tmp_path / "hub.sqlite", standing, durability="normal")
    with pytest.raises(AssertionError):
        await compared(keeper, forget=False)
    await keeper.close()


async def test_a_mariadb_keeper_that_forgets_at_any_moment_does_what_the_model_does(mariadb: MariadbServer) -> None:
    keeper = MariadbStorage(registry, mariadb.url(mariadb.new_database()), standing, durability="normal")
    assert await compared(keeper) > ROUNDS
    await keeper.close()


async def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "KNOWN", 20)
    monkeypatch.setattr(group, "ACCOUNTS", 10)
    use = Use(SqliteStorage(registry, tmp_path / "hub.sqlite", ticking(), durability="normal"))
    await use.storage.start()
    assert isinstance(use.storage, SqliteStorage)
    for n in range(40):
        made = await use.create(box, account=f"account-{n % 25}", name=f"{n}")
        await use.commit(Update(box, made["id"], {"name": f"{n}!"}), account=f"account-{n % 25}")
        memory = use.storage._writer._memory
        assert (len(memory.records) <= 20, len(memory.accounts) <= 10) == (True, True)
    assert [await use.seq(f"account-{n}") for n in (0, 14, 15, 24)] == [4, 4, 2, 2]
    await use.storage.close()


async def test_a_record_that_was_removed_for_good_is_not_remembered(tmp_path: Path) -> None:
    use = Use(SqliteStorage(registry, tmp_path / "hub.sqlite", ticking(), durability="normal"))
    await use.storage.start()
    assert isinstance(use.storage, SqliteStorage)
    made = await use.create(box, name="a")
    key = ("main", "box", made["id"])
    assert key not in use.storage._writer._memory.records
    await use.commit(Update(box, made["id"], {"name": "b"}))
    assert key in use.storage._writer._memory.records
    await use.commit(Delete(box, made["id"], hard=True))
    assert key not in use.storage._writer._memory.records
    with pytest.raises(HubError, match="There is no box"):
        await use.commit(use.new(item, made["id"], code="a"))
    await use.storage.close()
