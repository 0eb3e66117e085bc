"""From the bytes of a schedule file to plain values and clean texts.

Knows: encodings, JSON with the slips that exporters make (byte order mark, raw line ends in strings, NaN), bounds on
size and depth, and which characters a text may hold. Does not know what the values mean.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

from packs.events.schedule_problems import ScheduleError, below

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 64

_LINE_ENDS = re.compile("\r\n|[\r\v\f\x85]")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_NEEDS_CARE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST_INTEGER = 18  # digits; a longer number can only be an identifier and stays text


class Doubled(dict[str, Any]):
    """An object of the document in which a key stands twice with different values."""

    keys_twice: frozenset[str] = frozenset()


def decode(data: bytes) -> Any:
    """Decode a JSON document to dicts, lists, texts, numbers, booleans and None.

    Raises:
        ScheduleError: naming the line and column, or the path of what is nested too deeply.
    """
    if len(data) > MAX_BYTES:
        raise ScheduleError(f"the file has {len(data):,} bytes, at most {MAX_BYTES:,} are read")
    text = _text(data)
    start = text.lstrip()[:1]
    if not start:
        raise ScheduleError("the file is empty", line=1, column=1)
    if start == "<":
        raise ScheduleError("this is XML or HTML; the JSON form of the schedule is needed", line=1, column=1)
    try:
        document = json.loads(
            text,
            strict=False,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        raise ScheduleError(f"not valid JSON: {error.msg}", line=error.lineno, column=error.colno) from None
    except RecursionError:
        raise ScheduleError(f"the document is nested deeper than {MAX_DEPTH} levels") from None
    _check_depth(document)
    return document


def clean(text: str) -> tuple[str, bool]:
    r"""Return the text with line ends as ``\n`` and without characters that no text may hold.

    The second value tells whether something other than a line end was removed or replaced.
    """
    if _NEEDS_CARE.search(text) is None:
        return text, False
    text = _LINE_ENDS.sub("\n", text)
    text, removed = _CONTROLS.subn("", text)
    text, replaced = _SURROGATES.subn("\ufffd", text)
    return text, removed + replaced > 0


def _text(data: bytes) -> str:
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "utf-16" if wide else "utf-8"
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(encoding, "ignore")
        line = before.count("\n") + 1
        column = len(before) - before.rfind("\n")
        raise ScheduleError(f"not valid {encoding.upper()} text", line=line, column=column) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    twice = frozenset(key for key, value in pairs if value != found[key])
    if not twice:
        return found
    doubled = Doubled(found)
    doubled.keys_twice = twice
    return doubled


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else digits


def _constant(_: str) -> None:
    """NaN and Infinity stand for a value that the exporter did not have."""


def _check_depth(document: Any) -> None:
    level: list[tuple[str, Any]] = [("", document)]
    for _ in range(MAX_DEPTH):
        level = [
            (below(path, name), inner)
            for path, value in level
            for name, inner in _inside(value)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise ScheduleError(f"the document is nested deeper than {MAX_DEPTH} levels", path=level[0][0])


def _inside(value: Any) -> Any:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()
