"""Two accounts in one hub: whatever one asks, whoever asks, it learns nothing of the other.

Every operation × identity × way to point at the other account (`tests.wire.matrix`), over the socket and over /rpc: the
answer is that for an id that does not exist, and nothing of the other account is in any byte that comes back. The same
check over a keeper whose account filter was taken out must find leaks.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hub.app import registry_of
from hub.schema.registry import Registry
from hub.settings import Settings
from hub.wire.requests import BY_NAME
from tests.wire.hubprocess import HubProcess
from tests.wire.inside import Inside, assembled, assembled_in_memory
from tests.wire.matrix import cases_of, references
from tests.wire.talk import Client, connected
from tests.wire.things import nothing
from tests.wire.unfiltered import BROKEN
from tests.wire.unfiltered_live import UNFILTERED_LIVE, hearing
from tests.wire.worlds import CANARY, IDENTITIES, Outside, leaked, over_http, over_rpc, over_socket, worlds_in


@pytest.fixture(scope="module")
def registry() -> Registry:
    """What the hub of these tests knows: the core and its default packs."""
    return registry_of(Settings())


# -- over a real hub ---------------------------------------------------------------------------------


def test_every_operation_type_reference_and_action_has_a_case(registry: Registry) -> None:
    cases = cases_of(registry, nothing(registry))
    assert {case.op for case in cases} == set(BY_NAME), "an operation without a case"
    things = nothing(registry)
    built = [(case, case.build(things)) for case in cases]
    actions = {fields["action"] for case, fields in built if case.op == "action.call"}
    assert actions == set(registry.actions), "an action without a case"
    for op in ("record.get", "record.update", "record.delete", "watch.start", "file.grant"):
        assert {fields.get("type") for case, fields in built if case.op == op} >= set(registry.types), op
    for kind in registry.types.values():
        for wire, _ in references(kind):
            assert any(c.op == "record.create" and wire in f["data"] and f["type"] == kind.name for c, f in built)
    assert len({case.label for case in cases}) == len(cases)
    types = len({fields.get("type", "") for _, fields in built})
    count = len(cases) * (3 * len(IDENTITIES) + 2)
    print(f"two accounts: {len(cases)} cases of {len(BY_NAME)} operations and {types} types, {count} cells in this run")


@pytest.mark.parametrize("who", IDENTITIES)
async def test_no_identity_learns_anything_of_another_account(
    process: HubProcess, registry: Registry, codec: str, who: str
) -> None:
    async with worlds_in(Outside(process), registry) as worlds:
        found = await over_socket(worlds, who, cases_of(registry, worlds.own), codec)
        assert not found, "\n".join(found)
        assert await worlds.holder.settled() == [], "and the other account noticed nothing"


@pytest.mark.parametrize("who", IDENTITIES)
async def test_no_identity_learns_anything_of_another_account_over_http(
    process: HubProcess, registry: Registry, who: str
) -> None:
    async with worlds_in(Outside(process), registry) as worlds:
        found = await over_rpc(worlds, who, cases_of(registry, worlds.own))
        found += await over_http(worlds, who)
        assert not found, "\n".join(found)
        assert await worlds.holder.settled() == [], "and the other account noticed nothing"


async def test_a_watcher_hears_nothing_while_another_account_writes(
    process: HubProcess, registry: Registry, codec: str
) -> None:
    async with worlds_in(Outside(process), registry) as worlds, AsyncExitStack() as stack:
        theirs, holder, records = worlds.theirs, worlds.holder, worlds.theirs.records
        watchers: list[Client] = []
        for who in ("viewer", "editor", "owner"):
            client = await stack.enter_async_context(connected(worlds.place.socket_url, codec))
            await client.greet(worlds.keys[who])
            for kind in registry.types.values():
                for where in ({}, {"id": records[kind.name]}, {"$not": {"id": "mine"}}):
                    await client.call("watch.start", type=kind.name, where=where)
                for channel in (theirs.records[kind.name], worlds.own.records[kind.name]):
                    await client.call("channel.join", channel=f"{kind.name}:{channel}")
            assert await client.settled() == []
            watchers.append(client)
        parent = {"type": "event", "rec": records["event"]}
        for op, fields in (
            ("record.create", {"type": "event", "data": {"title": CANARY}}),
            ("record.create", {"type": "event_track", "parent": parent, "data": {"name": f"{CANARY} 2"}}),
            ("record.update", {"type": "event", "rec": records["event"], "data": {"title": f"{CANARY} new"}}),
            ("record.update", {"type": "event_session", "rec": records["event_session"], "data": {"track_id": None}}),
            ("record.delete", {"type": "event_file", "rec": records["event_file"]}),
            ("record.delete", {"type": "event_track", "rec": records["event_track"]}),
            ("presence.update", {"channel": f"event:{records['event']}", "state": {"at": f"{CANARY} there"}}),
            ("lock.take", {"type": "event", "rec": records["event"], "steal": True}),
            ("lock.release", {"type": "event", "rec": records["event"]}),
            ("channel.leave", {"channel": f"event:{records['event']}"}),
            ("action.call", {"action": "api_key.issue", "args": {"role": "viewer", "name": CANARY}}),
        ):
            await holder.ok(op, **fields)
        await holder.settled()
        for client in watchers:
            assert await client.settled() == []
        await watchers[1].create("event", title="heard")
        for client in watchers:
            assert [m["op"] for m in await client.settled()] == ["change", "change"], "it does hear its own account"
            for frame in client.frames:
                raw = frame.encode() if isinstance(frame, str) else frame
                assert leaked(raw, theirs) == []


async def test_a_mixed_batch_leaves_nothing_behind(process: HubProcess, registry: Registry) -> None:
    async with worlds_in(Outside(process), registry) as worlds:
        for case in cases_of(registry, worlds.own):
            if case.op == "record.batch":
                answer, _ = await worlds.rpc(worlds.keys["owner"], case.op, **case.build(worlds.theirs))
                if "code" not in answer:
                    (answer,) = answer["data"]["results"]  # each item for itself
                assert (answer["code"], answer["path"][:4]) == ("record.not_found", "ops."), case.label
        found, _ = await worlds.rpc(worlds.keys["owner"], "record.find", type="event", where={"title": "mixed"})
        assert found["data"]["records"] == []


async def test_a_cursor_of_another_account_pages_ones_own(process: HubProcess, registry: Registry) -> None:
    async with worlds_in(Outside(process), registry) as worlds:
        await worlds.holder.create("event", title=CANARY)
        page = await worlds.holder.ok("record.find", type="event", limit=1)
        _, raw = await worlds.rpc(worlds.keys["owner"], "record.find", type="event", after=page["next"], limit=1)
        assert leaked(raw, worlds.theirs) == []


# -- the check itself --------------------------------------------------------------------------------


@pytest.fixture(params=["in memory", "on SQLite"])
def inside(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """A hub in this process, over each keeper."""
    data = tmp_path / "data"
    return assembled_in_memory(data, monkeypatch) if request.param == "in memory" else assembled(data)


async def test_over_each_keeper_in_this_process_nothing_leaks_either(inside: Inside, registry: Registry) -> None:
    async with inside.running(), worlds_in(inside, registry) as worlds:
        # Who is in both accounts, and now in the first: the second may be entered, and nothing else of it be had.
        worlds.keys["both"] = await inside.make_member(worlds.own.account, worlds.theirs.account)
        away = [case for case in cases_of(registry, worlds.own) if case.op != "session.hello"]
        assert await over_socket(worlds, "both", away) == []


@pytest.mark.parametrize(
    ("inside", "place"), [pytest.param(p[0], p, id=" ".join(p)) for p in BROKEN], indirect=["inside"]
)
async def test_without_an_account_filter_of_the_keeper_the_same_check_finds_leaks(
    inside: Inside, registry: Registry, place: tuple[str, str]
) -> None:
    (home, name, broken), leaking = BROKEN[place]
    async with inside.running(), worlds_in(inside, registry) as worlds:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(home, name, broken)
            found = await over_socket(worlds, "owner", cases_of(registry, worlds.own))
        assert not [line for line in found if "server.error" in line], "it leaks, and does not fall over"
        assert {line.split()[1].rstrip(":") for line in found} >= leaking, found


async def test_without_an_account_filter_elsewhere_the_same_check_finds_leaks(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = await asyncio.to_thread(assembled_in_memory, tmp_path / "data", monkeypatch)
    blind: list[str] = []
    async with inside.running(), worlds_in(inside, registry) as worlds:
        assert await hearing(worlds) == [], "nothing is heard while nothing is taken out"
        for place, (home, name, broken, leaking) in UNFILTERED_LIVE.items():
            cases = [case for case in cases_of(registry, worlds.own) if case.op in leaking]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(home, name, broken)
                found = await over_socket(worlds, "owner", cases) + await hearing(worlds)
            if not {line.split()[1].rstrip(":") for line in found} >= leaking:
                blind.append(f"{place}: {[line[:200] for line in found]}")
    assert not blind, "\n".join(blind)
