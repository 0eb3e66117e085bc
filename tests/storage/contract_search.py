"""The promise of `storage.base.Storage` as tests: full text. Part of `StorageContract`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.schema.search import Place
from hub.schema.writes import Delete, Restore, Revert
from storage.base import Hits
from tests.storage.declared import Use, box, item, sticker, tag, tray

TEXTS = [
    "The Straße of San José: don't panic!",
    "STRASSE",
    "e-mail, C3-Nerds & 2026-07-01",
    "東京都庁 in the ﬁfth ward",
    "京都",
    "서울에서 온 편지",
    "ภาษาไทย",
    "🎉 party 🇩🇪",
    "👩‍💻 at work",
    "a be it of",
    "the who is about",
    "हिन्दी में",
    "O’Brien and O'Neill",
    "ﷺ ½ № ㎏",
    "ёлка й",
    "x" * 100 + " " + "д" * 40,
    "foo_bar.baz/qux",
    'quoted "words here" stay',
    "stay quoted here, words",
    "",
    " \t\n",
    "+-<>~()*@ %_' \\ ; DROP",
]
FINDS = {
    "strasse": [0, 1],
    "STRAẞE": [0, 1],
    "jose": [0],
    "José": [0],
    "jose\u0301 san": [0],
    "don't": [0],
    "panic pan": [0],
    "pan": [0],
    "pan the": [],
    "pan* the": [0],
    "mail": [2],
    "c3-nerds": [2],
    "2026": [2],
    "2026-07": [2],
    "京": [3, 4],
    "京都": [3, 4],
    "東京": [3],
    "都庁": [3],
    "庁": [3],
    "都京": [],
    "fifth": [3],
    "서울": [5],
    "에서": [5],
    "ไทย": [6],
    "🎉": [7],
    "🎉party": [7],
    "💻": [8],
    "a": [8, 9, 10, 12],
    "a be": [9],
    "it of": [9],
    "of": [0, 9],
    "the": [0, 3, 10],
    "about is": [10],
    "who": [10],
    "हिन्दी": [11],
    "brien": [12],
    "O'Neill": [12],
    "1 2": [13],
    "kg no": [13],
    "елка": [14],
    "и": [14],
    "x" * 70: [15],
    "x" * 120: [15],
    "д" * 30: [15],
    "bar qux": [16],
    "foo_bar": [16],
    "words here": [17, 18],
    '"words here"': [17],
    '"quoted here"': [18],
    '"quoted" words': [17, 18],
    '"here words': [17, 18],
    "“here, words”": [18],
    '"wor"': [],
    '"京都"': [3, 4],
    '"庁 in"': [3],
    "drop": [21],
}


class SearchContract:
    """What every keeper finds."""

    async def written(self, use: Use) -> list[str]:
        """Return the ids of boxes whose notes are the texts."""
        committed = await use.commit(*(use.new(box, name=f"{n:03}!", note=text) for n, text in enumerate(TEXTS)))
        return [str(result.image["id"]) for result in committed.results]

    async def test_the_same_words_are_found_everywhere(self, use: Use) -> None:
        ids = await self.written(use)
        found = {text: sorted(ids.index(rec) for rec in _ids(await use.search(text, box))) for text in FINDS}
        assert {text: (found[text], FINDS[text]) for text in FINDS if found[text] != FINDS[text]} == {}

    async def test_all_words_must_be_in_one_record_but_not_in_one_field(self, use: Use) -> None:
        parent = await use.create(box, name="red", note="blue moon")
        first = await use.create(item, parent["id"], label="red", about="moon", words=["green", "sea side"])
        await use.create(item, parent["id"], label="red", about="sun")
        assert _ids(await use.search("red moon")) == [first["id"], parent["id"]]
        assert _ids(await use.search("sea green")) == [first["id"]]
        assert _ids(await use.search('"sea side"')) == [first["id"]]
        assert _ids(await use.search('"green sea"')) == []
        assert _ids(await use.search('"red moon"')) == []

    async def test_what_the_first_field_has_comes_before_the_rest_and_what_changed_last_before_that(
        self, use: Use
    ) -> None:
        late = [await use.create(box, name=f"{n} other", note="lamp") for n in range(3)]
        named = [await use.create(box, name=f"{n} lamp") for n in range(3)]
        await use.update(box, named[0]["id"], note="changed")
        hits = (await use.search("lamp")).hits
        assert [hit.tier for hit in hits] == [1, 1, 1, 0, 0, 0]
        wanted = [named[0], named[2], named[1], late[2], late[1], late[0]]
        assert [hit.image["id"] for hit in hits] == [image["id"] for image in wanted]

    async def test_what_has_one_field_is_found_in_the_first(self, use: Use) -> None:
        parent = await use.create(box, name="b", note="lamp")
        inside = await use.create(tray, parent["id"])
        tags = [await use.create(tag, inside["id"], text=text) for text in ("lamp", "red lamp", "light")]
        hits = (await use.search("lamp", box, tag)).hits
        wanted = [(1, tags[1]["id"]), (1, tags[0]["id"]), (0, parent["id"])]
        assert [(hit.tier, hit.image["id"]) for hit in hits] == wanted
        first = await use.search("lamp", box, tag, limit=1)
        rest = await use.search("lamp", box, tag, after=first.hits[-1].place)
        assert [*first.hits, *rest.hits] == hits

    async def test_pages_follow_each_other_over_types_without_a_gap(self, use: Use) -> None:
        parent = await use.create(box, name="lamp 0")
        await use.commit(*(use.new(box, name=f"lamp {n}" if n % 3 else f"no {n}", note="lamp") for n in range(1, 20)))
        await use.commit(*(use.new(item, parent["id"], label="lamp" if n % 2 else "", about="lamp") for n in range(20)))
        whole = (await use.search("lamp")).hits
        assert len(whole) == 40
        assert [hit.tier for hit in whole] == sorted((hit.tier for hit in whole), reverse=True)
        for limit in (1, 7, 39, 40):
            paged: list[Any] = []
            after: Place | None = None
            while True:
                page = await use.search("lamp", limit=limit, after=after)
                paged += page.hits
                assert page.more == (len(paged) < 40)
                if not page.more:
                    break
                after = page.hits[-1].place
            assert paged == whole, limit

    async def test_a_filter_narrows_what_is_found(self, use: Use) -> None:
        parent = await use.create(box, name="b")
        items = [await use.create(item, parent["id"], label="lamp", amount=n, done=n % 2 == 0) for n in range(6)]
        wanted = [i["id"] for i in reversed(items) if i["amount"] > 1 and i["done"]]
        assert _ids(await use.search("lamp", item, where={"amount": {"$gt": 1}, "done": True})) == wanted
        assert _ids(await use.search("lamp", item, where={"box_id": "nothing"})) == []
        assert len(_ids(await use.search("lamp", item, where={"box_id": parent["id"]}))) == 6
        assert len(_ids(await use.search("lamp", item, where={"parent": {"name": "b"}}))) == 6
        assert _ids(await use.search("lamp", item, where={"parent": {"name": "c"}})) == []

    async def test_an_account_finds_its_own_records_only(self, use: Use) -> None:
        mine = await use.create(box, name="lamp")
        other = await use.create(box, name="lamp", account="other")
        assert _ids(await use.search("lamp")) == [mine["id"]]
        assert _ids(await use.search("lamp", account="other")) == [other["id"]]
        assert await use.search("lamp", account="nobody") == Hits([], 0)

    async def test_what_is_found_is_what_the_last_commit_left(self, use: Use) -> None:
        made = await use.create(box, name="lamp", note="bright")
        assert (await use.search("bright")).hits[0].image == made
        assert (await use.search("bright")).seq == 1
        await use.update(box, made["id"], note="dim")
        assert _ids(await use.search("bright")) == []
        assert _ids(await use.search("dim lamp")) == [made["id"]]
        await use.delete(box, made["id"])
        assert _ids(await use.search("lamp")) == []
        await use.commit(Restore(box, made["id"]))
        assert _ids(await use.search("lamp")) == [made["id"]]
        await use.commit(Revert(box, made["id"], 1, ("name", "note")))
        assert _ids(await use.search("bright")) == [made["id"]]
        await use.commit(Delete(box, made["id"], hard=True))
        assert _ids(await use.search("lamp")) == []
        again = await use.create(box, name="lamp")
        assert _ids(await use.search("lamp")) == [again["id"]]

    async def test_what_several_commits_of_one_group_do_to_a_record_is_found_as_they_leave_it(self, use: Use) -> None:
        made = use.new(box, name="one")
        waiting = [
            asyncio.ensure_future(use.commit(made)),
            asyncio.ensure_future(use.update(box, made.id, name="two")),
            asyncio.ensure_future(use.commit(use.new(box, name="one"))),
            asyncio.ensure_future(use.update(box, made.id, note="three")),
        ]
        await asyncio.gather(*waiting)
        assert _ids(await use.search("two three")) == [made.id]
        assert made.id not in _ids(await use.search("one"))
        waiting = [
            asyncio.ensure_future(use.update(box, made.id, note="four")),
            asyncio.ensure_future(use.delete(box, made.id)),
        ]
        await asyncio.gather(*waiting)
        assert _ids(await use.search("two")) == []

    async def test_a_refused_commit_leaves_nothing_to_be_found(self, use: Use) -> None:
        await use.create(box, name="lamp")
        waiting = [
            asyncio.ensure_future(use.commit(use.new(box, name="torch"), use.new(box, name="lamp"))),
            asyncio.ensure_future(use.commit(use.new(box, name="torch", note="light"))),
        ]
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(outcomes[0], Exception)
        assert len(_ids(await use.search("torch"))) == 1

    async def test_what_goes_along_with_a_record_is_no_longer_found(self, use: Use) -> None:
        parent = await use.create(box, name="lamp")
        inside = await use.create(item, parent["id"], label="lamp inside")
        await use.delete(item, inside["id"])
        await use.commit(Delete(box, parent["id"], hard=True))
        assert _ids(await use.search("lamp")) == []

    async def test_an_index_is_made_anew_step_by_step_and_finds_the_same(self, use: Use) -> None:
        ids = await self.written(use)
        await use.delete(box, ids[1])
        before = {text: _ids(await use.search(text, box)) for text in FINDS}
        assert await use.reindex(box) in {0, len(TEXTS) - 1}  # a keeper without an index has nothing to do
        assert {text: _ids(await use.search(text, box)) for text in FINDS} == before

    async def test_writes_go_on_while_an_index_is_made_anew(self, use: Use) -> None:
        ids = await self.written(use)

        async def write() -> None:
            for n in range(20):
                await use.update(box, ids[n], note=f"lamp {n}")
                await use.create(box, name=f"fresh {n}", note="lamp")

        await asyncio.gather(write(), use.reindex(box), use.reindex(box, 1))
        assert len(_ids(await use.search("lamp"))) == 40
        assert _ids(await use.search("strasse")) == []

    async def test_a_type_without_searchable_fields_keeps_nothing(self, use: Use) -> None:
        assert not sticker.searchable
        parent = await use.create(box, name="b")
        held = await use.create(item, parent["id"])
        await use.create(sticker, held["id"], text="lamp")
        assert _ids(await use.search("lamp")) == []

    @pytest.mark.parametrize("count", [1000])
    async def test_a_page_holds_a_thousand_hits(self, use: Use, count: int) -> None:
        await use.commit(*(use.new(box, name=f"{n:04} lamp") for n in range(count)))
        page = await use.search("lamp", limit=1000)
        assert (len(page.hits), page.more) == (count, False)
        assert (await use.search("lamp", limit=999)).more


def _ids(found: Hits) -> list[str]:
    return [str(hit.image["id"]) for hit in found.hits]
