"""A client that does not read does not hold up the end of a hub, and nobody new is let in meanwhile."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.edge.server import BACK_PER_SECOND, MOST_SPREAD_SECONDS, SPREAD_SECONDS, spread_seconds
from tests.wire.hubprocess import HubProcess
from tests.wire.talk import connected
from tests.wire.tenant import make_tenant


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    """A hub of this test alone, that waits for two seconds before it ends."""
    started = HubProcess(tmp_path / "data", drain_seconds="2")
    yield started
    started.stop()


async def test_a_socket_that_does_not_read_does_not_hold_up_the_end(hub: HubProcess) -> None:
    tenant = await make_tenant(hub)
    async with tenant.client("editor") as stuck, tenant.client("viewer") as other:
        event = (await stuck.create("event", title="A", acronym="a"))["id"]
        for n in range(35):
            await stuck.create("event_session", event, title="T", guid=str(n), abstract="x" * 19_000)
        stuck.socket.transport.pause_reading()
        await stuck.send_raw([{"op": "record.find", "id": n, "type": "event_session"} for n in range(100, 900)])
        await other.ok("session.beat")
        begun = time.monotonic()
        hub.signal(signal.SIGTERM)
        await other.push("goaway")
        with pytest.raises(ConnectionRefusedError):
            async with connected(hub.socket_url):
                pass
        assert await other.closed() == 1012
        assert await asyncio.to_thread(hub.wait) == 0
        assert time.monotonic() - begun < 6
        stuck.socket.transport.abort()


async def test_what_was_on_its_way_when_a_client_was_told_to_go_is_answered(hub: HubProcess) -> None:
    tenant = await make_tenant(hub)
    async with tenant.client("editor") as client:
        hub.signal(signal.SIGTERM)
        goaway = await client.push("goaway")
        assert goaway == {"op": "goaway", "why": "restart", "retry_after": 1.0, "jitter": SPREAD_SECONDS}
        assert await client.refused("record.create", type="event", data={"title": "A"}) == ("server.draining", None)
        assert await client.closed() == 1012


def test_the_more_clients_there_are_the_longer_they_are_spread() -> None:
    assert spread_seconds(1) == spread_seconds(int(SPREAD_SECONDS * BACK_PER_SECOND)) == SPREAD_SECONDS
    assert spread_seconds(8000) == 8000 / BACK_PER_SECOND
    assert spread_seconds(10**6) == MOST_SPREAD_SECONDS
