"""The realtime rows: fan-out (F1 to F3), requests (R1, R2), and what a socket costs (M1, M2), beside peers.

The hub is the real one: a session, rights, a watch and the change log behind each delivery. Its publisher is a client
that updates a record, each update on disk before its push; the peers pass on what their publisher says. All write
frames of one size, and all are driven by the same load (`native/load.c`).
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks import peers, servers
from benchmarks.creates import parent_event
from benchmarks.generator import NUMBER, UINT32, Talk, packed, run, text
from benchmarks.load import Reading

WATCHERS: Final = 1000
CONNECTIONS: Final = 100
RECORDS: Final = 1000
"""Among how many records one is got."""
FRAME: Final = 127
"""The whole frame of a push in bytes. 128 cannot be: a payload of 125 has a head of 2 bytes, one of 126 a head of 4."""
JSON: Final = "aether.v1.json"
MSGPACK: Final = "aether.v1.msgpack"
_FIELDS: Final = (
    "type", "version", "account_id", "event_id", "created_at", "updated_at", "created_by", "updated_by", "deleted_at",
    "name", "sort",
)  # fmt: skip
"""What a record of the hub has beside its id, as columns of the peer."""
_OK: Final = b'{"op":"ok"'
_SOCKETIO: Final = "/socket.io/?EIO=4&transport=websocket"
_PACKED_OK: Final = b"\xa2op\xa2ok"


@contextmanager
def _hub() -> Iterator[tuple[servers.Server, str, str]]:
    """Run a hub; give it, a key of its account and the id of an event."""
    packs = "packs.events,benchmarks.talks"
    with (
        tempfile.TemporaryDirectory(prefix="aether-bench-") as folder,
        servers.hub(Path(folder), packs=packs) as server,
    ):
        key = servers.api_key(server.data)
        yield server, key, parent_event(server.port, key)


def _talks(server: servers.Server, key: str, event: str, count: int) -> list[dict[str, Any]]:
    """Create records; return them as the hub shows them."""
    made: list[dict[str, Any]] = []
    ops = [
        {"op": "record.create", "type": "bench_talk", "data": {"name": f"Talk number {n}", "sort": n},
         "parent": {"type": "event", "rec": event}}
        for n in range(count)
    ]  # fmt: skip
    headers = {"Authorization": f"Bearer {key}"}
    for at in range(0, count, 500):
        body = {"op": "record.batch", "id": 1, "ops": ops[at : at + 500]}
        answer = httpx.post(f"http://127.0.0.1:{server.port}/rpc", json=body, headers=headers, timeout=30)
        made += answer.json()["data"]["results"]
    return made


# -- fan-out ---------------------------------------------------------------------------------------------


def hub_fan(**options: float) -> Reading:
    """Measure the hub: every watcher has its session and watches the talks; a client updates the name of one.

    Over MessagePack, where a push of one short field comes nearest to the size that is asked for.
    """
    with _hub() as (server, key, event):
        talk = _talks(server, key, event, 1)[0]
        hello = packed({"op": "session.hello", "id": 1, "token": key})
        watch = {"op": "watch.start", "id": 2, "type": "bench_talk", "fields": ["name"]}
        # `seq` and `version` are two bytes longer beyond 255; from then on a push has its size.
        data = {"name": NUMBER}
        update = packed({"op": "record.update", "id": UINT32, "type": "bench_talk", "rec": talk["id"], "data": data})
        return run(
            "fan",
            Talk(
                server,
                [update],
                b"\xa3seq",
                protocol=MSGPACK,
                binary=True,
                digits=False,
                greeting=[hello, packed(watch)],
                ready=2,
                ready_mark=_PACKED_OK,
                good=b"\x84" + _PACKED_OK,
                publisher_greeting=[hello],
                publisher_ready=1,
            ),
            connections=WATCHERS,
            **options,
        )


def _filled(before: str, after: str, frame: int = FRAME) -> bytes:
    """Return a payload with a number whose whole frame has a size."""
    return (before + "." * (frame - 2 - len(before) - len(after)) + after).encode()


_SAID: Final = f'{{"op":"change","seq":{NUMBER},"text":"'


def _fan_plain(server: servers.Server, **options: float) -> Reading:
    said = _filled(_SAID, '"}')
    talk = Talk(server, [said], b'"seq":', path="/sub", publisher_path="/pub")
    return run("fan", talk, connections=WATCHERS, settle=0.3, **options)


def floor_fan(**options: float) -> Reading:
    """Measure the floor."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, peers.floor(Path(folder)) as server:
        return _fan_plain(server, **options)


def ws_fan(**options: float) -> Reading:
    """Measure npm ws."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, peers.npm_ws(Path(folder)) as server:
        return _fan_plain(server, **options)


def plain_fan(**options: float) -> Reading:
    """Measure starlette's `send_text`, one after the other."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, peers.plain(Path(folder)) as server:
        return _fan_plain(server, **options)


def _fan_socketio(server: servers.Server, said: bytes, **options: float) -> Reading:
    talk = Talk(
        server, [said], b'"seq":', path=f"{_SOCKETIO}&watch=1", publisher_path=_SOCKETIO, greeting=[b"40"], ready=1,
        ready_mark=b"40{", publisher_greeting=[b"40"], publisher_ready=1,
    )  # fmt: skip
    return run("fan", talk, connections=WATCHERS, settle=0.3, **options)


_SAY: Final = _filled('42["say",' + _SAID, '"}]', FRAME - 1)  # "said" is one letter longer


def socketio_fan(**options: float) -> Reading:
    """Measure socket.io."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, peers.socket_io(Path(folder)) as server:
        return _fan_socketio(server, _SAY, **options)


def python_socketio_fan(**options: float) -> Reading:
    """Measure python-socketio."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, peers.python_socketio(Path(folder)) as server:
        return _fan_socketio(server, _SAY, **options)


def feathers_fan(**options: float) -> Reading:
    """Measure Feathers; "says created" is as long as "create","says"."""
    said = _filled('42["create","says",' + _SAID, '"}]')
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, peers.feathers(Path(folder)) as server:
        return _fan_socketio(server, said, **options)


def nats_fan(**options: float) -> Reading:
    """Measure a NATS server over its websocket door."""
    head, tail = "MSG f 1 99\r\n", "\r\n"
    said = _filled(_SAID, '"}', FRAME - len(head) - len(tail))
    connect = b'CONNECT {"verbose":false,"pedantic":false,"lang":"c","version":"1","protocol":1}\r\n'
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, peers.nats(Path(folder)) as server:
        talk = Talk(
            server, [b"PUB f %d\r\n%b\r\n" % (len(said), said)], b'"seq":', path="/", binary=True, stream=True,
            greeting=[connect + b"SUB f 1\r\nPING\r\n"], ready=1, ready_mark=b"PONG",
            publisher_greeting=[connect + b"PING\r\n"], publisher_ready=1,
        )  # fmt: skip
        return run("fan", talk, connections=WATCHERS, settle=0.3, **options)


# -- requests --------------------------------------------------------------------------------------------

_BEAT: Final = text({"op": "session.beat", "id": NUMBER})


def _pipe(server: servers.Server, send: list[bytes], depth: int, seconds: float, **how: Any) -> Reading:
    talk = Talk(server, send, b'"id":', good=_OK, **how)
    return run("pipe", talk, connections=CONNECTIONS, depth=depth, seconds=seconds)


def _as_client(key: str) -> dict[str, Any]:
    hello = json.dumps({"op": "session.hello", "id": 1, "token": key}).encode()
    return {"protocol": JSON, "greeting": [hello], "ready": 1, "ready_mark": _OK}


def hub_beats(depth: int, seconds: float) -> Reading:
    """Measure heartbeats at the hub."""
    with _hub() as (server, key, _):
        return _pipe(server, [_BEAT], depth, seconds, **_as_client(key))


def ws_beats(depth: int, seconds: float) -> Reading:
    """Measure the same at npm ws, which parses and checks the same message and answers the same."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, peers.npm_ws(Path(folder)) as server:
        return _pipe(server, [_BEAT], depth, seconds, path="/beat")


def plain_beats(depth: int, seconds: float) -> Reading:
    """Measure the same at a starlette socket, which knows no session either."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, servers.naive(Path(folder)) as server:
        return _pipe(server, [_BEAT], depth, seconds, path="/beat")


def _beats_socketio(server: servers.Server, before: str, depth: int, seconds: float) -> Reading:
    """Measure heartbeats that are answered with an acknowledgement of socket.io."""
    send = f'42{NUMBER}[{before},{{"op":"session.beat"}}]'.encode()
    how = {"path": _SOCKETIO, "greeting": [b"40"], "ready": 1, "ready_mark": b"40{"}
    talk = Talk(server, [send], b"43", good=b"43", **how)  # type: ignore[arg-type]
    return run("pipe", talk, connections=CONNECTIONS, depth=depth, seconds=seconds)


def feathers_beats(depth: int, seconds: float) -> Reading:
    """Measure the same at Feathers, which checks and answers the same."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, peers.feathers(Path(folder)) as server:
        return _beats_socketio(server, '"create","beats"', depth, seconds)


def python_socketio_beats(depth: int, seconds: float) -> Reading:
    """Measure the same at python-socketio, which checks and answers the same."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, peers.python_socketio(Path(folder)) as server:
        return _beats_socketio(server, '"beat"', depth, seconds)


def _gets(talks: list[dict[str, Any]]) -> list[bytes]:
    return [text({"op": "record.get", "id": NUMBER, "type": "bench_talk", "rec": talk["id"]}) for talk in talks]


def hub_gets(depth: int, seconds: float) -> Reading:
    """Measure reading one of 1,000 records by its id at the hub."""
    with _hub() as (server, key, event):
        send = _gets(_talks(server, key, event, RECORDS))
        return _pipe(server, send, depth, seconds, **_as_client(key))


def ws_gets(depth: int, seconds: float) -> Reading:
    """Measure the same at npm ws with better-sqlite3: the same rows, read by a prepared statement for each request."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as name:
        folder = Path(name)
        rows = [
            (f"rec{n:08}", "bench_talk", 1, "a" * 11, "e" * 11, "2026-11-21T12:00:00.000Z", "2026-11-21T12:00:00.000Z",
             "k" * 11, "k" * 11, None, f"Talk number {n}", n)
            for n in range(RECORDS)
        ]  # fmt: skip
        with sqlite3.connect(folder / "peer.db") as database:
            database.execute(f"CREATE TABLE bench_talk (id TEXT PRIMARY KEY, {', '.join(_FIELDS)}) WITHOUT ROWID")
            database.executemany(f"INSERT INTO bench_talk VALUES (?{',?' * len(_FIELDS)})", rows)
        database.close()
        with peers.npm_ws(folder, folder / "peer.db") as server:
            return _pipe(server, _gets([{"id": row[0]} for row in rows]), depth, seconds, path="/get")


# -- sockets ---------------------------------------------------------------------------------------------


def hub_open(sockets: int, watches: int = 0, settle: float = 1.0) -> Reading:
    """Open sockets at the hub: with `watches`, each says hello and starts so many; without, it is only accepted."""
    with _hub() as (server, key, _):
        requests: list[dict[str, Any]] = [{"op": "session.hello", "id": 1, "token": key}]
        requests += [
            {"op": "watch.start", "id": n + 2, "type": "bench_talk", "where": {"name": f"talk-{n}"}}
            for n in range(watches)
        ]
        greeting = [json.dumps(request).encode() for request in requests] if watches else []
        talk = Talk(server, [], b"", protocol=JSON, greeting=greeting, ready=len(greeting), ready_mark=_OK)
        return run("open", talk, connections=sockets, settle=settle)


def ws_open(sockets: int, settle: float = 1.0) -> Reading:
    """Open sockets at npm ws."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, peers.npm_ws(Path(folder)) as server:
        return run("open", Talk(server, [], b"", path="/sub"), connections=sockets, settle=settle)


def socketio_open(sockets: int, settle: float = 1.0) -> Reading:
    """Open sockets at socket.io, each with its greeting."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, peers.socket_io(Path(folder)) as server:
        talk = Talk(server, [], b"", path=f"{_SOCKETIO}&watch=1", greeting=[b"40"], ready=1, ready_mark=b"40{")
        return run("open", talk, connections=sockets, settle=settle)
