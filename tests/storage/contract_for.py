"""The promise of `storage.base.Storage` as tests: records that are for a record of one of several types."""

from __future__ import annotations

from typing import Any

import pytest

from hub.schema.writes import Delete, Restore, Revert, Update
from hub.wire.errors import HubError
from hub.wire.requests import ItemRef
from tests.storage.declared import Use, address, box, flag, item, tray


def refusal_of(caught: pytest.ExceptionInfo[HubError]) -> tuple[str, str | None]:
    """Return code and path."""
    return caught.value.code, caught.value.path


class ForContract:
    """A part of the promise; `StorageContract` takes it in."""

    async def test_a_record_is_for_one_of_several_types(self, use: Use) -> None:
        parent = await use.create(box, name="a")
        child = await use.create(item, parent["id"], label="x")
        of_box = await use.create(address, for_type="box", for_id=parent["id"], text="1")
        of_item = await use.create(address, for_type="item", for_id=child["id"], text="2")
        assert (of_box["for_type"], of_box["for_id"]) == ("box", parent["id"])
        assert await use.get(address, of_item["id"]) == of_item
        assert [r.after for s in await use.log() for r in s.rows if r.type == "address"] == [of_box, of_item]
        wheres: list[tuple[dict[str, Any], set[str]]] = [
            ({"for_id": child["id"]}, {"2"}),
            ({"for_type": "box"}, {"1"}),
            ({"for_type": {"$ne": "box"}, "for_id": {"$in": [child["id"], "nothing", "ü"]}}, {"2"}),
            ({"for_id": {"$ne": "ü"}}, {"1", "2"}),
            ({"for_id": "ü"}, set()),
        ]
        for where, expected in wheres:
            assert {i["text"] for i in (await use.find(address, where)).records} == expected, where
        moved = (await use.update(address, of_box["id"], for_type="item", for_id=child["id"])).results[0].image
        assert (moved["for_type"], moved["for_id"], moved["version"]) == ("item", child["id"], 2)
        back = (await use.commit(Revert(address, of_box["id"], 1, address.writable))).results[0].image
        assert (back["for_type"], back["for_id"]) == ("box", parent["id"])

    async def test_what_a_record_is_for_may_be_made_in_the_same_commit(self, use: Use) -> None:
        committed = await use.commit(
            use.new(box, name="a"), use.new(address, for_type="box", for_id=ItemRef(0), text="x")
        )
        assert committed.results[1].image["for_id"] == committed.results[0].image["id"]

    async def test_what_a_record_is_for_must_be_there(self, use: Use) -> None:
        mine, theirs = await use.create(box, name="a"), await use.create(box, account="other", name="a")
        gone = await use.create(box, name="gone")
        await use.delete(box, gone["id"])
        child = await use.create(item, mine["id"])
        made = await use.create(address, for_type="box", for_id=mine["id"])
        seq = await use.seq()
        wrong: list[dict[str, Any]] = [
            {"for_type": "box", "for_id": "nothing"},
            {"for_type": "box", "for_id": theirs["id"]},
            {"for_type": "box", "for_id": gone["id"]},
            {"for_type": "box", "for_id": child["id"]},
            {"for_type": "item", "for_id": mine["id"]},
        ]
        for data in wrong:
            with pytest.raises(HubError) as caught:
                await use.create(address, **data)
            assert refusal_of(caught) == ("record.not_found", "data.for_id"), data
            with pytest.raises(HubError) as caught:
                await use.update(address, made["id"], **data)
            assert refusal_of(caught) == ("record.not_found", "data.for_id"), data
        changes: list[dict[str, Any]] = [{"for_type": "item"}, {"for_id": child["id"]}]
        for change in changes:
            with pytest.raises(HubError) as caught:
                await use.update(address, made["id"], **change)
            assert refusal_of(caught) == ("record.not_found", "data.for_id"), change
        for given, path in (
            ({"for_type": "sticker", "for_id": mine["id"]}, "data.for_type"),
            ({"for_type": "box"}, "data.for_id"),
            ({"for_id": mine["id"]}, "data.for_type"),
            ({"for_type": "box", "for_id": None}, "data.for_id"),
        ):
            with pytest.raises(HubError) as caught:
                address.accept_create(given)
            assert refusal_of(caught) == ("data.invalid", path), given
        assert await use.seq() == seq
        assert await use.get(address, made["id"]) == made

    async def test_a_unique_may_be_within_what_a_record_is_for(self, use: Use) -> None:
        a, b = await use.create(box, name="a"), await use.create(box, name="b")
        await use.create(address, for_type="box", for_id=a["id"], text="x")
        await use.create(address, for_type="box", for_id=b["id"], text="x")
        with pytest.raises(HubError, match=r"record\.exists"):
            await use.create(address, for_type="box", for_id=a["id"], text="x")
        upserted = await use.commit(use.upsert(address, ("for_id", "text"), for_type="box", for_id=a["id"], text="x"))
        assert not upserted.results[0].created

    async def test_a_soft_deletion_leaves_what_is_for_a_record(self, use: Use) -> None:
        a = await use.create(box, name="a")
        made = await use.create(address, for_type="box", for_id=a["id"])
        await use.delete(box, a["id"])
        assert await use.get(address, made["id"]) == made
        changed = (await use.update(address, made["id"], text="still")).results[0].image
        assert changed["text"] == "still"
        await use.commit(Restore(box, a["id"]))

    async def test_a_hard_deletion_is_refused_or_takes_along_what_is_for_a_record(self, use: Use) -> None:
        a = await use.create(box, name="a")
        child = await use.create(item, a["id"])
        other = await use.create(tray, a["id"])
        made = await use.create(address, for_type="item", for_id=child["id"])
        flags = [
            await use.create(flag, a["id"], for_type="item", for_id=child["id"]),
            await use.create(flag, a["id"], for_type="tray", for_id=other["id"]),
        ]
        with pytest.raises(HubError) as caught:
            await use.commit(Delete(item, child["id"], hard=True))
        assert refusal_of(caught) == ("relation.restricted", "rec")
        assert caught.value.details == {"type": "address"}
        await use.delete(address, made["id"])
        await use.commit(Delete(item, child["id"], hard=True))
        for kind, rec in ((item, child), (address, made), (flag, flags[0])):
            assert await use.get(kind, rec["id"], deleted=True) is None
        assert await use.get(flag, flags[1]["id"]) == flags[1]
        rows = (await use.log())[-1].rows
        assert {(r.type, r.kind) for r in rows} == {("item", "purge"), ("address", "purge"), ("flag", "purge")}

    async def test_a_hard_deletion_sees_what_was_written_right_before(self, use: Use) -> None:
        a = await use.create(box, name="a")
        made = use.new(address, for_type="box", for_id=a["id"])
        with pytest.raises(HubError, match=r"relation\.restricted"):
            await use.commit(made, Delete(box, a["id"], hard=True))
        made = use.new(address, for_type="box", for_id=a["id"])
        await use.commit(made)
        b = await use.create(box, name="b")
        await use.commit(Update(address, made.id, {"for_id": b["id"]}), Delete(box, a["id"], hard=True))
        assert await use.get(box, a["id"], deleted=True) is None
