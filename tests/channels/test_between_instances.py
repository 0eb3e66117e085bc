"""Two live sides over one database and a Redis that is killed, frozen, flushed and cut off: nobody misses anything.

All the faults happen at the same time, each to a Redis of its own; each test reads what came of one. `AETHER_PROOF`
repeats them.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import pytest

from channels.live import Live
from hub.schema.writes import ChangeSet
from storage.memory import MemoryDatabase
from storage.redis.address import Address
from storage.redis.bus import RedisBus
from tests.channels.scene import ACCOUNT, Store
from tests.proofs.figures import SCALE, report
from tests.storage.proxy import Proxy
from tests.storage.redis_server import RedisServer

SECRET: Final = b"a secret that all hubs share...."
DETECTION_SECONDS: Final = 3.0
SLACK_SECONDS: Final = 1.0
"""For a machine that others keep busy: detection is counted in looks, not read off a clock."""
DELAY_SECONDS: Final = 5.0
"""How late a change may be at the other instance, whatever Redis does."""
WRITES_A_SECOND: Final = 40
ROUNDS: Final = max(1, SCALE // 10)


async def until(fact: Callable[[], bool], seconds: float) -> None:
    """Wait for a fact."""
    async with asyncio.timeout(seconds):
        while not fact():
            await asyncio.sleep(0.01)


class Instance:
    """One hub without sockets. `delivered` is what its watchers would be told, and when."""

    def __init__(self, database: MemoryDatabase, port: int, *, read_gaps: bool) -> None:
        self.store = Store(database)
        self.bus = RedisBus(Address(f"redis://127.0.0.1:{port}"), SECRET, self._realm)
        self.live = Live(self.store.storage, self.bus, read_gaps=read_gaps)
        self.delivered: list[tuple[int, float]] = []
        self.live.dispatcher._deliver = self._deliver

    async def _realm(self) -> str:
        return (await self.store.storage.heads(["system"]))["system"].epoch

    def _deliver(self, commit: ChangeSet) -> None:
        self.delivered.append((commit.seq, time.monotonic()))

    @property
    def seqs(self) -> list[int]:
        """The numbers of what was delivered, in order."""
        return [seq for seq, _ in self.delivered]


@dataclass
class Scene:
    """A writer and a reader over one database; each may reach Redis through a proxy of its own."""

    server: RedisServer
    writer: Instance
    reader: Instance
    before_writer: Proxy
    before_reader: Proxy
    written: dict[int, float] = field(default_factory=dict)
    """When each commit was made."""
    seconds: float = 0.0
    """How long the fault was not noticed, where somebody had to notice it."""

    async def noticed(self, bus: RedisBus) -> None:
        """Measure how long it takes until a bus knows that it may have missed something."""
        begun, lost = time.monotonic(), bus.counts.lost
        await until(lambda: bus.counts.lost > lost or not bus.healthy, 10)
        self.seconds = time.monotonic() - begun

    async def healed(self) -> None:
        """Wait until both are connected again."""
        await until(lambda: self.writer.bus.healthy and self.reader.bus.healthy, 20)


async def nothing(scene: Scene) -> None:
    """All is well."""
    await asyncio.sleep(1)


async def killed(scene: Scene) -> None:
    """Redis is killed, and started again two seconds later, knowing nothing."""
    await asyncio.to_thread(scene.server.kill)
    await scene.noticed(scene.reader.bus)
    await asyncio.sleep(2)
    await asyncio.to_thread(scene.server.start)


async def restarted(scene: Scene) -> None:
    """Redis is stopped in good order and started at once."""
    await asyncio.to_thread(scene.server.stop)
    await asyncio.to_thread(scene.server.start)


async def frozen(scene: Scene) -> None:
    """Redis stands still for some seconds, with every connection open."""
    scene.server.freeze()
    await scene.noticed(scene.reader.bus)
    await asyncio.sleep(1)
    scene.server.thaw()


async def flushed(scene: Scene) -> None:
    """Everything that Redis holds is gone."""
    await asyncio.to_thread(scene.server.run, "FLUSHALL")


async def subscribers_killed(scene: Scene) -> None:
    """Redis cuts all who listen, several times."""
    for _ in range(8):
        await asyncio.to_thread(scene.server.run, "CLIENT", "KILL", "TYPE", "pubsub")
        await asyncio.sleep(random.random() / 2)


async def output_cut(scene: Scene) -> None:
    """Redis cuts the reader, who takes nothing for a while, because too much waits for it."""
    limit = "pubsub 200kb 200kb 1"
    await asyncio.to_thread(scene.server.run, "CONFIG", "SET", "client-output-buffer-limit", limit)
    scene.before_reader.hold()
    assert scene.reader.bus._seal is not None
    channel = scene.reader.bus._seal.channels[0].decode()
    heard_by = b":2"
    for _ in range(60):
        heard_by = await asyncio.to_thread(scene.server.run, "PUBLISH", channel, "x" * 500_000)
        if heard_by == b":0":
            break
    assert heard_by in {b":0", b":1"}, "Redis cut nobody"
    scene.before_reader.let_go()
    await scene.noticed(scene.reader.bus)


async def reader_cut_off(scene: Scene) -> None:
    """The reader's way to Redis swallows everything and breaks nothing."""
    scene.before_reader.hold()
    await scene.noticed(scene.reader.bus)
    await asyncio.sleep(3)
    scene.before_reader.let_go()


async def writer_cut_off(scene: Scene) -> None:
    """So does the writer's; the reader's is good, and must not take silence for rest."""
    scene.before_writer.hold()
    begun = time.monotonic()
    await until(lambda: not scene.reader.bus.healthy, 10)
    scene.seconds = time.monotonic() - begun - 1.0  # the last beat may be as young as the fault, or a second old
    await asyncio.sleep(4)
    scene.before_writer.let_go()


async def writer_mute(scene: Scene) -> None:
    """The writer's connections are reset again and again."""
    for _ in range(10):
        scene.before_writer.reset()
        await asyncio.sleep(random.random() / 3)


Fault = Callable[[Scene], Awaitable[None]]
FAULTS: Final[tuple[Fault, ...]] = (
    nothing, killed, restarted, frozen, flushed, subscribers_killed, output_cut, reader_cut_off, writer_cut_off,
    writer_mute,
)  # fmt: skip
NOTICED: Final[tuple[Fault, ...]] = (killed, frozen, output_cut, reader_cut_off, writer_cut_off)
"""The faults whose time until they are noticed is measured."""


@dataclass
class Outcome:
    """What came of one fault."""

    written: dict[int, float]
    delivered: list[tuple[int, float]]
    seconds: float
    healed: bool
    waited: float
    """The longest that a commit took."""

    @property
    def delays(self) -> list[float]:
        """How late each commit was at the reader, in seconds, sorted."""
        return sorted(at - self.written[seq] for seq, at in self.delivered)


@asynccontextmanager
async def opened(*, read_gaps: bool) -> AsyncIterator[Scene]:
    """Return two instances that hear each other."""
    server = RedisServer()
    async with AsyncExitStack() as stack:
        stack.callback(server.remove)
        await asyncio.to_thread(server.start)
        before_writer, before_reader = [await stack.enter_async_context(Proxy(server.port)) for _ in range(2)]
        database = MemoryDatabase()
        writer, reader = (
            Instance(database, proxy.port, read_gaps=read_gaps) for proxy in (before_writer, before_reader)
        )
        for instance in (writer, reader):
            await instance.store.start()
            await instance.live.start()
            stack.push_async_callback(instance.bus.close)
            stack.push_async_callback(instance.live.close)
            await instance.live.dispatcher.follow(ACCOUNT)
        scene = Scene(server, writer, reader, before_writer, before_reader)
        await scene.healed()
        yield scene


async def play(fault: Fault, *, read_gaps: bool = True) -> Outcome:
    """Write all the time while a fault happens and is healed; return what came of it."""
    async with opened(read_gaps=read_gaps) as scene:
        writing, longest = True, 0.0

        async def write() -> None:
            nonlocal longest
            while writing:
                begun = time.monotonic()
                await scene.writer.store.create(f"Number {len(scene.written)}")
                seq = scene.writer.store.storage.database.head(ACCOUNT)
                scene.written[seq] = begun
                longest = max(longest, time.monotonic() - begun)
                await asyncio.sleep(random.random() * 2 / WRITES_A_SECOND)

        task = asyncio.create_task(write())
        await asyncio.sleep(0.3)
        healed = True
        try:
            await fault(scene)
            await scene.healed()
        except TimeoutError:
            healed = False
        await asyncio.sleep(0.3)
        writing = False
        await task
        last = max(scene.written)
        try:
            await until(lambda: last in scene.reader.seqs, DELAY_SECONDS if read_gaps else 3.0)
        except TimeoutError:
            pass  # what is missing shows in what was delivered
        return Outcome(scene.written, scene.reader.delivered, scene.seconds, healed, longest)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, list[Outcome]]:
    """Play every fault, and the control, at the same time."""

    async def play_all() -> list[Outcome]:
        return list(await asyncio.gather(*(play(fault) for fault in FAULTS), control()))

    async def control() -> Outcome:
        return await play(subscribers_killed, read_gaps=False)

    names = [*(fault.__name__ for fault in FAULTS), "control"]
    found: dict[str, list[Outcome]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name, outcome in zip(names, asyncio.run(play_all()), strict=True):
            found[name].append(outcome)
    return found


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_nothing_is_missing_doubled_or_out_of_order(fault: Fault, outcomes: dict[str, list[Outcome]]) -> None:
    for outcome in outcomes[fault.__name__]:
        delays = outcome.delays
        report(
            "bus-faults",
            f"{fault.__name__}: {len(outcome.written)} commits, {len(outcome.delivered)} delivered, noticed after "
            f"{outcome.seconds:.2f} s, delay p50 {delays[len(delays) // 2] * 1000:.1f} ms, longest {delays[-1]:.2f} s, "
            f"longest commit {outcome.waited * 1000:.0f} ms",
        )
        assert [seq for seq, _ in outcome.delivered] == sorted(outcome.written)
        assert outcome.healed
        assert delays[-1] <= DELAY_SECONDS
        assert outcome.waited < 1.8, "Redis, whose time-outs are two seconds, makes no commit wait"


@pytest.mark.parametrize("fault", NOTICED, ids=lambda fault: fault.__name__)
def test_a_fault_is_noticed_within_three_seconds(fault: Fault, outcomes: dict[str, list[Outcome]]) -> None:
    for outcome in outcomes[fault.__name__]:
        assert 0 <= outcome.seconds <= DETECTION_SECONDS + SLACK_SECONDS


def test_without_reading_the_log_the_same_check_finds_gaps(outcomes: dict[str, list[Outcome]]) -> None:
    for outcome in outcomes["control"]:
        missing = set(outcome.written) - {seq for seq, _ in outcome.delivered}
        report("bus-faults", f"control: {len(missing)} of {len(outcome.written)} missing")
        assert missing
