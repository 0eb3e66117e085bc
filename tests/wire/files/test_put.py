"""PUT /files: what is linked, what is refused, what never stays."""

from __future__ import annotations

import concurrent.futures
import contextlib
import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.wire.files.support import (
    MEGABYTE,
    RunningHub,
    digest_of,
    put_address,
    random_bytes,
    repr_digest,
    running_hub,
)


def wait_for(fact: Callable[[], bool], seconds: float = 10) -> None:
    """Return when a fact holds; fail when it does not come true."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "the fact did not come true"
        time.sleep(0.01)


def no_upload_runs(hub: RunningHub) -> bool:
    return not any(name.startswith("incoming/") for name in hub.blobs())


def test_an_upload_becomes_a_file_record(hub: RunningHub) -> None:
    data = random_bytes(1, 100_000)
    answer = hub.put("slides.pdf", data, headers={"repr-digest": repr_digest(data)})
    assert answer.status_code == 201
    record = answer.json()
    assert record["type"] == "event_file"
    assert record["event_id"] == hub.event
    assert record["version"] == 1
    assert (record["name"], record["sha256"]) == ("slides.pdf", digest_of(data))
    assert (record["size"], record["content_type"]) == (100_000, "application/pdf")
    assert record in hub.files()
    assert hub.get(f"/files/sha256/{digest_of(data)}").content == data


def test_the_same_name_replaces_the_bytes_of_its_record(hub: RunningHub) -> None:
    first = hub.put("again.txt", b"one").json()
    answer = hub.put("again.txt", b"two!", headers={"content-type": "text/markdown; charset=utf-8"})
    assert answer.status_code == 200
    second = answer.json()
    assert (second["id"], second["version"]) == (first["id"], 2)
    assert (second["sha256"], second["size"], second["content_type"]) == (digest_of(b"two!"), 4, "text/markdown")
    assert hub.get(f"/files/sha256/{digest_of(b'one')}").status_code == 404, "nothing links it any more"


def test_the_same_bytes_again_change_nothing(hub: RunningHub) -> None:
    first = hub.put("same.txt", b"same")
    second = hub.put("same.txt", b"same")
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()


def test_a_file_of_no_bytes_is_a_file(hub: RunningHub) -> None:
    assert hub.put("empty", b"").json()["sha256"] == digest_of(b"")
    answer = hub.get(f"/files/sha256/{digest_of(b'')}")
    assert (answer.status_code, answer.content) == (200, b"")


def test_an_upload_of_unknown_length_is_taken(hub: RunningHub) -> None:
    data = random_bytes(2, 700_000)

    def parts() -> Iterator[bytes]:
        for n in range(0, len(data), 10_000):
            yield data[n : n + 10_000]

    assert hub.put("chunked", parts()).json()["sha256"] == digest_of(data)


def test_bytes_without_the_announced_hash_are_refused(hub: RunningHub) -> None:
    data = random_bytes(3, 300_000)
    damaged = data[:-1] + b"?"
    answer = hub.put("mismatch", damaged, headers={"repr-digest": repr_digest(data)})
    assert answer.status_code == 422
    body = answer.json()
    assert (body["op"], body["code"]) == ("error", "file.mismatch")
    assert not hub.has_blob(data)
    assert not hub.has_blob(damaged)
    assert "mismatch" not in {file["name"] for file in hub.files()}


def test_an_editor_links_files_and_a_viewer_does_not(hub: RunningHub) -> None:
    assert hub.put("by-editor", b"x", "editor").status_code == 201
    answer = hub.put("by-viewer", b"secret bytes of a viewer", "viewer")
    assert (answer.status_code, answer.json()["code"]) == (403, "access.denied")
    assert answer.json()["details"]["needs"] == "event.update"
    assert not hub.has_blob(b"secret bytes of a viewer")


def test_a_guest_is_told_to_sign_in(hub: RunningHub) -> None:
    answer = hub.put("by-guest", b"x", None)
    assert (answer.status_code, answer.json()["code"]) == (401, "auth.required")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_bad_token_is_refused(hub: RunningHub) -> None:
    for value in ("Bearer nonsense", "Basic dXNlcjpw", "Bearer", f"Bearer {hub.keys['owner']}x"):
        answer = hub.put("x", b"x", None, headers={"authorization": value})
        assert (answer.status_code, answer.json()["code"]) == (401, "auth.invalid")


def test_the_operator_needs_no_token(hub: RunningHub) -> None:
    with hub.operator() as operator:
        answer = operator.put(put_address("by-operator", hub.event), content=b"operator's")
        assert answer.status_code == 201
        assert operator.get(f"/files/sha256/{answer.json()['sha256']}").content == b"operator's"
        elsewhere = operator.put(put_address("x", hub.other_event), content=b"x", headers={"x-aether-account": "other"})
        assert elsewhere.status_code == 201


def test_an_event_of_another_account_answers_like_one_that_is_not_there(hub: RunningHub) -> None:
    foreign = hub.put("intruder", b"x", rec=hub.other_event)
    missing = hub.put("x", b"x", rec="AAAAAAAAAAA")
    assert foreign.status_code == missing.status_code == 404
    assert foreign.json() == missing.json()
    assert foreign.json()["code"] == "record.not_found"
    assert "intruder" not in {file["name"] for file in hub.files(hub.other_event, "foreign")}


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("nonsense", 404, "type.unknown"),
        ("event_track", 422, "data.invalid"),
        ("event_file", 422, "data.invalid"),
        ("account", 403, "access.denied"),
        ("", 404, "type.unknown"),
        ("../event", 404, "type.unknown"),
    ],
)
def test_only_containers_take_files(hub: RunningHub, kind: str, status: int, code: str) -> None:
    answer = hub.put("x", b"x", kind=kind)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


BAD_NAMES = [
    "", " ", ".", "..", "../x", "a/b", "/etc/passwd", "a\\b", "..\\x", "C:\\x", "a\0b", "a\nb", "a\rb", "a\tb",
    "\x7f", "\x85", "\x1b[31m", "a\u202efdp.exe", "a\u2028b", "x" * 256, "ü" * 128, "/", "\\", "a/", "./a", "\u2067",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_is_never_a_path_and_never_lies(hub: RunningHub, name: str) -> None:
    answer = hub.put(name, b"trick")
    body = answer.json()
    assert (answer.status_code, body["code"], body["path"]) == (422, "data.invalid", "name")
    assert body["message"].endswith(".")
    assert not hub.has_blob(b"trick")


@pytest.mark.parametrize(
    "name", ["...", "..a", ".hidden", "a b", "ü.txt", "家.pdf", "👩‍💻.png", "%2e%2e%2f", "a:b", "-rf", "x" * 255, "CON"]
)
def test_other_names_are_text_and_kept_as_they_are(hub: RunningHub, name: str) -> None:
    answer = hub.put(name, b"named")
    assert answer.status_code in {200, 201}, answer.text
    assert answer.json()["name"] == name
    fetched = hub.get(f"/files/event_file/{answer.json()['id']}")
    assert fetched.content == b"named"
    assert fetched.headers["content-disposition"].startswith("attachment; filename=")


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("rec=a&name=b", "type"),
        ("type=event&name=b", "rec"),
        ("type=event&rec=a", "name"),
        ("type=event&rec=a&name=b&name=c", "name"),
        ("type=event&rec=a&name=b&path=c", "path"),
        ("type=event&rec=a&name=%ff%fe", None),
    ],
)
def test_a_wrong_address_names_what_is_wrong(hub: RunningHub, query: str, path: str | None) -> None:
    answer = httpx.put(f"{hub.url}/files?{query}", content=b"x", headers=hub.authority("owner"))
    assert (answer.status_code, answer.json()["code"]) == (422, "data.invalid")
    assert answer.json().get("path") == path


def test_a_secret_in_the_address_is_refused(hub: RunningHub) -> None:
    for secret in ("token", "key"):
        address = f"{put_address('x', hub.event)}&{secret}=abc"
        answer = httpx.put(hub.url + address, content=b"x", headers=hub.authority("owner"))
        assert (answer.status_code, answer.json()["code"]) == (400, "data.invalid")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"content-encoding": "gzip"}, 415, "file.type"),
        ({"content-range": "bytes 0-0/10"}, 422, "data.invalid"),
        ({"content-type": "nonsense"}, 422, "data.invalid"),
        ({"repr-digest": "sha-256=nonsense"}, 422, "data.invalid"),
        ({"repr-digest": "md5=:AAAA:"}, 422, "data.invalid"),
    ],
)
def test_what_cannot_be_honoured_is_refused(hub: RunningHub, headers: dict[str, str], status: int, code: str) -> None:
    answer = hub.put("x", b"not honoured", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not hub.has_blob(b"not honoured")


def _send_head(hub: RunningHub, who: str | None, name: str, fields: dict[str, str]) -> socket.socket:
    """Send the head of an upload over a socket of our own."""
    host, port = hub.address
    connection = socket.create_connection((host, port), timeout=20)
    lines = [f"PUT {put_address(name, hub.event)} HTTP/1.1", f"host: {host}:{port}"]
    lines += [f"{key}: {value}" for key, value in {**hub.authority(who), **fields}.items()]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    return connection


def _read_all(connection: socket.socket) -> bytes:
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    ("who", "name", "fields", "status"),
    [
        (None, "x", {"content-length": "1000000"}, b"401"),
        ("viewer", "x", {"content-length": "1000000"}, b"403"),
        ("owner", "..", {"content-length": "1000000"}, b"422"),
        ("owner", "x", {"content-length": str(2**40)}, b"413"),
        ("owner", "x", {"content-length": "1000000", "repr-digest": "x"}, b"422"),
        ("owner", "x", {"content-length": "1000000", "expect": "100-continue", "content-encoding": "br"}, b"415"),
        (None, "x", {"transfer-encoding": "chunked"}, b"401"),
    ],
)
def test_a_refusal_comes_before_the_body_and_ends_the_connection(
    hub: RunningHub, who: str | None, name: str, fields: dict[str, str], status: bytes
) -> None:
    with _send_head(hub, who, name, fields) as connection:
        answer = _read_all(connection)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"connection: close" in answer.lower()
    assert b"100 Continue" not in answer
    assert answer.endswith(b"}")


def test_a_refused_sender_that_sends_everything_first_still_sees_the_refusal(hub: RunningHub) -> None:
    for _ in range(20):
        answer = hub.put("x", bytes(3 * MEGABYTE), "viewer")
        assert answer.status_code == 403


def test_a_sender_that_waits_for_the_go_ahead_gets_it(hub: RunningHub) -> None:
    with _send_head(hub, "owner", "expected", {"content-length": "3", "expect": "100-continue"}) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(b"yes")
        assert b"201 Created" in connection.recv(10_000)


@pytest.mark.parametrize("seed", range(40))
def test_an_upload_broken_off_leaves_nothing(hub: RunningHub, seed: int) -> None:
    draw = random.Random(seed)
    data = draw.randbytes(draw.choice([10, 70_000, 600_000]))
    cut = draw.randrange(1, len(data))
    fields = {"content-length": str(len(data)), "repr-digest": repr_digest(data)}
    with _send_head(hub, "owner", f"broken-{seed}", fields) as connection:
        connection.sendall(data[:cut])
        if seed % 3 == 0:  # a reset instead of a polite end
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        elif seed % 3 == 1:
            connection.shutdown(socket.SHUT_WR)
            assert b" 20" not in _read_all(connection)[:20]
    wait_for(lambda: no_upload_runs(hub))
    assert not hub.has_blob(data)
    assert not hub.has_blob(data[:cut])
    assert f"broken-{seed}" not in {file["name"] for file in hub.files()}


def test_a_body_in_broken_chunks_leaves_nothing(hub: RunningHub) -> None:
    with _send_head(hub, "owner", "bad-chunks", {"transfer-encoding": "chunked"}) as connection:
        connection.sendall(b"5\r\nhello\r\nZZZ\r\n")
        assert b" 20" not in _read_all(connection)[:20]
    wait_for(lambda: no_upload_runs(hub))
    assert not hub.has_blob(b"hello")


def test_uploads_of_the_same_name_at_once_leave_one_record_with_bytes_of_one_of_them(hub: RunningHub) -> None:
    event = hub.new_event("same-name")
    bodies = [random_bytes(n, 50_000 + n) for n in range(24)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: hub.put("one", body, rec=event), bodies))
    assert sorted(answer.status_code for answer in answers) == [200] * 23 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sorted(answer.json()["version"] for answer in answers) == list(range(1, 25))
    (record,) = hub.files(event)
    assert record["version"] == 24
    assert record["sha256"] in {digest_of(body) for body in bodies}
    assert digest_of(hub.get(f"/files/event_file/{record['id']}").content) == record["sha256"]


def test_uploads_of_the_same_bytes_at_once_are_one_blob(hub: RunningHub) -> None:
    event, data = hub.new_event("same-bytes"), random_bytes(77, MEGABYTE)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: hub.put(f"copy-{n}", data, rec=event), range(24)))
    assert {answer.status_code for answer in answers} == {201}
    assert len([name for name in hub.blobs() if digest_of(data) in name]) == 1


def test_more_than_the_limit_is_refused_however_it_comes(tmp_path: Path) -> None:
    with running_hub(tmp_path, max_file_bytes=MEGABYTE) as small:
        assert small.put("fits", bytes(MEGABYTE)).status_code == 201

        def parts() -> Iterator[bytes]:
            for _ in range(32):
                yield bytes(65_536)

        for body in (bytes(MEGABYTE + 1), parts()):
            answer = small.put("large", body)
            assert (answer.status_code, answer.json()["code"]) == (413, "file.too_large")
            assert answer.json()["details"] == {"max_bytes": MEGABYTE}
        assert [file["name"] for file in small.files()] == ["fits"]
        assert len(small.blobs()) == 1


def test_other_methods_are_not_allowed(hub: RunningHub) -> None:
    for method in ("GET", "POST", "DELETE", "PATCH"):
        assert hub.get("/files", method=method).status_code == 405
