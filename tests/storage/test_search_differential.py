"""A search means the same in a database and in memory, whatever is written and looked for."""

from __future__ import annotations

import asyncio
import os
import string
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hub.schema.search import WORDS, Scope, Search, highlights, parse_search, rank, texts_of, tier_of
from hub.schema.where import parse_where
from hub.schema.words import LETTERS, cost, spans, words
from hub.schema.writes import Delete
from hub.wire.errors import HubError
from storage.base import Storage
from storage.mariadb.keeper import MariadbStorage
from storage.sql.sqlite import SqliteStorage
from tests.storage.declared import Use, box, item, registry, ticking
from tests.storage.mariadb_server import MariadbServer

SCALE = 100 if os.environ.get("AETHER_PROOF") else 1
HARD = [
    "ß", "ẞ", "ſ", "ﬁ", "İ", "ı", "Σ", "ς", "ǰ", "ŉ", "\u0345", "\u0301", "\u0327", "\u1e9b\u0323", "é", "e\u0301",
    "Å", "Å", "ё", "й", "ｶ", "ﾞ", "ガ", "カ\u3099", "东", "京", "都", "ー", "가", "각", "\u1100", "\u1161",
    "\u11a8", "ﾡ", "ￂ", "น", "้", "ำ", "ा", "क", "्", "ਾ", "\u09c7", "\u09be", "🎉", "👩", "\u200d", "💻", "\ufe0f",
    "🇩", "🏽", "½", "№", "㎏", "ﷺ", "①", "²", "٣", "'", "’", "-", "‐", "_", "\u00ad", "\u00b7", "\u00bb", "\u00a0",
    "\u200b", "*", "+", "(", "%", "\\", ".", "\U000e0101", "\U00020000", "𝒳", "Ⅷ", "؀", "\u2028",
]  # fmt: skip
"""What folding, cutting or a database might take for something else."""
STOPS = ["a", "i", "is", "it", "the", "who", "of", "und", "www", "about", "or", "not", "and", "near", "null"]
"""Words that databases leave out or read as operators, and short ones."""

pieces = st.one_of(
    st.sampled_from(HARD),
    st.sampled_from(STOPS),
    st.text(st.sampled_from("ab1"), min_size=1, max_size=3),
    st.sampled_from(["a" * LETTERS, "a" * (LETTERS + 1), "д" * 23, "д" * 24, "क" * 14, "क" * 15]),
    st.characters(exclude_categories=["Cs", "Cc"]),
)
texts = st.lists(st.tuples(pieces, st.sampled_from(["", " ", " ", "-", ", "])), max_size=12).map(
    lambda parts: "".join(part for pair in parts for part in pair)
)


@given(texts)
@settings(max_examples=300 * SCALE, deadline=None)
def test_a_word_stands_where_it_is_said_to_stand(text: str) -> None:
    found = spans(text)
    assert [token.word for token in found] == words(text)
    assert all(0 <= token.start < token.end <= len(text) for token in found)
    assert all(0 < sum(map(cost, token.word)) <= LETTERS for token in found)
    for form in ("NFC", "NFD"):
        assert words(unicodedata.normalize(form, text)) == words(text)
    if text.isascii():
        cut = "".join(c if c in string.ascii_letters + string.digits else " " for c in text).lower().split()
        assert words(text) == [word[:LETTERS] for word in cut]


@given(texts, texts)
@settings(max_examples=300 * SCALE, deadline=None)
def test_what_is_shown_is_the_text_and_every_hit_is_marked(first: str, text: str) -> None:
    image: dict[str, Any] = {"label": first, "words": [first, text], "about": text}
    try:
        terms = parse_search(text)
    except HubError:
        assert not words(text)
        return
    shown = highlights(terms, item, image)
    assert tier_of(terms, item, image) is not None  # a text is found by itself
    assert "about" in shown
    for wire, parts in shown.items():
        whole = ", ".join(image[wire]) if type(image[wire]) is list else image[wire]
        assert len(parts) in range(3, 1000, 2)
        assert "".join(parts).removeprefix("…").removesuffix("…") in whole + "…"
        assert all(words(hit) for hit in parts[1::2])


class World:
    """One keeper with a loop of its own; every example has an account of its own."""

    def __init__(self, storage: Storage) -> None:
        self.runner = asyncio.Runner()
        self.use = Use(storage)
        self.accounts = 0
        self.runner.run(storage.start())

    def close(self) -> None:
        """Close keeper and loop."""
        self.runner.run(self.use.storage.close())
        self.runner.close()


@pytest.fixture(scope="module", params=["sqlite", "mariadb"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return one database for all examples."""
    storage: Storage
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("search") / "hub.sqlite"
        storage = SqliteStorage(registry, path, ticking(), durability="normal")
    else:
        server: MariadbServer = request.getfixturevalue("mariadb")
        storage = MariadbStorage(registry, server.url(server.new_database()), ticking(), durability="normal")
    world = World(storage)
    yield world
    world.close()


rows = st.lists(
    st.fixed_dictionaries(
        {"label": texts.map(lambda text: text[:200]), "about": st.none() | texts, "words": st.lists(texts, max_size=3)}
    ),
    min_size=1,
    max_size=6,
)


def looked_for(data: st.DataObject, given_rows: list[dict[str, Any]]) -> str:
    """Return a search that has a good chance to find something: parts of what was written, loose, quoted or begun."""
    whole = " ".join(text for row in given_rows for text in (row["label"], row["about"] or "", *row["words"]))
    parts = []
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, max(0, len(whole) - 1)))
        part = whole[start : start + data.draw(st.integers(1, 12))]
        part = data.draw(st.sampled_from([part, f'"{part}"', f"{part}*", part.swapcase(), part[:1]]))
        parts.append(part)
    return " ".join(parts) if data.draw(st.integers(0, 3)) else data.draw(texts)


@given(st.data(), rows)
@settings(
    max_examples=40 * SCALE, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
def test_a_search_finds_the_same_in_a_database_and_in_memory(
    world: World, data: st.DataObject, given_rows: list[dict[str, Any]]
) -> None:
    searches = [looked_for(data, given_rows) for _ in range(8)]
    where = data.draw(st.sampled_from([None, None, {"done": False}, {"about": {"$null": True}}]))
    size = data.draw(st.integers(1, 3))

    async def run() -> None:
        use = world.use
        world.accounts += 1
        account = f"a{world.accounts}"
        parent = await use.create(box, account=account, name="b")
        made = await use.commit(*(use.new(item, parent["id"], **row) for row in given_rows), account=account)
        ids = [str(result.image["id"]) for result in made.results]
        if len(ids) > 2:
            await use.commit(Delete(item, ids[0], hard=len(ids) % 2 == 0), account=account)
            await use.update(item, ids[1], account=account, label=given_rows[0]["label"], about=given_rows[0]["about"])
        images = [image for image in (await use.find(item, where, account=account)).records]
        node = parse_where(item, where)
        for text in searches:
            try:
                terms = parse_search(text)
            except HubError:
                continue
            expected = [i for i in images if tier_of(terms, item, i) is not None]
            expected.sort(key=lambda i: rank((tier_of(terms, item, i) or 0, i["updated_at"], "item", i["id"])))
            found: list[Any] = []
            after = None
            while True:
                page = await use.storage.search(account, Search(terms, (Scope(item, node),), size, after))
                found += page.hits
                if not page.more:
                    break
                after = page.hits[-1].place
            assert [hit.image for hit in found] == expected, (text, terms, [dict(texts_of(item, i)) for i in images])
            assert [hit.tier for hit in found] == [tier_of(terms, item, i) for i in expected]

    world.runner.run(run())


@example("a" * 200)
@example("都" * 200)
@given(texts)
@settings(max_examples=100, deadline=None)
def test_any_text_is_looked_for_or_refused_with_a_sentence(text: str) -> None:
    if 0 < len(words(text)) <= WORDS:
        assert parse_search(text)
        return
    with suppress(HubError):  # words that only repeat others do not count
        assert sum(len(term.words) for term in parse_search(text)) <= WORDS
        return
    with pytest.raises(HubError) as refusal:
        parse_search(text)
    assert (refusal.value.code, refusal.value.path) == ("data.invalid", "q")
