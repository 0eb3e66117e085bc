"""The promise of `storage.base.Storage` as tests: aggregates. Part of `StorageContract`."""

from __future__ import annotations

import math
from typing import Any

import pytest

from hub.schema.record import Image
from hub.schema.totals import Aggregate, Part, parse_aggregate, totals_of
from hub.schema.where import matcher, parse_where
from hub.wire.errors import HubError
from storage.base import Totals
from tests.storage.contract_reads import VALUES
from tests.storage.declared import Use, box, item, registry

BIG = 2**53 - 1
EVERY: dict[str, Any] = {
    "n": "count",
    **{f"{function}_{field}": {function: field} for function in ("sum", "avg") for field in ("amount", "weight")},
    **{
        f"{function}_{field}": {function: field}
        for function in ("min", "max")
        for field in ("amount", "weight", "label", "code", "at", "day", "created_at", "version")
    },
    **{f"count_{field}": {"count": field} for field in ("about", "fragile", "other_id", "words", "extra", "id")},
}
"""Every function of every kind of field, a few at a time."""


def parts_of(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Return values in portions that one aggregate takes."""
    items = list(values.items())
    return [dict(items[n : n + 20]) for n in range(0, len(items), 20)]


def same(found: Any, expected: Any) -> bool:
    """Say whether two parts are the same: exactly, but for the last digits of added numbers with a fraction."""
    if isinstance(found, float) and isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-300) or found == expected
    return type(found) is type(expected) and bool(found == expected)


def alike(found: list[tuple[Any, dict[Part, Any]]], expected: list[tuple[Any, dict[Part, Any]]]) -> bool:
    """Say whether groups are the same, in the same order."""
    return len(found) == len(expected) and all(
        type(a) is type(b) and a == b and mine.keys() == theirs.keys() and all(same(mine[p], theirs[p]) for p in mine)
        for (a, mine), (b, theirs) in zip(found, expected, strict=True)
    )


class TotalsContract:
    """What every keeper counts and adds up."""

    async def total(
        self, use: Use, values: dict[str, Any], group: str | None = None, where: dict[str, Any] | None = None,
        kind: Any = item, account: str = "main", limit: int = 1000,
    ) -> tuple[Aggregate, Totals]:  # fmt: skip
        """Return an aggregate and its answer."""
        node = parse_where(kind, where, reach=registry)
        asked = parse_aggregate(kind, node, group, values, frozenset(), limit)
        return asked, await use.storage.aggregate(account, asked)

    async def stocked(self, use: Use) -> list[Image]:
        """Return the images of items with every kind of value; one is a tombstone and counts nowhere."""
        one, two = await use.create(box, name="one"), await use.create(box, name="two")
        creations = [
            use.new(item, one["id"], **v, other_id=(None, one["id"], two["id"])[n % 3])
            for n, v in enumerate(VALUES * 2)
        ]
        images = [r.image for r in (await use.commit(*creations)).results]
        gone = await use.create(item, one["id"], label="gone", amount=7, weight=7.0)
        await use.delete(item, gone["id"])
        return images

    async def test_the_parts_of_every_group_are_those_of_its_records(self, use: Use) -> None:
        images = await self.stocked(use)
        wheres: list[dict[str, Any]] = [
            {}, {"amount": {"$gt": 0}}, {"label": "nothing"}, {"parent": {"name": "one"}}, {"other": {"name": "two"}},
        ]  # fmt: skip
        boxes = {i["id"]: i for i in (await use.find(box)).records}

        def others(kind: Any, wire: str, value: str) -> list[Image]:
            return [boxes[value]]

        for where in wheres:
            matches = matcher(parse_where(item, where, reach=registry), others)
            matching = [image for image in images if matches(image)]
            for group in (None, "fragile", "done", "label", "day", "at", "other_id", "box_id", "amount", "weight",
                          "created_by", "id", "version"):  # fmt: skip
                for values in parts_of(EVERY):
                    asked, found = await self.total(use, values, group, where)
                    expected, more = totals_of(matching, asked)
                    assert alike(found.groups, expected), (where, group, values)
                    assert (found.more, found.seq) == (more, await use.seq())

    async def test_of_nothing_there_is_a_count_and_a_sum(self, use: Use) -> None:
        values = {
            "n": "count", "k": {"count": "amount"}, "s": {"sum": "amount"}, "f": {"sum": "weight"},
            "a": {"avg": "amount"}, "b": {"avg": "weight"}, "m": {"min": "at"}, "x": {"max": "label"},
        }  # fmt: skip
        nothing = {"n": 0, "k": 0, "s": 0, "f": 0.0, "a": None, "b": None, "m": None, "x": None}
        asked, found = await self.total(use, values, account="nobody")
        assert ([asked.row(parts) for _, parts in found.groups], found.seq) == ([nothing], 0)
        assert (await self.total(use, values, "label", account="nobody"))[1].groups == []
        parent = await use.create(box, name="a")
        asked, found = await self.total(use, values)
        assert [asked.row(parts) for _, parts in found.groups] == [nothing]
        assert (await self.total(use, values, "label"))[1].groups == []
        await use.commit(*(use.new(item, parent["id"], label="") for _ in range(3)))
        asked, found = await self.total(use, values)
        assert [asked.row(parts) for _, parts in found.groups] == [{**nothing, "n": 3, "x": ""}]
        asked, found = await self.total(use, values, "amount")
        assert [(v, asked.row(parts)) for v, parts in found.groups] == [(None, {**nothing, "n": 3, "x": ""})]

    async def test_integers_add_up_exactly_and_what_is_beyond_the_wire_is_refused(self, use: Use) -> None:
        parent = (await use.create(box, name="a"))["id"]
        amounts = [BIG] * 1100 + [-BIG] * 1100 + [BIG - 1, -1, -3]
        await use.commit(*(use.new(item, parent, label="x" if n % 2 else "y", amount=a) for n, a in enumerate(amounts)))
        values = {"s": {"sum": "amount"}, "a": {"avg": "amount"}}
        asked, found = await self.total(use, values)
        assert [asked.row(parts) for _, parts in found.groups] == [{"s": BIG - 5, "a": (BIG - 5) / len(amounts)}]
        asked, found = await self.total(use, values, where={"amount": {"$gt": 0}})
        assert found.groups[0][1][("sum", "amount")] == BIG * 1101 - 1 > 2**63
        with pytest.raises(HubError) as refused:
            asked.row(found.groups[0][1])
        assert (refused.value.code, refused.value.path) == ("data.invalid", "values.s")
        asked, found = await self.total(use, {"a": {"avg": "amount"}}, where={"amount": {"$lt": -3}})
        assert [asked.row(parts) for _, parts in found.groups] == [{"a": float(-BIG)}]

    @pytest.mark.parametrize("weights", [[1e308, 1e308], [-1e308, -1e308, -1e308], [1.7e308] * 50])
    async def test_numbers_that_add_up_to_more_than_a_number_holds_are_refused(
        self, use: Use, weights: list[float]
    ) -> None:
        parent = (await use.create(box, name="a"))["id"]
        await use.commit(*(use.new(item, parent, weight=w) for w in weights))
        for values in ({"v": {"sum": "weight"}}, {"v": {"avg": "weight"}}):
            asked, found = await self.total(use, values)
            with pytest.raises(HubError, match=r"data\.invalid at values\.v"):
                asked.row(found.groups[0][1])
        asked, found = await self.total(use, {"v": {"max": "weight"}})
        assert asked.row(found.groups[0][1]) == {"v": max(weights)}

    async def test_there_are_as_many_groups_as_were_asked_for(self, use: Use) -> None:
        await use.commit(*(use.new(box, name=f"{n % 7:03}-{n}", note=None) for n in range(21)))
        values = {"n": "count"}
        for limit, more in ((1, True), (20, True), (21, False), (22, False)):
            _, found = await self.total(use, values, "name", kind=box, limit=limit)
            names = [value for value, _ in found.groups]
            assert (len(names), names, found.more) == (min(limit, 21), sorted(names), more)

    async def test_the_groups_of_an_account_are_its_own(self, use: Use) -> None:
        await use.create(box, name="a")
        await use.create(box, account="other", name="b")
        _, found = await self.total(use, {"n": "count"}, "name", kind=box)
        assert found.groups == [("a", {("count", None): 1})]
        _, found = await self.total(use, {"n": "count"}, kind=box, account="other")
        assert found.groups == [(None, {("count", None): 1})]
