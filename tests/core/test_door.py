"""A request that is begun slowly, or never, is cut after ten seconds; one that is whole has time for its answer."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from hub.edge.door import REQUEST_SECONDS, DoorProtocol
from hub.edge.protocol import HubProtocol
from tests.simulation.clock import run


class Transport:
    """Takes down whether it was cut, and what was written to it."""

    def __init__(self) -> None:
        self.cut = False
        self.written = b""
        self.protocol: Any = None

    def get_extra_info(self, name: str) -> None:
        return None

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.cut

    def abort(self) -> None:
        self.cut = True

    close = abort

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def slow_answer(scope: Any, receive: Any, send: Any) -> None:
    """Answer after a minute."""
    await asyncio.sleep(60)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


def opened() -> tuple[DoorProtocol, Transport]:
    """Return a connection that was just made."""
    config = uvicorn.Config(slow_answer, ws=HubProtocol, lifespan="off", log_config=None, timeout_keep_alive=1000)
    config.load()
    protocol, transport = DoorProtocol(config, ServerState(), {}), Transport()
    protocol.connection_made(transport)
    return protocol, transport


def test_who_says_nothing_or_dribbles_is_cut_after_ten_seconds() -> None:
    async def story() -> None:
        _, silent = opened()
        dribbling, dribble = opened()
        for _ in range(int(REQUEST_SECONDS) - 1):
            dribbling.data_received(b"G")
            await asyncio.sleep(1.0)
        assert (silent.cut, dribble.cut) == (False, False)
        await asyncio.sleep(1.1)
        assert (silent.cut, dribble.cut) == (True, True)

    run(story())


def test_a_request_that_is_whole_has_time_and_so_has_the_next_one() -> None:
    async def story() -> None:
        protocol, transport = opened()
        request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        for _ in range(2):
            await asyncio.sleep(REQUEST_SECONDS - 1)
            protocol.data_received(request)
            await asyncio.sleep(61)
            assert transport.written.startswith(b"HTTP/1.1 200")
            transport.written = b""
        assert not transport.cut
        protocol.data_received(request[:5])
        await asyncio.sleep(REQUEST_SECONDS + 0.1)
        assert transport.cut, "the third was begun and not ended"

    run(story())


def test_two_requests_at_once_are_both_answered() -> None:
    async def story() -> None:
        protocol, transport = opened()
        protocol.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        await asyncio.sleep(130)
        assert transport.written.count(b"HTTP/1.1 200") == 2
        assert not transport.cut

    run(story())
