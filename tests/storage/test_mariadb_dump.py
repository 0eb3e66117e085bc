"""A MariaDB database is dumped from one state while it is written to, and put into an empty one, or not at all."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hub.schema.query import Query
from hub.schema.registry import Registry
from hub.schema.writes import Commit, KeyClaim, Update
from hub.wire.errors import HubError
from storage.backup.base import Dumps
from storage.base import FeedPosition, StorageRefused
from storage.mariadb import dump as dumping
from storage.mariadb.keeper import MariadbStorage
from storage.migrations.drift import compare
from storage.sql.tables import Tables
from tests.storage.declared import Use, box, item, person, registry, sticker, ticking
from tests.storage.mariadb_server import MariadbServer
from tests.storage.migrating import catalogue

TABLES = sorted(
    [*registry.types, "account_state", "change", "idempotency", "feed_position", "history_mark", "last_seen"]
)


OTHER = Registry.of(["hub.schema.core"])


@pytest.fixture
async def use(mariadb: MariadbServer) -> AsyncIterator[Use]:
    """Return an empty keeper."""
    use = keeper(mariadb, mariadb.new_database())
    await use.storage.start()
    yield use
    await use.storage.close()


def keeper(server: MariadbServer, database: str) -> Use:
    """Return the keeper of a database."""
    return Use(MariadbStorage(registry, server.url(database), ticking(), durability="normal"))


def database_of(use: Use) -> str:
    """Return the name of a keeper's database."""
    assert isinstance(use.storage, MariadbStorage)
    return str(use.storage._engine.url.database)


async def filled(use: Use) -> None:
    """Write something into every table, with values that a text format could get wrong."""
    who = (await use.commit(use.new(person, name="P", digest="abc"), account="system")).results[0].image
    made: dict[str, Any] = {}
    for n in range(3):
        made = await use.create(box, name=f"Zoë 😀 'quoted' \\ {n}", note="line\nline\ttab", pin="secret")
        values: dict[str, Any] = {
            "label": "x" * 200, "amount": 2**53 - 1 - n, "weight": 0.1 + 0.2 * n, "fragile": n == 1, "done": True,
            "at": "2026-11-21T09:00:00.123Z", "day": "2026-11-21", "words": ["a", "ß"], "marks": [1, 2],
            "sizes": [0.1, 1e300, -0.5], "extra": {"a": [None, True, "\u2028"]}, "owner_id": who["id"], "code": f"{n}",
        }  # fmt: skip
        under = (await use.commit(use.new(item, made["id"], **values))).results[0].image
        await use.create(sticker, under["id"], text=str(n))
    await use.commit(Update(box, made["id"], {"note": None}))
    await use.storage.submit(
        Commit("main", (use.new(box, name="keyed"),), "actor", key=KeyClaim("user", "k", b"digest"))
    )
    await use.storage.move_feed("main", "crm", FeedPosition("e", 3))


def rows_of(server: MariadbServer, database: str, table: str) -> list[tuple[Any, ...]]:
    """Return every row of a table, epochs left out."""
    columns = [name for (name, *_) in server.run(f"SHOW COLUMNS FROM `{table}`", database=database)]
    wanted = ", ".join(f"`{name}`" for name in columns if (table, name) != ("account_state", "epoch"))
    return server.run(f"SELECT {wanted} FROM `{table}` ORDER BY 1, 2, 3", database=database)


async def test_what_was_dumped_is_there_again_and_writing_goes_on(
    use: Use, mariadb: MariadbServer, tmp_path: Path
) -> None:
    await filled(use)
    assert isinstance(use.storage, Dumps)
    await use.storage.dump(tmp_path)
    names = iter(f"epoch {n}" for n in itertools.count())
    other = mariadb.new_database()
    await dumping.restore(registry, mariadb.url(other), tmp_path, lambda: next(names))
    for table in TABLES:
        assert rows_of(mariadb, other, table) == rows_of(mariadb, database_of(use), table), table
    epochs = {epoch for (epoch,) in mariadb.run("SELECT epoch FROM account_state", database=other)}
    assert epochs == {"epoch 0", "epoch 1"}
    again = keeper(mariadb, other)
    again.id = use.id  # type: ignore[method-assign]  # no id twice
    await again.storage.start()
    for kind in (box, item, sticker):
        before = await use.storage.find("main", Query(kind))
        assert await again.storage.find("main", Query(kind)) == before
    assert await again.log() == await use.log()
    more = await asyncio.gather(*(again.create(box, name=f"after {n}") for n in range(20)))
    assert len({image["id"] for image in more}) == 20
    assert await again.storage.repeated("main", KeyClaim("user", "k", b"digest")) is not None
    assert (await again.storage.heads(["main", "nobody"]))["nobody"].epoch not in epochs
    await again.storage.close()


async def test_a_dump_is_one_state_while_everything_is_written(
    use: Use, mariadb: MariadbServer, tmp_path: Path
) -> None:
    for start in range(0, 600, 100):
        await use.commit(*(use.new(box, name=f"{n}") for n in range(start, start + 100)))
    stop = asyncio.Event()

    async def write(worker: int) -> None:
        for n in itertools.count():
            if stop.is_set():
                return
            made = await use.create(box, name=f"w{worker} {n}")
            await use.commit(Update(box, made["id"], {"note": "x"}), use.new(item, made["id"], code="a"))

    writing = [asyncio.create_task(write(n)) for n in range(4)]
    await asyncio.sleep(0.3)
    acknowledged = await use.seq()
    assert isinstance(use.storage, Dumps)
    await use.storage.dump(tmp_path)
    with pytest.raises(HubError, match="cannot be written"):
        await use.storage.dump(tmp_path / "nowhere")
    later = await use.seq()
    stop.set()
    await asyncio.gather(*writing)
    other = mariadb.new_database()
    await dumping.restore(registry, mariadb.url(other), tmp_path, lambda: "e")
    again = keeper(mariadb, other)
    await again.storage.start()
    head = await again.seq()
    assert acknowledged <= head <= later
    log = await again.log()
    assert [s.seq for s in log] == list(range(1, head + 1))
    last = {row.rec: row.after for s in log for row in s.rows}
    stored = [i for kind in (box, item) for i in (await again.storage.find("main", Query(kind))).records]
    assert {i["id"]: i for i in stored} == last
    await again.storage.close()


async def test_a_restored_database_has_every_index_as_it_is_declared(
    use: Use, mariadb: MariadbServer, tmp_path: Path
) -> None:
    await filled(use)
    assert isinstance(use.storage, Dumps)
    await use.storage.dump(tmp_path)
    other = mariadb.new_database()
    await dumping.restore(registry, mariadb.url(other), tmp_path, lambda: "e")

    def differing() -> list[str]:
        restored, declared = (catalogue(mariadb.url(name)) for name in (other, database_of(use)))
        return [f"{one.part} {one.name}" for one in compare(restored, declared, declared)]

    assert await asyncio.to_thread(differing) == []
    # What an account's records are sorted by ends in their id, so that there is an order among equal values.
    shapes = await asyncio.to_thread(catalogue, mariadb.url(other))
    sorting = [
        shapes[home.table.name].indexes[str(index.name)]
        for home in Tables(registry).homes()
        for index in home.table.indexes
        if not index.unique and index.columns[0].name == "account_pk"
    ]
    assert len(sorting) > 10
    assert [text for text in sorting if not text.endswith(", id)")] == []
    again = keeper(mariadb, other)
    await again.storage.start()
    assert await again.search("quoted") == await use.search("quoted")
    assert len((await again.search("quoted")).hits) == 3
    await again.storage.close()
    # The negative control: an index that does not end in the id, and one that is gone.
    mariadb.run(
        "ALTER TABLE item DROP INDEX item_at, ADD INDEX item_at (account_pk, at), DROP INDEX item_other_id",
        database=other,
    )
    assert await asyncio.to_thread(differing) == ["index item_at", "index item_other_id"]


async def test_only_an_empty_database_is_filled(use: Use, mariadb: MariadbServer, tmp_path: Path) -> None:
    await filled(use)
    assert isinstance(use.storage, Dumps)
    await use.storage.dump(tmp_path)
    before = {table: rows_of(mariadb, database_of(use), table) for table in TABLES}
    with pytest.raises(StorageRefused, match="is not empty"):
        await dumping.restore(registry, mariadb.url(database_of(use)), tmp_path, lambda: "e")
    assert {table: rows_of(mariadb, database_of(use), table) for table in TABLES} == before
    other = mariadb.new_database()
    mariadb.run("CREATE TABLE shop (id INT)", database=other)
    with pytest.raises(StorageRefused, match="is not empty"):
        await dumping.restore(registry, mariadb.url(other), tmp_path, lambda: "e")
    assert mariadb.run("SHOW TABLES", database=other) == [("shop",)]


async def test_a_restore_that_fails_leaves_nothing_and_one_that_was_killed_starts_no_hub(
    use: Use, mariadb: MariadbServer, tmp_path: Path
) -> None:
    await filled(use)
    assert isinstance(use.storage, Dumps)
    await use.storage.dump(tmp_path)
    whole = (tmp_path / "item.jsonl").read_bytes()
    (tmp_path / "item.jsonl").write_bytes(whole + whole.splitlines(True)[1])  # a key twice
    other = mariadb.new_database()
    with pytest.raises(StorageRefused):
        await dumping.restore(registry, mariadb.url(other), tmp_path, lambda: "e")
    assert mariadb.run("SHOW TABLES", database=other) == []
    (tmp_path / "item.jsonl").write_bytes(whole)

    def killed() -> str:
        raise OSError("stands for the end of the process")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dumping, "drop_all", lambda connection, tables: None)  # as nobody does when the process is gone
        with pytest.raises(OSError, match="the end of"):
            await dumping.restore(registry, mariadb.url(other), tmp_path, killed)
    assert ("restoring", "1") in mariadb.run("SELECT name, value FROM meta", database=other)
    with pytest.raises(StorageRefused, match="was broken off"):
        await keeper(mariadb, other).storage.start()
    await dumping.restore(registry, mariadb.url(other), tmp_path, lambda: "e")
    assert rows_of(mariadb, other, "item") == rows_of(mariadb, database_of(use), "item")


async def test_a_dump_of_other_declarations_is_refused(use: Use, mariadb: MariadbServer, tmp_path: Path) -> None:
    assert isinstance(use.storage, Dumps)
    await use.storage.dump(tmp_path)
    other = mariadb.new_database()
    with pytest.raises(StorageRefused, match="under other declarations"):
        await dumping.restore(OTHER, mariadb.url(other), tmp_path, lambda: "e")
    assert mariadb.run("SHOW TABLES", database=other) == []
