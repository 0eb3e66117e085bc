"""`history_days` in a running hub: the beginning of the log is forgotten, and a lost watch is told so."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from tests.wire.hubprocess import HubProcess
from tests.wire.talk import connected
from tests.wire.tenant import make_tenant

DAY_MILLIS = 86_400_000


def _age(database: Path, days: int) -> None:
    """Make everything in the log of a stopped hub older."""
    connection = sqlite3.connect(database)
    connection.execute("UPDATE change SET at = at - ?", (days * DAY_MILLIS,))
    connection.commit()
    connection.close()


def test_an_old_log_is_forgotten_and_records_stay(tmp_path: Path) -> None:
    data = tmp_path / "data"
    process = HubProcess(data)

    async def before() -> tuple[str, str, dict[str, object]]:
        tenant = await make_tenant(process)
        async with tenant.client("editor") as editor:
            made = await editor.create("event", title="A")
            started = await editor.ok("watch.start", type="event")
            await editor.ok("record.update", type="event", rec=made["id"], data={"title": "B"})
            return tenant.keys["editor"], made["id"], {"mark": started["mark"], "seq": started["seq"]}

    key, rec, since = asyncio.run(before())
    process.stop()
    for age, kept in ((29, 2), (2, 0)):  # younger than resume_days first, then older than both
        _age(data / "hub.db", age)
        process = HubProcess(data, history_days="1", resume_days="30")
        process.secrets.add(key)

        async def look(place: HubProcess, kept: int) -> None:
            async with connected(place.socket_url) as client:
                await client.greet(key)
                async with asyncio.timeout(10):
                    ask = {"type": "event", "rec": rec}
                    while len((await client.ok("record.history", **ask))["entries"]) > kept:
                        await asyncio.sleep(0.05)
                found = await client.ok("watch.start", type="event", since=since)
                assert (found["resumed"], found.get("why")) == ((True, None) if kept else (False, "expired"))
                assert (await client.ok("record.get", **ask))["title"] == "B"
                assert (await client.seq("record.update", **ask, data={"title": "B"}))[1] >= int(str(since["seq"]))

        asyncio.run(look(process, kept))
        process.stop()
