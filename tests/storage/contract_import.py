"""The promise of `storage.base.Storage` as tests: records of older systems keep their ids and times."""

from __future__ import annotations

import pytest

from hub.schema.query import Query
from hub.schema.record import Image
from hub.schema.where import All, Compare
from hub.schema.writes import Delete, Import, Revert, Update
from hub.wire.errors import HubError
from tests.storage.declared import Use, box, item

OLD = "1998-03-01T12:00:00.000Z"
LATER = "2004-05-06T07:08:09.123Z"
IDS = ("abcdefghijk", "ABCDEFGHIJK", "abcdefghijkl", "-_0123456789-_01234567"[:22], "0" * 22)


def old(rec: str, name: str, created: str = OLD, updated: str = LATER) -> Import:
    """Return the import of a box."""
    return Import(box, rec, box.accept_create({"name": name}), None, created, updated)


class ImportContract:
    """A part of the promise; `StorageContract` takes it in."""

    async def test_ids_and_times_of_before_are_kept(self, use: Use) -> None:
        await use.create(box, name="new")
        committed = await use.commit(*(old(rec, rec) for rec in IDS))
        assert [(r.created, r.image["id"], r.image["version"]) for r in committed.results] == [
            (True, rec, 1) for rec in IDS
        ]
        for rec in IDS:
            image = await use.get(box, rec)
            assert image is not None
            assert (image["id"], image["created_at"], image["updated_at"]) == (rec, OLD, LATER)
        commit = (await use.log())[-1]
        assert [(r.kind, r.version, r.before, r.after["created_at"]) for r in commit.rows] == [
            ("import", 1, None, OLD)
        ] * len(IDS)
        assert commit.at > LATER, "it says when it was imported"
        found = await use.storage.find("main", Query(box))
        assert {image["id"] for image in found.records} >= set(IDS)

    async def test_parents_and_references_may_come_in_the_same_commit(self, use: Use) -> None:
        data = item.accept_create({"label": "x", "other_id": IDS[1]})
        under = Import(item, IDS[2], data, IDS[0], OLD, OLD)
        await use.commit(old(IDS[0], "a"), old(IDS[1], "b"), under)
        image = await use.get(item, IDS[2])
        assert image is not None
        assert (image["box_id"], image["other_id"]) == (IDS[0], IDS[1])
        with pytest.raises(HubError) as refusal:
            await use.commit(Import(item, IDS[3], data, "x" * 11, OLD, OLD))
        assert (refusal.value.code, refusal.value.path) == ("record.not_found", "parent.rec")

    async def test_an_id_that_is_taken_is_refused(self, use: Use) -> None:
        await use.commit(old(IDS[0], "a"))
        with pytest.raises(HubError) as refusal:
            await use.commit(old(IDS[4], "c"), old(IDS[0], "b"))
        assert refusal.value.code == "record.exists"
        assert await use.get(box, IDS[4]) is None

    async def test_an_id_is_one_of_its_account(self, use: Use) -> None:
        theirs = item.accept_create({"label": "theirs", "other_id": IDS[0]})
        await use.commit(old(IDS[0], "a"), Import(item, IDS[1], theirs, IDS[0], OLD, OLD), account="other")
        await use.commit(old(IDS[0], "b"))
        ours = item.accept_create({"label": "ours", "other_id": IDS[0]})
        await use.commit(Import(item, IDS[1], ours, IDS[0], OLD, OLD))
        await use.commit(Update(box, IDS[0], {"name": "c"}))
        await use.commit(Delete(item, IDS[1]), account="other")
        for account, name, labels in (("main", "c", ["ours"]), ("other", "a", [])):
            images = await use.storage.get(account, box, [IDS[0]])
            assert [image["name"] for image in images.values()] == [name]
            for where in (Compare("other_id", "ref", "eq", IDS[0]), Compare("other_id", "ref", "in", (IDS[0], IDS[2]))):
                found = await use.storage.find(
                    account, Query(item, All((where, Compare("box_id", "ref", "eq", IDS[0]))))
                )
                assert [image["label"] for image in found.records] == labels
            named = await use.storage.find(account, Query(box, Compare("id", "id", "in", (IDS[0], IDS[2]))))
            assert [image["name"] for image in named.records] == [name]

    async def test_texts_that_records_have_are_found_in_every_account(self, use: Use) -> None:
        await use.commit(old(IDS[0], "a"), account="other")
        await use.create(box, name="ü")
        assert await use.storage.taken(box, ["a", "ü", "b"], "name") == {"a", "ü"}
        assert await use.storage.taken(box, [], "name") == set()

    @pytest.mark.parametrize("created", [OLD, "2999-01-01T00:00:00.000Z", None])
    async def test_what_was_imported_has_a_history_and_can_be_erased(self, use: Use, created: str | None) -> None:
        before = await use.create(box, name="beside")
        at = created or str(before["created_at"])
        await use.commit(old(IDS[0], "a", at, at))
        await use.commit(Update(box, IDS[0], {"name": "b"}))

        async def past(below: int | None = None, limit: int = 9) -> list[tuple[str, int, Image, Image | None]]:
            found = await use.storage.history("main", box, IDS[0], below, limit)
            return [(s.rows[0].kind, s.rows[0].version, s.rows[0].after, s.rows[0].before) for s in found]

        assert [(kind, version) for kind, version, _, _ in await past()] == [("update", 2), ("import", 1)]
        assert [version for _, version, _, _ in await past(limit=1)] == [2]
        assert [version for _, version, _, _ in await past(below=2)] == [1]
        await use.commit(Revert(box, IDS[0], 1, ("name",)))
        assert [(await past())[0][2]["name"]] == ["a"]
        await use.commit(Delete(box, IDS[0], hard=True))
        assert await use.storage.get("main", box, [IDS[0]], deleted=True) == {}
        emptied = [row for commit in await use.log() for row in commit.rows if row.rec == IDS[0]]
        assert [(row.kind, row.after, row.before) for row in emptied] == [
            ("import", {}, None), ("update", {}, {}), ("update", {}, {}), ("purge", {}, {}),
        ]  # fmt: skip
        assert (await use.log())[0].rows[0].after == before
