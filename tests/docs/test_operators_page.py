"""docs/operators.md does what it says: a restored folder makes clients start again, links bear the proxy's address."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from aether_client import Client
from tests.docs.test_command_line import begun
from tests.docs.tour import REPOSITORY, Step, section, steps
from tests.wire.hubprocess import HubProcess

PAGE = (REPOSITORY / "docs" / "operators.md").read_text("utf-8")


def shell(step: Step, clone: Path) -> str:
    """Run the commands of a step in a folder that looks like a clone; return what they print."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AETHER_")}
    done = subprocess.run(
        ["bash", "-eu", "-c", "\n".join(step.commands)],
        cwd=clone, env=clean, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


def a_clone(folder: Path) -> Path:
    """Return a folder with an environment in its place."""
    folder.mkdir()
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


async def watched(hub: HubProcess, **since: Any) -> dict[str, Any]:
    """Return the answer of a watch over all events."""
    async with Client(hub.unix) as client:
        answer = await client.call("watch.start", type="event", **since)
        assert isinstance(answer.data, dict)
        return answer.data


async def created(hub: HubProcess, title: str) -> None:
    """Create an event."""
    async with Client(hub.unix) as client:
        await client.call("record.create", type="event", data={"title": title})


async def test_after_a_restore_clients_take_a_snapshot(tmp_path: Path) -> None:
    backup, restore = steps(section(PAGE, "Backup and restore"))
    make, serve = restore.commands
    assert serve == ".venv/bin/aether serve --data restored"
    clone = a_clone(tmp_path / "clone")
    data = clone / "var"

    hub = HubProcess(data)
    await created(hub, "before the backup")
    assert "backup-1 is whole: 0 files" in await asyncio.to_thread(shell, backup, clone)
    await created(hub, "lost by the restore")
    seen = await watched(hub)
    position = {"mark": seen["mark"], "seq": seen["seq"]}
    hub.stop()
    shell(Step((make,), None), clone)

    hub = HubProcess(clone / "restored")
    await created(hub, "in the place of the lost one")
    again = await watched(hub, since=position)
    hub.stop()
    assert (again["resumed"], again["why"]) == (False, "epoch")
    titles = {record["title"] for record in again["records"]}
    assert titles == {"before the backup", "in the place of the lost one"}


def test_a_link_bears_the_address_of_the_proxy(tmp_path: Path) -> None:
    (step,) = steps(section(PAGE, "In front of it"))
    serve, link = step.commands
    assert serve == "AETHER_ORIGINS=https://hub.example .venv/bin/aether serve"
    clone = a_clone(tmp_path / "clone")
    begun(clone / "var")
    printed = shell(Step((link,), None), clone)
    assert re.fullmatch(r"https://hub\.example/#signin=aec_\S+\n", printed)


def test_the_files_of_the_data_folder_are_those_on_the_page(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "data")
    try:
        there = {path.name for path in hub.data.iterdir()}
    finally:
        hub.stop()
    listed = section(PAGE, "The data folder")
    shown = {
        name.rstrip("/")
        for row in re.findall(r"^\| (`[^|]+) \|", listed, re.M)
        for name in re.findall(r"`([^`]+)`", row)
    }
    assert there == shown
    assert {path.stat().st_mode & 0o077 for path in hub.data.iterdir()} == {0}
