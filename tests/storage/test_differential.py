"""SQLite, MariaDB and memory give the same answer: orders, pages, views and aggregates over random values.

One database serves all examples; each example writes into an account of its own. AETHER_PROOF multiplies
the number of examples. Filters alone are compared in `test_differential_cases`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.schema.query import Query, is_after, key_values, parse_order, sort_images
from hub.schema.record import Image
from hub.schema.totals import FUNCTIONS, parse_aggregate, totals_of
from hub.schema.where import (
    FILTERS,
    IN_VALUES,
    TERMS,
    All,
    Compare,
    Node,
    Not,
    matcher,
    parse_where,
)
from storage.base import Storage
from storage.mariadb.keeper import MariadbStorage
from storage.sql.sqlite import SqliteStorage
from tests.storage.declared import item, registry, sticker, ticking
from tests.storage.drawn import SORTABLE, World, filters, orders, rows, terms_on, with_ids
from tests.storage.mariadb_server import MariadbServer

SCALE = int(os.environ.get("AETHER_PROOF", "1"))


@pytest.fixture(scope="module", params=["sqlite", "mariadb"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return one database for all examples."""
    storage: Storage
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("differential") / "hub.sqlite"
        storage = SqliteStorage(registry, path, ticking(), durability="normal")
    else:
        server: MariadbServer = request.getfixturevalue("mariadb")
        storage = MariadbStorage(registry, server.url(server.new_database()), ticking(), durability="normal")
    world = World(storage)
    yield world
    world.close()


_SETTINGS = settings(
    max_examples=25 * SCALE, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@_SETTINGS
@given(given_rows=rows(), given_orders=st.lists(orders(), min_size=2, max_size=6), size=st.integers(1, 4))
def test_an_order_and_its_pages_are_the_same_in_sql_and_in_memory(
    world: World, given_rows: list[dict[str, Any]], given_orders: list[list[str]], size: int
) -> None:
    async def run() -> None:
        account, _, images = await world.fill(given_rows)
        for order in given_orders:
            keys = parse_order(item, order)
            expected = sort_images(images, keys)
            whole = await world.use.storage.find(account, Query(item, order=keys, deleted=True))
            assert whole.records == expected, order
            paged: list[Image] = []
            after = None
            while len(paged) < len(expected):
                found = await world.use.storage.find(
                    account, Query(item, order=keys, deleted=True, limit=size, after=after)
                )
                after = key_values(found.records[-1], keys)
                paged += found.records
                assert found.more == (len(paged) < len(expected))
                assert [i for i in expected if is_after(i, keys, after)] == expected[len(paged) :]
            assert paged == expected, order

    world.runner.run(run())


SEEN = registry.view(sticker, "item").fields


@st.composite
def seen_terms(draw: st.DrawFn) -> dict[str, Any]:
    """Return one condition on a joined field of a sticker."""
    name = draw(st.sampled_from(sorted(set(SEEN) - {"box_name", "other_note"})))
    (condition,) = draw(terms_on(name)).values()
    return {name: condition}


def renamed(node: Node, name: str) -> Node:
    """Return what a term on a joined field means of an image that has the field itself."""
    match node:
        case Compare():
            return Compare(name, node.kind, node.op, node.value)
        case All():
            return All(tuple(renamed(inner, name) for inner in node.nodes))
    raise TypeError(node)


@_SETTINGS
@given(
    given_rows=rows(),
    wheres=st.lists(seen_terms(), min_size=4, max_size=12),
    given_order=st.lists(st.sampled_from(sorted(n for n, f in SEEN.items() if f.sortable)), max_size=2, unique=True),
    down=st.booleans(),
    size=st.integers(1, 4),
)
def test_a_joined_field_means_what_a_field_of_the_record_itself_would(
    world: World, given_rows: list[dict[str, Any]], wheres: list[dict[str, Any]], given_order: list[str], down: bool,
    size: int,
) -> None:  # fmt: skip
    view = registry.view(sticker, "item")

    async def run() -> None:
        account, ids, images = await world.fill(given_rows)
        for image in images[::2]:
            if image["deleted_at"] is None:
                await world.use.create(sticker, image["id"], account=account, text="more")
        every = (await world.use.find(sticker, account=account, view="item")).records
        by_id = {image["id"]: image for image in images}
        for one in every:
            for name, field in SEEN.items():
                if name not in {"box_name", "other_note"}:
                    assert one[name] == by_id[one["item_id"]][field.field], name
        for where in wheres:
            ((name, _),) = where.items()
            given_where = with_ids(where, ids, images)
            node = parse_where(sticker, given_where, reach=registry, view=view)
            own = parse_where(item, {SEEN[name].field: given_where[name]})
            matches = matcher(renamed(own, name))
            for negated in (False, True):
                query = Query(sticker, Not(node) if negated else node, view=view)
                found = await world.use.storage.find(account, query)
                assert [i["id"] for i in found.records] == [i["id"] for i in every if matches(i) != negated], where
        order = parse_order(sticker, [f"-{name}" if down else name for name in given_order], view=view)
        expected = [i["id"] for i in sort_images(every, order)]
        paged: list[str] = []
        after = None
        while len(paged) < len(expected):
            found = await world.use.storage.find(
                account, Query(sticker, order=order, limit=size, after=after, view=view)
            )
            paged += [i["id"] for i in found.records]
            after = key_values(found.records[-1], order)
        assert paged == expected, given_order

    world.runner.run(run())


@st.composite
def given_values(draw: st.DrawFn) -> dict[str, Any]:
    """Return the values of an aggregate over items."""
    kinds = item.kinds
    fields = sorted({*SORTABLE, "words", "about", "weight"})
    pairs = [
        (function, field)
        for function, takes in FUNCTIONS.items()
        for field in fields
        if takes is None or (kinds[field] in takes and (kinds[field] != "text" or field in item.sortable))
    ]
    chosen = draw(st.lists(st.sampled_from(pairs), max_size=6))
    return {"n": "count", **{f"v{n}": {function: field} for n, (function, field) in enumerate(chosen)}}


@_SETTINGS
@given(
    given_rows=rows(),
    asked=st.lists(
        st.tuples(filters, st.none() | st.sampled_from([*SORTABLE, "box_id"]), given_values(), st.integers(1, 8)),
        min_size=2,
        max_size=6,
    ),
)
def test_an_aggregate_is_the_same_in_sql_and_in_memory(
    world: World, given_rows: list[dict[str, Any]], asked: list[tuple[Any, str | None, dict[str, Any], int]]
) -> None:
    # Of numbers that are too far apart the order decides what is left of their sum.
    for row in given_rows:
        if abs(row.get("weight") or 0.0) > 1e200:
            row["weight"] = 1.0

    async def run() -> None:
        account, ids, images = await world.fill(given_rows)
        others = await world.others(account)
        size = math.fsum(abs(image["weight"] or 0.0) for image in images)
        for where, group, values, limit in asked:
            node = parse_where(item, with_ids(where, ids, images), reach=registry)
            aggregate = parse_aggregate(item, node, group, values, frozenset(), limit)
            matches = matcher(node, others)
            expected, more = totals_of([i for i in images if i["deleted_at"] is None and matches(i)], aggregate)
            found = await world.use.storage.aggregate(account, aggregate)
            assert found.more == more
            assert [value for value, _ in found.groups] == [value for value, _ in expected], (where, group)
            for (_, mine), (_, theirs) in zip(found.groups, expected, strict=True):
                for part, value in theirs.items():
                    if part[0] == "sum" and isinstance(value, float):
                        assert math.isclose(mine[part], value, rel_tol=1e-9, abs_tol=size * 1e-12), part
                    else:
                        assert (type(mine[part]), mine[part]) == (type(value), value), part

    world.runner.run(run())


@_SETTINGS
@given(given_rows=rows())
def test_every_value_comes_back_as_the_same_value_from_rows_and_log(
    world: World, given_rows: list[dict[str, Any]]
) -> None:
    async def run() -> None:
        account, _, images = await world.fill(given_rows)
        log = await world.use.log(account)
        assert {r.rec: r.after for s in log for r in s.rows if r.type == "item"} == {i["id"]: i for i in images}
        told = [s for s in world.use.told if s.account == account]
        assert [repr(s) for s in told] == [repr(s) for s in log]

    world.runner.run(run())


@pytest.mark.parametrize(
    "where",
    [
        {"$and": [{"label": {"$contains": f"{n}"}} for n in range(TERMS)]},
        {"$or": [{"$not": {"words": {"$has": f"{n}"}}} for n in range(TERMS)]},
        {"$or": [{}] * (FILTERS - 1)},
        {"$not": {"$and": [{"$or": [{}] * (FILTERS - 3)}]}},
        {"$or": [{"weight": {"$in": [n + k / 7 for n in range(IN_VALUES)]}} for k in range(TERMS // 10)]},
        {"$or": [{"other_id": {"$nin": [f"{n}-{k}" for n in range(IN_VALUES)]}} for k in range(TERMS // 10)]},
    ],
    ids=["and", "or", "empty", "empty-not", "numbers", "references"],
)
def test_the_largest_filters_are_answered(world: World, where: dict[str, Any]) -> None:
    async def run() -> None:
        account, _, images = await world.fill([{"label": "0", "words": ["1"], "weight": 1 / 7}, {}])
        node = parse_where(item, where)
        found = await world.use.storage.find(account, Query(item, node))
        assert found.records == sorted(filter(matcher(node), images), key=lambda i: str(i["id"]))

    world.runner.run(run())
