"""record.aggregate: counts, sums and bounds over all records that match or by a field; and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.talk import Client
from tests.wire.tenant import Tenant


@pytest.fixture
async def camp(editor: Client) -> str:
    """An event with rooms of several sizes, and sessions in them."""
    rec = str((await editor.create("event", title="Camp", acronym="camp"))["id"])
    rooms = [(await editor.create("event_location", rec, name=f"R{n}", sort=n))["id"] for n in range(3)]
    for n, (language, room) in enumerate([("de", 0), ("en", 0), ("de", 1), ("", 2), ("en", 1)]):
        await editor.create(
            "event_session", rec, title=f"S{n}", language=language, location_id=rooms[room] if room < 2 else None,
            starts_at=f"2031-01-0{n + 1}T10:00:00Z",
        )  # fmt: skip
    return rec


async def test_records_are_counted_and_added_up(editor: Client, camp: str) -> None:
    values = {
        "rooms": "count", "all": {"sum": "sort"}, "mean": {"avg": "sort"}, "least": {"min": "name"},
        "most": {"max": "name"},
    }  # fmt: skip
    message = await editor.call("record.aggregate", type="event_location", values=values)
    row = {"rooms": 3, "all": 3, "mean": 1.0, "least": "R0", "most": "R2"}
    assert message["data"] == {"rows": [row], "seq": message["seq"]}
    assert message["seq"] == (await editor.ok("session.beat"))["seq"]
    some = await editor.ok("record.aggregate", type="event_location", values=values, where={"sort": {"$gt": 7}})
    assert some["rows"] == [{"rooms": 0, "all": 0, "mean": None, "least": None, "most": None}]


async def test_records_are_grouped_by_a_field(editor: Client, camp: str) -> None:
    values: dict[str, Any] = {"n": "count", "first": {"min": "starts_at"}, "placed": {"count": "location_id"}}
    found = await editor.ok("record.aggregate", type="event_session", group="language", values=values)
    assert [list(row.values()) for row in found["rows"]] == [
        ["", 1, "2031-01-04T10:00:00.000Z", 0],
        ["de", 2, "2031-01-01T10:00:00.000Z", 2],
        ["en", 2, "2031-01-02T10:00:00.000Z", 2],
    ]
    assert "more" not in found
    found = await editor.ok("record.aggregate", type="event_session", group="language", values=values, limit=2)
    assert ([row["language"] for row in found["rows"]], found["more"]) == (["", "de"], True)
    by_room = await editor.ok(
        "record.aggregate", type="event_session", group="location_id", values={"n": "count"},
        where={"location": {"name": "R0"}}, parent={"type": "event", "rec": camp},
    )  # fmt: skip
    room = (await editor.ok("record.find", type="event_location", where={"name": "R0"}))["records"][0]["id"]
    assert by_room["rows"] == [{"location_id": room, "n": 2}]
    by_event = await editor.ok("record.aggregate", type="event_session", group="event_id", values={"n": "count"})
    assert by_event["rows"] == [{"event_id": camp, "n": 5}]


async def test_what_was_deleted_counts_no_more(editor: Client, camp: str) -> None:
    await editor.ok("record.delete_where", type="event_session", where={"language": "de"}, limit=10)
    found = await editor.ok("record.aggregate", type="event_session", values={"n": "count"})
    assert found["rows"] == [{"n": 3}]


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({}, None, None),
        ({"type": "nope"}, "type.unknown", "type"),
        ({"type": "user"}, "access.denied", None),
        ({"type": "api_key"}, "access.denied", None),
        ({"group": "nope"}, "data.invalid", "group"),
        ({"group": "abstract"}, "data.invalid", "group"),
        ({"group": "tags"}, "data.invalid", "group"),
        ({"group": ["language"]}, "data.invalid", "group"),
        ({"where": {"nope": 1}}, "where.invalid", "where.nope"),
        ({"parent": {"type": "event", "rec": "AAAAAAAAAAA"}}, "record.not_found", "parent.rec"),
        ({"limit": 0}, "data.invalid", "limit"),
        ({"limit": 1001}, "data.invalid", "limit"),
        ({"values": {}}, "data.invalid", "values"),
        ({"values": ["count"]}, "data.invalid", "values"),
        ({"values": {f"v{n}": "count" for n in range(20)}}, None, None),
        ({"values": {f"v{n}": "count" for n in range(21)}}, "data.invalid", "values"),
        ({"values": {"n": "sum"}}, "data.invalid", "values.n"),
        ({"values": {"n": {}}}, "data.invalid", "values.n"),
        ({"values": {"n": {"min": "title", "max": "title"}}}, "data.invalid", "values.n"),
        ({"values": {"n": {"median": "title"}}}, "data.invalid", "values.n"),
        ({"values": {"n": {"sum": "nope"}}}, "data.invalid", "values.n.sum"),
        ({"values": {"n": {"sum": ["version"]}}}, "data.invalid", "values.n.sum"),
        ({"values": {"n": {"sum": "title"}}}, "data.invalid", "values.n.sum"),
        ({"values": {"n": {"avg": "starts_at"}}}, "data.invalid", "values.n.avg"),
        ({"values": {"n": {"min": "abstract"}}}, "data.invalid", "values.n.min"),
        ({"values": {"n": {"max": "tags"}}}, "data.invalid", "values.n.max"),
        ({"values": {"n": {"min": "do_not_record"}}}, "data.invalid", "values.n.min"),
        ({"values": {"N": "count"}}, "data.invalid", "values.N"),
        ({"values": {"": "count"}}, "data.invalid", "values."),
        ({"group": "language", "values": {"language": "count"}}, "data.invalid", "values.language"),
    ],
)
async def test_an_aggregate_that_cannot_work_is_refused_with_its_path(
    shared: Tenant, codec: str, fields: dict[str, Any], code: str | None, path: str | None
) -> None:
    async with shared.client("editor", codec) as client:
        request = {"type": "event_session", "values": {"n": "count"}, **fields}
        message = await client.call("record.aggregate", **request)
        assert (message.get("code"), message.get("path")) == (code, path)


async def test_secret_fields_are_no_fields_of_an_aggregate(shared: Tenant, codec: str) -> None:
    async with shared.client("owner", codec) as client:
        for fields in ({"values": {"n": {"count": "digest"}}}, {"group": "digest", "values": {"n": "count"}}):
            code, path = await client.refused("record.aggregate", type="api_key", **fields)
            assert (code, path) in {("data.invalid", "values.n.count"), ("data.invalid", "group")}
