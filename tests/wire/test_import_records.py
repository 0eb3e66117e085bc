"""`aether import records`: older data under the ids that it had, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aether_client import Client
from hub.cli.imports import Checked, check_file
from tests.wire.hubprocess import HubProcess
from tests.wire.tenant import operator
from tests.wire.test_backup import aether

EVENT = "dQw4w9WgXcQ"
TRACK = "track-0000000000000022"
SESSION = "session_00012"
OLD = "2009-11-10T23:00:00.000Z"


def lines(*records: dict[str, Any] | str) -> bytes:
    """Return a file of records; a text stands for itself."""
    return "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records).encode()


def event(rec: str = EVENT, **more: Any) -> dict[str, Any]:
    """Return the line of an event."""
    return {"type": "event", "id": rec, "data": {"title": "Old days"}, "created_at": OLD} | more


def under(kind: str, rec: str, data: dict[str, Any], parent: str = EVENT) -> dict[str, Any]:
    """Return the line of a record of an event."""
    return {"type": kind, "id": rec, "parent": parent, "data": data}


GOOD = [
    event(updated_at="2010-01-01T00:00:00+01:00"),
    under("event_track", TRACK, {"name": "Main"}),
    under("event_session", SESSION, {"title": "Talk", "track_id": TRACK, "guid": "g1"}),
]


async def test_records_keep_their_ids_and_times_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "data")
    file = tmp_path / "old.jsonl"
    file.write_bytes(lines(*GOOD, ""))
    words = ["import", "records", str(file), "--data", str(hub.data)]
    async with operator(hub, "main") as client:
        watch = (await client.ok("watch.start", type="event"))["watch"]
        head = (await client.ok("session.beat"))["seq"]
        assert await aether(*words, "--check") == (0, "3 would be imported, 0 there already\n", "")
        assert await client.settled() == []
        assert await aether(*words) == (0, "3 imported, 0 there already\n", "")
        (push,) = await client.changes(watch)
        assert (push["kind"], push["rec"]) == ("enter", EVENT)
        image = await client.ok("record.get", type="event", rec=EVENT)
        assert (image["created_at"], image["updated_at"]) == (OLD, "2009-12-31T23:00:00.000Z")
        talk = await client.ok("record.get", type="event_session", rec=SESSION)
        assert (talk["event_id"], talk["track_id"], talk["version"]) == (EVENT, TRACK, 1)
        (entry,) = (await client.ok("record.history", type="event", rec=EVENT))["entries"]
        assert (entry["kind"], entry["before"], entry["seq"]) == ("import", None, head + 1)
        # Ids of this length are taken everywhere.
        await client.ok("record.update", type="event_track", rec=TRACK, data={"name": "Other"})
        await client.ok("record.find", type="event_session", where={"track_id": TRACK})
        await client.ok("channel.join", channel=f"event_track:{TRACK}")
        assert (await client.ok("manifest.get", container={"type": "event", "rec": EVENT}))["files"] == []
        file.write_bytes(lines(*GOOD, event("another-event")))
        assert await aether(*words) == (0, "1 imported, 3 there already\n", "")
        assert (await client.ok("record.get", type="event_track", rec=TRACK))["name"] == "Other"
        await client.ok("record.delete", type="event_session", rec=SESSION)
        assert await aether(*words) == (0, "0 imported, 4 there already\n", "")
        await client.ok("record.delete", type="event_session", rec=SESSION, mode="hard")
        assert (await client.ok("record.history", type="event", rec=EVENT))["entries"] != []
    hub.stop()


BROKEN: list[tuple[list[dict[str, Any] | str], str]] = [
    ([event("short")], "line 1, id: An id is 11 to 22 letters, digits, - and _."),
    ([event("x" * 23)], "line 1, id: An id is"),
    ([event("no spaces ok")], "line 1, id: An id is"),
    ([event("ünicode-long")], "line 1, id: An id is"),
    ([event(), event()], "line 2, id: Line 1 has the same id."),
    ([event(), {**under("event_track", EVENT, {"name": "a"})}], "line 2, id: Line 1 has the same id."),
    ([under("event_track", TRACK, {"name": "a"}), event()], "line 1, parent: There is no event dQw4w9WgXcQ in"),
    ([under("event_track", TRACK, {"name": "a"}, "foreign-event")], "line 1, parent: There is no event foreign-event"),
    ([event(), {**under("event_track", TRACK, {"name": "a"}), "parent": None}], "line 2, parent: event_track needs a"),
    ([event(parent=EVENT)], "line 1, parent: event belongs to the account"),
    ([*GOOD[:1], GOOD[2]], "line 2, data.track_id: There is no event_track track-0000000000000022"),
    ([event(created_at="yesterday")], "line 1, created_at: "),
    ([event(created_at="2009-11-10T23:00:00")], "line 1, created_at: A time needs an offset"),
    ([event(updated_at="2001-01-01T00:00:00Z")], "line 1, updated_at: It cannot have been updated before"),
    ([{"type": "event", "id": EVENT, "data": {}}], "line 1, data.title: "),
    ([{"type": "event", "id": EVENT, "data": {"title": "a", "colour": "red"}}], "line 1, data.colour: "),
    ([event(version=7)], "line 1, version: "),
    ([event(type="unknown")], "line 1, type: "),
    ([event(type="user")], "line 1, type: Records of type user are not imported."),
    ([event(type="membership")], "line 1, type: Records of type membership are not imported."),
    (["{"], "line 1: This is no JSON: "),
    (["[1]"], "line 1: A line is a JSON object."),
    (['{"a": "' + "x" * 1_100_000 + '"}'], "line 1: This line is longer than"),
    (
        [*GOOD, under("event_session", "another-session", {"title": "b", "guid": "g1"})],
        "line 4, data: Line 3 has the same values, which are unique.",
    ),
    ([event(rec=EVENT, data={"title": "x", "acronym": "taken"})], "line 1, data.acronym: Another event has the same"),
]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A hub for all broken files, which change nothing."""
    started = HubProcess(tmp_path_factory.mktemp("import") / "data")
    yield started
    started.stop()


async def test_of_a_broken_file_nothing_is_imported_and_the_line_is_named(process: HubProcess, tmp_path: Path) -> None:
    file = tmp_path / "old.jsonl"
    async with operator(process, "main") as client:
        await client.create("event", title="a", acronym="taken")
        head = (await client.ok("session.beat"))["seq"]
        async with Client(process.unix) as hub:
            for broken, said in BROKEN:
                file.write_bytes(lines(*broken))
                state = Checked()
                await check_file(hub, file, state, lambda count: None)
                assert any(problem.startswith(said) for problem in state.problems), (said, state.problems)
                assert (await client.ok("session.beat"))["seq"] == head, said
        many = [event(f"event-{n:06}") for n in range(1200)]
        file.write_bytes(lines(*many, event("bad"), *[event("bad too") for _ in range(30)]))
        code, out, err = await aether("import", "records", str(file), "--data", str(process.data))
        assert (code, out, err.count("line 1"), err.splitlines()[-1]) == (1, "", 20, "  and 40 more"), err
        assert err.startswith(f"Nothing was imported. {file} cannot be used:\n  line 1201, id: An id is 11 to 22"), err
        assert (await client.ok("session.beat"))["seq"] == head
        file.write_bytes(lines(*many))
        code, out, err = await aether("import", "records", str(file), "--data", str(process.data))
        assert (code, out) == (0, "1200 imported, 0 there already\n"), err
        assert (await client.ok("record.find", type="event", count=True, limit=1))["total"] == 1201


async def test_an_id_of_another_account_is_free_and_says_nothing_of_it(process: HubProcess, tmp_path: Path) -> None:
    file = tmp_path / "old.jsonl"
    file.write_bytes(lines(event("only-one-has-it")))
    async with operator(process) as client:
        await client.ok("action.call", action="account.create", args={"name": "theirs"})
        words = ["import", "records", str(file), "--data", str(process.data)]
        assert (await aether(*words, "--account", "theirs"))[:2] == (0, "1 imported, 0 there already\n")
        file.write_bytes(lines(under("event_track", TRACK, {"name": "a"}, "only-one-has-it")))
        code, _, err = await aether(*words)
        assert (code, "There is no event only-one-has-it" in err) == (1, True), "a parent in another account"
        file.write_bytes(lines(event("only-one-has-it", data={"title": "Ours"})))
        assert (await aether(*words))[:2] == (0, "1 imported, 0 there already\n")
        assert (await client.ok("record.get", type="event", rec="only-one-has-it"))["title"] == "Ours"
        await client.greet(account="theirs")
        assert (await client.ok("record.get", type="event", rec="only-one-has-it"))["title"] != "Ours"


async def test_what_is_no_file_of_lines_is_refused_with_a_sentence(process: HubProcess, tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none", "cannot be read: No such file"), (tmp_path, "is no file")):
        code, out, err = await aether("import", "records", str(path), "--data", str(process.data))
        assert (code, out, said in err, err.count("\n")) == (1, "", True, 1)
