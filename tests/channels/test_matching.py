"""The index of watches finds every watch that a change concerns, and asks no more of them than it must."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from channels.matching import FEW, Index, alternatives
from channels.watches import Watches, WatchQuery
from hub.schema.record import Image
from hub.schema.where import Node, matcher, parse_where
from hub.schema.writes import ChangeRow
from hub.wire.codec import JSON, MSGPACK, Codec
from tests.channels.scene import ACCOUNT, EVENT, Listener, Store, query
from tests.simulation.desk import REGISTRY
from tests.simulation.desk import RIGHTS as DESK_RIGHTS
from tests.simulation.filters import change_of, data_of, where_of

THING = REGISTRY.types["thing"]
IDS = {"thing": ["a", "b"], "shelf": ["s1", "s2"]}


def thing(rng: Random, version: int) -> Image:
    """Return a random image."""
    data = THING.accept_create(data_of(rng, THING, IDS, f"t{rng.randrange(3)}"))
    base = {"id": rng.choice("ab"), "type": "thing", "version": version, "shelf_id": rng.choice(IDS["shelf"])}
    at = "2026-11-21T09:00:00.000Z"
    times = {"created_at": at, "updated_at": at, "created_by": None, "updated_by": "me", "deleted_at": None}
    return {**data, **base, "account_id": "x", **times}


def change(rng: Random) -> ChangeRow:
    """Return a random change."""
    after, pick = thing(rng, 2), rng.random()
    if pick < 0.2:
        return ChangeRow(0, "thing", after["id"], "create", 2, after, None)
    if pick < 0.3:
        return ChangeRow(0, "thing", after["id"], "purge", 2, {}, rng.choice((None, {}, after)))
    data = THING.accept_change(change_of(rng, THING, IDS)) if pick < 0.7 else {"version": 1, **thing(rng, 1)}
    before = {name: value for name, value in data.items() if name in after and name != "id"}
    if pick > 0.9:
        (after if pick > 0.95 else before)["deleted_at"] = after["updated_at"]
    return ChangeRow(0, "thing", after["id"], "update", 2, after, before)


def test_every_watch_that_a_change_means_anything_to_is_found() -> None:
    rng, rights = Random("matching"), DESK_RIGHTS.of("owner")
    index: Index[WatchQuery] = Index(THING)
    held: list[WatchQuery] = []
    found = indexed = 0
    for step in range(1500):
        if len(held) < 60 or (step % 3 == 0 and rng.random() < 0.5):
            one = WatchQuery(ACCOUNT, THING, parse_where(THING, where_of(rng, THING, frozenset(), IDS)), None, rights)
            indexed += bool(alternatives(one.where))
            held.append(one)
            index.add(one)
        elif rng.random() < 0.3:
            index.remove(held.pop(rng.randrange(len(held))))
        row = change(rng)
        wanted = {one for one in held if one.event(row) is not None}
        concerned = index.concerned(row)
        assert len(concerned) == len(set(concerned))
        assert set(concerned) >= wanted
        if row.after:
            assert set(concerned) == wanted
        found += len(wanted)
    assert found > 5000
    assert indexed > 80
    for one in held:
        index.remove(one)
    assert (len(index), index._tables, index._rest) == (0, {}, {})


@pytest.mark.parametrize(
    ("where", "keys"),
    [
        ({"title": "a"}, [(("title", "a"),)]),
        ({"title": "a", "acronym": "b"}, [(("title", "a"),), (("acronym", "b"),)]),
        ({"title": {"$in": ["a", "b"]}}, [(("title", "a"), ("title", "b"))]),
        ({"title": {"$in": []}}, [()]),
        ({"$or": [{"title": "a"}, {"acronym": "b", "title": {"$gt": "x"}}]}, [(("title", "a"), ("acronym", "b"))]),
        ({"$or": [{"title": "a"}, {"acronym": {"$gt": "b"}}]}, []),
        ({"$not": {"title": "a"}}, []),
        ({"title": {"$ne": "a"}}, []),
        ({"title": {"$in": [str(n) for n in range(FEW + 1)]}}, []),
        ({"$or": [{"title": {"$in": [str(n) for n in range(FEW)]}}, {"title": "one more"}]}, []),
        (None, []),
    ],
)
def test_what_a_filter_is_found_by(where: dict[str, Any] | None, keys: list[Any]) -> None:
    assert alternatives(parse_where(EVENT, where)) == keys


class Counted:
    """A filter that counts how often it is asked."""

    def __init__(self, where: dict[str, Any]) -> None:
        self.where: Node = parse_where(EVENT, where)
        self.asked = 0

    def test(self, image: Any) -> bool:
        """Count."""
        self.asked += 1
        return False


async def asked(filters: list[Counted], *, by_value: bool = True) -> int:
    """Return how many filters a creation and an update ask."""
    store = await Store().start()
    rec = await store.create("7", timezone="UTC")
    await store.update(rec, title="8")
    index: Index[Counted] = Index(EVENT, by_value=by_value)
    for one in filters:
        index.add(one)
    for commit in await store.storage.changes(ACCOUNT, 0, 10):
        index.concerned(commit.rows[0])
    return sum(bool(one.asked) for one in filters)


async def test_how_many_filters_are_asked_does_not_grow_with_how_many_there_are() -> None:
    for n in (100, 10_000):
        assert await asked([Counted({"title": str(one)}) for one in range(n)]) == 2
    assert await asked([Counted({"title": str(one)}) for one in range(500)], by_value=False) == 500


async def test_a_filter_stands_where_the_fewest_do() -> None:
    both = [Counted({"timezone": "UTC", "title": str(one)}) for one in range(500)]
    assert await asked(both) <= 4, "all of one time zone, each of a title of its own"


# -- once, however many sockets ----------------------------------------------------------------------


async def test_equal_watches_are_matched_once_and_encoded_once_a_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    store = await Store().start()
    watches, matched, encoded = Watches(), [0], {JSON.subprotocol: 0, MSGPACK.subprotocol: 0}
    whole_matcher = matcher

    def counted(node: Node) -> Any:
        test = whole_matcher(node)

        def matches(image: Any) -> bool:
            matched[0] += 1
            return test(image)

        return matches

    def count(codec: Codec) -> None:
        whole = codec.encode

        def encode(message: Any) -> bytes:
            encoded[codec.subprotocol] += 1
            return whole(message)

        monkeypatch.setattr(codec, "encode", encode)

    monkeypatch.setattr("channels.watches.matcher", counted)
    count(JSON)
    count(MSGPACK)
    await store.create("on")
    (commit,) = await store.storage.changes(ACCOUNT, 0, 10)
    figures = []
    for sockets in (2, 200):
        matched[0] = 0
        encoded.update(dict.fromkeys(encoded, 0))
        listeners = [Listener(codec) for codec in (JSON, MSGPACK) for _ in range(sockets // 2)]
        for listener in listeners:
            watches.group(query({"timezone": {"$ne": "UTC"}, "title": "on"})).outlets[listener.outlet] = 1
        watches.tell(commit)
        figures.append((matched[0], dict(encoded)))
        assert {len(listener.outlet) for listener in listeners} == {1}
    assert figures[0] == figures[1]
    assert set(figures[0][1].values()) == {1}


async def test_rows_of_a_batch_reach_only_the_watches_that_they_concern() -> None:
    store = await Store().start()
    recs = [await store.create(str(n)) for n in range(3)]
    watches, listener = Watches(), Listener()
    for n in range(3):
        watches.group(query({"title": str(n)})).outlets[listener.outlet] = 1
    commits = await store.storage.changes(ACCOUNT, 0, 10)
    together = commits[0].__class__(ACCOUNT, 9, commits[0].at, None, None, None, tuple(c.rows[0] for c in commits))
    watches.tell(together)
    assert [[event["rec"] for event in push["events"]] for push in listener.heard()] == [[rec] for rec in recs]
