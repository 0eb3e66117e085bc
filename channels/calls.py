"""Commands from one client to another: found wherever the other is, told once, and answered in time.

    call -> the best session here, or asked of the other instances -> told -> its answer comes back

The most active session of a user or device is told; one that is active at the caller's own instance is taken without
asking further. Who asks is always answered, once: `command.absent` says that nobody was told anything,
`command.timeout` that somebody was, and what became of it is not known. Rights were looked at before; other instances
are told the account, and tell nobody outside of it. Nothing here waits for a client.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from channels.letters import Address, Ask, Have, Knock, Letter, Look, Order, Outcome, Tell, Told, encode, letter_of
from channels.rosters import Who
from channels.targets import Targets
from channels.waits import Waits
from hub.wire.errors import HubError
from storage.post import Alone, Away, Lost, Post
from storage.queues import InProcess, Queues

if TYPE_CHECKING:
    from channels.live import SessionState

CALLS_PER_SOCKET: Final = 1000
"""How many calls of one socket, or over HTTP of one user or key, may wait for their answers."""
ASK_SECONDS: Final = 1.0
"""How long the other instances are waited for, of which each says at once whether it has the client."""
TRIES: Final = 2
"""How often a client is looked for that was found, and was gone when it was to be told."""
PLACES: Final = 10_000
"""Of how many sessions of other instances it is remembered where they answered last."""
KNOCK_SECONDS: Final = 1.0
KNOCKS: Final = 3
"""So many knocks that reach nobody in a row say that an instance is gone."""
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0
"""How long to wait before an answer is sent again to an instance that could not be reached, in seconds."""

Result = dict[str, Any]


@dataclass(slots=True, eq=False)
class _Call:
    """A call that waits. `told_to` is the instance whose client was told, or is being told."""

    order: Order
    queue_seconds: float | None
    result: asyncio.Future[Result | Exception]
    tries: int = 0
    told_to: str | None = None
    waits: bool = False
    """Whether it waits in the queue of its client."""
    expiry: asyncio.TimerHandle | None = None
    have: dict[str, Have] = field(default_factory=dict)
    """What the other instances said to the question."""
    asked: asyncio.Future[None] | None = None
    reached: int | None = None
    """How many instances the question reached."""

    def settle(self, result: Result | Exception) -> None:
        """Answer, unless that was done."""
        if not self.result.done():
            self.result.set_result(result)


class Calls:
    """The calls of this instance's clients, and what others ask of them."""

    def __init__(
        self, post: Post | None = None, queues: Queues | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        """Write to other instances by a post; `clock` is seconds since 1970."""
        self.post = post or Alone()
        self.targets = Targets(self._became, clock)
        self._waits = Waits(queues or InProcess(), self.targets, self._delivered, self._spawn)
        self._open: dict[str, _Call] = {}
        self._by_caller: dict[Hashable, set[_Call]] = {}
        self._where: dict[str, str] = {}
        """At which other instance a session answered last, the latest last: it is told there without a question."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._knocking: asyncio.Task[None] | None = None
        self._closed = False
        self.post.listen(self._read, self._waits.relearn)

    async def start(self) -> None:
        """Begin to hear of others."""
        await self.post.start()

    async def close(self) -> None:
        """Answer everybody, and stop."""
        self.targets.close()
        for call in list(self._open.values()):
            call.settle(HubError("server.draining", retry_after=1))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=0.5)  # the others are told that nobody will answer
        self._closed = True
        for task in self._tasks:
            task.cancel()
        if self._knocking is not None:
            self._knocking.cancel()
        await self.post.close()

    @property
    def open(self) -> int:
        """How many calls wait for their answers."""
        return len(self._open)

    # -- sessions ------------------------------------------------------------------------------------

    def arrive(self, session: SessionState, who: Who | None) -> None:
        """The hello of a session was answered: it can be told something, what has waited for it first."""
        key = self.targets.arrive(session, who)
        if key is not None:
            self._waits.look(key)

    def drop(self, caller: Hashable, why: str = "The socket is gone.") -> None:
        """A socket is gone, or may not ask any more: nobody waits for its calls."""
        for call in list(self._by_caller.get(caller, ())):
            call.settle(HubError("action.cancelled", why))

    # -- calling -------------------------------------------------------------------------------------

    async def call(
        self,
        to: Address,
        name: str,
        data: Any,
        sender: dict[str, Any] | None,
        *,
        caller: Hashable,
        seconds: float,
        queue_seconds: float | None = None,
    ) -> Result:
        """Have a client told a command; return `{data, from}`, or `{queued: True}` where it still waits in the queue.

        Raises `command.absent`, `command.timeout`, `command.failed`, `rate.limited`, `server.unavailable`.
        """
        mine = self._by_caller.get(caller, set())
        if len(mine) >= CALLS_PER_SOCKET:
            text = f"At most {CALLS_PER_SOCKET} calls of a client may be open at once."
            raise HubError("rate.limited", text, retry_after=1)
        loop = asyncio.get_running_loop()
        order = Order(secrets.token_urlsafe(9), self.post.name, to, name, data, sender, seconds)
        call = _Call(order, queue_seconds, loop.create_future())
        self._by_caller.setdefault(caller, mine).add(call)
        self._open[order.call] = call
        timer = loop.call_later(seconds, self._late, call)
        try:
            if self._tell_at_once(call):
                pass
            elif self.post.alone:
                await self._place(call)  # waits for nothing
            else:
                self._spawn(self._place(call))
            result = await call.result
        finally:
            timer.cancel()
            if call.expiry is not None:
                call.expiry.cancel()
            del self._open[order.call]
            mine.discard(call)
            if not mine:
                self._by_caller.pop(caller, None)
        if isinstance(result, Exception):
            raise result
        return result

    def _tell_at_once(self, call: _Call) -> bool:
        """Tell a client of this instance where nobody else has to be asked; say whether that settled it."""
        best = self.targets.best(call.order.to)
        if best is None or not (best.rank == 0 or call.order.to.kind == "session" or self.post.alone):
            return False
        return self._tell_here(call, best.session)

    def _tell_here(self, call: _Call, session: str) -> bool:
        call.told_to = self.post.name
        outcome = self.targets.tell(session, call.order)
        if outcome == "absent":
            call.told_to = None
            return False
        if outcome == "busy":
            call.settle(_refusal("busy"))
        return True

    async def _place(self, call: _Call) -> None:
        """Find the client, wherever it is, and have it told."""
        try:
            session = call.order.to.rec if call.order.to.kind == "session" else ""
            if session in self._where and await self._tell_there(call, self._where[session], session):
                return
            self._where.pop(session, None)
            while call.tries < TRIES and not call.result.done():
                call.tries += 1
                told = await self._told_somewhere(call)
                if told:
                    return
                if told is None:
                    break
            if not call.result.done():
                await self._absent(call)
        except HubError as refusal:
            call.settle(refusal)
        except Exception as fault:  # whatever it is, who asked is answered, and told the incident's number
            call.settle(fault)

    async def _told_somewhere(self, call: _Call) -> bool | None:
        """Have the best session told that there is now; say whether one was, or may have been. None: there is none."""
        order = call.order
        if self._tell_at_once(call):
            return True
        found: dict[str, Have] = {}
        if not self.post.alone:
            try:
                found = await self._ask(call)
            except (Away, Lost):
                if self.targets.best(order.to) is None:
                    raise _unavailable() from None
        if call.result.done():
            return True
        here = self.targets.best(order.to)
        far = min(
            ((have.rank, -have.since, name) for name, have in found.items() if have.session is not None), default=None
        )
        if here is not None and (far is None or (here.rank, -here.since) <= far[:2]):
            return self._tell_here(call, here.session)
        if far is None:
            return None
        return await self._tell_there(call, far[2], found[far[2]].session or "")

    async def _tell_there(self, call: _Call, instance: str, session: str) -> bool:
        call.told_to = instance  # before anything is sent: its answer may be here before we know that it was
        try:
            reached = await self.post.send(instance, encode(Tell(session, call.order)))
        except Away:
            raise _unavailable() from None
        except Lost:
            reached = 1  # it may have been
        if not reached:
            call.told_to = None
            return False
        self._mind(call)
        return True

    def _mind(self, call: _Call) -> None:
        """See to it that it is noticed if the instance whose client works is gone."""
        if call.told_to != self.post.name and self._knocking is None:
            self._knocking = asyncio.get_running_loop().create_task(self._knock())

    async def _ask(self, call: _Call) -> dict[str, Have]:
        """Ask the other instances who has the client; return what they said, at the latest after `ASK_SECONDS`."""
        loop = asyncio.get_running_loop()
        call.have, call.reached, call.asked = {}, None, loop.create_future()
        call.reached = await self.post.send(None, encode(Ask(call.order.call, call.order.to)))
        self._enough(call)
        timer = loop.call_later(ASK_SECONDS, _done, call.asked)
        await call.asked
        timer.cancel()
        call.asked = None
        return call.have

    def _enough(self, call: _Call) -> None:
        """Ask no longer where everybody has answered, or somebody has a session that is as good as any."""
        only = call.order.to.kind == "session"
        good = any(have.session is not None and (only or have.rank == 0) for have in call.have.values())
        if call.asked is not None and (good or (call.reached is not None and len(call.have) >= call.reached)):
            _done(call.asked)

    async def _absent(self, call: _Call) -> None:
        """Nobody has the client: have the command wait for it, or say so."""
        order, seconds = call.order, call.queue_seconds
        if seconds is None or order.to.kind == "session":
            call.settle(_refusal("absent"))
            return
        call.waits = True
        key = (order.to.account, order.to.kind, order.to.rec)
        await self._waits.put(key, order, seconds)
        late = seconds if self.post.alone else seconds + ASK_SECONDS  # that it was delivered may be on its way
        call.expiry = asyncio.get_running_loop().call_later(late, self._expired, call)
        if not self.post.alone:
            try:
                await self.post.send(None, encode(Look(key[0], order.to.kind, key[2], seconds)))
            except (Away, Lost):
                pass  # who comes back to Redis reads for whom something waits

    def _late(self, call: _Call) -> None:
        if call.told_to is not None:
            call.settle(HubError("command.timeout"))
        elif call.waits:
            call.settle({"queued": True})
        else:
            call.settle(_refusal("absent"))

    def _expired(self, call: _Call) -> None:
        if call.told_to is None:
            call.settle(_refusal("absent"))

    # -- what becomes of commands --------------------------------------------------------------------

    def _delivered(self, order: Order) -> None:
        """A client was told what had waited for it."""
        self._became(order, "told", None, None)

    def _became(self, order: Order, outcome: Outcome, data: Any, who: dict[str, Any] | None) -> None:
        """Tell whoever asked what became of a command that a client here was told."""
        told = Told(order.call, outcome, data, who)
        if order.by == self.post.name:
            self._settle(order.by, told)
        elif not self.post.alone:
            self._spawn(self._report(order, told))

    async def _report(self, order: Order, told: Told) -> None:
        """Send word until it arrives, or nobody can be waiting for it."""
        loop, wait, letter = asyncio.get_running_loop(), FIRST_WAIT, encode(told)
        until = loop.time() + order.seconds
        while True:
            try:
                if await self.post.send(order.by, letter):
                    return
            except (Away, Lost):
                pass  # sent again: who was told already knows the call no more
            if loop.time() + wait > until:
                return
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    def _settle(self, instance: str, told: Told) -> None:
        call = self._open.get(told.call)
        if call is None:
            return  # nobody waits for it any more
        if told.outcome == "told":
            call.told_to = instance
            self._mind(call)
        elif told.outcome == "answer":
            call.settle({"data": told.data, "from": told.who})
            if call.order.to.kind == "session" and instance != self.post.name:
                self._remember(call.order.to.rec, instance)
        elif told.outcome == "failed":
            call.settle(HubError("command.failed", details=told.data))
        elif told.outcome == "absent" and not call.result.done():
            call.told_to = None  # it has left meanwhile
            self._where.pop(call.order.to.rec, None)
            self._spawn(self._place(call))
        else:
            call.settle(_refusal(told.outcome))

    def _remember(self, session: str, instance: str) -> None:
        self._where.pop(session, None)
        self._where[session] = instance
        if len(self._where) > PLACES:
            del self._where[next(iter(self._where))]

    # -- other instances -----------------------------------------------------------------------------

    def _read(self, sender: str, data: bytes) -> None:
        letter = letter_of(data)
        if letter is not None and not self._closed:
            self._take(sender, letter)

    def _take(self, sender: str, letter: Letter) -> None:
        if isinstance(letter, Ask):
            best = self.targets.best(letter.to)
            have = Have(letter.call) if best is None else Have(letter.call, best.session, best.rank, best.since)
            self._write(sender, have)
        elif isinstance(letter, Have):
            call = self._open.get(letter.call)
            if call is not None and call.asked is not None:
                call.have[sender] = letter
                self._enough(call)
        elif isinstance(letter, Tell):
            outcome = self.targets.tell(letter.session, letter.order) if letter.order.by == sender else "absent"
            if outcome is not None:
                self._write(sender, Told(letter.order.call, outcome))
        elif isinstance(letter, Told):
            self._settle(sender, letter)
        elif isinstance(letter, Look):
            self._waits.hear((letter.account, letter.kind, letter.rec), letter.seconds)

    def _write(self, to: str, letter: Letter) -> None:
        """Write what needs no second try: who waits for it waits for a moment only, or for its time-out."""
        self._spawn(self._send(to, letter))

    async def _send(self, to: str, letter: Letter) -> None:
        try:
            await self.post.send(to, encode(letter))
        except (Away, Lost):
            pass

    async def _knock(self) -> None:
        """While clients of other instances work: look each second whether these instances are still there."""
        missed: dict[str, int] = {}
        while True:
            await asyncio.sleep(KNOCK_SECONDS)
            asked = [c for c in self._open.values() if c.told_to not in {None, self.post.name}]
            if not asked:
                self._knocking = None
                return
            for instance in {call.told_to or "" for call in asked}:
                try:
                    reached = await self.post.send(instance, encode(Knock()))
                except (Away, Lost):
                    continue  # that is about us
                missed[instance] = 0 if reached else missed.get(instance, 0) + 1
                if missed[instance] >= KNOCKS:
                    for call in asked:
                        if call.told_to == instance:
                            call.settle(_refusal("gone"))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _unavailable() -> HubError:
    return HubError("server.unavailable", "The client is not here, and the other hubs cannot be asked.", retry_after=1)


def _refusal(outcome: Literal["absent", "busy", "gone"]) -> HubError:
    """Return what who asked is told."""
    if outcome == "absent":
        return HubError("command.absent", path="to")
    if outcome == "busy":
        return HubError("rate.limited", "The client has too much to do; ask again later.", path="to", retry_after=1)
    return HubError("command.timeout", "The client went away before it answered; it may have obeyed.", path="to")
