"""A process that fills a disk of its own, and says as JSON what it met.

    unshare -m [-r] python full_disk_child.py FOLDER

FOLDER becomes a file system of 8 MiB that only this process sees; later it grows.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from hub.schema.writes import Commit, Committed
from hub.wire.errors import HubError
from storage.sql import sqlite
from storage.sql.sqlite import SqliteStorage
from tests.storage.declared import Use, box, registry, ticking


async def code_of(awaitable: Any) -> str:
    """Return the code of a refusal, or `ok`."""
    try:
        await awaitable
    except HubError as refusal:
        return refusal.code
    return "ok"


async def fill(folder: Path) -> dict[str, Any]:
    """Write until the disk is full, look around, make room, write again."""
    use = Use(SqliteStorage(registry, folder / "hub.sqlite", ticking()))
    await use.storage.start()
    codes: Counter[str] = Counter()
    acknowledged: list[int] = []
    while not codes:
        commits = [Commit("main", (use.new(box, name=use.id(), note="x" * 500),)) for _ in range(200)]
        for outcome in await asyncio.gather(*map(use.storage.submit, commits), return_exceptions=True):
            if isinstance(outcome, Committed):
                acknowledged.append(outcome.seq)
            else:
                codes[outcome.code if isinstance(outcome, HubError) else repr(outcome)] += 1
    found: dict[str, Any] = {
        "codes": sorted(codes),
        "ready": use.storage.ready,
        "probe": await code_of(use.storage.probe()),
        "probe of writing": await code_of(use.storage.probe_writing()),
        "read": (await use.find(box, count=True, limit=1)).total,
    }
    await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,size=64m", str(folder)], check=True)
    found["healed"] = await code_of(use.create(box, name="after"))
    sqlite.FULL_SECONDS = 0.0  # type: ignore[misc]  # so that nothing has to be waited for
    found["probe after"] = await code_of(use.storage.probe_writing())
    told = [s.seq for s in use.told]
    await use.storage.close()
    use = Use(SqliteStorage(registry, folder / "hub.sqlite", ticking()))
    await use.storage.start()
    log = [s.seq for s in await use.log()]
    found["acknowledged"], found["log"] = len(acknowledged), len(log)
    found["continuous"] = log == list(range(1, len(log) + 1)) == told and acknowledged == log[:-1]
    await use.storage.close()
    return found


if __name__ == "__main__":
    logging.disable()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", sys.argv[1]], check=True)
    print(json.dumps(asyncio.run(fill(Path(sys.argv[1])))))
