"""record.find: filters, orders, pages and cursors, counts, fields, tombstones; and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.talk import Client
from tests.wire.tenant import Tenant

ROOMS = [("Aula", 3), ("Bühne", 1), ("Café", 2), ("Dach", 1), ("aula", 0), ("Ödland", -5), ("Zelt 😀", 9)]


@pytest.fixture
async def event(editor: Client) -> str:
    """An event with seven rooms."""
    rec = str((await editor.create("event", title="A", acronym="a"))["id"])
    ops = [
        {"op": "record.create", "type": "event_location", "parent": {"type": "event", "rec": rec}, "data": data}
        for data in ({"name": name, "sort": sort} for name, sort in ROOMS)
    ]
    await editor.ok("record.batch", ops=ops)
    return rec


async def names(editor: Client, **fields: Any) -> list[str]:
    found = await editor.ok("record.find", type="event_location", **fields)
    return [record["name"] for record in found["records"]]


async def test_find_answers_records_and_how_far_they_go(editor: Client, event: str) -> None:
    message = await editor.call("record.find", type="event_location", order=["name"])
    assert set(message) == {"op", "id", "seq", "data"}
    assert set(message["data"]) == {"records", "seq"}
    assert message["seq"] == message["data"]["seq"] == (await editor.ok("session.beat"))["seq"]
    assert [r["name"] for r in message["data"]["records"]] == sorted(name for name, _ in ROOMS)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"sort": 1}, {"Bühne", "Dach"}),
        ({"sort": {"$gte": 2}}, {"Aula", "Café", "Zelt 😀"}),
        ({"sort": {"$gt": 2, "$lt": 9}}, {"Aula"}),
        ({"sort": {"$in": [0, 9, 77]}}, {"aula", "Zelt 😀"}),
        ({"sort": {"$nin": [1, 2, 3]}}, {"aula", "Ödland", "Zelt 😀"}),
        ({"sort": {"$ne": 1}, "name": {"$contains": "ul"}}, {"Aula", "aula"}),
        ({"name": "Aula"}, {"Aula"}),
        ({"name": {"$starts": "a"}}, {"aula"}),
        ({"name": {"$istarts": "A"}}, {"Aula", "aula"}),
        ({"name": {"$icontains": "ÖDL"}}, {"Ödland"}),
        ({"name": {"$contains": "%"}}, set()),
        ({"$or": [{"name": "Café"}, {"sort": -5}]}, {"Café", "Ödland"}),
        ({"$not": {"sort": {"$gt": -5}}}, {"Ödland"}),
        ({"$and": [{"sort": 1}, {"name": "Dach"}]}, {"Dach"}),
        ({"name": {"$null": True}}, set()),
        ({}, {name for name, _ in ROOMS}),
    ],
)
async def test_a_filter_finds_what_it_says(
    editor: Client, event: str, where: dict[str, Any], expected: set[str]
) -> None:
    assert set(await names(editor, where=where)) == expected


async def test_records_come_in_the_order_that_was_asked_for(editor: Client, event: str) -> None:
    by_sort = await names(editor, order=["-sort", "name"])
    assert by_sort == [n for n, _ in sorted(sorted(ROOMS), key=lambda room: -room[1])]
    by_id = (await editor.ok("record.find", type="event_location"))["records"]
    assert [r["id"] for r in by_id] == sorted(r["id"] for r in by_id)


async def test_pages_follow_each_other_without_gap_and_without_overlap(editor: Client, event: str) -> None:
    seen: list[str] = []
    after: dict[str, Any] = {}
    pages = 0
    while True:
        found = await editor.ok("record.find", type="event_location", order=["-sort"], limit=2, count=True, **after)
        seen += [r["name"] for r in found["records"]]
        pages += 1
        assert found["total"] == len(ROOMS)
        if "next" not in found:
            break
        assert len(found["records"]) == 2
        after = {"after": found["next"]}
    assert (pages, sorted(seen)) == (4, sorted(name for name, _ in ROOMS))
    assert seen == await names(editor, order=["-sort"])


async def test_a_page_goes_on_behind_its_place_whatever_was_written_meanwhile(editor: Client, event: str) -> None:
    first = await editor.ok("record.find", type="event_location", order=["name"], limit=3)
    await editor.create("event_location", event, name="AAA")
    await editor.ok("record.delete", type="event_location", rec=first["records"][2]["id"])
    rest = await names(editor, order=["name"], after=first["next"])
    assert [r["name"] for r in first["records"]] + rest == sorted(name for name, _ in ROOMS)


async def test_without_a_limit_a_page_has_fifty(editor: Client, event: str) -> None:
    ops = [
        {
            "op": "record.create",
            "type": "event_track",
            "parent": {"type": "event", "rec": event},
            "data": {"name": str(n)},
        }
        for n in range(60)
    ]
    await editor.ok("record.batch", ops=ops)
    found = await editor.ok("record.find", type="event_track")
    assert (len(found["records"]), "next" in found, "total" in found) == (50, True, False)
    assert len((await editor.ok("record.find", type="event_track", limit=1000))["records"]) == 60


@pytest.mark.parametrize("letter", ["x", "ü", "会", "😀", "\n", '"'])
async def test_a_page_of_large_records_ends_before_its_frame_gets_too_large(
    editor: Client, event: str, letter: str
) -> None:
    body = f"-{letter * (19_000 // len(letter.encode()))}-"
    parent = {"type": "event", "rec": event}
    for part in range(4):
        data = [{"title": "T", "guid": f"{part}-{n}", "abstract": body} for n in range(25)]
        ops = [{"op": "record.create", "type": "event_session", "parent": parent, "data": one} for one in data]
        await editor.ok("record.batch", ops=ops)
    editor.frames.clear()
    found = await editor.ok("record.find", type="event_session", limit=1000)
    total = len(found["records"])
    while "next" in found:
        found = await editor.ok("record.find", type="event_session", limit=1000, after=found["next"])
        total += len(found["records"])
    assert total == 100
    assert (await editor.ok("watch.start", type="event_session", parent=parent))["more"] is True
    await editor.ok("session.beat")
    sizes = [len(f.encode() if isinstance(f, str) else f) for f in editor.frames]
    assert max(sizes) <= 1024 * 1024


async def test_a_parent_narrows_a_find_to_its_children(editor: Client, event: str) -> None:
    other = (await editor.create("event", title="B", acronym="b"))["id"]
    await editor.create("event_location", other, name="Elsewhere")
    assert await names(editor, parent={"type": "event", "rec": other}) == ["Elsewhere"]
    assert await names(editor, where={"event_id": other}) == ["Elsewhere"]
    assert await names(editor, parent={"type": "event", "rec": other}, where={"name": "Aula"}) == []


async def test_fields_limit_what_is_shown(editor: Client, event: str) -> None:
    found = await editor.ok("record.find", type="event_location", fields=["name"], limit=1)
    assert set(found["records"][0]) == {"id", "type", "version", "name"}


async def test_tombstones_are_found_only_when_asked_for(editor: Client, event: str) -> None:
    (room,) = (await editor.ok("record.find", type="event_location", where={"name": "Dach"}))["records"]
    await editor.ok("record.delete", type="event_location", rec=room["id"])
    assert "Dach" not in await names(editor)
    assert "Dach" in await names(editor, deleted=True)
    assert await names(editor, deleted=True, where={"deleted_at": {"$null": False}}) == ["Dach"]


async def test_a_cursor_of_another_query_is_refused(editor: Client, event: str) -> None:
    cursor = (await editor.ok("record.find", type="event_location", limit=2, order=["name"]))["next"]
    for fields in (
        {"order": ["-name"]},
        {"order": ["name"], "where": {"sort": 1}},
        {"order": ["name"], "deleted": True},
        {"order": ["name"], "parent": {"type": "event", "rec": event}},
        {},
    ):
        assert await editor.refused("record.find", type="event_location", after=cursor, **fields) == (
            "cursor.invalid",
            "after",
        )
    assert await editor.refused("record.find", type="event_track", order=["name"], after=cursor) == (
        "cursor.invalid",
        "after",
    )
    forged = cursor[:-2] + ("AA" if cursor[-2:] != "AA" else "BB")
    for after in (forged, "", "x", "é", cursor + "A", "A" * 4000):
        assert await editor.refused("record.find", type="event_location", order=["name"], after=after) == (
            "cursor.invalid",
            "after",
        )


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({"type": "nope"}, "type.unknown", "type"),
        ({"where": {"nope": 1}}, "where.invalid", "where.nope"),
        ({"where": {"name": {"$regex": "a"}}}, "where.invalid", "where.name.$regex"),
        ({"where": {"sort": "1"}}, "where.invalid", "where.sort"),
        ({"where": {"sort": {"$gt": 1e300}}}, "where.invalid", "where.sort.$gt"),
        ({"where": {"$or": [{}] * 5000}}, "where.invalid", "where.$or.999"),
        ({"where": {"parent": {"name": "A"}}}, "where.invalid", "where.parent.name"),
        ({"where": {"children": {"$some": {}}}}, "where.invalid", "where.children"),
        ({"where": []}, "data.invalid", "where"),
        ({"order": ["nope"]}, "order.invalid", "order.0"),
        ({"order": ["name", "-name"]}, "order.invalid", "order.1"),
        ({"order": "name"}, "data.invalid", "order"),
        ({"fields": ["nope"]}, "data.invalid", "fields.0"),
        ({"limit": 0}, "data.invalid", "limit"),
        ({"limit": 1001}, "data.invalid", "limit"),
        ({"limit": "5"}, "data.invalid", "limit"),
        ({"parent": {"type": "event", "rec": "AAAAAAAAAAA"}}, "record.not_found", "parent.rec"),
        ({"parent": {"type": "event_track", "rec": "AAAAAAAAAAA"}}, "data.invalid", "parent.type"),
        ({"type": "event", "parent": {"type": "event", "rec": "AAAAAAAAAAA"}}, "data.invalid", "parent.type"),
        ({"after": 5}, "data.invalid", "after"),
        ({"view": "x"}, "data.invalid", "view"),
        ({"include": ["x"]}, "data.invalid", "include"),
        ({"type": "user"}, "access.denied", None),
        ({"type": "event_import"}, None, None),
    ],
)
async def test_a_find_that_cannot_work_is_refused_with_its_path(
    shared: Tenant, codec: str, fields: dict[str, Any], code: str | None, path: str | None
) -> None:
    async with shared.client("editor", codec) as client:
        message = await client.call("record.find", **{"type": "event_location", **fields})
        assert (message.get("code"), message.get("path")) == (code, path)


async def test_a_find_that_waits_behind_a_write_sees_it(editor: Client, event: str) -> None:
    for n in range(30):
        write = await editor.send("record.create", type="event", data={"title": "x", "acronym": f"x{n}"})
        written = await editor.answer(write)
        found = await editor.ok("record.find", type="event", where={"acronym": f"x{n}"})
        assert len(found["records"]) == 1
        assert found["seq"] >= written["seq"]
