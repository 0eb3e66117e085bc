"""The header fields of uploads and downloads, as pure functions."""

from __future__ import annotations

import random

import pytest

from hub.edge.file_headers import (
    Asked,
    Span,
    announced_digest,
    announced_type,
    disposition,
    names_tag,
    parse_range,
    range_applies,
    served_type,
    sniff,
)
from hub.wire.errors import HubError
from tests.wire.files.support import digest_of, repr_digest

TAG = "a" * 64
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (None, Asked.WHOLE),
        ("bytes=0-", Span(0, 100)),
        ("bytes=0-0", Span(0, 1)),
        ("bytes=10-19", Span(10, 20)),
        ("BYTES=10-19", Span(10, 20)),
        ("bytes= 10-19 ", Span(10, 20)),
        ("bytes=99-", Span(99, 100)),
        ("bytes=90-1000", Span(90, 100)),
        ("bytes=0-999999999999999999", Span(0, 100)),
        ("bytes=-1", Span(99, 100)),
        ("bytes=-100", Span(0, 100)),
        ("bytes=-1000", Span(0, 100)),
        ("bytes=-0", Asked.NOTHING_THERE),
        ("bytes=100-", Asked.NOTHING_THERE),
        ("bytes=100-200", Asked.NOTHING_THERE),
        ("bytes=100-,200-", Asked.NOTHING_THERE),
        ("bytes=0-1,5-6", Asked.WHOLE),
        ("bytes=0-1,200-", Asked.WHOLE),
        ("bytes=200-,0-1", Asked.WHOLE),
        ("bytes=20-10", Asked.WHOLE),
        ("bytes=-", Asked.WHOLE),
        ("bytes=", Asked.WHOLE),
        ("bytes=a-b", Asked.WHOLE),
        ("bytes=1-2-3", Asked.WHOLE),
        ("bytes=0x1-2", Asked.WHOLE),
        ("bytes=１-２", Asked.WHOLE),
        ("bytes=+1-2", Asked.WHOLE),
        ("bytes=--1", Asked.WHOLE),
        ("items=0-1", Asked.WHOLE),
        ("bytes:0-1", Asked.WHOLE),
        ("0-1", Asked.WHOLE),
        ("", Asked.WHOLE),
        ("bytes=" + "9" * 4000 + "-", Asked.WHOLE),
        ("bytes=" + "0-," * 100_000, Asked.WHOLE),
    ],
)
def test_a_range_is_understood_or_ignored(field: str | None, expected: Span | Asked) -> None:
    assert parse_range(field, 100) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [("bytes=0-", Asked.NOTHING_THERE), ("bytes=0-0", Asked.NOTHING_THERE), ("bytes=-5", Asked.WHOLE)],
)
def test_a_file_of_no_bytes_has_no_range(field: str, expected: Asked) -> None:
    assert parse_range(field, 0) == expected


def test_no_range_field_breaks_the_parser_or_leaves_the_file() -> None:
    draw = random.Random(1)
    for _ in range(20_000):
        field = "bytes=" + "".join(draw.choice("0123456789-,- =\t;x") for _ in range(draw.randrange(14)))
        size = draw.choice([0, 1, 7, 100])
        found = parse_range(field, size)
        if isinstance(found, Span):
            assert 0 <= found.start < found.stop <= size


@pytest.mark.parametrize(
    ("field", "weak", "expected"),
    [
        ("*", False, True),
        (f'"{TAG}"', False, True),
        (f'W/"{TAG}"', False, False),
        (f'W/"{TAG}"', True, True),
        (f'"x", "{TAG}"', False, True),
        (f'"x","y" , W/"{TAG}"', True, True),
        ('"x"', True, False),
        (TAG, True, False),
        (f'"{TAG}', True, False),
        ("", True, False),
        (f'"a,{TAG}"', True, False),
    ],
)
def test_entity_tags_are_compared_as_the_standard_says(field: str, weak: bool, expected: bool) -> None:
    assert names_tag(field, TAG, weak=weak) is expected


def test_a_range_counts_only_for_the_very_same_bytes() -> None:
    assert range_applies(None, TAG)
    assert range_applies(f'"{TAG}"', TAG)
    for other in (f'W/"{TAG}"', '"x"', TAG, "Sat, 21 Nov 2026 08:00:00 GMT"):
        assert not range_applies(other, TAG)


@pytest.mark.parametrize(
    "form", ["{}", "sha-512=:AAAA:, {}", "{}, sha-512=:AAAA:", "{};x=1", "  {}", "sha-512=:AA==:,{}"]
)
def test_a_digest_is_found_among_others(form: str) -> None:
    assert announced_digest(form.format(repr_digest(b"bytes"))) == digest_of(b"bytes")
    assert announced_digest(None) is None


@pytest.mark.parametrize(
    "field",
    [
        "", "sha-256", "sha-256=", "sha-256=::", "sha-256=:AAAA:", "sha-512=:AAAA:", repr_digest(b"x").replace(":", ""),
        repr_digest(b"x").replace("=:", "=:!"), "sha-256=" + digest_of(b"x"), "xsha-256=:" + "A" * 43 + "=:",
    ],
)  # fmt: skip
def test_a_digest_that_cannot_be_checked_is_refused(field: str) -> None:
    with pytest.raises(HubError) as refusal:
        announced_digest(field)
    assert (refusal.value.code, refusal.value.path) == ("data.invalid", "Repr-Digest")


@pytest.mark.parametrize(
    ("declared", "name", "expected"),
    [
        ("image/png", "a.txt", "image/png"),
        ("Text/HTML; charset=utf-8", "a", "text/html"),
        (None, "a.png", "image/png"),
        ("", "slides.pdf", "application/pdf"),
        ("application/octet-stream", "a.mp4", "video/mp4"),
        ("application/x-www-form-urlencoded", "a.csv", "text/csv"),
        (None, "a.tar.gz", "application/gzip"),
        (None, "a", "application/octet-stream"),
        (None, "a.qqq", "application/octet-stream"),
        (None, "data:text/html,x", "application/octet-stream"),
        (None, "http:evil.html?a.png", "image/png"),
    ],
)
def test_the_type_of_an_upload_is_declared_or_guessed(declared: str | None, name: str, expected: str) -> None:
    assert announced_type(declared, name) == expected


@pytest.mark.parametrize("declared", ["png", "a/b/c", "a/", "/b", "text/<script>", "é/x", "a b/c", "x/" + "y" * 200])
def test_a_type_that_is_none_is_refused(declared: str) -> None:
    with pytest.raises(HubError, match=r"data\.invalid at Content-Type"):
        announced_type(declared, "a")


PICTURES = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    "image/gif": b"GIF89a\1\0\1\0",
    "image/webp": b"RIFF\x24\0\0\0WEBPVP8 ",
    "image/avif": b"\0\0\0\x1cftypavif\0\0\0\0",
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_is_shown_when_its_bytes_are_one(kind: str) -> None:
    assert sniff(PICTURES[kind]) == kind
    assert served_type(kind, PICTURES[kind]) == (kind, True)
    assert served_type(None, PICTURES[kind]) == (kind, True)
    assert served_type(kind, b"<html><script>") == ("application/octet-stream", False)


ACTIVE = [
    "text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml", "text/javascript",
    "application/javascript", "application/ecmascript", "text/css", "application/wasm", "application/json",
    "application/x-shockwave-flash", "text/vtt", "multipart/x-mixed-replace", "message/rfc822", "application/rss+xml",
    "image/bmp", "image/tiff", "x/y", "", "application/x-pkcs12", "text/cache-manifest", "application/mathml+xml",
]  # fmt: skip


@pytest.mark.parametrize("kind", ACTIVE)
@pytest.mark.parametrize("head", [b"", b"<svg onload=alert(1)>", PNG, b"GIF89a/*", b"%PDF-1.7", b"<!doctype html>"])
def test_what_a_browser_could_run_is_never_served_as_such(kind: str, head: bytes) -> None:
    assert served_type(kind, head) == ("application/octet-stream", False)


@pytest.mark.parametrize("kind", ["application/pdf", "video/mp4", "audio/ogg", "text/plain", "application/zip"])
def test_harmless_types_are_kept_and_never_shown_in_a_page(kind: str) -> None:
    assert served_type(kind, PNG) == (kind, False)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("slides.pdf", 'attachment; filename="slides.pdf"'),
        ("Über uns.pdf", "attachment; filename=\"_ber uns.pdf\"; filename*=UTF-8''%C3%9Cber%20uns.pdf"),
        ('a"b.txt', "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt"),
        ("a%b.txt", "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%25b.txt"),
        ("x; filename=evil.exe", 'attachment; filename="x; filename=evil.exe"'),
        ("a\\b", "attachment; filename=\"a_b\"; filename*=UTF-8''a%5Cb"),
        ("a\r\nset-cookie: x", "attachment; filename=\"a__set-cookie_ x\"; filename*=UTF-8''a%0D%0Aset-cookie%3A%20x"),
    ],
)
def test_a_name_is_told_without_breaking_the_field(name: str, expected: str) -> None:
    assert disposition(name, inline=False) == expected
    assert disposition(name, inline=True).startswith("inline; ")
