"""The client: one persistent socket to a hub, requests on it, live sets and channels over it.

    async with Client("http://127.0.0.1:8400", token=token) as hub:
        answer = await hub.call("record.find", type="event")
        async with hub.watch("event_file", parent={"type": "event", "rec": event}) as files:
            async for change in files:
                print(change.entered, change.updated, change.left)

The socket is opened when the client is entered, kept alive by beats, and opened again when it is lost; what was
asked meanwhile waits. It must be used in one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from aether_client.address import Address, parse_address
from aether_client.backoff import Backoff
from aether_client.channel import Channel, Channels, Wanted
from aether_client.codec import CODECS, CodecName
from aether_client.commands import Commands, Handler
from aether_client.connection import Connection, State
from aether_client.errors import HubError
from aether_client.feed import Feed, Feeds
from aether_client.locks import Lock, Locks
from aether_client.requests import Answer
from aether_client.version import VERSION
from aether_client.watch import Watch, Watches


def _quiet(state: State, error: HubError | None) -> None:
    """Tell nobody."""


def _for_target(options: dict[str, Any]) -> dict[str, Any]:
    """Return fields with `target` under its name on the wire, which is a word of Python."""
    return {"for" if name == "target" else name: value for name, value in options.items()}


class Client:
    """A live connection to a hub.

    `address` is `http(s)://host:port`, `ws(s)://…`, or the path of a hub's Unix socket (no token needed there).
    `account` is an id or a name; None: the only or the default one. `reconnect=False` makes the first lost
    connection the last. `on_state` is told of every change of state, with the reason where there is one.
    """

    def __init__(
        self,
        address: str | Path | Address,
        *,
        token: str | None = None,
        account: str | None = None,
        codec: CodecName = "json",
        name: str = "aether-client-python",
        request_seconds: float = 30.0,
        reconnect: bool = True,
        backoff: Backoff | None = None,
        on_state: Callable[[State, HubError | None], None] = _quiet,
    ) -> None:
        self.address = address if isinstance(address, Address) else parse_address(address)
        self.request_seconds = request_seconds
        """How long a call may take by default, time without a connection included."""

        def make() -> Connection:
            return Connection(
                self.address,
                CODECS[codec],
                token=token,
                account=account,
                client={"name": name, "version": VERSION},
                reconnect=reconnect,
                backoff=backoff or Backoff(),
                tell=on_state,
            )

        self._make = make
        self._connection: Connection | None = None
        self._watches: Watches | None = None
        self._channels: Channels | None = None
        self._feeds: Feeds | None = None
        self._commands: Commands | None = None
        self._locks: Locks | None = None
        self._obeyed: dict[str, Handler] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Client:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def start(self) -> None:
        """Begin to connect; returns at once."""
        if self._task is not None:
            raise RuntimeError("a client is started once")
        self._connection = connection = self._make()
        self._watches, self._channels = Watches(connection), Channels(connection)
        self._feeds = Feeds(connection)
        self._commands, self._locks = Commands(connection), Locks(connection)
        self._commands.handlers = self._obeyed
        self._task = asyncio.create_task(connection.run())
        self._task.add_done_callback(connection.stopped)

    async def close(self) -> None:
        """End cleanly; open calls are refused."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def connection(self) -> Connection:
        """The connection below; there once the client was started."""
        if self._connection is None:
            raise RuntimeError("use the client inside `async with`, or call start() first")
        return self._connection

    @property
    def state(self) -> State:
        """`offline`, `connecting`, `online`, or `ended` for good."""
        return self.connection.state

    @property
    def session(self) -> Mapping[str, Any]:
        """The answer of the last hello; empty before the first."""
        return self.connection.session or {}

    @property
    def seq(self) -> int:
        """The position of the account as of the last hello."""
        return int(self.session.get("seq") or 0)

    async def online(self) -> None:
        """Wait until the client is online; raise `HubError` when it never will be again."""
        while self.state != "online":
            if self.state == "ended":
                raise self.connection.error or HubError("server.unavailable", "The client was stopped.")
            await self.connection.changed.wait()

    async def call(self, op: str, /, *, within: float | None = None, **fields: Any) -> Answer:
        """Send a request and wait for its answer; raise `HubError`.

        The fields are those of the wire. A write is given a `key` where it has none, and is sent again with it
        after a lost connection, so it happens once. `within` bounds the wait in seconds.
        """
        return await self.connection.call(op, fields, self.request_seconds if within is None else within)

    async def search(
        self,
        q: str,
        *,
        types: list[str] | None = None,
        where: Mapping[str, Any] | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Answer:
        """Find records by words, best first; raise `HubError`. The answer's `data` is `{hits, next?, seq}`.

        A hit has `record` and `highlights`: of each field with hits its text in pieces, every second one a hit. `after`
        goes on behind a page with its `next`.
        """
        asked: dict[str, Any] = {"q": q, "types": types, "where": where, "limit": limit, "after": after}
        return await self.call("record.search", **{name: value for name, value in asked.items() if value is not None})

    async def lookup(self, lookup: str, **options: Any) -> list[dict[str, Any]]:
        """Return the entries of a lookup that are in force, page after page; raise `HubError`.

        `options` are the fields of `lookup.list`; that field called `for` is given as `target`, a `{type, rec}`. What
        is in force may change when a record of type `lookup_row` or `lookup_policy` does.
        """
        fields = _for_target(options) | {"lookup": lookup}
        rows: list[dict[str, Any]] = []
        while True:
            page = (await self.call("lookup.list", **fields)).data
            rows += page["rows"]
            if "next" not in page:
                return rows
            fields["after"] = page["next"]

    async def lookup_one(self, lookup: str, q: str, **options: Any) -> dict[str, Any]:
        """Return the one entry of a lookup that a code, a name or an alias means; raise `HubError`.

        `options` are `target` (a `{type, rec}`), `part_of` and `language`.
        """
        answer = await self.call("lookup.resolve", **_for_target(options), lookup=lookup, q=q)
        row: dict[str, Any] = answer.data["rows"][0]
        return row

    def watch(
        self,
        type: str,
        *,
        where: Mapping[str, Any] | None = None,
        parent: Mapping[str, str] | None = None,
        order: list[str] | None = None,
        fields: list[str] | None = None,
        limit: int | None = None,
    ) -> Watch:
        """Follow a query live: its snapshot, then every change once and in order."""
        asked = {"type": type, "where": where, "parent": parent, "order": order, "fields": fields, "limit": limit}
        if self._watches is None:
            raise RuntimeError("use the client inside `async with`, or call start() first")
        return self._watches.hold({name: value for name, value in asked.items() if value is not None})

    def feed(self, name: str, *, since: Mapping[str, Any] | None = None) -> Feed:
        """Follow every commit of the account from where this named feed was acknowledged last.

        `since` (`epoch` and `seq`) is where the service stands by its own books, instead.
        """
        if self._feeds is None:
            raise RuntimeError("use the client inside `async with`, or call start() first")
        return self._feeds.follow(name, since)

    def join(self, channel: str, state: Mapping[str, Any] | None = None, *, roster: Wanted = "full") -> Channel:
        """Join a channel; with `state`, be seen there.

        `roster` says of whom to be told: `full` (everybody), `count` (how many there are), `none`, or
        `{"users": [...], "devices": [...]}`.
        """
        if self._channels is None:
            raise RuntimeError("use the client inside `async with`, or call start() first")
        return self._channels.join(channel, state, roster)

    async def command(
        self,
        to: Mapping[str, str],
        name: str,
        data: Mapping[str, Any] | None = None,
        *,
        timeout: float = 10.0,
        queue_seconds: float | None = None,
    ) -> dict[str, Any]:
        """Ask another client of the account to do something; return `{data, from}`, its answer and who it is.

        `to` names one `session`, `user` or `device`, `timeout` is in seconds. Raises `HubError`: `command.absent`,
        `command.failed` (it refused; `details` has its `code` and `message`), `command.timeout`. With `queue_seconds`
        the command waits so long for a client that is not there; then the answer may be `{queued: True}`.
        """
        asked: dict[str, Any] = {"to": dict(to), "command": name, "data": dict(data or {}), "timeout": timeout}
        if queue_seconds is not None:
            asked["queue_seconds"] = queue_seconds
        answer: dict[str, Any] = (await self.call("client.call", within=timeout + self.request_seconds, **asked)).data
        return answer

    def obey(self, name: str, handler: Handler) -> None:
        """Obey a command from now on: `handler(data, sender)` returns the answer, or an awaitable of it.

        Raise `HubError(code, message)` in it to refuse. Commands without a handler are refused.
        """
        self._obeyed[name] = handler

    async def presence(self, *, users: Sequence[str] = (), devices: Sequence[str] = ()) -> dict[str, Any]:
        """Return who of up to 1,000 users and devices is here: by id `{status, last_seen, telemetry?}`.

        The answer has `users` and `devices`; who was never in the account is in neither.
        """
        found: dict[str, Any] = (await self.call("presence.status", users=list(users), devices=list(devices))).data
        return found

    def lock(self, type: str, rec: str, *, steal: bool = False) -> Lock:
        """Return the lock of a record, for `async with`: taken there, kept alive, and released in the end."""
        if self._locks is None:
            raise RuntimeError("use the client inside `async with`, or call start() first")
        return Lock(self._locks, type, rec, steal=steal)

    def set_telemetry(self, telemetry: Mapping[str, Any] | None) -> None:
        """Let beats say how this device is: `cpu`, `memory`, `disk` in percent, `version`, `mode`."""
        self.connection.telemetry = telemetry

    async def set_status(self, status: Literal["active", "idle", "away"]) -> None:
        """Say how present the person is; goes out with a beat at once."""
        self.connection.status = status
        await self.call("session.beat", status=status)
