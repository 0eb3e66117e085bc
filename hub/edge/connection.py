"""One live socket: the shell around the session core.

Drives `hub.session` with frames and times, runs the requests it gives out, and writes what waits in the
outlet. It knows the socket only as an `Edge`, so any server can carry it.

What catches every exception on the request path is here and in `Light`: an unexpected fault becomes an incident
number for the client and a traceback for the log.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Awaitable
from datetime import UTC, datetime

from channels.outlet import Outlet
from handlers.base import Answer, Call, Peer
from hub.edge.budget import UNLIMITED
from hub.edge.hub import Hub
from hub.edge.incidents import told
from hub.edge.light import Light
from hub.edge.seam import Edge
from hub.edge.step import step
from hub.edge.weights import DEARER, LIGHT, TASKS, WEIGHTS
from hub.logs import naming, request_id, session_id
from hub.schema.times import parse_time
from hub.session import Received, Session
from hub.wire import close
from hub.wire.codec import FRAME_BYTES, OPERATOR_FRAME_BYTES, Codec, Frame
from hub.wire.errors import HubError
from hub.wire.requests import Request, SessionAuth, SessionHello, op_name

log = logging.getLogger("hub.edge")

STALL_SECONDS = 10.0
"""How long one write may make no progress before the socket counts as slow."""
LOAD = 64
"""How much may run at once for one socket; what comes later starts in its order when there is room.

A frame can ask for a thousand pages of a megabyte: this bounds what is in memory for a client that does
not read them."""
WRITE_BYTES = 128 * 1024
"""About how much is handed to the socket in one write."""
READ_PAUSE_BYTES = 256 * 1024
"""Above this many waiting bytes no further request is started, so answers cannot pile up."""


class Connection:
    """The shell of one socket. Create it when the socket was accepted, feed it, end it once."""

    __slots__ = (
        "_credit", "_edge", "_ended", "_flush_task", "_flushing", "_held", "_load", "_loop", "_purse", "_queue",
        "_room", "_starting", "_tasks", "_timer", "closing", "core", "hub", "outlet", "peer",
    )  # fmt: skip

    def __init__(self, hub: Hub, codec: Codec, edge: Edge, *, operator: bool = False) -> None:
        self.hub = hub
        self._loop = asyncio.get_running_loop()
        limit = OPERATOR_FRAME_BYTES if operator else FRAME_BYTES
        self.core = Session(codec, self._loop.time(), limit)
        self.outlet = Outlet(codec, self._wake)
        self.peer = Peer(operator=operator, outlet=self.outlet, closing=self.close, renewed=self._watch_expiry)
        self._edge = edge
        self.outlet.framed = edge.framed
        self._flushing = False
        """Whether a flush is scheduled or under way."""
        self._flush_task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._queue: deque[Request] | None = None
        """Requests that wait for room, in the order in which they start; None where none does."""
        self._load = 0
        self._starting = False
        self._room = True
        """Whether further frames may come; where not, the edge is told when there is room again."""
        self._purse = None if operator else hub.budgets.purse(self.core.started)
        self._credit = UNLIMITED if self._purse is None else 0
        """How many requests may come before more are bought."""
        self._held: asyncio.TimerHandle | None = None
        """Runs while nothing is read because more came than may."""
        self._timer: asyncio.TimerHandle | None = None
        """First for the hello, then for the end of the token."""
        self.closing: close.Close | None = None
        """The close that was asked for; frames that wait are still written before it."""
        self._ended = False
        deadline = self.core.deadline
        if deadline is not None:
            self._timer = self._loop.call_at(deadline + 0.01, self._tick)
        hub.connections.add(self)

    # -- reading -------------------------------------------------------------------------------------

    def feed_one(self, frame: Frame) -> bool:
        """`feed` of a frame that came alone, as most do; where it is a light request, nothing is made for it."""
        if self._credit > 0 and self.outlet.direct is not None and not self._queue and self._load < LOAD:
            request = self.core.ordinary(frame)
            if request is not None:
                if type(request) not in LIGHT:
                    return self._take_in([request], None)
                self._credit -= 1
                self._start_light(request, alone=True)
                return not self._room
        return self.feed([frame])

    def feed(self, frames: list[Frame]) -> bool:
        """Take in frames that came together; return whether the next one should wait for room."""
        core, requests, closer = self.core, list[Request](), None
        for n, frame in enumerate(frames):
            request = core.ordinary(frame)
            if request is None:
                closer = self._look_closer(frames[n:], requests)
                break
            requests.append(request)
        return self._take_in(requests, closer)

    def _take_in(self, requests: list[Request], closer: Received | None) -> bool:
        self._credit -= len(requests)
        if self._credit < 0:
            self._overdrawn()
        # What is answered at once is written at once, together.
        at_once = not self._flushing and self._edge.direct is not None
        if at_once:
            self._flushing = True
        if requests:
            self._start_all(requests)
        if closer is not None and closer.close is not None:
            self.close(closer.close.code, closer.close.reason)
        if at_once:
            self._flush_now()
        if self._queue or self.outlet.size > READ_PAUSE_BYTES:
            self._room = False
        return not self._room

    def _look_closer(self, frames: list[Frame], requests: list[Request]) -> Received:
        """Take in frames of which the first is not an ordinary request; add to `requests` those that they hold."""
        out, now = Received(requests), self._loop.time()
        for frame in frames:
            self.core.receive(frame, now, out)
        for answer in out.frames:
            self.outlet.answer(answer)
        self._credit -= len(out.frames)
        return out

    def _overdrawn(self) -> None:
        """Pay for what came; where that was more than may, read nothing for a while."""
        if self._purse is None:
            return
        bought, seconds = self._purse.buy(-self._credit, self.peer.account, self._loop.time())
        seconds = max(seconds, self.hub.services.rates.owe(self.peer, "cheap", bought))
        self._credit += bought
        if seconds and self._held is None:
            self._room = False
            self._held = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._held = None
        self._has_room()

    def _start_all(self, requests: list[Request]) -> None:
        """Start requests in order as far as there is room; the others wait."""
        started, outlet, greeted = 0, self.outlet, self.core.greeted_once
        if not self._queue and not self._starting:
            self._starting = True
            for request in requests:
                if self._load >= LOAD or outlet.size > READ_PAUSE_BYTES:
                    break
                started += 1
                if greeted and type(request) in LIGHT:
                    self._start_light(request)
                else:
                    self._start(request)
            self._starting = False
        if started < len(requests):
            if self._queue is None:
                self._queue = deque()
            self._queue.extend(requests[started:])

    def _start_next(self) -> None:
        """Start what waits, in order, as far as there is room."""
        if self._starting or not self._queue:
            return
        self._starting = True
        while self._queue and self._load < LOAD and self.outlet.size <= READ_PAUSE_BYTES:
            self._start(self._queue.popleft())
        self._starting = False
        if not self._queue:
            self._queue = None

    def _has_room(self) -> None:
        """Go on where there is room: with what waits, then with reading."""
        if self._queue:
            self._start_next()
        if not self._room and not self._queue and not self._held and self.outlet.size <= READ_PAUSE_BYTES:
            self._room = True
            self._edge.resume()

    def _start(self, request: Request) -> None:
        if not self.core.greeted_once and not isinstance(request, SessionHello):
            self.outlet.answer(self.core.refuse(request.id, HubError("auth.required", "Send session.hello first.")))
            return
        if type(request) in LIGHT:
            self._start_light(request)
            return
        self._credit -= DEARER.get(type(request), 0)
        context = contextvars.copy_context()
        context.run(self._name, request)
        work = self._run(request)
        whole = isinstance(request, TASKS)
        task = self._loop.create_task(work, context=context) if whole else context.run(step, work)
        if task is not None:
            self._keep(task)

    def _start_light(self, request: Request, *, alone: bool = False) -> None:
        """Answer at once where that is possible, else when what the handler waits for is there. See `Outlet.answer`."""
        hub = self.hub
        operations = hub.operations
        try:
            if hub.draining:
                raise HubError("server.draining", retry_after=1)
            instant = operations.instants.get(type(request))
            if instant is not None:
                shared = instant(hub.services, self.peer, request)
                if shared is not None:
                    self.outlet.answer(self.core.share(request.id, shared), alone=alone)
                    return
            call = Call(hub.services, self.peer, request.id)
            answer = operations.admit(call, request)
            if type(answer) is Answer and operations.may_go(call, answer):
                self._answer(request, answer)
                return
        except Exception as error:
            self._refuse(request, error)
            return
        weight = WEIGHTS.get(type(request), 1)
        self._load += weight
        Light(self, request, weight, call).begin(answer)

    def finished(self, request: Request, weight: int, answer: Answer | None, error: Exception | None) -> None:
        """Answer or refuse a light request that had to wait; there is room again for what it counted for."""
        try:
            if answer is not None and error is None:
                self._answer(request, answer)
        except Exception as fault:
            error = fault
        if error is not None:
            self._refuse(request, error)
        self._load -= weight
        if not self._room:
            self._has_room()

    def _name(self, request: Request) -> None:
        request_id.set(request.id)
        session_id.set(self.peer.session_id)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, request: Request) -> None:
        accepted = await self._serve(request)
        if isinstance(request, SessionHello):
            self._greeted(accepted=accepted)
        elif isinstance(request, SessionAuth) and accepted:
            self._watch_expiry()
        if not self._room:
            self._has_room()

    async def _serve(self, request: Request) -> bool:
        """Run a request and queue its answer; say whether it was done."""
        accepted = False
        weight = WEIGHTS.get(type(request), 1)
        self._load += weight
        try:
            if self.hub.draining and not isinstance(request, SessionHello | SessionAuth):
                raise HubError("server.draining", retry_after=1)
            call = Call(self.hub.services, self.peer, request.id)
            answer = await self.hub.operations.run(call, request)
            accepted = True
            self._answer(request, answer)
        except Exception as error:
            self._refuse(request, error)
        finally:
            self._load -= weight
        return accepted

    def _answer(self, request: Request, answer: Answer) -> None:
        self.outlet.answer(self.core.reply(request.id, answer.data, answer.seq))
        if answer.then is not None:
            answer.then()

    def _refuse(self, request: Request, error: Exception) -> None:
        new_id, session = self.hub.services.new_id, self.peer.session_id
        refusal = told(error, new_id, op_name(request), request.id, session)
        self.hub.services.audit.refused(self.peer, op_name(request), refusal)
        self.outlet.answer(self.core.refuse(request.id, refusal))

    def _greeted(self, *, accepted: bool) -> None:
        if self._ended:
            if self.peer.session is not None and self.peer.session.outlet is self.outlet:
                self.hub.services.live.cut(self.peer.session, clean=False)
            return
        released = self.core.greeted(accepted=accepted)
        if accepted:
            self._stop_timer()
            self._watch_expiry()
            if not self.hub.crowd.greeted(self, self.peer):
                self.close(close.TOO_MANY.code, close.TOO_MANY.reason)
        else:
            self._tick()  # the ten seconds may have passed while this hello was looked at
        if released:
            self._queue = deque([*released, *(self._queue or ())])
        self._start_next()

    # -- time ----------------------------------------------------------------------------------------

    def _tick(self) -> None:
        due = self.core.tick(self._loop.time())
        if due is not None:
            self.close(due.code, due.reason)

    def _watch_expiry(self) -> None:
        expires = self.peer.identity.expires_at
        if expires is None:
            return  # a timer that runs looks at what is true then
        seconds = (parse_time(expires) - datetime.now(UTC)).total_seconds()
        self._stop_timer()
        self._timer = self._loop.call_later(max(0.0, min(seconds, 86_400.0)), self._expired)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expired(self) -> None:
        expires = self.peer.identity.expires_at
        if expires is not None and expires <= self.hub.services.clock():
            self.close(close.NOT_AUTHENTICATED.code, "the token has expired")
        else:
            self._watch_expiry()

    # -- writing -------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if not self._flushing and not self._ended:
            self._flushing = True
            self._loop.call_soon(self._flush_now)

    def _flush_now(self) -> None:
        """Write everything that waits, without a task unless the socket is full."""
        outlet = self.outlet
        frames = outlet.take_many(WRITE_BYTES)
        while frames and not self._ended:
            try:
                full = None if self._edge.write(frames) else step(self._edge.send(frames))
            except OSError:
                self.end(clean=False)  # the socket is gone; its reader will learn it as well
                return
            if full is not None:
                self._flush_task = self._loop.create_task(self._wait_for_room(full))
                return
            frames = outlet.take_many(WRITE_BYTES) if outlet.waits else []
        self._flushing = False
        if not self._ended:
            outlet.direct = self._edge.direct  # nothing waits any more
        if self._queue or not self._room:
            self._has_room()
        if self.closing is not None and not self._ended:
            self.outlet.close()  # nothing can follow the close
            self._spawn(self._edge.shut(self.closing.code, self.closing.reason))

    async def _wait_for_room(self, writing: asyncio.Task[None]) -> None:
        stalled = self._loop.call_later(STALL_SECONDS, self._stalled)
        try:
            await writing
        except OSError:
            self.end(clean=False)
            return
        finally:
            stalled.cancel()
        self._has_room()
        self._flush_now()

    def _stalled(self) -> None:
        with naming(None, self.peer.session_id):
            log.info("a socket made no progress for %s s and is cut", STALL_SECONDS)
        self.end(clean=False)
        self._spawn(self._edge.shut(close.SLOW.code, close.SLOW.reason))

    def close(self, code: int, reason: str) -> None:
        """Close the socket when everything that waits was written."""
        if self.closing is None:
            self.closing = close.Close(code, reason)
            self.core.end()
            if not self._flushing and not self._ended:
                self._wake()

    def _spawn(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            try:
                await work
            except OSError as error:
                with naming(None, self.peer.session_id):
                    log.debug("closing a socket that is gone: %s", error)

        self._keep(self._loop.create_task(run()))

    # -- the end -------------------------------------------------------------------------------------

    def end(self, *, clean: bool) -> None:
        """The socket is gone. Writes that were started go on; their answers have nowhere to go."""
        if self._ended:
            return
        self._ended = True
        self.core.end()
        self._queue = None
        self._stop_timer()
        if self._held is not None:
            self._held.cancel()
            self._held = None
        self._room = True
        self._edge.resume()
        if self._flush_task is not None:
            self._flush_task.cancel()
        if self.peer.session is not None and self.peer.session.outlet is self.outlet:
            self.hub.services.live.cut(self.peer.session, clean=clean)
        self.outlet.close()
        self.hub.connections.discard(self)
        self.hub.crowd.left(self)

    @property
    def settled(self) -> bool:
        """Whether every request was answered and every answer written, or the socket is gone."""
        return self._ended or not (self.core.open or len(self.outlet) or self._flushing)


__all__ = ["Connection", "Hub"]
