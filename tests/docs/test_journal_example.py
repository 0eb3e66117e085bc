"""The example pack that docs/developers.md shows, started as the page says and used over the wire."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aether_client import Client, HubError
from tests.docs.tour import REPOSITORY
from tests.wire.hubprocess import HubProcess


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A hub that knows the example pack alone."""
    folder = tmp_path_factory.mktemp("clone") / "var"
    folder.mkdir()
    started = HubProcess(folder / "journal", packs="examples.journal")
    yield started
    started.stop()


def test_the_page_shows_the_pack_as_it_is() -> None:
    page = (REPOSITORY / "docs" / "developers.md").read_text("utf-8")
    pack = (REPOSITORY / "examples" / "journal" / "__init__.py").read_text("utf-8")
    assert f"```python\n{pack}```\n" in page


def test_the_program_on_the_page_runs_as_it_stands(hub: HubProcess) -> None:
    page = (REPOSITORY / "docs" / "developers.md").read_text("utf-8")
    _, program, _ = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=hub.data.parents[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert re.match(r"\{'count': 1\} at seq \d+\n(\d+ entered, \d+ updated\n)+\Z", done.stdout), done.stdout


async def test_one_file_makes_types_filters_watches_and_an_action(hub: HubProcess) -> None:
    async with Client(hub.unix) as client:
        journal = (await client.call("record.create", type="journal", data={"title": "Travels"})).data
        parent = {"type": "journal", "rec": journal["id"]}
        for day in ("2026-01-01", "2026-02-01", "2026-03-01"):
            data = {"day": day, "text": f"The first of month {day[5:7]}", "tags": ["first"]}
            await client.call("record.create", type="journal_entry", parent=parent, data=data)

        first = {"tags": {"$has": "first"}, "day": {"$gte": "2026-02-01"}}
        found = (await client.call("record.find", type="journal_entry", where=first, order=["-day"])).data
        assert [record["day"] for record in found["records"]] == ["2026-03-01", "2026-02-01"]

        async with client.watch("journal_entry", parent=parent, where={"archived": False}) as watch:
            snapshot = await anext(aiter(watch))
            assert len(snapshot.entered) == 3
            done = await client.call(
                "action.call", action="journal.archive", target=parent, args={"before": "2026-03-01"}
            )
            assert done.data == {"count": 2}
            change = await anext(aiter(watch))
            assert len(change.left) == 2
            assert [record["day"] for record in watch.records.values()] == ["2026-03-01"]


async def test_the_declared_rules_hold_over_the_wire(hub: HubProcess) -> None:
    async with Client(hub.unix) as client:
        journal = (await client.call("record.create", type="journal", data={"title": "Own", "private": True})).data
        parent = {"type": "journal", "rec": journal["id"]}
        entry = {"type": "journal_entry", "parent": parent}
        day = {"day": "2026-01-01", "text": "x"}
        call = {"action": "journal.archive", "target": parent}
        refusals: list[tuple[str, str, dict[str, Any]]] = [
            ("record.exists", "record.create", {"type": "journal", "data": {"title": "Own"}}),
            ("data.invalid", "record.create", entry | {"data": day | {"day": "soon"}}),
            ("data.invalid", "record.create", entry | {"data": day | {"archived": True}}),
            ("action.failed", "action.call", call | {"args": {"before": "2026-03-01"}}),
        ]
        for code, operation, fields in refusals:
            with pytest.raises(HubError) as refused:
                await client.call(operation, **fields)
            assert refused.value.code == code

        described = (await client.call("schema.describe")).data
        assert {"journal", "journal_entry"} <= described["types"].keys()
        assert described["types"]["journal_entry"]["parent"] == "journal"
        assert described["actions"]["journal.archive"]["target"] == "journal"


async def test_a_key_may_do_what_its_role_allows_and_no_more(hub: HubProcess) -> None:
    async with Client(hub.unix) as operator:
        args = {"role": "viewer", "name": "reader"}
        key = (await operator.call("action.call", action="api_key.issue", args=args)).data["key"]
    hub.secrets.add(key)
    async with Client(hub.url, token=key) as reader:
        assert "records" in (await reader.call("record.find", type="journal")).data
        with pytest.raises(HubError) as refused:
            await reader.call("record.create", type="journal", data={"title": "Mine"})
        assert refused.value.code == "access.denied"


def test_the_pack_needs_nothing_but_the_public_names() -> None:
    text = Path(REPOSITORY / "examples" / "journal" / "__init__.py").read_text("utf-8")
    imports = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
    rooms = ("hub.", "channels", "handlers", "storage", "packs")
    assert not [line for line in imports if line.split()[1].startswith(rooms)]


async def test_the_pack_that_returns_what_it_made_runs_from_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (REPOSITORY / "docs" / "developers.md").read_text("utf-8")
    *_, pack = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "packages" / "mypack").mkdir(parents=True)
    (tmp_path / "packages" / "mypack" / "__init__.py").write_text(pack, "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    hub = HubProcess(tmp_path / "data", packs="packs.events,mypack")
    try:
        async with Client(hub.unix) as client:
            args = {"name": "Poetry", "titles": ["Odes", "Elegies"]}
            made = (await client.call("action.call", action="shelf.stock", args=args)).data
            books = (await client.call("record.find", type="book", order=["title"])).data["records"]
    finally:
        hub.stop()
    assert [book["title"] for book in made["books"]] == ["Odes", "Elegies"]
    assert {book["shelf_id"] for book in books} == {made["shelf"]}
    assert {book["id"] for book in books} == {book["id"] for book in made["books"]}
