"""What the suites of a failing MariaDB share: a keeper in use, and a load of requests with a ledger of answers."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from hub.schema.writes import Commit, Committed, KeyClaim
from hub.wire.errors import HubError
from storage.mariadb.keeper import MariadbStorage
from tests.storage.declared import Use, box, registry, ticking
from tests.storage.mariadb_server import MariadbServer
from tests.storage.proxy import Proxy

ANSWER_SECONDS = 5.5
HEAL_SECONDS = 5.0


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
    """Writers and readers that go on whatever happens, each write with a key, and a ledger of what was acknowledged.

    `answer_seconds`: when an answer is late, None for `ANSWER_SECONDS`.
    """

    def __init__(self, use: Use, writers: int = 8, answer_seconds: float | None = None) -> None:
        self.use = use
        self.answer_seconds = answer_seconds
        self.acknowledged: dict[str, int] = {}
        self.codes: set[str] = set()
        self.refused = 0
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
        assert max(self.seconds) <= (self.answer_seconds or ANSWER_SECONDS), "no answer is late"
        assert self.codes <= {"server.unavailable", "write.unknown"}
        await until(lambda: len(self.use.told) >= len(log))
        assert self.use.told == log, "told of each once and in order, of what was unknown at first too"

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
                count += 1
            else:
                self.codes.add(done.code)
                self.refused += 1
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
