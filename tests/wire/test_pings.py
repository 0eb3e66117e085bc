"""A client that says nothing and answers the pings of its server is here; one that does not answer goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from channels.hall import Hall
from hub.edge.wheel import Wheel
from tests.wire.inside import Inside
from tests.wire.talk import connected
from tests.wire.visiting import with_short_grace

PING_SECONDS = 0.3


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inside]:
    hub = with_short_grace(tmp_path, monkeypatch)
    hub.parts.hub.wheel = Wheel(PING_SECONDS)
    yield hub
    hub.close()


async def until(hall: Hall, account: str, rec: str, expected: str | None) -> None:
    """Wait until the status of a device is the expected one."""
    async with asyncio.timeout(10):
        while (member.status if (member := hall.member(account, "device", rec)) else None) != expected:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("edge", ["ours", "plain"])
async def test_who_answers_pings_alone_stays_and_who_does_not_goes(inside: Inside, edge: str) -> None:
    server = None
    if edge == "plain":  # the pings are the server's own there
        settings = {"ws_ping_interval": PING_SECONDS, "ws_ping_timeout": PING_SECONDS}
        config = uvicorn.Config(
            inside.parts.app,
            ws="websockets-sansio",
            lifespan="off",
            log_config=None,
            **settings,  # type: ignore[arg-type]
        )
        server = uvicorn.Server(config)
    async with inside.running(server):
        account, key = await inside.make_account("one")
        hall = inside.parts.hub.services.live.hall
        async with connected(inside.socket_url) as client:
            await client.greet(key)
            (member,) = (await client.ok("channel.join", channel="audience:x", presence={"state": {}}))["members"]
            rec = member["rec"]
            heard = asyncio.create_task(client.heard())  # a library reads, and answers; the client says no word
            for _ in range(15):
                await asyncio.sleep(PING_SECONDS / 3)
                found = hall.member(account, "device", rec)
                assert found is not None
                assert found.status == "active"
            heard.cancel()
            client.socket.transport.pause_reading()
            await until(hall, account, rec, "away")
            await until(hall, account, rec, None)
            client.socket.transport.abort()
