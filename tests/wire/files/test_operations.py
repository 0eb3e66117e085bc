"""file.grant and manifest.get."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import pytest
import websockets

from storage.blobs.grants import make_grant
from storage.blobs.pieces import PIECE_BYTES
from tests.wire.files.support import MEGABYTE, RunningHub, digest_of, random_bytes

DATA = random_bytes(50, 100_000)
SHA256 = digest_of(DATA)


@pytest.fixture(scope="module")
def file_id(hub: RunningHub) -> str:
    """The id of a file record of account main."""
    return str(hub.put("granted.bin", DATA).json()["id"])


@pytest.fixture
def url(hub: RunningHub, file_id: str) -> str:
    """An address with a fresh grant."""
    return str(hub.done("file.grant", type="event_file", rec=file_id)["url"])


def test_a_grant_opens_its_bytes_without_a_token(hub: RunningHub, file_id: str) -> None:
    for given in ({"hash": SHA256}, {"type": "event_file", "rec": file_id}):
        granted = hub.done("file.grant", "viewer", ttl=300, **given)
        assert granted["url"].startswith(f"/files/sha256/{SHA256}?grant=")
        answer = hub.get(granted["url"], None)
        assert (answer.status_code, answer.content) == (200, DATA)
        assert answer.headers["content-disposition"] == "attachment"  # the name is the link's to give
        part = hub.get(granted["url"], None, headers={"range": "bytes=5-9"})
        assert (part.status_code, part.content) == (206, DATA[5:10])
        assert hub.get(granted["url"], None, method="HEAD").status_code == 200


def test_a_grant_ends_when_it_says(hub: RunningHub, file_id: str) -> None:
    granted = hub.done("file.grant", type="event_file", rec=file_id, ttl=1)
    assert granted["expires_at"].endswith(".000Z")
    statuses = []
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and 401 not in statuses:
        statuses.append(hub.get(granted["url"], None, method="HEAD").status_code)
        time.sleep(0.02)
    assert set(statuses) == {200, 401} or set(statuses) == {401}
    answer = hub.get(granted["url"], None)
    assert (answer.json()["code"], answer.json()["path"]) == ("auth.invalid", "grant")


def test_a_grant_that_was_tampered_with_opens_nothing(hub: RunningHub, url: str) -> None:
    address, _, grant = url.partition("?grant=")
    expires, _, signature = grant.partition(".")
    secret = (hub.data / "secret").read_bytes()
    assert make_grant(SHA256, int(expires), secret) == grant
    other = hub.put("not-granted", random_bytes(51, 100)).json()["sha256"]
    forged = [
        f"{address}?grant={int(expires) + 1}.{signature}",
        f"{address}?grant={expires}.{signature[:-1]}{'A' if signature[-1] != 'A' else 'B'}",
        f"{address}?grant={expires}.{signature.swapcase()}",
        f"{address}?grant=",
        f"{address}?grant={grant}%00",
        f"{address}?grant={grant}&grant=x",
        f"/files/sha256/{other}?grant={grant}",
        f"/files/sha256/{'0' * 64}?grant={grant}",
        f"{address}?grant={make_grant(SHA256, int(time.time()) + 3000, secret)}",
        f"{address}?grant={make_grant(SHA256, int(time.time()) + 60, b'x' * 32)}",
    ]
    answers = [hub.get(path, None) for path in forged]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert hub.get(forged[0], "owner").content == DATA, "who may read without a grant still may"


@pytest.mark.parametrize("who", ["foreign", "owner"])
def test_a_grant_needs_a_link_that_the_caller_may_read(hub: RunningHub, file_id: str, who: str) -> None:
    wanted = SHA256 if who == "foreign" else "0" * 64
    answer = hub.ask("file.grant", who, hash=wanted)
    assert (answer["code"], answer["path"]) == ("record.not_found", "hash")
    assert hub.ask("file.grant", who, hash="0" * 64)["message"] == answer["message"]
    if who == "foreign":
        by_record = hub.ask("file.grant", who, type="event_file", rec=file_id)
        missing = hub.ask("file.grant", who, type="event_file", rec="AAAAAAAAAAA")
        assert by_record == missing
        assert by_record["code"] == "record.not_found"


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({}, "data.invalid", None),
        ({"hash": SHA256, "type": "event_file", "rec": "x"}, "data.invalid", None),
        ({"type": "event_file"}, "data.invalid", "rec"),
        ({"rec": "x"}, "data.invalid", "type"),
        ({"hash": SHA256.upper()}, "data.invalid", "hash"),
        ({"hash": "../../etc/passwd"}, "data.invalid", "hash"),
        ({"hash": SHA256, "ttl": 301}, "data.invalid", "ttl"),
        ({"hash": SHA256, "ttl": 0}, "data.invalid", "ttl"),
        ({"type": "event", "rec": "x"}, "data.invalid", "type"),
        ({"type": "nonsense", "rec": "x"}, "type.unknown", "type"),
    ],
)
def test_a_wrong_request_for_a_grant_names_what_is_wrong(
    hub: RunningHub, file_id: str, fields: dict[str, Any], code: str, path: str | None
) -> None:
    answer = hub.ask("file.grant", **fields)
    assert (answer["code"], answer.get("path")) == (code, path)


def test_guests_get_neither_grants_nor_manifests(hub: RunningHub) -> None:
    assert hub.ask("file.grant", None, hash=SHA256)["code"] == "auth.required"
    container = {"type": "event", "rec": hub.event}
    assert hub.ask("manifest.get", None, container=container)["code"] == "auth.required"


# -- manifests ---------------------------------------------------------------------------------------


def test_a_manifest_lists_files_with_their_pieces_by_code_point(hub: RunningHub) -> None:
    event = hub.new_event("manifest")
    bodies = {
        "Z": b"z", "a": b"", "é": random_bytes(60, PIECE_BYTES), "z": random_bytes(61, 2 * PIECE_BYTES + 1),
        "B": random_bytes(62, 4000), "\U0001f600": b"smile", "\uff5e": b"tilde",
    }  # fmt: skip
    for name, body in bodies.items():
        assert hub.put(name, body, rec=event).status_code == 201
    manifest = hub.done("manifest.get", "viewer", container={"type": "event", "rec": event})
    assert [file["path"] for file in manifest["files"]] == ["B", "Z", "a", "z", "é", "\uff5e", "\U0001f600"]
    for file in manifest["files"]:
        body = bodies[file["path"]]
        pieces = [digest_of(body[n : n + PIECE_BYTES]) for n in range(0, len(body), PIECE_BYTES)]
        assert file == {"path": file["path"], "sha256": digest_of(body), "size": len(body), "pieces": pieces}


def test_the_revision_names_exactly_what_is_in_the_folder(hub: RunningHub) -> None:
    one, two = hub.new_event("revision-1"), hub.new_event("revision-2")

    def revision(event: str) -> str:
        return str(hub.done("manifest.get", container={"type": "event", "rec": event})["revision"])

    empty = revision(one)
    assert revision(two) == empty
    hub.put("a", b"1", rec=one)
    hub.put("b", b"2", rec=one)
    hub.put("b", b"2", rec=two)
    assert len({empty, revision(one), revision(two)}) == 3
    record = hub.put("a", b"1", rec=two).json()
    assert revision(one) == revision(two), "the order of uploads does not matter"
    hub.put("a", b"other", rec=two)
    assert revision(one) != revision(two)
    hub.put("a", b"1", rec=two)
    assert revision(one) == revision(two), "nor does the history"
    hub.done("record.update", type="event_file", rec=record["id"], data={"name": "renamed"})
    assert revision(one) != revision(two)
    hub.done("record.delete", type="event_file", rec=record["id"])
    assert len(hub.done("manifest.get", container={"type": "event", "rec": two})["files"]) == 1


@pytest.mark.parametrize(
    ("container", "code", "path"),
    [
        ({"type": "event", "rec": "AAAAAAAAAAA"}, "record.not_found", "container.rec"),
        ({"type": "event_track", "rec": "AAAAAAAAAAA"}, "data.invalid", "container.type"),
        ({"type": "nonsense", "rec": "x"}, "type.unknown", "container.type"),
        ({"type": "event"}, "data.invalid", "container.rec"),
    ],
)
def test_a_wrong_container_is_named(hub: RunningHub, container: dict[str, str], code: str, path: str) -> None:
    answer = hub.ask("manifest.get", container=container)
    assert (answer["code"], answer.get("path")) == (code, path)


def test_a_container_of_others_answers_like_one_that_is_not_there(hub: RunningHub) -> None:
    foreign = hub.ask("manifest.get", "foreign", container={"type": "event", "rec": hub.event})
    missing = hub.ask("manifest.get", "foreign", container={"type": "event", "rec": "AAAAAAAAAAA"})
    assert foreign == missing
    assert foreign["code"] == "record.not_found"


def test_a_manifest_of_bytes_that_are_lost_says_so(hub: RunningHub) -> None:
    event, data = hub.new_event("lost"), random_bytes(63, 5 * MEGABYTE)
    hub.put("lost", data, rec=event)
    digest = digest_of(data)
    (hub.data / "blobs" / digest[:2] / digest[2:4] / digest).unlink()
    answer = hub.ask("manifest.get", container={"type": "event", "rec": event})
    assert (answer["code"], answer["retry_after"]) == ("server.unavailable", 60)


async def test_a_watcher_of_the_files_hears_of_uploads_in_time_to_ask_for_the_manifest(hub: RunningHub) -> None:
    event = hub.new_event("watched")
    address = hub.url.replace("http", "ws") + "/ws"
    subprotocol = websockets.Subprotocol("aether.v1.json")
    async with websockets.connect(address, subprotocols=[subprotocol]) as socket, httpx.AsyncClient() as http:

        async def ask(**request: object) -> dict[str, object]:
            await socket.send(json.dumps(request))
            while (answer := json.loads(await socket.recv())).get("id") != request["id"]:
                pushes.append(answer)
            assert answer["op"] == "ok", answer
            return dict(answer["data"])

        pushes: list[dict[str, object]] = []
        await ask(op="session.hello", id=1, token=hub.keys["viewer"])
        await ask(op="watch.start", id=2, type="event_file", parent={"type": "event", "rec": event})
        put = http.put(
            f"{hub.url}/files?type=event&rec={event}&name=new", content=DATA, headers=hub.authority("editor")
        )
        uploading = asyncio.create_task(put)
        async with asyncio.timeout(10):
            change = json.loads(await socket.recv())
            assert change["op"] == "change"
            assert [(e["kind"], e["record"]["sha256"]) for e in change["events"]] == [("enter", SHA256)]
            manifest = await ask(op="manifest.get", id=3, container={"type": "event", "rec": event})
            assert (await uploading).status_code == 201
        assert manifest["files"] == [{"path": "new", "sha256": SHA256, "size": len(DATA), "pieces": [SHA256]}]
