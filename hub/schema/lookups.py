"""Declaring lookups: lists of codes with names that people choose from.

    badge = Lookup("badge", "What is on a badge.", (LookupEntry("staff", "Staff"), LookupEntry("guest", "Guest")))

What is declared is the global layer, the same for every account; accounts, sites and records lay rows of their own over
it (`hub.schema.core.lookups`, `hub.schema.layers`). Values only: the hub collects them from the core and the packs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from hub.schema.fields import DeclarationError
from hub.schema.layers import GLOBAL, Row, place
from hub.wire.names import TYPE

LANGUAGES: Final = 8
"""In how many languages, besides the declared one, the entries of one lookup are kept."""
CODE_CHARS: Final = 64
NAME_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class LookupEntry:
    """One entry of the global layer.

    `aliases` are other names by which it is found. `part_of` is the code of what it belongs to: the country of a
    subdivision. `priority`, `sort`, `group`, `enable`, `hide` and `cfg` are those of `Listed`.
    """

    code: str
    name: str
    aliases: tuple[str, ...] = ()
    part_of: str = ""
    priority: int = 0
    sort: int = 0
    group: str = ""
    enable: bool = True
    hide: bool = False
    cfg: dict[str, Any] = field(default_factory=dict)


Translator = Callable[[str], str]
"""Returns a name in another language, or the name itself where it has none there."""

_NAMES: Final[set[str]] = set()
"""The lookups that were declared in this process: what rows may be for."""


class Lookup:
    """A declared lookup.

    `entries` are the global layer, or a function that returns it; that one is called once, when somebody first asks, on
    a thread, so it may read files. `translator` returns, on a thread too, what puts names into a language such as `de`
    or `pt-br`, None where there is nothing in it. Raises `DeclarationError`.
    """

    def __init__(
        self,
        name: str,
        doc: str,
        entries: tuple[LookupEntry, ...] | Callable[[], Iterable[LookupEntry]] = (),
        *,
        translator: Callable[[str], Translator | None] | None = None,
    ) -> None:
        if not TYPE.match(name):
            raise DeclarationError(f"{name!r} is no name of a lookup")
        if not doc:
            raise DeclarationError(f"lookup {name}: say what it lists")
        self.name = name
        self.doc = doc
        self._source = entries
        self._translator = translator
        self._lock = threading.Lock()
        # The entries as declared, None until somebody asked.
        self._entries: tuple[LookupEntry, ...] | None = None
        # The codes of those that are enabled, None until somebody asked.
        self._codes: frozenset[str] | None = None
        # Their rows by language; "" is the declared one.
        self._rows: dict[str, tuple[Row, ...]] = {}
        if not callable(entries):
            self._entries = self._checked(entries)
        _NAMES.add(name)

    def __repr__(self) -> str:
        return f"Lookup({self.name})"

    def ready(self, language: str = "") -> tuple[Row, ...] | None:
        """Return the rows of the global layer in order, None where they have to be loaded first."""
        return self._rows.get(language if self._translator else "")

    def load(self, language: str = "") -> tuple[Row, ...]:
        """Return what `ready` does, loaded where it is not; may read files, so run it on a thread."""
        language = language if self._translator else ""
        with self._lock:
            if language not in self._rows:
                if self._entries is None:
                    self._entries = self._checked(tuple(self._source() if callable(self._source) else self._source))
                rows = self._made(language)
                others = [known for known in self._rows if known]
                if language and len(others) >= LANGUAGES:
                    del self._rows[others[0]]
                self._rows[language] = rows
            return self._rows[language]

    def has(self, code: str) -> bool:
        """Say whether an entry of this code is declared and enabled; the first time it may read files."""
        if self._codes is None:
            self.load()
            self._codes = frozenset(entry.code for entry in self._entries or () if entry.enable)
        return code in self._codes

    def _made(self, language: str) -> tuple[Row, ...]:
        entries = self._entries or ()
        if language and self._translator is not None:
            translate = self._translator(language)
            if translate is None:
                if "" not in self._rows:
                    self._rows[""] = self._made("")
                return self._rows[""]
            entries = tuple(map(_translated(translate), entries))
        return tuple(sorted((Row(asdict(entry), GLOBAL, None) for entry in entries), key=place))

    def _checked(self, entries: tuple[LookupEntry, ...]) -> tuple[LookupEntry, ...]:
        codes: set[str] = set()
        keys: set[str] = set()
        for entry in entries:
            key = entry.group or entry.code
            if not 0 < len(entry.code) <= CODE_CHARS or not 0 < len(entry.name) <= NAME_CHARS:
                raise DeclarationError(
                    f"lookup {self.name}: {entry.code!r} needs a code of at most {CODE_CHARS} characters and a name of "
                    f"at most {NAME_CHARS}"
                )
            if entry.code in codes or key in keys:
                raise DeclarationError(f"lookup {self.name}: two entries have the code or group {entry.code!r}")
            codes.add(entry.code)
            keys.add(key)
        return entries


def is_declared(name: str) -> bool:
    """Say whether there is a lookup of this name in this process."""
    return name in _NAMES


def _translated(translate: Translator) -> Callable[[LookupEntry], LookupEntry]:
    """Return what puts an entry into a language; what it is called in the declared one stays an alias."""

    def entry_in(entry: LookupEntry) -> LookupEntry:
        name = translate(entry.name)
        aliases = tuple(dict.fromkeys((*entry.aliases, *map(translate, entry.aliases), entry.name)))
        return entry if name == entry.name else replace(entry, name=name[:NAME_CHARS], aliases=aliases)

    return entry_in
