"""The door of the socket: subprotocols, origins, secrets in addresses, and frames that no message fits into."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import websockets
from websockets.exceptions import InvalidStatus

from hub.wire.codec import FRAGMENTS, FRAME_BYTES
from tests.wire.hubprocess import HubProcess
from tests.wire.talk import SUBPROTOCOLS, Client, connected
from tests.wire.tenant import Tenant


def port_of(process: HubProcess) -> int:
    port = urlsplit(process.url).port
    assert port is not None
    return port


async def status_of(url: str, **options: Any) -> tuple[int, bytes]:
    """Return status and body of an upgrade that must be refused."""
    with pytest.raises(InvalidStatus) as refused:
        async with websockets.connect(url, proxy=None, compression=None, **options):
            pass
    body = refused.value.response.body
    return refused.value.response.status_code, bytes(body or b"")


# -- subprotocol -------------------------------------------------------------------------------------


@pytest.mark.parametrize("offered", [None, ["aether.v2.json"], ["chat", "json"], ["AETHER.V1.JSON"]])
async def test_without_one_of_our_subprotocols_the_upgrade_is_refused(process: HubProcess, offered: Any) -> None:
    status, body = await status_of(process.socket_url, subprotocols=offered)
    assert status == 400
    assert b"aether.v1.json" in body


async def test_the_first_offered_subprotocol_that_we_speak_is_chosen(process: HubProcess) -> None:
    offered: Any = ["aether.v9.json", "aether.v1.msgpack", "aether.v1.json"]
    async with websockets.connect(process.socket_url, subprotocols=offered, proxy=None) as socket:
        assert socket.subprotocol == "aether.v1.msgpack"
        assert socket.response is not None
        assert "Sec-WebSocket-Extensions" not in socket.response.headers, "no compression by default"


async def test_there_is_no_socket_elsewhere(process: HubProcess) -> None:
    for path in ("/", "/ws/", "/ws2", "/rpc", "/livez"):
        status, _ = await status_of(process.socket_url.removesuffix("/ws") + path, subprotocols=[SUBPROTOCOLS["json"]])
        assert status == 404, path


async def test_a_plain_request_to_the_socket_is_not_found(process: HubProcess) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{process.url}/ws")
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("X: " + "a" * 9000, b"431"),
        ("X: " + "a" * 40_000, b"431"),
        ("\r\n".join(f"X{n}: a" for n in range(200)), b"431"),
        ("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", b"400"),
        ("Content-Length: 5", b"400"),
        ("Transfer-Encoding: chunked", b"400"),
        ("No colon at all", b"400"),
    ],
)
async def test_an_upgrade_that_only_looks_like_one_is_answered_and_closed(
    process: HubProcess, header: str, status: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(process))
    upgrade = f"""GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r
Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r
Sec-WebSocket-Protocol: aether.v1.json\r\n{header}\r\n\r\n"""
    writer.write(upgrade.encode())
    async with asyncio.timeout(5):
        answer = await reader.read()
    assert answer.split(b" ")[1] == status
    writer.close()


async def test_strangers_at_the_door_write_nothing_into_the_log(process: HubProcess) -> None:
    before = len(process.log)
    upgrade = "GET {} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    upgrade += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{}\r\n"
    ours = "Sec-WebSocket-Protocol: aether.v1.json\r\n"
    for address, protocol in (("/ws", ""), ("/ws", "Sec-WebSocket-Protocol: x\r\n"), ("/other", ours), ("/ws", ours)):
        for gone in (False, True):
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(process))
            writer.write(upgrade.format(address, protocol).encode())
            if gone:
                writer.transport.abort()
            else:
                await reader.readline()
            writer.close()
    async with connected(process.socket_url) as client:
        await client.greet()
    lines = [line for line in process.log[before:].splitlines() if '"level":"debug"' not in line]
    assert lines == []


# -- origins -----------------------------------------------------------------------------------------


def origins_of(port: int) -> dict[str, tuple[str | None, bool]]:
    """Return named origins, and whether a page from there may open a socket."""
    return {
        "none": (None, True),
        "own": (f"http://127.0.0.1:{port}", True),
        "on the list": ("https://app.example", True),
        "null": ("null", False),
        "empty": ("", False),
        "another host": ("https://evil.example", False),
        "another port": (f"http://127.0.0.1:{port + 1 if port < 65535 else 1}", False),
        "no port": ("http://127.0.0.1", False),
        "another scheme": (f"https://127.0.0.1:{port}", False),
        "a sub-domain": (f"http://app.127.0.0.1:{port}", False),
        "a longer host": (f"http://127.0.0.1.evil.example:{port}", False),
        "a user in front": (f"http://evil@127.0.0.1:{port}", False),
        "a path behind": (f"http://127.0.0.1:{port}/x", False),
        "another name of this machine": (f"http://localhost:{port}", False),
        "on the list, other scheme": ("http://app.example", False),
        "on the list, sub-domain": ("https://x.app.example", False),
        "on the list, with a port": ("https://app.example:8443", False),
        "on the list, longer": ("https://app.example.evil.example", False),
        "no address at all": ("http://[", False),
    }


@pytest.mark.parametrize("name", list(origins_of(80)))
async def test_a_page_of_another_origin_is_closed_with_4504(process: HubProcess, codec: str, name: str) -> None:
    origin, welcome = origins_of(port_of(process))[name]
    headers = {} if origin is None else {"Origin": origin}
    async with connected(process.socket_url, codec, additional_headers=headers) as client:
        if welcome:
            await client.greet()
        else:
            assert await client.closed() == 4504


async def test_the_own_origin_is_compared_without_regard_to_case(process: HubProcess) -> None:
    port = port_of(process)
    headers = {"Origin": f"HTTP://LOCALHOST:{port}"}
    async with connected(f"ws://localhost:{port}/ws", additional_headers=headers, host="127.0.0.1") as client:
        await client.greet()


async def test_two_origins_are_no_upgrade(process: HubProcess) -> None:
    headers = [("Origin", "https://app.example"), ("Origin", "https://app.example")]
    status, _ = await status_of(process.socket_url, additional_headers=headers, subprotocols=[SUBPROTOCOLS["json"]])
    assert status == 400


async def test_a_cookie_authenticates_nobody(tenant: Tenant) -> None:
    headers = {"Cookie": f"token={tenant.keys['owner']}; session={tenant.keys['owner']}"}
    async with connected(tenant.process.socket_url, additional_headers=headers) as client:
        hello = await client.greet()
        assert (hello["user"], hello["account"], hello["roles"]) == (None, None, [])


# -- secrets in addresses ----------------------------------------------------------------------------

SECRET = "canary-in-an-address-7d1f"


@pytest.mark.parametrize("query", ["token={}", "key={}", "a=1&token={}", "TOKEN={}", "%74oken={}", "access_token={}"])
async def test_a_secret_in_an_address_is_refused_and_never_logged(process: HubProcess, query: str) -> None:
    process.secrets.add(SECRET)
    address = query.format(SECRET)
    status, body = await status_of(f"{process.socket_url}?{address}", subprotocols=[SUBPROTOCOLS["json"]])
    assert status == 400
    assert SECRET.encode() not in body
    async with httpx.AsyncClient(base_url=process.url, trust_env=False) as http:
        for path in ("/livez", "/", "/rpc", "/nowhere"):
            answer = await http.request("POST" if path == "/rpc" else "GET", f"{path}?{address}")
            assert answer.status_code == 400, path
            assert answer.json()["code"] == "data.invalid"


async def test_other_queries_are_let_in_and_never_logged(process: HubProcess) -> None:
    process.secrets.add(SECRET)
    async with connected(f"{process.socket_url}?v=1&note={SECRET}") as client:
        await client.greet()


# -- frames ------------------------------------------------------------------------------------------


async def test_a_frame_of_two_mebibytes_closes_with_1009(editor: Client) -> None:
    with suppress(websockets.ConnectionClosed):
        await editor.send("session.beat", telemetry={"a": "x" * 2 * 1024 * 1024})
    assert await editor.closed() == 1009


async def test_a_frame_of_almost_one_mebibyte_is_taken(editor: Client) -> None:
    refused = await editor.refused("session.beat", telemetry={"version": "x" * (FRAME_BYTES - 200)})
    assert refused == ("data.invalid", "telemetry.version"), "it was read, and so found too long"


async def test_the_wrong_kind_of_frame_closes_with_1003(editor: Client) -> None:
    await editor.socket.send(b"\x80" if editor.codec == "json" else "{}")
    assert await editor.closed() == 1003


async def test_bad_utf8_closes_with_1007(tenant: Tenant) -> None:
    for parts in ([b'"\xff\xfe"'], [b'"\xc3', b'("'], [b'"\xed\xa0\x80"']):
        async with tenant.client("editor") as client:
            await client.socket.send(parts, text=True)
            assert await client.closed() == 1007


async def test_a_character_may_be_cut_by_a_fragment(tenant: Tenant) -> None:
    async with tenant.client("editor") as client:
        raw = '{"op":"session.beat","id":50,"telemetry":{"mode":"ü"}}'.encode()
        place = raw.index("ü".encode()) + 1
        await client.socket.send([raw[:place], raw[place:]], text=True)
        assert (await client.answer(50))["op"] == "ok"


def in_fragments(frame: str | bytes, count: int) -> list[Any]:
    """Return a frame cut so that it travels in so many fragments; the client adds an empty last one."""
    parts = count - 1
    return [frame[n : n + 1] for n in range(parts - 1)] + [frame[parts - 1 :]]


async def test_256_fragments_are_a_message_and_257_close_with_1009(editor: Client) -> None:
    message = {"op": "session.beat", "id": 50, "telemetry": {"version": "x" * 300}}
    await editor.socket.send(in_fragments(editor.encode(message), FRAGMENTS))
    assert (await editor.answer(50))["path"] == "telemetry.version"
    with suppress(websockets.ConnectionClosed):
        await editor.socket.send(in_fragments(editor.encode(message), FRAGMENTS + 1))
    assert await editor.closed() == 1009


async def test_fragments_that_are_too_large_together_close_with_1009(editor: Client) -> None:
    part: Any = "x" * 300_000 if editor.codec == "json" else b"x" * 300_000
    with suppress(websockets.ConnectionClosed):
        await editor.socket.send([part] * 4)
    assert await editor.closed() == 1009


async def test_empty_fragments_without_end_close_with_1009(editor: Client) -> None:
    async def endless() -> Any:
        empty: Any = "" if editor.codec == "json" else b""
        for _ in range(10_000):
            yield empty

    begun = time.monotonic()
    with suppress(websockets.ConnectionClosed):
        await editor.socket.send(endless())
    assert await editor.closed() == 1009
    assert time.monotonic() - begun < 5


async def test_more_than_twenty_malformed_frames_in_a_minute_close_with_4411(editor: Client) -> None:
    bad: Any = "{" if editor.codec == "json" else b"\xc1"
    for _ in range(20):
        await editor.socket.send(bad)
    for _ in range(20):
        assert (await editor.push("error"))["code"] == "frame.malformed"
    await editor.ok("session.beat")
    await editor.socket.send(bad)
    assert await editor.closed() == 4411
    assert editor.pushes[-1]["code"] == "frame.malformed"


async def test_a_malformed_frame_has_no_id_and_the_socket_stays(editor: Client) -> None:
    await editor.socket.send("[1" if editor.codec == "json" else b"\x92\x01")
    assert "id" not in await editor.push("error")
    await editor.ok("session.beat")


async def test_each_member_of_an_array_is_answered_alone(editor: Client) -> None:
    await editor.send_raw(
        [{"op": "session.beat", "id": 71}, 5, {"op": "no.such", "id": 72}, {"op": "session.beat", "id": 73}]
    )
    assert (await editor.answer(73))["op"] == "ok"
    assert (await editor.answer(71))["op"] == "ok"
    assert (await editor.answer(72))["code"] == "op.unknown"
    assert (await editor.push("error"))["code"] == "frame.malformed"


async def test_a_ping_is_answered_also_while_a_message_is_in_fragments(editor: Client) -> None:
    gate = asyncio.Event()

    async def slowly() -> Any:
        frame = editor.encode({"op": "session.beat", "id": 50})
        yield frame[:5]
        await gate.wait()
        yield frame[5:]

    sending = asyncio.create_task(editor.socket.send(slowly()))
    pong = await editor.socket.ping()
    gate.set()
    await sending
    assert (await editor.answer(50))["op"] == "ok"
    await pong
