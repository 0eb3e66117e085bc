"""record.find and the writes by filter: steps to the parent, to children and over references, and who may take them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.talk import Client
from tests.wire.tenant import Tenant


@pytest.fixture
async def programme(editor: Client) -> dict[str, str]:
    """Two events with rooms and talks; the ids by name."""
    ids: dict[str, str] = {}
    for event in ("one", "two"):
        ids[event] = (await editor.create("event", title=event.title(), acronym=event))["id"]
        for room in ("Aula", "Dach"):
            made = await editor.create("event_location", ids[event], name=room)
            ids[f"{event} {room}"] = made["id"]
    for event, title, room in (
        ("one", "Opening", "Aula"),
        ("one", "Roof", "Dach"),
        ("two", "Closing", "Aula"),
        ("two", "Open air", ""),
    ):
        located = {"location_id": ids[f"{event} {room}"]} if room else {}
        made = await editor.create("event_session", ids[event], title=title, tags=[event], **located)
        ids[title] = made["id"]
    return ids


async def titles(client: Client, where: dict[str, Any], kind: str = "event_session") -> set[str]:
    found = await client.ok("record.find", type=kind, where=where, count=True)
    assert found["total"] == len(found["records"])
    return {record["title"] for record in found["records"]}


@pytest.mark.parametrize(
    ("kind", "where", "expected"),
    [
        ("event_session", {"parent": {"acronym": "one"}}, {"Opening", "Roof"}),
        ("event_session", {"parent": {"acronym": "one"}, "title": {"$starts": "Op"}}, {"Opening"}),
        ("event_session", {"$not": {"parent": {"acronym": "one"}}}, {"Closing", "Open air"}),
        ("event_session", {"location": {"name": {"$istarts": "AU"}}}, {"Opening", "Closing"}),
        ("event_session", {"$not": {"location": {"name": "Aula"}}}, {"Roof", "Open air"}),
        ("event_session", {"location": {"parent": {"title": "Two"}}}, {"Closing"}),
        ("event_session", {"location": {"name": {"$ends": "ch"}}, "tags": {"$hasAll": ["one"]}}, {"Roof"}),
        ("event", {"children": {"type": "event_session", "$some": {"location_id": None}}}, {"Two"}),
        ("event", {"children": {"type": "event_session", "$some": {"location": {"name": "Dach"}}}}, {"One"}),
        ("event", {"$not": {"children": {"type": "event_track", "$some": {}}}}, {"One", "Two"}),
        ("event", {"$and": [
            {"children": {"type": "event_location", "$some": {"name": "Dach"}}},
            {"children": {"type": "event_session", "$some": {"title": {"$between": ["C", "D"]}}}},
        ]}, {"Two"}),
    ],
)  # fmt: skip
async def test_a_filter_steps_to_what_belongs_together(
    editor: Client, programme: dict[str, str], kind: str, where: dict[str, Any], expected: set[str]
) -> None:
    assert await titles(editor, where, kind) == expected


async def test_a_step_sees_what_is_there_now(editor: Client, programme: dict[str, str]) -> None:
    where = {"location": {"name": "Dach"}}
    assert await titles(editor, where) == {"Roof"}
    await editor.ok("record.delete", type="event_location", rec=programme["one Dach"])
    assert await titles(editor, where) == set()
    await editor.ok("record.restore", type="event_location", rec=programme["one Dach"])
    await editor.ok("record.update", type="event_location", rec=programme["one Dach"], data={"name": "Keller"})
    assert await titles(editor, {"location": {"name": "Keller"}}) == {"Roof"}


async def test_pages_of_a_filter_with_steps_go_on(editor: Client, programme: dict[str, str]) -> None:
    fields: dict[str, Any] = {"type": "event_session", "where": {"parent": {"acronym": {"$in": ["one", "two"]}}}}
    seen: list[str] = []
    after: dict[str, Any] = {}
    for _ in range(4):
        page = await editor.ok("record.find", **fields, order=["title"], limit=1, **after)
        seen += [r["title"] for r in page["records"]]
        after = {"after": page.get("next")}
    assert (seen, after) == (["Closing", "Open air", "Opening", "Roof"], {"after": None})
    page = await editor.ok("record.find", **fields, order=["title"], limit=1)
    fields["where"] = {"parent": {"acronym": {"$in": ["one"]}}}
    refused = await editor.refused("record.find", **fields, order=["title"], limit=1, after=page["next"])
    assert refused == ("cursor.invalid", "after")


async def test_writes_by_filter_take_steps(editor: Client, programme: dict[str, str]) -> None:
    one = {"parent": {"acronym": "one"}}
    done = await editor.ok("record.update_where", type="event_session", where=one, data={"kind": "x"}, limit=10)
    assert done == {"count": 2}
    assert await titles(editor, {"kind": "x"}) == {"Opening", "Roof"}
    roof = {"location": {"name": "Dach"}}
    assert (await editor.ok("record.delete_where", type="event_session", where=roof, limit=10)) == {"count": 1}
    assert await titles(editor, {}) == {"Opening", "Closing", "Open air"}


async def test_a_step_needs_the_right_to_read_there(shared: Tenant, codec: str) -> None:
    where = {"children": {"type": "event_import", "$some": {"key": "x"}}}
    async with shared.client("editor", codec) as client:
        assert (await client.ok("record.find", type="event", where=where))["records"] == []
    async with shared.client("viewer", codec) as client:
        message = await client.call("record.find", type="event", where=where)
        assert (message["code"], message["path"]) == ("access.denied", "where.children.$some")
        assert message["details"]["needs"] == "event_import.read"


async def test_the_type_of_children_is_named_where_there_are_several(shared: Tenant, codec: str) -> None:
    async with shared.client("editor", codec) as client:
        message = await client.call("record.find", type="event", where={"children": {"$some": {}}})
        assert (message["code"], message["path"]) == ("where.invalid", "where.children")
        assert "event_session" in message["message"]
