"""Who is there, at three hubs: a hub that is killed with all its members, cuts, a client and a Redis that stand still.

`AETHER_PROOF=50` has 5,000 members, 1,000 cuts and the times of a hub as it is delivered. The controls must be caught.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.proofs.figures import SCALE, report
from tests.proofs.gathering import CHANNEL, Gathering, gathering
from tests.wire.hubprocess import REPOSITORY
from tests.wire.talk import connected

MEMBERS: Final = min(5000, 100 * SCALE)
CUTS: Final = min(1000, 20 * SCALE)
STANDSTILL_SECONDS: Final = 4.0 if SCALE < 10 else 30.0
PING_SECONDS: Final = 2.0 if SCALE < 10 else 20.0
RIGHT_SECONDS: Final = 15.0
AWAY_SECONDS: Final = 8.0
"""How long after the death of a hub its members may be shown as if nothing were: three seconds, and what a busy machine
takes to tell of thousands."""
BACK_SECONDS: Final = 5.0
"""How long after Redis is back rosters may be wrong."""
GRACE_SECONDS: Final = 10.0
CLIENT: Final = """
import asyncio, sys
from tests.wire.talk import connected
async def main():
    async with connected(sys.argv[1]) as client:
        await client.greet(sys.argv[2])
        await client.ok("channel.join", channel=sys.argv[3], presence={"state": {}})
        while True:
            await client._hear()
asyncio.run(main())
"""


@pytest.fixture
async def hubs(tmp_path: Path) -> AsyncIterator[Gathering]:
    async with gathering(tmp_path, 3, PING_SECONDS) as made:
        yield made


def active(names: list[str]) -> dict[str, str]:
    return dict.fromkeys(names, "active")


@pytest.mark.timeout(900)
async def test_rosters_are_true_whatever_dies_stands_still_or_is_cut(hubs: Gathering) -> None:
    """One scene after the other, over the same hubs: the last one kills one of them."""
    names = [f"m{n}" for n in range(MEMBERS)]
    few = [f"few{n}" for n in range(9)]
    await hubs.issue([*few, "still", *names])
    await hubs.see([0, 1])
    for n in range(3):
        await hubs.come(n, few[3 * n : 3 * n + 3])
    await hubs.until(active(few), 10)
    await cuts(hubs, few)
    await a_client_stands_still(hubs, few)
    for what in ("frozen", "killed", "flushed") if SCALE > 1 else ("frozen",):  # the others are in tests/wire as well
        await redis_fails(hubs, few, what)
    await a_hub_dies(hubs, few, names)


async def cuts(hubs: Gathering, few: list[str]) -> None:
    """Members are cut and come back within their grace, at any hub: nobody is told that anybody left, or came."""
    rng, begun, back = Random(1), time.monotonic(), list[float]()
    async with AsyncExitStack() as stack:
        name, secret, session = "still", {"token": hubs.keys["still"]}, None
        last = hubs.seers[0].client
        for n in range(CUTS + 1):
            at = time.monotonic()
            client = await stack.enter_async_context(connected(hubs.hubs[rng.randrange(3)].socket_url))
            await client.greet(**secret)
            assert session in {None, client.hello["session"]}
            await client.ok("channel.join", channel=CHANNEL, presence={"state": {"n": n}})
            back.append(time.monotonic() - at)
            secret, session, last = {"resume": client.hello["resume"]}, client.hello["session"], client
            if n < CUTS:
                client.socket.transport.abort()
                await client.socket.wait_closed()
                await asyncio.sleep(rng.choice((0.01, 0.02, 0.2)))
        await hubs.until(active([*few, name]), 5)
        for seer in hubs.seers:
            assert seer.kinds(begun)["leave"] == 0
            assert seer.kinds(begun)["join"] == 1
        middle = sorted(back)[CUTS // 2]
        report("presence", f"{CUTS} cuts within the grace: 0 leaves; hello and join took {middle * 1000:.0f} ms")
        control = time.monotonic()
        await last.socket.close()  # the control: who takes leave has left, and is seen to
        await hubs.until(active(few), 5)
        assert [seer.kinds(control)["leave"] for seer in hubs.seers] == [1, 1]


async def a_client_stands_still(hubs: Gathering, few: list[str]) -> None:
    """A client is stopped: it is shown away when it has not answered a ping, and leaves ten seconds later."""
    command = [sys.executable, "-c", CLIENT, hubs.hubs[2].socket_url, hubs.keys["still"], CHANNEL]
    client = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY)
    try:
        await hubs.until(active([*few, "still"]), 15)
        await asyncio.sleep(PING_SECONDS)  # its socket is one that is looked at now and then
        begun = time.monotonic()
        client.send_signal(signal.SIGSTOP)
        away = await hubs.until({**active(few), "still": "away"}, 1.5 * PING_SECONDS + 2)
        left = await hubs.until(active(few), GRACE_SECONDS + 5)
    finally:
        client.kill()
        await client.wait()
    report("presence", f"a client that stands still: away after {away:.1f} s, gone {left:.1f} s later")
    assert abs(left - GRACE_SECONDS) < 2
    for seer in hubs.seers:
        assert seer.kinds(begun) == {"update": 1, "leave": 1}


async def redis_fails(hubs: Gathering, few: list[str], what: str) -> None:
    """Redis stands still, or dies, or forgets everything; meanwhile somebody comes, and somebody goes."""
    begun = time.monotonic()
    async with AsyncExitStack() as stack:
        going = await stack.enter_async_context(connected(hubs.hubs[2].socket_url))
        await going.greet(hubs.keys["m0"])
        await going.ok("channel.join", channel=CHANNEL, presence={"state": {}})
        await hubs.until(active([*few, "m0"]), 5)
        if what == "frozen":
            hubs.redis.freeze()
        elif what == "killed":
            await asyncio.to_thread(hubs.redis.kill)
        else:
            await asyncio.to_thread(hubs.redis.run, "FLUSHALL")
        await asyncio.sleep(STANDSTILL_SECONDS / 2)
        await going.socket.close()
        coming = await stack.enter_async_context(connected(hubs.hubs[2].socket_url))
        await coming.greet(hubs.keys["m1"])
        await coming.ok("channel.join", channel=CHANNEL, presence={"state": {}})
        await asyncio.sleep(STANDSTILL_SECONDS / 2)
        if what != "flushed":
            for seer in hubs.seers:
                assert seer.statuses() == active([*few, "m0"]), "nobody is said to have left, or to be away, meanwhile"
        if what == "frozen":
            hubs.redis.thaw()
        elif what == "killed":
            await asyncio.to_thread(hubs.redis.start)
        seconds = await hubs.until(active([*few, "m1"]), BACK_SECONDS)
        await asyncio.sleep(1)
        for seer in hubs.seers:
            left = {name for at, kind, name, _ in seer.told if kind == "leave" and at >= begun}
            assert left == {"m0"}
        report("presence", f"Redis {what} for {STANDSTILL_SECONDS:.0f} s: right {seconds:.2f} s after it was back")
    await hubs.until(active(few), 5)


async def a_hub_dies(hubs: Gathering, few: list[str], names: list[str]) -> None:
    """A hub is killed: its members are away at once, and gone by the lease, once each, everywhere; so are its locks."""
    begun = time.monotonic()
    await hubs.come(2, names)
    came = time.monotonic() - begun
    await hubs.until(active([*few, *names]), 20)
    victims, rest = {*few[6:], *names}, active(few[:6])
    others = replace(hubs.tenant, process=hubs.hubs[0])
    there = await hubs.stack.enter_async_context(replace(hubs.tenant, process=hubs.hubs[2]).client("owner"))
    here = await hubs.stack.enter_async_context(others.client("editor"))
    record = {"type": "event", "rec": (await here.create("event", title="x"))["id"]}
    await there.ok("lock.take", **record)
    begun = time.monotonic()
    hubs.hubs[2].signal(signal.SIGKILL)
    assert await here.refused("lock.take", **record) == ("lock.held", None)
    away = await hubs.until({**dict.fromkeys(victims, "away"), **rest}, AWAY_SECONDS)
    await hubs.until(rest, RIGHT_SECONDS)
    right = time.monotonic() - begun
    while (await here.call("lock.take", **record))["op"] != "ok":
        assert time.monotonic() - begun < RIGHT_SECONDS, "the lock of a hub that is gone"
        await asyncio.sleep(0.05)
    free = time.monotonic() - begun
    await asyncio.sleep(2)
    for seer in hubs.seers:
        left = [name for at, kind, name, _ in seer.told if kind == "leave" and at >= begun]
        assert len(left) == len(victims)
        assert set(left) == victims
        assert seer.kinds(begun)["join"] == 0
    report(
        "presence",
        f"a hub with {len(victims)} members killed ({came:.1f} s to come): all away after {away:.2f} s, "
        f"rosters right after {right:.2f} s, {len(victims)} leaves at each of {len(hubs.seers)} others; "
        f"a lock held there free after {free:.2f} s",
    )
    assert right <= RIGHT_SECONDS
