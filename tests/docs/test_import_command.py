"""What `aether import conference` says and does, through the command and a hub: refusals, tries and what it allows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.forked import aether
from tests.wire.hubprocess import HubProcess

SAMPLE = Path(__file__).resolve().parents[2] / "examples" / "data" / "frab-camp2019.json"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    running = HubProcess(tmp_path_factory.mktemp("import") / "data")
    yield running
    running.stop()


def imported(hub: HubProcess, file: Path, *words: str) -> Any:
    return aether("import", "conference", str(file), *words, "--data", str(hub.data))


def test_a_broken_export_deletes_nothing_unless_it_is_allowed(hub: HubProcess, tmp_path: Path) -> None:
    tried = imported(hub, SAMPLE, "--dry-run")
    assert tried.returncode == 0, tried.stderr
    assert tried.stdout.startswith("Only tried, nothing was written. An import would be:\n")
    assert "275 created" in tried.stdout
    assert "its id" not in tried.stdout
    assert "275 created" in imported(hub, SAMPLE).stdout  # the try wrote nothing

    document = json.loads(SAMPLE.read_bytes())
    document["schedule"]["conference"]["days"] = []
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps(document), "utf-8")
    refused = imported(hub, broken)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "79 of 79 sessions" in refused.stderr
    assert "--allow-deletions" in refused.stderr
    assert "nothing to write" in imported(hub, SAMPLE).stdout

    tried = imported(hub, broken, "--dry-run")
    assert tried.returncode == 0
    assert "deleted" in tried.stdout
    assert "It would be refused" in tried.stderr
    allowed = imported(hub, broken, "--allow-deletions")
    assert allowed.returncode == 0, allowed.stderr
    assert "79 deleted" in allowed.stdout
