"""The rows of channels and presence: joins, messages to a room, rosters, and what idle sockets with heartbeats cost.

The hub is the real one, with sessions and rights. The peer is socket.io with its rooms, alone and, where it is
installed, with its Redis adapter. All are driven by the same load (`native/load.c`).
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import websockets

from benchmarks import peers, servers
from benchmarks.generator import NUMBER, Talk, held, run, text
from benchmarks.load import Reading
from tests.storage import redis_server

CONNECTIONS: Final = 100
MEMBERS: Final = 1000
"""How many hear what is said in a room."""
CROWD: Final = 10_000
"""How many are in the large roster, and how many sockets idle, where the machine allows so many open files."""
GRACE: Final = 12.0
"""Seconds until who was cut has left."""
ROOMS: Final = 50
"""How many rooms a connection joins before it leaves them; a socket of the hub joins 100 at most."""
HEARTBEAT: Final = 20.0
"""Seconds between two heartbeats of a client, as the hub asks for."""
SHARE: Final = 0.01
"""Of a core: what that many idle sockets may cost."""
JSON: Final = "aether.v1.json"
SECRET: Final = "the-secret-of-the-cluster-of-benchmarks"
FRAME: Final = 127
SOCKETIO: Final = "/socket.io/?EIO=4&transport=websocket"
KEYS_AT_ONCE: Final = 100
_OK: Final = b'{"op":"ok"'


@contextmanager
def _hub(*, redis: bool = False) -> Iterator[tuple[servers.Server, str]]:
    """Run a hub; give it and a key of its account."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="aether-bench-"))
        settings = {"packs": "packs.events,benchmarks.talks"}
        if redis:
            bus = stack.enter_context(redis_server.running())
            servers.pin(servers.LOAD_CORE, bus.pid)
            settings |= {"redis_url": bus.url, "cluster_secret": SECRET}
        server = stack.enter_context(servers.hub(Path(folder), **settings))
        yield server, servers.api_key(server.data)


@contextmanager
def _socketio(*, redis: bool = False) -> Iterator[servers.Server]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="aether-bench-"))
        url = None
        if redis:
            bus = stack.enter_context(redis_server.running())
            servers.pin(servers.LOAD_CORE, bus.pid)
            url = bus.url
        yield stack.enter_context(peers.socket_io(Path(folder), url))


def _hello(key: str) -> bytes:
    return json.dumps({"op": "session.hello", "id": 1, "token": key}).encode()


async def _issued(server: servers.Server, key: str, count: int) -> list[tuple[str, str]]:
    """Make keys of viewers; return each with its id, under which its bearer is seen."""
    found: list[tuple[str, str]] = []
    async with websockets.connect(f"ws://127.0.0.1:{server.port}/ws", subprotocols=[JSON], max_size=None) as socket:  # type: ignore[list-item]
        await socket.send(_hello(key).decode())
        await socket.recv()
        for at in range(0, count, KEYS_AT_ONCE):
            many = range(at, min(count, at + KEYS_AT_ONCE))
            asked = [
                {"op": "action.call", "id": n + 2, "action": "api_key.issue",
                 "args": {"name": f"Visitor {n}", "role": "viewer"}}
                for n in many
            ]  # fmt: skip
            await socket.send(json.dumps(asked))
            for _ in many:
                made = json.loads(await socket.recv())["data"]
                found.append((made["key"], made["id"]))
    return found


# -- joining -------------------------------------------------------------------------------------------------------


def hub_joins(seconds: float, *, depth: int = 8, shown: bool = False, redis: bool = False) -> Reading:
    """Measure joining and leaving: half of the messages are each. With `shown`, as a member with a state."""
    namespace, presence = ("bench_hall", {"presence": {"state": {"at": 1}}}) if shown else ("bench_room", {})
    names = [f"{namespace}:{n}" for n in range(ROOMS)]
    send = [text({"op": "channel.join", "id": NUMBER, "channel": name, **presence}) for name in names]
    send += [text({"op": "channel.leave", "id": NUMBER, "channel": name}) for name in names]
    with _hub(redis=redis) as (server, key):
        hello = [_hello(one) for one, _ in asyncio.run(_issued(server, key, CONNECTIONS))]
        talk = Talk(
            server, send, b'"id":', protocol=JSON, hello=hello, ready=1, ready_mark=_OK, good=_OK, in_turn=True,
        )  # fmt: skip
        return run("pipe", talk, connections=CONNECTIONS, depth=depth, seconds=seconds)


def socketio_joins(seconds: float, *, depth: int = 8, redis: bool = False) -> Reading:
    """Measure the same at socket.io, which answers each with an acknowledgement and knows no rights."""
    send = [f'42{NUMBER}["{what}","room{n}"]'.encode() for what in ("join", "leave") for n in range(ROOMS)]
    with _socketio(redis=redis) as server:
        talk = Talk(
            server, send, b"43", path=SOCKETIO, greeting=[b"40"], ready=1, ready_mark=b"40{", good=b"43", in_turn=True
        )
        return run("pipe", talk, connections=CONNECTIONS, depth=depth, seconds=seconds)


# -- what is said --------------------------------------------------------------------------------------------------


def _filled(before: str, after: str, frame: int = FRAME) -> str:
    return before + "." * (frame - 4 - len(before) - len(after)) + after


def hub_room(window: int, seconds: float, *, redis: bool = False) -> Reading:
    """Measure a message to each of 1,000 in a channel; whoever says it is not in it."""
    around = len('{"op":"message","channel":"bench_room:one","event":"moved","data":,"from":null}')
    data = _filled(f'{{"n":{NUMBER},"text":"', '"}', FRAME - around)
    said = f'{{"op":"channel.send","id":{NUMBER},"channel":"bench_room:one","event":"moved","data":{data}}}'
    with _hub(redis=redis) as (server, key):
        join = json.dumps({"op": "channel.join", "id": 2, "channel": "bench_room:one"}).encode()
        talk = Talk(
            server, [said.encode()], b'"n":', protocol=JSON, greeting=[_hello(key), join], ready=2, ready_mark=_OK,
            good=_OK, publisher_greeting=[_hello(key)], publisher_ready=1,
        )  # fmt: skip
        return run("fan", talk, connections=MEMBERS, window=window, seconds=seconds)


def socketio_room(window: int, seconds: float, *, redis: bool = False) -> Reading:
    """Measure the same at socket.io."""
    said = f'42["say",{{"n":{NUMBER},"text":"'
    said = _filled(said, '"}]', FRAME - 1)  # "said" is one letter longer
    with _socketio(redis=redis) as server:
        talk = Talk(
            server, [said.encode()], b'"n":', path=f"{SOCKETIO}&watch=1", publisher_path=SOCKETIO, greeting=[b"40"],
            ready=1, ready_mark=b"40{", publisher_greeting=[b"40"], publisher_ready=1,
        )  # fmt: skip
        return run("fan", talk, connections=MEMBERS, window=window, settle=0.3, seconds=seconds)


# -- who is here ---------------------------------------------------------------------------------------------------


def crowd() -> int:
    """Return how many sockets a row of many opens here: a server and a load have each of them open."""
    return min(CROWD, servers.most_sockets())


def hub_roster(seconds: float, members: int = CROWD) -> Reading:
    """Measure a join of a channel with as many members, one at a time; the answer lists 1,000 of them."""
    join = {"op": "channel.join", "id": 2, "channel": "bench_hall:one", "presence": {"state": {"at": 1}}}
    with _hub() as (server, key):
        hello = [_hello(one) for one, _ in asyncio.run(_issued(server, key, members))]
        talk = Talk(
            server, [text({**join, "id": NUMBER})], b'"id":', protocol=JSON, greeting=[_hello(key)], ready=1,
            ready_mark=_OK, good=_OK, aside=b'{"op":"presence"',
        )  # fmt: skip
        visitors = Talk(
            server, [], b"", protocol=JSON, hello=hello, greeting=[json.dumps(join).encode()], ready=2, ready_mark=_OK
        )
        with held(visitors, members):
            return run("pipe", talk, connections=1, depth=1, seconds=seconds)


def hub_status(seconds: float, devices: int = 1000) -> Reading:
    """Measure asking for the status of as many devices: half of them are here, half were here before."""
    with _hub() as (server, key):
        issued = asyncio.run(_issued(server, key, devices))
        visitors = Talk(
            server, [], b"", protocol=JSON, hello=[_hello(one) for one, _ in issued], ready=1, ready_mark=_OK
        )
        with held(visitors, devices):
            pass
        ask = {"op": "presence.status", "id": NUMBER, "devices": [rec for _, rec in issued]}
        talk = Talk(
            server, [text(ask)], b'"id":', protocol=JSON, greeting=[_hello(key)], ready=1, ready_mark=_OK, good=_OK
        )
        with held(visitors, devices // 2):
            return run("pipe", talk, connections=1, depth=1, settle=GRACE, seconds=seconds)


# -- idle sockets --------------------------------------------------------------------------------------------------


def hub_idle(seconds: float, sockets: int, every: float = HEARTBEAT) -> Reading:
    """Measure what sockets cost that do nothing but to send a heartbeat every so many seconds."""
    with _hub() as (server, key):
        send = [text({"op": "session.beat", "id": NUMBER, "status": "active"})]
        talk = Talk(server, send, b'"id":', protocol=JSON, greeting=[_hello(key)], ready=1, ready_mark=_OK, good=_OK)
        return run("pipe", talk, connections=sockets, rate=sockets / every, settle=2.0, seconds=seconds)


def ws_idle(seconds: float, sockets: int, every: float = HEARTBEAT) -> Reading:
    """Measure the same at npm ws, which knows no session and pings nobody."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, peers.npm_ws(Path(folder)) as server:
        talk = Talk(server, [text({"op": "session.beat", "id": NUMBER})], b'"id":', path="/beat", good=_OK)
        return run("pipe", talk, connections=sockets, rate=sockets / every, settle=2.0, seconds=seconds)
