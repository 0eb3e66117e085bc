"""Fan-out of compressed messages (F4): the hub compresses once for all, its peers once for each.

Every message is 2 KiB of JSON before it is compressed, and no two are alike. The load offers `permessage-deflate` as
a browser does, inflates what comes, and finds its number in it.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Final

from benchmarks import peers, servers
from benchmarks.generator import NUMBER, Talk, run
from benchmarks.load import Reading
from benchmarks.rooms import JSON, MEMBERS

SIZE: Final = 2048
_WORDS: Final = (
    "conference", "programme", "session", "keynote", "speaker", "room", "hall", "lobby", "badge", "kiosk", "slide",
    "deck", "break", "lunch", "panel", "workshop", "opening", "closing", "research", "privacy", "network", "storage",
    "latency", "python",
)  # fmt: skip
_OK: Final = b'{"op":"ok"'


def _text(size: int) -> str:
    """Return words in an order that does not repeat soon."""
    found, at = "", 1
    while len(found) < size:
        found += _WORDS[at * at % 23 + at % 2] + " "
        at = at * 75 % 65537
    return found[:size]


def _data() -> str:
    rows = [
        {"id": f"rec{n * 7919 % 9973:08}", "version": n, "sort": n * 31, "name": _text(60 + n)[n:]} for n in range(12)
    ]
    data = json.dumps({"n": NUMBER, "rows": rows}, separators=(",", ":")).replace(f'"{NUMBER}"', NUMBER)
    return data[:-1] + ',"more":"' + _text(SIZE - len(data) - 11) + '"}'


def hub_packed(seconds: float, window: int = 1) -> Reading:
    """Measure a message to each of 1,000 in a channel of the hub."""
    said = f'{{"op":"channel.send","id":{NUMBER},"channel":"bench_room:one","event":"moved","data":{_data()}}}'
    with (
        tempfile.TemporaryDirectory(prefix="aether-bench-") as folder,
        servers.hub(Path(folder), packs="packs.events,benchmarks.talks", compression="once") as server,
    ):
        hello = json.dumps({"op": "session.hello", "id": 1, "token": servers.api_key(server.data)}).encode()
        join = json.dumps({"op": "channel.join", "id": 2, "channel": "bench_room:one"}).encode()
        talk = Talk(
            server, [said.encode()], b'"n":', protocol=JSON, greeting=[hello, join], ready=2, ready_mark=_OK,
            good=_OK, publisher_greeting=[hello], publisher_ready=1, deflate=True,
        )  # fmt: skip
        return run("fan", talk, connections=MEMBERS, window=window, seconds=seconds)


def _fan(server: servers.Server, seconds: float, window: int) -> Reading:
    said = f'{{"op":"message","channel":"bench_room:one","event":"moved","data":{_data()},"from":null}}'
    talk = Talk(server, [said.encode()], b'"n":', path="/sub", publisher_path="/pub", deflate=True)
    return run("fan", talk, connections=MEMBERS, window=window, settle=0.3, seconds=seconds)


def ws_packed(seconds: float, window: int = 1) -> Reading:
    """Measure the same at npm ws."""
    with (
        tempfile.TemporaryDirectory(prefix="aether-bench-") as folder,
        peers.npm_ws(Path(folder), deflate=True) as server,
    ):
        return _fan(server, seconds, window)


def uvicorn_packed(seconds: float, window: int = 1) -> Reading:
    """Measure the same at starlette on uvicorn."""
    with (
        tempfile.TemporaryDirectory(prefix="aether-bench-") as folder,
        peers.plain(Path(folder), deflate=True) as server,
    ):
        return _fan(server, seconds, window)
