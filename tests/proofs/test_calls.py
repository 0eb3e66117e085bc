"""Controllers at one hub, workers at another, and every fault there is: each call is answered once, in time and truly.

`AETHER_PROOF` multiplies the calls and the faults. The control loses answers and has no time-outs: it is found out.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final

import pytest

from channels import calls as calls_module
from channels.calls import Calls
from hub.wire.errors import HubError
from tests.channels.letterbox import Town, ask
from tests.proofs import cluster as clusters
from tests.proofs.callers import Book, controller, worker
from tests.proofs.cluster import Cluster
from tests.proofs.figures import SCALE, report
from tests.storage.mariadb_server import FAST
from tests.storage.mariadb_server import running as mariadb_running
from tests.storage.redis_server import running as redis_running
from tests.wire.tenant import Tenant, make_tenant

AT_ONCE: Final = 1000
WORKERS: Final = 10
TIMEOUT: Final = 2.0
PACE: Final = 0.02
CALLING_SECONDS: Final = 2.0 if SCALE == 1 else 4.0
"""For how long calls begin while something breaks."""


@asynccontextmanager
async def staffed(folder: Path) -> AsyncIterator[tuple[Cluster, Tenant, dict[str, str]]]:
    """Run two hubs; yield them, an account, and the keys of its workers by their ids."""
    with mariadb_running(*FAST) as mariadb, redis_running() as redis:
        async with clusters.running(mariadb, redis, folder, 2) as cluster:
            first = cluster.instances[0].process
            assert first is not None
            tenant = await make_tenant(first)
            keys = {}
            async with tenant.client("owner") as owner:
                for n in range(WORKERS):
                    args = {"role": "viewer", "name": f"worker {n}"}
                    made = await owner.ok("action.call", action="api_key.issue", args=args)
                    keys[made["id"]] = made["key"]
            cluster.secrets |= {*tenant.keys.values(), *keys.values()}
            for each in cluster.instances:
                assert each.process is not None
                each.process.secrets |= cluster.secrets
            await cluster.connected()
            yield cluster, tenant, keys


async def killed(cluster: Cluster) -> None:
    """The workers' hub is killed, and started again."""
    victim = cluster.instances[1]
    process, victim.process = victim.process, None
    assert process is not None
    process.signal(signal.SIGKILL)
    await asyncio.to_thread(process.wait)
    await asyncio.sleep(0.5)
    await cluster.start(victim)


def cut_off(n: int) -> Callable[[Cluster], Awaitable[None]]:
    """Return the fault that one hub's way to Redis swallows everything for a while, and then breaks."""

    async def fault(cluster: Cluster) -> None:
        cluster.instances[n].to_redis.hold()
        await asyncio.sleep(CALLING_SECONDS * 0.7)
        cluster.instances[n].to_redis.reset()
        cluster.instances[n].to_redis.let_go()

    return fault


async def broken_off(cluster: Cluster) -> None:
    """Every connection to Redis is reset, twice."""
    for _ in range(2):
        for each in cluster.instances:
            each.to_redis.reset()
        await asyncio.sleep(0.2)


async def redis_killed(cluster: Cluster) -> None:
    """Redis is killed, and started again knowing nothing."""
    await asyncio.to_thread(cluster.redis.kill)
    await asyncio.sleep(0.5)
    await asyncio.to_thread(cluster.redis.start)


ALL: Final = (killed, cut_off(1), redis_killed, cut_off(0), broken_off)
FAULTS: Final = ALL[:3] if SCALE == 1 else ALL * max(1, SCALE // 5)


@pytest.mark.timeout(900)
async def test_every_call_is_answered_once_in_time_and_truly_whatever_breaks(tmp_path: Path) -> None:
    async with staffed(tmp_path) as (cluster, tenant, keys):
        near, far = cluster.instances

        def place() -> str | None:
            return None if far.process is None else far.process.socket_url

        book, rng, devices = Book(), Random("calls"), list(keys)
        assert near.process is not None
        desk, token = near.process.socket_url, tenant.keys["editor"]
        workers = [asyncio.create_task(worker(place, key, book, rng, 0.05)) for key in keys.values()]
        await _all_here(desk, token, devices)

        book.told.clear()
        begun = time.monotonic()
        numbers = list(range(AT_ONCE))
        async with asyncio.TaskGroup() as group:
            for n in range(4):
                group.create_task(controller(desk, token, book, numbers[n::4], devices, 30.0, 0))
        report("calls", f"{AT_ONCE} calls at once: {dict(book.codes)} after {time.monotonic() - begun:.2f} s")
        assert book.wrong(30.0) == []
        assert book.codes == {"ok": AT_ONCE}

        after = Book()
        for each in workers:
            each.cancel()
        workers = [asyncio.create_task(worker(place, key, after, rng, 0.3)) for key in keys.values()]
        await _all_here(desk, token, devices)
        after.told.clear()
        for round_, fault in enumerate(FAULTS):
            numbers = list(range(10_000 * round_, 10_000 * round_ + round(CALLING_SECONDS / PACE)))
            calling = [
                asyncio.create_task(controller(desk, token, after, numbers[n::2], devices, TIMEOUT, 2 * PACE))
                for n in range(2)
            ]
            await asyncio.sleep(0.3)
            await fault(cluster)
            await asyncio.gather(*calling)
        for each in workers:
            each.cancel()
        report("calls", f"{len(after.asked)} calls while {len(FAULTS)} things broke: {dict(after.codes)}")
        assert after.wrong(TIMEOUT) == []
        assert {"ok", "command.timeout", "command.absent", "server.unavailable"} <= set(after.codes)


async def _all_here(desk: str, token: str, devices: list[str]) -> None:
    """Return when every worker answers."""
    async with asyncio.timeout(30):
        while True:
            book, numbers = Book(), [-n - 1 for n in range(len(devices))]
            await controller(desk, token, book, numbers, devices, 2.0, 0)
            if book.codes == {"ok": len(devices)}:
                return


async def test_the_book_finds_calls_that_are_not_answered_twice_told_or_not_true(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Calls, "_late", lambda self, call: None)
    monkeypatch.setattr(calls_module, "KNOCK_SECONDS", 0.02)
    town, book = Town(), Book()
    a, b = town.instance("a"), town.instance("b")
    client = b.client()

    async def call(n: int) -> None:
        book.asked[n] = time.monotonic()
        try:
            book.answer(n, {"op": "ok", "data": await ask(a, seconds=0.1)})
        except HubError as refusal:
            book.answer(n, {"op": "error", "code": refusal.code})

    tasks = [asyncio.create_task(call(n)) for n in range(4)]
    for command in await client.several(4):
        book.told[command["command"] - 1] += 1
    b.box.away = True
    client.reply(1, 0)  # lost, and nobody's time is ever over
    await asyncio.sleep(0.01)
    b.box.away = False
    client.reply(2, "another")
    client.reply(3, 2)
    book.told[2] += 1
    await asyncio.sleep(0.5)
    found = "\n".join(book.wrong(0.1))
    for wrong in ("call 0 has 0 answers", "call 3 has 0", "call 1 was told 1 times and answered", "call 2 was told 2"):
        assert wrong in found
    book.answer(2, {"op": "error", "code": "command.absent"})
    assert "call 2 has 2 answers" in "\n".join(book.wrong(0.1))
    for task in tasks:
        task.cancel()
