"""The socket as plain ASGI, carried by a server that is not ours: the same wire, without the takeover."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
import websockets

from hub.edge.connection import READ_PAUSE_BYTES
from tests.wire.carriers import CARRIERS
from tests.wire.inside import Inside, assembled_in_memory
from tests.wire.talk import Client, connected


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """A hub in this process, over memory."""
    return assembled_in_memory(tmp_path / "data", monkeypatch)


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> str:
    """Each of the servers."""
    name: str = request.param
    return name


@asynccontextmanager
async def plain(inside: Inside, carrier: str, codec: str) -> AsyncIterator[tuple[Client, str]]:
    """Serve the hub by another server; yield a client of an owner, and their key."""
    async with inside.running(CARRIERS[carrier](inside.parts.app)):
        _, key = await inside.make_account("plain")
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        parts = urlsplit(inside.url)
        narrow.connect((parts.hostname, parts.port))
        narrow.setblocking(False)
        async with connected(inside.socket_url, codec, sock=narrow) as client:
            await client.greet(key)
            yield client, key


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_records_watches_and_refusals_are_the_same(inside: Inside, carrier: str, codec: str) -> None:
    async with plain(inside, carrier, codec) as (client, key), connected(inside.socket_url, codec) as other:
        await other.greet(key)
        watch = (await other.ok("watch.start", type="event"))["watch"]
        event = await client.create("event", title="Ä")
        push = await other.push("change")
        assert (push["watch"], push["events"][0]["rec"]) == (watch, event["id"])
        refused = await client.call("record.get", type="event", rec="nobody")
        assert refused["code"] == "record.not_found"
        await client.socket.send(b"\xc1" if codec == "msgpack" else "{")
        assert (await client.heard())["code"] == "frame.malformed"
        await client.socket.send("x" if codec == "msgpack" else b"x")
        assert await client.closed() == 1003


async def test_reading_waits_for_a_client_that_does_not_read(inside: Inside, carrier: str) -> None:
    async with plain(inside, carrier, "json") as (client, _):
        event = await client.create("event", title="A")
        parent = {"type": "event", "rec": event["id"]}
        for n in range(4):
            data = {"title": f"{n}", "abstract": "x" * 50_000}
            await client.ok("record.create", type="event_session", parent=parent, data=data)
        client.socket.transport.pause_reading()
        finds = [await client.send("record.find", type="event_session") for _ in range(50)]
        (connection,) = inside.parts.hub.connections
        async with asyncio.timeout(10):
            while connection._room:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert (connection._room, connection.outlet.size < 2 * READ_PAUSE_BYTES) == (False, True)
        client.socket.transport.resume_reading()
        for number in finds:
            assert len((await client.answer(number))["data"]["records"]) == 4


async def test_a_stopping_hub_tells_new_sockets_to_come_back(inside: Inside, carrier: str) -> None:
    async with plain(inside, carrier, "json"):
        inside.parts.hub.draining = True
        async with websockets.connect(
            inside.socket_url, subprotocols=[websockets.Subprotocol("aether.v1.json")]
        ) as late:
            assert msgspec.json.decode(await late.recv())["op"] == "goaway"
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await late.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        inside.parts.hub.draining = False


async def test_a_subprotocol_that_is_not_ours_is_refused(inside: Inside, carrier: str) -> None:
    async with plain(inside, carrier, "json"):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(inside.socket_url, subprotocols=[websockets.Subprotocol("nothing")])
        assert refused.value.response.status_code == 400
