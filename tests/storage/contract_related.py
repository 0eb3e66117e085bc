"""The promise of `storage.base.Storage` as tests: counts, views and what is included. Part of `StorageContract`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.schema.query import Include, key_values, parse_order
from hub.schema.record import Image
from hub.schema.writes import Commit, Update
from hub.wire.errors import HubError
from storage import related
from tests.storage.declared import Use, box, item, registry, sticker, tray


def labels(found: Any) -> list[str]:
    """Return the labels of the found items."""
    return [image["label"] for image in found.records]


class RelatedContract:
    """What every keeper answers beside the records."""

    async def shelf(self, use: Use) -> dict[str, Image]:
        """Return two boxes with items, stickers and a tray, by label."""
        one, two = await use.create(box, name="one", note="first"), await use.create(box, name="two")
        made = {"one": one, "two": two}
        for label, parent, other, amount in (
            ("a", one, two, 3), ("b", one, one, None), ("c", two, None, 1), ("d", two, one, 2),
        ):  # fmt: skip
            other_id = other["id"] if other else None
            made[label] = await use.create(item, parent["id"], label=label, other_id=other_id, amount=amount)
        for label, text in (("a", "x"), ("a", "z"), ("a", "y"), ("c", "x")):
            made[f"{label} {text}"] = await use.create(sticker, made[label]["id"], text=text)
        made["tray"] = await use.create(tray, one["id"], item_id=made["a"]["id"])
        return made

    async def test_a_count_goes_no_further_than_its_cap(self, use: Use) -> None:
        await use.commit(*(use.new(box, name=f"{n}") for n in range(10)))
        for cap, total, capped in ((1, 1, True), (9, 9, True), (10, 10, False), (11, 10, False), (100_000, 10, False)):
            found = await use.find(box, count=True, cap=cap, limit=2)
            assert (found.total, found.capped, len(found.records)) == (total, capped, 2)
            found = await use.find(box, count=True, cap=cap, limit=700)
            assert (found.total, found.capped, len(found.records)) == (total, capped, 10)
        found = await use.find(box, {"name": {"$lt": "3"}}, count=True, cap=3, order=["-name"], limit=1)
        assert (found.total, found.capped, found.more) == (3, False, True)
        assert (await use.find(box, account="nobody", count=True, cap=3)).total == 0
        assert (await use.find(box, {"name": "x"}, count=True, cap=3)).total == 0
        assert (await use.find(box)).total is None

    async def test_a_view_shows_what_belongs_together(self, use: Use) -> None:
        made = await self.shelf(use)
        found = await use.find(item, order=["label"], view="full")
        names = ("box_name", "box_note", "other_name", "texts", "tray_boxes")
        assert [[image[name] for name in names] for image in found.records] == [
            ["one", "first", "two", ["z", "y", "x"], ["one"]],
            ["one", "first", "one", [], []],
            ["two", None, None, ["x"], []],
            ["two", None, "one", [], []],
        ]
        assert found.records[0]["other_changed"] == made["two"]["updated_at"]
        plain = await use.find(item, order=["label"])
        joined = {*names, "other_changed"}
        assert [{k: v for k, v in i.items() if k not in joined} for i in found.records] == plain.records
        far = await use.find(sticker, order=["text", "-created_at"], view="item")
        assert [(i["text"], i["box_name"], i["other_note"], i["amount"]) for i in far.records] == [
            ("x", "two", None, 1), ("x", "one", None, 3), ("y", "one", None, 3), ("z", "one", None, 3),
        ]  # fmt: skip

    async def test_a_view_shows_the_living_only(self, use: Use) -> None:
        made = await self.shelf(use)
        third = await use.create(box, name="three")
        await use.update(item, made["a"]["id"], other_id=third["id"])
        await use.delete(box, third["id"])
        await use.delete(sticker, made["a y"]["id"])
        await use.delete(tray, made["tray"]["id"])
        (a,) = (await use.find(item, {"label": "a"}, view="full")).records
        assert (a["other_id"], a["other_name"], a["texts"], a["tray_boxes"]) == (third["id"], None, ["z", "x"], [])
        assert labels(await use.find(item, {"other_name": None}, view="full", order=["label"])) == ["a", "c"]
        assert labels(await use.find(item, view="full", order=["other_name", "label"])) == ["a", "c", "b", "d"]

    @pytest.mark.parametrize(
        ("where", "expected"),
        [
            ({"box_name": "one"}, "ab"),
            ({"box_name": {"$ne": "one"}}, "cd"),
            ({"box_name": {"$istarts": "T"}}, "cd"),
            ({"other_name": None}, "c"),
            ({"other_name": {"$null": False}}, "abd"),
            ({"other_name": {"$ne": "one"}}, "ac"),
            ({"other_name": {"$in": ["two", "three"]}}, "a"),
            ({"other_name": {"$nin": ["two", "three"]}}, "bcd"),
            ({"other_name": {"$nin": []}}, "abcd"),
            ({"$not": {"other_name": "one"}}, "ac"),
            ({"$not": {"other_name": {"$ne": "one"}}}, "bd"),
            ({"other_name": {"$between": ["p", "u"]}}, "a"),
            ({"$not": {"other_name": {"$gt": "p"}}}, "bcd"),
            ({"box_note": {"$ne": None}}, "ab"),
            ({"box_note": {"$ne": "first"}}, "cd"),
            ({"texts": {"$has": "x"}}, "ac"),
            ({"texts": {"$hasAny": ["y", "q"]}}, "a"),
            ({"texts": {"$hasAll": ["x", "y"]}}, "a"),
            ({"texts": {"$hasAny": []}}, ""),
            ({"texts": {"$hasAll": []}}, "abcd"),
            ({"texts": {"$null": True}}, ""),
            ({"$not": {"texts": {"$has": "x"}}}, "bd"),
            ({"tray_boxes": {"$has": "one"}}, "a"),
            ({"$or": [{"box_name": "two"}, {"texts": {"$has": "z"}}], "amount": {"$gt": 1}}, "ad"),
            ({"other_changed": {"$gt": "2000-01-01T00:00:00.000Z"}}, "abd"),
        ],
    )
    async def test_a_view_is_searched_by_its_fields(self, use: Use, where: dict[str, Any], expected: str) -> None:
        await self.shelf(use)
        found = await use.find(item, where, view="full", order=["label"], count=True)
        assert ("".join(labels(found)), found.total) == (expected, len(expected))

    async def test_a_view_is_sorted_by_its_fields_page_by_page(self, use: Use) -> None:
        await self.shelf(use)
        for order, expected in (
            (["other_name", "label"], "cbda"),
            (["-other_name", "label"], "abdc"),
            (["box_name", "-other_name"], "abdc"),
            (["-box_name", "-amount"], "dcab"),
            (["-other_changed", "-label"], "adbc"),
        ):
            keys = parse_order(item, order, view=registry.view(item, "full"))
            for size in (1, 2, 3, 600):
                seen, after, more = "", None, True
                while more:
                    found = await use.find(item, view="full", order=order, limit=size, after=after)
                    seen += "".join(labels(found))
                    after, more = key_values(found.records[-1], keys), found.more
                assert seen == expected, (order, size)

    async def test_what_is_included_comes_along(self, use: Use) -> None:
        made = await self.shelf(use)
        include = (
            Include("parent", box, "box_id", "id"),
            Include("other", box, "other_id", "id"),
            Include("sticker", sticker, "id", "item_id", 2, parse_order(sticker, ["text"])),
        )
        found = await use.find(item, order=["label"], include=include)
        assert [i["parent"] for i in found.included] == [made["one"], made["one"], made["two"], made["two"]]
        assert [i["other"] for i in found.included] == [made["two"], made["one"], None, made["one"]]
        assert [i["sticker"] for i in found.included] == [
            ([made["a x"], made["a y"]], True), ([], False), ([made["c x"]], False), ([], False),
        ]  # fmt: skip
        assert found.records == (await use.find(item, order=["label"])).records
        await use.delete(sticker, made["a y"]["id"])
        (first,) = (await use.find(item, {"label": "a"}, include=include)).included
        assert first["sticker"] == ([made["a x"], made["a z"]], False)
        elsewhere = await use.find(item, account="nobody", include=include)
        assert (elsewhere.records, list(elsewhere.included)) == ([], [])

    async def test_many_children_are_included_up_to_their_limit(
        self, use: Use, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(related, "AT_ONCE", 10)
        boxes = [await use.create(box, name=f"{n}") for n in range(3)]
        for n, count in enumerate((12, 0, 3)):
            await use.commit(*(use.new(item, boxes[n]["id"], label=f"{k:02}") for k in range(count)))
        include = (Include("item", item, "id", "box_id", 4, parse_order(item, ["-label"])),)
        found = await use.find(box, order=["name"], include=include)
        assert [([i["label"] for i in c["item"][0]], c["item"][1]) for c in found.included] == [
            (["11", "10", "09", "08"], True), ([], False), (["02", "01", "00"], False),
        ]  # fmt: skip

    async def test_views_and_what_is_included_are_of_one_state(self, use: Use) -> None:
        """Every write moves all items of a box to its new name at once; no answer shows two names of one box."""
        one = await use.create(box, name="n0")
        await use.commit(*(use.new(item, one["id"], label="n0", amount=n) for n in range(5)))
        include = (Include("parent", box, "box_id", "id"),)
        seen = set()
        for n in range(1, 25):
            items = (await use.find(item)).records
            writes = (
                *(Update(item, i["id"], {"label": f"n{n}"}) for i in items),
                Update(box, one["id"], {"name": f"n{n}"}),
            )
            future = use.storage.submit(Commit("main", writes))
            found = await use.find(item, view="full", include=include)
            names = {
                *(i["label"] for i in found.records),
                *(i["box_name"] for i in found.records),
                *(i["parent"]["name"] for i in found.included),
            }
            assert len(names) == 1, names
            seen |= names
            await asyncio.wait_for(future, 10)
        assert len(seen) > 1

    async def test_pages_leave_nothing_out_and_repeat_nothing_while_others_write(self, use: Use) -> None:
        parent = (await use.create(box, name="a"))["id"]
        amounts = [None if n % 4 == 0 else n % 5 for n in range(60)]
        made = await use.commit(*(use.new(item, parent, amount=a, label=f"{n % 7}") for n, a in enumerate(amounts)))
        there = [r.image["id"] for r in made.results]
        for order in (["amount", "-label"], ["-amount", "label"], []):
            keys = parse_order(item, order)
            seen: list[str] = []
            after, more, turn = None, True, 0
            while more:
                found = await use.find(item, {"label": {"$lt": "z"}}, order=order, limit=7, after=after)
                seen += [i["id"] for i in found.records]
                after, more, turn = key_values(found.records[-1], keys), found.more, turn + 1
                if turn < 20:  # some come before the place, some behind it
                    fresh = [use.new(item, parent, amount=a, label="3") for a in (None, 0, 2, 4, 9)]
                    await use.commit(*fresh)
            assert len(set(seen)) == len(seen), order
            assert [rec for rec in there if rec not in seen] == [], order

    async def test_a_view_that_is_not_there_is_refused(self, use: Use) -> None:
        with pytest.raises(HubError, match=r"data\.invalid at view"):
            await use.find(item, view="nothing")
        with pytest.raises(HubError, match=r"where\.invalid"):
            await use.find(item, {"box_name": "one"})
        with pytest.raises(HubError, match=r"order\.invalid"):
            await use.find(item, order=["box_name"])
        for order in (["texts"], ["nope"]):
            with pytest.raises(HubError, match=r"order\.invalid"):
                await use.find(item, order=order, view="full")
        for where in ({"texts": "x"}, {"texts": {"$contains": "x"}}, {"parent": {"box_name": "x"}}):
            with pytest.raises(HubError, match=r"where\.invalid"):
                await use.find(item, where, view="full")
