"""Records that are for a record of one of several types: `for_type` and `for_id`, over the socket."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.talk import Client
from tests.wire.tenant import Tenant


async def test_a_contact_is_for_an_event_a_room_or_a_person(editor: Client) -> None:
    event = (await editor.create("event", title="Camp"))["id"]
    person = (await editor.create("event_person", event, name="Ada"))["id"]
    data = {"kind": "email", "value": "a@b.example", "for_type": "event_person", "for_id": person}
    made = await editor.ok("record.create", type="event_contact", data=data)
    assert (made["for_type"], made["for_id"]) == ("event_person", person)
    watch = await editor.ok("watch.start", type="event_contact", where={"for_id": event})
    assert watch["records"] == []
    there = {"for_type": "event", "for_id": event}
    moved = await editor.ok("record.update", type="event_contact", rec=made["id"], data=there)
    change = await editor.push("change", lambda m: m["watch"] == watch["watch"])
    assert [(e["kind"], e["record"]) for e in change["events"]] == [("enter", moved)]
    found = await editor.ok("record.find", type="event_contact", where={"for_type": "event", "for_id": event})
    assert [r["id"] for r in found["records"]] == [made["id"]]
    ops = [
        {"op": "record.create", "type": "event", "data": {"title": "Next"}},
        {
            "op": "record.create", "type": "event_contact",
            "data": {"kind": "url", "value": "x", "for_type": "event", "for_id": {"$item": 0}},
        },
    ]  # fmt: skip
    results = (await editor.ok("record.batch", ops=ops))["results"]
    assert results[1]["for_id"] == results[0]["id"]


@pytest.mark.parametrize(
    ("given", "code", "path"),
    [
        ({"for_type": "event_session", "for_id": "AAAAAAAAAAA"}, "data.invalid", "data.for_type"),
        ({"for_type": "nope", "for_id": "AAAAAAAAAAA"}, "data.invalid", "data.for_type"),
        ({"for_type": "event"}, "data.invalid", "data.for_id"),
        ({"for_id": "AAAAAAAAAAA"}, "data.invalid", "data.for_type"),
        ({"for_type": "event", "for_id": None}, "data.invalid", "data.for_id"),
        ({"for_type": "event", "for_id": 5}, "data.invalid", "data.for_id"),
        ({"for_type": "event", "for_id": "AAAAAAAAAAA"}, "record.not_found", "data.for_id"),
        ({"for_type": "event", "for_id": {"$item": 0}}, "data.invalid", "data.for_id"),
    ],
)
async def test_what_a_record_is_for_must_be_there(
    shared: Tenant, codec: str, given: dict[str, Any], code: str, path: str
) -> None:
    async with shared.client("editor", codec) as client:
        data = {"kind": "email", "value": "a@b.example", **given}
        assert await client.refused("record.create", type="event_contact", data=data) == (code, path)


async def test_a_deleted_record_and_one_of_another_type_are_no_targets(editor: Client) -> None:
    event = (await editor.create("event", title="Camp"))["id"]
    room = (await editor.create("event_location", event, name="R"))["id"]
    await editor.ok("record.delete", type="event_location", rec=room)
    for for_type, rec in (("event_location", room), ("event_person", event)):
        data = {"kind": "phone", "value": "1", "for_type": for_type, "for_id": rec}
        refused = await editor.refused("record.create", type="event_contact", data=data)
        assert refused == ("record.not_found", "data.for_id")


async def test_the_types_that_a_record_may_be_for_are_described(editor: Client) -> None:
    kind = (await editor.ok("schema.describe", types=["event_contact"]))["types"]["event_contact"]
    assert kind["schema"]["properties"]["for_id"]["x-refs"] == ["event", "event_location", "event_person"]
    assert set(kind["schema"]["required"]) >= {"for_type", "for_id"}
