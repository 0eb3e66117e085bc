"""The house keeps its ladder, and the check that says so can turn red."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.ladder import ROOTS, faults

REPOSITORY = Path(__file__).resolve().parents[2]

# A small house that breaks no rule.
SOUND = {
    "pyproject.toml": '[project]\nname = "h"\ndependencies = ["msgspec>=0.22", "sqlalchemy[asyncio]"]\n',
    "clients/python/pyproject.toml": '[project]\nname = "c"\ndependencies = ["httpx", "typer<1"]\n',
    "clients/python/aether_client/__init__.py": "import json\nimport httpx, typer\n",
    "clients/python/aether_client/cli.py": "from aether_client import json\n",
    "hub/__init__.py": "from hub.schema import record\nimport importlib as i\ni.import_module('hub.app')\n",
    "hub/wire/__init__.py": "",
    "hub/wire/errors.py": "import msgspec\n",
    "hub/schema/__init__.py": "",
    "hub/schema/record.py": "from hub.wire import errors\nfrom hub.wire.errors import anything\n",
    "hub/settings.py": "import os\nHOME = os.environ\n",
    "hub/context.py": "from hub.schema.record import x\n",
    "storage/__init__.py": "",
    "storage/base.py": "from hub.context import x\n",
    "storage/sql/keeper.py": "import sqlalchemy.ext.asyncio\nfrom sqlalchemy import x\n",
    "channels/watch.py": "from storage.base import x\n",
    "handlers/read.py": "from channels.watch import x\nimport packs\n",
    "packs/__init__.py": "",
    "packs/events/migrations/events_0001_x.py": "import sqlalchemy as sa\nfrom alembic import op\n",
    "packs/events/event.py": "from hub import Record\nfrom packs.events import other\n",
    "hub/edge/http.py": "from starlette.routing import Route\nfrom handlers import read\n",
    "hub/app.py": "import uvicorn\nfrom hub.settings import x\nfrom hub.edge.http import y\n",
    "hub/cli/main.py": "import rich.table\nfrom aether_client import cli\nfrom hub import app\n",
    "examples/hello/journal.py": "from hub import Record\nimport anything_at_all\n",
}


def _build(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_house_keeps_its_ladder() -> None:
    assert faults(REPOSITORY) == []


def test_every_room_of_the_house_is_there() -> None:
    empty = [root for root in ROOTS if not any((REPOSITORY / root).rglob("*.py"))]
    assert empty == [], "a check that reads no files would always be green"


def test_a_sound_house_has_no_faults(tmp_path: Path) -> None:
    assert faults(_build(tmp_path, SOUND)) == []


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "hub/wire/bad.py",
            "from hub.schema import record\n",
            "hub.wire.bad (step 0) imports hub.schema.record",
        ),
        ("storage/bad.py", "import channels.watch\n", "storage.bad (step 3) imports channels.watch (step 4)"),
        (
            "channels/bad.py",
            "def f():\n    from hub.edge import http\n",
            "channels/bad.py:2: channels.bad (step 4)",
        ),
        (
            "hub/auth.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from storage.base import x\n",
            "hub.auth (step 2) imports storage.base (step 3)",
        ),
        ("hub/access.py", "__import__('handlers')\n", "hub.access (step 2) imports handlers (step 5)"),
        (
            "storage/lazy.py",
            "import importlib as i\n\ni.import_module('hub.app')\n",
            "storage.lazy (step 3) imports hub.app (step 7)",
        ),
        ("handlers/bad.py", "from . import read\n", "relative import"),
        ("handlers/bad.py", "from hub import Record\n", "handlers.bad imports the public names of hub"),
        (
            "packs/events/bad.py",
            "from hub.schema.record import Record\n",
            "packs.events.bad imports hub.schema.record",
        ),
        ("packs/events/bad.py", "import storage.base\n", "packs.events.bad imports storage.base"),
        ("examples/bad.py", "from hub.wire import errors\n", "examples.bad imports hub.wire.errors"),
        ("hub/cellar.py", "", "hub.cellar has no step on the ladder"),
        (
            "handlers/bad.py",
            "from starlette.requests import Request\n",
            "imports starlette, whose home is hub.edge",
        ),
        ("channels/bad.py", "import redis.asyncio\n", "imports redis, whose home is storage.redis"),
        ("storage/bad.py", "from sqlalchemy import text\n", "imports sqlalchemy, whose home is storage.sql"),
        ("storage/sql/bad.py", "from alembic import op\n", "imports alembic, whose home is storage.migrations"),
        ("packs/events/bad.py", "from alembic import op\n", "imports alembic, whose home is storage.migrations"),
        ("hub/app.py", "import rich\n", "imports rich, whose home is hub.cli"),
        ("handlers/bad.py", "import requests\n", "imports requests, which is no dependency"),
        ("channels/bad.py", "from hub.settings import Settings\n", "imports hub.settings: only hub.app"),
        (
            "channels/bad.py",
            "import os\nos.getenv('A')\n",
            "channels/bad.py:2: channels.bad reads the environment",
        ),
        ("channels/bad.py", "from os import environ\n", "channels.bad reads the environment"),
        ("clients/python/aether_client/bad.py", "import hub\n", "the client is a distribution of its own"),
        (
            "clients/python/aether_client/bad.py",
            "import sqlalchemy\n",
            "which is no dependency of the client",
        ),
    ],
)
def test_one_wrong_import_turns_the_check_red(tmp_path: Path, name: str, text: str, expected: str) -> None:
    found = faults(_build(tmp_path, {**SOUND, name: text}))
    assert len(found) == 1, found
    assert expected in found[0]
    assert found[0].startswith(f"{name}:")
