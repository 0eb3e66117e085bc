"""Full text: what somebody looks for, which records it is found in, in which order, and where in their texts.

    rust "error handling" async*        every word, the phrase, and what begins with async

All words must be there, in whatever field; the last one, and one before `*`, may go on. Quoted words stand next to
each other. A record whose first searchable field has them all comes before the others; of equals, the one that was
changed last. What a word is says `hub.schema.words`; keepers find the same records whatever they keep. Pure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from hub.schema.query import seal, unseal
from hub.schema.record import Image, RecordType
from hub.schema.times import to_millis
from hub.schema.where import Node, canonical
from hub.schema.words import Token, spans, words
from hub.wire.errors import HubError

WORDS: Final = 64
"""How many words one search may have; a script without blanks counts one for each two neighbours."""
EXCERPT: Final = 240
"""Of a text that is longer, about so many characters around the first hit are shown."""
LEAD: Final = 60
"""How many of them stand before it."""
_QUOTES: Final = re.compile('["\u201c\u201d\u201e\u201f\u00ab\u00bb\uff02]')


class Term(msgspec.Struct, frozen=True):
    """Words that stand next to each other; `prefix`: the last of them may go on."""

    words: tuple[str, ...]
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """The records of one type that are searched."""

    type: RecordType
    where: Node


Place = tuple[int, str, str, str]
"""Where a hit stands in the order: its tier, when it was changed, type and id."""


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for in one account; `after`: behind which hit to go on."""

    terms: tuple[Term, ...]
    scopes: tuple[Scope, ...]
    limit: int
    after: Place | None = None

    def digest(self) -> bytes:
        """Return what binds a cursor to this search: everything but the page."""
        terms = [[list(term.words), term.prefix] for term in self.terms]
        scopes = [[scope.type.name, canonical(scope.where)] for scope in self.scopes]
        return hashlib.sha256(msgspec.json.encode(["search", terms, scopes])).digest()[:12]


@dataclass(frozen=True, slots=True)
class Hit:
    """A record that was found. `tier` is 1 where its first searchable field alone has every word, else 0."""

    image: Image
    tier: int

    @property
    def place(self) -> Place:
        """Where it stands in the order."""
        return (self.tier, self.image["updated_at"], self.image["type"], self.image["id"])


def rank(place: Place) -> tuple[Any, ...]:
    """Return what sorts hits: the higher tier, what was changed last, then type and id."""
    tier, changed, kind, rec = place
    return (-tier, -to_millis(changed), kind, rec)


def parse_search(text: str, path: str = "q") -> tuple[Term, ...]:
    """Return what a text looks for; raise `data.invalid` where that is nothing, or too much."""
    parts = _QUOTES.split(text)
    if len(parts) % 2 == 0:  # one quote is left over, and only a sign
        parts[-2:] = [f"{parts[-2]} {parts[-1]}"]
    terms: list[Term] = []
    for n, part in enumerate(parts):
        terms += _phrase(part) if n % 2 else _loose(part, last=n == len(parts) - 1)
    if not terms:
        raise HubError("data.invalid", "There is no word in it; name at least one.", path=path)
    if sum(len(term.words) for term in terms) > WORDS:
        raise HubError("data.invalid", f"A search has at most {WORDS} words; leave some out.", path=path)
    return tuple(dict.fromkeys(terms))


def _loose(text: str, *, last: bool) -> list[Term]:
    terms: list[Term] = []
    goes_on = False  # whether the last word so far is of a script with blanks, so that it may be unfinished
    for chunk in text.split():
        tokens = spans(chunk)
        if not tokens:
            continue
        terms += [_term([token]) for n, token in enumerate(tokens) if not _repeats(tokens, n)]
        goes_on = tokens[-1].units == 0
        if goes_on and chunk.endswith("*"):
            terms[-1] = Term(terms[-1].words, prefix=True)
    if last and goes_on:
        terms[-1] = Term(terms[-1].words, prefix=True)
    return terms


def _phrase(text: str) -> list[Term]:
    tokens = spans(text)
    if tokens and _repeats(tokens, len(tokens) - 1):
        tokens.pop()
    return [_term(tokens)] if tokens else []


def _term(tokens: Sequence[Token]) -> Term:
    """Return the term of words in a row. One character of a script without blanks is the beginning of a pair."""
    return Term(tuple(token.word for token in tokens), prefix=tokens[-1].units == 1)


def _repeats(tokens: Sequence[Token], n: int) -> bool:
    """Say whether a word only says again how the pair before it ends."""
    return n > 0 and tokens[n].units == 1 and tokens[n - 1].units == 2 and tokens[n - 1].end == tokens[n].end


# -- what is found ------------------------------------------------------------------------------------


def texts_of(kind: RecordType, image: Image) -> Iterator[tuple[str, str]]:
    """Yield the searchable texts of a record, each with the field it stands in; every item of a list is one."""
    for wire in kind.searchable:
        value = image[wire]
        if type(value) is str:
            yield wire, value
        elif value is not None:
            for item in value:
                yield wire, item


def tier_of(terms: Sequence[Term], kind: RecordType, image: Image) -> int | None:
    """Return the tier of a record that has every word, else None."""
    texts = [(wire, words(text)) for wire, text in texts_of(kind, image)]
    if not _has_all(terms, [found for _, found in texts]):
        return None
    return int(_has_all(terms, [found for wire, found in texts if wire == kind.searchable[0]]))


def _has_all(terms: Sequence[Term], texts: Sequence[list[str]]) -> bool:
    return all(any(next(_places(term, text), None) is not None for text in texts) for term in terms)


def _places(term: Term, text: Sequence[str]) -> Iterator[int]:
    """Yield where a term begins in the words of a text."""
    *before, last = term.words
    for n in range(len(text) - len(before)):
        word = text[n + len(before)]
        if (word.startswith(last) if term.prefix else word == last) and list(text[n : n + len(before)]) == before:
            yield n


# -- where it is found ----------------------------------------------------------------------------------


def highlights(terms: Sequence[Term], kind: RecordType, image: Image) -> dict[str, list[str]]:
    """Return the fields that hits stand in, each as pieces of its text: every second one is a hit.

    Pieces are plain text. Of a long text the surroundings of the first hit are shown, with `…` where it was cut.
    """
    shown: dict[str, list[str]] = {}
    for wire in kind.searchable:
        value = image[wire]
        text: str = value if type(value) is str else ", ".join(value or ())
        if marks := _marks(terms, text):
            shown[wire] = _pieces(text, marks)
    return shown


def _marks(terms: Sequence[Term], text: str) -> list[tuple[int, int]]:
    """Return from where to where hits stand in a text, in order, apart from each other."""
    tokens = spans(text)
    plain = [token.word for token in tokens]
    found = [(tokens[n].start, tokens[n + len(term.words) - 1].end) for term in terms for n in _places(term, plain)]
    apart: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if apart and start <= apart[-1][1]:
            apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
        else:
            apart.append((start, end))
    return apart


def _pieces(text: str, marks: list[tuple[int, int]]) -> list[str]:
    begin, stop = 0, len(text)
    if len(text) > EXCERPT:
        first = marks[0]
        if first[0] > LEAD:
            begin = text.find(" ", first[0] - LEAD, first[0]) + 1 or first[0] - LEAD
        stop = max(first[1], min(len(text), begin + EXCERPT))
        if stop < len(text):
            blank = text.rfind(" ", first[1], stop)
            stop = blank if blank > 0 else stop
    pieces, at = ["…" if begin else ""], begin
    for start, end in marks:
        if end > stop:
            break
        pieces[-1] += text[at:start]
        pieces += [text[start:end], ""]
        at = end
    pieces[-1] += text[at:stop] + ("…" if stop < len(text) else "")
    return pieces


# -- pages ------------------------------------------------------------------------------------------------


def make_search_cursor(search: Search, place: Place, secret: bytes) -> str:
    """Return the opaque cursor that goes on behind a hit."""
    return seal(search.digest(), place, secret)


def read_search_cursor(search: Search, cursor: str, secret: bytes) -> Place:
    """Return the place in a cursor of this search; raise `cursor.invalid`."""
    tier, changed, kind, rec = unseal(search.digest(), cursor, secret)
    return (tier, changed, kind, rec)
