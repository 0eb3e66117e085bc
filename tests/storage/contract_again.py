"""The promise of `storage.base.Storage` as tests: an id that was purged may be given to a record once more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.schema.record import Image
from hub.schema.writes import Commit, Create, Delete, Import, Restore, Revert, Update
from hub.wire.errors import HubError
from tests.storage.declared import Use, box, item, tray

REC, OTHER = "abcdefghijk", "ABCDEFGHIJK"
OLD = "1998-03-01T12:00:00.000Z"


def made(name: str, rec: str = REC, **data: Any) -> Create:
    """Return the creation of a box under a chosen id."""
    return Create(box, rec, box.accept_create({"name": name, **data}, trusted=True))


def brought(name: str, rec: str = REC) -> Import:
    """Return the import of a box."""
    return Import(box, rec, box.accept_create({"name": name}), None, OLD, OLD)


def purged(rec: str = REC) -> Delete:
    """Return the removal of a box."""
    return Delete(box, rec, hard=True)


async def group(use: Use, *commits: Any) -> list[Any]:
    """Submit commits so that one group takes them; return what became of each."""
    futures = [use.storage.submit(Commit("main", commit)) for commit in commits]
    return await asyncio.gather(*futures, return_exceptions=True)


async def images(use: Use, rec: str = REC) -> list[tuple[str, Image, Image | None]]:
    """Return what the log says of a record, in order."""
    return [(row.kind, row.after, row.before) for log in await use.log() for row in log.rows if row.rec == rec]


async def come_and_go(use: Use) -> None:
    """Leave one box, after others that had its id; each group has one that comes and goes."""
    await use.commit(made("alpha"))
    await group(use, (purged(),), (made("beta"),), (Update(box, REC, {"note": "gamma"}),))
    await group(use, (made("delta", OTHER),), (purged(OTHER),))


class AgainContract:
    """A part of the promise; `StorageContract` takes it in."""

    @pytest.mark.parametrize("write", [made, brought])
    async def test_a_commit_that_removes_a_record_makes_none_with_its_id(self, use: Use, write: Any) -> None:
        await use.commit(made("a"))
        with pytest.raises(HubError) as refusal:
            await use.commit(use.new(box, name="x"), purged(), write("b"))
        assert (refusal.value.code, refusal.value.path) == ("record.exists", "ops.2.id")
        assert refusal.value.message.startswith("This commit removes the record with this id")
        assert ((await use.get(box, REC)) or {})["name"] == "a", "nothing is half done"
        assert await use.seq() == 1
        await use.commit(purged())
        await use.commit(write("b"))
        assert ((await use.get(box, REC)) or {})["name"] == "b"

    async def test_what_one_item_removes_the_next_may_make_again(self, use: Use) -> None:
        await use.commit(made("before"))
        commit = Commit("main", (purged(), made("after"), Update(box, REC, {"note": "n"})), atomic=False)
        done = await use.storage.submit(commit)
        assert [result.refused for result in done.results] == [None] * 3
        image = await use.get(box, REC)
        assert image == done.results[2].image
        rows = await images(use)
        assert rows[:2] == [("create", {}, None), ("purge", {}, {})]
        assert [(kind, after["name"]) for kind, after, _ in rows[2:]] == [("create", "after"), ("update", "after")]
        assert [row.rows[0].version for row in await use.history(box, REC)] == [2, 1]

    @pytest.mark.parametrize("first", [made, brought])
    @pytest.mark.parametrize("second", [made, brought])
    async def test_only_the_life_that_ended_loses_its_images(self, use: Use, first: Any, second: Any) -> None:
        await use.commit(first("secret one"))
        await use.commit(Update(box, REC, {"note": "secret two"}))
        outcomes = await group(
            use,
            (made("beside", OTHER),),
            (Update(box, REC, {"note": "secret three"}),),
            (purged(),),
            (second("new"),),
            (Update(box, REC, {"note": "n"}),),
        )
        assert [outcome.seq for outcome in outcomes] == [3, 4, 5, 6, 7]
        rows = await images(use)
        assert all(after == {} and not before for _, after, before in rows[:4])
        assert [(kind, after["name"], after["note"]) for kind, after, _ in rows[4:]] == [
            (rows[4][0], "new", None),
            ("update", "new", "n"),
        ]
        assert [after["name"] for _, after, _ in await images(use, OTHER)] == ["beside"]
        assert await use.get(box, REC) == rows[5][1]
        assert "secret" not in f"{await use.log()}"

    async def test_every_life_that_ended_in_a_group_is_emptied(self, use: Use) -> None:
        await use.commit(made("secret 0"))
        outcomes = await group(
            use, (purged(),), (brought("secret 1"),), (purged(),), (made("secret 2"),), (purged(),), (made("new"),)
        )
        assert [outcome.seq for outcome in outcomes] == [2, 3, 4, 5, 6, 7]
        assert "secret" not in f"{await use.log()}"
        assert ((await use.get(box, REC)) or {})["name"] == "new"
        assert (await images(use))[-1][1]["name"] == "new"
        await use.commit(purged())
        assert "new" not in f"{await use.log()}"

    async def test_a_history_is_that_of_the_record_that_is_there(self, use: Use) -> None:
        await use.commit(made("a"))
        for n in range(4):
            await use.commit(Update(box, REC, {"note": f"{n}"}))
        await use.commit(purged())
        await use.commit(made("b"))
        assert [c.rows[0].version for c in await use.history(box, REC)] == [1]
        await use.commit(Update(box, REC, {"note": "x"}))
        await use.commit(Update(box, REC, {"name": "c"}))
        found = [(c.rows[0].kind, c.rows[0].version) for c in await use.history(box, REC)]
        assert found == [("update", 3), ("update", 2), ("create", 1)]
        assert [c.rows[0].version for c in await use.history(box, REC, 3, limit=1)] == [2]
        now = (await use.commit(Revert(box, REC, 1, ("name", "note")))).results[0].image
        assert (now["name"], now["note"], now["version"]) == ("b", None, 4)
        now = (await use.commit(Revert(box, REC, 2, ("name", "note")))).results[0].image
        assert (now["name"], now["note"]) == ("b", "x")
        with pytest.raises(HubError, match=r"data\.invalid at version"):
            await use.commit(Revert(box, REC, 6, ("name",)))

    async def test_the_texts_of_every_life_are_found_as_long_as_it_lasts(self, use: Use) -> None:
        await use.commit(made("alpha"))
        await group(use, (purged(),), (made("beta"),), (Update(box, REC, {"note": "gamma"}),))
        assert [len((await use.search(text)).hits) for text in ("alpha", "beta", "gamma")] == [0, 1, 1]
        await group(use, (purged(),), (made("delta"),), (purged(),))
        assert [len((await use.search(text)).hits) for text in ("beta", "gamma", "delta")] == [0, 0, 0]

    async def test_what_depends_on_a_record_depends_on_that_life(self, use: Use) -> None:
        await use.commit(made("a"))
        child, lid = await use.create(item, REC), await use.create(item, (await use.create(box, name="x"))["id"])
        await use.create(tray, REC, lid_id=lid["id"])
        with pytest.raises(HubError, match=r"relation\.restricted"):
            await use.commit(purged())
        await use.delete(item, child["id"])
        outcomes = await group(use, (purged(),), (made("b"),), (Restore(item, child["id"]),))
        assert [getattr(outcome, "code", "done") for outcome in outcomes] == ["done", "done", "record.not_found"]
        assert (await use.find(item, deleted=True)).records == [lid]
        assert (await use.find(tray)).records == []
