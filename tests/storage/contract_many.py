"""The promise of `storage.base.Storage` as tests: moving, writes by filter, and commits whose writes stand alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.schema.where import parse_where
from hub.schema.writes import (
    Commit,
    Committed,
    Delete,
    DeleteWhere,
    KeyClaim,
    Move,
    Refused,
    Update,
    UpdateWhere,
    Write,
)
from hub.wire.errors import HubError
from hub.wire.requests import ItemRef
from tests.storage.declared import Use, box, item, registry, tag, tray


def change_all(kind: Any, where: dict[str, Any], limit: int = 100, /, **change: Any) -> UpdateWhere:
    """Return a change of all that match."""
    return UpdateWhere(kind, parse_where(kind, where, reach=registry), kind.accept_change(change), limit)


def delete_all(kind: Any, where: dict[str, Any], limit: int = 100) -> DeleteWhere:
    """Return a deletion of all that match."""
    return DeleteWhere(kind, parse_where(kind, where, reach=registry), limit)


async def alone(use: Use, *writes: Write | Refused, key: KeyClaim | None = None) -> Committed:
    """Commit writes that stand each for itself; the answer is what became of each."""

    def answer(committed: Committed) -> list[Any]:
        return [r.refused["code"] if r.refused else r.image.get("version") for r in committed.results]

    return await use.storage.submit(Commit("main", writes, "actor", key=key, atomic=False, answer=answer))


class ManyContract:
    """A part of the promise; `StorageContract` takes it in."""

    async def test_writes_by_filter_take_steps_and_see_what_was_written_right_before(self, use: Use) -> None:
        a, b = await use.create(box, name="a"), await use.create(box, name="b")
        items = [await use.create(item, rec["id"], label="x") for rec in (a, b, b)]
        # While the first of them is written the others wait, and become one group where the keeper makes groups.
        first = use.storage.submit(Commit("main", tuple(use.new(box, name=f"{n}") for n in range(900))))
        outcomes = await asyncio.gather(
            *(
                use.storage.submit(Commit("main", (write,)))
                for write in (
                    Update(box, a["id"], {"note": "now"}),
                    Update(box, b["id"], {"name": "c"}),
                    change_all(item, {"parent": {"note": "now"}}, label="in a"),
                    change_all(item, {"parent": {"name": "b"}}, label="nothing"),
                    change_all(item, {"parent": {"name": "c"}}, label="in c"),
                    change_all(box, {"children": {"type": "item", "$some": {"label": "in c"}}}, note="has them"),
                    delete_all(item, {"parent": {"note": "has them"}}),
                    use.new(box, name="last"),
                )
            )
        )
        assert [o.results[0].image.get("count") for o in outcomes] == [None, None, 1, 0, 2, 1, 2, None]
        assert [o.seq for o in outcomes] == [7, 8, 9, 9, 10, 11, 12, 13]
        assert (await first).seq == 6
        assert [i["label"] for i in (await use.find(item, deleted=True, order=["created_at"])).records] == [
            "in a", "in c", "in c"
        ]  # fmt: skip
        assert [i["id"] for i in (await use.find(item)).records] == [items[0]["id"]]
        assert (await use.get(box, b["id"]) or {})["note"] == "has them"

    async def test_a_step_sees_what_the_commit_before_it_in_the_group_changed(self, use: Use) -> None:
        a = await use.create(box, name="a")
        await use.create(item, a["id"], label="x")
        first = use.storage.submit(Commit("main", tuple(use.new(box, name=f"{n}") for n in range(900))))
        changed = use.storage.submit(Commit("main", (Update(box, a["id"], {"note": "now"}),)))
        found = use.storage.submit(Commit("main", (change_all(item, {"parent": {"note": "now"}}, label="y"),)))
        assert [(await one).seq for one in (first, changed, found)] == [3, 4, 5]
        assert (await found).results[0].image == {"count": 1}

    async def test_a_record_moves_to_another_parent(self, use: Use) -> None:
        a, b = (await use.create(box, name="a"))["id"], (await use.create(box, name="b"))["id"]
        made = await use.create(item, a, code="x", label="l")
        moved = (await use.commit(Move(item, made["id"], b), actor="other")).results[0].image
        assert moved == {**made, "box_id": b, "version": 2, "updated_at": moved["updated_at"], "updated_by": "other"}
        assert await use.get(item, made["id"]) == moved
        assert [i["id"] for i in (await use.find(item, {"box_id": b})).records] == [made["id"]]
        row = (await use.log())[-1].rows[0]
        assert (row.kind, row.before and row.before["box_id"]) == ("update", a)
        await use.delete(box, a)
        with pytest.raises(HubError, match=r"relation\.restricted"):
            await use.delete(box, b)
        assert (await use.commit(Move(item, made["id"], b))).seq == 5, "where it is already, nothing changes"

    async def test_a_move_goes_to_a_live_parent_of_the_account_where_its_values_are_free(self, use: Use) -> None:
        a, b = (await use.create(box, name="a"))["id"], (await use.create(box, name="b"))["id"]
        theirs, dead = (await use.create(box, account="other", name="c"))["id"], (await use.create(box, name="d"))["id"]
        await use.delete(box, dead)
        made = (await use.create(item, a, code="x"))["id"]
        taken = (await use.create(item, b, code="x"))["id"]
        for parent in (theirs, dead, "nothing"):
            with pytest.raises(HubError, match=r"record\.not_found at parent\.rec"):
                await use.commit(Move(item, made, parent))
        with pytest.raises(HubError, match=r"record\.exists at data\.code"):
            await use.commit(Move(item, made, b))
        await use.commit(Update(item, taken, {"code": "y"}), Move(item, made, b))
        await use.create(item, a, code="x")

    async def test_what_moved_within_a_group_holds_its_new_parent_and_lets_the_old_one_go(self, use: Use) -> None:
        a, b = (await use.create(box, name="a"))["id"], (await use.create(box, name="b"))["id"]
        made = (await use.create(item, a))["id"]
        with pytest.raises(HubError, match=r"relation\.restricted at ops\.1\.rec"):
            await use.commit(Move(item, made, b), Delete(box, b))
        await use.commit(Move(item, made, b), Delete(box, a))
        new = use.new(item, b)
        c = (await use.create(box, name="c"))["id"]
        await use.commit(new, Move(item, new.id, c), Move(item, made, c), Delete(box, b))

    async def test_all_that_match_are_changed_as_one_commit(self, use: Use) -> None:
        parent = (await use.create(box, name="a"))["id"]
        made = [await use.create(item, parent, label="x", amount=n) for n in range(6)]
        gone = await use.create(item, parent, label="x", amount=9)
        await use.delete(item, gone["id"])
        await use.create(item, parent, label="y", amount=9)
        committed = await use.commit(change_all(item, {"label": "x", "amount": {"$gte": 2}}, label="z"))
        assert (committed.seq, committed.results[0].image) == (11, {"count": 4})
        rows = (await use.log())[-1].rows
        assert sorted(r.rec for r in rows) == sorted(i["id"] for i in made[2:])
        assert {(r.kind, r.version, r.after["label"]) for r in rows} == {("update", 2, "z")}
        assert [r.part for r in rows] == [0, 1, 2, 3]
        assert len((await use.find(item, {"label": "z"})).records) == 4
        again = await use.commit(change_all(item, {"label": "z"}, label="z"))
        assert (again.seq, again.results[0].image) == (11, {"count": 4})
        assert (await use.commit(change_all(item, {"label": "none"}, label="z"))).results[0].image == {"count": 0}

    async def test_more_than_the_limit_are_refused_and_none_is_changed(self, use: Use) -> None:
        parent = (await use.create(box, name="a"))["id"]
        await use.commit(*(use.new(item, parent, label="x") for _ in range(4)))
        for write in (change_all(item, {}, 3, label="y"), delete_all(item, {}, 3)):
            with pytest.raises(HubError) as refusal:
                await use.commit(write)
            assert (refusal.value.code, refusal.value.path) == ("batch.too_large", "limit")
        assert await use.seq() == 2
        assert (await use.commit(change_all(item, {}, 4, label="y"))).results[0].image == {"count": 4}

    async def test_all_that_match_are_deleted_and_what_stands_against_one_stands_against_all(self, use: Use) -> None:
        boxes = [(await use.create(box, name=f"{n}"))["id"] for n in range(3)]
        child = (await use.create(item, boxes[1]))["id"]
        goes = (await use.create(tray, boxes[2]))["id"]
        with pytest.raises(HubError, match=r"relation\.restricted"):
            await use.commit(delete_all(box, {}))
        assert len((await use.find(box)).records) == 3
        await use.delete(item, child)
        assert (await use.commit(delete_all(box, {}))).results[0].image == {"count": 3}
        assert (await use.find(box)).records == []
        assert await use.get(tray, goes) is None
        assert {r.kind for r in (await use.log())[-1].rows} == {"delete"}

    async def test_a_filter_sees_what_the_commits_before_it_did_though_it_is_not_stored(self, use: Use) -> None:
        parent = (await use.create(box, name="a"))["id"]
        first, second, third = [(await use.create(item, parent, label="x"))["id"] for _ in range(3)]
        new = use.new(item, parent, label="x")
        futures = [
            use.storage.submit(Commit("main", (write,)))
            for write in (
                new,
                Update(item, first, {"label": "away"}),
                Delete(item, second),
                use.new(item, parent, label="other"),
                change_all(item, {"label": "x"}, 2, label="done"),
                delete_all(item, {"label": "done"}),
            )
        ]
        outcomes = [await future for future in futures]
        assert [o.results[0].image for o in outcomes[-2:]] == [{"count": 2}, {"count": 2}]
        assert sorted(i["label"] for i in (await use.find(item)).records) == ["away", "other"]
        assert sorted(r.rec for r in (await use.log())[-1].rows) == sorted([new.id, third])

    async def test_records_of_other_accounts_do_not_match(self, use: Use) -> None:
        theirs = await use.create(box, account="other", name="a")
        assert (await use.commit(delete_all(box, {}))).results[0].image == {"count": 0}
        assert await use.get(box, theirs["id"], account="other") == theirs

    async def test_a_write_by_filter_may_run_into_a_unique(self, use: Use) -> None:
        await use.commit(use.new(box, name="a"), use.new(box, name="b"))
        with pytest.raises(HubError, match=r"record\.exists at data\.name"):
            await use.commit(change_all(box, {}, name="c"))
        assert await use.seq() == 1

    async def test_of_writes_that_stand_alone_the_refused_ones_leave_no_trace(self, use: Use) -> None:
        made = await use.create(box, name="taken")
        parent = (await use.create(box, name="p"))["id"]
        lid = (await use.create(item, parent))["id"]
        committed = await alone(
            use,
            use.new(box, name="a"),
            use.new(box, name="taken"),
            Update(box, made["id"], {"note": "n"}),
            Refused({"code": "access.denied"}),
            use.new(item, ItemRef(0), label="child"),
            use.new(item, ItemRef(1), label="of the refused"),
            use.new(item, ItemRef(3), label="of nothing"),
            Delete(box, parent),
            use.new(tray, parent, lid_id=lid),
            Delete(item, lid, hard=True),
            Update(box, made["id"], {"note": "m"}, if_version=1),
        )
        assert committed.answer == [
            1, "record.exists", 2, "access.denied", 1, "data.invalid", "data.invalid", "relation.restricted", 1, 2,
            "record.conflict",
        ]  # fmt: skip
        assert committed.results[5].refused is not None
        assert committed.results[5].refused["path"] == "ops.5.parent.rec"
        rows = (await use.log())[-1].rows
        assert (committed.seq, [r.part for r in rows]) == (4, list(range(len(rows))))
        assert [r.kind for r in rows] == ["create", "update", "create", "create", "purge", "purge"]
        assert sorted(i["name"] for i in (await use.find(box)).records) == ["a", "p", "taken"]
        assert (await use.find(tray, deleted=True)).records == []
        assert use.told[-1].seq == 4

    async def test_writes_that_stand_alone_see_each_other_in_order(self, use: Use) -> None:
        new = use.new(box, name="a")
        committed = await alone(
            use, new, Update(box, new.id, {"name": "b"}), use.new(box, name="a"), use.new(box, name="b"),
            Delete(box, new.id), use.new(box, name="b"), change_all(box, {}, note="n"),
        )  # fmt: skip
        assert committed.answer == [1, 2, 1, "record.exists", 3, 1, None]
        assert sorted((i["name"], i["note"]) for i in (await use.find(box)).records) == [("a", "n"), ("b", "n")]

    async def test_a_key_repeats_what_became_of_each_unless_all_were_refused(self, use: Use) -> None:
        key = KeyClaim("user", "k", b"same")
        await use.create(box, name="taken")
        assert (await alone(use, use.new(box, name="taken"), key=key)).answer == ["record.exists"]
        first = await alone(use, use.new(box, name="taken"), use.new(box, name="a"), key=key)
        assert (first.answer, first.seq, first.replayed) == (["record.exists", 1], 2, False)
        again = await alone(use, use.new(box, name="taken"), use.new(box, name="a"), key=key)
        assert (again.answer, again.seq, again.replayed) == (first.answer, 2, True)

    async def test_a_tag_goes_with_what_a_filter_deletes(self, use: Use) -> None:
        parent = (await use.create(box, name="a"))["id"]
        child = (await use.create(tray, parent))["id"]
        leaf = (await use.create(tag, child))["id"]
        await use.commit(delete_all(tray, {"id": child}))
        assert await use.get(tag, leaf) is None
