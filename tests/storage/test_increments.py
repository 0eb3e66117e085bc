"""Many writers count up one record by its expected version: what it says at the end is what was acknowledged.

On SQLite and on MariaDB, there by two keepers over one database. AETHER_PROOF makes it a hundred writers with a
hundred increments each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from hub.schema.writes import Commit, Update
from hub.wire.errors import HubError
from storage.mariadb.keeper import MariadbStorage
from storage.sql.sqlite import SqliteStorage
from tests.proofs.figures import SCALE, report
from tests.storage.declared import Use, box, registry, ticking
from tests.storage.mariadb_server import MariadbServer

WRITERS = INCREMENTS = min(100, 20 * SCALE)


@pytest.fixture(params=["sqlite", "mariadb"])
async def uses(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[Use]]:
    """Return keepers over one empty database."""
    storages: list[Any] = []
    if request.param == "sqlite":
        storages = [SqliteStorage(registry, tmp_path / "hub.sqlite", ticking(), durability="normal")]
    else:
        server: MariadbServer = request.getfixturevalue("mariadb")
        url = server.url(server.new_database())
        storages = [MariadbStorage(registry, url, ticking(), durability="normal") for _ in range(2)]
    async with AsyncExitStack() as stack:
        for storage in storages:
            await storage.start()
            stack.push_async_callback(storage.close)
        yield [Use(storage, seed) for seed, storage in enumerate(storages)]


async def count_up(uses: list[Use], writers: int, increments: int, *, expecting: bool = True) -> tuple[int, int, int]:
    """Return how many increments were acknowledged, what the record says then, and how many were refused."""
    made = await uses[0].create(box, name="counter", note="0")
    acknowledged = refused = 0

    async def write(use: Use) -> None:
        nonlocal acknowledged, refused
        for _ in range(increments):
            while True:
                image = await use.get(box, made["id"])
                assert image is not None
                change = {"note": str(int(image["note"]) + 1)}
                version = image["version"] if expecting else None
                try:
                    await use.storage.submit(Commit("main", (Update(box, made["id"], change, version),)))
                except HubError as refusal:
                    if refusal.code != "record.conflict":
                        raise
                    refused += 1
                else:
                    acknowledged += 1
                    break

    await asyncio.gather(*(write(uses[n % len(uses)]) for n in range(writers)))
    image = await uses[-1].get(box, made["id"])
    assert image is not None
    if expecting:  # else one that comes late may write a lower number
        assert image["version"] == int(image["note"]) + 1
    return acknowledged, int(image["note"]), refused


@pytest.mark.timeout(60 + 20 * SCALE)
async def test_every_acknowledged_increment_counts(uses: list[Use]) -> None:
    acknowledged, value, refused = await count_up(uses, WRITERS, INCREMENTS)
    assert (acknowledged, value) == (WRITERS * INCREMENTS,) * 2
    name = type(uses[0].storage).__name__.removesuffix("Storage").lower()
    text = f"{WRITERS} writers, {INCREMENTS} increments each: {value} at the end, {refused} refused on the way"
    report(f"increments-{name}", text)


async def test_without_the_expected_version_increments_are_lost(uses: list[Use]) -> None:
    acknowledged, value, _ = await count_up(uses, 10, 10, expecting=False)
    assert acknowledged == 100
    assert value < 100
