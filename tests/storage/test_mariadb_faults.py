"""The keeper on MariaDB while the database fails: every request is answered in time and truly, and it heals."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator

import pytest

from hub.schema.writes import Commit, KeyClaim
from hub.wire.errors import HubError
from tests.storage.declared import box
from tests.storage.load import ANSWER_SECONDS, HEAL_SECONDS, Load, answered, behind, opened, until
from tests.storage.mariadb_server import FAST, MariadbServer, running

SCALE = int(os.environ.get("AETHER_PROOF", "1"))


@pytest.fixture
def server() -> Iterator[MariadbServer]:
    """Return a server of the test's own, which it may break."""
    with running(*FAST) as server:
        yield server


async def test_a_keeper_starts_without_its_database_and_serves_when_it_comes(server: MariadbServer) -> None:
    name = server.new_database()
    server.stop()
    async with opened(server.url(name)) as use:
        assert not use.storage.ready
        with pytest.raises(HubError) as refusal:
            use.storage.submit(Commit("main", (use.new(box, name="a"),)))
        assert (refusal.value.code, refusal.value.retry_after) == ("server.unavailable", 1)
        for question in (use.find(box), use.seq(), use.storage.probe(), use.storage.probe_writing(), use.get(box, "x")):
            with pytest.raises(HubError, match=r"server\.unavailable"):
                await question
        await asyncio.to_thread(server.start)
        assert await until(lambda: use.storage.ready) < HEAL_SECONDS
        assert (await use.create(box, name="a"))["name"] == "a"


async def test_a_frozen_server_is_noticed_and_every_request_is_answered(server: MariadbServer) -> None:
    async with opened(server.url(server.new_database())) as use:
        load = Load(use)
        await asyncio.sleep(0.3)
        server.freeze()
        await until(lambda: not use.storage.ready, 8)
        slow: list[float] = []
        await asyncio.gather(*(answered(use.find(box), slow) for _ in range(100)))
        assert max(slow) < 0.5, "while it is down nobody waits"
        server.thaw()
        await until(lambda: use.storage.ready)
        assert (await use.create(box, name="after"))["name"] == "after"
        await load.end()


async def test_connections_that_are_reset_are_replaced(server: MariadbServer) -> None:
    async with behind(server) as (use, proxy):
        load = Load(use)
        for _ in range(20 * SCALE):
            await asyncio.sleep(random.uniform(0.01, 0.1))
            proxy.reset()
        await asyncio.sleep(0.3)
        await until(lambda: use.storage.ready)
        await load.end()
        assert len(load.acknowledged) > 20


async def test_a_black_hole_is_left_behind(server: MariadbServer) -> None:
    async with behind(server) as (use, proxy):
        load = Load(use)
        await asyncio.sleep(0.3)
        proxy.hold()
        await until(lambda: not use.storage.ready, 8)
        proxy.let_go()
        await until(lambda: use.storage.ready)
        before = len(load.acknowledged)
        await until(lambda: len(load.acknowledged) > before)
        await load.end()


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_the_outcome_of_a_commit_that_was_not_answered_is_found_out(server: MariadbServer, cut: str) -> None:
    async with behind(server) as (use, proxy):
        await use.create(box, name="warm")
        setattr(proxy, f"cut_{cut}", b"\x03COMMIT")
        commits = [Commit("main", (use.new(box, name=f"a{n}", note="x"),)) for n in range(3)]
        made = [(await c).results[0].image for c in [use.storage.submit(commit) for commit in commits]]
        assert proxy.cuts == 1
        transactions = "SELECT COUNT(*) FROM information_schema.INNODB_TRX"
        assert server.run(transactions) == [(0,)], "whoever looked has given the lock back"
        assert [s.seq for s in use.told] == [1, 2, 3, 4]
        assert [i["name"] for i in (await use.find(box, order=["name"])).records] == ["a0", "a1", "a2", "warm"]
        assert await use.log() == use.told
        assert [await use.get(box, image["id"]) for image in made] == made


async def test_an_outcome_that_cannot_be_found_out_is_said_to_be_unknown_and_the_key_settles_it(
    server: MariadbServer,
) -> None:
    async with behind(server) as (use, proxy):
        await use.create(box, name="warm")
        key = KeyClaim("user", "k", b"same")
        proxy.cut_after = b"\x03COMMIT"
        pending = asyncio.ensure_future(use.commit(use.new(box, name="a"), key=key))
        await until(lambda: proxy.cuts == 1)
        proxy.hold()
        with pytest.raises(HubError) as refusal:
            await pending
        assert (refusal.value.code, refusal.value.retry_after) == ("write.unknown", 1)
        proxy.let_go()
        await until(lambda: use.storage.ready)
        await until(lambda: [s.seq for s in use.told] == [1, 2])
        assert await use.log() == use.told, "who listens is told once it is found out"
        again = await use.commit(use.new(box, name="a"), key=key)
        assert (again.seq, again.replayed) == (2, True)


async def test_what_was_unknown_is_told_of_before_what_comes_after_it(server: MariadbServer) -> None:
    async with behind(server) as (use, proxy):
        await use.create(box, name="warm")
        for cut in ("cut_after", "cut_before"):  # the first is committed, the second is not
            cuts = proxy.cuts
            setattr(proxy, cut, b"\x03COMMIT")
            pending = asyncio.ensure_future(use.create(box, name=cut))
            await until(lambda cuts=cuts: proxy.cuts > cuts)  # type: ignore[misc]
            proxy.hold()
            with pytest.raises(HubError, match=r"write\.unknown"):
                await pending
            proxy.let_go()
            await until(lambda: use.storage.ready)
            await asyncio.gather(*(use.create(box, name=f"{cut} {n}") for n in range(20)))
        assert [s.seq for s in use.told] == list(range(1, 43))
        assert await use.log() == use.told


async def test_a_connection_lost_before_the_commit_costs_nothing(server: MariadbServer) -> None:
    async with behind(server) as (use, proxy):
        await use.create(box, name="warm")
        proxy.cut_before = b"INSERT INTO `box`"
        assert (await use.commit(use.new(box, name="a"))).seq == 2
        proxy.cut_after = b"INSERT INTO `box`"
        assert (await use.commit(use.new(box, name="b"))).seq == 3
        proxy.cut_before = b"json_array"
        assert len((await use.find(box)).records) == 3
        assert (proxy.cuts, use.storage.ready) == (3, True)


async def test_a_server_that_only_reads_refuses_writes_and_heals(server: MariadbServer) -> None:
    async with opened(server.url(server.new_database())) as use:
        await use.create(box, name="a")
        server.run("SET GLOBAL read_only = 1")
        with pytest.raises(HubError, match=r"server\.unavailable"):
            await use.create(box, name="b")
        with pytest.raises(HubError, match=r"server\.unavailable"):
            await use.storage.probe_writing()
        assert not use.storage.ready
        assert len((await use.find(box)).records) == 1
        server.run("SET GLOBAL read_only = 0")
        await use.storage.probe_writing()
        await until(lambda: use.storage.ready)
        assert (await use.commit(use.new(box, name="b"))).seq == 2


async def test_a_deadlock_is_tried_again(mariadb: MariadbServer) -> None:
    name = mariadb.new_database()
    async with opened(mariadb.url(name)) as use:
        made = await use.create(box, name="a")
        with mariadb.connect(name) as connection, connection.cursor() as cursor:
            cursor.execute("START TRANSACTION")
            cursor.execute("UPDATE box SET version = version WHERE id = %s", (made["id"],))
            for n in range(100):  # so that the server thinks this one the dearer
                cursor.execute("INSERT INTO meta VALUES (%s, 'x')", (f"heavy {n}",))
            pending = asyncio.ensure_future(use.update(box, made["id"], note="x"))
            await asyncio.sleep(0.3)
            assert not pending.done(), "it holds the account and waits for the row"
            await asyncio.to_thread(cursor.execute, "SELECT * FROM account_state FOR UPDATE")
            cursor.execute("ROLLBACK")
            assert (await pending).seq == 2
        assert (await use.get(box, made["id"]) or {})["note"] == "x"


async def test_an_account_that_somebody_keeps_locked_is_refused_in_time_and_alone(mariadb: MariadbServer) -> None:
    name = mariadb.new_database()
    async with opened(mariadb.url(name)) as use:
        await use.create(box, name="a")
        await use.create(box, account="other", name="a")
        with mariadb.connect(name) as connection, connection.cursor() as cursor:
            cursor.execute("START TRANSACTION")
            cursor.execute("SELECT * FROM account_state WHERE account = 'main' FOR UPDATE")
            slow: list[float] = []
            pending = [asyncio.ensure_future(answered(use.create(box, name=f"{n}"), slow)) for n in range(20)]
            await use.create(box, account="other", name="b")
            outcomes = await asyncio.gather(*pending)
            assert {o.code for o in outcomes} == {"server.unavailable"}
            assert max(slow) <= ANSWER_SECONDS
            assert use.storage.ready
            cursor.execute("ROLLBACK")
        assert (await use.commit(use.new(box, name="b"))).seq == 2


async def test_a_read_that_takes_too_long_is_broken_off(mariadb: MariadbServer) -> None:
    name = mariadb.new_database()
    async with opened(mariadb.url(name), seconds=1.0) as use:
        await use.create(box, name="a")
        with mariadb.connect(name) as connection, connection.cursor() as cursor:
            cursor.execute("LOCK TABLES box WRITE")
            slow: list[float] = []
            outcome = await answered(use.find(box), slow)
            assert (outcome.code, slow[0] < 1.5) == ("server.unavailable", True)
            cursor.execute("UNLOCK TABLES")
        await until(lambda: use.storage.ready)
        assert len((await use.find(box)).records) == 1


async def test_more_readers_than_may_wait_are_refused_at_once(mariadb: MariadbServer) -> None:
    async with opened(mariadb.url(mariadb.new_database()), readers=2, waiting=10) as use:
        await use.create(box, name="a")
        slow: list[float] = []
        outcomes = await asyncio.gather(*(answered(use.find(box), slow) for _ in range(50)))
        refused = [o for o in outcomes if isinstance(o, HubError)]
        assert (len(refused), {(o.code, o.retry_after) for o in refused}) == (38, {("server.unavailable", 1)})
        assert len((await use.find(box)).records) == 1
