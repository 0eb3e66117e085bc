"""Compression, where a hub has it on: large broadcasts are compressed once for all who take it, and for nobody else."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright._impl._driver import compute_driver_executable

from channels.fanout import MANY
from hub.edge.deflate import BROADCAST_BYTES, OWN_BYTES
from hub.wire.codec import FRAME_BYTES
from tests.wire.hubprocess import HubProcess
from tests.wire.talk import Client, connected
from tests.wire.tenant import Tenant, make_tenant
from tests.wire.test_raw_frames import CONT, UPGRADE, Raw, frame, message

OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
RSV1 = 4
TEXT = "What is said here is said to many, and each of them is sent the same bytes. " * 20
assert len(TEXT) > BROADCAST_BYTES


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    """An account of a hub that compresses."""
    hub = HubProcess(tmp_path_factory.mktemp("packed") / "data", compression="once")
    yield asyncio.run(make_tenant(hub))
    hub.stop()


def compressed(client: Client) -> list[bool]:
    """Return, from now on, of every frame that comes whether it was compressed."""
    (extension,) = client.socket.protocol.extensions
    seen: list[bool] = []
    decode = extension.decode

    def noting(frame: Any, **options: Any) -> Any:
        seen.append(frame.rsv1)
        return decode(frame, **options)

    extension.decode = noting  # type: ignore[method-assign]
    return seen


@asynccontextmanager
async def offering(tenant: Tenant, codec: str) -> AsyncIterator[Client]:
    """Yield a greeted socket whose client offers the extension, and compresses all that it sends."""
    async with connected(tenant.process.socket_url, codec, compression="deflate") as client:
        await client.greet(tenant.keys["editor"])
        yield client


async def test_a_change_that_many_watch_is_compressed_for_those_who_take_it(packed: Tenant, codec: str) -> None:
    async with AsyncExitStack() as stack:
        takers = [await stack.enter_async_context(offering(packed, codec)) for _ in range(MANY)]
        plain = await stack.enter_async_context(packed.client("editor", codec))
        watch = {(await client.ok("watch.start", type="event_session"))["watch"] for client in [*takers, plain]}
        assert len(watch) == 1
        seen = [compressed(client) for client in takers]
        event = (await plain.create("event", title="Of the packed"))["id"]
        talk = await plain.create("event_session", event, title="Packed", description=TEXT)
        pushes = [await client.push("change") for client in takers]
        assert all(push["events"][0]["record"]["description"] == TEXT for push in pushes)
        assert {tuple(frames) for frames in seen} == {(True,)}
        assert plain.socket.protocol.extensions == []
        assert (await plain.push("change"))["events"] == pushes[0]["events"]
        # What is small, and the answers, go as they are.
        await plain.ok("record.update", type="event_session", rec=talk["id"], data={"title": "Unpacked"})
        for client in takers:
            await client.push("change")
            await client.ok("session.beat")
        assert {tuple(frames) for frames in seen} == {(True, False, False)}


async def test_what_is_said_in_a_channel_is_too(packed: Tenant, codec: str) -> None:
    async with AsyncExitStack() as stack:
        takers = [await stack.enter_async_context(offering(packed, codec)) for _ in range(MANY)]
        for client in takers:
            await client.ok("channel.join", channel="cursors:packed")
        seen = [compressed(client) for client in takers]
        await takers[0].ok("channel.send", channel="cursors:packed", event="said", data={"text": TEXT[:900]})
        for client in takers[1:]:
            assert (await client.push("message"))["data"] == {"text": TEXT[:900]}
        assert {tuple(frames) for frames in seen[1:]} == {(True,)}


async def test_an_answer_is_compressed_where_it_is_large(packed: Tenant, codec: str) -> None:
    async with offering(packed, codec) as client:
        event = (await client.create("event", title="Of the large"))["id"]
        for n in range(2 + OWN_BYTES // len(TEXT)):
            await client.create("event_session", event, title=f"Large {n}", description=TEXT)
        seen = compressed(client)
        found = await client.ok("record.find", type="event_session", limit=1)
        assert (len(found["records"]), seen) == (1, [False])
        found = await client.ok("record.find", type="event_session", where={"title": {"$starts": "Large"}})
        assert (found["records"][0]["description"], seen) == (TEXT, [False, True])


async def test_what_a_client_compresses_is_read_like_any_other(packed: Tenant, codec: str) -> None:
    async with offering(packed, codec) as client:
        event = (await client.create("event", title="Of all sizes"))["id"]
        sizes = [1, 125, 126, 3000, 60_000]
        for size in sizes:
            talk = await client.create("event_session", event, title="T", description="d" * size)
            assert len((await client.ok("record.get", type="event_session", rec=talk["id"]))["description"]) == size


# -- the stream below --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def raw(tenant: Tenant) -> AsyncIterator[Raw]:
    """Open a socket that offered the extension, and say hello."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(tenant.process.url).port)
    socket = Raw(reader, writer)
    writer.write(UPGRADE[:-2] + OFFER + frame(message("session.hello", token=tenant.keys["editor"])))
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"permessage-deflate; server_no_context_takeover; client_no_context_takeover" in head
    assert (await socket.said())["id"] == 1
    yield socket
    writer.transport.abort()


def shrunk(payload: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def beat(size: int) -> bytes:
    """Return a request of so many bytes, nearly all of which compression takes away."""
    bare = message(number=2, telemetry={"a": ""})
    return bare.replace(b'""', b'"' + b"x" * (size - len(bare)) + b'"')


async def test_a_message_may_inflate_to_the_bound_of_a_frame_and_no_further(packed: Tenant) -> None:
    async with raw(packed) as socket:
        small = shrunk(beat(FRAME_BYTES))
        assert len(small) < 2000
        socket.writer.write(frame(small, rsv=RSV1))
        answer = await socket.said()
        assert (answer["op"], answer["id"], answer["code"]) == ("error", 2, "data.invalid")
        socket.writer.write(frame(shrunk(beat(FRAME_BYTES + 1)), rsv=RSV1))
        assert await socket.closed() == 1009


@pytest.mark.parametrize("pieces", [1, 5])
async def test_a_bomb_is_never_inflated(packed: Tenant, pieces: int) -> None:
    bomb, before = shrunk(bytes(200_000_000)), packed.process.memory
    step = len(bomb) // pieces + 1
    async with raw(packed) as socket:
        for n in range(pieces):
            part, last = bomb[n * step : (n + 1) * step], n == pieces - 1
            opcode = CONT if n else 1
            socket.writer.write(frame(part, opcode, fin=last, rsv=0 if n else RSV1))
        assert await socket.closed() == 1009
        assert packed.process.memory - before < 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(b"\xff\xff\xff", rsv=RSV1), 1002),
        (frame(shrunk(message(number=2)), rsv=RSV1 | 2), 1002),
        (frame(shrunk(beat(3000))[:9], fin=False, rsv=RSV1) + frame(b"x", CONT, rsv=RSV1), 1002),
        (frame(shrunk(b'"\xff"'), rsv=RSV1), 1007),
        (frame(b"x", 9, rsv=RSV1), 1002),
    ],
    ids=["no deflate", "another bit", "in a continuation", "text that is none", "a ping"],
)
async def test_what_is_compressed_wrongly_closes_with_its_code(packed: Tenant, sent: bytes, code: int) -> None:
    async with raw(packed) as socket:
        socket.writer.write(sent)
        assert await socket.closed() == code


async def test_a_compressed_message_may_come_in_pieces_with_others_around_it(packed: Tenant) -> None:
    async with raw(packed) as socket:
        small = shrunk(message(number=3))
        socket.writer.write(
            frame(message(number=2))
            + frame(small[:5], fin=False, rsv=RSV1)
            + frame(b"", 9)
            + frame(small[5:], CONT)
            + frame(message(number=4))
        )
        got = [await socket.next() for _ in range(4)]
        assert [json.loads(payload)["id"] for opcode, payload in got if opcode == 1] == [2, 3, 4]


async def test_a_client_that_wants_a_smaller_window_goes_without(packed: Tenant) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(packed.process.url).port)
    writer.write(UPGRADE[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n\r\n")
    assert b"extensions" not in (await reader.readuntil(b"\r\n\r\n")).lower()
    writer.transport.abort()


# -- other clients, other edges ----------------------------------------------------------------------------------------

_NODE = """
const [url, token] = process.argv.slice(1);
const socket = new WebSocket(url, 'aether.v1.json');
const say = (message) => socket.send(JSON.stringify(message));
socket.onopen = () => {
  say({ op: 'session.hello', id: 1, token });
  say({ op: 'watch.start', id: 2, type: 'event_session', where: { title: 'Node' } });
};
socket.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  if (message.id === 2) console.log(JSON.stringify({ extensions: socket.extensions }));
  if (message.op !== 'change') return;
  console.log(JSON.stringify({ text: message.events[0].record.description }));
  socket.close();
};
"""


async def test_the_sockets_of_node_understand_it(packed: Tenant) -> None:
    node, _ = compute_driver_executable()
    process = await asyncio.create_subprocess_exec(
        node, "-e", _NODE, packed.process.socket_url, packed.keys["editor"], stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20), AsyncExitStack() as stack:
            takers = [await stack.enter_async_context(offering(packed, "json")) for _ in range(MANY)]
            for client in takers:
                await client.ok("watch.start", type="event_session", where={"title": "Node"})
            ready = json.loads(await process.stdout.readline())
            assert ready["extensions"].startswith("permessage-deflate")
            seen = compressed(takers[1])
            event = (await takers[0].create("event", title="Of Node"))["id"]
            await takers[0].create("event_session", event, title="Node", description=TEXT)
            assert json.loads(await process.stdout.readline()) == {"text": TEXT}
            await takers[1].push("change")
            assert seen == [True]
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_hub_that_was_not_told_to_compresses_nothing(shared: Tenant) -> None:
    async with connected(shared.process.socket_url, compression="deflate") as client:
        await client.greet(shared.keys["editor"])
        assert client.socket.protocol.extensions == []
