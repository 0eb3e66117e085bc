"""The promise of `storage.base.Storage` as tests: row rules, held against a naive reading of them over random rules.

The naive filter knows five operators and is written without the nodes of `hub.schema`: what it says is what a rule
means.
"""

from __future__ import annotations

import dataclasses
from random import Random
from typing import Any, Final

import pytest

from hub.schema.access import Rows
from hub.schema.query import Include, Query
from hub.schema.record import Image, RecordType
from hub.schema.rows import RowRules, within
from hub.schema.search import Scope, Search, parse_search
from hub.schema.totals import Aggregate
from hub.schema.where import both, equals, parse_where
from hub.schema.writes import Commit, Delete, DeleteWhere, Move, Restore, Revert, Update, UpdateWhere, Upsert, Write
from hub.wire.errors import HubError
from tests.storage.declared import Use, box, item, registry, sticker

RULES: Final = 12
"""How many random rules are compared."""
WRITES: Final = 40
"""How many random writes are compared under each of some rules."""
ME: Final = {"id": "me-myself", "role": "editor", "account": "main"}
_VALUES: Final[dict[str, tuple[Any, ...]]] = {
    "label": ("a", "b", "me-myself"),
    "code": (None, "editor", "c"),
    "amount": (None, 0, 1, 2),
    "done": (True, False),
    "created_by": ("me-myself", "another", None),
}


def bound(*given: tuple[RecordType, Rows], me: dict[str, str | None] | None = None) -> RowRules:
    """Return rules as somebody is bound by them, whatever the types declare themselves."""
    types: dict[str, RecordType] = {}
    for kind, rule in given:
        known = types.get(kind.name, kind)
        types[kind.name] = dataclasses.replace(
            known, access=dataclasses.replace(known.access, rows=(*known.access.rows, rule))
        )
    return RowRules(types.values(), me or {**ME})


def _value(operand: Any) -> Any:
    return ME[operand["$ref"].removeprefix("me.")] if type(operand) is dict else operand


def _has(mine: Any, condition: Any) -> bool:
    """Say whether a field has a value that a condition wants."""
    if type(condition) is not dict or "$ref" in condition:
        return bool(mine == _value(condition))
    ((op, operand),) = condition.items()
    match op:
        case "$in":
            return mine in [_value(each) for each in operand]
        case "$gt":
            return mine is not None and bool(mine > operand)
        case "$null":
            return (mine is None) is operand
    return bool((mine == _value(operand)) == (op == "$eq"))


def passes(where: dict[str, Any], image: Image) -> bool:
    """Say what a rule means, read naively."""

    for key, value in where.items():
        if key == "$or":
            good = any(passes(each, image) for each in value)
        elif key == "$not":
            good = not passes(value, image)
        else:
            good = _has(image[key], value)
        if not good:
            return False
    return True


def drawn(rng: Random, depth: int = 0) -> dict[str, Any]:
    """Return a random filter of a row rule over items."""
    kind = rng.randrange(4 if depth < 2 else 1)
    if kind == 2:
        return {"$or": [drawn(rng, depth + 1) for _ in range(rng.randint(1, 2))]}
    if kind == 3:
        return {"$not": drawn(rng, depth + 1)}
    field = rng.choice(list(_VALUES))
    value = rng.choice(_VALUES[field])
    ref = {"$ref": rng.choice(["me.id", "me.role"])}
    text = field in {"label", "code", "created_by"}
    if text and rng.random() < 0.5:
        return {field: rng.choice([ref, {"$ne": ref}, {"$in": ["b", {"$ref": "me.id"}]}])}
    if value is None:
        return {field: {"$null": rng.random() < 0.5}}
    return {field: {"$gt": value} if field == "amount" and rng.random() < 0.4 else {rng.choice(["$eq", "$ne"]): value}}


def some(rng: Random) -> dict[str, Any]:
    """Return the fields of an item."""
    return {name: rng.choice(_VALUES[name]) for name in ("label", "code", "amount", "done")} | {"code": None}


async def filled(use: Use, rng: Random, count: int = 24) -> tuple[list[Image], list[Image]]:
    """Make boxes and items by several actors; return both."""
    boxes = [await use.create(box, name=f"box {n}") for n in range(3)]
    items: list[Image] = []
    for n in range(count):
        write = use.new(item, rng.choice(boxes)["id"], **some(rng), words=["common"])
        made = await use.commit(write, actor=rng.choice(["me-myself", "another", None]))
        items.append(made.results[0].image)
        if n % 6 == 0:
            await use.delete(item, items[-1]["id"])
    return boxes, items


class RowsContract:
    """A part of the promise; `StorageContract` takes it in."""

    async def test_a_row_rule_lets_the_same_records_through_as_its_naive_reading(self, use: Use) -> None:
        rng = Random(7)
        boxes, items = await filled(use, rng)
        images = list((await use.storage.get("main", item, [each["id"] for each in items], deleted=True)).values())
        for each in images[:6]:
            if each["deleted_at"] is None:
                await use.create(sticker, each["id"], text="s")
        passed = 0
        for _ in range(RULES):
            where = drawn(rng)
            rules = bound((item, Rows(("read",), where)))
            expected = {each["id"] for each in images if passes(where, each)}
            live = {each["id"] for each in images if each["id"] in expected and each["deleted_at"] is None}
            passed += len(live)
            assert {each["id"] for each in images if rules.allows(item, "read", each)} == expected, where
            found = await use.storage.find("main", within(Query(item, deleted=True, count=True, limit=5), rules))
            assert found.total == len(expected), where
            found = await use.storage.find("main", within(Query(item), rules))
            assert {each["id"] for each in found.records} == live, where
            node = rules.node(item, "read")
            (total,) = (await use.storage.aggregate("main", Aggregate(item, node))).groups
            assert total[1]["count", None] == len(live), where
            hits = await use.storage.search("main", Search(parse_search("common"), (Scope(item, node),), 100))
            assert {hit.image["id"] for hit in hits.hits} == live, where
            await self._along(use, rules, where, boxes, images, live)
        assert passed, "some rule lets something through"

    async def _along(
        self, use: Use, rules: RowRules, where: Any, boxes: list[Image], images: list[Image], live: set[str]
    ) -> None:
        """Compare what comes along with others, and what steps lead to."""
        children = Include("items", item, "id", "box_id", 100)
        found = await use.storage.find("main", within(Query(box, include=(children,)), rules))
        beside = {each["id"] for shown in found.included for each in shown["items"][0]}
        assert beside == live, where
        parent = Include("item", item, "item_id", "id")
        found = await use.storage.find("main", within(Query(sticker, include=(parent,)), rules))
        assert {each["item"]["id"] for each in found.included if each["item"]} <= live, where
        assert all(each["item"] is None for each, s in zip(found.included, found.records, strict=True)
                   if s["item_id"] not in live), where  # fmt: skip
        sight = registry.view(sticker, "item").within(rules)
        shown = await use.storage.find("main", within(Query(sticker, view=sight), rules))
        assert all((each["amount"] is None) or each["item_id"] in live for each in shown.records), where
        label = parse_where(sticker, {"label": {"$in": list(_VALUES["label"])}}, reach=registry, view=sight)
        by_view = await use.storage.find("main", within(Query(sticker, label), rules))
        assert {each["item_id"] for each in by_view.records} <= live, where

    async def test_a_write_needs_the_rule_before_and_after_it(self, use: Use) -> None:
        rng = Random(11)
        boxes, items = await filled(use, rng)
        seen = {"ok": 0, "access.denied": 0, "record.not_found": 0}
        for _ in range(RULES):
            read, write = drawn(rng), drawn(rng)
            rules = bound((item, Rows(("read",), read)), (item, Rows(("create", "update", "delete"), write)))
            for _ in range(WRITES // 4):
                old = await use.get(item, rng.choice(items)["id"], deleted=True)
                assert old is not None
                code = await self._one(use, rng, rules, (read, write), old, boxes)
                seen[code] += 1
        assert all(seen.values()), seen

    async def _one(
        self, use: Use, rng: Random, rules: RowRules, wheres: tuple[Any, Any], old: Image, boxes: list[Image]
    ) -> str:
        read, write = wheres
        gone = old["deleted_at"] is not None
        data = item.accept_change({k: v for k, v in some(rng).items() if rng.random() < 0.6 and k != "code"})
        kind = rng.choice(["update", "delete", "restore", "move", "create", "update_where", "revert"])
        after = {**old, **data}
        asked: Write
        if kind == "update":
            asked = Update(item, old["id"], data)
        elif kind == "delete":
            asked, after = Delete(item, old["id"]), old
        elif kind == "restore":
            asked, after = Restore(item, old["id"]), old
        elif kind == "move":
            target = rng.choice(boxes)["id"]
            asked, after = Move(item, old["id"], target), {**old, "box_id": target}
        elif kind == "revert":
            asked, after = Revert(item, old["id"], old["version"], ("label", "amount", "done")), old
        elif kind == "update_where":
            node = both(rules.node(item, "read"), equals(item, "id", old["id"]))
            asked = UpdateWhere(item, node, data, 10)
        else:
            asked = made = use.new(item, old["box_id"], **some(rng))
            after = {**made.data, "created_by": "me-myself"}
        before = (await use.storage.heads(["main"]))["main"].seq
        commit = Commit("main", (asked,), "me-myself", rules=rules)
        count, code = 0, "ok"
        try:
            done = await use.storage.submit(commit)
            count = done.results[0].image.get("count", 0)
        except HubError as refusal:
            assert (await use.storage.heads(["main"]))["main"].seq == before
            assert await use.get(item, old["id"], deleted=True) == old, "nothing is half done"
            code = refusal.code
        hidden = not passes(read, old) or (gone and kind != "restore")
        if kind == "update_where" and hidden:
            assert (code, count) == ("ok", 0)
            return "ok"
        expected = "ok"
        if kind == "create":
            expected = "ok" if passes(write, after) else "access.denied"
        elif hidden:
            expected = "record.not_found"
        elif not (passes(write, old) and passes(write, after)):
            expected = "access.denied"
        assert code == expected, (kind, wheres, old, after)
        return code

    async def test_what_a_rule_hides_cannot_be_pointed_at(self, use: Use) -> None:
        mine = await use.create(box, name="mine")
        theirs = await use.create(box, name="theirs")
        rules = bound((box, Rows(("read", "update", "delete"), {"name": {"$ref": "me.role"}})), me={
            "id": None, "role": "mine", "account": "main",
        })  # fmt: skip
        one = await use.create(item, mine["id"], label="one")
        pointing: tuple[tuple[Write, str], ...] = (
            (use.new(item, theirs["id"]), "parent.rec"),
            (use.new(item, mine["id"], other_id=theirs["id"]), "data.other_id"),
            (Update(item, one["id"], {"other_id": theirs["id"]}), "data.other_id"),
            (Move(item, one["id"], theirs["id"]), "parent.rec"),
            (Upsert(item, use.id(), {**item.accept_create({"code": "x"})}, {}, ("box_id", "code"), theirs["id"]),
             "parent.rec"),
            (Delete(box, theirs["id"], hard=True), "rec"),
            (Restore(box, theirs["id"]), "rec"),
        )  # fmt: skip
        for write, path in pointing:
            with pytest.raises(HubError) as refused:
                await use.storage.submit(Commit("main", (write,), rules=rules))
            assert (refused.value.code, refused.value.path) == ("record.not_found", path)
        taken = Upsert(box, use.id(), box.accept_create({"name": "theirs"}), {"note": "x"}, ("name",))
        with pytest.raises(HubError) as refused:
            await use.storage.submit(Commit("main", (taken,), rules=rules))
        assert refused.value.code == "record.exists", "as for a creation: that value cannot be had"
        assert "id" not in str(refused.value.details)

    async def test_a_rule_binds_every_item_of_a_batch_and_each_that_stands_alone(self, use: Use) -> None:
        mine, theirs = await use.create(box, name="mine"), await use.create(box, name="theirs")
        rules = bound((box, Rows(("update",), {"name": "mine"})))
        writes = (Update(box, mine["id"], {"note": "x"}), Update(box, theirs["id"], {"note": "x"}))
        with pytest.raises(HubError) as refused:
            await use.storage.submit(Commit("main", writes, rules=rules))
        assert (refused.value.code, refused.value.path) == ("access.denied", "ops.1.rec")
        assert await use.get(box, mine["id"]) == mine
        done = await use.storage.submit(Commit("main", writes, rules=rules, atomic=False, answer=lambda _: None))
        assert [each.refused["code"] if each.refused else None for each in done.results] == [None, "access.denied"]
        with pytest.raises(HubError) as refused:
            await use.storage.submit(Commit("main", (DeleteWhere(box, parse_where(box, {}), 10),), rules=bound(
                (box, Rows(("delete",), {"name": "mine"})))))  # fmt: skip
        assert refused.value.code == "access.denied"
        assert (await use.find(box, count=True)).total == 2

    async def test_an_earlier_version_that_was_hidden_cannot_be_brought_back(self, use: Use) -> None:
        made = await use.create(box, name="a", note="secret")
        await use.update(box, made["id"], note="open")
        rules = bound((box, Rows(("read",), {"note": "open"})))
        with pytest.raises(HubError) as refused:
            await use.storage.submit(Commit("main", (Revert(box, made["id"], 1, ("note",)),), rules=rules))
        assert (refused.value.code, refused.value.path) == ("data.invalid", "version")

    async def test_a_rule_that_asks_for_what_the_caller_has_not_lets_nothing_through(self, use: Use) -> None:
        await use.commit(use.new(box, name="a"), actor=None)
        for where in ({"created_by": {"$ref": "me.id"}}, {"$not": {"created_by": {"$ref": "me.id"}}}):
            rules = bound((box, Rows(("read",), where)), me={"id": None, "role": "viewer", "account": "main"})
            assert (await use.storage.find("main", within(Query(box), rules))).records == []
