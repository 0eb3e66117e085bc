"""A process that writes with keys as fast as it can and says what was acknowledged, until it is killed.

Where it writes is a file for SQLite, or the address of a MariaDB. Every line that it says, `key seq`, is an
acknowledged commit. What key n asks for is `request(n)`, so that whoever comes after can ask for the same again.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

from hub.schema.times import format_time
from hub.schema.writes import Commit, KeyClaim, Update
from hub.wire.names import public_id
from hub.wire.requests import ItemRef
from storage.mariadb.keeper import MariadbStorage
from storage.sql.sqlite import SqliteStorage
from tests.storage.declared import Use, box, item, registry

COUNTER = "counter-box"
IN_FLIGHT = 48
PATIENCE_SECONDS = 60.0
"""How long a group of writes may take: several lanes of these proofs share a machine."""


def clock() -> str:
    """Return the time in wire form."""
    return format_time(datetime.now(UTC))


async def started(place: Path | str) -> Use:
    """Return the keeper on a file, or at an address, when it serves: on a busy machine that takes a while."""
    address = str(place)
    maria = address.startswith("mysql")
    use = Use(
        MariadbStorage(registry, address, clock, seconds=PATIENCE_SECONDS)
        if maria
        else SqliteStorage(registry, Path(address), clock)
    )
    use.id = lambda: public_id(os.urandom(8))  # type: ignore[method-assign]  # each process makes other ids
    await use.storage.start()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not use.storage.ready:
            await asyncio.sleep(0.05)
    return use


def request(use: Use, n: int) -> Commit:
    """Return what key n asks for: every third counts up, the others create a box with two items."""
    key = KeyClaim("user", f"{n}", n.to_bytes(8, "big"))
    if n % 3 == 0:
        return Commit("main", (Update(box, COUNTER, {"note": f"{n}"}),), "actor", key=key)
    writes = (
        use.new(box, name=f"box {n}"),
        use.new(item, ItemRef(0), code="a", amount=n),
        use.new(item, ItemRef(0), code="b", words=["x"] * (n % 50)),
    )
    return Commit("main", writes, "actor", key=key)


async def _write(place: str, first: int, said: int) -> None:
    use = await started(place)
    numbers = itertools.count(first)

    async def client() -> None:
        for n in numbers:
            committed = await use.storage.submit(request(use, n))
            os.write(said, f"{n} {committed.seq}\n".encode("ascii"))

    await asyncio.gather(*(client() for _ in range(IN_FLIGHT)))


def run(place: str, first: int, said: Connection) -> None:
    """Write from key `first` on until killed."""
    asyncio.run(_write(place, first, said.fileno()))
