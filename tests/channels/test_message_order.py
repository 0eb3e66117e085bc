"""Everybody in a channel hears the same messages in the same order, once, whatever happens to sockets and instances.

Three instances share a log that takes its time: an append is ordered later, told to each instance later still, and
the past is read when it pleases. Sockets are cut, fall behind, come back to another instance with the place they have;
an instance loses what it should have been told and says so. Clients go by the rules of docs/channels.md and nothing
else. Time and chance come from a seed; each control breaks one rule and is caught.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import msgspec
import pytest

from channels.fanout import Fanout
from channels.messages import Messages, entry_of, told_of
from channels.outlet import Outlet
from hub.schema.channels import Channel, Kept
from hub.wire import frames
from storage.channel_log import ChannelKey, Entry, OnBroken, OnEntry, Past, Place, past_of
from tests.channels.scene import Listener, Message
from tests.simulation.edges import framed, unframed

KEY = ("account", "talk:a")
TALK = Channel("talk", join="viewer", send="viewer", history=1000)
SEEDS = range(60)
STEPS = 250


class Central:
    """What all instances share: the order of messages."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.epoch = "e1"


class SlowLog:
    """One instance's end of it. `step` lets one thing happen."""

    def __init__(self, central: Central, random: Random) -> None:
        self.central, self.random = central, random
        self.appends: deque[tuple[asyncio.Future[Place], Entry]] = deque()
        self.waiting: dict[Place, asyncio.Future[Place]] = {}
        self.pasts: list[tuple[asyncio.Future[Past], Place | None]] = []
        self.told = 0
        self.on_entry: OnEntry = lambda key, entry: None
        self.on_broken: OnBroken = lambda key: None

    def listen(self, on_entry: OnEntry, on_broken: OnBroken) -> None:
        self.on_entry, self.on_broken = on_entry, on_broken

    async def start(self) -> None:
        """Nothing."""

    async def close(self) -> None:
        """Nothing."""

    async def append(self, channel: ChannelKey, entry: Entry, kept: Kept) -> Place:
        future: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self.appends.append((future, entry))
        return await future

    def follow(self, channel: ChannelKey) -> None:
        """Everything is told anyway."""

    def unfollow(self, channel: ChannelKey) -> None:
        """Everything is told anyway."""

    async def past(self, channel: ChannelKey, kept: Kept, after: Place | None, last: int) -> Past:
        future: asyncio.Future[Past] = asyncio.get_running_loop().create_future()
        self.pasts.append((future, after))
        return await future

    def forget(self, channel: ChannelKey) -> None:
        """Not here."""

    def step(self) -> bool:
        """Let one thing happen; return whether there was any."""
        can: list[Callable[[], None]] = []
        if self.appends:
            can.append(self._order)
        if self.pasts:
            can.append(self._answer)
        if self.told < len(self.central.entries):
            can.append(self._tell)
        if can:
            self.random.choice(can)()
        return bool(can)

    def _order(self) -> None:
        future, entry = self.appends.popleft()
        place = Place(self.central.epoch, len(self.central.entries) + 1)
        self.central.entries.append(replace(entry, place=place))
        self.waiting[place] = future

    def _answer(self) -> None:
        future, after = self.pasts.pop(self.random.randrange(len(self.pasts)))
        top = Place(self.central.epoch, len(self.central.entries))
        future.set_result(past_of(self.central.entries, top, 0, after, 0, 0.0))

    def _tell(self) -> None:
        entry = self.central.entries[self.told]
        self.told += 1
        self.on_entry(KEY, entry)
        self._confirm(entry.place)

    def lose(self) -> None:
        """Miss what should have been told by now, and say so."""
        missed = self.central.entries[self.told :]
        self.told += len(missed)
        self.on_broken(KEY)
        for entry in missed:
            self._confirm(entry.place)

    def _confirm(self, place: Place) -> None:
        future = self.waiting.pop(place, None)
        if future is not None and not future.done():
            future.set_result(place)


class Straight(Listener):
    """An outlet that can be written to with others at once; where it is `straight`, past the queue."""

    def __init__(self, max_bytes: int, *, straight: bool) -> None:
        super().__init__(max_bytes=max_bytes)
        self.straight = straight
        self.outlet.framed = framed
        self.outlet.direct = self if straight else None
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written += unframed(data)

    def heard(self) -> list[Message]:
        """Take and return everything that was written or waits; what waits is behind what was written."""
        written, self.written = self.written, []
        found = [self.outlet.codec.decode(frame.decode()) for frame in written] + super().heard()
        self.outlet.direct = self if self.straight and not self.outlet.closed else None
        return found


class Person:
    """A client: what it has heard, and the place that it keeps. It goes by the documented rules alone."""

    def __init__(self, name: str, world: World) -> None:
        self.name, self.world = name, world
        self.heard: list[int] = []
        self.place: Place | None = None
        self.joining = False
        self.listener: Listener | None = None
        self.instance: Messages | None = None
        self.sent: set[int] = set()
        """What it said without echo, and must not hear."""

    def connect(self) -> None:
        self.instance = self.world.random.choice(self.world.instances)
        room = self.world.random.choice([700, 5000, 1024 * 1024])
        self.listener = Straight(room, straight=self.world.random.random() < 0.3)
        self.joining = True
        self.world.task(self.join(self.instance, self.listener))

    def cut(self) -> None:
        if self.instance is not None and self.listener is not None:
            self.instance.drop(self.listener.outlet)
            self.listener.outlet.close()
        self.instance = self.listener = None
        self.joining = False

    async def join(self, instance: Messages, listener: Listener) -> None:
        if listener.outlet.closed:
            return
        recover = None if self.world.control == "no recovery" else self.place
        past = await instance.join(KEY, listener.outlet, self.name, None, TALK, recover)
        if listener is not self.listener:
            instance.leave(KEY, listener.outlet)  # as the handler does for a socket that went meanwhile
            return
        data = {
            "epoch": past.place.epoch,
            "offset": past.place.offset,
            "recovered": past.recovered,
            "why": past.why,
            "messages": [told_of(e) for e in past.entries],
        }
        listener.outlet.answer(listener.outlet.codec.encode(frames.ok(1, data)))

    async def say(self, n: int, instance: Messages, listener: Listener | None, *, echo: bool) -> None:
        entry = entry_of({"event": "e", "data": n, "from": None}, TALK, self.name, None, echo=echo, ttl=None)
        outlet: Outlet | None = listener.outlet if listener is not None else None
        if not echo:
            self.sent.add(n)
        offset, then = await instance.send(KEY, TALK, entry, outlet)
        if outlet is not None:
            answer = {"offset": offset, "silent": not echo}
            outlet.answer(outlet.codec.encode(frames.ok(2, answer)))
        if then is not None and self.world.control != "held for ever":
            then()

    def read(self) -> None:
        """Take in what the socket has brought."""
        listener = self.listener
        for message in listener.heard() if listener is not None else ():
            if message["op"] == "reset":
                self.again()
            elif message["op"] == "message":
                self.message(message)
            elif "recovered" in message["data"]:
                self.joined(message["data"])
            elif message["data"]["silent"]:
                self.passed(message["data"]["offset"])

    def joined(self, data: dict[str, Any]) -> None:
        self.joining = False
        fresh = self.place is None
        for message in data["messages"]:
            self.heard.append(message["data"])
        self.place = Place(data["epoch"], data["offset"])
        assert fresh or data["recovered"] or data["why"] is None
        if fresh:
            self.world.begun[self.name] = data["offset"]

    def message(self, message: dict[str, Any]) -> None:
        if self.passed(message["offset"]):
            self.heard.append(message["data"])

    def passed(self, offset: int) -> bool:
        """Move on to an offset; return whether it was the next."""
        if self.joining or self.place is None:
            return False  # it is in the answer
        if offset <= self.place.offset and self.world.control != "told twice":
            return False
        if offset > self.place.offset + 1 and self.world.control != "holes are not seen":
            self.again()
            return False
        self.place = Place(self.place.epoch, offset)
        return True

    def again(self) -> None:
        if not self.joining and self.instance is not None and self.listener is not None:
            self.joining = True
            self.world.task(self.join(self.instance, self.listener))


class World:
    """Three instances and some clients; `control` names the rule that is broken."""

    def __init__(self, seed: int, control: str = "") -> None:
        self.random = Random(seed)
        self.control = control
        self.central = Central()
        self.logs = [SlowLog(self.central, self.random) for _ in range(3)]
        self.instances = [Messages(log, lambda outlet: None, Fanout()) for log in self.logs]
        for instance in self.instances:
            instance._fanout.many = 1  # what is told is kept once for all, though they are few
        self.begun: dict[str, int] = {}
        """Behind which offset each client began to hear."""
        self.tasks: list[asyncio.Task[None]] = []
        self.people = [Person(f"p{n}", self) for n in range(5)]

    def task(self, job: Any) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(job))

    async def run(self) -> list[str]:
        """Play; return what is wrong in the end."""
        said = 0
        for person in self.people:
            person.connect()
        for _ in range(STEPS):
            chance = self.random.random()
            person = self.random.choice(self.people)
            if chance < 0.3 and person.instance is not None:
                said += 1
                echo = self.random.random() < 0.6
                self.task(person.say(said, person.instance, person.listener, echo=echo))
            elif chance < 0.5:
                person.read()
            elif chance < 0.54:
                person.cut()
            elif chance < 0.6 and person.instance is None:
                person.connect()
            elif chance < 0.61:
                self.random.choice(self.logs).lose()
            else:
                self.random.choice(self.logs).step()
            await asyncio.sleep(0)
        for person in self.people:
            if person.instance is None:
                person.connect()
        await self.settle()
        return [problem for person in self.people for problem in self.wrong(person)]

    async def settle(self) -> None:
        """Let everything come to its end."""
        quiet = 0
        while quiet < 5:
            busy = [log.step() for log in self.logs]
            await asyncio.sleep(0)
            before = [(len(p.heard), p.place, p.joining) for p in self.people]
            for person in self.people:
                person.read()
            after = [(len(p.heard), p.place, p.joining) for p in self.people]
            quiet = 0 if any(busy) or before != after or any(p.joining for p in self.people) else quiet + 1
        for task in self.tasks:
            await task

    def wrong(self, person: Person) -> list[str]:
        """Compare what somebody heard with the one order; what it said without echo is not owed to it."""
        order = [msgspec.msgpack.decode(e.body)["data"] for e in self.central.entries]
        owed = [n for n in order[self.begun[person.name] :] if n not in person.sent]
        heard = [n for n in person.heard if n not in person.sent]
        return [] if heard == owed and heard == person.heard else [f"{person.name}: {heard} instead of {owed}"]


@pytest.mark.parametrize("first", range(0, len(SEEDS), 20))
async def test_everybody_hears_the_same_in_the_same_order_once(first: int) -> None:
    heard = 0
    for seed in SEEDS[first : first + 20]:
        world = World(seed)
        assert await world.run() == [], f"seed {seed}"
        heard += sum(len(person.heard) for person in world.people)
    assert heard > 1000, "something was said at all"


@pytest.mark.parametrize("control", ["no recovery", "holes are not seen", "held for ever"])
async def test_a_broken_rule_is_caught(control: str) -> None:
    problems = 0
    for seed in SEEDS[:30]:
        async with asyncio.timeout(20):
            problems += len(await World(seed, control).run())
    assert problems > 0


@pytest.mark.parametrize("rule", ["what was told already", "what is told while joining"])
async def test_a_hub_that_breaks_a_rule_is_caught(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    join = Messages.join

    async def careless(self: Messages, key: ChannelKey, outlet: Outlet, *more: Any) -> Past:
        past = await join(self, key, outlet, *more)
        room = self._rooms[key]
        if rule == "what was told already":
            room.part(outlet)
            found = room.apart[outlet]
            found.place = Place(found.place.epoch, max(found.place.offset - 1, 0))
        else:
            top = len(past.entries) // 2
            return replace(past, entries=past.entries[:top])
        return past

    monkeypatch.setattr(Messages, "join", careless)
    problems = 0
    for seed in SEEDS[:10]:
        async with asyncio.timeout(20):
            problems += len(await World(seed, "told twice").run())
    assert problems > 0
