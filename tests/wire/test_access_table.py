"""The matrix of role × operation × type is what the operations do, and no internal key leaves the hub."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from typer.testing import CliRunner

import handlers.access_table
from handlers import people
from handlers.access_table import OPERATIONS, cells, check_table
from handlers.base import Operations
from handlers.modules import MODULES
from hub.access import Rights
from hub.cli.audit_ids import BASE, Audit, Looker, audit, requests_of, seed
from hub.cli.main import app
from hub.schema.access import ROLES
from hub.schema.fields import DeclarationError
from hub.settings import Settings, load
from tests.wire.inside import assembled_in_memory

SEED = 7


class Asking(Looker):
    """Asks as one role after the other, and keeps what is refused for want of a permission."""

    denied: str | None = None

    async def may(self, request: dict[str, Any]) -> bool:
        """Say whether a request is not refused for want of a permission on the type."""
        self.denied = None
        await self.ask(request)
        return self.denied is None

    def told(self, body: dict[str, Any]) -> None:
        """Note a refusal."""
        if body.get("code") == "access.denied" and "needs" in body.get("details", {}):
            self.denied = body["details"]["needs"]


@pytest.fixture
async def asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Asking, dict[str, str]]]:
    """Somebody in a hub with a record of every type."""
    inside = await asyncio.to_thread(assembled_in_memory, tmp_path / "data", monkeypatch)
    inside.close()
    parts, found = inside.parts, Audit()
    await parts.storage.start()
    await parts.hub.services.live.start()
    services = parts.hub.services
    account = str((await people.create_account(services, "audit"))["id"])
    await people.create_user(services, account, "Audit", "owner")
    _, token = await people.create_api_key(services, account, "owner", "audit")
    ids = await seed(parts, account, found)
    assert found.problems == []
    asking = Asking(parts, found)
    await asking.hello(account, token)
    yield asking, ids
    await services.live.close()
    await parts.storage.close()


async def differences(asking: Asking, ids: dict[str, str], roles: list[str]) -> list[str]:
    """Return the cells of the matrix that are not what the operations do."""
    services, peer = asking.parts.hub.services, asking.peer
    registry = services.registry
    wanted = {(cell["op"], cell["type"], cell["role"]): cell["may"] for cell in cells(registry)}
    found: list[str] = []
    for role in roles:
        peer.rights = services.rights.of(role)
        if peer.session is not None:
            peer.session.rights = peer.rights
        for kind in registry.types.values():
            done: set[str] = set()
            if kind.system:
                continue  # they live in another account
            for request in requests_of(registry, kind, "A" * 11, ids):
                op = request["op"]
                expected = wanted.get((op, kind.name, role))
                if expected is None or op in done or op.startswith("lookup."):
                    continue
                done.add(op)
                plain = {name: value for name, value in request.items() if name not in {"include", "view"}}
                if await asking.may(plain) != expected:
                    found.append(f"{op} of {kind.name} as {role}: {asking.denied}, expected {expected}")
    return found


async def test_the_matrix_is_what_the_operations_do(asking: tuple[Asking, dict[str, str]]) -> None:
    roles = ["viewer", *Random(SEED).sample([r for r in ROLES if r != "viewer"], 2)]
    assert await differences(*asking, roles) == []


async def test_a_wrong_row_of_the_matrix_is_noticed(
    asking: tuple[Asking, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OPERATIONS, "record.update", ("read",))
    assert any(line.startswith("record.update") for line in await differences(*asking, ["viewer"]))


def test_an_operation_without_a_row_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(OPERATIONS, "lock.take")
    with pytest.raises(DeclarationError, match=r"no row in handlers\.access_table for lock\.take"):
        Operations(MODULES)
    with pytest.raises(DeclarationError, match="which no operation is"):
        check_table({*OPERATIONS} - {"record.get"})


def test_the_command_prints_every_cell() -> None:
    runner = CliRunner()
    table = runner.invoke(app, ["audit", "access"])
    assert table.exit_code == 0
    plain = json.loads(runner.invoke(app, ["audit", "access", "--format", "json"]).stdout)
    assert len(table.stdout.splitlines()) == 2 + len(plain) / len(ROLES)
    assert {(c["op"], c["type"], c["role"]) for c in plain if c["may"]} >= {("record.get", "event", "viewer")}
    assert {(c["op"], c["type"], c["role"]) for c in plain if not c["may"]} >= {("record.update", "event", "viewer")}
    assert handlers.access_table.NOTES.keys() <= OPERATIONS.keys()


def test_no_internal_key_leaves_whatever_is_asked(tmp_path: Path) -> None:
    packs = "packs.events,tests.wire.stock,tests.wire.diaries"
    found = audit(load({}, None, {"packs": packs}), tmp_path)
    assert found.problems == []
    assert found.operations == len(OPERATIONS)
    assert found.answers > 500
    assert found.pushes > 100


@pytest.mark.parametrize("leak", [{"pk": 1}, {"count": BASE + 5}, {"note": f"row {BASE + 5} is there"}])
def test_a_key_that_leaves_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leak: dict[str, Any]) -> None:
    view = Rights.view
    monkeypatch.setattr(
        Rights, "view", lambda self, kind, image, fields=None: {**view(self, kind, image, fields), **leak}
    )
    found = audit(Settings(packs=()), tmp_path)
    assert found.problems


def test_a_hub_whose_keys_would_not_be_known_again_is_no_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.cli.audit_ids._keys_far_above", _nothing)
    found = audit(Settings(packs=()), tmp_path)
    assert any("would not be known again" in line for line in found.problems)


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...
