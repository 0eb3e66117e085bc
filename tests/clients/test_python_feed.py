"""Feeds of the Python client against a real hub: nothing is missed and nothing handed out twice, whatever is killed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from aether_client import Client, FeedBegun, FeedCommit, HubError
from tests.wire.hubprocess import HubProcess
from tests.wire.tenant import make_tenant


async def test_a_service_goes_on_over_restarts_of_the_hub_and_its_own(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "data")
    tenant = await make_tenant(hub)
    written: list[int] = []

    async def write(count: int) -> None:
        async with Client(hub.unix, account=tenant.name) as client:
            for _ in range(count):
                made = await client.call("record.create", type="event", data={"title": "a"})
                written.append(made.seq or 0)

    seen: list[int] = []
    async with Client(hub.unix, account=tenant.name) as service, service.feed("crm") as feed:
        items = aiter(feed)
        begun = await anext(items)
        assert isinstance(begun, FeedBegun)
        assert begun.why == "new"
        await feed.ack(begun.seq)
        with pytest.raises(ValueError, match="running already"):
            service.feed("crm")
        for turn in range(3):
            await write(30)
            for n in range(20):
                item = await anext(items)
                assert isinstance(item, FeedCommit)
                assert item.events[0]["kind"] == "create"
                seen.append(item.seq)
                if n == 5:
                    await feed.ack(item.seq)
            if turn < 2:
                hub.signal(signal.SIGKILL)
                hub.wait()
                hub = HubProcess(hub.data)
            await feed.ack(seen[-4])  # on the new socket, which has to come as far first
        assert seen == written[:60], "nothing twice, although the hub pushed what was not acknowledged again"
    async with Client(hub.unix, account=tenant.name) as service, service.feed("crm") as feed:
        rest = []
        async for item in feed:
            assert isinstance(item, FeedCommit)
            rest.append(item.seq)
            if item.seq == written[-1]:
                break
        assert rest == [seq for seq in written if seq > seen[-4]]
        async with Client(hub.unix, account=tenant.name) as other, other.feed("crm") as taken:
            assert isinstance(await anext(aiter(taken)), FeedCommit)
            with pytest.raises(HubError, match="Somebody else has started this feed"):
                await anext(aiter(feed))
            with pytest.raises(HubError):
                await feed.ack(rest[-1] + 100)
        since = {"epoch": begun.epoch, "seq": written[3]}
        async with service.feed("own", since=since) as own:
            assert [(await anext(aiter(own))).seq for _ in range(3)] == written[4:7]
    hub.stop()


async def test_a_large_commit_is_handed_out_whole_and_a_refusal_ends_the_feed(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "data")
    tenant = await make_tenant(hub)
    async with Client(hub.unix, account=tenant.name) as client, client.feed("crm") as feed:
        items = aiter(feed)
        assert isinstance(await anext(items), FeedBegun)
        ops = [{"op": "record.create", "type": "event", "data": {"title": "x" * 150}} for _ in range(1000)]
        await client.call("record.batch", ops=ops)
        item = await anext(items)
        assert isinstance(item, FeedCommit)
        assert len({event["rec"] for event in item.events}) == 1000
        await feed.ack(item.seq)
    async with Client(hub.url, token=tenant.keys["viewer"]) as viewer:
        with pytest.raises(HubError, match=r"needs the permission account\.feed"):
            await anext(aiter(viewer.feed("crm")))
    hub.stop()
