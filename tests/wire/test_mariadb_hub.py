"""A hub over MariaDB, from the socket down: it creates, finds and watches, and outlives its database's absence."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.storage.mariadb_server import DURABLE, MariadbServer, running
from tests.storage.proxy import Proxy
from tests.wire.hubprocess import HubProcess
from tests.wire.talk import Refused
from tests.wire.tenant import make_tenant, operator

HEAL_SECONDS = 8.0  # five for the keeper, two until the next check of readiness


@pytest.fixture
def server() -> Iterator[MariadbServer]:
    """Return a server that acknowledges nothing before it is on disk."""
    with running(*DURABLE) as server:
        yield server


def hub_on(server: MariadbServer, data: Path, database: str) -> HubProcess:
    """Start a hub over a database of a server."""
    process = HubProcess(data, database_url=server.url(database))
    process.secrets.add(":secret@")
    return process


async def ready(process: HubProcess, wanted: int) -> float:
    """Wait until the hub says that it is ready, or not; return for how long."""
    begun = time.monotonic()
    async with httpx.AsyncClient(base_url=process.url, trust_env=False) as http:
        while (await http.get("/readyz")).status_code != wanted:
            assert (await http.get("/livez")).status_code == 200
            assert time.monotonic() - begun < HEAL_SECONDS
            await asyncio.sleep(0.05)
    return time.monotonic() - begun


async def again(work: Callable[[], Awaitable[Any]]) -> Any:
    """Do what a client does: ask again where the hub says that this helps."""
    until = time.monotonic() + HEAL_SECONDS
    while True:
        try:
            return await work()
        except Refused as refusal:
            if refusal.code not in {"server.unavailable", "write.unknown"} or time.monotonic() > until:
                raise
            await asyncio.sleep(0.1)


async def test_records_are_created_found_and_watched_over_a_restart_of_the_database(
    server: MariadbServer, tmp_path: Path, codec: str
) -> None:
    process = hub_on(server, tmp_path / "data", server.new_database())
    try:
        assert "#signin=" in process.greeting
        tenant = await make_tenant(process)
        async with tenant.client("editor", codec) as writer, tenant.client("viewer", codec) as reader:
            watch = await reader.ok("watch.start", type="event", where={"title": {"$istarts": "konferenz"}})
            made = await writer.create("event", title="Konferenz 😀", acronym="K")
            assert (await reader.push("change"))["events"][0]["record"]["id"] == made["id"]
            found = await reader.ok("record.find", type="event", where={"acronym": "K"}, order=["-title"], count=True)
            assert (found["records"], found["total"]) == ([made], 1)
            server.kill()
            await ready(process, 503)
            with pytest.raises(Refused, match=r"server\.unavailable"):
                await writer.ok("record.find", type="event")
            await asyncio.to_thread(server.start)
            await ready(process, 200)
            change = {"type": "event", "rec": made["id"], "data": {"title": "konferenz 2"}, "key": "k"}
            changed = await again(lambda: writer.ok("record.update", **change))
            assert (changed["title"], changed["version"]) == ("konferenz 2", 2)
            push = await reader.push("change")
            assert (push["watch"], push["events"][0]["version"]) == (watch["watch"], 2)
    finally:
        await asyncio.to_thread(process.stop)


async def test_a_hub_starts_before_its_database_and_makes_its_first_account_when_that_comes(
    server: MariadbServer, tmp_path: Path
) -> None:
    database = server.new_database()
    server.stop()
    process = await asyncio.to_thread(hub_on, server, tmp_path / "data", database)
    try:
        await ready(process, 503)
        assert "#signin=" not in process.greeting
        await asyncio.to_thread(server.start)
        await ready(process, 200)
        greeting = await asyncio.to_thread(process._read_greeting)
        links = re.findall(r"#signin=(\S+)", greeting)
        assert len(links) == 1, greeting
        process.secrets |= set(links)
        async with httpx.AsyncClient(base_url=process.url, trust_env=False) as http:
            answer = await http.post("/auth/signin", json={"code": links[0]})
        assert answer.status_code == 200
        process.secrets.add(answer.json()["token"])
    finally:
        await asyncio.to_thread(process.stop)


async def test_a_write_whose_outcome_was_unknown_reaches_those_who_watch(
    server: MariadbServer, tmp_path: Path, codec: str
) -> None:
    async with Proxy(server.port) as proxy:
        url = server.url(server.new_database(), proxy.port)
        process = await asyncio.to_thread(HubProcess, tmp_path / "data", database_url=url)
        process.secrets.add(":secret@")
        try:
            tenant = await make_tenant(process)
            async with tenant.client("editor", codec) as writer, tenant.client("viewer", codec) as reader:
                await reader.ok("watch.start", type="event")
                proxy.cut_after = b"\x03COMMIT"
                create = {"type": "event", "data": {"title": "Known"}, "key": "k"}
                pending = asyncio.ensure_future(writer.ok("record.create", **create))
                while proxy.cuts == 0:
                    await asyncio.sleep(0.01)
                proxy.hold()
                with pytest.raises(Refused, match=r"write\.unknown"):
                    await pending
                proxy.let_go()
                begun = time.monotonic()
                event = (await reader.push("change"))["events"][0]  # nobody else writes, and nobody asks again
                assert time.monotonic() - begun < 5
                made = await again(lambda: writer.ok("record.create", **create))
                assert (event["kind"], event["record"]) == ("enter", made)
        finally:
            await asyncio.to_thread(process.stop)


async def test_two_hubs_share_a_database(server: MariadbServer, tmp_path: Path) -> None:
    database = server.new_database()
    one = await asyncio.to_thread(hub_on, server, tmp_path / "one", database)
    two = await asyncio.to_thread(hub_on, server, tmp_path / "two", database)
    try:
        tenant = await make_tenant(one)
        async with tenant.client("editor") as first, operator(two, account=tenant.name) as second:
            made = [
                await client.seq("record.create", type="event", data={"title": "x", "acronym": f"{n}"})
                for n, client in enumerate([first, second] * 5)
            ]
            numbers = [seq for _, seq in made]
            assert numbers == list(range(numbers[0], numbers[0] + 10))
            with pytest.raises(Refused, match=r"record\.exists"):
                await second.create("event", title="x", acronym="0")
            records = (await second.ok("record.find", type="event", order=["acronym"]))["records"]
            assert records == [record for record, _ in made]
            await second.ok("watch.start", type="event")
            begun = time.monotonic()
            told = await first.create("event", title="x", acronym="told by nobody")
            assert (await second.push("change"))["events"][0]["record"] == told
            assert time.monotonic() - begun < 5, "without Redis the logs are asked every two seconds"
    finally:
        for process in (one, two):
            await asyncio.to_thread(process.stop)
