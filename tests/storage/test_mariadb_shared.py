"""Several keepers over one MariaDB database, as several hubs have it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from sqlalchemy.engine import Connection
from sqlalchemy.util import await_only

from hub.schema.writes import Commit, Committed, KeyClaim
from hub.wire.errors import HubError
from storage.mariadb.keeper import MariadbStorage
from storage.mariadb.questions import Questions
from tests.storage.declared import Use, box, item, person, registry, ticking
from tests.storage.mariadb_server import MariadbServer


@asynccontextmanager
async def opened(url: str, seed: int = 1) -> AsyncIterator[Use]:
    """Return a keeper in use."""
    use = Use(MariadbStorage(registry, url, ticking(), durability="normal"), seed)
    await use.storage.start()
    try:
        yield use
    finally:
        await use.storage.close()


@pytest.fixture
async def pair(mariadb: MariadbServer) -> AsyncIterator[list[Use]]:
    """Return two keepers that were started over an empty database at the same time."""
    url = mariadb.url(mariadb.new_database())
    uses = [Use(MariadbStorage(registry, url, ticking(), durability="normal"), seed) for seed in (1, 2)]
    await asyncio.gather(*(use.storage.start() for use in uses))
    yield uses
    await asyncio.gather(*(use.storage.close() for use in uses))


async def outcome(use: Use, commit: Commit) -> Committed | HubError:
    """Return what became of a commit."""
    try:
        return await use.storage.submit(commit)
    except HubError as refusal:
        return refusal


async def test_numbers_have_no_gap_whoever_writes(pair: list[Use]) -> None:
    async def write(use: Use, n: int) -> Committed | HubError:
        await asyncio.sleep(random.random() / 10)
        return await outcome(use, Commit("main", (use.new(box, name=f"{n // 2}"),), "actor", "session", f"{n}"))

    outcomes = await asyncio.gather(*(write(pair[n % 2], n) for n in range(400)))
    done = sorted(o.seq for o in outcomes if isinstance(o, Committed))
    assert done == list(range(1, 201)), "each name is taken once, by one of the two"
    assert {o.code for o in outcomes if isinstance(o, HubError)} == {"record.exists"}
    logs = [await use.log() for use in pair]
    assert logs[0] == logs[1]
    assert [s.seq for s in logs[0]] == done
    for use in pair:
        assert [s.seq for s in use.told] == sorted(s.seq for s in use.told), "its own commits, in order"
    assert sorted(s.seq for use in pair for s in use.told) == done, "each commit is told by who made it"
    assert len({i["name"] for i in (await pair[0].find(box)).records}) == 200


async def test_a_key_is_used_once_between_instances(pair: list[Use]) -> None:
    key = KeyClaim("user", "k", b"\x00\xff same")
    writes = [Commit("main", (use.new(box, name="a"),), key=key) for use in pair * 5]
    outcomes = await asyncio.gather(*(outcome(use, write) for use, write in zip(pair * 5, writes, strict=True)))
    done = [o for o in outcomes if isinstance(o, Committed)]
    assert [o.seq for o in done] == [1] * 10
    assert sorted(o.replayed for o in done) == [False] + [True] * 9


async def test_what_others_delete_and_change_is_seen_before_deciding(pair: list[Use]) -> None:
    one, two = pair
    parent = await one.create(box, name="a")
    await two.create(item, parent["id"], code="x")
    with pytest.raises(HubError, match=r"relation\.restricted"):
        await one.delete(box, parent["id"])
    with pytest.raises(HubError, match=r"record\.exists"):
        await one.create(item, parent["id"], code="x")
    someone = await one.create(person, account="system", name="x")
    assert (await two.create(item, parent["id"], owner_id=someone["id"]))["owner_id"] == someone["id"]
    await one.delete(person, someone["id"], account="system")
    with pytest.raises(HubError, match=r"record\.not_found"):
        await two.create(item, parent["id"], owner_id=someone["id"])


async def test_many_accounts_are_opened_at_once(pair: list[Use]) -> None:
    accounts = [f"account-{n}" for n in range(20)] * 4
    await asyncio.gather(*(pair[n % 2].create(box, account=a, name=f"{n}") for n, a in enumerate(accounts)))
    heads = await pair[0].storage.heads(sorted(set(accounts)))
    assert {h.seq for h in heads.values()} == {4}
    assert heads == await pair[1].storage.heads(sorted(set(accounts)))
    assert len({h.epoch for h in heads.values()}) == 1


async def test_references_between_accounts_do_not_lock_each_other_for_good(mariadb: MariadbServer) -> None:
    url = mariadb.url(mariadb.new_database())
    async with AsyncExitStack() as stack:
        uses = [await stack.enter_async_context(opened(url, seed)) for seed in range(3)]
        people = [await uses[0].create(person, account="system", name=f"{n}") for n in range(4)]
        boxes = [await uses[0].create(box, account=f"a{n}", name="a") for n in range(4)]

        async def refer(n: int) -> None:
            use, made = uses[n % 3], boxes[n % 4]
            owner = people[random.randrange(4)]["id"]
            await use.create(item, made["id"], account=made["account_id"], owner_id=owner)
            await use.update(person, people[n % 4]["id"], account="system", name=f"renamed {n}")

        await asyncio.gather(*(refer(n) for n in range(120)))
        heads = await uses[0].storage.heads(["system", "a0", "a1", "a2", "a3"])
        assert [h.seq for h in heads.values()] == [124, 31, 31, 31, 31]


async def test_who_reads_a_log_while_it_is_forgotten_sees_no_hole(
    mariadb: MariadbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = mariadb.new_database()
    page, forgotten = Questions._page, []

    def forgetting(self: Questions, connection: Connection, *place: Any) -> Sequence[Any]:
        rows = page(self, connection, *place)
        forgotten.append(len(rows))
        if len(forgotten) == 2:  # behind the first step of the second, longer way
            await_only(asyncio.to_thread(mariadb.run, "DELETE FROM `change`", database=name))
        return rows

    async with opened(mariadb.url(name)) as use:
        await use.commit(*(use.new(box, name=f"{n}") for n in range(1200)))
        monkeypatch.setattr(Questions, "_page", forgetting)
        assert [(s.seq, len(s.rows)) for s in await use.log()] == [(1, 1200)]
        assert forgotten == [500, 500, 500, 200, 0]
        assert await use.log() == []
