"""The promise of `storage.base.Storage` as tests: what goes with a deletion, what stands against it, what is left."""

from __future__ import annotations

import pytest

from hub.schema.writes import Commit, Create, Delete, Restore, Revert, Update
from hub.wire.errors import HubError
from tests.storage.declared import Use, box, item, sticker, tag, tray


def gone(kind: object, rec: str) -> Delete:
    """Return a hard deletion."""
    return Delete(kind, rec, hard=True)  # type: ignore[arg-type]  # as `Use` takes kinds


class RemovalContract:
    """A part of the promise; `StorageContract` takes it in."""

    async def test_a_hard_deletion_leaves_no_image_and_keeps_the_numbers(self, use: Use) -> None:
        made = await use.create(box, name="secret name", note="n", pin="1234")
        await use.update(box, made["id"], note="later")
        other = await use.create(box, name="other")
        committed = await use.commit(gone(box, made["id"]))
        assert (committed.seq, committed.results[0].image) == (4, {"id": made["id"], "type": "box", "version": 3})
        assert await use.get(box, made["id"], deleted=True) is None
        assert await use.lookup(box, "pin", "1234") == []
        log = await use.log()
        assert [s.seq for s in log] == [1, 2, 3, 4]
        rows = [s.rows[0] for s in log]
        assert [(r.kind, r.after, r.before) for r in rows if r.rec == made["id"]] == [
            ("create", {}, None),
            ("update", {}, {}),
            ("purge", {}, {}),
        ]
        assert rows[2].after == other
        told = use.told[-1].rows[0]
        assert (told.kind, told.after, told.before and told.before["name"]) == ("purge", {}, "secret name")
        for write in (gone(box, made["id"]), Restore(box, made["id"]), Update(box, made["id"], {"note": "x"})):
            with pytest.raises(HubError, match=r"record\.not_found at rec"):
                await use.commit(write)
        await use.create(box, name="secret name")

    async def test_a_tombstone_can_be_deleted_hard(self, use: Use) -> None:
        made = await use.create(box, name="a")
        await use.delete(box, made["id"])
        with pytest.raises(HubError, match=r"record\.conflict"):
            await use.commit(Delete(box, made["id"], 1, hard=True))
        await use.commit(Delete(box, made["id"], 2, hard=True))
        assert await use.get(box, made["id"], deleted=True) is None
        assert all(row.after == {} for s in await use.log() for row in s.rows)

    async def test_live_children_stand_against_a_hard_deletion_and_tombstones_go_along(self, use: Use) -> None:
        parent = (await use.create(box, name="a"))["id"]
        child = (await use.create(item, parent, code="x"))["id"]
        leaf = (await use.create(sticker, child))["id"]
        with pytest.raises(HubError) as refusal:
            await use.commit(gone(box, parent))
        assert (refusal.value.code, refusal.value.details) == ("relation.restricted", {"type": "item"})
        await use.commit(Delete(sticker, leaf), Delete(item, child))
        await use.commit(gone(box, parent))
        for kind, rec in ((box, parent), (item, child), (sticker, leaf)):
            assert await use.get(kind, rec, deleted=True) is None
        assert sorted(row.rec for row in (await use.log())[-1].rows) == sorted([parent, child, leaf])

    async def test_children_that_are_declared_so_go_along(self, use: Use) -> None:
        for hard in (False, True):
            parent = (await use.create(box, name="a"))["id"]
            child = (await use.create(tray, parent))["id"]
            leaves = [(await use.create(tag, child))["id"] for _ in range(3)]
            await use.commit(Delete(box, parent, hard=hard))
            for kind, rec in ((box, parent), (tray, child), *((tag, leaf) for leaf in leaves)):
                assert await use.get(kind, rec) is None
                assert (await use.get(kind, rec, deleted=True) is None) is hard
            rows = (await use.log())[-1].rows
            assert {row.kind for row in rows} == {"purge" if hard else "delete"}
            assert len(rows) == 5

    async def test_what_stands_below_a_cascade_stands_against_it(self, use: Use) -> None:
        parent = (await use.create(box, name="a"))["id"]
        await use.create(tray, parent)
        await use.create(item, parent)
        for write in (Delete(box, parent), gone(box, parent)):
            with pytest.raises(HubError, match=r"relation\.restricted"):
                await use.commit(write)
        assert len((await use.find(tray)).records) == 1

    async def test_references_follow_the_rule_of_their_field(self, use: Use) -> None:
        parent = (await use.create(box, name="a"))["id"]
        elsewhere = (await use.create(box, name="b"))["id"]
        target = (await use.create(item, parent))["id"]
        empties = await use.create(tray, elsewhere, item_id=target)
        follows = (await use.create(tray, elsewhere, lid_id=target))["id"]
        await use.commit(gone(item, target))
        now = await use.get(tray, empties["id"]) or {}
        assert (now["item_id"], now["version"]) == (None, 2)
        assert await use.get(tray, follows, deleted=True) is None
        kinds = {row.rec: row.kind for row in (await use.log())[-1].rows}
        assert kinds == {target: "purge", empties["id"]: "update", follows: "purge"}

    async def test_a_live_reference_without_a_rule_stands_against_it_and_a_dead_one_is_emptied(self, use: Use) -> None:
        parent, target = (await use.create(box, name="a"))["id"], (await use.create(box, name="b"))["id"]
        refers = (await use.create(item, parent, other_id=target))["id"]
        with pytest.raises(HubError, match=r"relation\.restricted"):
            await use.commit(gone(box, target))
        await use.delete(item, refers)
        await use.commit(gone(box, target))
        tombstone = await use.get(item, refers, deleted=True) or {}
        assert (tombstone["other_id"], tombstone["deleted_at"] is None) == (None, False)
        back = (await use.commit(Restore(item, refers))).results[0].image
        assert back["other_id"] is None
        with pytest.raises(HubError, match=r"record\.not_found at data\.other_id"):
            await use.commit(Revert(item, refers, 1, ("other_id",)))

    async def test_what_one_group_just_made_goes_along_too(self, use: Use) -> None:
        parent = (await use.create(box, name="a"))["id"]
        target = (await use.create(item, parent))["id"]
        futures = [
            use.storage.submit(Commit("main", writes))
            for writes in (
                (Create(tray, "tray-a", tray.accept_create({"item_id": target}), parent),),
                (Create(tray, "tray-b", tray.accept_create({"lid_id": target}), parent),),
                (gone(item, target),),
            )
        ]
        for future in futures:
            await future
        assert (await use.get(tray, "tray-a") or {})["item_id"] is None
        assert await use.get(tray, "tray-b", deleted=True) is None
        assert all(row.after == {} for s in await use.log() for row in s.rows if row.rec in {"tray-b", target})

    async def test_a_record_may_come_and_go_in_one_commit(self, use: Use) -> None:
        new = use.new(box, name="a")
        again = use.new(box, name="a")
        await use.commit(new, Update(box, new.id, {"note": "x"}), gone(box, new.id), again)
        assert [i["id"] for i in (await use.find(box, deleted=True)).records] == [again.id]
        rows = (await use.log())[0].rows
        assert [(r.kind, bool(r.after)) for r in rows] == [
            ("create", False),
            ("update", False),
            ("purge", False),
            ("create", True),
        ]

    async def test_a_name_is_free_again_within_the_commit_that_removes_it(self, use: Use) -> None:
        made = await use.create(box, name="a")
        committed = await use.commit(gone(box, made["id"]), use.new(box, name="a"))
        assert (await use.find(box, {"name": "a"})).records == [committed.results[1].image]

    async def test_records_of_other_accounts_stay(self, use: Use) -> None:
        mine, theirs = await use.create(box, name="a"), await use.create(box, account="other", name="a")
        with pytest.raises(HubError, match=r"record\.not_found"):
            await use.commit(gone(box, theirs["id"]))
        await use.commit(gone(box, mine["id"]))
        assert await use.get(box, theirs["id"], account="other") == theirs
        assert (await use.log("other"))[0].rows[0].after == theirs

    async def test_a_deletion_takes_no_more_along_than_it_may(self, use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("storage.removal.CASCADE", 5)
        parent = (await use.create(box, name="a"))["id"]
        await use.commit(*(use.new(tray, parent) for _ in range(6)))
        for write in (Delete(box, parent), gone(box, parent)):
            with pytest.raises(HubError, match=r"batch\.too_large at rec"):
                await use.commit(write)
        assert len((await use.find(tray)).records) == 6
