"""The pack with hooks that docs/developers.md shows, as it stands and over the wire."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from aether_client import Client, HubError
from tests.docs.tour import REPOSITORY
from tests.wire.hubprocess import HubProcess

DAY = "2026-11-21T"


def test_the_page_shows_the_pack_as_it_is() -> None:
    page = (REPOSITORY / "docs" / "developers.md").read_text("utf-8")
    pack = (REPOSITORY / "examples" / "bookings" / "__init__.py").read_text("utf-8")
    assert f"```py\n{pack}```\n" in page


async def _refused(hub: Client, op: str, **fields: Any) -> tuple[str, str | None]:
    try:
        await hub.call(op, **fields)
    except HubError as refusal:
        return refusal.code, refusal.path
    raise AssertionError(f"{op} was not refused")


def test_its_hooks_hold_whoever_writes(tmp_path: Path) -> None:
    process = HubProcess(tmp_path / "data", packs="examples.bookings")

    async def visit() -> None:
        async with Client(str(process.unix)) as hub:
            data = {"room": "Aula", "starts_at": f"{DAY}10:00:00Z", "ends_at": f"{DAY}11:30:00Z"}
            made = (await hub.call("record.create", type="booking", data=data)).data
            assert made["minutes"] == 90
            ask = {"type": "booking", "rec": made["id"]}
            longer = await hub.call("record.update", **ask, data={"ends_at": f"{DAY}12:00:00Z"})
            assert longer.data["minutes"] == 120
            wrong = {"ends_at": f"{DAY}09:00:00Z"}
            assert await _refused(hub, "record.update", **ask, data=wrong) == ("data.invalid", "data.ends_at")
            everywhere = {"type": "booking", "where": {}, "data": wrong, "limit": 9}
            assert await _refused(hub, "record.update_where", **everywhere) == ("data.invalid", "data.ends_at")
            item = {"op": "record.update", **ask, "data": wrong}
            refusal = await _refused(hub, "record.batch", ops=[item])
            assert refusal == ("data.invalid", "ops.0.data.ends_at")
            await hub.call("record.update", **ask, data={"locked": True})
            assert await _refused(hub, "record.delete", **ask) == ("access.denied", "rec")
            assert await _refused(hub, "record.delete", **ask, mode="hard") == ("access.denied", "rec")

    asyncio.run(visit())
    told = [line for line in process.log.splitlines() if "a booking: " in line]
    process.stop()
    assert len(told) == 3, "one for each change that was committed"
