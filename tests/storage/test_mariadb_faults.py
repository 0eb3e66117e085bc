"""The keeper on MariaDB while the database fails: every request is answered in time and truly, and it heals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from hub.schema.writes import Commit, Committed, KeyClaim
from hub.wire.errors import HubError
from storage.mariadb.keeper import MariadbStorage
from tests.storage.declared import Use, box, registry, ticking
from tests.storage.mariadb_server import DURABLE, FAST, MariadbServer, running
from tests.storage.proxy import Proxy

SCALE = int(os.environ.get("AETHER_PROOF", "1"))
ANSWER_SECONDS = 5.5
HEAL_SECONDS = 5.0


@pytest.fixture
def server() -> Iterator[MariadbServer]:
    """Return a server of the test's own, which it may break."""
    with running(*FAST) as server:
        yield server


@contextlib.asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[Use]:
    """Return a keeper in use."""
    use = Use(MariadbStorage(registry, url, ticking(), durability="normal", **options))
    await use.storage.start()
    try:
        yield use
    finally:
        await use.storage.close()


@contextlib.asynccontextmanager
async def behind(server: MariadbServer) -> AsyncIterator[tuple[Use, Proxy]]:
    """Return a keeper that reaches the server through a proxy."""
    async with Proxy(server.port) as proxy, opened(server.url(server.new_database(), proxy.port)) as use:
        yield use, proxy


async def until(condition: Callable[[], bool], seconds: float = HEAL_SECONDS) -> float:
    """Wait until something is so, and return for how long."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, "it is not so in time"
        await asyncio.sleep(0.02)
    return time.monotonic() - begun


async def answered(work: Awaitable[Any], slowest: list[float]) -> Any:
    """Return what became of a request, and note how long it took."""
    begun = time.monotonic()
    try:
        return await work
    except HubError as refusal:
        return refusal
    finally:
        slowest.append(time.monotonic() - begun)


class Load:
    """Writers and readers that go on whatever happens, each write with a key, and a ledger of what was acknowledged."""

    def __init__(self, use: Use, writers: int = 8) -> None:
        self.use = use
        self.acknowledged: dict[str, int] = {}
        self.fresh: list[int] = []
        self.codes: set[str] = set()
        self.seconds: list[float] = []
        self.wrong: list[str] = []
        self._going = True
        self._tasks = [asyncio.create_task(self._write(n)) for n in range(writers)]
        self._tasks += [asyncio.create_task(self._read()) for _ in range(2)]

    async def end(self) -> None:
        """Let every request end, then compare what was acknowledged with what is there."""
        self._going = False
        await asyncio.gather(*self._tasks)
        log = await self.use.log()
        assert [s.seq for s in log] == list(range(1, len(log) + 1)), "no number is missing or there twice"
        logged = {row.after["name"]: s.seq for s in log for row in s.rows if row.kind == "create"}
        assert len(logged) == sum(len(s.rows) for s in log), "nothing was created twice"
        lost = {name: seq for name, seq in self.acknowledged.items() if logged.get(name) != seq}
        assert lost == {}, "what was acknowledged is there, under its number"
        names = {i["name"] for i in (await self.use.find(box)).records}
        assert names == set(logged), "no row without its change, no change without its row"
        assert self.wrong == []
        assert max(self.seconds) <= ANSWER_SECONDS
        assert self.codes <= {"server.unavailable", "write.unknown"}
        told = [s.seq for s in self.use.told]
        assert told == sorted(set(told)), "told once and in order"
        assert set(self.fresh) <= set(told), "what was unknown at first is read from the log by whoever misses it"

    async def _write(self, writer: int) -> None:
        count = 0
        while self._going:
            name = f"{writer}-{count}"
            commit = Commit("main", (self.use.new(box, name=name),), key=KeyClaim("user", name, name.encode()))
            done = await answered(self._submit(commit), self.seconds)
            if isinstance(done, Committed):
                if done.results[0].image["name"] != name:
                    self.wrong.append(f"{name} was answered with {done.results[0].image['name']}")
                self.acknowledged[name] = done.seq
                self.fresh += [] if done.replayed else [done.seq]
                count += 1
            else:
                self.codes.add(done.code)
                await asyncio.sleep(0.05)

    async def _submit(self, commit: Commit) -> Committed:
        return await self.use.storage.submit(commit)

    async def _read(self) -> None:
        while self._going:
            known = list(self.acknowledged)
            name = random.choice(known) if known else "nothing"
            found = await answered(self.use.find(box, {"name": name}), self.seconds)
            if isinstance(found, HubError):
                self.codes.add(found.code)
            elif [i["name"] for i in found.records] != ([name] if known else []):
                self.wrong.append(f"{name} was read as {found.records}")
            await asyncio.sleep(0.01)


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


@pytest.mark.parametrize("fault", ["kill", "stop"])
async def test_a_restart_loses_nothing_that_was_acknowledged(fault: str) -> None:
    with running(*DURABLE) as server:
        async with opened(server.url(server.new_database())) as use:
            load = Load(use)
            for _ in range(2 * SCALE):
                await asyncio.sleep(0.4)
                await asyncio.to_thread(getattr(server, fault))
                await asyncio.sleep(0.2)
                assert not use.storage.ready
                await asyncio.to_thread(server.start)
                await until(lambda: use.storage.ready)
            await asyncio.sleep(0.2)
            await load.end()
            assert len(load.acknowledged) > 20


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
        again = await use.commit(use.new(box, name="a"), key=key)
        assert (again.seq, again.replayed) == (2, True)


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


async def test_whoever_leaves_leaves_no_crossed_answer_behind(mariadb: MariadbServer) -> None:
    async with opened(mariadb.url(mariadb.new_database())) as use:
        made = [await use.create(box, name=f"{n}") for n in range(20)]
        wrong: list[Any] = []

        async def ask(n: int) -> None:
            image = made[n % 20]
            if n % 3 == 0:
                found = (await use.find(box, {"name": image["name"]})).records
            elif n % 3 == 1:
                found = [await use.get(box, image["id"])]  # type: ignore[list-item]
            else:
                written = await use.update(box, image["id"], pin=f"{n}")
                found = [written.results[0].image]
            if [i["id"] for i in found] != [image["id"]]:
                wrong.append((image, found))

        tasks: set[asyncio.Task[None]] = set()
        for n in range(1000 * SCALE):
            task = asyncio.create_task(ask(n))
            tasks.add(task)
            asyncio.get_running_loop().call_later(random.random() / 50, task.cancel)
            if len(tasks) >= 50:
                _, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(ask(n) for n in range(60)))
        assert wrong == []
        assert use.storage.ready


async def test_more_readers_than_may_wait_are_refused_at_once(mariadb: MariadbServer) -> None:
    async with opened(mariadb.url(mariadb.new_database()), readers=2, waiting=10) as use:
        await use.create(box, name="a")
        slow: list[float] = []
        outcomes = await asyncio.gather(*(answered(use.find(box), slow) for _ in range(50)))
        refused = [o for o in outcomes if isinstance(o, HubError)]
        assert (len(refused), {(o.code, o.retry_after) for o in refused}) == (38, {("server.unavailable", 1)})
        assert len((await use.find(box)).records) == 1
