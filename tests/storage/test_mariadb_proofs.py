"""The proofs for MariaDB: a hundred faults without a wrong answer, ten thousand cancellations without a crossed one.

`make test` runs a small part of each, AETHER_PROOF multiplies it. Each proof has a test beside it in which what it
looks for is there.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from sqlalchemy.engine import Connection

from hub.wire.errors import HubError
from storage.decide import Decision
from storage.mariadb.units import Units, Work
from storage.mariadb.writer import Writer
from tests.proofs.figures import SCALE, report
from tests.storage import load as loads
from tests.storage.declared import Use, box
from tests.storage.load import HEAL_SECONDS, Load, behind, opened, until
from tests.storage.mariadb_server import DURABLE, FAST, MariadbServer, running
from tests.storage.proxy import Proxy

FAULTS = max(6, SCALE)
CANCELLATIONS = 100 * SCALE
CONNECTIONS = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'aether'"
DEADLOCKS = "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'"
POOL = 13
"""Eight that read, four that write, one that looks."""

Fault = Callable[[MariadbServer, str, Proxy, random.Random], Coroutine[Any, Any, None]]


async def kill_connections(server: MariadbServer, name: str, proxy: Proxy, chance: random.Random) -> None:
    """Let the server close every connection of the hub, some times."""
    for _ in range(chance.randrange(1, 5)):
        ids = server.run("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'aether'")
        for (one,) in ids:
            server.run(f"KILL {'HARD' if chance.random() < 0.5 else 'SOFT'} CONNECTION {one}")
        await asyncio.sleep(chance.uniform(0, 0.1))


async def kill_server(server: MariadbServer, name: str, proxy: Proxy, chance: random.Random) -> None:
    """Kill the server and start it again."""
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(chance.uniform(0, 1))
    await asyncio.to_thread(server.start)


async def freeze(server: MariadbServer, name: str, proxy: Proxy, chance: random.Random) -> None:
    """Stop the server where it is, for shorter or longer than a request may take."""
    server.freeze()
    await asyncio.sleep(chance.choice([0.3, 1.5, 6.5]))
    server.thaw()


async def reset(server: MariadbServer, name: str, proxy: Proxy, chance: random.Random) -> None:
    """Reset every connection between the hub and the server; once right behind a COMMIT."""
    proxy.cut_after = b"\x03COMMIT"
    for _ in range(chance.randrange(1, 6)):
        await asyncio.sleep(chance.uniform(0, 0.2))
        proxy.reset()
    proxy.cut_after = None


async def only_reading(server: MariadbServer, name: str, proxy: Proxy, chance: random.Random) -> None:
    """Let the server refuse writes for a while."""
    server.run("SET GLOBAL read_only = 1")
    await asyncio.sleep(chance.uniform(0.1, 1))
    server.run("SET GLOBAL read_only = 0")


async def deadlock(server: MariadbServer, name: str, proxy: Proxy, chance: random.Random) -> None:
    """Lock rows that the hub is about to change, then the counter that it holds: the server breaks one of the two."""

    def stand_in_the_way() -> None:
        with server.connect(name) as connection, connection.cursor() as cursor:
            for _ in range(5):
                cursor.execute("START TRANSACTION")
                for n in range(50):  # so that the server thinks this one the dearer
                    cursor.execute("INSERT INTO meta VALUES (%s, 'x')", (f"heavy {n}",))
                cursor.execute("INSERT INTO `change` SELECT account_pk, seq + 1, 0, 'x', 'x', 'x', 1, '{}', NULL, NULL,"
                               " NULL, NULL, 0 FROM account_state")  # fmt: skip
                time.sleep(0.05)
                try:
                    cursor.execute("SELECT * FROM account_state FOR UPDATE")
                finally:
                    cursor.execute("ROLLBACK")

    await asyncio.to_thread(stand_in_the_way)


EVERY: tuple[Fault, ...] = (kill_connections, kill_server, freeze, reset, only_reading, deadlock)


async def heals(use: Use, load: Load) -> float:
    """Wait until the keeper is ready and acknowledges writes again; return for how long."""
    begun, before = time.monotonic(), len(load.acknowledged)

    async def served() -> None:
        while True:
            try:
                await use.storage.probe_writing()
            except HubError:
                await asyncio.sleep(0.05)
            else:
                return

    await asyncio.wait_for(served(), HEAL_SECONDS)
    await until(lambda: use.storage.ready and len(load.acknowledged) > before, HEAL_SECONDS)
    return time.monotonic() - begun


def at_rest(use: Use) -> bool:
    """Say whether every connection is back in the pool."""
    return "Checked out connections: 0" in use.storage._engine.pool.status()  # type: ignore[attr-defined]


@pytest.mark.timeout(60 + 30 * FAULTS)
async def test_no_fault_makes_a_wrong_answer_or_one_too_late() -> None:
    chance = random.Random(20261121)
    healed: list[float] = []
    slowest, given, refused, deadlocks = 0.0, 0, 0, 0
    plan = [EVERY[n % len(EVERY)] for n in range(FAULTS)]
    chance.shuffle(plan)
    with running(*DURABLE) as server:
        for start in range(0, FAULTS, 10):  # a fresh database, so that comparing does not grow
            name = server.new_database()
            async with Proxy(server.port) as proxy, opened(server.url(name, proxy.port)) as use:
                load = Load(use)
                for fault in plan[start : start + 10]:
                    await asyncio.sleep(chance.uniform(0.05, 0.3))
                    await fault(server, name, proxy, chance)
                    healed.append(await heals(use, load))
                    deadlocks += fault is deadlock and int(server.run(DEADLOCKS)[0][1])
                await load.end()
                await until(lambda use=use: at_rest(use))  # type: ignore[misc]
                assert server.run(CONNECTIONS)[0][0] <= POOL
                slowest, given = max(slowest, *load.seconds), given + len(load.acknowledged)
                refused += load.refused
            await until(lambda: server.run(CONNECTIONS) == [(0,)])
    assert deadlocks > 0
    report(
        "mariadb-faults",
        f"{FAULTS} faults, {given} acknowledged and {refused} refused writes, 0 wrong answers, the slowest after "
        f"{slowest:.2f} s, healed after at most {max(healed):.2f} s, every connection back",
    )


async def test_the_comparison_notices_an_answer_that_is_not_true(monkeypatch: pytest.MonkeyPatch) -> None:
    def believing(self: Writer, connection: Connection, account: str, decisions: list[Decision]) -> bool:
        return True

    monkeypatch.setattr(Writer, "_wrote", believing)
    with running(*FAST) as server:
        async with behind(server) as (use, proxy):
            await use.create(box, name="warm")
            load = Load(use)
            load.acknowledged["warm"] = 1
            for count in range(1, 11):  # some of them end what only reads
                proxy.cut_before = b"\x03COMMIT"
                await until(lambda count=count: proxy.cuts == count)  # type: ignore[misc]
            with pytest.raises(AssertionError, match="is there, under its number"):
                await load.end()


async def test_the_comparison_notices_an_answer_that_is_late(
    mariadb: MariadbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(mariadb.url(mariadb.new_database())) as use:
        load = Load(use)
        await until(lambda: len(load.acknowledged) > 3)
        mariadb.freeze()
        await asyncio.sleep(0.5)
        mariadb.thaw()
        monkeypatch.setattr(loads, "ANSWER_SECONDS", 0.4)
        with pytest.raises(AssertionError, match="late"):
            await load.end()


# -- cancellations --------------------------------------------------------------------------------------------------


async def cancelled(use: Use, count: int) -> tuple[int, list[Any]]:
    """Ask and go away, again and again; return how often that broke something off, and every answer to another."""
    made = [await use.create(box, name=f"{n}") for n in range(20)]
    wrong: list[Any] = []
    broken = 0

    async def ask(n: int) -> None:
        image = made[n % 20]
        if n % 3 == 0:
            found = (await use.find(box, {"name": image["name"]})).records
        elif n % 3 == 1:
            found = [await use.get(box, image["id"])]  # type: ignore[list-item]
        else:
            written = await use.update(box, image["id"], pin=f"{n}")
            found = [written.results[0].image]
        if [i and i["id"] for i in found] != [image["id"]]:
            wrong.append((image, found))

    numbers = iter(range(10 * count))

    async def client() -> None:
        nonlocal broken
        while broken < count:
            task = asyncio.create_task(ask(next(numbers)))
            timer = asyncio.get_running_loop().call_later(random.random() / 50, task.cancel)
            await asyncio.wait([task])
            timer.cancel()
            broken += task.cancelled()
            error = None if task.cancelled() else task.exception()
            if isinstance(error, HubError) and error.code == "server.unavailable":
                await asyncio.sleep(0.1)  # those that left are still being read for, and no more may wait
            elif error is not None:
                raise error

    await asyncio.gather(*(client() for _ in range(50)))
    await asyncio.gather(*(ask(n) for n in range(60)))
    return broken, wrong


@pytest.mark.timeout(60 + 3 * SCALE)
async def test_whoever_leaves_leaves_no_crossed_answer_behind(mariadb: MariadbServer) -> None:
    async with opened(mariadb.url(mariadb.new_database())) as use:
        broken, wrong = await cancelled(use, CANCELLATIONS)
        assert wrong == []
        assert use.storage.ready
        await until(lambda: at_rest(use))
        assert mariadb.run(CONNECTIONS)[0][0] <= POOL
    report("mariadb-cancellations", f"{broken} requests broken off, 0 crossed answers, every connection back")


async def test_a_crossed_answer_is_noticed(mariadb: MariadbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Units.read
    last: dict[type[Any], Any] = {}

    async def crossed(self: Units, work: Work[Any]) -> Any:
        answer = await read(self, work)
        return last.setdefault(type(answer), answer) if random.random() < 0.5 else answer

    async with opened(mariadb.url(mariadb.new_database())) as use:
        monkeypatch.setattr(Units, "read", crossed)
        assert (await cancelled(use, 50))[1] != []
