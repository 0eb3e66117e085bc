"""A client that does not read harms only itself: memory is bounded, watches reset, the socket cut in the end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import websockets

from tests.wire.talk import Client, connected
from tests.wire.tenant import Tenant

CHANGES = 600
BODY = 19_000


@asynccontextmanager
async def narrow(tenant: Tenant, codec: str = "json") -> AsyncIterator[Client]:
    """Yield a greeted socket whose kernel takes in very little."""
    parts = urlsplit(tenant.process.url)
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    plain.connect((parts.hostname, parts.port))
    plain.setblocking(False)
    async with connected(tenant.process.socket_url, codec, sock=plain) as client:
        await client.greet(tenant.keys["viewer"])
        yield client
        client.socket.transport.abort()


async def flood(writer: Client, rec: str) -> list[int]:
    """Change a large field again and again; return the numbers of the commits.

    Some at a time: a writer that reads none of its answers is a slow socket itself.
    """
    seqs: list[int] = []
    for first in range(0, CHANGES, 40):
        numbers = [
            await writer.send("record.update", type="event_session", rec=rec, data={"abstract": f"{n:05}" + "x" * BODY})
            for n in range(first, first + 40)
        ]
        seqs += [(await writer.answer(number))["seq"] for number in numbers]
    return seqs


async def talk_of(writer: Client) -> str:
    event = (await writer.create("event", title="A", acronym="a"))["id"]
    return str((await writer.create("event_session", event, title="T", guid="g"))["id"])


async def test_a_socket_that_does_not_read_is_reset_or_cut_and_others_stay_fast(tenant: Tenant) -> None:
    process = tenant.process
    async with (
        tenant.client("editor") as writer,
        tenant.client("viewer") as fast,
        narrow(tenant) as pausing,
        narrow(tenant) as dead,
    ):
        talk = await talk_of(writer)
        watches = [(await c.ok("watch.start", type="event_session"))["watch"] for c in (fast, pausing, dead)]
        assert len(set(watches)) == 1
        for client in (pausing, dead):
            client.socket.transport.pause_reading()
        before, cuts = process.memory, process.log.count("made no progress")

        writing = asyncio.create_task(flood(writer, talk))
        seen: list[int] = []
        slowest = 0.0
        loop = asyncio.get_running_loop()
        while not seen or not writing.done() or seen[-1] != writing.result()[-1]:
            begun = loop.time()
            await fast.ok("session.beat")
            slowest = max(slowest, loop.time() - begun)
            seen += [m["seq"] for m in fast.pushes if m["op"] == "change"]
            fast.pushes.clear()
        assert seen == writing.result(), "the fast one got every commit, in order and once"
        assert slowest < 2.0
        assert process.memory - before < 48 * 1024 * 1024

        # The one that reads again learns that it lost its watch, and starts over.
        pausing.socket.transport.resume_reading()
        reset = await pausing.push("reset")
        assert (reset["watch"], reset["why"]) == (watches[0], "slow")
        await pausing.settled()
        late = [m for m in pausing.log[pausing.log.index(reset) :] if m["op"] == "change"]
        assert late == [], "nothing more of a watch that was reset"
        again = await pausing.ok("watch.start", type="event_session")
        assert again["records"][0]["abstract"] == f"{CHANGES - 1:05}" + "x" * BODY

        # The one that never reads is cut.
        async with asyncio.timeout(20):
            while process.log.count("made no progress") == cuts:
                await asyncio.sleep(0.05)
        dead.socket.transport.resume_reading()
        assert await dead.closed() == 4409
        await fast.ok("session.beat")


async def test_a_socket_that_asks_and_does_not_read_fills_no_memory(tenant: Tenant) -> None:
    process = tenant.process
    async with tenant.client("editor") as writer, narrow(tenant) as greedy:
        event = (await writer.create("event", title="A", acronym="a"))["id"]
        for n in range(35):
            await writer.create("event_session", event, title="T", guid=str(n), abstract="x" * BODY)
        before = process.memory
        greedy.socket.transport.pause_reading()
        find = {"op": "record.find", "type": "event_session", "limit": 1000}
        with suppress(TimeoutError, websockets.ConnectionClosed):
            async with asyncio.timeout(2):
                for frame in range(50):
                    await greedy.send_raw([{**find, "id": 100 + 500 * frame + n} for n in range(500)])
        for _ in range(20):
            await writer.ok("record.find", type="event", limit=1)
        assert process.memory - before < 48 * 1024 * 1024
        greedy.socket.transport.resume_reading()
        assert len((await greedy.answer(100))["data"]["records"]) == 35
        for number in range(101, 110):
            assert (await greedy.answer(number))["op"] == "ok"


async def test_a_socket_that_pings_and_does_not_read_fills_no_memory(tenant: Tenant) -> None:
    process = tenant.process
    async with tenant.client("editor") as other, narrow(tenant) as rude:
        before = process.memory
        rude.socket.transport.pause_reading()
        ping = b"\x89\xfd" + b"\0" * 4 + b"x" * 125  # masked with zeros
        for _ in range(300):
            rude.socket.transport.write(ping * 600)
            await other.ok("session.beat")
        async with asyncio.timeout(20):
            while rude.socket.transport.get_write_buffer_size():
                await asyncio.sleep(0.01)
        await other.ok("session.beat")
        assert process.memory - before < 16 * 1024 * 1024, "of 23 MB of pings"
