"""What `where`, `order` and cursors refuse, with the path of the term at fault; and what they take."""

from __future__ import annotations

from typing import Any

import pytest

from hub.access import Reach, RightsTable
from hub.schema.query import Query, make_cursor, parse_order, read_cursor
from hub.schema.record import RecordType
from hub.schema.registry import Registry
from hub.schema.where import DEPTH, FILTERS, IN_VALUES, TERMS, has_steps, matcher, parse_where
from hub.wire.errors import HubError

REGISTRY = Registry.of(["hub.schema.core", "packs.events"])
SESSION = REGISTRY.types["event_session"]
LOCATION = REGISTRY.types["event_location"]
KEY = REGISTRY.types["api_key"]
SECRET = b"s" * 32


def nested(levels: int) -> dict[str, Any]:
    """Return a filter of so many levels."""
    return {"title": "a"} if levels == 1 else {"$not": nested(levels - 1)}


@pytest.mark.parametrize(
    ("where", "path"),
    [
        ({"nope": 1}, "where.nope"),
        ({"type": "event_session"}, "where.type"),
        ({"account_id": "x"}, "where.account_id"),
        ({"title.x": 1}, "where.title.x"),
        ({"$nor": [{}]}, "where.$nor"),
        ({"$where": "1"}, "where.$where"),
        ({"title": {"$regex": "a"}}, "where.title.$regex"),
        ({"title": {"$like": "a%"}}, "where.title.$like"),
        ({"title": {"eq": "a"}}, "where.title.eq"),
        ({"title": {}}, "where.title"),
        ({"title": 5}, "where.title"),
        ({"title": ["a"]}, "where.title"),
        ({"title": {"$contains": None}}, "where.title.$contains"),
        ({"title": {"$gt": None}}, "where.title.$gt"),
        ({"title": {"$null": 1}}, "where.title.$null"),
        ({"title": {"$in": "a"}}, "where.title.$in"),
        ({"title": {"$in": ["a", 5]}}, "where.title.$in.1"),
        ({"title": {"$in": ["a"] * (IN_VALUES + 1)}}, "where.title.$in"),
        ({"guid": {"$icontains": "a"}}, "where.guid.$icontains"),
        ({"do_not_record": 1}, "where.do_not_record"),
        ({"do_not_record": {"$gt": False}}, "where.do_not_record.$gt"),
        ({"version": True}, "where.version"),
        ({"version": 1.5}, "where.version"),
        ({"version": {"$gt": 1e300}}, "where.version.$gt"),
        ({"version": {"$in": [1, 2.0**53]}}, "where.version.$in.1"),
        ({"starts_at": "2026"}, "where.starts_at"),
        ({"starts_at": "2026-11-21T08:00:00"}, "where.starts_at"),
        ({"starts_at": {"$lt": "0001-01-01T00:00:00+23:59"}}, "where.starts_at.$lt"),
        ({"starts_at": 1700000000}, "where.starts_at"),
        ({"location_id": {"$gt": "a"}}, "where.location_id.$gt"),
        ({"tags": "a"}, "where.tags"),
        ({"tags": {"$has": 1}}, "where.tags.$has"),
        ({"title": {"$between": ["a"]}}, "where.title.$between"),
        ({"title": {"$between": "ab"}}, "where.title.$between"),
        ({"title": {"$between": ["a", None]}}, "where.title.$between.1"),
        ({"do_not_record": {"$between": [False, True]}}, "where.do_not_record.$between"),
        ({"guid": {"$iends": "a"}}, "where.guid.$iends"),
        ({"version": {"$ends": "1"}}, "where.version.$ends"),
        ({"tags": {"$hasAny": "a"}}, "where.tags.$hasAny"),
        ({"tags": {"$hasAll": ["a", 1]}}, "where.tags.$hasAll.1"),
        ({"title": {"$hasAny": ["a"]}}, "where.title.$hasAny"),
        ({"tags": {"$hasAny": [str(n) for n in range(TERMS + 1)]}}, "where.tags.$hasAny"),
        ({"$and": [{"version": {"$between": [1, 2]}}] * (TERMS // 2 + 1)}, f"where.$and.{TERMS // 2}.version.$between"),
        ({"parent": {"nope": 1}}, "where.parent.nope"),
        ({"parent": {"title": {"$gt": None}}}, "where.parent.title.$gt"),
        ({"parent": "x"}, "where.parent"),
        ({"parent": None}, "where.parent"),
        ({"parent": {"parent": {}}}, "where.parent.parent"),
        ({"location": {"title": "x"}}, "where.location.title"),
        ({"location": "x"}, "where.location"),
        ({"location": [{"name": "x"}]}, "where.location"),
        ({"starts_at": {"name": "x"}}, "where.starts_at.name"),
        ({"children": {"$some": {}}}, "where.children"),
        ({"parent": {"children": {}}}, "where.parent.children"),
        ({"parent": {"children": {"$every": {}}}}, "where.parent.children"),
        ({"parent": {"children": {"$some": {}}}}, "where.parent.children"),
        ({"parent": {"children": {"type": "event", "$some": {}}}}, "where.parent.children.type"),
        ({"parent": {"children": {"type": ["event_track"], "$some": {}}}}, "where.parent.children.type"),
        ({"parent": {"children": {"type": "event_track", "$some": {"x": 1}}}}, "where.parent.children.$some.x"),
        ({"$and": [{"parent": {}}] * (TERMS + 1)}, f"where.$and.{TERMS}.parent"),
        (
            {"parent": {"children": {"type": "event_track", "$some": {"$or": [{"name": "a"}] * TERMS}}}},
            f"where.parent.children.$some.$or.{TERMS - 2}.name",
        ),
        (
            {"$not": {"$not": {"$not": {"parent": {"$not": {"title": "x"}}}}}},
            "where.$not.$not.$not.parent.$not",
        ),
        ({"$or": []}, "where.$or"),
        ({"$or": {"title": "a"}}, "where.$or"),
        ({"$or": [{"title": "a"}, 5]}, "where.$or.1"),
        ({"$or": [{"title": "a"}, {"$and": [{"nope": 1}]}]}, "where.$or.1.$and.0.nope"),
        ({"$not": []}, "where.$not"),
        ({"$or": [{}] * (FILTERS + 1)}, f"where.$or.{FILTERS - 1}"),
        ({"$or": [{"title": "a"}] * (TERMS + 1)}, f"where.$or.{TERMS}.title"),
        (nested(DEPTH + 1), "where" + ".$not" * DEPTH),
        ({"x" * 1000: 1}, "where." + "x" * 64),
    ],
)
def test_a_filter_that_cannot_work_is_refused_with_its_path(where: dict[str, Any], path: str) -> None:
    with pytest.raises(HubError) as refused:
        parse_where(SESSION, where, reach=REGISTRY)
    assert (refused.value.code, refused.value.path) == ("where.invalid", path)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"$or": [{"title": "a"}] * TERMS},
        {"title": {"$in": [str(n) for n in range(IN_VALUES)]}},
        {"title": {"$in": []}},
        nested(DEPTH),
        {"tags": {"$hasAny": [str(n) for n in range(TERMS)]}},
        {"tags": {"$hasAll": ["a"] * IN_VALUES}},
        {"$and": [{"title": {"$between": ["a", "b"]}}] * (TERMS // 2)},
        {"title": None, "version": 2.0, "starts_at": "2026-11-21T08:00:00.000000+01:00", "event_id": "x"},
    ],
)
def test_a_filter_at_its_limits_is_taken(where: dict[str, Any]) -> None:
    assert callable(matcher(parse_where(SESSION, where)))


def test_a_filter_that_reaches_nowhere_takes_no_steps() -> None:
    wheres: list[dict[str, Any]] = [{"parent": {}}, {"location": {}}]
    for where in wheres:
        with pytest.raises(HubError, match=r"where\.invalid"):
            parse_where(SESSION, where)
    with pytest.raises(TypeError):
        matcher(parse_where(SESSION, {"parent": {}}, reach=REGISTRY))


def test_a_step_goes_only_to_types_that_may_be_read_and_sees_only_their_fields() -> None:
    rights = RightsTable(REGISTRY)
    bookkeeping: dict[str, Any] = {"parent": {"children": {"type": "event_import", "$some": {"key": "x"}}}}
    assert has_steps(parse_where(SESSION, bookkeeping, reach=Reach(rights.of("editor"), "main")))
    with pytest.raises(HubError) as refused:
        parse_where(SESSION, bookkeeping, reach=Reach(rights.of("viewer"), "main"))
    assert (refused.value.code, refused.value.path) == ("access.denied", "where.parent.children.$some")
    member = REGISTRY.types["membership"]
    with pytest.raises(HubError) as refused:
        parse_where(member, {"user": {"name": "x"}}, reach=Reach(rights.of("owner"), "main"))
    assert (refused.value.code, refused.value.path) == ("access.denied", "where.user")
    with pytest.raises(HubError) as refused:
        parse_where(SESSION, {"location": {"name": "x"}}, reach=_Hiding())
    assert (refused.value.code, refused.value.path) == ("where.invalid", "where.location.name")
    # Outside the step, the field of that name is the own one.
    assert has_steps(parse_where(SESSION, {"location": {}, "title": "x"}, frozenset({"name"}), reach=_Hiding()))


class _Hiding(Registry):
    def hidden(self, kind: RecordType) -> frozenset[str]:
        return frozenset({"name", "title"})


def test_a_watched_filter_takes_no_steps() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"parent": {}}, "where.parent"),
        ({"$or": [{"title": "x"}, {"location": {"nope": 1}}]}, "where.$or.1.location"),
        ({"$not": {"children": 5}}, "where.$not.children"),
    ]
    for where, path in cases:
        with pytest.raises(HubError) as refused:
            parse_where(SESSION, where, reach=REGISTRY, watched=True)
        assert (refused.value.code, refused.value.path) == ("where.not_watchable", path)


def test_a_field_that_is_hidden_from_the_caller_is_an_unknown_field() -> None:
    for parse in (
        lambda: parse_where(SESSION, {"title": "a"}, frozenset({"title"})),
        lambda: parse_where(SESSION, {"titel": "a"}),
        lambda: parse_order(SESSION, ["title"], frozenset({"title"})),
        lambda: parse_where(SESSION, {"location": {"name": "a"}}, frozenset({"location_id"}), reach=REGISTRY),
    ):
        with pytest.raises(HubError) as refused:
            parse()
        assert refused.value.code in {"where.invalid", "order.invalid"}


def test_a_secret_field_can_be_neither_filtered_nor_sorted_by() -> None:
    with pytest.raises(HubError, match=r"where\.invalid"):
        parse_where(KEY, {"digest": "0"})
    with pytest.raises(HubError, match=r"order\.invalid"):
        parse_order(KEY, ["digest"])


@pytest.mark.parametrize(
    ("order", "path"),
    [
        (["nope"], "order.0"),
        (["title", "-nope"], "order.1"),
        (["title", "-title"], "order.1"),
        (["--title"], "order.0"),
        (["+title"], "order.0"),
        ([""], "order.0"),
        (["abstract"], "order.0"),
        (["tags"], "order.0"),
        (["type"], "order.0"),
        (["title "], "order.0"),
    ],
)
def test_a_sort_key_that_cannot_work_is_refused_with_its_path(order: list[str], path: str) -> None:
    with pytest.raises(HubError) as refused:
        parse_order(SESSION, order)
    assert (refused.value.code, refused.value.path) == ("order.invalid", path)


def test_every_order_ends_in_the_id() -> None:
    assert [k.field for k in parse_order(SESSION, ["-starts_at", "title"])] == ["starts_at", "title", "id"]
    assert [(k.field, k.descending) for k in parse_order(SESSION, ["-id"])] == [("id", True)]


def test_a_cursor_goes_on_only_in_its_own_query() -> None:
    query = Query(SESSION, parse_where(SESSION, {"title": "a"}), parse_order(SESSION, ["title"]), 10)
    cursor = make_cursor(query, ("a", "id"), SECRET)
    assert read_cursor(query, cursor, SECRET) == ("a", "id")
    others = [
        Query(SESSION, parse_where(SESSION, {"title": "b"}), query.order, 10),
        Query(SESSION, query.where, parse_order(SESSION, ["-title"]), 10),
        Query(SESSION, query.where, query.order, 10, deleted=True),
        Query(LOCATION, parse_where(LOCATION, {"name": "a"}), parse_order(LOCATION, ["name"]), 10),
    ]
    for other in others:
        with pytest.raises(HubError, match=r"cursor\.invalid"):
            read_cursor(other, cursor, SECRET)
    assert read_cursor(Query(SESSION, query.where, query.order, 500, count=True), cursor, SECRET) == ("a", "id")


@pytest.mark.parametrize("forged", ["", "a", "====", "é", "A" * 4000, "AAAAAAAAAAAAAAAAkQE", "../../etc", "null"])
def test_a_forged_cursor_is_refused(forged: str) -> None:
    query = Query(SESSION, order=parse_order(SESSION, None))
    with pytest.raises(HubError) as refused:
        read_cursor(query, forged, SECRET)
    assert (refused.value.code, refused.value.path) == ("cursor.invalid", "after")


def test_a_cursor_of_another_hub_is_refused() -> None:
    query = Query(SESSION, order=parse_order(SESSION, None))
    with pytest.raises(HubError, match=r"cursor\.invalid"):
        read_cursor(query, make_cursor(query, ("a",), b"t" * 32), SECRET)
