"""A client in virtual time: holds watches over any number of sockets, writes, and repeats what was not answered."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import TYPE_CHECKING, Any

from hub.wire.codec import JSON, MSGPACK
from tests.simulation.client import Socket, Wanted, Wrong
from tests.simulation.filters import fields_of, where_of, window_of
from tests.simulation.history import Spec, difference
from tests.simulation.network import Link
from tests.simulation.writes import Entry

if TYPE_CHECKING:
    from tests.simulation.world import Core, World

WATCHES = 3
RETRIED = frozenset({"server.unavailable", "write.unknown"})
EXPECTED = frozenset({"record.not_found", "record.conflict", "record.exists", "relation.restricted"})
"""Refusals that random writes earn: of records that are gone, of versions, of uniques, of children."""


class Cut(Exception):
    """The link is gone; the answer will never come."""


class Actor:
    """One client of the world. `token` None is the operator, who may enter every account."""

    def __init__(self, world: World, name: str, role: str, token: str | None) -> None:
        self.world = world
        self.name = name
        self.rng = Random(world.rng.random())
        self.token = token
        self.rights = world.rights(role)
        self.codec = MSGPACK if self.rng.random() < 0.3 else JSON
        self.outlet_bytes = self.rng.choice((1500, 4000, 1 << 20))
        self.window = self.rng.choice((0, 500, 1 << 20))
        self.slow_seconds = self.rng.choice((0.0, 0.2, 0.6))
        self.wanted: list[Wanted] = []
        self.unanswered: list[Entry] = []
        """Keyed writes whose link was cut before the answer."""
        self.link: Link | None = None
        self.socket: Socket | None = None
        self.core: Core | None = None
        self.resume: str | None = None
        self._open: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._asked: dict[int, tuple[Wanted, bool, int]] = {}
        """The watch.start requests under way: whether each asked to resume, and in which account."""
        self._next = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._home = asyncio.Event()
        """Whether the socket is in the account that everything is about."""

    # -- the link ------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Lose the link now."""
        if self.link is not None:
            self.world.count("cuts")
            self.link.break_off()

    def _lost(self) -> None:
        self.link = self.socket = None
        for future in self._open.values():
            if not future.done():
                future.set_exception(Cut())
        self._open.clear()
        self._asked.clear()
        self._home.set()

    async def ask(self, request: dict[str, Any], wanted: Wanted | None = None) -> dict[str, Any]:
        """Send a request; return its answer. Raises `Cut`."""
        if request["op"] != "session.hello":
            await self._home.wait()
        if self.link is None or self.socket is None:
            raise Cut
        self._next += 1
        number = self._next
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._open[number] = future
        if wanted is not None:
            self._asked[number] = (wanted, "since" in request, self.socket.hellos)
        frame = self.codec.encode({**request, "id": number})
        self.link.up(frame if self.codec.binary else frame.decode("utf-8"))
        return await future

    async def settled(self, request: dict[str, Any], allowed: frozenset[str] = frozenset()) -> dict[str, Any]:
        """Ask, on this link, until it is answered `ok` or with an allowed refusal. Raises `Cut`."""
        link = self.link
        while True:
            if self.link is not link:
                raise Cut  # another link is another socket, where this may mean something else
            answer = await self.ask(request)
            if answer["op"] == "ok" or answer["code"] in allowed:
                return answer
            if answer["code"] not in RETRIED:
                raise Wrong(f"{request} was answered {answer}")
            await asyncio.sleep(self.rng.random())

    def _receive(self, frame: bytes) -> None:
        try:
            self._take(self.codec.decode(frame))
        except Wrong as wrong:
            self.world.fault(f"{self.name}: {wrong}")

    def _take(self, message: dict[str, Any]) -> None:
        socket = self.socket
        if socket is None:
            return
        if message["op"] not in {"ok", "error"}:
            self.world.count(message["op"])
            ended = socket.push(message)
            if ended is not None:
                self._spawn(self._start(ended))
            return
        future = self._open.pop(message.get("id", 0), None)
        asked = self._asked.pop(message.get("id", 0), None)
        if future is None:
            raise Wrong(f"an answer to no open request: {message}")
        if message["op"] == "error" and message["code"] == "server.error":
            raise Wrong(f"an accident of the hub: {message}")
        seq = message.get("seq")
        if seq is not None and message["op"] == "ok":
            socket.horizon(seq)
        if asked is not None and message["op"] == "ok":
            self._started(socket, *asked, message)
        if not future.done():
            future.set_result(message)

    def _started(self, socket: Socket, wanted: Wanted, resuming: bool, hellos: int, message: dict[str, Any]) -> None:
        data = message["data"]
        if data["seq"] != message["seq"]:
            raise Wrong("a watch.start has two different seq")
        if hellos != socket.hellos:
            raise Wrong("a watch began in an account that the socket had left")
        self.world.count("resumed" if data["resumed"] else "snapshots")
        watch = data["watch"]
        before = socket.watches.get(watch)
        socket.started(wanted, data, resuming)
        if before is not None and before is not wanted and before in self.wanted:
            self.wanted.remove(before)  # two of our watches are the same query: keep the later one
        if socket.counts[watch] > 1:
            self._spawn(self._stop(socket, watch))

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        async def run() -> None:
            try:
                await work
            except Cut:
                pass
            except Wrong as wrong:
                self.world.fault(f"{self.name}: {wrong}")

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- what it does --------------------------------------------------------------------------------

    async def play(self) -> None:
        """Act until the world ends; then make everything whole again, and stop acting."""
        for _ in range(self.rng.randint(1, WATCHES)):
            self.wanted.append(self._random_watch())
        actions = 0
        pause = self.world.sizes.seconds / self.world.sizes.actions
        while not self.world.wrong:
            try:
                if self.link is None:
                    await self.connect()
                elif self.world.ending and not self._tasks:
                    if not self.unanswered and self._all_held():
                        return
                    await self._repair()
                elif actions < self.world.sizes.actions and not self.world.ending:
                    actions += 1
                    self._spawn(self._act())
            except Cut:
                pass
            await asyncio.sleep(self.rng.random() * 2 * pause)

    def _random_watch(self) -> Wanted:
        rng, kinds = self.rng, self.world.kinds
        kind = kinds["shelf"] if rng.random() < 0.2 else kinds["thing"]
        hidden, ids = self.rights.hidden(kind), self.world.writes.ids
        request: dict[str, Any] = {"type": kind.name}
        where, fields = where_of(rng, kind, hidden, ids), fields_of(rng, kind, hidden)
        if where is not None:
            request["where"] = where
        if fields is not None:
            request["fields"] = fields
        if rng.random() < 0.4:
            request |= window_of(rng, kind, hidden)
        if kind.name == "thing" and ids["shelf"] and rng.random() < 0.3:
            request["parent"] = {"type": "shelf", "rec": rng.choice(ids["shelf"])}
        return Wanted(Spec.of(request, kind, self.rights))

    async def connect(self, core: Core | None = None) -> None:
        """Come back on a core, mostly on another one; resume every watch, repeat every unanswered write."""
        rng, world = self.rng, self.world
        if core is None:
            others = [c for c in world.cores if c is not self.core]
            core = rng.choice(others if rng.random() < 0.8 else world.cores)
        link = Link(Random(rng.random()), world.faults, self.window, self.slow_seconds)
        link.receive, link.lost = self._receive, self._lost
        self.link, self.core = link, core
        self.socket = Socket(world.history, lambda: rng.random() < 0.3, world.may_expire)
        self._home.clear()
        core.accept(link, self.codec is MSGPACK, self.outlet_bytes)
        hello: dict[str, Any] = {"op": "session.hello", "account": "main"}
        if self.token is not None:
            hello["token"] = self.token
        if self.resume is not None and rng.random() < 0.5:
            hello["resume"] = self.resume
        answer = await self.settled(hello)
        self.resume = answer["data"]["resume"]
        self._home.set()
        self._begin()

    def _begin(self) -> None:
        """Ask for everything that this socket should hold."""
        for wanted in self.wanted:
            self._spawn(self._start(wanted))
        unanswered, self.unanswered = self.unanswered, []
        for entry in unanswered:
            self._spawn(self._write(entry))

    def _all_held(self) -> bool:
        held = set(self.socket.watches.values()) if self.socket else set()
        return all(wanted in held and wanted.whole for wanted in self.wanted)

    async def _repair(self) -> None:
        """Start what is not held, repeat what was not answered."""
        held = set(self.socket.watches.values()) if self.socket else set()
        for wanted in [w for w in self.wanted if w not in held]:
            await self._start(wanted)
        unanswered, self.unanswered = self.unanswered, []
        for entry in unanswered:
            await self._write(entry)

    async def _start(self, wanted: Wanted) -> None:
        """Start a watch, or resume it where it was."""
        if wanted.starting:
            return
        wanted.starting = True
        try:
            while wanted in self.wanted:
                await self._home.wait()
                request = {"op": "watch.start", **wanted.spec.request}
                since = wanted.since()
                if since is not None:
                    request["since"] = since
                answer = await self.ask(request, wanted)
                if answer["op"] == "ok":
                    return
                if answer["code"] == "record.not_found":
                    self.wanted.remove(wanted)  # its parent is gone
                elif answer["code"] not in RETRIED | {"action.cancelled"}:
                    raise Wrong(f"{request} was answered {answer}")
                await asyncio.sleep(self.rng.random())
        finally:
            wanted.starting = False

    async def _stop(self, socket: Socket, watch: str) -> bool:
        """Stop a watch once; say whether it has ended."""
        socket.stopping[watch] += 1
        try:
            answer = await self.settled({"op": "watch.stop", "watch": watch}, frozenset({"record.not_found"}))
        finally:
            socket.stopping[watch] -= 1
        return answer["op"] == "ok" and socket.stopped(watch)

    async def _write(self, entry: Entry) -> None:
        """Send a write until it is answered for good."""
        while True:
            socket = self.socket
            hellos = 0 if socket is None else socket.hellos
            try:
                answer = await self.ask(entry.request)
            except Cut:
                if entry.keyed:
                    self.unanswered.append(entry)
                raise
            self.world.count("writes")
            stayed = socket is not None and socket is self.socket and hellos == socket.hellos and not socket.leaving
            if answer["op"] == "ok" and "seq" not in answer and stayed:
                raise Wrong(f"{entry.request} was answered without a seq in the account it was for")
            if answer["op"] == "error" and answer["code"] not in RETRIED | EXPECTED:
                raise Wrong(f"{entry.request} was answered {answer}")
            self.world.writes.answered(entry, answer, self.rights)
            if answer["op"] == "ok" or answer["code"] in EXPECTED or not entry.keyed:
                return
            await asyncio.sleep(self.rng.random())

    async def _act(self) -> None:
        pick = self.rng.random()
        if pick < 0.6:
            if self.rights.allows("thing.create"):
                for _ in range(self.rng.choice((1, 1, 4))):
                    self._spawn(self._write(self.world.writes.random()))
        elif pick < 0.66:
            await self.settled({"op": "session.beat"})
        elif pick < 0.73:
            await self._find(self._random_watch().spec)
        elif pick < 0.8:
            wanted = self._random_watch()
            self.wanted.append(wanted)
            await self._start(wanted)
        elif pick < 0.86:
            await self._restart()
        elif pick < 0.94:
            await self._start_twice()
        elif self.token is None:
            await self._visit()

    async def _start_twice(self) -> None:
        """Start a watch that is held already; perhaps from where it never was, which must not count."""
        held = list(self.socket.watches.values()) if self.socket is not None else []
        if not held:
            return
        first, second = self.rng.choice(held), self.rng.choice(held)
        twin, pick = Wanted(first.spec), self.rng.random()
        if first is not second and pick < 0.4:
            twin = Wanted(first.spec, second.mark, second.seq, {}, whole=True, hopeless="query")
        elif first.mark is not None and pick > 0.8:
            twin = Wanted(first.spec, first.mark, first.seq + 10**6, {}, whole=True, hopeless="expired")
        self.wanted.append(twin)
        await self._start(twin)

    async def _restart(self) -> None:
        """Stop a watch and start it again, from where it stood or from a snapshot."""
        socket = self.socket
        if socket is None or not socket.watches:
            return
        watch = self.rng.choice(list(socket.watches))
        wanted = socket.watches[watch]
        if await self._stop(socket, watch):
            if self.rng.random() < 0.5 and not wanted.starting:
                wanted.forget()  # else somebody asks already to go on from what we have
            await self._start(wanted)

    async def _visit(self) -> None:
        """Say hello to another account and come back: every watch ends, also one that is being started."""
        socket = self.socket
        if socket is None or not self._home.is_set():
            return
        self.world.count("visits")
        self._home.clear()
        for account in ("other", "main"):
            socket.leaving = True
            await self.settled({"op": "session.hello", "account": account})
            socket.left()
        self._home.set()
        self._begin()

    # -- the end -------------------------------------------------------------------------------------

    async def rest(self) -> None:
        """Return when everything that was on its way has arrived, however slow the link is."""
        while True:
            try:
                if self.link is None:
                    await self.connect()
                await self.settled({"op": "session.beat"})
                if not self._tasks and self._all_held():
                    return
                await self._repair()
            except Cut:
                pass
            await asyncio.sleep(0.1)

    async def _find(self, spec: Spec) -> None:
        answer = await self.settled(spec.find, frozenset({"record.not_found"}))
        if answer["op"] == "ok":
            data = answer["data"]
            found = {record["id"]: record for record in data["records"]}
            wrong = difference(found, self.world.history.state(spec, data["seq"]))
            if (
                wrong is not None
                or data["seq"] != answer.get("seq", data["seq"])
                or ("next" in data and "limit" not in spec.request)
            ):
                raise Wrong(f"a find of {spec.request} at {data['seq']}: {wrong}")

    def compare_with_log(self) -> None:
        """Raise `Wrong` where a watch does not hold what the log says at its end."""
        for wanted in self.wanted:
            self.world.count("compared")
            wrong = difference(wanted.records, self.world.history.state(wanted.spec, self.world.history.head))
            if wrong is not None:
                raise Wrong(f"{self.name}: at the end a watch of {wanted.spec.request} differs: {wrong}")

    async def compare_with_find(self, core: Core) -> None:
        """Raise `Wrong` where a fresh find on a core finds something else than the watches hold."""
        wanted, self.wanted = self.wanted, []
        if self.core is not core:
            self.cut()
        if self.link is None:
            await self.connect(core)
        for held in wanted:
            answer = await self.settled(held.spec.find, frozenset({"record.not_found"}))  # the parent may be gone
            found = answer["data"]["records"] if answer["op"] == "ok" else []
            wrong = difference(held.records, {r["id"]: r for r in found})
            if wrong is not None:
                raise Wrong(f"{self.name}: a fresh find of {held.spec.request} on {core.name} differs: {wrong}")
        self.wanted = wanted
