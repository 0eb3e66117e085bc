"""On MariaDB neither a killed hub nor a killed server loses what was acknowledged, or leaves anything half done.

The hub: a child process writes with keys and is killed at a random moment, as in `test_kill9`. The server: writers in
this process go on while it is killed and started again. AETHER_PROOF multiplies the number of kills.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

from tests.proofs.figures import SCALE, report
from tests.storage import kill9_child
from tests.storage.declared import box
from tests.storage.load import Load, opened, until
from tests.storage.mariadb_server import DURABLE, MariadbServer, running
from tests.storage.test_kill9 import Ledger, begin, compare, write_until_killed

KILLS = 5 * SCALE
LAZY = ("--innodb-flush-log-at-trx-commit=0", "--innodb-flush-log-at-timeout=60", "--innodb-doublewrite=0")
"""A server that acknowledges what it has not written anywhere yet."""


@pytest.fixture
def server() -> Iterator[MariadbServer]:
    """Return a server that acknowledges nothing before it is on disk."""
    with running(*DURABLE) as server:
        yield server


@pytest.mark.timeout(120 * SCALE)
async def test_kill_9_of_the_hub_loses_nothing_acknowledged_and_leaves_no_half(server: MariadbServer) -> None:
    chance = random.Random(20261121)
    ledger, url, given = Ledger(), "", 0
    for kill in range(KILLS):
        if kill % 20 == 0:  # a fresh database, so that comparing does not grow with the number of kills
            url = server.url(server.new_database())
            ledger = await begin(url)
        given += await write_until_killed(url, ledger, chance.uniform(0.0, 0.3))
        await compare(url, ledger)
        assert ledger.lost == []
    report("mariadb-kill9-hub", f"{KILLS} kills, {given} acknowledged commits, 0 lost, 0 twice, 0 halves")


async def test_the_comparison_notices_what_is_lost_on_mariadb(server: MariadbServer) -> None:
    name = server.new_database()
    url = server.url(name)
    await begin(url)
    use = kill9_child.keeper(url)
    await use.storage.start()
    for n in range(6):
        await use.storage.submit(kill9_child.request(use, n))
    await use.storage.close()
    ledger = Ledger({n: n + 2 for n in range(6)})
    server.run("DELETE FROM idempotency WHERE `key` = '0'", database=name)
    with pytest.raises(AssertionError):
        await compare(url, ledger)  # key 0 counts up a second time
    assert ledger.lost == [0]
    for torn in ("DELETE FROM item WHERE amount = 1", "DELETE FROM `change` WHERE seq = 4"):
        server.run(torn, database=name)
        with pytest.raises(AssertionError):
            await compare(url, ledger)


@pytest.mark.timeout(120 * SCALE)
@pytest.mark.parametrize(("fault", "count"), [("kill", KILLS), ("stop", SCALE)])
async def test_an_end_of_the_server_loses_nothing_acknowledged(server: MariadbServer, fault: str, count: int) -> None:
    chance = random.Random(20261121)
    given = 0
    for start in range(0, count, 20):
        async with opened(server.url(server.new_database())) as use:
            load = Load(use)
            for _ in range(start, min(start + 20, count)):
                await asyncio.sleep(chance.uniform(0.05, 0.5))
                await asyncio.to_thread(getattr(server, fault))
                await asyncio.sleep(0.1)
                assert not use.storage.ready
                await asyncio.to_thread(server.start)
                await until(lambda: use.storage.ready)
            await asyncio.sleep(0.2)
            await load.end()
            assert len(load.acknowledged) > 20
            given += len(load.acknowledged)
    report(f"mariadb-{fault}-server", f"{count} ends of the server, {given} acknowledged commits, 0 lost, 0 twice")


@pytest.mark.parametrize(("options", "kept"), [(DURABLE, True), (LAZY, False)])
async def test_what_survives_the_server_is_what_it_wrote_before_it_acknowledged(
    options: tuple[str, ...], kept: bool
) -> None:
    with running(*options) as server:
        async with opened(server.url(server.new_database())) as use:
            names = {(await use.create(box, name=f"{n}"))["name"] for n in range(30)}
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await until(lambda: use.storage.ready)
            lost = names - {i["name"] for i in (await use.find(box)).records}
            assert (lost == set()) == kept
