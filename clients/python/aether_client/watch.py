"""Watches on a connection: each query runs once however many hold it, and starts again on every new socket.

A `Watch` is read with `async for`: first the snapshot as one `Change` (also when it is empty), then every change
once and in order. A reader that falls far behind gets several commits as one `Change` that carries the last
number, so what waits for it is bounded by the size of the set.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final

import msgspec

from aether_client.codec import Message
from aether_client.connection import Connection
from aether_client.errors import HubError
from aether_client.liveset import Change, LiveSet, Record, merge
from aether_client.requests import Answer

AGAIN_SECONDS: Final = 1.0
MOST_WAITING: Final = 256
"""How many changes wait one by one for a reader; later ones are merged into the last."""


class Watch:
    """One reader of a watched query. Leave it with `stop`, or use it as a context manager."""

    def __init__(self, query: _Query) -> None:
        self._query = query
        self._waiting: deque[Change] = deque()
        self._stopped = False
        self._wake = asyncio.Event()

    @property
    def records(self) -> Mapping[str, Record]:
        """The content by id, as of now: it may be ahead of the last `Change` that was read."""
        return self._query.set.records

    @property
    def items(self) -> Sequence[Record]:
        """The content in the `order` of the query, `id` last: of a window with `limit`, what it shows."""
        return self._query.set.ordered

    @property
    def ready(self) -> bool:
        """Whether the content was complete at least once."""
        return self._query.set.ready

    @property
    def seq(self) -> int:
        """The position: every change up to here is in `records`."""
        return self._query.set.seq

    def stop(self) -> None:
        """Give it up; a running `async for` ends."""
        if not self._stopped:
            self._stopped = True
            self._wake.set()
            self._query.release(self)

    def tell(self, change: Change) -> None:
        """Queue a change for the reader."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(change)
        else:
            self._waiting[-1] = merge(self._waiting[-1], change)
        self._wake.set()

    def wake(self) -> None:
        """Let the reader see that the query ended."""
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[Change]:
        while True:
            while self._waiting and not self._stopped:
                yield self._waiting.popleft()
            if self._stopped:
                return
            if self._query.error is not None:
                raise self._query.error
            self._wake.clear()
            await self._wake.wait()

    async def __aenter__(self) -> Watch:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Query:
    """A watched query, its set and its readers."""

    def __init__(self, content: LiveSet, release: Callable[[_Query, Watch], None]) -> None:
        self.set = content
        self.readers: list[Watch] = []
        self.error: HubError | None = None
        """Why the hub refused it, or why the connection ended."""
        self._release = release

    def release(self, reader: Watch) -> None:
        self._release(self, reader)

    def tell(self, changes: list[Change], *, was_ready: bool) -> None:
        for change in changes:
            if change or not was_ready:
                for reader in self.readers:
                    reader.tell(change)
            was_ready = True

    def end(self, error: HubError) -> None:
        self.error = error
        for reader in self.readers:
            reader.wake()


def _canonical(query: Mapping[str, Any]) -> bytes:
    """Return one text per question."""
    return msgspec.json.encode(query, order="deterministic")


class Watches:
    """The watched queries of a connection; a listener of it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._held: dict[bytes, _Query] = {}
        connection.listeners.append(self)

    def hold(self, fields: Mapping[str, Any]) -> Watch:
        """Watch a query: `type`, and where wanted `where parent order fields limit`."""
        key = _canonical(fields)
        query = self._held.get(key)
        if query is None:
            query = _Query(LiveSet(fields), self._release)
            if self._connection.state == "ended":
                query.error = self._connection.error or HubError("server.unavailable", "The client was stopped.")
            else:
                self._held[key] = query
                if self._connection.state == "online":
                    self._start(query)
        reader = Watch(query)
        if query.set.ready:
            reader.tell(Change("snapshot", query.set.seq, None, tuple(query.set.records.values())))
        query.readers.append(reader)
        return reader

    def online(self, session: Mapping[str, Any]) -> None:
        """Start everything on the new socket."""
        for query in self._held.values():
            self._start(query)

    def offline(self) -> None:
        """Keep the content, lose the place on the socket."""
        for query in self._held.values():
            query.set.lost()

    def horizon(self, seq: int) -> None:
        """Move every position."""
        for query in self._held.values():
            query.set.horizon(seq)

    def ended(self, error: HubError) -> None:
        """Tell every reader."""
        held, self._held = self._held, {}
        for query in held.values():
            query.end(error)

    def push(self, message: Message) -> None:
        """Take what belongs to a watch."""
        watch = message.get("watch")
        if watch is None:
            return
        for query in list(self._held.values()):
            if query.set.watch != watch:
                continue
            if message["op"] == "change":
                self._tell(query, query.set.change, message)
            elif message["op"] == "snapshot":
                self._tell(query, query.set.snapshot, message)
            elif message["op"] == "reset":
                self._again(query)

    def _start(self, query: _Query) -> None:
        socket = self._connection.sockets

        def ok(answer: Answer) -> None:
            if self._connection.sockets != socket:
                return
            if not self._is_held(query):
                query.set.watch = answer.data["watch"]  # given up while the answer was on its way
                self._stop_on_hub(query)
            elif query.set.phase == "starting":
                self._tell(query, query.set.started, answer.data)

        def fail(error: HubError) -> None:
            if self._connection.sockets != socket or not self._is_held(query) or query.set.phase != "starting":
                return
            if self._connection.state != "online":
                return  # begins again with the next socket
            if error.may_pass:
                loop = asyncio.get_running_loop()
                loop.call_later(error.retry_after or AGAIN_SECONDS, self._start_later, query, socket)
            else:
                del self._held[_canonical(query.set.query)]
                query.end(error)

        self._connection.ask("watch.start", query.set.begin(), ok, fail)

    def _start_later(self, query: _Query, socket: int) -> None:
        same = self._connection.state == "online" and self._connection.sockets == socket
        if same and self._is_held(query) and query.set.phase == "starting":
            self._start(query)

    def _tell(self, query: _Query, apply: Callable[[Any], list[Change]], message: Any) -> None:
        """Apply a message and tell the readers what it changed."""
        was_ready = query.set.ready
        query.tell(apply(message), was_ready=was_ready)
        if query.set.astray:
            self._stop_on_hub(query)
            self._again(query)

    def _again(self, query: _Query) -> None:
        query.set.reset()
        self._start(query)

    def _release(self, query: _Query, reader: Watch) -> None:
        query.readers.remove(reader)
        if not query.readers and self._is_held(query):
            del self._held[_canonical(query.set.query)]
            self._stop_on_hub(query)

    def _stop_on_hub(self, query: _Query) -> None:
        if query.set.watch is not None and self._connection.state == "online":
            # A watch that the hub has ended already needs no stop, so the answer does not matter.
            self._connection.ask("watch.stop", {"watch": query.set.watch}, lambda _: None, lambda _: None)
        query.set.lost()

    def _is_held(self, query: _Query) -> bool:
        return self._held.get(_canonical(query.set.query)) is query
