"""record.move, record.update_where, record.delete_where, and batches whose items stand each for itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.wire.hubprocess import HubProcess
from tests.wire.talk import Client
from tests.wire.tenant import Tenant

MISSING = "AAAAAAAAAAA"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A hub that knows the pack of these tests beside its own."""
    started = HubProcess(tmp_path_factory.mktemp("stock") / "data", packs="packs.events,tests.wire.stock")
    yield started
    started.stop()


def in_depot(rec: Any, code: str = "1", **data: Any) -> dict[str, Any]:
    """Return what is asked to create a crate."""
    return {"type": "crate", "parent": {"type": "depot", "rec": rec}, "data": {"code": code, **data}}


@pytest.fixture
async def depots(editor: Client) -> tuple[str, str]:
    """Two depots."""
    return (await editor.create("depot", name="A"))["id"], (await editor.create("depot", name="B"))["id"]


# -- move --------------------------------------------------------------------------------------------


async def test_a_record_leaves_one_parents_watch_and_enters_the_others(editor: Client, depots: tuple[str, str]) -> None:
    one, other = depots
    crate = await editor.ok("record.create", **in_depot(one))
    left, entered = [
        (await editor.ok("watch.start", type="crate", parent={"type": "depot", "rec": rec}))["watch"] for rec in depots
    ]
    ask: dict[str, Any] = {"type": "crate", "rec": crate["id"], "parent": {"type": "depot", "rec": other}}
    moved, seq = await editor.seq("record.move", **ask)
    assert (moved["depot_id"], moved["version"]) == (other, 2)
    assert [e["kind"] for e in await editor.changes(left)] == ["leave"]
    (enter,) = await editor.changes(entered)
    assert (enter["kind"], enter["record"]) == ("enter", moved)
    assert await editor.seq("record.move", **ask) == (moved, seq)
    history = await editor.ok("record.history", type="crate", rec=crate["id"])
    assert history["entries"][0]["before"] == {"depot_id": one}


async def test_a_move_that_cannot_be_is_refused_with_its_path(editor: Client, depots: tuple[str, str]) -> None:
    one, other = depots
    crate = (await editor.ok("record.create", **in_depot(one)))["id"]
    await editor.ok("record.create", **in_depot(other))
    cases: dict[str, tuple[dict[str, Any], tuple[str, str | None]]] = {
        "no such parent": ({"type": "depot", "rec": MISSING}, ("record.not_found", "parent.rec")),
        "another type": ({"type": "event", "rec": one}, ("data.invalid", "parent.type")),
        "where its code is taken": ({"type": "depot", "rec": other}, ("record.exists", "data.code")),
        "an item": ({"type": "depot", "rec": {"$item": 0}}, ("data.invalid", "parent.rec")),
    }
    for name, (parent, answer) in cases.items():
        assert await editor.refused("record.move", type="crate", rec=crate, parent=parent) == answer, name
    parent = {"type": "depot", "rec": other}
    assert await editor.refused("record.move", type="crate", rec=MISSING, parent=parent) == ("record.not_found", "rec")
    assert await editor.refused("record.move", type="crate", rec={"$item": 0}, parent=parent) == ("data.invalid", "rec")
    assert await editor.refused("record.move", type="depot", rec=one, parent=parent) == ("data.invalid", "parent.type")
    assert (await editor.ok("record.get", type="crate", rec=crate))["version"] == 1


async def test_a_batch_moves_what_it_created_to_what_it_created(editor: Client, depots: tuple[str, str]) -> None:
    results = (await editor.ok("record.batch", ops=[
        {"op": "record.create", "type": "depot", "data": {"name": "C"}},
        {"op": "record.create", **in_depot(depots[0])},
        {"op": "record.move", "type": "crate", "rec": {"$item": 1}, "parent": {"type": "depot", "rec": {"$item": 0}}},
    ]))["results"]  # fmt: skip
    assert results[2]["depot_id"] == results[0]["id"]


# -- writes by filter --------------------------------------------------------------------------------


async def test_all_that_match_change_in_one_commit_and_watchers_see_exactly_those(
    editor: Client, depots: tuple[str, str]
) -> None:
    made = [await editor.ok("record.create", **in_depot(depots[0], f"{n}", weight=n)) for n in range(5)]
    watch = (await editor.ok("watch.start", type="crate"))["watch"]
    answer, seq = await editor.seq(
        "record.update_where", type="crate", where={"weight": {"$gte": 3}}, data={"weight": 0}, limit=10
    )
    assert answer == {"count": 2}
    pushes = [m for m in await editor.settled() if m["op"] == "change" and m["watch"] == watch]
    assert [m["seq"] for m in pushes] == [seq]
    events = await editor.changes(watch)
    assert sorted(e["rec"] for e in events) == sorted(r["id"] for r in made[3:])
    assert {(e["kind"], e["patch"]["weight"]) for e in events} == {("update", 0)}
    gone, last = await editor.seq("record.delete_where", type="crate", where={"weight": 0}, limit=10)
    assert (gone, last) == ({"count": 3}, seq + 1)
    assert sorted(e["rec"] for e in await editor.changes(watch)) == sorted(made[n]["id"] for n in (0, 3, 4))
    found = (await editor.ok("record.find", type="crate"))["records"]
    assert sorted(r["code"] for r in found) == ["1", "2"]


@pytest.mark.parametrize("op", ["record.update_where", "record.delete_where"])
async def test_a_write_by_filter_is_refused_with_its_path(tenant: Tenant, codec: str, op: str) -> None:
    async with tenant.client("owner", codec) as owner, tenant.client("editor", codec) as editor:
        for n in range(3):
            await owner.create("depot", name=f"{n}", insured=n)
        data: dict[str, Any] = {"data": {"note": "x"}} if op == "record.update_where" else {}
        good: dict[str, Any] = {"type": "depot", "where": {}, "limit": 5, **data}
        cases: list[tuple[dict[str, Any], tuple[str, str | None]]] = [
            ({"limit": 2}, ("batch.too_large", "limit")),
            ({"limit": 0}, ("data.invalid", "limit")),
            ({"limit": 1001}, ("data.invalid", "limit")),
            ({"where": {"nope": 1}}, ("where.invalid", "where.nope")),
            ({"where": {"insured": 1}}, ("where.invalid", "where.insured")),
            ({"where": {"pin": "1"}}, ("where.invalid", "where.pin")),
            ({"where": None}, ("data.invalid", "where")),
            ({"type": "nope"}, ("type.unknown", "type")),
            ({"type": "api_key"}, ("access.denied", None)),
        ]
        if data:
            cases += [
                ({"data": {"nope": 1}}, ("data.invalid", "data.nope")),
                ({"data": {"stamp": "x"}}, ("data.invalid", "data.stamp")),
                ({"data": {"name": "same"}}, ("record.exists", "data.name")),
            ]
        for change, answer in cases:
            assert await editor.refused(op, **(good | change)) == answer, change
        for missing in good:
            asked = {name: value for name, value in good.items() if name != missing}
            assert await editor.refused(op, **asked) == ("data.invalid", missing)
        assert {r["version"] for r in (await owner.ok("record.find", type="depot"))["records"]} == {1}
        async with tenant.client("viewer", codec) as viewer:
            assert (await viewer.refused(op, **good))[0] == "access.denied"
        item = {"op": op, **good}
        assert await editor.refused("record.batch", ops=[item]) == ("op.unknown", "ops.0.op")


async def test_a_write_by_filter_with_a_key_is_done_once(editor: Client) -> None:
    await editor.create("depot", name="A")
    ask: dict[str, Any] = {"type": "depot", "where": {}, "limit": 9, "key": "k"}
    first = await editor.seq("record.delete_where", **ask)
    await editor.create("depot", name="B")
    assert await editor.seq("record.delete_where", **ask) == first
    assert await editor.refused("record.delete_where", **{**ask, "limit": 8}) == ("key.reused", "key")
    assert len((await editor.ok("record.find", type="depot"))["records"]) == 1


# -- batches that are not atomic ---------------------------------------------------------------------


async def test_each_item_is_answered_for_itself(editor: Client) -> None:
    await editor.create("depot", name="taken")
    watch = (await editor.ok("watch.start", type="depot"))["watch"]
    answer, seq = await editor.seq("record.batch", atomic=False, ops=[
        {"op": "record.create", "type": "depot", "data": {"name": "A"}},
        {"op": "record.create", "type": "depot", "data": {"name": "taken"}},
        {"op": "record.create", "type": "depot", "data": {"nope": 1}},
        {"op": "record.create", **in_depot({"$item": 0})},
        {"op": "record.create", **in_depot({"$item": 1})},
        {"op": "record.fly"},
        {"op": "record.create", "type": "api_key", "data": {"name": "x", "role": "owner"}},
        {"op": "record.delete", "type": "depot", "rec": MISSING},
        {"op": "record.delete", "type": "depot", "rec": MISSING, "mode": "hard"},
    ])  # fmt: skip
    results = answer["results"]
    assert [(r.get("code"), r.get("path")) for r in results] == [
        (None, None), ("record.exists", "ops.1.data.name"), ("data.invalid", "ops.2.data.nope"), ("1", None),
        ("data.invalid", "ops.4.parent.rec"), ("op.unknown", "ops.5.op"), ("access.denied", "ops.6"),
        ("record.not_found", "ops.7.rec"), ("access.denied", "ops.8"),
    ]  # fmt: skip
    assert [n for n, r in enumerate(results) if "version" in r] == [0, 3], "by which a client tells them apart"
    assert all(r["message"] for r in results if "version" not in r)
    assert results[3]["depot_id"] == results[0]["id"]
    assert [e["rec"] for e in await editor.changes(watch)] == [results[0]["id"]]
    assert (await editor.ok("session.beat"))["seq"] == seq


async def test_where_all_items_are_refused_nothing_happens(editor: Client) -> None:
    before = (await editor.ok("session.beat"))["seq"]
    bad = {"op": "record.delete", "type": "depot", "rec": MISSING}
    answer, seq = await editor.seq("record.batch", ops=[bad, bad], atomic=False, key="k")
    assert [r["code"] for r in answer["results"]] == ["record.not_found"] * 2
    assert seq == before
    assert await editor.seq("record.batch", ops=[], atomic=False) == ({"results": []}, before)


async def test_a_batch_of_single_items_with_a_key_answers_the_same_again(editor: Client) -> None:
    good = {"op": "record.create", "type": "depot", "data": {"name": "A"}}
    ask: dict[str, Any] = {"ops": [good, good], "atomic": False, "key": "k"}
    first = await editor.seq("record.batch", **ask)
    assert [r.get("code") for r in first[0]["results"]] == [None, "record.exists"]
    assert await editor.seq("record.batch", **ask) == first
    assert await editor.refused("record.batch", **{**ask, "atomic": True}) == ("key.reused", "key")


async def test_what_refers_to_each_other_stays_under_one_parent(editor: Client) -> None:
    one, other = [(await editor.create("event", title=name, acronym=name.lower()))["id"] for name in ("A", "B")]
    room = (await editor.create("event_location", one, name="Hall"))["id"]
    talk = (await editor.create("event_session", one, title="T", guid="g", location_id=room))["id"]
    parent = {"type": "event", "rec": other}
    ask = {"type": "event_location", "rec": room, "parent": parent}
    assert await editor.refused("record.move", **ask) == ("relation.restricted", "rec")
    session = {"type": "event_session", "rec": talk}
    assert await editor.refused("record.move", **session, parent=parent) == ("data.invalid", "data.location_id")
    await editor.ok("record.delete", **session)
    await editor.ok("record.move", **ask)
    assert await editor.refused("record.restore", **session) == ("relation.restricted", "rec")
    await editor.ok("record.move", **{**ask, "parent": {"type": "event", "rec": one}})
    assert (await editor.ok("record.restore", **session))["location_id"] == room
