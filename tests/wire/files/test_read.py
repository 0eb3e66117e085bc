"""GET and HEAD of files: who may read what, ranges and conditions, and headers that make bytes harmless."""

from __future__ import annotations

import concurrent.futures
import hashlib
import random
from typing import Any
from urllib.parse import quote

import pytest

from tests.wire.files.support import MEGABYTE, RunningHub, digest_of, random_bytes, repr_digest

SIZE = 700_001
DATA = random_bytes(42, SIZE)
PATH = f"/files/sha256/{digest_of(DATA)}"
TAG = f'"{digest_of(DATA)}"'


@pytest.fixture(scope="module", autouse=True)
def stored(hub: RunningHub) -> dict[str, Any]:
    """A file that every test may read."""
    record: dict[str, Any] = hub.put("read.bin", DATA).json()
    return record


def test_the_whole_file_comes_with_the_headers_that_it_needs(hub: RunningHub) -> None:
    answer = hub.get(PATH)
    assert answer.status_code == 200
    assert answer.content == DATA
    expected = {
        "content-length": str(SIZE),
        "content-type": "application/octet-stream",
        "etag": TAG,
        "accept-ranges": "bytes",
        "cache-control": "private, max-age=31536000, immutable",
        "vary": "authorization",
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox; default-src 'none'",
        "content-disposition": 'attachment; filename="read.bin"',
        "repr-digest": repr_digest(DATA),
    }
    assert {name: answer.headers.get(name) for name in expected} == expected


def test_head_tells_the_same_without_the_bytes(hub: RunningHub) -> None:
    get, head = hub.get(PATH), hub.get(PATH, method="HEAD", headers={"range": "bytes=0-1"})
    assert head.status_code == 200
    assert head.content == b""
    assert {n: v for n, v in head.headers.items() if n != "date"} == {
        n: v for n, v in get.headers.items() if n != "date"
    }
    assert hub.get(f"/files/sha256/{'0' * 64}", method="HEAD").status_code == 404


@pytest.mark.parametrize("who", ["owner", "editor", "viewer"])
def test_every_role_that_reads_the_record_reads_the_bytes(hub: RunningHub, who: str) -> None:
    assert hub.get(PATH, who).content == DATA


def test_another_accounts_hash_answers_like_one_that_is_not_there(hub: RunningHub) -> None:
    foreign = hub.get(PATH, "foreign")
    missing = hub.get(f"/files/sha256/{'0' * 64}", "foreign")
    malformed = hub.get("/files/sha256/nonsense", "foreign")
    assert foreign.status_code == missing.status_code == malformed.status_code == 404
    assert foreign.content == missing.content == malformed.content
    assert foreign.json()["code"] == "record.not_found"
    kept = ("content-type", "content-length", "cache-control")
    assert [foreign.headers[n] for n in kept] == [missing.headers[n] for n in kept]


def test_the_same_bytes_in_another_account_are_read_through_its_own_link(hub: RunningHub) -> None:
    data = random_bytes(43, 1000)
    hub.put("mine", data)
    assert hub.get(f"/files/sha256/{digest_of(data)}", "foreign").status_code == 404
    hub.put("theirs", data, "foreign", rec=hub.other_event)
    answer = hub.get(f"/files/sha256/{digest_of(data)}", "foreign")
    assert answer.content == data
    assert 'filename="theirs"' in answer.headers["content-disposition"]


def test_a_deleted_link_opens_nothing(hub: RunningHub) -> None:
    data = random_bytes(44, 1000)
    record = hub.put("deleted", data).json()
    hub.ask("record.delete", type="event_file", rec=record["id"])
    assert hub.get(f"/files/sha256/{digest_of(data)}").status_code == 404
    assert hub.get(f"/files/event_file/{record['id']}").status_code == 404


def test_a_guest_is_told_to_sign_in(hub: RunningHub) -> None:
    for path in (PATH, f"/files/sha256/{'0' * 64}", "/files/event_file/AAAAAAAAAAA"):
        answer = hub.get(path, None)
        assert (answer.status_code, answer.json()["code"]) == (401, "auth.required")
        assert answer.headers["www-authenticate"] == "Bearer"
        cookie = hub.get(path, None, headers={"cookie": f"token={hub.keys['owner']}"})
        assert cookie.status_code == 401


def test_a_wrong_account_is_refused(hub: RunningHub) -> None:
    assert hub.get(PATH, headers={"x-aether-account": "main"}).status_code == 200
    for account in ("other", "nonsense", "system"):
        assert hub.get(PATH, headers={"x-aether-account": account}).status_code == 404


def test_a_secret_in_the_address_is_refused(hub: RunningHub) -> None:
    for name in ("token", "key"):
        assert hub.get(f"{PATH}?{name}={hub.keys['owner']}", None).status_code == 400


@pytest.mark.parametrize(
    "trick",
    [
        "../hub.db", "..%2fhub.db", "%2e%2e/hub.db", "%2e%2e%2fhub.db", "..%5chub.db", "....//hub.db", "%00", "a%00b",
        "/etc/passwd", "%2fetc%2fpasswd", "..;/hub.db", "%252e%252e%252f", "incoming", "incoming%2fx", "~",
        digest_of(DATA).upper(), digest_of(DATA) + "%0a", digest_of(DATA) + "%00", digest_of(DATA) + ".pieces",
        digest_of(DATA)[:-1], digest_of(DATA) + "0", "%20" + digest_of(DATA), f"../../{digest_of(DATA)}",
        f"{digest_of(DATA)[:2]}/{digest_of(DATA)[2:4]}/{digest_of(DATA)}", "%ff", "%c0%ae%c0%ae%c0%af", "%ef%bc%8f",
    ],
)  # fmt: skip
def test_no_text_in_the_address_reaches_a_path(hub: RunningHub, trick: str) -> None:
    answer = hub.get(f"/files/sha256/{trick}")
    assert answer.status_code == 404
    assert answer.json()["code"] in {"record.not_found", "op.unknown", "type.unknown"}
    assert b"SQLite" not in answer.content


def test_five_hundred_random_tricks_hit_nothing(hub: RunningHub) -> None:
    draw = random.Random(5)
    pieces = [
        "..",
        "/",
        "%2f",
        "%2e",
        "\\",
        "%5c",
        "%00",
        "blobs",
        "hub.db",
        "incoming",
        "etc",
        "passwd",
        "%25",
        "a",
        "~",
    ]
    tricks = ["".join(draw.choices(pieces, k=draw.randrange(1, 9))) for _ in range(500)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda trick: hub.get(f"/files/sha256/{quote(trick, safe='%/')}"), tricks))
    assert {answer.status_code for answer in answers} <= {404, 405}


# -- ranges and conditions ---------------------------------------------------------------------------


def test_any_range_is_the_same_part_of_the_file(hub: RunningHub) -> None:
    draw = random.Random(6)
    for _ in range(40):
        first = draw.randrange(SIZE)
        last = draw.randrange(first, SIZE + 1000)
        answer = hub.get(PATH, headers={"range": f"bytes={first}-{last}"})
        assert answer.status_code == 206
        assert answer.content == DATA[first : last + 1]
        assert answer.headers["content-range"] == f"bytes {first}-{min(last, SIZE - 1)}/{SIZE}"
        assert answer.headers["content-length"] == str(len(answer.content))
        assert answer.headers["etag"] == TAG


@pytest.mark.parametrize(
    ("field", "status", "start"),
    [
        ("bytes=-1", 206, SIZE - 1),
        ("bytes=-99999999", 206, 0),
        ("bytes=700000-", 206, 700_000),
        ("bytes=0-1,5-6", 200, 0),
        ("bytes=5-1", 200, 0),
        ("seconds=0-1", 200, 0),
        ("bytes=" + "0-0," * 200 + "0-0", 200, 0),
    ],
)
def test_odd_ranges_get_what_the_standard_says(hub: RunningHub, field: str, status: int, start: int) -> None:
    answer = hub.get(PATH, headers={"range": field})
    assert answer.status_code == status
    assert answer.content == DATA[start:]


@pytest.mark.parametrize("field", [f"bytes={SIZE}-", "bytes=-0", f"bytes={SIZE}-,9999999-"])
def test_a_range_behind_the_end_is_not_satisfiable(hub: RunningHub, field: str) -> None:
    answer = hub.get(PATH, headers={"range": field})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{SIZE}"
    assert (answer.json()["op"], answer.json()["path"]) == ("error", "Range")
    assert "Content-Disposition" not in answer.headers


@pytest.mark.parametrize(
    ("if_range", "status"), [(TAG, 206), ('"other"', 200), (f"W/{TAG}", 200), ("Sat, 21 Nov 2026 08:00:00 GMT", 200)]
)
def test_a_range_counts_only_if_the_file_is_the_same(hub: RunningHub, if_range: str, status: int) -> None:
    answer = hub.get(PATH, headers={"range": "bytes=0-9", "if-range": if_range})
    assert answer.status_code == status
    assert answer.content == (DATA[:10] if status == 206 else DATA)


@pytest.mark.parametrize(
    ("field", "status"), [(TAG, 304), (f"W/{TAG}", 304), (f'"x", {TAG}', 304), ("*", 304), ('"x"', 200)]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_reader_that_has_the_file_is_told_so(hub: RunningHub, field: str, status: int, method: str) -> None:
    answer = hub.get(
        PATH,
        method=method,
        headers={"if-none-match": field, "range": "bytes=0-9"} if status == 304 else {"if-none-match": field},
    )
    assert answer.status_code == status
    assert answer.headers["etag"] == TAG
    if status == 304:
        assert answer.content == b""
        assert "content-length" not in answer.headers
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"


@pytest.mark.parametrize(
    ("field", "status"), [('"x"', 412), (f"W/{TAG}", 412), (TAG, 200), ("*", 200), (f'"x", {TAG}', 200)]
)
def test_a_reader_that_wants_other_bytes_gets_none(hub: RunningHub, field: str, status: int) -> None:
    answer = hub.get(PATH, headers={"if-match": field})
    assert answer.status_code == status
    if status == 412:
        assert (answer.json()["op"], answer.json()["code"]) == ("error", "record.conflict")
        both = hub.get(PATH, headers={"if-match": field, "if-none-match": TAG})
        assert both.status_code == 412, "If-Match is looked at first"


def test_conditions_tell_nothing_about_files_of_others(hub: RunningHub) -> None:
    for fields in ({"if-none-match": "*"}, {"if-match": '"x"'}, {"range": "bytes=99999999-"}, {"if-none-match": TAG}):
        assert hub.get(PATH, "foreign", headers=fields).status_code == 404
        assert hub.get(PATH, None, headers=fields).status_code == 401


# -- by record ---------------------------------------------------------------------------------------


def test_a_file_record_leads_to_its_bytes(hub: RunningHub, stored: dict[str, Any]) -> None:
    answer = hub.get(f"/files/event_file/{stored['id']}", "viewer", headers={"range": "bytes=5-9"})
    assert (answer.status_code, answer.content) == (206, DATA[5:10])
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["etag"] == TAG
    assert hub.get(f"/files/event_file/{stored['id']}", headers={"if-none-match": TAG}).status_code == 304


def test_a_file_record_of_others_answers_like_one_that_is_not_there(hub: RunningHub, stored: dict[str, Any]) -> None:
    foreign = hub.get(f"/files/event_file/{stored['id']}", "foreign")
    missing = hub.get("/files/event_file/AAAAAAAAAAA", "foreign")
    assert foreign.status_code == missing.status_code == 404
    assert foreign.content == missing.content


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("event/x", 422, "data.invalid"), ("nonsense/x", 404, "type.unknown"), ("user/x", 403, "access.denied")],
)
def test_only_file_records_have_bytes(hub: RunningHub, path: str, status: int, code: str) -> None:
    answer = hub.get(f"/files/{path}", "viewer" if status == 403 else "owner")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


# -- bytes that would like to be a page --------------------------------------------------------------

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + bytes(30)
SCRIPT = b"<script>alert(document.domain)</script>"
POLYGLOTS = [
    ("page.html", "text/html", SCRIPT),
    ("page.xhtml", "application/xhtml+xml", b"<html xmlns='x'>" + SCRIPT),
    ("x.svg", "image/svg+xml", b"<svg xmlns='x' onload='alert(1)'/>"),
    ("x.xml", "text/xml", b"<?xml version='1.0'?><x/>"),
    ("x.js", "text/javascript", b"alert(1)"),
    ("x.css", "text/css", b"*{background:url(//evil)}"),
    ("x.swf", "application/x-shockwave-flash", b"FWS"),
    ("x.htm", "image/png", SCRIPT),
    ("x.png", "image/png", SCRIPT),
    ("x.png", "text/html", PNG + SCRIPT),
    ("gif.html", "text/html", b"GIF89a/*" + SCRIPT),
    ("gif.js", "text/javascript", b"GIF89a=1;alert(1)"),
    ("x.pdf", "application/pdf", b"%PDF-1.7 " + SCRIPT),
    ("x.json", "application/json", b'{"a":"<script>"}'),
    ("x", "application/octet-stream", SCRIPT),
    ("x.txt", "text/plain", SCRIPT),
    ("x.mht", "message/rfc822", b"MIME-Version: 1.0"),
    ("x.html.png", "multipart/x-mixed-replace", SCRIPT),
]


@pytest.mark.parametrize(("name", "kind", "data"), POLYGLOTS)
def test_no_upload_becomes_a_page_of_ours(hub: RunningHub, name: str, kind: str, data: bytes) -> None:
    record = hub.put(name, data, headers={"content-type": kind}).json()
    for path in (f"/files/event_file/{record['id']}", f"/files/sha256/{record['sha256']}"):
        answer = hub.get(path)
        assert answer.content == data
        assert answer.headers["content-disposition"].startswith("attachment; ")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert answer.headers["content-type"] in {"application/octet-stream", "application/pdf", "text/plain"}


def test_a_picture_that_is_one_may_be_shown(hub: RunningHub) -> None:
    record = hub.put("picture.png", PNG).json()
    answer = hub.get(f"/files/event_file/{record['id']}")
    assert answer.headers["content-disposition"] == 'inline; filename="picture.png"'
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"


def test_bytes_that_are_damaged_on_disk_are_not_served_as_a_shorter_file(hub: RunningHub) -> None:
    data = random_bytes(45, 2 * MEGABYTE)
    record = hub.put("damaged", data).json()
    path = hub.data / "blobs" / data_place(data)
    path.write_bytes(data[: MEGABYTE + 7])
    answer = hub.get(f"/files/event_file/{record['id']}")
    assert (answer.status_code, answer.json()["code"]) == (503, "server.unavailable")
    path.unlink()
    answer = hub.get(f"/files/sha256/{digest_of(data)}")
    assert (answer.status_code, answer.json()["code"]) == (503, "server.unavailable")
    assert answer.headers["retry-after"] == "60"
    assert hub.put("damaged", data).status_code == 200, "an upload heals it"
    assert hashlib.sha256(hub.get(f"/files/sha256/{digest_of(data)}").content).hexdigest() == digest_of(data)


def data_place(data: bytes) -> str:
    digest = digest_of(data)
    return f"{digest[:2]}/{digest[2:4]}/{digest}"
