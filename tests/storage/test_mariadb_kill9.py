"""On MariaDB neither a killed hub nor a killed server loses what was acknowledged, or leaves anything half done.

The hub: a child process writes with keys and is killed at a random moment, as in `test_kill9`. The server: writers in
this process go on while it is killed and started again. AETHER_PROOF multiplies the number of kills; several lanes are
killed side by side, each on data of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from tests.proofs.figures import SCALE, report
from tests.storage import kill9_child
from tests.storage.declared import box
from tests.storage.kill9_child import PATIENCE_SECONDS
from tests.storage.load import Load, opened, until
from tests.storage.mariadb_server import DURABLE, MariadbServer, running
from tests.storage.test_kill9 import Ledger, begin, compare, write_until_killed

KILLS: Final = 5 * SCALE
FRESH: Final = 20
"""After how many kills a lane begins with no data, so that comparing does not grow with their number."""
LANES: Final = 3 if SCALE > 1 else 1
SERVERS: Final = 2 if SCALE > 1 else 1
"""How many servers are killed side by side."""
LAZY: Final = ("--innodb-flush-log-at-trx-commit=0", "--innodb-flush-log-at-timeout=60", "--innodb-doublewrite=0")
"""A server that acknowledges what it has not written anywhere yet."""


@pytest.fixture
def server() -> Iterator[MariadbServer]:
    """Return a server that acknowledges nothing before it is on disk."""
    with running(*DURABLE) as server:
        yield server


def shares(count: int, lanes: int) -> list[int]:
    """Return how many of so many kills each lane has."""
    return [len(range(lane, count, lanes)) for lane in range(lanes)]


async def hubs_killed(server: MariadbServer, lane: int, kills: int) -> int:
    """Kill hubs that write into one server, and compare after each; return how many commits were acknowledged."""
    chance = random.Random(20261121 + lane)
    ledger, url, given = Ledger(), "", 0
    for kill in range(kills):
        if kill % FRESH == 0:
            url = server.url(server.new_database())
            ledger = await begin(url)
        given += await write_until_killed(url, ledger, chance.uniform(0.0, 0.3))
        await compare(url, ledger)
        assert ledger.lost == []
    return given


@pytest.mark.timeout(120 + 15 * KILLS)
async def test_kill_9_of_the_hub_loses_nothing_acknowledged_and_leaves_no_half(server: MariadbServer) -> None:
    begun = time.monotonic()
    given = await asyncio.gather(*(hubs_killed(server, n, kills) for n, kills in enumerate(shares(KILLS, LANES))))
    report(
        "mariadb-kill9-hub",
        f"{KILLS} kills in {time.monotonic() - begun:.0f} s, {sum(given)} acknowledged commits, "
        "0 lost, 0 twice when asked again by their keys, 0 halves",
    )


async def test_the_comparison_notices_what_is_lost_on_mariadb(server: MariadbServer) -> None:
    name = server.new_database()
    url = server.url(name)
    await begin(url)
    use = await kill9_child.started(url)
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


async def patiently(condition: Callable[[], bool]) -> None:
    """Wait until something is so: how soon is the matter of `test_mariadb_proofs`, on a machine without lanes."""
    await until(condition, PATIENCE_SECONDS)


async def ends_of_a_server(server: MariadbServer, fault: str, lane: int, count: int) -> int:
    """End a server under load and start it again; return how many commits were acknowledged."""
    chance = random.Random(20261121 + lane)
    given = 0
    for start in range(0, count, FRESH):
        if start:  # in good order, so that recovering does not grow with the number of kills
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
        async with opened(server.url(server.new_database())) as use:
            load = Load(use, answer_seconds=PATIENCE_SECONDS)
            for _ in range(start, min(start + FRESH, count)):
                begun = len(load.acknowledged)
                await patiently(lambda begun=begun, load=load: len(load.acknowledged) > begun)  # type: ignore[misc]
                await asyncio.sleep(chance.uniform(0.0, 0.3))
                await asyncio.to_thread(getattr(server, fault))
                await patiently(lambda use=use: not use.storage.ready)  # type: ignore[misc]
                await asyncio.to_thread(server.start)
                await patiently(lambda use=use: use.storage.ready)  # type: ignore[misc]
            await asyncio.sleep(0.2)
            await load.end()
            assert load.refused > 0, "no request met a server that was gone; nothing was proved"
            given += len(load.acknowledged)
    return given


@pytest.mark.timeout(120 + 15 * KILLS)
@pytest.mark.parametrize(("fault", "count"), [("kill", KILLS), ("stop", SCALE)])
async def test_an_end_of_the_server_loses_nothing_acknowledged(server: MariadbServer, fault: str, count: int) -> None:
    begun = time.monotonic()
    with contextlib.ExitStack() as others:
        servers = [server, *(others.enter_context(running(*DURABLE)) for _ in range(SERVERS - 1))]
        given = await asyncio.gather(
            *(
                ends_of_a_server(one, fault, lane, share)
                for lane, (one, share) in enumerate(zip(servers, shares(count, SERVERS), strict=True))
            )
        )
    report(
        f"mariadb-{fault}-server",
        f"{count} ends of the server in {time.monotonic() - begun:.0f} s, {sum(given)} acknowledged commits, "
        "0 lost, 0 twice, 0 halves",
    )


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
