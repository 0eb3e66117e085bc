"""Where Redis is: the forms of its address, and the connections that are made from one.

    redis://[USER:PASSWORD@]HOST[:PORT]      one server, classic pub/sub; rediss:// with TLS, unix:///PATH a socket file
    redis+cluster://HOST:PORT[,HOST:PORT]    a cluster, sharded pub/sub (Redis 7 or later); rediss+cluster:// with TLS

Every time-out is set here; none is left to what the library thinks best, which has changed between its versions.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.crc import key_slot
from redis.exceptions import RedisError

CONNECT_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 2.0
"""How long a command may take, from its first byte to the end of its answer."""
_READ_BYTES: Final = 65536


class AddressError(ValueError):
    """An address of Redis cannot be used; the text says why, without the address."""


class Unready(Exception):
    """A cluster has no server for every channel at the moment."""


@dataclass(frozen=True, slots=True)
class Place:
    """One server: what its connections are made of."""

    kind: type[AbstractConnection]
    options: dict[str, Any]

    def connection(self) -> AbstractConnection:
        """Return a new connection, not yet opened. It never opens itself again in silence while it is only read."""
        return self.kind(
            **self.options,
            protocol=2,
            driver_info=None,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            socket_read_size=_READ_BYTES,
            health_check_interval=0,
        )

    def at(self, host: str, port: int) -> Place:
        """Return another server of the same cluster."""
        return replace(self, options={**self.options, "host": host, "port": port})


@dataclass(frozen=True, slots=True)
class Node:
    """A server and the buckets whose channels it carries."""

    place: Place
    buckets: tuple[int, ...]
    sharded: bool


class Address:
    """An address as the setting gives it; raise `AddressError`."""

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        self.sharded = scheme.endswith("+cluster")
        """Whether it is a cluster, with sharded pub/sub."""
        scheme = scheme.removesuffix("+cluster")
        hosts = [rest]
        if self.sharded:
            user, at, rest = rest.rpartition("@")
            names, slash, path = rest.partition("/")
            hosts = [f"{user}{at}{name.strip()}{slash}{path}" for name in names.split(",") if name.strip()]
        self._seeds = [_place(f"{scheme}://{host}") for host in hosts]
        if not self._seeds or (self.sharded and scheme == "unix"):
            raise AddressError("it names no server")
        self._known: list[Place] = []

    async def nodes(self, channels: tuple[bytes, ...]) -> list[Node]:
        """Return the servers of the channels as they are now; raise `RedisError`, `OSError`, `Unready`."""
        if not self.sharded:
            return [Node(self._seeds[0], tuple(range(len(channels))), False)]
        error: Exception = Unready("the cluster names no servers")
        for place in (*self._known, *self._seeds):
            try:
                nodes = await _cluster(place, channels)
            except (RedisError, OSError, Unready) as fault:
                error = fault
                continue
            self._known = [node.place for node in nodes]
            return nodes
        raise error


def _place(url: str) -> Place:
    try:
        options = dict(parse_url(url))
        kind = cast("type[AbstractConnection]", options.pop("connection_class", Connection))
        place = Place(kind, options)
        place.connection()
    except (ValueError, TypeError, RedisError):
        raise AddressError("its host, its port or an option behind the ? is wrong") from None  # it may hold a password
    return place


async def _cluster(place: Place, channels: tuple[bytes, ...]) -> list[Node]:
    """Ask one server which of them carries which channel."""
    connection = place.connection()
    try:
        await connected(connection)
        await connection.send_command("CLUSTER", "SLOTS")
        ranges: Any = await answer(connection)
    finally:
        await connection.disconnect(nowait=True)
    places: dict[tuple[str, int], list[int]] = {}
    for bucket, channel in enumerate(channels):
        slot = key_slot(channel)
        for first, last, master, *_ in ranges:
            if first <= slot <= last:
                # A server that does not know its own name leaves it out: it is the one that was asked.
                host = master[0].decode() if master[0] else place.options.get("host", "localhost")
                places.setdefault((host, master[1]), []).append(bucket)
                break
        else:
            raise Unready("the cluster has no server for some channels")
    return [Node(place.at(host, port), tuple(buckets), True) for (host, port), buckets in places.items()]


def connected(connection: AbstractConnection) -> Awaitable[None]:
    """Open a connection; raise `RedisError` or `OSError`."""
    connect: Any = connection.connect
    return cast("Awaitable[None]", connect())


def answer(connection: AbstractConnection) -> Awaitable[Any]:
    """Read the answer of a command; raise `RedisError` where it is an error, or does not come in time."""
    return cast("Awaitable[Any]", connection.read_response(disable_decoding=True))
