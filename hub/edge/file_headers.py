"""The header fields of uploads and downloads: ranges, conditions, digests, types, names. Pure.

Sources: RFC 9110 (conditions 13.1, ranges 14), RFC 9530 (Repr-Digest), RFC 6266 and 8187 (names).
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import quote

from hub.wire.errors import HubError

OCTETS: Final = "application/octet-stream"
_RANGES: Final = 64
"""The most ranges that are looked at; a request with more gets the whole."""

_SPEC = re.compile(r"([0-9]{0,18})-([0-9]{0,18})\Z")
_ETAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_DIGEST = re.compile(r"(?:^|,)[ \t]*sha-256=(?P<value>[^,;]*)", re.IGNORECASE)
_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,80}/[A-Za-z0-9!#$&^_.+-]{1,110}\Z")
_PLAIN = re.compile(r"[^A-Za-z0-9 ._()+=@,;!#$&'{}~^-]")

_INLINE: Final = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif", "image/avif"})
_SERVED: Final = frozenset(
    {"application/pdf", "application/zip", "application/gzip", "text/plain", "text/csv", "text/markdown"}
)
_SERVED_FAMILIES: Final = ("audio/", "video/", "font/")
_PACKED: Final = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_TYPES = mimetypes.MimeTypes()  # Python's own table, the same on every machine


# -- ranges and conditions ---------------------------------------------------------------------------


class Asked(Enum):
    """What a Range field asks for where that is not one range of bytes."""

    WHOLE = "whole"
    NOTHING_THERE = "nothing there"


@dataclass(frozen=True, slots=True)
class Span:
    """One range: the bytes from `start` to before `stop`."""

    start: int
    stop: int


def parse_range(field: str | None, size: int) -> Span | Asked:
    """Return what a Range field asks of `size` bytes.

    What is not understood is ignored, as RFC 9110 says; several ranges get the whole, unless none of them
    holds any byte.
    """
    unit, _, text = (field or "").partition("=")
    if unit.strip().lower() != "bytes":
        return Asked.WHOLE
    specs = [part.strip() for part in text.split(",", _RANGES)]
    if len(specs) > _RANGES:
        return Asked.WHOLE
    spans: list[Span] = []
    satisfiable = False
    for spec in specs:
        found = _SPEC.match(spec)
        if found is None or spec == "-":
            return Asked.WHOLE
        first, last = found[1], found[2]
        if not first:
            count = int(last)
            satisfiable |= count > 0
            span = Span(max(0, size - count), size)
        else:
            if last and int(last) < int(first):
                return Asked.WHOLE
            span = Span(int(first), min(size, int(last) + 1) if last else size)
            satisfiable |= span.start < size
        if span.start < span.stop:
            spans.append(span)
    if not satisfiable:
        return Asked.NOTHING_THERE
    return spans[0] if len(specs) == 1 and spans else Asked.WHOLE


def names_tag(field: str, tag: str, *, weak: bool) -> bool:
    """Say whether a list of entity tags, or `*`, names `tag` (without quotes). `weak` ignores `W/`."""
    if field.strip() == "*":
        return True
    return any(found[2] == tag and (weak or not found[1]) for found in _ETAG.finditer(field))


def range_applies(if_range: str | None, tag: str) -> bool:
    """Say whether the Range field counts: without If-Range, or where that is this very tag."""
    return if_range is None or if_range.strip() == f'"{tag}"'


# -- uploads -----------------------------------------------------------------------------------------


def announced_digest(field: str | None) -> str | None:
    """Return the SHA-256 that a Repr-Digest field announces, as hex, or None without the field."""
    if field is None:
        return None
    found = _DIGEST.search(field)
    value = found["value"].strip() if found else ""
    try:
        if len(value) < 2 or value[0] != ":" or value[-1] != ":":
            raise ValueError
        digest = base64.b64decode(value[1:-1], validate=True)
        if len(digest) != 32:
            raise ValueError
    except (ValueError, binascii.Error):
        raise HubError(
            "data.invalid", "Repr-Digest carries `sha-256=:<base64 of 32 bytes>:`; see RFC 9530.", path="Repr-Digest"
        ) from None
    return digest.hex()


def announced_type(field: str | None, name: str) -> str:
    """Return the content type of an upload: the declared one, or the one that its name suggests."""
    declared = (field or "").partition(";")[0].strip().lower()
    if declared and not _TYPE.match(declared):
        raise HubError("data.invalid", "Content-Type is a type such as image/png.", path="Content-Type")
    if declared and declared not in {OCTETS, "application/x-www-form-urlencoded"}:
        return declared
    guessed, packed = _TYPES.guess_type(f"file:/{name}")
    if packed is not None:
        return _PACKED.get(packed, OCTETS)
    return guessed or OCTETS


# -- downloads ---------------------------------------------------------------------------------------


def sniff(head: bytes) -> str | None:
    """Return the type of a picture that these first 16 bytes begin, or None."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:12] in {b"ftypavif", b"ftypavis"}:
        return "image/avif"
    return None


def served_type(declared: str | None, head: bytes) -> tuple[str, bool]:
    """Return the Content-Type of an answer, and whether it may be shown in a page.

    Nothing that a browser would run or draw as a document is served under its own type, whoever declared
    it; a picture is shown only where its bytes are one.
    """
    if declared is None or declared in _INLINE:
        found = sniff(head)
        return (found, True) if found in _INLINE and found is not None else (OCTETS, False)
    if declared in _SERVED or declared.startswith(_SERVED_FAMILIES):
        return declared, False
    return OCTETS, False


def disposition(name: str | None, *, inline: bool) -> str:
    """Return the Content-Disposition of a file: the name for old readers, then the true one.

    Without a name it says only what to do with the file, so that the name of the page's own link holds.
    """
    kind = "inline" if inline else "attachment"
    if name is None:
        return kind
    plain = _PLAIN.sub("_", name)
    true = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'{kind}; filename="{plain}"{true}'
