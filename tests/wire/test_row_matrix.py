"""Row rules over the wire: whatever somebody asks, they learn nothing of what a rule keeps from them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hub.app import registry_of
from hub.schema.registry import Registry
from hub.settings import load
from tests.wire.inside import Inside, assembled, assembled_in_memory
from tests.wire.matrix_rows import PACK, kept_in, neighbours, over_files, row_cases
from tests.wire.unruled import UNRULED
from tests.wire.worlds import over_rpc, over_socket


@pytest.fixture(scope="module")
def registry() -> Registry:
    """What the hubs of these tests know."""
    return registry_of(load({}, None, {"packs": PACK}))


@pytest.fixture(params=["in memory", "on SQLite"])
def inside(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """A hub in this process, over each keeper."""
    data = tmp_path / "data"
    if request.param == "in memory":
        return assembled_in_memory(data, monkeypatch, packs=PACK)
    return assembled(data, packs=PACK)


async def test_nobody_learns_of_what_a_row_rule_keeps_from_them(inside: Inside, registry: Registry) -> None:
    async with inside.running(), kept_in(inside, registry) as worlds:
        cases = row_cases(registry, worlds.own)
        for who, codec in (("editor", "msgpack"), ("viewer", "json")):
            assert await over_socket(worlds, who, cases, codec) == []
        assert await over_rpc(worlds, "editor", cases) == []
        assert await over_files(worlds, "editor") == []
        assert await neighbours(worlds) == []
        print(f"row rules: {len(cases)} cases × 3, 0 leaks")


async def test_who_manages_a_type_does_learn_of_all_of_it(inside: Inside, registry: Registry) -> None:
    async with inside.running(), kept_in(inside, registry) as worlds:
        cases = [case for case in row_cases(registry, worlds.own) if case.op in {"record.get", "record.find"}]
        assert await over_socket(worlds, "owner", cases)


async def test_without_any_one_of_the_places_of_a_row_rule_the_same_check_finds_leaks(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = await asyncio.to_thread(assembled_in_memory, tmp_path / "data", monkeypatch, packs=PACK)
    blind: list[str] = []
    async with inside.running():
        for place, (home, name, broken, leaking) in UNRULED.items():
            async with kept_in(inside, registry) as worlds:
                cases = [case for case in row_cases(registry, worlds.own) if case.op in leaking]
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(home, name, broken)
                    found = await over_socket(worlds, "editor", cases)
                    found += await neighbours(worlds)
            assert not [line for line in found if "server.error" in line], f"{place}: it leaks, and does not fall over"
            if not {line.split()[1].rstrip(":") for line in found} >= leaking:
                blind.append(f"{place}: {[line[:200] for line in found]}")
    assert not blind, "\n".join(blind)
