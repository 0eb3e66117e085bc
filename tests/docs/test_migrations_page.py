"""docs/migrations.md does what it says: a pack begins its steps; the step on the page is planned, run, taken back."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aether_client import Client
from tests.docs.tour import REPOSITORY
from tests.forked import aether
from tests.wire.hubprocess import HubProcess

PAGE = (REPOSITORY / "docs" / "migrations.md").read_text("utf-8")
TYPES = '''"""Notes."""

from typing import Annotated

from msgspec import Meta

from hub import Access, Record


class Note(Record, access=Access(read="viewer", create="editor", update="editor", delete="editor")):
    """A note."""

    title: Annotated[str, Meta(max_length=50)]
    body: str | None = None
'''
CHANGED = TYPES.replace("title:", "headline:").replace("str | None = None", 'str = ""')


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of a pack that the commands and hubs of this test find."""
    file = tmp_path / "packages" / "notes" / "__init__.py"
    file.parent.mkdir(parents=True)
    file.write_text(TYPES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    return file


def titles(hub: HubProcess, *more: str) -> list[str]:
    """Create notes, and return the titles of all."""

    async def ask() -> list[str]:
        async with Client(hub.unix) as client:
            for title in more:
                await client.call("record.create", type="note", data={"title": title})
            found = (await client.call("record.find", type="note")).data["records"]
            return sorted(note.get("title") or note["headline"] for note in found)

    return asyncio.run(ask())


def test_the_step_on_the_page_is_planned_applied_and_taken_back(notes: Path, tmp_path: Path) -> None:
    config = tmp_path / "hub.toml"
    config.write_text(f'packs = ["packs.events", "notes"]\nmigrate = "refuse"\ndata = "{tmp_path / "data"}"\n')

    def migrate(*words: str) -> list[str]:
        done = aether("migrate", *words, "--config", str(config))
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    hub = HubProcess(tmp_path / "data", packs="packs.events,notes")
    assert titles(hub, "one", "two") == ["one", "two"]
    hub.stop()

    (written,) = migrate("plan", "--write", "What there is", "--pack", "notes")
    assert Path(written) == notes.parent / "migrations" / "notes_0001_what_there_is.py"
    assert migrate("apply") == ["The database is as this hub needs it."]

    (step,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (notes.parent / "migrations" / "notes_0002_headlines.py").write_text(step)
    notes.write_text(CHANGED)
    checked = [sys.executable, "scripts/drift.py", "hub.schema.core", "handlers.operator", "packs.events", "notes"]
    assert subprocess.run(checked, cwd=REPOSITORY, check=False).returncode == 0

    refused = aether("serve", "--port", "0", "--config", str(config))
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
    assert "`aether migrate plan`" in refused.stderr
    title = "The body of a note is never null, and its title is a headline."
    plan = migrate("plan")
    assert plan[0] == f"-- notes_0002: {title}"
    assert "UPDATE note SET body = '' WHERE body IS NULL;" in plan
    assert migrate("apply")[0] == f"notes_0002: {title}"
    assert migrate("status")[-2:] == [
        "notes  notes_0002  of notes_0002",
        "Nothing is to be done: the database is as this hub needs it.",
    ]

    hub = HubProcess(tmp_path / "data", packs="packs.events,notes", migrate="refuse")
    assert titles(hub) == ["one", "two"]
    busy = aether("migrate", "apply", "--to", "notes_0001", "--config", str(config))
    assert (busy.returncode, busy.stdout) == (1, "")
    assert f"is already open in process {hub.pid}" in busy.stderr
    hub.stop()

    assert migrate("apply", "--to", "notes_0001") == [
        f"down from notes_0002: {title}",
        "The database stands at notes_0001.",
    ]
    (notes.parent / "migrations" / "notes_0002_headlines.py").unlink()
    notes.write_text(TYPES)
    hub = HubProcess(tmp_path / "data", packs="packs.events,notes")
    assert titles(hub, "three") == ["one", "three", "two"]
    hub.stop()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["status"], "There is no database "),
        (["apply"], "There is no database "),
        (["apply", "--to", "core_9999"], "There is no step core_9999; there are core_0001 to "),
        (["plan", "--pack", "notes"], "--pack goes with --write TITLE."),
        (["plan", "--write", "x", "--pack", "nowhere"], "nowhere is no package among the packs that are loaded"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tmp_path: Path, words: list[str], sentence: str) -> None:
    data = tmp_path / "data"
    if "--to" in words:
        data.mkdir()
        (data / "hub.db").touch()
    done = aether("migrate", *words, "--data", str(data))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert sentence in done.stderr
    assert data.exists() == ("--to" in words)
