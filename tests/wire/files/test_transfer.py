"""Large files in both directions while sockets go on: latency, memory, readers that stop, a hub that stops."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
import time
from pathlib import Path

import httpx
import websockets

from tests.wire.files.support import MEGABYTE, RunningHub, digest_of, put_address, random_bytes, running_hub
from tests.wire.files.test_put import no_upload_runs, wait_for

LARGE = 200 * MEGABYTE


def _resident(hub: RunningHub) -> int:
    """Bytes of memory that the hub has now."""
    pages = int(Path(f"/proc/{hub.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _open_files(hub: RunningHub) -> int:
    count = 0
    for entry in Path(f"/proc/{hub.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            count += "/blobs/" in os.readlink(entry)
    return count


async def _beats(hub: RunningHub, until: asyncio.Event) -> list[float]:
    """Seconds that each beat of a socket took, one after the other, until the event is set."""
    address = hub.url.replace("http", "ws") + "/ws"
    subprotocol = websockets.Subprotocol("aether.v1.json")
    taken = []
    async with websockets.connect(address, subprotocols=[subprotocol]) as ws:
        await ws.send(json.dumps({"op": "session.hello", "id": 1, "token": hub.keys["viewer"]}))
        assert json.loads(await ws.recv())["op"] == "ok"
        number = 2
        while not until.is_set():
            begun = time.monotonic()
            await ws.send(json.dumps({"op": "session.beat", "id": number}))
            while json.loads(await ws.recv()).get("id") != number:
                pass
            taken.append(time.monotonic() - begun)
            number += 1
            await asyncio.sleep(0.002)
    return taken


async def test_sockets_are_answered_while_a_large_file_comes_and_goes(hub: RunningHub) -> None:
    piece = random_bytes(70, MEGABYTE)
    whole = hashlib.sha256()

    async def upload_body() -> object:
        for n in range(LARGE // MEGABYTE):
            part = n.to_bytes(4, "big") + piece[4:]
            whole.update(part)
            yield part

    before = _resident(hub)
    for direction in ("up", "down"):
        over = asyncio.Event()
        beats = asyncio.create_task(_beats(hub, over))
        async with httpx.AsyncClient(timeout=60, headers=hub.authority("owner")) as http:
            if direction == "up":
                address = hub.url + put_address("large", hub.event)
                answer = await http.put(address, content=upload_body())  # type: ignore[arg-type]  # yields bytes
                assert answer.json()["sha256"] == whole.hexdigest()
            else:
                received, size = hashlib.sha256(), 0
                async with http.stream("GET", f"{hub.url}/files/sha256/{whole.hexdigest()}") as response:
                    async for part in response.aiter_raw():
                        received.update(part)
                        size += len(part)
                assert (size, received.hexdigest()) == (LARGE, whole.hexdigest())
        over.set()
        taken = sorted(await beats)
        assert len(taken) >= 50, f"{direction}: the socket was hardly answered"
        # The client's own share of this loop is in these figures; a hub that stalls shows seconds.
        assert taken[len(taken) // 2] < 0.1, f"{direction}: {taken[len(taken) // 2]:.3f} s"
        assert taken[-1] < 1.0, f"{direction}: {taken[-1]:.3f} s"
    assert _resident(hub) - before < 64 * MEGABYTE, "a transfer is never held in memory"


def test_readers_that_take_nothing_cost_little_and_end_with_their_connection(hub: RunningHub) -> None:
    data = random_bytes(71, 24 * MEGABYTE)
    hub.put("unread", data)
    wait_for(lambda: _open_files(hub) == 0)
    before = _resident(hub)
    connections = []
    for _ in range(20):
        connection = socket.create_connection(hub.address)
        head = (
            f"GET /files/sha256/{digest_of(data)} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {hub.keys['owner']}\r\n"
        )
        connection.sendall(f"{head}\r\n".encode())
        connections.append(connection)
    wait_for(lambda: _open_files(hub) == 20)
    assert hub.get(f"/files/sha256/{digest_of(data)}").content == data
    assert _resident(hub) - before < 40 * MEGABYTE
    for connection in connections:
        connection.close()
    wait_for(lambda: _open_files(hub) == 0)


def test_a_hub_that_is_killed_in_an_upload_shows_nothing_of_it_and_sweeps_it_up(tmp_path: Path) -> None:
    data = random_bytes(72, 8 * MEGABYTE)
    with running_hub(tmp_path) as hub:
        kept = hub.put("kept", b"kept").json()["sha256"]
        connection = socket.create_connection(hub.address)
        head = (
            f"PUT {put_address('cut', hub.event)} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {hub.keys['owner']}\r\n"
        )
        connection.sendall(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data[: 6 * MEGABYTE])
        wait_for(lambda: not no_upload_runs(hub))
        os.kill(hub.pid, signal.SIGKILL)
        connection.close()
    with running_hub(tmp_path, fresh=False) as again:
        assert no_upload_runs(again)
        assert not again.has_blob(data)
        assert again.blobs() == {f"{kept[:2]}/{kept[2:4]}/{kept}"}
        with again.operator() as operator:
            assert operator.get(f"/files/sha256/{kept}").content == b"kept"


def test_a_hub_that_stops_ends_transfers_without_a_trace(tmp_path: Path) -> None:
    data = random_bytes(71, 24 * MEGABYTE)
    with running_hub(tmp_path) as hub:
        hub.put("large", data)
        reader, writer = socket.create_connection(hub.address), socket.create_connection(hub.address)
        authority = f"host: x\r\nauthorization: Bearer {hub.keys['owner']}\r\n"
        reader.sendall(f"GET /files/sha256/{digest_of(data)} HTTP/1.1\r\n{authority}\r\n".encode())
        head = f"PUT {put_address('cut', hub.event)} HTTP/1.1\r\n{authority}content-length: {len(data)}\r\n\r\n"
        writer.sendall(head.encode() + data[:MEGABYTE])
        wait_for(lambda: not no_upload_runs(hub) and _open_files(hub) == 2)
    for connection in (reader, writer):  # the hub was told to stop, and did, with both of them open
        connection.close()
    with running_hub(tmp_path, fresh=False) as again:
        assert no_upload_runs(again)
        assert again.has_blob(data)
        assert not again.has_blob(data[:MEGABYTE])
