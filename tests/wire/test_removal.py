"""record.delete with `mode: hard`: who may, what goes along, what watchers are told, and that nothing is left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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


async def under(client: Client, kind: str, depot: str, **data: Any) -> str:
    """Create a record in a depot; return its id."""
    made = await client.ok("record.create", type=kind, data=data, parent={"type": "depot", "rec": depot})
    return str(made["id"])


async def test_only_who_may_purge_deletes_for_good(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as editor, tenant.client("owner", codec) as owner:
        made = await editor.create("depot", name="A")
        message = await editor.call("record.delete", type="depot", rec=made["id"], mode="hard")
        assert (message["code"], message["details"]["needs"]) == ("access.denied", "depot.purge")
        answer = await owner.ok("record.delete", type="depot", rec=made["id"], mode="hard", if_version=1)
        assert answer == {"rec": made["id"], "version": 2}
        for op, more in (
            ("record.get", {"deleted": True}), ("record.history", {}), ("record.restore", {}),
            ("record.delete", {"mode": "hard"}), ("record.delete", {}),
        ):  # fmt: skip
            assert await owner.refused(op, type="depot", rec=made["id"], **more) == ("record.not_found", "rec"), op
        found = await owner.ok("record.find", type="depot", deleted=True, where={"name": "A"})
        assert found["records"] == []
        await editor.create("depot", name="A")


async def test_a_tombstone_goes_for_good_without_a_word_to_those_who_lost_it_before(tenant: Tenant, codec: str) -> None:
    async with tenant.client("owner", codec) as owner:
        made = (await owner.create("depot", name="A"))["id"]
        watch = (await owner.ok("watch.start", type="depot"))["watch"]
        await owner.ok("record.delete", type="depot", rec=made)
        await owner.ok("record.delete", type="depot", rec=made, mode="hard")
        assert [e["version"] for e in await owner.changes(watch)] == [2]


async def test_watchers_hear_of_what_they_held_and_of_nothing_else(tenant: Tenant, codec: str) -> None:
    async with tenant.client("owner", codec) as owner, tenant.client("viewer", codec) as viewer:
        depot = (await owner.create("depot", name="A"))["id"]
        crate = await under(owner, "crate", depot, code="1", weight=5)
        pallet = await under(owner, "pallet", depot, crate_id=crate)
        heavy = (await viewer.ok("watch.start", type="crate", where={"weight": {"$gt": 1}}))["watch"]
        light = (await viewer.ok("watch.start", type="crate", where={"weight": 0}))["watch"]
        pallets = (await viewer.ok("watch.start", type="pallet"))["watch"]
        await owner.ok("record.delete", type="crate", rec=crate, mode="hard")
        await viewer.settled()
        (leave,) = await viewer.changes(heavy)
        assert leave == {"kind": "leave", "rec": crate, "why": "deleted", "version": 2}
        assert await viewer.changes(light) == []
        (emptied,) = await viewer.changes(pallets)
        assert (emptied["rec"], emptied["patch"]["crate_id"], emptied["version"]) == (pallet, None, 2)
        await owner.ok("record.delete", type="depot", rec=depot, mode="hard")
        assert [e["kind"] for e in await viewer.changes(pallets)] == ["leave"]


@pytest.mark.parametrize("mode", ["soft", "hard"])
async def test_children_stand_against_it_or_go_along_as_declared(tenant: Tenant, codec: str, mode: str) -> None:
    async with tenant.client("owner", codec) as owner:
        depot = (await owner.create("depot", name="A"))["id"]
        await under(owner, "pallet", depot)
        crate = await under(owner, "crate", depot, code="1")
        message = await owner.call("record.delete", type="depot", rec=depot, mode=mode)
        assert (message["code"], message["path"]) == ("relation.restricted", "rec")
        assert message["details"] == {"type": "crate"}
        await owner.ok("record.delete", type="crate", rec=crate, mode=mode)
        await owner.ok("record.delete", type="depot", rec=depot, mode=mode)
        assert (await owner.ok("record.find", type="pallet"))["records"] == []


async def test_a_watch_that_slept_through_it_comes_back_without_the_record(tenant: Tenant, codec: str) -> None:
    async with tenant.client("owner", codec) as owner:
        gone = (await owner.create("depot", name="gone"))["id"]
        kept = await owner.create("depot", name="kept")
        started = await owner.ok("watch.start", type="depot")
        await owner.ok("record.update", type="depot", rec=gone, data={"note": "x"})
        unseen = (await owner.create("depot", name="unseen"))["id"]
        for rec in (gone, unseen):
            await owner.ok("record.delete", type="depot", rec=rec, mode="hard")
        async with tenant.client("owner", codec) as other:
            since = {"mark": started["mark"], "seq": started["seq"]}
            resumed = await other.ok("watch.start", type="depot", since=since)
            assert resumed["resumed"] is True
            held = {r["id"]: r for r in started["records"]}
            for commit in resumed["events"]:
                for event in commit["events"]:
                    assert (event["kind"], event["why"]) == ("leave", "deleted")
                    held.pop(event["rec"], None)
            assert list(held) == [kept["id"]]


async def test_a_purged_key_ends_the_sockets_that_came_with_it(tenant: Tenant, codec: str) -> None:
    async with tenant.client("owner", codec) as owner:
        made = await owner.ok("action.call", action="api_key.issue", args={"role": "viewer", "name": "x"})
        tenant.process.secrets.add(made["key"])
        async with tenant.client(None, codec) as client:
            await client.greet(made["key"])
            await owner.ok("record.delete", type="api_key", rec=made["id"], mode="hard")
            assert await client.closed() == 4505


async def test_the_channel_of_a_purged_record_ends(tenant: Tenant, codec: str) -> None:
    async with tenant.client("owner", codec) as owner, tenant.client("viewer", codec) as viewer:
        made = (await owner.create("depot", name="A"))["id"]
        await owner.ok("channel.join", channel=f"depot:{made}", presence={"state": {}})
        await viewer.ok("channel.join", channel=f"depot:{made}")
        await owner.ok("record.delete", type="depot", rec=made, mode="hard")
        left = await viewer.push("presence")
        assert [e["kind"] for e in left["events"]] == ["leave"]


async def test_a_hard_deletion_with_a_key_answers_again(tenant: Tenant) -> None:
    async with tenant.client("owner") as owner:
        made = (await owner.create("depot", name="A"))["id"]
        ask: dict[str, Any] = {"type": "depot", "rec": made, "mode": "hard", "key": "k"}
        assert await owner.seq("record.delete", **ask) == await owner.seq("record.delete", **ask)


async def test_people_and_accounts_are_never_purged(tenant: Tenant) -> None:
    async with tenant.client("owner") as owner:
        member = (await owner.ok("record.find", type="membership"))["records"][0]
        for kind, rec in (("membership", member["id"]), ("user", member["user_id"]), ("account", tenant.account)):
            assert (await owner.refused("record.delete", type=kind, rec=rec, mode="hard"))[0] == "access.denied"
