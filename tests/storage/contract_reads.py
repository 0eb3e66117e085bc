"""The promise of `storage.base.Storage` as tests: reading. Part of `StorageContract`."""

from __future__ import annotations

from typing import Any

import pytest

from hub.schema.query import key_values, parse_order, sort_images
from hub.schema.record import Image
from hub.schema.where import matcher, parse_where
from hub.schema.writes import Delete, Update
from hub.wire.errors import HubError
from tests.storage.declared import Use, box, item, person, sticker

VALUES: list[dict[str, Any]] = [
    {},
    {"label": "Straße", "about": "Ünïcode ﬁne", "amount": 0, "weight": 0.0, "fragile": False, "words": ["a", "b"]},
    {"label": "STRASSE", "about": "", "amount": -1, "weight": -0.5, "fragile": True, "marks": [1, 2, 2**53 - 1]},
    {"label": "strasse ", "about": "FINE", "amount": 2**53 - 1, "weight": 1e300, "sizes": [0.1, 1.0, -0.0]},
    {"label": "😀 party", "about": "a\u0308", "amount": 1, "weight": 0.1, "words": ["", "ä", "😀"], "marks": []},
    {"label": "\uffff", "about": "ä", "weight": 5e-324, "at": "2026-11-21T08:54:49.123Z", "day": "2026-11-21"},
    {"label": "%_'\"\\", "at": "0001-01-01T00:00:00.000Z", "day": "0001-01-01", "extra": {"a": {"b": [1.5]}}},
    {"label": "line\nend", "at": "9999-12-31T23:59:59.999Z", "day": "9999-12-31", "done": True, "words": ["a"]},
]
WHERES: list[dict[str, Any]] = [
    {},
    {"label": "Straße"},
    {"label": "strasse"},
    {"label": {"$ne": "STRASSE"}},
    {"label": {"$gt": "STRASSE"}},
    {"label": {"$gte": "😀", "$lte": "😀 party"}},
    {"label": {"$contains": "_'"}},
    {"label": {"$contains": ""}},
    {"label": {"$starts": "stra"}},
    {"label": {"$istarts": "STRASSE"}},
    {"about": {"$icontains": "fine"}},
    {"about": {"$icontains": "Ä"}},
    {"about": {"$null": True}},
    {"about": None},
    {"about": {"$ne": None}},
    {"about": {"$ne": ""}},
    {"$not": {"about": {"$gt": "a"}}},
    {"$not": {"about": {"$contains": "a"}}},
    {"amount": {"$in": [0, 1, 7]}},
    {"amount": {"$nin": [0, 1]}},
    {"amount": {"$in": []}},
    {"amount": {"$nin": []}},
    {"amount": {"$lt": 0.0}},
    {"amount": {"$gte": 2**53 - 1}},
    {"weight": {"$lt": 1e300}},
    {"weight": 0},
    {"weight": {"$in": [0.1, 5e-324, 1e300]}},
    {"weight": {"$nin": [0.1]}},
    {"$not": {"weight": {"$lte": 0.1}}},
    {"fragile": True},
    {"fragile": {"$ne": True}},
    {"fragile": {"$in": [False]}},
    {"done": False},
    {"at": {"$gt": "2026-11-21T09:54:49.122+01:00"}},
    {"at": {"$in": ["0001-01-01T00:00:00.000Z"]}},
    {"day": {"$lt": "2026-11-21"}},
    {"label": {"$between": ["STRASSE", "strasse"]}},
    {"amount": {"$between": [0, 2**53 - 1]}},
    {"amount": {"$between": [1, 0]}},
    {"$not": {"weight": {"$between": [0, 1]}}},
    {"at": {"$between": ["2026-11-21T08:54:49.123Z", "2026-11-21T08:54:49.123Z"]}},
    {"day": {"$between": ["0001-01-01", "2026-11-21"]}},
    {"label": {"$ends": "SSE"}},
    {"label": {"$ends": " "}},
    {"label": {"$ends": ""}},
    {"label": {"$ends": "a much longer text than any label"}},
    {"$not": {"about": {"$ends": "e"}}},
    {"label": {"$iends": "ASSE"}},
    {"about": {"$iends": "FINE"}},
    {"$not": {"about": {"$iends": "FINE"}}},
    {"words": {"$hasAny": ["b", "😀", "nothing"]}},
    {"words": {"$hasAny": []}},
    {"words": {"$hasAll": ["a", "b", "a"]}},
    {"words": {"$hasAll": []}},
    {"marks": {"$hasAll": []}},
    {"marks": {"$hasAny": [1, 2**53 - 1]}},
    {"$not": {"marks": {"$hasAll": [1, 2]}}},
    {"sizes": {"$hasAll": [0.1, 0]}},
    {"sizes": {"$hasAny": [0.1, 7]}},
    {"words": {"$has": ""}},
    {"words": {"$has": "a"}},
    {"$not": {"words": {"$has": "a"}}},
    {"marks": {"$has": 2**53 - 1}},
    {"marks": {"$null": False}},
    {"$not": {"marks": {"$has": 1}}},
    {"sizes": {"$has": 0.1}},
    {"sizes": {"$has": 0}},
    {"$not": {"sizes": {"$has": 0.1}}},
    {"other_id": "nothing"},
    {"other_id": {"$ne": "nothing"}},
    {"other_id": {"$in": ["nothing"]}},
    {"other_id": {"$nin": ["nothing"]}},
    {"$not": {"other_id": "nothing"}},
    {"created_by": "actor"},
    {"version": {"$gte": 1}},
    {"deleted_at": None},
    {"$or": [{"label": "Straße"}, {"amount": {"$gt": 0}}], "done": False},
    {"$and": [{"$or": [{"fragile": True}, {"$not": {"words": {"$has": "a"}}}]}, {"$not": {"amount": None}}]},
    {"$not": {"$or": [{"label": "Straße"}, {"$and": [{"amount": None}, {"about": None}]}]}},
]
ORDERS: list[list[str]] = [
    [],
    ["label"],
    ["-label"],
    ["-amount", "label"],
    ["weight"],
    ["-weight", "-amount"],
    ["fragile", "-label"],
    ["at"],
    ["-day"],
    ["other_id", "-id"],
    ["-other_id", "amount"],
    ["-created_at"],
    ["done", "fragile", "-at"],
]


class ReadContract:
    """What every keeper answers to get, find, changes, heads and lookup."""

    async def filled(self, use: Use) -> list[Image]:
        """Return the images of items with every kind of value."""
        one, two = await use.create(box, name="one"), await use.create(box, name="two")
        others = [None, one["id"], two["id"]]
        images = []
        for part in range(0, 2 * len(VALUES), 4):
            values = (VALUES * 2)[part : part + 4]
            creations = [use.new(item, one["id"], **v, other_id=others[n % 3]) for n, v in enumerate(values)]
            images += [r.image for r in (await use.commit(*creations)).results]
        return images

    async def test_get_returns_those_that_are_there(self, use: Use) -> None:
        a, b = await use.create(box, name="a"), await use.create(box, name="b")
        await use.delete(box, b["id"])
        assert await use.storage.get("main", box, [a["id"], "nothing", b["id"], a["id"]]) == {a["id"]: a}
        assert set(await use.storage.get("main", box, [a["id"], b["id"]], deleted=True)) == {a["id"], b["id"]}
        assert await use.storage.get("main", box, []) == {}
        assert await use.storage.get("nobody", box, [a["id"]]) == {}
        assert await use.storage.get("main", sticker, [a["id"]]) == {}

    async def test_every_value_is_read_as_it_was_written(self, use: Use) -> None:
        images = await self.filled(use)
        assert await use.storage.get("main", item, [i["id"] for i in images]) == {i["id"]: i for i in images}
        read = {i["id"]: i for i in (await use.find(item)).records}
        assert read == {i["id"]: i for i in images}
        for image in images:
            for name, value in image.items():
                assert type(read[image["id"]][name]) is type(value), name
        assert [r.after for s in await use.log() for r in s.rows if r.type == "item"] == images

    async def test_find_means_what_the_matcher_means(self, use: Use) -> None:
        images = await self.filled(use)
        differing = []
        for where in WHERES:
            matches = matcher(parse_where(item, where))
            expected = sorted(i["id"] for i in images if matches(i))
            found = await use.find(item, where, count=True)
            if sorted(i["id"] for i in found.records) != expected or found.total != len(expected) or found.more:
                differing.append(where)
        assert differing == []

    async def test_find_by_reference_parent_and_id(self, use: Use) -> None:
        images = await self.filled(use)
        boxes = {i["name"]: i["id"] for i in (await use.find(box)).records}
        for where in (
            {"other_id": boxes["one"]},
            {"other_id": {"$ne": boxes["one"]}},
            {"other_id": {"$in": [boxes["one"], boxes["two"]]}},
            {"other_id": {"$nin": [boxes["two"], "nothing"]}},
            {"box_id": boxes["one"]},
            {"box_id": boxes["two"]},
            {"id": images[3]["id"]},
            {"id": {"$in": [images[3]["id"], images[5]["id"], "nothing"]}, "box_id": boxes["one"]},
            {"id": {"$nin": [images[3]["id"]]}},
            {"$not": {"id": images[3]["id"]}},
        ):
            matches = matcher(parse_where(item, where))
            found = {i["id"] for i in (await use.find(item, where)).records}
            assert found == {i["id"] for i in images if matches(i)}, where

    async def test_find_steps_to_parents_references_and_children(self, use: Use) -> None:
        images = await self.filled(use)
        one, two = sorted((await use.find(box)).records, key=lambda i: str(i["name"]))
        three = await use.create(box, name="three", note="empty")
        gone = await use.create(box, name="gone")
        under = await use.create(item, three["id"], label="under three", other_id=gone["id"])
        marked = await use.create(sticker, images[0]["id"], text="x")
        await use.create(sticker, under["id"], text="y")
        dead = await use.create(sticker, images[1]["id"], text="x")
        await use.delete(sticker, dead["id"])
        await use.delete(box, gone["id"])
        items = [*images, under]
        every = {i["id"] for i in items}
        cases: list[tuple[Any, dict[str, Any], set[str]]] = [
            (item, {"parent": {}}, every),
            (item, {"parent": {"name": "one"}}, {i["id"] for i in images}),
            (item, {"$not": {"parent": {"name": "one"}}}, {under["id"]}),
            (item, {"parent": {"note": None}, "amount": 1}, {i["id"] for i in images if i["amount"] == 1}),
            (item, {"other": {}}, {i["id"] for i in images if i["other_id"]}),
            (item, {"other": {"name": "two"}}, {i["id"] for i in images if i["other_id"] == two["id"]}),
            (item, {"$not": {"other": {"name": "two"}}}, {i["id"] for i in items if i["other_id"] != two["id"]}),
            (item, {"other": {"name": "gone"}}, set()),
            (item, {"children": {"type": "sticker", "$some": {"text": "x"}}}, {images[0]["id"]}),
            (item, {"children": {"$some": {}}}, {images[0]["id"], under["id"]}),
            (item, {"$not": {"children": {"$some": {"text": "x"}}}}, every - {images[0]["id"]}),
            (sticker, {"parent": {"parent": {"name": "three"}}, "text": "y"}, {"y"}),
            (sticker, {"parent": {"other": {"id": one["id"]}}}, set()),
            (sticker, {"parent": {"id": {"$in": [images[0]["id"], "nothing"]}}}, {marked["id"]}),
            (box, {"children": {"type": "item", "$some": {"label": {"$iends": "THREE"}}}}, {three["id"]}),
            (box, {"children": {"type": "item", "$some": {"children": {"$some": {"text": "x"}}}}}, {one["id"]}),
            (box, {"$not": {"children": {"type": "item", "$some": {"other": {}}}}}, {two["id"], three["id"]}),
            (box, {"children": {"type": "item", "$some": {"words": {"$has": "a"}, "parent": {"name": "one"}}}},
             {one["id"]}),
            (box, {"children": {"type": "tray", "$some": {}}}, set()),
        ]  # fmt: skip
        for kind, where, expected in cases:
            found = await use.find(kind, where, count=True, order=["-created_at"])
            got = {i["text"] if expected == {"y"} else i["id"] for i in found.records}
            assert (got, found.total) == (expected, len(expected)), where
        elsewhere = await use.find(item, {"parent": {}}, account="other")
        assert elsewhere.records == []

    async def test_steps_do_not_leave_the_account(self, use: Use) -> None:
        mine, theirs = await use.create(box, name="a"), await use.create(box, account="other", name="b")
        child = await use.create(item, mine["id"], other_id=mine["id"])
        await use.create(item, theirs["id"], account="other", other_id=theirs["id"], label="theirs")
        assert [i["id"] for i in (await use.find(item, {"parent": {}})).records] == [child["id"]]
        assert (await use.find(item, {"other": {"name": "b"}})).records == []
        assert (await use.find(box, {"children": {"type": "item", "$some": {"label": "theirs"}}})).records == []
        # A reference to a global record leads out of the account, so no step follows it.
        someone = await use.create(person, account="system", name="x")
        await use.create(item, mine["id"], owner_id=someone["id"])
        assert (await use.find(item, {"owner": {}})).records == []

    async def test_as_many_steps_as_a_filter_may_hold_are_answered(self, use: Use) -> None:
        mine = await use.create(box, name="a")
        child = await use.create(item, mine["id"], other_id=mine["id"], label="x")
        deep = {"other": {"children": {"type": "item", "$some": {"parent": {"name": "a"}}}}}
        wheres: list[dict[str, Any]] = [
            {"$and": [{"parent": {"name": "a"}}] * 100},
            {"$or": [{"other": {"name": f"{n}"}} for n in range(99)] + [{"other": {"name": "a"}}]},
            {"$and": [{"$not": {"children": {"$some": {"text": f"{n}"}}}} for n in range(100)]},
            {"$and": [{"parent": {}}] * 200},
            {"$or": [deep] * 50},
            {"$and": [deep] * 50},
        ]
        for where in wheres:
            assert [i["id"] for i in (await use.find(item, where)).records] == [child["id"]], str(where)[:80]

    async def test_find_orders_as_python_does_and_pages_go_on_behind(self, use: Use) -> None:
        images = await self.filled(use)
        for order in ORDERS:
            keys = parse_order(item, order)
            expected = [i["id"] for i in sort_images(images, keys)]
            assert [i["id"] for i in (await use.find(item, order=order)).records] == expected, order
            for size in (1, 3, 5):
                paged: list[str] = []
                after, more = None, True
                while more:
                    found = await use.find(item, order=order, limit=size, after=after, count=True)
                    assert found.total == len(images)
                    assert len(found.records) == min(size, len(images) - len(paged))
                    paged += [i["id"] for i in found.records]
                    after, more = key_values(found.records[-1], keys), found.more
                assert paged == expected, order

    async def test_find_passes_over_the_deleted_unless_they_are_wanted(self, use: Use) -> None:
        for name in "abcd":
            await use.create(box, name=name)
        for image in (await use.find(box, {"name": {"$in": ["b", "c"]}})).records:
            await use.delete(box, image["id"])
        assert [i["name"] for i in (await use.find(box, order=["name"])).records] == ["a", "d"]
        every = await use.find(box, order=["name"], deleted=True, count=True)
        assert ([i["name"] for i in every.records], every.total) == (["a", "b", "c", "d"], 4)
        gone = await use.find(box, {"deleted_at": {"$null": False}}, deleted=True, limit=1, count=True)
        assert (gone.total, gone.more) == (2, True)

    async def test_a_large_answer_is_whole_and_in_order(self, use: Use) -> None:
        parent = (await use.create(box, name="a"))["id"]
        await use.commit(*(use.new(item, parent, label=f"{n % 7}", amount=n) for n in range(1300)))
        found = await use.find(item, order=["label", "-amount"], count=True)
        assert found.total == 1300
        expected = sort_images(found.records, parse_order(item, ["label", "-amount"]))
        assert found.records == expected
        assert len({i["id"] for i in found.records}) == 1300
        for limit in (499, 500, 501, 999, 1000, 1299, 1300, 1301):
            part = await use.find(item, order=["label", "-amount"], limit=limit)
            assert part.records == expected[:limit]
            assert part.more == (limit < 1300)

    async def test_nothing_of_another_account_is_seen(self, use: Use) -> None:
        mine, theirs = await use.create(box, name="a"), await use.create(box, account="other", name="a")
        child = await use.create(item, theirs["id"], account="other", other_id=theirs["id"])
        assert await use.get(box, theirs["id"]) is None
        assert await use.get(item, child["id"], deleted=True) is None
        assert [i["id"] for i in (await use.find(box, deleted=True)).records] == [mine["id"]]
        for where in ({"id": theirs["id"]}, {"id": {"$in": [theirs["id"]]}}, {"name": "a", "id": theirs["id"]}):
            assert (await use.find(box, where, count=True)).total == 0
        assert (await use.find(item, {"other_id": theirs["id"]})).records == []
        assert [s.account for s in await use.log()] == ["main"]
        assert (await use.seq(), await use.seq("other")) == (1, 2)
        for write in (Update(box, theirs["id"], {"note": "x"}), Delete(box, theirs["id"])):
            with pytest.raises(HubError, match=r"record\.not_found"):
                await use.commit(write)
        assert await use.get(box, theirs["id"], account="other") == theirs

    async def test_an_account_that_never_wrote_is_empty(self, use: Use) -> None:
        found = await use.find(box, account="nobody", count=True)
        assert (found.records, found.seq, found.total, found.more) == ([], 0, 0, False)
        assert await use.storage.changes("nobody", 0, 10) == []
        head = (await use.storage.heads(["nobody"]))["nobody"]
        await use.create(box, account="nobody", name="a")
        after = (await use.storage.heads(["nobody", "other"]))["nobody"]
        assert (head.seq, after.seq, head.epoch == after.epoch) == (0, 1, True)

    async def test_changes_are_what_was_committed(self, use: Use) -> None:
        a = await use.create(box, name="a")
        await use.update(box, a["id"], note="x", name="b")
        await use.commit(Delete(box, a["id"]), use.new(box, name="c"))
        log = await use.log()
        assert [s.seq for s in log] == [1, 2, 3]
        assert log == use.told
        assert [(s.actor, s.session, s.request) for s in log] == [("actor", "session", "request")] * 3
        created, updated, deleted = log[0].rows[0], log[1].rows[0], log[2].rows[0]
        assert (created.before, created.previous()) == (None, None)
        assert set(updated.before or {}) == {"version", "updated_at", "updated_by", "note", "name"}
        assert (updated.previous(), deleted.previous()) == (created.after, updated.after)
        assert (deleted.kind, deleted.after["deleted_at"]) == ("delete", log[2].at)
        assert [s.seq for s in await use.storage.changes("main", 1, 1)] == [2]
        assert [s.seq for s in await use.storage.changes("main", 2, 100)] == [3]
        assert await use.storage.changes("main", 3, 100) == []

    async def test_long_logs_are_whole(self, use: Use) -> None:
        for size in (1, 700, 3, 501, 500):
            await use.commit(*(use.new(box, name=use.id()) for _ in range(size)))
        log = await use.log()
        assert [(s.seq, len(s.rows)) for s in log] == [(1, 1), (2, 700), (3, 3), (4, 501), (5, 500)]
        assert log == use.told
        some = [s.seq for s in await use.storage.changes("main", 1, 3)]
        assert some == [2, 3, 4][: len(some)] != [], "fewer than were asked for, for they are large, but one at least"

    async def test_before_images_lead_back_to_the_beginning(self, use: Use) -> None:
        parent = (await use.create(box, name="a"))["id"]
        made = await use.create(item, parent, **VALUES[1])
        states = [made]
        for values in VALUES[2:]:
            states.append((await use.update(item, made["id"], **values)).results[0].image)
        states.append((await use.delete(item, made["id"])).results[0].image)
        rows = [r for s in await use.log() for r in s.rows if r.rec == made["id"]]
        before: list[Image | None] = [None, *states[:-1]]
        assert [r.after for r in rows] == states
        assert [r.previous() for r in rows] == before
        assert [r.version for r in rows] == list(range(1, len(states) + 1))

    async def test_secrets_are_compared_and_never_shown(self, use: Use) -> None:
        a = await use.create(person, account="system", name="a", digest="s3cret-a")
        b = await use.create(person, account="system", name="b", digest="s3cret-b")
        assert await use.lookup(person, "digest", "s3cret-b") == [b]
        assert await use.lookup(person, "digest", "nothing") == []
        assert await use.lookup(person, "name", "a") == [a]
        changed = (await use.update(person, a["id"], account="system", digest="s3cret-c")).results[0].image
        assert changed["version"] == 2
        assert await use.lookup(person, "digest", "s3cret-a") == []
        assert await use.lookup(person, "digest", "s3cret-c") == [changed]
        await use.delete(person, b["id"], account="system")
        assert await use.lookup(person, "digest", "s3cret-b") == []
        seen = [await use.log("system"), use.told, await use.find(person, account="system", deleted=True)]
        assert "s3cret" not in repr(seen)
        assert "digest" not in changed

    async def test_a_secret_is_read_from_a_live_record_of_its_account_alone(self, use: Use) -> None:
        a = await use.create(person, account="system", name="a", digest="s3cret-a")
        b = await use.create(person, account="system", name="b")
        assert await use.storage.secret("system", person, a["id"], "digest") == "s3cret-a"
        assert await use.storage.secret("system", person, b["id"], "digest") is None
        assert await use.storage.secret("main", person, a["id"], "digest") is None
        for unknown in ("nothing", "", "x" * 100, "é'\";--"):
            assert await use.storage.secret("system", person, unknown, "digest") is None
        await use.update(person, a["id"], account="system", digest="s3cret-c")
        assert await use.storage.secret("system", person, a["id"], "digest") == "s3cret-c"
        await use.delete(person, a["id"], account="system")
        assert await use.storage.secret("system", person, a["id"], "digest") is None

    async def test_lookup_crosses_accounts(self, use: Use) -> None:
        someone = await use.create(person, account="system", name="x")
        made = [await use.create(box, account=account, name="a", pin="p") for account in ("main", "other")]
        owned = [
            await use.create(item, parent["id"], account=parent["account_id"], owner_id=someone["id"])
            for parent in made
        ]
        assert await use.lookup(box, "pin", "p") == made
        assert await use.lookup(box, "name", "a") == made
        assert await use.lookup(item, "owner_id", someone["id"]) == owned
        assert await use.lookup(item, "owner_id", "nothing") == []

    async def test_a_probe_of_a_working_keeper_is_silent(self, use: Use) -> None:
        await use.storage.probe()
        await use.storage.probe_writing()
        assert use.storage.ready
