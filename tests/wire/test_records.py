"""record.get, create, update, upsert, delete: what they answer, and every refusal with its code and path."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from tests.wire.record_refusals import EVENT, REFUSED
from tests.wire.talk import Client
from tests.wire.tenant import Tenant, make_tenant

ID = re.compile(r"[A-Za-z0-9_-]{11}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
BASE = {
    "id", "type", "version", "account_id", "created_at", "updated_at", "created_by", "updated_by", "deleted_at",
}  # fmt: skip


async def make_event(client: Client, acronym: str = "a") -> str:
    """Create an event; return its id."""
    return str((await client.create("event", title=acronym.upper(), acronym=acronym))["id"])


# -- what they answer --------------------------------------------------------------------------------


async def test_a_record_on_the_wire_is_flat(editor: Client) -> None:
    message = await editor.call("record.create", type="event", data={**EVENT, "starts_on": "2026-11-21"})
    record = message["data"]
    assert set(record) == BASE | {"title", "acronym", "starts_on", "ends_on", "timezone", "site_id"}
    assert ID.fullmatch(record["id"])
    assert (record["type"], record["version"], record["account_id"]) == ("event", 1, editor.hello["account"])
    assert TIME.fullmatch(record["created_at"])
    assert record["created_at"] == record["updated_at"]
    assert (record["starts_on"], record["ends_on"], record["deleted_at"]) == ("2026-11-21", None, None)
    assert message["seq"] == editor.hello["seq"] + 1
    assert await editor.ok("record.get", type="event", rec=record["id"]) == record


async def test_a_child_carries_its_parents_id_and_references_end_in_id(editor: Client) -> None:
    event = await make_event(editor)
    room = await editor.create("event_location", event, name="Hall")
    talk = await editor.create("event_session", event, title="T", guid="g", location_id=room["id"], tags=["a", "b"])
    assert (talk["event_id"], talk["location_id"], talk["track_id"], talk["tags"]) == (
        event,
        room["id"],
        None,
        ["a", "b"],
    )
    assert "location" not in talk


async def test_times_are_kept_in_utc_with_three_decimals(editor: Client) -> None:
    event = await make_event(editor)
    talk = await editor.create(
        "event_session", event, title="T", guid="g", starts_at="2026-11-21T10:00:00.123456+01:00"
    )
    assert talk["starts_at"] == "2026-11-21T09:00:00.123Z"


async def test_an_update_replaces_each_given_field_whole(editor: Client) -> None:
    event = await make_event(editor)
    talk = await editor.create("event_session", event, title="T", guid="g", tags=["a", "b"], subtitle="S")
    updated, seq = await editor.seq(
        "record.update", type="event_session", rec=talk["id"], data={"tags": ["c"], "subtitle": ""}
    )
    changed = {k for k, v in updated.items() if talk[k] != v}
    assert changed | {"updated_at"} == {"version", "updated_at", "tags", "subtitle"}  # within one millisecond, perhaps
    assert (updated["version"], updated["tags"], updated["title"]) == (2, ["c"], "T")
    assert seq == (await editor.ok("session.beat"))["seq"]


async def test_an_update_that_changes_nothing_makes_no_version_and_no_push(editor: Client) -> None:
    event = await make_event(editor)
    watch = (await editor.ok("watch.start", type="event"))["watch"]
    before = (await editor.ok("session.beat"))["seq"]
    for data in ({}, {"title": "A"}, {"title": "A", "timezone": ""}):
        record, seq = await editor.seq("record.update", type="event", rec=event, data=data)
        assert (record["version"], seq) == (1, before)
    assert await editor.changes(watch) == []


async def test_if_version_lets_exactly_one_of_two_writers_through(editor: Client) -> None:
    event = await make_event(editor)
    first = await editor.send("record.update", type="event", rec=event, data={"title": "1"}, if_version=1)
    second = await editor.send("record.update", type="event", rec=event, data={"title": "2"}, if_version=1)
    assert (await editor.answer(first))["data"]["version"] == 2
    refused = await editor.answer(second)
    assert (refused["code"], refused["path"], refused["details"]) == ("record.conflict", "if_version", {"version": 2})
    assert (await editor.ok("record.get", type="event", rec=event))["title"] == "1"


async def test_writes_of_one_socket_commit_in_arrival_order(editor: Client) -> None:
    event = await make_event(editor)
    numbers = [await editor.send("record.update", type="event", rec=event, data={"title": str(n)}) for n in range(50)]
    answers = [await editor.answer(number) for number in numbers]
    assert [a["data"]["title"] for a in answers] == [str(n) for n in range(50)]
    seqs = [a["seq"] for a in answers]
    assert seqs == list(range(seqs[0], seqs[0] + 50))


async def test_a_deleted_record_is_gone_but_can_be_looked_at(editor: Client) -> None:
    event = await make_event(editor)
    assert await editor.ok("record.delete", type="event", rec=event, if_version=1) == {"rec": event, "version": 2}
    assert await editor.refused("record.get", type="event", rec=event) == ("record.not_found", "rec")
    tombstone = await editor.ok("record.get", type="event", rec=event, deleted=True)
    assert tombstone["version"] == 2
    assert TIME.fullmatch(tombstone["deleted_at"])
    for op, fields in {"record.delete": {}, "record.update": {"data": {"title": "x"}}}.items():
        assert await editor.refused(op, type="event", rec=event, **fields) == ("record.not_found", "rec")
    await make_event(editor)  # the acronym is free again


async def test_a_record_that_others_depend_on_is_not_deleted(editor: Client) -> None:
    event = await make_event(editor)
    room = await editor.create("event_location", event, name="Hall")
    assert await editor.refused("record.delete", type="event", rec=event) == ("relation.restricted", "rec")
    await editor.ok("record.delete", type="event_location", rec=room["id"])
    await editor.ok("record.delete", type="event", rec=event)


async def test_get_shows_the_fields_that_were_asked_for(editor: Client) -> None:
    event = await make_event(editor)
    record = await editor.ok("record.get", type="event", rec=event, fields=["title", "updated_at", "id"])
    assert set(record) == {"id", "type", "version", "title", "updated_at"}
    assert set(await editor.ok("record.get", type="event", rec=event, fields=[])) == {"id", "type", "version"}


async def test_upsert_creates_and_then_updates_what_a_unique_finds(editor: Client) -> None:
    event = await make_event(editor)
    parent = {"type": "event", "rec": event}
    ask: dict[str, Any] = {"type": "event_session", "parent": parent, "match": ["guid"]}
    first = await editor.ok("record.upsert", data={"guid": "g", "title": "1", "subtitle": "S"}, **ask)
    assert (first["created"], first["version"], first["event_id"]) == (True, 1, event)
    second = await editor.ok("record.upsert", data={"guid": "g", "title": "2"}, **ask)
    assert (second["created"], second["version"], second["id"]) == (False, 2, first["id"])
    assert (second["title"], second["subtitle"]) == ("2", "S")
    third, _ = await editor.seq("record.upsert", data={"guid": "g", "title": "2"}, **ask)
    assert (third["created"], third["version"]) == (False, 2)
    with_parent = await editor.ok(
        "record.upsert", **{**ask, "match": ["event_id", "guid"]}, data={"guid": "g", "title": "3"}
    )
    assert with_parent["version"] == 3


async def test_the_same_values_under_another_parent_are_another_record(editor: Client) -> None:
    one, other = await make_event(editor, "a"), await make_event(editor, "b")
    for event in (one, other):
        await editor.create("event_location", event, name="Hall")
    fields = {"type": "event_location", "data": {"name": "Hall"}}
    assert await editor.refused("record.create", parent={"type": "event", "rec": one}, **fields) == (
        "record.exists",
        "data.name",
    )


async def test_line_ends_are_kept_as_line_feeds(editor: Client) -> None:
    event = await make_event(editor)
    talk = await editor.create("event_session", event, title="T", guid="g", abstract="1\r\n2\r3\t4")
    assert talk["abstract"] == "1\n2\n3\t4"


# -- what they refuse --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(REFUSED))
async def test_a_refusal_names_code_and_path_and_changes_nothing(shared: Tenant, codec: str, name: str) -> None:
    (op, fields), code, path = REFUSED[name]
    async with shared.client("editor", codec) as client:
        event = await client.ok(
            "record.upsert", type="event", data={"title": "T", "acronym": "taken"}, match=["acronym"]
        )
        parent = {"type": "event", "rec": event["id"]}
        data = {"title": "T", "guid": "taken"}
        talk = await client.ok("record.upsert", type="event_session", data=data, match=["guid"], parent=parent)
        before = (await client.ok("session.beat"))["seq"]
        asked = replaced(fields, {"EVENT": event["id"], "SESSION": talk["id"]})
        assert await client.refused(op, **asked) == (code, path)
        assert (await client.ok("session.beat"))["seq"] == before


def replaced(value: Any, names: dict[str, str]) -> Any:
    """Return a value with every text that is a name replaced by what it stands for."""
    if isinstance(value, dict):
        return {k: replaced(v, names) for k, v in value.items()}
    return names.get(value, value) if isinstance(value, str) else value


async def test_another_accounts_records_answer_like_ones_that_are_not_there(tenant: Tenant, codec: str) -> None:
    other = await make_tenant(tenant.process)
    async with tenant.client("owner", codec) as mine, other.client("owner", codec) as theirs:
        foreign = await make_event(theirs, "foreign")
        room = await theirs.create("event_location", foreign, name="Hall")
        own = await make_event(mine, "own")
        missing = "AAAAAAAAAAA"
        asked: dict[str, dict[str, Any]] = {
            "record.get": {"type": "event"},
            "record.update": {"type": "event", "data": {"title": "x"}},
            "record.delete": {"type": "event"},
        }
        for op, fields in asked.items():
            answers = [await mine.call(op, rec=rec, **fields) for rec in (foreign, missing)]
            assert len({(a["code"], a["path"], a["message"]) for a in answers}) == 1, op
            assert answers[0]["code"] == "record.not_found"
        for parent in (foreign, missing):
            assert await mine.refused(
                "record.create", type="event_location", data={"name": "x"}, parent={"type": "event", "rec": parent}
            ) == ("record.not_found", "parent.rec")
        for reference in (room["id"], missing):
            assert await mine.refused(
                "record.create",
                type="event_session",
                data={"title": "T", "guid": "g", "location_id": reference},
                parent={"type": "event", "rec": own},
            ) == ("record.not_found", "data.location_id")
        assert (await theirs.ok("record.get", type="event", rec=foreign))["version"] == 1


async def test_a_viewer_reads_and_does_not_write(tenant: Tenant) -> None:
    async with tenant.client("editor") as editor, tenant.client("viewer") as viewer:
        event = await make_event(editor)
        assert (await viewer.ok("record.get", type="event", rec=event))["title"] == "A"
        asked: dict[str, dict[str, Any]] = {
            "record.create": {"data": EVENT},
            "record.update": {"rec": event, "data": {"title": "x"}},
            "record.delete": {"rec": event},
            "record.upsert": {"data": EVENT, "match": ["acronym"]},
        }
        for op, fields in asked.items():
            answer = await viewer.call(op, type="event", **fields)
            assert answer["code"] == "access.denied", op
            assert answer["details"]["needs"].startswith("event.")
        assert await viewer.refused("record.find", type="event_import") == ("access.denied", None)


async def test_secrets_are_in_no_answer(tenant: Tenant) -> None:
    async with tenant.client("owner") as owner:
        found = await owner.ok("record.find", type="api_key")
        assert len(found["records"]) == 3
        assert all("digest" not in record for record in found["records"])
        assert await owner.refused("record.find", type="api_key", fields=["digest"]) == ("data.invalid", "fields.0")
        rec = found["records"][0]["id"]
        for data in ({"digest": "0" * 64}, {"account_id": "x"}):
            (name,) = data
            assert await owner.refused("record.update", type="api_key", rec=rec, data=data) == (
                "data.invalid",
                f"data.{name}",
            )


# -- keys --------------------------------------------------------------------------------------------


async def test_a_repeated_key_answers_the_same_and_writes_once(editor: Client) -> None:
    first = await editor.call("record.create", type="event", data=EVENT, key="k1")
    again = await editor.call("record.create", type="event", data=EVENT, key="k1")
    assert (again["data"], again["seq"]) == (first["data"], first["seq"])
    assert (await editor.ok("record.find", type="event", count=True))["total"] == 1


async def test_a_key_is_bound_to_its_request(editor: Client) -> None:
    event = (await editor.ok("record.create", type="event", data=EVENT, key="k1"))["id"]
    others: list[tuple[str, dict[str, Any]]] = [
        ("record.create", {"data": {**EVENT, "title": "B"}}),
        ("record.create", {"data": {**EVENT, "timezone": "UTC"}}),
        ("record.update", {"rec": event, "data": {"title": "B"}}),
        ("record.delete", {"rec": event}),
        ("record.upsert", {"data": EVENT, "match": ["acronym"]}),
    ]
    for op, fields in others:
        assert await editor.refused(op, type="event", key="k1", **fields) == ("key.reused", "key")
    assert (await editor.ok("record.get", type="event", rec=event))["version"] == 1


async def test_of_two_requests_with_one_key_at_once_the_second_waits_for_the_first(editor: Client) -> None:
    numbers = [await editor.send("record.create", type="event", data=EVENT, key="k") for _ in range(10)]
    answers = [await editor.answer(number) for number in numbers]
    assert {a["data"]["id"] for a in answers} == {answers[0]["data"]["id"]}
    assert {a["seq"] for a in answers} == {answers[0]["seq"]}


async def test_a_refusal_is_not_kept_under_its_key(editor: Client) -> None:
    taken = await make_event(editor)
    assert (await editor.refused("record.create", type="event", data=EVENT, key="k"))[0] == "record.exists"
    await editor.ok("record.delete", type="event", rec=taken)
    await editor.ok("record.create", type="event", data=EVENT, key="k")


async def test_a_key_belongs_to_its_user(tenant: Tenant) -> None:
    async with tenant.client("editor") as one, tenant.client("owner") as other:
        first = await one.ok("record.create", type="event", data=EVENT, key="k")
        assert await other.refused("record.create", type="event", data=EVENT, key="k") == (
            "record.exists",
            "data.acronym",
        )
        second = await other.ok("record.create", type="event", data={**EVENT, "acronym": "b"}, key="k")
        assert first["id"] != second["id"]


async def test_a_key_outlives_the_socket(tenant: Tenant) -> None:
    async with tenant.client("editor") as first:
        number = await first.send("record.create", type="event", data=EVENT, key="k")
        done = await first.answer(number)
        first.socket.transport.abort()
    async with tenant.client("editor") as second:
        again = await second.call("record.create", type="event", data=EVENT, key="k")
        assert (again["data"], again["seq"]) == (done["data"], done["seq"])


async def test_a_client_that_leaves_does_not_take_its_write_along(tenant: Tenant) -> None:
    async with tenant.client("editor") as first:
        for n in range(20):
            await first.send("record.create", type="event", data={"title": "A", "acronym": f"a{n}"}, key=f"k{n}")
        first.socket.transport.abort()
    async with tenant.client("editor") as second:
        for n in range(20):
            await second.ok("record.create", type="event", data={"title": "A", "acronym": f"a{n}"}, key=f"k{n}")
        async with asyncio.timeout(5):
            assert (await second.ok("record.find", type="event", count=True))["total"] == 20
