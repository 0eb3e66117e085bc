"""Watchers of one query and one who changes what they watch, in a process of their own; and some who do not read."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

import uvloop

from tests.forked import CONTEXT
from tests.proofs.attackers import UPGRADE, frame, said
from tests.proofs.line import Line, open_line

SAMPLE: Final = 16
"""Of one in so many watchers it is measured how late they hear."""
TOGETHER: Final = 100
KERNEL_BYTES: Final = 4096
"""How little the kernel takes in for a client that does not read."""


@dataclass(frozen=True)
class Task:
    """What a round does: change the record `per_second` times a second, for so many seconds."""

    seconds: float
    per_second: float


@dataclass(frozen=True)
class Round:
    """What a round saw: pushes heard, changes made, and how late each of some pushes was, in seconds."""

    heard: int
    changes: int
    late: list[float]

    def percentile(self, share: float) -> float:
        """Return a percentile of the delays, in milliseconds."""
        ordered = sorted(self.late)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


class Fan:
    """The watchers and the writer."""

    def __init__(self, port: int, token: str, rec: str) -> None:
        self.port = port
        self.rec = rec
        self.hello = said("session.hello", token=token)
        self.answers = 0
        self.heard = 0
        self.sent = 0.0
        self.late: list[float] = []
        self.number = 10
        self.clients: list[Line] = []
        self.writer: Line

    def _sampled(self, payload: bytes) -> None:
        if payload.startswith(b'{"op":"change"'):
            self.late.append(time.perf_counter() - self.sent)
        self._told(payload)

    def _told(self, payload: bytes) -> None:
        if payload.startswith(b'{"op":"change"'):
            self.heard += 1
        elif payload.startswith(b'{"op":"ok"'):
            self.answers += 1
        else:
            raise AssertionError(payload[:200])

    async def open(self, watchers: int) -> None:
        """Open the sockets; every watcher has its snapshot at the end."""
        watch = said("watch.start", 2, type="event", where={"id": self.rec})
        while len(self.clients) < watchers:
            for _ in range(min(TOGETHER, watchers - len(self.clients))):
                told = self._told if len(self.clients) % SAMPLE else self._sampled
                client = await open_line(self.port, told)
                client.send(self.hello)
                client.send(watch)
                self.clients.append(client)
            await self._answered(2 * len(self.clients))
        self.writer = await open_line(self.port, self._told)
        self.writer.send(self.hello)
        await self._answered(self.answers + 1)

    async def _answered(self, count: int) -> None:
        async with asyncio.timeout(60):
            while self.answers < count:
                await asyncio.sleep(0.005)

    async def play(self, task: Task) -> Round:
        """Change the record at the rate; each change is awaited by all before the next one, or the rate is not kept."""
        self.late, before, changes = [], self.heard, 0
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while loop.time() - begun < task.seconds:
            await asyncio.sleep(max(0.0, begun + changes / task.per_second - loop.time()))
            self.number += 1
            changes += 1
            body = said(
                "record.update",
                self.number,
                type="event",
                rec=self.rec,
                data={"title": f"{self.number:08}" + "x" * 150},
            )
            self.sent = time.perf_counter()
            self.writer.send(body)
            async with asyncio.timeout(30):
                while self.heard < before + changes * len(self.clients):
                    await asyncio.sleep(0.0005)
        return Round(self.heard - before, changes, self.late)


def _serve(port: int, token: str, rec: str, watchers: int, core: int | None, pipe: Connection) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})

    async def run() -> None:
        fan = Fan(port, token, rec)
        await fan.open(watchers)
        pipe.send(None)
        while (task := await asyncio.to_thread(pipe.recv)) is not None:
            pipe.send(await fan.play(task))
        for client in (*fan.clients, fan.writer):
            client.reset()

    uvloop.run(run())


class FanProcess:
    """The process, as its test sees it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def play(self, seconds: float, per_second: float) -> Round:
        """Run one round."""
        self._pipe.send(Task(seconds, per_second))
        return self.received()

    def received(self) -> Round:
        """Return what the process says next; raise where it is gone."""
        if not self._pipe.poll(120):
            raise AssertionError("the watchers say nothing")
        found: Round = self._pipe.recv()
        return found


@contextmanager
def fanned(port: int, token: str, rec: str, watchers: int, *, core: int | None) -> Iterator[FanProcess]:
    """Run watchers of a record and one who changes it, on a core of their own where one is named."""
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_serve, args=(port, token, rec, watchers, core, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        fan = FanProcess(ours)
        fan.received()
        yield fan
        ours.send(None)
        process.join(20)
    finally:
        process.kill()
        process.join()


class Stalled:
    """Sockets that watch something, ask for something large, and never read again."""

    def __init__(self, port: int, token: str, watches: list[dict[str, object]], asks: list[dict[str, object]]) -> None:
        self.sockets = [_stalled(port, token, watch, asks) for watch in watches]

    def close(self) -> None:
        """End them all."""
        for each in self.sockets:
            each.close()


def _stalled(port: int, token: str, watch: dict[str, object], asks: list[dict[str, object]]) -> socket.socket:
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
    stalled.settimeout(10)
    stalled.connect(("127.0.0.1", port))
    stalled.sendall(UPGRADE + frame(said("session.hello", token=token)) + frame(json.dumps(watch).encode()))
    heard = b""
    while b'"id":2' not in heard:
        heard += stalled.recv(4096)
    if asks:
        stalled.sendall(frame(json.dumps(asks).encode()))
    return stalled
