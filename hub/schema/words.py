"""The one tokeniser: from a text to the words that full text compares, in Python and in databases.

A text is folded (`hub.schema.fold`) and loses its accents, so that "chloe" finds "Chloé"; then it is cut: a word is a
run of letters, digits and the marks behind them, all other characters end it. Scripts that are written without blanks
(Chinese, Japanese, Korean, Thai, Lao, Khmer, Burmese) are cut into pairs of neighbours, and the last character of a
run stands once more alone; so whatever part of a run is looked for is there. A symbol such as an emoji is a word by
itself. Of a long word the beginning counts.

`words` is what an index keeps; `spans` says where they stand in the text as it is stored. Knows no record.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Final

import msgspec

from hub.schema.fold import fold

VERSION: Final = f"1/{unicodedata.unidata_version}"
"""Which words a text has: an index of another version is made anew."""
LETTERS: Final = 70
"""How much a word costs at most, by `cost`; what is beyond it is not compared."""
_PAIRED: Final = (
    (0xE00, 0xEFF), (0x1000, 0x109F), (0x1100, 0x11FF), (0x1780, 0x17FF), (0x3005, 0x3007), (0x3040, 0x312F),
    (0x31A0, 0x31BF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA960, 0xA97F), (0xAC00, 0xD7FF),
    (0xF900, 0xFAFF), (0x1AFF0, 0x1B16F), (0x20000, 0x323AF),
)  # fmt: skip
"""The characters of scripts without blanks."""
_JAMO: Final = re.compile("[\u1160-\u11ff\ud7b0-\ud7ff\U00016d67]")
"""What joins the letter before it although it is no mark."""
_ACCENTS: Final = re.compile("[\u0300-\u036f]+")
_ASCII_WORD: Final = re.compile(r"[0-9a-z]+")


class Token(msgspec.Struct, frozen=True, gc=False):
    """A word where it stands: from `start` to `end` in its text.

    `units`: how many characters of a script without blanks it is, 0 for other words; 1 ends a run.
    """

    word: str
    start: int
    end: int
    units: int = 0


def cost(character: str) -> int:
    """Return what a character adds to the length of a word: as many places as it takes where only ASCII fits."""
    code = ord(character)
    if code < 0x80:
        return 1
    return 3 if code < 0x500 else 5 if code < 0x22780 else 6


@lru_cache(1)
def _pattern() -> re.Pattern[str]:
    marks, signs, paired = _classes()
    letter = rf"[^\W_{paired}]"
    # Looking ahead is cheap; looking into a class of hundreds of ranges is not.
    unit, sign = rf"(?:(?!\W)[{paired}]{marks}*)", rf"(?=[^\x00-\xa5])[{signs}]"
    return re.compile(rf"(?P<word>{letter}+(?:{marks}+{letter}*)*)|(?P<run>(?=[^\x00-\u0dff]){unit}+)|{sign}")


@lru_cache(1)
def _unit() -> re.Pattern[str]:
    return re.compile(f".{_classes()[0]}*", re.DOTALL)


@lru_cache(1)
def _classes() -> tuple[str, str, str]:
    """Return a pattern of one mark, then symbols and what is paired as the inside of a class."""
    marks: list[tuple[int, int]] = []
    signs: list[tuple[int, int]] = []
    category = unicodedata.category
    for code in (*range(0x80, 0x3400), *range(0xA000, 0xAC00), *range(0xF900, 0x20000), *range(0xE0000, 0xE0200)):
        what = category(chr(code))
        if what[0] == "M":
            marks.append((code, code))
        elif what == "So":
            signs.append((code, code))
    mark = rf"(?:(?=[^\x00-\u02ff\u309b-\ua66e\uac00-\ufb1d])[{_class(marks)}])"
    return mark, _class(signs), _class(list(_PAIRED))


def _class(ranges: list[tuple[int, int]]) -> str:
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges)


def plain(text: str) -> str:
    """Return a text as it is cut into words: folded, without accents."""
    folded = fold(text)
    if folded.isascii():
        return folded
    return unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", folded)))


def words(text: str) -> list[str]:
    """Return the words of a text, in order, as often as they stand in it."""
    folded = plain(text)
    if folded.isascii():
        return [word if len(word) <= LETTERS else word[:LETTERS] for word in _ASCII_WORD.findall(folded)]
    found: list[str] = []
    for match in _pattern().finditer(folded):
        if match["run"] is None:
            found.append(_cut(match[0]))
        else:
            found += [token.word for token in _run(folded, *match.span())]
    return found


def spans(text: str) -> list[Token]:
    """Return the words of a text with their places in it, in order; the words are those of `words`."""
    if text.isascii():
        return list(_tokens(text.lower()))
    pieces = [(plain(text[start:end]), start, end) for start, end in _clusters(text)]
    begins = [start for piece, start, _ in pieces for _ in piece]
    ends = [end for piece, _, end in pieces for _ in piece]
    folded = "".join(piece for piece, _, _ in pieces)
    return [Token(token.word, begins[token.start], ends[token.end - 1], token.units) for token in _tokens(folded)]


def _tokens(folded: str) -> Iterator[Token]:
    for match in _pattern().finditer(folded):
        if match["run"] is None:
            yield Token(_cut(match[0]), *match.span())
        else:
            yield from _run(folded, *match.span())


def _run(folded: str, start: int, end: int) -> Iterator[Token]:
    """Yield the words of a run without blanks: each two neighbours, then the last alone."""
    units = [unit.span() for unit in _unit().finditer(folded, start, end)]
    for (first, _), (_, last) in pairwise(units):
        yield Token(_cut(folded[first:last]), first, last, 2)
    yield Token(_cut(folded[units[-1][0] : end]), units[-1][0], end, 1)


def _cut(word: str) -> str:
    """Return the beginning of a word that counts."""
    if len(word) * 6 <= LETTERS or (len(word) <= LETTERS and word.isascii()):
        return word
    left = LETTERS
    for n, character in enumerate(word):
        left -= cost(character)
        if left < 0:
            return word[:n]
    return word


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Yield the parts of a text that fold each by itself: a character with what joins it."""
    start = 0
    for at in range(1, len(text)):
        if not _joins(text[at]):
            yield start, at
            start = at
    if text:
        yield start, len(text)


@lru_cache(4096)
def _joins(character: str) -> bool:
    """Say whether a character may become one with what stands before it."""
    if character < "\u0300":
        return False
    first = unicodedata.normalize("NFKD", character)[0]
    return unicodedata.category(first)[0] == "M" or _JAMO.match(first) is not None
