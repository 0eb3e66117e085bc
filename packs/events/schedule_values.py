"""Single values of a schedule document: texts, names, keys, flags and links, read with patience.

Knows: how exporters spell absence (null, "", [], {}), translations, numbers where texts belong, identifiers.
Does not know the shape of the document around a value: the caller passes its path, findings go to `Findings`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

from packs.events.schedule_json import Doubled, clean
from packs.events.schedule_problems import Findings, below, quoted

NAMESPACE = uuid.UUID("0b5a9f2e-6f0c-5a1e-9d53-6f1d6f1f2c71")
"""Under this all keys are derived that a source does not give."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_TRUE = frozenset({"true", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "no", "n", "off", "0", "", "none", "null"})


def derived(kind: str, *parts: str) -> str:
    """Return a stable UUID for something that its source gives no usable key."""
    return str(uuid.uuid5(NAMESPACE, "\x1f".join((kind, *parts)).encode("utf-8", "replace").decode()))


class Values:
    """Reads values out of objects; everything odd goes to `findings` with its path."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings

    def get(self, thing: dict[str, Any], path: str, *names: str) -> tuple[Any, str]:
        """Return the first of these members that is there and not empty, and its path; else None."""
        for name in names:
            value = thing.get(name)
            if isinstance(thing, Doubled) and name in thing.keys_twice:
                self.findings.problem(below(path, name), "this key stands twice in its object, with different values")
                continue
            if not absent(value):
                return value, below(path, name)
        return None, below(path, names[0])

    def object(self, value: Any, path: str, what: str) -> dict[str, Any] | None:
        """Return the value if it is an object, else note the problem."""
        if isinstance(value, dict):
            return value
        self.findings.problem(path, f"{what} must be an object, this is {described(value)}")
        return None

    def members(self, value: Any, path: str, what: str) -> Iterator[tuple[Any, str]]:
        """Yield each member of a list, or of an object that stands for one, with its path."""
        if absent(value):
            return
        if isinstance(value, list):
            for index, member in enumerate(value):
                yield member, below(path, index)
        elif isinstance(value, dict):
            for name, member in value.items():
                yield member, f"{path}[{quoted(name)}]"
        else:
            self.findings.problem(path, f"{what} must be a list, this is {described(value)}")

    def body(self, thing: dict[str, Any], path: str, name: str, longest: int) -> str:
        """Read a text of many lines, "" where there is none."""
        value, where = self.get(thing, path, name)
        return self.text(value, where, longest)

    def line(self, thing: dict[str, Any], path: str, longest: int, *names: str) -> str:
        """Read a text of one line, "" where there is none."""
        value, where = self.get(thing, path, *names)
        return self.label(value, where, longest)

    def label(self, value: Any, path: str, longest: int) -> str:
        """Read a name: a text of one line, also out of an object with `name` or with translations."""
        if isinstance(value, dict):
            for name in ("name", "title", "value"):
                if not absent(value.get(name)):
                    return self.label(value[name], below(path, name), longest)
        return self.cut(" ".join(self.text(value, path, None).split()), path, longest)

    def text(self, value: Any, path: str, longest: int | None) -> str:
        """Read a text; numbers count as their digits, of translations one is taken (English first)."""
        if absent(value):
            return ""
        if isinstance(value, dict):
            spoken = [value.get("en"), value.get("de"), *value.values()]
            value = next((text for text in spoken if not absent(text)), "")
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            self.findings.problem(path, f"a text is expected, this is {described(value)}")
            return ""
        text, changed = clean(value)
        if changed:
            self.findings.warn(path, "characters that a text cannot hold were removed")
        return self.cut(text.strip(), path, longest)

    def cut(self, text: str, path: str, longest: int | None) -> str:
        """Shorten a text that is longer than its field."""
        if longest is None or len(text) <= longest:
            return text
        self.findings.warn(path, f"the text has {len(text):,} characters and was cut to {longest:,}")
        return text[:longest].strip()

    def key(self, thing: dict[str, Any], path: str, kind: str, longest: int, *names: str) -> str:
        """Read an identifier as text from the first member that has one; an over-long one becomes a UUID."""
        for name in names:
            value, where = self.get(thing, path, name)
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            if value is None or isinstance(value, bool):
                continue
            if isinstance(value, dict | list):
                self.findings.problem(where, f"an identifier is expected, this is {described(value)}")
                return ""
            text = " ".join(clean(str(value))[0].split())
            if len(text) > longest:
                self.findings.warn(where, "the identifier is too long and was replaced by one derived from it")
                text = derived(kind, text)
            if text:
                return text.lower() if _UUID.fullmatch(text) else text
        return ""

    def flag(self, thing: dict[str, Any], path: str, name: str) -> bool:
        """Read a yes or no; what is neither counts as yes, with a warning."""
        value, where = self.get(thing, path, name)
        if value is None or isinstance(value, bool):
            return bool(value)
        word = str(value).strip().lower() if isinstance(value, str | int | float) else quoted(value)
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        self.findings.warn(where, f"{quoted(value)} is neither true nor false and counts as true")
        return True

    def link(self, thing: dict[str, Any], path: str, base: str, longest: int, *names: str) -> str:
        """Read a web address, a relative one against `base`; anything but http and https is left out."""
        value, where = self.get(thing, path, *names)
        text = self.label(value, where, 10 * longest)
        if not text:
            return ""
        try:
            address = urljoin(base, text)
            parts = urlsplit(address)
            usable = parts.scheme in {"http", "https"} and bool(parts.netloc) and len(address) <= longest
        except ValueError:
            usable, address = False, ""
        if not usable:
            self.findings.warn(where, f"{quoted(text)} is not a usable web address and was left out")
            return ""
        return address


def absent(value: Any) -> bool:
    """Tell whether a value says that there is none; `False` and `0` are values."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, list | dict) and not value)


def described(value: Any) -> str:
    """Name the kind of a JSON value in a sentence."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return f"the text {quoted(value)}"
    if isinstance(value, int | float):
        return f"the number {quoted(value)}"
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else "null"
