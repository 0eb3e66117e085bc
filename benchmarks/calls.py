"""The rows of commands: from a call to the answer of the client that was told, at one hub and over two with Redis.

The peer is socket.io: `emitWithAck` to a room of one, which over its Redis adapter also asks before it tells. Both are
driven by the same load in Python, on a core of its own; so a latency holds some 0.2 ms of the load, on both sides.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvloop
import websockets

from benchmarks import peers, servers
from benchmarks.across import pair
from benchmarks.contest import Against, Contest
from benchmarks.load import Reading, cpu_seconds
from benchmarks.rooms import JSON, SOCKETIO
from benchmarks.stored import Mariadb
from tests.storage import redis_server

WARM_SECONDS: Final = 0.5
PAUSE_SECONDS: Final = 0.05
"""How long a client of the control rests."""
Socket = websockets.ClientConnection


class Hub:
    """How one calls and obeys at the hub."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.to = ""

    async def greet(self, port: int) -> tuple[Socket, str]:
        """Return a greeted socket, and its session."""
        socket = await _open(f"ws://127.0.0.1:{port}/ws", subprotocols=[JSON])
        await socket.send(json.dumps({"op": "session.hello", "id": 1, "token": self.key}))
        return socket, json.loads(await socket.recv())["data"]["session"]

    def call(self, n: int) -> str:
        """Return a call with a number."""
        call = {"op": "client.call", "id": n + 2, "to": {"session": self.to}, "command": "IDENTIFY", "data": {}}
        return json.dumps(call)

    def answered(self, message: str) -> int | None:
        """Return the number of the call that a message answers."""
        found = json.loads(message)
        assert found["op"] == "ok", found
        return int(found["id"]) - 2

    def obey(self, message: str) -> str | None:
        """Return the answer to a command."""
        found = json.loads(message)
        if found["op"] != "command":
            return None
        number = found["command"]
        return json.dumps({"op": "client.reply", "id": number + 1, "command": number, "data": found["data"]})


class SocketIo:
    """The same at socket.io."""

    to = ""

    async def greet(self, port: int) -> tuple[Socket, str]:
        """Return a socket that is in the room of workers, as callers are not told anything."""
        socket = await _open(f"ws://127.0.0.1:{port}{SOCKETIO}{self.to}")
        await socket.recv()
        await socket.send("40")
        await socket.recv()
        return socket, "&caller=1"

    def call(self, n: int) -> str:
        """Return a call with a number."""
        return f'42{n}["call",{{"seconds":10}}]'

    def answered(self, message: str) -> int | None:
        """Return the number of the call that a message answers."""
        if not message.startswith("43"):
            return None
        assert '"seconds":10' in message, message
        return int(message[2 : message.index("[")])

    def obey(self, message: str) -> str | None:
        """Return the answer to a command."""
        if not message.startswith("42"):
            return None
        at = message.index("[")
        return f"43{message[2:at]}[{json.dumps(json.loads(message[at:])[1])}]"


Speech = Hub | SocketIo


async def _open(url: str, **options: Any) -> Socket:
    return await websockets.connect(url, compression=None, ping_interval=None, max_size=None, proxy=None, **options)


async def _work(socket: Socket, speech: Speech, pause: float) -> None:
    async for message in socket:
        answer = speech.obey(str(message))
        if answer is not None:
            if pause:
                await asyncio.sleep(pause)
            await socket.send(answer)


async def _measured(
    speech: Speech, here: servers.Server, there: servers.Server, depth: int, seconds: float, pause: float
) -> Reading:
    """Call at one server a client of another that rests so long before it answers, so many calls at a time."""
    worker, speech.to = await speech.greet(there.port)
    caller, _ = await speech.greet(here.port)
    working = asyncio.create_task(_work(worker, speech, pause))
    servers_ = {here.pid, there.pid}
    begun, sent, latencies = dict[int, float](), 0, list[float]()

    async def send() -> None:
        nonlocal sent
        begun[sent] = time.perf_counter()
        sent += 1
        await caller.send(speech.call(sent - 1))

    async def calls(until: float) -> int:
        done = 0
        for _ in range(depth):
            await send()
        while begun:
            number = speech.answered(str(await caller.recv()))
            if number is None:
                continue
            now = time.perf_counter()
            latencies.append(now - begun.pop(number))
            done += 1
            if now < until:
                await send()
        return done

    await calls(time.perf_counter() + WARM_SECONDS)
    latencies.clear()
    cpu, start = sum(map(cpu_seconds, servers_)), time.perf_counter()
    done = await calls(start + seconds)
    took = time.perf_counter() - start
    cpu = sum(map(cpu_seconds, servers_)) - cpu
    working.cancel()
    await asyncio.gather(caller.close(), worker.close())
    return Reading(done, took, cpu, latencies)


def _run(
    speech: Speech, here: servers.Server, there: servers.Server, depth: int, seconds: float, pause: float = 0.0
) -> Reading:
    before = os.sched_getaffinity(0)
    servers.pin(servers.LOAD_CORE)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_measured(speech, here, there, depth, seconds, pause))
    finally:
        os.sched_setaffinity(0, before)


def hub(depth: int, seconds: float, *, pause: float = 0.0) -> Reading:
    """Measure calls at one hub; `pause` is for how many seconds the other client rests before it answers."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, servers.hub(Path(folder)) as server:
        return _run(Hub(servers.api_key(server.data)), server, server, depth, seconds, pause)


def hubs(mariadb: Mariadb, depth: int, seconds: float, *, pause: float = 0.0) -> Reading:
    """Measure calls from one hub to a client of another; the processor time is that of both."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as name, pair(mariadb, Path(name)) as (one, two):
        return _run(Hub(servers.api_key(one.data)), one, two, depth, seconds, pause)


@contextmanager
def _socketio(count: int) -> Iterator[list[servers.Server]]:
    """Run so many socket.io servers, with Redis between them where it is more than one."""
    with ExitStack() as stack:
        url = None
        if count > 1:
            bus = stack.enter_context(redis_server.running())
            servers.pin(servers.LOAD_CORE, bus.pid)
            url = bus.url
        found = []
        for _ in range(count):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="aether-bench-"))
            found.append(stack.enter_context(peers.socket_io(Path(folder), url)))
        if count > 1:
            servers.pin(servers.LOAD_CORE, found[0].pid)
        yield found


def socketio(depth: int, seconds: float) -> Reading:
    """Measure the same at one socket.io server."""
    with _socketio(1) as (server,):
        return _run(SocketIo(), server, server, depth, seconds)


def socketios(depth: int, seconds: float) -> Reading:
    """Measure the same from one socket.io server to a client of another, over the Redis adapter."""
    with _socketio(2) as (one, two):
        return _run(SocketIo(), one, two, depth, seconds)


def contests(mariadb: Mariadb, seconds: float) -> list[Contest]:
    """Return the rows; each side runs for `seconds` in each round."""
    one, across = partial(hub, seconds=seconds), partial(hubs, mariadb, seconds=seconds)
    peer, peers_ = partial(socketio, seconds=seconds), partial(socketios, seconds=seconds)
    what = "from a call to the answer of the client that was told"
    return [
        Contest(
            "calls",
            f"{what}, at one hub, one call at a time, beside emitWithAck of socket.io",
            partial(one, 1),
            (Against("socket.io", partial(peer, 1), 0.6),),
            control=partial(one, 1, pause=PAUSE_SECONDS),
            most_p99=20,
        ),
        Contest(
            "calls-many",
            "the same with 32 calls outstanding",
            partial(one, 32),
            (Against("socket.io", partial(peer, 32), 0.6),),
            control=partial(across, 32),
        ),
        Contest(
            "calls-across",
            f"{what} at another hub, over Redis, one call at a time, beside socket.io with its Redis adapter",
            partial(across, 1),
            (Against("socket.io", partial(peers_, 1), 0.8),),
            control=partial(across, 1, pause=PAUSE_SECONDS),
            most_p99=20,
        ),
        Contest(
            "calls-across-many",
            "the same with 32 calls outstanding",
            partial(across, 32),
            (Against("socket.io", partial(peers_, 32), 0.8),),
            control=partial(across, 1),
        ),
    ]
