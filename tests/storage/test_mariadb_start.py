"""What the keeper on MariaDB says to a server or a database that it cannot use."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest
from sqlalchemy.engine import Connection

from hub.wire.errors import HubError
from storage.base import StorageRefused
from storage.mariadb import keeper, schema
from storage.mariadb.keeper import MariadbStorage
from tests.storage.declared import Use, box, registry, ticking
from tests.storage.mariadb_server import DURABLE, FAST, MariadbServer, running
from tests.storage.proxy import Proxy


async def refused(url: str, durability: str = "normal") -> str:
    """Return the sentence with which a start is refused."""
    storage = MariadbStorage(registry, url, ticking(), durability=durability)  # type: ignore[arg-type]
    with pytest.raises(StorageRefused) as refusal:
        await storage.start()
    assert not storage.ready
    await storage.close()
    return str(refusal.value)


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql+aiomysql://u:s3cret@h", "postgresql://u:s3cret@h/db", "mysql://u:s3cret@h/db"]
)
def test_an_address_of_another_kind_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(StorageRefused, match="database_url is not like mysql") as refusal:
        MariadbStorage(registry, url, ticking())
    assert "s3cret" not in str(refusal.value)


async def test_a_server_that_acknowledges_too_early_is_refused_or_warned_of(
    mariadb: MariadbServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = mariadb.url(mariadb.new_database())
    assert "set innodb_flush_log_at_trx_commit = 1 on the server" in await refused(url, "full")
    storage = MariadbStorage(registry, url, ticking(), durability="normal")
    with caplog.at_level(logging.WARNING):
        await storage.start()
    await storage.close()
    assert "a power cut of the database server may lose the last writes" in caplog.text


def test_the_binary_log_has_to_be_durable_and_by_row() -> None:
    with running(*DURABLE[:1], "--log-bin=bin", "--sync-binlog=0", "--binlog-format=ROW") as server:
        url = server.url(server.new_database())
        assert "set sync_binlog = 1 on the server" in asyncio.run(refused(url, "full"))
        server.run("SET GLOBAL sync_binlog = 1", "SET GLOBAL binlog_format = 'STATEMENT'")
        assert "set binlog_format = ROW" in asyncio.run(refused(url, "full"))
        server.run("SET GLOBAL binlog_format = 'ROW'")

        async def write() -> int:
            use = Use(MariadbStorage(registry, url, ticking()))
            await use.storage.start()
            committed = await use.commit(use.new(box, name="a"))
            await use.storage.close()
            return committed.seq

        assert asyncio.run(write()) == 1


async def test_what_is_wrong_with_the_user_or_the_database_is_said(mariadb: MariadbServer) -> None:
    url = mariadb.url(mariadb.new_database())
    assert "refuses the hub's user" in await refused(url.replace("secret", "wrong"))
    assert "refuses the hub's user" in await refused(mariadb.url("nothing"))
    other = mariadb.new_database()
    mariadb.run("CREATE TABLE things (x INT)", database=other)
    assert "tables of another program" in await refused(mariadb.url(other))


async def test_another_format_is_refused_and_the_epoch_stays(mariadb: MariadbServer) -> None:
    name = mariadb.new_database()
    epochs = set()
    for _ in range(2):
        use = Use(MariadbStorage(registry, mariadb.url(name), ticking(), durability="normal"))
        await use.storage.start()
        epochs.add((await use.storage.heads(["main"]))["main"].epoch)
        await use.storage.close()
    assert len(epochs) == 1
    mariadb.run("UPDATE meta SET value = '99' WHERE name = 'format'", database=name)
    assert "has format 99, this hub knows format 1" in await refused(mariadb.url(name))


def is_ready(use: Use) -> bool:
    """Return whether the keeper serves now."""
    return use.storage.ready


async def test_a_start_does_not_wait_for_tables_for_long_and_serves_when_they_are_there(
    mariadb: MariadbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "START_SECONDS", 0.2)
    loop, times, settle, held_back = asyncio.get_running_loop(), [0], schema.settle, asyncio.Event()
    async with Proxy(mariadb.port) as proxy:

        async def hold() -> None:
            proxy.hold()
            held_back.set()

        def held(connection: Connection, *rest: Any) -> str:
            times[0] += 1
            asyncio.run_coroutine_threadsafe(hold(), loop).result()
            return settle(connection, *rest)

        monkeypatch.setattr(keeper, "settle", held)
        url = mariadb.url(mariadb.new_database(), proxy.port)
        use = Use(MariadbStorage(registry, url, ticking(), durability="normal"))
        async with asyncio.timeout(10):
            await use.storage.start()
        assert not is_ready(use)
        with pytest.raises(HubError, match=r"server\.unavailable"):
            await use.create(box, name="a")
        async with asyncio.timeout(60):
            await held_back.wait()
            proxy.let_go()
            while not is_ready(use):
                await asyncio.sleep(0.01)
        assert (await use.create(box, name="a"))["version"] == 1
        assert times == [1], "what was begun went on"
        await use.storage.close()


async def test_who_stops_while_its_tables_are_made_stops(
    mariadb: MariadbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "START_SECONDS", 0.2)
    go = threading.Event()
    monkeypatch.setattr(keeper, "settle", lambda *_: str(go.wait(20)))
    url = mariadb.url(mariadb.new_database())
    storage = MariadbStorage(registry, url, ticking(), durability="normal")
    async with asyncio.timeout(10):
        await storage.start()
        assert not storage.ready
        await storage.close()
    go.set()
    assert storage._settling is None or storage._settling.done()


def test_a_start_that_was_broken_off_goes_on() -> None:
    with running(*FAST) as server:
        name = server.new_database()

        async def start() -> MariadbStorage:
            storage = MariadbStorage(registry, server.url(name), ticking(), durability="normal")
            await storage.start()
            return storage

        async def twice() -> None:
            await (await start()).close()
            server.run("DELETE FROM meta WHERE name = 'schema'", "DELETE FROM meta", "DROP TABLE item", database=name)
            use = Use(await start())
            assert (await use.create(box, name="a"))["name"] == "a"
            await use.storage.close()

        asyncio.run(twice())
