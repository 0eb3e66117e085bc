"""record.restore, record.revert and record.history: what comes back, who is told, and what nobody is shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.wire.hubprocess import HubProcess
from tests.wire.talk import Client
from tests.wire.tenant import Tenant


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A hub that knows the pack of these tests beside its own."""
    started = HubProcess(tmp_path_factory.mktemp("stock") / "data", packs="packs.events,tests.wire.stock")
    yield started
    started.stop()


async def entries(client: Client, rec: str, kind: str = "depot", **fields: Any) -> list[dict[str, Any]]:
    """Return the history of a record."""
    found: list[dict[str, Any]] = (await client.ok("record.history", type=kind, rec=rec, **fields))["entries"]
    return found


async def test_a_deleted_record_comes_back_and_enters_the_watches(editor: Client) -> None:
    made = await editor.create("depot", name="A", note="n")
    watch = (await editor.ok("watch.start", type="depot", where={"note": "n"}))["watch"]
    await editor.ok("record.delete", type="depot", rec=made["id"])
    back, seq = await editor.seq("record.restore", type="depot", rec=made["id"])
    assert (back["version"], back["deleted_at"], back["name"], back["note"]) == (3, None, "A", "n")
    assert await editor.ok("record.get", type="depot", rec=made["id"]) == back
    gone, come = await editor.changes(watch)
    assert gone["kind"] == "leave"
    assert come == {"kind": "enter", "rec": made["id"], "record": back}
    again, same = await editor.seq("record.restore", type="depot", rec=made["id"])
    assert (again, same) == (back, seq)


async def test_an_orphan_is_restored_after_its_parent(editor: Client) -> None:
    depot = (await editor.create("depot", name="A"))["id"]
    parent = {"type": "depot", "rec": depot}
    crate = (await editor.ok("record.create", type="crate", parent=parent, data={"code": "1"}))["id"]
    for kind, rec in (("crate", crate), ("depot", depot)):
        await editor.ok("record.delete", type=kind, rec=rec)
    message = await editor.call("record.restore", type="crate", rec=crate)
    assert (message["code"], message["path"]) == ("relation.restricted", "rec")
    assert message["details"] == {"type": "depot", "rec": depot}
    assert "restore that first" in message["message"]
    results = await editor.ok("record.batch", ops=[
        {"op": "record.restore", "type": "depot", "rec": depot},
        {"op": "record.restore", "type": "crate", "rec": crate},
    ])  # fmt: skip
    assert [r["version"] for r in results["results"]] == [3, 3]


async def test_a_name_that_was_given_away_stands_against_the_restore(editor: Client) -> None:
    first = (await editor.create("depot", name="A"))["id"]
    await editor.ok("record.delete", type="depot", rec=first)
    await editor.create("depot", name="A")
    message = await editor.call("record.restore", type="depot", rec=first)
    assert (message["code"], message["path"], message["details"]) == ("record.exists", "rec", {"unique": ["name"]})
    assert await editor.refused("record.get", type="depot", rec=first) == ("record.not_found", "rec")


async def test_a_record_goes_back_to_what_it_was_and_watchers_see_the_difference(editor: Client) -> None:
    made = await editor.create("depot", name="A", note="one", cost=5, pin="1", origin="Ulm")
    watch = (await editor.ok("watch.start", type="depot"))["watch"]
    await editor.ok("record.update", type="depot", rec=made["id"], data={"note": "two", "cost": 6})
    await editor.ok("record.update", type="depot", rec=made["id"], data={"name": "B"})
    back = await editor.ok("record.revert", type="depot", rec=made["id"], version=1)
    assert {**back, "version": 1, "updated_at": ""} == {**made, "updated_at": ""}
    event = (await editor.changes(watch))[-1]
    assert (event["version"], event["patch"] | {"updated_at": ""}) == (
        4,
        event["patch"] | {"name": "A", "note": "one", "cost": 5, "updated_at": ""},
    )
    for version in (5, 2**53 - 1):
        message = await editor.call("record.revert", type="depot", rec=made["id"], version=version)
        assert (message["code"], message["path"]) == ("data.invalid", "version")
    assert await editor.refused("record.revert", type="depot", rec=made["id"], version=0) == ("data.invalid", "version")
    assert await editor.refused("record.revert", type="depot", rec="AAAAAAAAAAA", version=1) == (
        "record.not_found",
        "rec",
    )


async def test_a_revert_leaves_what_its_caller_may_not_see_or_write(tenant: Tenant, codec: str) -> None:
    async with tenant.client("owner", codec) as owner, tenant.client("editor", codec) as editor:
        made = await owner.create("depot", name="A", insured=1)
        await owner.ok("record.update", type="depot", rec=made["id"], data={"name": "B", "insured": 2})
        seen = await editor.ok("record.revert", type="depot", rec=made["id"], version=1)
        assert (seen["name"], "insured" in seen) == ("A", False)
        assert (await owner.ok("record.get", type="depot", rec=made["id"]))["insured"] == 2
        await owner.ok("record.revert", type="depot", rec=made["id"], version=1)
        assert (await owner.ok("record.get", type="depot", rec=made["id"]))["insured"] == 1


async def test_the_history_says_who_when_and_from_what_to_what(editor: Client) -> None:
    made, seq = await editor.seq("record.create", type="depot", data={"name": "A"})
    await editor.ok("record.update", type="depot", rec=made["id"], data={"name": "B", "note": "n"})
    await editor.ok("record.delete", type="depot", rec=made["id"])
    restored = await editor.ok("record.restore", type="depot", rec=made["id"])
    found = await entries(editor, made["id"])
    assert [(e["version"], e["kind"], e["seq"] - seq) for e in found] == [
        (4, "restore", 3), (3, "delete", 2), (2, "update", 1), (1, "create", 0),
    ]  # fmt: skip
    assert {e["session"] for e in found} == {editor.hello["session"]}
    assert all(e["request"].isdigit() for e in found)
    assert found[0]["at"] == restored["updated_at"]
    assert (found[2]["before"], found[2]["after"]) == ({"name": "A", "note": ""}, {"name": "B", "note": "n"})
    assert (found[1]["before"], list(found[1]["after"])) == ({"deleted_at": None}, ["deleted_at"])
    assert found[3]["before"] is None
    assert found[3]["after"]["name"] == "A"
    assert not found[3]["after"].keys() & {"id", "type", "version", "pin"}


async def test_a_history_comes_in_pages(editor: Client) -> None:
    made = await editor.create("depot", name="A")
    for n in range(4):
        await editor.ok("record.update", type="depot", rec=made["id"], data={"note": f"{n}"})
    page = await editor.ok("record.history", type="depot", rec=made["id"], limit=2)
    seen, cursor = [e["version"] for e in page["entries"]], page["next"]
    while cursor:
        page = await editor.ok("record.history", type="depot", rec=made["id"], limit=2, after=cursor)
        seen += [e["version"] for e in page["entries"]]
        cursor = page.get("next")
    assert seen == [5, 4, 3, 2, 1]
    other = await editor.create("depot", name="B")
    ask = {"type": "depot", "rec": other["id"]}
    first = (await editor.ok("record.history", type="depot", rec=made["id"], limit=1))["next"]
    assert await editor.refused("record.history", **ask, after=first) == ("cursor.invalid", "after")
    assert await editor.refused("record.history", **ask, after="forged") == ("cursor.invalid", "after")


async def test_the_history_hides_what_the_record_hides(tenant: Tenant, codec: str) -> None:
    async with tenant.client("owner", codec) as owner:
        made = await owner.create("depot", name="A", cost=11, insured=22, pin="secret-pin")
        await owner.ok(
            "record.update", type="depot", rec=made["id"], data={"cost": 33, "insured": 44, "pin": "other-pin"}
        )
        shown = {"owner": {"cost", "insured"}, "editor": {"cost"}, "viewer": set()}
        for role, visible in shown.items():
            async with tenant.client(role, codec) as client:
                found = await entries(client, made["id"])
                assert [e["version"] for e in found] == [2, 1]
                assert set(found[0]["after"]) == set(found[0]["before"]) == visible
                assert found[1]["after"].keys() & {"cost", "insured", "pin"} == visible
                raw = msgspec.json.encode(found)
                assert b"secret-pin" not in raw
                assert b"other-pin" not in raw


async def test_who_may_read_may_read_the_past_and_nobody_else(tenant: Tenant, codec: str) -> None:
    async with tenant.client("owner", codec) as owner, tenant.client("viewer", codec) as viewer:
        made = (await owner.create("depot", name="A"))["id"]
        await owner.ok("record.delete", type="depot", rec=made)
        assert [e["kind"] for e in await entries(viewer, made)] == ["delete", "create"]
        for op, more, needs in (
            ("record.restore", {}, "depot.delete"),
            ("record.revert", {"version": 1}, "depot.update"),
        ):
            message = await viewer.call(op, type="depot", rec=made, **more)
            assert (message["code"], message["details"]["needs"]) == ("access.denied", needs)
        key = (await owner.ok("record.find", type="api_key"))["records"][0]["id"]
        assert await viewer.refused("record.history", type="api_key", rec=key) == ("access.denied", None)
        assert await owner.refused("record.history", type="depot", rec="AAAAAAAAAAA") == ("record.not_found", "rec")
        assert await owner.refused("record.history", type="nope", rec=made) == ("type.unknown", "type")


async def test_a_restore_with_a_key_is_done_once(editor: Client) -> None:
    made = (await editor.create("depot", name="A"))["id"]
    await editor.ok("record.delete", type="depot", rec=made)
    first = await editor.seq("record.restore", type="depot", rec=made, key="k")
    await editor.ok("record.update", type="depot", rec=made, data={"note": "later"})
    assert await editor.seq("record.restore", type="depot", rec=made, key="k") == first
