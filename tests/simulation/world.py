"""A world in virtual time: hub cores over one database and a lossy bus, and clients that check everything.

    with patched(rng): run(World(seed).play())        -> the differences that were found

The cores are the product's: `Live`, `Services`, `Operations`, and `Connection` over a simulated socket.
One seed draws the faults, the clients and what they do; the same seed plays the same way again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from unittest import mock

from channels import dispatch, live, replays, starts, windows
from handlers import people
from handlers import watches as watch_handlers
from handlers.base import Operations, Services
from handlers.modules import MODULES
from hub.access import Rights, RightsTable
from hub.edge.connection import Connection, Hub
from hub.schema.registry import Registry
from hub.wire.codec import JSON, MSGPACK
from hub.wire.errors import HubError
from storage.blobs.disk import DiskBlobs
from storage.memory import MemoryDatabase
from tests.simulation.actor import Actor, Cut
from tests.simulation.client import Wrong
from tests.simulation.clock import run, wire_clock
from tests.simulation.edges import SimulatedEdge
from tests.simulation.history import History
from tests.simulation.network import Faults, Link, LossyBus, SlowStorage
from tests.simulation.writes import Writes

REGISTRY = Registry.of(["hub.schema.core", "tests.simulation.kinds"])
RIGHTS = RightsTable(REGISTRY)
OPERATIONS = Operations(MODULES)
ROLES = ("owner", "owner", "viewer", "editor")
SETTLE_SECONDS = 30.0
"""Longer than any poll, lease and time-out of the hub."""


@contextmanager
def narrow_limits(rng: Random) -> Iterator[bool]:
    """Make the limits so small, for some seeds, that every path is taken; yield whether resumes may expire."""
    replay = rng.choice((3, 10_000))
    with (
        mock.patch.multiple(dispatch, AHEAD=rng.choice((2, 1000)), PAGE=rng.choice((2, 500))),
        mock.patch.multiple(starts, REPLAY_EVENTS=replay),
        mock.patch.multiple(replays, STRETCH=rng.choice((2, 500))),
        mock.patch.multiple(windows, LEAST_RESERVE=rng.choice((0, 1, 20))),
        mock.patch.multiple(watch_handlers, PAGE_RECORDS=rng.choice((2, 500))),
    ):
        yield replay == 3


class Core:
    """One hub without sockets."""

    def __init__(self, world: World, name: str) -> None:
        rng = Random(world.rng.random())
        self.name = name
        self.storage = SlowStorage(REGISTRY, world.database, rng, world.faults)
        self.bus = LossyBus(rng, world.faults, world.ends)
        self.live = live.Live(self.storage, self.bus, read_gaps=world.read_gaps)
        if name == "a":
            self.live.watches.fanout.many = 1  # here every push is kept once for all its sockets, elsewhere none
        services = Services(
            registry=REGISTRY,
            rights=RIGHTS,
            storage=self.storage,
            live=self.live,
            blobs=DiskBlobs(Path("unused")),
            secret=b"simulation",
            version="0",
            instance=name,
            max_file_bytes=1,
            clock=wire_clock,
            random=rng.randbytes,
        )
        self.hub = Hub(services, OPERATIONS, set())
        self.links: list[Link] = []
        self._readers: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start; try again while storage cannot be read, as whoever runs a hub does."""
        await self.storage.start()
        while True:
            try:
                await self.live.start()
            except HubError:
                await asyncio.sleep(1.0)
            else:
                return

    def accept(self, link: Link, binary: bool, outlet_bytes: int) -> None:
        """Serve a link until it is cut."""
        edge = SimulatedEdge(link.down, link.shut, link.at_once)
        connection = edge.connection = Connection(self.hub, MSGPACK if binary else JSON, edge, operator=True)
        connection.outlet.max_bytes = outlet_bytes
        self.links.append(link)

        async def read() -> None:
            while (frame := await link.frames.get()) is not None:
                await edge.received(connection, frame)
            connection.end(clean=False)
            self.links.remove(link)

        task = asyncio.get_running_loop().create_task(read())
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)

    async def crash(self) -> None:
        """Stop as a killed process does: what was not committed is gone, what was is told by nobody."""
        self.storage.crashed = True
        for link in list(self.links):
            link.break_off()
        await self.live.close()
        await self.bus.close()


@dataclass
class Sizes:
    """How long a schedule is."""

    seconds: float = 8.0
    actors: int = 4
    actions: int = 10


class World:
    """One schedule. `wrong` holds what was found; empty is good."""

    kinds = REGISTRY.types

    def __init__(self, seed: int, *, read_gaps: bool = True, sizes: Sizes | None = None) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.read_gaps = read_gaps
        self.sizes = sizes or Sizes()
        self.faults = Faults()
        self.ends: list[LossyBus] = []
        self.database = MemoryDatabase()
        self.cores: list[Core] = []
        self.wrong: list[str] = []
        self.may_expire = False
        self.ending = False
        self.counts: dict[str, int] = {}
        self.account = ""
        self.history = History(self.database, "")
        self.writes = Writes(REGISTRY, self.rng, self.history)

    def rights(self, role: str) -> Rights:
        """Return the rights of a role."""
        return RIGHTS.of(role)

    def fault(self, text: str) -> None:
        """Note something that a correct hub does not do."""
        self.wrong.append(text)

    def count(self, what: str, n: int = 1) -> None:
        """Count something that happened, for the figures."""
        self.counts[what] = self.counts.get(what, 0) + n

    async def play(self) -> list[str]:
        """Play the schedule; return the differences."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.fault(f"unhandled: {context}"))
        self.cores = [Core(self, "a"), Core(self, "b")]
        for core in self.cores:
            await core.start()
        tokens = await self._accounts()
        actors = [Actor(self, f"actor{n}", role, tokens[role]) for n, role in enumerate(self._roles())]
        vars(self.faults).update(vars(Faults.drawn(self.rng)))
        playing = [loop.create_task(actor.play()) for actor in actors]
        await self._weather(actors)
        self.ending = True
        self.faults.heal(self.rng)
        await asyncio.wait(playing, timeout=300)
        for task in playing:
            if not task.done():
                self.fault("a client never came to its end")
            elif task.exception() is not None:
                self.fault(f"a client failed: {task.exception()!r}")
        await asyncio.sleep(SETTLE_SECONDS)
        resting = [loop.create_task(actor.rest()) for actor in actors]
        _, restless = await asyncio.wait(resting, timeout=300)
        for task in restless:
            task.cancel()
            self.fault("what was on its way to a client never arrived")
        for task in resting:
            if task.done() and not task.cancelled() and task.exception() is not None:
                self.fault(f"a client failed: {task.exception()!r}")
        await self._compare(actors)
        for core in self.cores:
            await core.crash()
        return self.wrong

    def _roles(self) -> tuple[str, ...]:
        return ROLES[: self.rng.randint(max(1, self.sizes.actors - 2), self.sizes.actors)]

    async def _accounts(self) -> dict[str, str | None]:
        services = self.cores[0].hub.services
        self.account = (await people.create_account(services, "main"))["id"]
        await people.create_account(services, "other")
        self.history = History(self.database, self.account)
        self.writes = Writes(REGISTRY, self.rng, self.history)
        tokens: dict[str, str | None] = {"owner": None}  # the operator needs no token
        for role in ("viewer", "editor"):
            tokens[role] = (await people.create_api_key(services, self.account, role, role))[1]
        return tokens

    async def _weather(self, actors: list[Actor]) -> None:
        """Cut links, crash cores, change what else goes wrong, until the end."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.sizes.seconds
        while loop.time() < end:
            await asyncio.sleep(self.rng.random() * 2.0)
            pick = self.rng.random()
            if pick < 0.6:
                self.rng.choice(actors).cut()
            elif pick < 0.7:
                old = self.rng.choice(self.cores)
                await old.crash()
                self.count("crashes")
                self.faults.read_fails = min(self.faults.read_fails, 0.5)  # else it would never start
                fresh = Core(self, f"{old.name}'")
                await fresh.start()
                self.cores[self.cores.index(old)] = fresh
            else:
                vars(self.faults).update(vars(Faults.drawn(self.rng)))
                if self.rng.random() < 0.05:
                    self.faults.read_fails = 1.0

    async def _compare(self, actors: list[Actor]) -> None:
        """Hold what every client has against the log, and against a fresh find on either core."""
        for check in (self.writes.check, *(actor.compare_with_log for actor in actors)):
            try:
                check()
            except Wrong as wrong:
                self.fault(str(wrong))
        if self.wrong:
            return  # who was left without an answer would be so again
        try:
            for core in list(self.cores):
                for actor in actors:
                    await actor.compare_with_find(core)
        except (Wrong, Cut) as wrong:
            self.fault(repr(wrong))


def play(seed: int, *, read_gaps: bool = True, sizes: Sizes | None = None) -> World:
    """Play one schedule in virtual time; return the world as it ended."""
    world = World(seed, read_gaps=read_gaps, sizes=sizes)
    logger = logging.getLogger("hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # crashed cores complain; what reaches a client is judged there
    try:
        with narrow_limits(world.rng) as may_expire:
            world.may_expire = may_expire
            run(world.play())
    finally:
        logger.setLevel(level)
    return world
