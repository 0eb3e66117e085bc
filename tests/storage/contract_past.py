"""The promise of `storage.base.Storage` as tests: restore, revert and what the log says of one record."""

from __future__ import annotations

from typing import Any

import pytest

from hub.schema.writes import Create, Delete, Restore, Revert, Update
from hub.wire.errors import HubError
from tests.storage.declared import Use, box, item, person

FIELDS = ("name", "note")


def seen(commits: list[Any]) -> list[tuple[int, str]]:
    """Return version and kind of each change."""
    return [(c.rows[0].version, c.rows[0].kind) for c in commits]


class PastContract:
    """A part of the promise; `StorageContract` takes it in."""

    async def test_a_restored_record_is_as_it_was(self, use: Use) -> None:
        made = await use.create(box, name="a", note="n", pin="1234")
        await use.delete(box, made["id"])
        back = (await use.commit(Restore(box, made["id"]), actor="other")).results[0].image
        assert back == {**made, "version": 3, "updated_at": back["updated_at"], "updated_by": "other"}
        assert await use.get(box, made["id"]) == back
        assert [i["id"] for i in await use.lookup(box, "pin", "1234")] == [made["id"]]
        row = (await use.log())[-1].rows[0]
        assert (row.kind, row.after, row.before is not None and row.before["deleted_at"] is not None) == (
            "restore",
            back,
            True,
        )
        with pytest.raises(HubError, match=r"record\.exists at data\.name"):
            await use.create(box, name="a")

    async def test_restoring_what_is_live_changes_nothing(self, use: Use) -> None:
        made = await use.create(box, name="a")
        again = await use.commit(Restore(box, made["id"]))
        assert (again.seq, again.results[0].image) == (1, made)
        with pytest.raises(HubError, match=r"record\.not_found at rec"):
            await use.commit(Restore(box, "nothing"))
        with pytest.raises(HubError, match=r"record\.not_found at rec"):
            await use.commit(Restore(box, made["id"]), account="other")

    async def test_an_orphan_is_not_restored_before_its_parent(self, use: Use) -> None:
        parent = (await use.create(box, name="a"))["id"]
        child = (await use.create(item, parent))["id"]
        await use.commit(Delete(item, child), Delete(box, parent))
        with pytest.raises(HubError) as refusal:
            await use.commit(Restore(item, child))
        assert (refusal.value.code, refusal.value.path) == ("relation.restricted", "rec")
        assert refusal.value.details == {"type": "box", "rec": parent}
        assert await use.get(item, child) is None
        await use.commit(Restore(box, parent), Restore(item, child))
        with pytest.raises(HubError, match=r"relation\.restricted"):
            await use.delete(box, parent)

    async def test_what_was_restored_in_one_group_keeps_its_parent(self, use: Use) -> None:
        parent = (await use.create(box, name="a"))["id"]
        child = (await use.create(item, parent))["id"]
        await use.delete(item, child)
        with pytest.raises(HubError, match=r"relation\.restricted at ops\.1\.rec"):
            await use.commit(Restore(item, child), Delete(box, parent))

    async def test_a_unique_that_another_took_stands_against_the_restore(self, use: Use) -> None:
        first = await use.create(box, name="a")
        await use.delete(box, first["id"])
        second = await use.create(box, name="a")
        with pytest.raises(HubError) as refusal:
            await use.commit(Restore(box, first["id"]))
        assert (refusal.value.code, refusal.value.path) == ("record.exists", "rec")
        assert refusal.value.details == {"unique": ["name"]}
        assert await use.get(box, first["id"]) is None
        await use.commit(Update(box, second["id"], {"name": "b"}), Restore(box, first["id"]))
        assert sorted(i["name"] for i in (await use.find(box)).records) == ["a", "b"]

    async def test_a_record_gets_the_values_of_an_earlier_version(self, use: Use) -> None:
        made = await use.create(box, name="a", note="one", pin="1")
        await use.update(box, made["id"], note="two", pin="2")
        await use.update(box, made["id"], name="b", note=None)
        for version, values in {1: ("a", "one"), 2: ("a", "two"), 3: ("b", None), 4: ("a", "one")}.items():
            now = (await use.commit(Revert(box, made["id"], version, FIELDS))).results[0].image
            assert (now["name"], now["note"]) == values
            assert await use.get(box, made["id"]) == now
        now = await use.get(box, made["id"]) or {}
        assert now["version"] == 7
        assert [i["id"] for i in await use.lookup(box, "pin", "2")] == [made["id"]], "secrets stay"
        again = await use.commit(Revert(box, made["id"], 7, FIELDS))
        assert (again.seq, again.results[0].image) == (7, now)

    async def test_versions_of_the_same_commit_can_be_gone_back_to(self, use: Use) -> None:
        rec = use.id()
        committed = await use.commit(
            Create(box, rec, box.accept_create({"name": "a"})),
            Update(box, rec, {"name": "b"}),
            Update(box, rec, {"name": "c"}),
            Revert(box, rec, 2, FIELDS),
            Revert(box, rec, 1, FIELDS),
        )
        assert [r.image["name"] for r in committed.results] == ["a", "b", "c", "b", "a"]

    async def test_a_version_that_is_not_there_is_refused(self, use: Use) -> None:
        made = await use.create(box, name="a")
        for version in (2, 99):
            with pytest.raises(HubError, match=r"data\.invalid at version"):
                await use.commit(Revert(box, made["id"], version, FIELDS))
        await use.update(box, made["id"], name="b")
        await use.create(box, name="a")
        with pytest.raises(HubError, match=r"record\.exists at data\.name"):
            await use.commit(Revert(box, made["id"], 1, FIELDS))
        await use.delete(box, made["id"])
        with pytest.raises(HubError, match=r"record\.not_found at rec"):
            await use.commit(Revert(box, made["id"], 1, FIELDS))

    async def test_the_history_of_a_record_is_newest_first_and_only_its_own(self, use: Use) -> None:
        await use.create(box, name="other")
        made = await use.create(box, name="a")
        await use.create(box, account="other", name="a")
        await use.commit(use.new(box, name="x"), Update(box, made["id"], {"note": "n"}), use.new(box, name="y"))
        await use.delete(box, made["id"])
        await use.commit(Restore(box, made["id"]), actor="other")
        found = await use.history(box, made["id"])
        assert seen(found) == [(4, "restore"), (3, "delete"), (2, "update"), (1, "create")]
        assert [c.seq for c in found] == [5, 4, 3, 2]
        assert [(c.actor, c.session, c.request) for c in found] == [
            ("other", "session", "request"),
            *[("actor", "session", "request")] * 3,
        ]
        log = {c.seq: c for c in await use.log()}
        assert [c.at for c in found] == [log[c.seq].at for c in found]
        assert [c.rows[0] for c in found] == [
            next(row for row in log[c.seq].rows if row.rec == made["id"]) for c in found
        ]
        assert await use.history(box, made["id"], account="other") == []
        assert await use.history(box, "nothing") == []

    async def test_a_history_is_read_page_by_page(self, use: Use) -> None:
        made = await use.create(box, name="a")
        for n in range(5):
            await use.update(box, made["id"], note=f"{n}")
        assert [v for v, _ in seen(await use.history(box, made["id"], limit=2))] == [6, 5]
        assert [v for v, _ in seen(await use.history(box, made["id"], 5, limit=2))] == [4, 3]
        assert [v for v, _ in seen(await use.history(box, made["id"], 3))] == [2, 1]
        assert await use.history(box, made["id"], 1) == []

    async def test_the_creation_of_every_record_is_found(self, use: Use) -> None:
        made = [await use.create(box, name=f"{n}") for n in range(20)]
        many = await use.commit(*(use.new(box, name=f"many {n}") for n in range(20)))
        made += [r.image for r in many.results]
        for image in made:
            (only,) = await use.history(box, image["id"])
            assert (only.rows[0].kind, only.rows[0].after, only.rows[0].before) == ("create", image, None)

    async def test_the_history_of_a_global_record_is_in_the_system_account(self, use: Use) -> None:
        made = await use.create(person, account="system", name="x", digest="d")
        (only,) = await use.history(person, made["id"], account="system")
        assert only.rows[0].after == made
        assert await use.history(person, made["id"]) == []
