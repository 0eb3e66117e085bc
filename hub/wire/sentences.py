"""What a validation found, as a sentence for people.

Knows the phrases of msgspec's validation errors and says what to send instead. A phrase that it does not know
stays as it is. Knows nothing of codes, paths or fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

_SHOWN: Final = 64
"""How many characters of a value that a client made up a sentence repeats."""

_LISTED: Final = 20
"""How many possible values a sentence lists."""

_KINDS: Final[dict[str, str]] = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
    "datetime": "a time such as 2026-11-21T08:54:49.123Z",
    "date": "a date such as 2026-11-21",
    "time": "a time of day such as 08:54:49",
    "duration": "a duration such as PT90S",
    "uuid": "a UUID",
    "decimal": "a decimal number as text",
    "bytes": "bytes as base64 text",
}
_UNITS: Final = {"str": ("Text", "character"), "array": ("A list", "item"), "object": ("An object", "key")}
_INVALID: Final = {
    "RFC3339 encoded datetime": "datetime",
    "RFC3339 encoded date": "date",
    "RFC3339 encoded time": "time",
    "ISO8601 duration": "duration",
    "UUID": "uuid",
    "decimal string": "decimal",
    "base64 encoded string": "bytes",
}


def _one_of(kinds: str) -> str:
    names = [_KINDS.get(kind, kind) for kind in kinds.split(" | ")]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _count(number: str, unit: str) -> str:
    return f"{int(number):,} {unit}{'' if number == '1' else 's'}"


def _kind(found: re.Match[str]) -> str:
    wanted, given = found["wanted"], found["given"]
    if given == "null":
        return f"{_capital(_one_of(wanted))} is expected here; null is not possible."
    whole = given == "float" and "int" in wanted.split(" | ")
    said = "a number with decimals" if whole else _one_of(given)
    return f"{_capital(_one_of(wanted))} is expected here, not {said}."


def _length(found: re.Match[str]) -> str:
    thing, unit = _UNITS.get(found["kind"], ("A value", "item"))
    count = _count(found["limit"], unit)
    if found["sign"] == "<=":
        return f"{thing} has at most {count} here; shorten it."
    return f"{thing} may not be empty here." if found["limit"] == "1" else f"{thing} has at least {count} here."


def _size(found: re.Match[str]) -> str:
    words = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
    limit = found["limit"].removesuffix(".0")
    shown = f"{int(limit):,}" if limit.lstrip("-").isdecimal() else limit
    return f"A number of {words[found['sign']]} {shown} is expected here."


def _choice(value: str, choices: Sequence[str]) -> str:
    said = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
    if choices and len(choices) <= _LISTED:
        listed = " or ".join(filter(None, (", ".join(choices[:-1]), choices[-1])))
        return f"{said} is not possible here; send {listed}."
    return f"{said} is not one of the values that are possible here."


def _format(found: re.Match[str]) -> str:
    kind = _INVALID.get(found["what"])
    return f"{_capital(_KINDS[kind])} is expected here." if kind else f"{found[0]}."


_PHRASES: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...]] = (
    (re.compile(r"Expected `(?P<wanted>[^`]+)`, got `(?P<given>[^`]+)`\Z"), _kind),
    (re.compile(r"Expected `(?P<kind>\w+)` of length (?P<sign>[<>]=) (?P<limit>\d+)\Z"), _length),
    (re.compile(r"Expected `\w+` (?P<sign>[<>]=?) (?P<limit>[-+.\de]+)\Z"), _size),
    (
        re.compile(r"Expected `\w+` that's a multiple of (?P<step>[-+.\de]+)\Z"),
        lambda found: f"A multiple of {found['step']} is expected here.",
    ),
    (
        re.compile(r"Expected `str` matching regex .*\Z", re.DOTALL),
        lambda found: "This text has not the form it needs.",
    ),
    (
        re.compile(r"Expected `\w+` with a timezone component\Z"),
        lambda found: "A time needs its zone here, such as Z or +02:00 at its end.",
    ),
    (
        re.compile(r"Expected `\w+` with no timezone component\Z"),
        lambda found: "A time has no zone here; leave Z or +02:00 out.",
    ),
    (
        re.compile(r"Expected `array` of length (?P<limit>\d+), got (?P<given>\d+)\Z"),
        lambda found: f"A list of {_count(found['limit'], 'item')} is expected here, not of {found['given']}.",
    ),
    (re.compile(r"Invalid (?P<what>.+)\Z", re.DOTALL), _format),
)


_VALUE: Final = re.compile(r"Invalid (?:enum )?value (?P<value>.+)\Z", re.DOTALL)


def in_words(problem: str, choices: Sequence[str] = ()) -> str:
    """Return a sentence for a problem that msgspec found; the path is cut off already.

    `choices` are the values that are possible there, where they are known.
    """
    if (value := _VALUE.match(problem)) is not None:
        return _choice(value["value"], choices)
    for pattern, say in _PHRASES:
        found = pattern.match(problem)
        if found is not None:
            return say(found)
    return problem if problem.endswith((".", "!", "?")) else f"{problem}."
