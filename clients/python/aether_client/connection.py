"""One socket to the hub that is kept alive: hello, resume, beats, and coming back when it is lost.

Knows the life of a socket and the requests on it. Does not know records, watches or channels: those are
listeners and start again what they hold. Everything runs in one event loop; listeners are called in the very
order of the wire and never wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from aether_client.address import Address
from aether_client.backoff import Backoff
from aether_client.codec import BadFrame, Codec, Message
from aether_client.dialling import Lost, Refused, closed, dial
from aether_client.errors import NOT_RUN, HubError, from_body
from aether_client.requests import Answer, Entry, Repeat, Requests, unanswered

State = Literal["offline", "connecting", "online", "ended"]

HELLO_SECONDS = 10.0
BEAT_GRACE_SECONDS = 10.0
AGAIN_SECONDS = 0.5
MOST_OPEN = 1_000
"""How many requests may be open at once; `call` waits for room."""


def new_key() -> str:
    """Return a key unlike any other: 132 random bits as 22 url-safe characters."""
    return secrets.token_urlsafe(17)[:22]


class Listener(Protocol):
    """Who is told what happens on the connection. No method may wait."""

    def online(self, session: Mapping[str, Any]) -> None:
        """The hello was answered."""

    def offline(self) -> None:
        """The socket that was online is gone."""

    def push(self, message: Message) -> None:
        """A message without id came."""

    def horizon(self, seq: int) -> None:
        """Everything owed up to `seq` was received."""

    def ended(self, error: HubError) -> None:
        """The connection will not come back."""


class Connection:
    """A connection that is kept up until `run` is cancelled or the hub refuses it for good."""

    def __init__(
        self,
        address: Address,
        codec: Codec,
        *,
        token: str | None,
        account: str | None,
        client: Mapping[str, str],
        reconnect: bool,
        backoff: Backoff,
        tell: Callable[[State, HubError | None], None],
    ) -> None:
        self.address = address
        self.codec = codec
        self.token = token
        self.account = account
        self.client = dict(client)
        self.reconnect = reconnect
        """Whether to come back; without it the first failure is the end."""
        self.backoff = backoff
        self.state: State = "offline"
        self.session: dict[str, Any] | None = None
        """The answer of the last hello; None before the first."""
        self.sockets = 0
        """Counts the sockets that came online: tells one from another."""
        self.status: Literal["active", "idle", "away"] = "active"
        """What beats say about the person."""
        self.telemetry: Mapping[str, Any] | None = None
        """What beats say about the device; None: nothing."""
        self.error: HubError | None = None
        """Why the last socket was lost, or why the connection ended."""
        self.listeners: list[Listener] = []
        self.changed = asyncio.Event()
        """Set, and replaced, whenever `state` changes."""
        self._tell = tell
        self._requests = Requests(new_key)
        self._resume: str | None = None
        """The secret that restores the session on the next socket."""
        self._not_before: float | None = None
        """Loop time before which a goaway asked us not to come back."""
        self._heard = 0.0
        """Loop time when the last frame came."""
        self._wake = asyncio.Event()
        """Set when there is something to send."""
        self._going = asyncio.Event()
        """Set when the hub said goaway on the present socket."""
        self._room = asyncio.Semaphore(MOST_OPEN)

    async def run(self) -> None:
        """Connect, and come back as long as that has sense; then return. Cancel it to stop."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    await self._one_socket()
                except Lost as lost:
                    self.error = HubError("server.unavailable", lost.sentence)
                    if not self.reconnect:
                        return self._end(self.error)
                    seconds = self.backoff.lost(loop.time()) + (lost.retry_after or 0.0)
                    if self._not_before is not None:
                        seconds = max(seconds, self._not_before - loop.time())
                        self._not_before = None
                    self._enter("offline", self.error)
                    await asyncio.sleep(seconds)
                except Refused as refused:
                    return self._end(refused.error)
        except asyncio.CancelledError:
            self._end(HubError("server.unavailable", "The client was stopped."))
            raise

    def stopped(self, task: asyncio.Task[None]) -> None:
        """Note that `run` is over; a fault in it must not leave anybody waiting."""
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            self._end(HubError("server.error", f"The client failed: {type(fault).__name__}: {fault}."))

    async def _one_socket(self) -> None:
        """Live through one socket; always ends in `Lost`, `Refused` or cancellation."""
        self._enter("connecting", self.error)
        socket = await dial(self.address, self.codec.subprotocol, HELLO_SECONDS)
        tasks: list[asyncio.Task[None]] = []
        try:
            try:
                async with asyncio.timeout(HELLO_SECONDS):
                    heartbeat = await self._hello(socket)
            except TimeoutError:
                raise Lost("The hub does not answer the hello.") from None
            tasks = [
                asyncio.create_task(work)
                for work in (self._read(socket), self._write(socket), self._beat(heartbeat), self._leave_in_time())
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                if task.done():
                    task.result()
        except ConnectionClosed as error:
            raise closed(error) from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._lost()
            with contextlib.suppress(OSError, TimeoutError):
                await socket.close()

    async def _hello(self, socket: ClientConnection) -> float:
        """Begin the session; return the seconds between beats."""
        while True:
            fields: dict[str, Any] = {"client": self.client}
            known = (("token", self.token), ("account", self.account), ("resume", self._resume))
            fields.update((name, value) for name, value in known if value is not None)
            outcome: list[Answer | HubError] = []
            entry = self._requests.add("session.hello", fields, outcome.append, outcome.append)
            self._requests.mark_sent(entry)
            await socket.send(self.codec.encode(entry.message))
            while not outcome:
                self._take(await socket.recv())
            answer = outcome[0]
            if isinstance(answer, Answer):
                return self._greeted(answer.data)
            if answer.path == "resume" and self._resume is not None:
                self._resume = None
            elif answer.may_pass and not answer.is_about_identity:
                raise Lost(answer.message, answer.retry_after)
            else:
                raise Refused(answer)

    def _greeted(self, data: dict[str, Any]) -> float:
        loop = asyncio.get_running_loop()
        self.session = data
        self._resume = data.get("resume")
        self.sockets += 1
        self._heard = loop.time()
        self._not_before = None
        self._going.clear()
        self.backoff.online(loop.time())
        self.error = None
        self._enter("online", None)
        for listener in self.listeners:
            listener.online(data)
        self._wake.set()
        return float(data.get("heartbeat", 20))

    async def _read(self, socket: ClientConnection) -> None:
        loop = asyncio.get_running_loop()
        while True:
            frame = await socket.recv()
            self._heard = loop.time()
            self._take(frame)

    def _take(self, frame: str | bytes) -> None:
        try:
            messages = self.codec.decode(frame)
            for message in messages:
                self._message(message)
        except BadFrame as error:
            raise Lost(str(error)) from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Lost(f"The hub sent a message of an unknown shape ({type(error).__name__}: {error}).") from error

    def _message(self, message: Message) -> None:
        op = message["op"]
        if op in ("ok", "error"):
            self._answer(message)
        elif op == "goaway":
            jitter = float(message["jitter"]) * self.backoff.dice()
            self._not_before = asyncio.get_running_loop().time() + float(message["retry_after"]) + jitter
            self._going.set()
        else:
            for listener in self.listeners:
                listener.push(message)

    def _answer(self, message: Message) -> None:
        entry = self._requests.find(message.get("id"))
        if entry is None:
            return  # late: its request was given up
        if message["op"] == "ok":
            self._requests.settle(entry)
            answer = Answer(message.get("data"), message.get("seq"))
            # A watch.start moves only its own position: the watch reads it from the answer.
            if answer.seq is not None and entry.op != "watch.start":
                for listener in self.listeners:
                    listener.horizon(answer.seq)
            entry.ok(answer)
            return
        error = from_body(message)
        again = error.code in NOT_RUN or (error.code == "write.unknown" and entry.repeat == "key")
        if again and entry.op != "session.hello":
            # Not run, or outcome unknown under a key: the same message again, within the request's own time.
            entry.paused = True
            asyncio.get_running_loop().call_later(error.retry_after or AGAIN_SECONDS, self._repeat, entry)
            return
        self._requests.settle(entry)
        entry.fail(error)

    def _repeat(self, entry: Entry) -> None:
        if entry.paused:  # a new socket has not taken it up already
            entry.paused = entry.sent = False
            self._wake.set()

    async def _write(self, socket: ClientConnection) -> None:
        """Send what waits, one frame at a time, so that a slow hub slows the callers and nothing piles up."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            for entry in self._requests.unsent():
                if self._not_before is not None:
                    break  # what is not sent yet belongs on the next socket
                if self._requests.find(entry.id) is entry:
                    self._requests.mark_sent(entry)
                    await socket.send(self.codec.encode(entry.message))

    async def _beat(self, heartbeat: float) -> None:
        """Say that we are alive; a hub that says nothing for the grace after it is taken for dead."""
        loop = asyncio.get_running_loop()
        grace = min(BEAT_GRACE_SECONDS, heartbeat)
        await asyncio.sleep(heartbeat)
        while True:
            asked = loop.time()
            said: dict[str, Any] = {"status": self.status}
            if self.telemetry is not None:
                said["telemetry"] = dict(self.telemetry)
            entry = self.ask("session.beat", said, lambda _: None, lambda _: None)
            await asyncio.sleep(grace)
            self._requests.settle(entry)
            if self._heard < asked:
                raise Lost("The hub has gone silent.")
            await asyncio.sleep(heartbeat - grace)

    async def _leave_in_time(self) -> None:
        """After a goaway the hub closes; should it not, we do."""
        await self._going.wait()
        if self._not_before is not None:
            await asyncio.sleep(self._not_before - asyncio.get_running_loop().time())
        raise Lost("The hub asked us to come back later.")

    def ask(
        self,
        op: str,
        fields: Mapping[str, Any],
        ok: Callable[[Answer], None],
        fail: Callable[[HubError], None],
        repeat: Repeat | None = None,
    ) -> Entry:
        """Ask the hub; exactly one of the functions is called, in the very order of the wire.

        `repeat`: what a lost socket does to it; None: as the operation is repeated.
        """
        entry = self._requests.add(op, fields, ok, fail, repeat)
        self._wake.set()
        return entry

    async def call(
        self,
        op: str,
        fields: Mapping[str, Any],
        seconds: float,
        heard: Callable[[Answer | HubError], None] = lambda result: None,
    ) -> Answer:
        """Ask the hub and wait for the answer; raise `HubError`. `heard` is told of it before the next push is."""
        outcome: asyncio.Future[Answer | HubError] = asyncio.get_running_loop().create_future()

        def settle(result: Answer | HubError) -> None:
            heard(result)
            if not outcome.done():
                outcome.set_result(result)

        deadline = asyncio.timeout(seconds)
        entry: Entry | None = None
        try:
            async with deadline, self._room:
                if self.state == "ended":
                    raise self.error or HubError("server.unavailable", "The client was stopped.")
                entry = self.ask(op, fields, settle, settle)
                result = await outcome
        except TimeoutError:
            if not deadline.expired():
                raise
            why = f" {self.error.message}" if self.error is not None else ""
            sentence = f"No answer within {seconds:g} seconds.{why}"
            raise (unanswered(entry, sentence) if entry else HubError("server.unavailable", sentence)) from None
        finally:
            if entry is not None:
                self._requests.settle(entry)
        if isinstance(result, HubError):
            raise result
        return result

    def _lost(self) -> None:
        """Let go of the present socket."""
        was_online = self.state == "online"
        self.state = "offline"
        for entry in self._requests.lost():
            if entry.op != "session.hello":
                entry.fail(unanswered(entry, "The connection was lost before the answer came."))
        if was_online:
            for listener in self.listeners:
                listener.offline()

    def _end(self, error: HubError) -> None:
        self._resume = None
        self.error = error
        self._enter("ended", error)
        for entry in self._requests.drain():
            entry.fail(unanswered(entry, error.message) if error.may_pass else error)
        for listener in self.listeners:
            listener.ended(error)

    def _enter(self, state: State, error: HubError | None) -> None:
        self.state = state
        self.changed.set()
        self.changed = asyncio.Event()
        self._tell(state, error)
