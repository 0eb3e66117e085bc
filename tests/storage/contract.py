"""The promise of `storage.base.Storage` as tests: writing. Every keeper's suite is this class with its fixture."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import UNSET

from hub.schema.writes import Commit, Committed, Create, Delete, KeyClaim, Update
from hub.wire.errors import HubError
from hub.wire.requests import ItemRef
from storage.base import Outcome
from tests.storage.contract_again import AgainContract
from tests.storage.contract_feeds import FeedContract
from tests.storage.contract_for import ForContract
from tests.storage.contract_import import ImportContract
from tests.storage.contract_listed import ListedContract
from tests.storage.contract_many import ManyContract
from tests.storage.contract_past import PastContract
from tests.storage.contract_reads import ReadContract
from tests.storage.contract_related import RelatedContract
from tests.storage.contract_removal import RemovalContract
from tests.storage.contract_retention import RetentionContract
from tests.storage.contract_rows import RowsContract
from tests.storage.contract_search import SearchContract
from tests.storage.contract_secrets import SecretContract
from tests.storage.contract_seen import SeenContract
from tests.storage.contract_totals import TotalsContract
from tests.storage.declared import Use, box, item, person, sticker


def claim(key: str, digest: bytes = b"same", scope: str = "user") -> KeyClaim:
    """Return the claim of a key."""
    return KeyClaim(scope, key, digest)


class StorageContract(
    ListedContract,
    ReadContract,
    RelatedContract,
    PastContract,
    RemovalContract,
    ManyContract,
    RetentionContract,
    RowsContract,
    FeedContract,
    SearchContract,
    SeenContract,
    SecretContract,
    ImportContract,
    TotalsContract,
    ForContract,
    AgainContract,
):
    """A keeper's suite provides the fixture `use`: a started keeper over an empty database."""

    async def test_the_numbers_of_commits_have_no_gap(self, use: Use) -> None:
        futures = []
        for n in range(200):
            name = f"box {n % 150}"  # the last fifty are refused
            futures.append(use.storage.submit(Commit("main", (use.new(box, name=name),))))
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
        assert [o.seq for o in outcomes if isinstance(o, Committed)] == list(range(1, 151))
        assert [o.code for o in outcomes if isinstance(o, HubError)] == ["record.exists"] * 50
        assert [s.seq for s in await use.log()] == list(range(1, 151))
        assert await use.seq() == 150

    async def test_a_refusal_is_answered_alone_and_leaves_no_trace(self, use: Use) -> None:
        first = use.storage.submit(Commit("main", (use.new(box, name="a"),)))
        refused = use.storage.submit(Commit("main", (use.new(box, name="b"), use.new(box, name="a"))))
        third = use.storage.submit(Commit("main", (use.new(box, name="b"),)))
        assert ((await first).seq, (await third).seq) == (1, 2)
        with pytest.raises(HubError) as refusal:
            await refused
        assert (refusal.value.code, refusal.value.path) == ("record.exists", "ops.1.data.name")
        assert sorted(i["name"] for i in (await use.find(box)).records) == ["a", "b"]

    async def test_a_batch_is_one_number_with_a_part_per_change(self, use: Use) -> None:
        committed = await use.commit(use.new(box, name="a"), use.new(box, name="b"), use.new(box, name="c"))
        assert committed.seq == 1
        assert [(r.part, r.after["name"]) for r in (await use.log())[0].rows] == [(0, "a"), (1, "b"), (2, "c")]

    async def test_an_item_of_a_batch_stands_for_the_record_it_created(self, use: Use) -> None:
        committed = await use.commit(
            use.new(box, name="a"),
            use.new(item, ItemRef(0), label="x", other_id=ItemRef(0)),
            use.new(sticker, ItemRef(1), text="t"),
            Update(item, ItemRef(1), {"label": "y"}),
        )
        a, x, s, y = (r.image for r in committed.results)
        assert (x["box_id"], x["other_id"], s["item_id"]) == (a["id"], a["id"], x["id"])
        assert (y["label"], y["version"]) == ("y", 2)
        assert await use.get(item, x["id"]) == y
        rows = (await use.log())[0].rows
        assert [(r.kind, r.version) for r in rows] == [("create", 1), ("create", 1), ("create", 1), ("update", 2)]

    async def test_an_item_that_is_not_earlier_is_refused(self, use: Use) -> None:
        with pytest.raises(HubError, match="not an earlier item"):
            await use.commit(use.new(item, ItemRef(0), label="x"), use.new(box, name="a"))
        assert await use.seq() == 0

    async def test_a_created_record_has_every_field_and_the_base_of_all(self, use: Use) -> None:
        made = await use.create(box, name="a", note=None)
        read = await use.get(box, made["id"])
        assert read == made
        assert list(read or {}) == list(made)
        assert (made["type"], made["version"], made["account_id"]) == ("box", 1, "main")
        assert (made["created_by"], made["updated_by"], made["deleted_at"]) == ("actor", "actor", None)
        assert made["created_at"] == made["updated_at"]

    async def test_upsert_creates_once_and_then_changes_only_what_is_given(self, use: Use) -> None:
        first = await use.commit(use.upsert(box, ("name",), name="a", note="one"))
        second = await use.commit(use.upsert(box, ("name",), name="a", note="two"))
        third = await use.commit(use.upsert(box, ("name",), name="a"))
        images = [c.results[0].image for c in (first, second, third)]
        assert [c.results[0].created for c in (first, second, third)] == [True, False, False]
        assert [i["note"] for i in images] == ["one", "two", "two"]
        assert len({i["id"] for i in images}) == 1
        assert [c.seq for c in (first, second, third)] == [1, 2, 2]

    async def test_upsert_of_a_child_matches_within_its_parent(self, use: Use) -> None:
        a, b = await use.create(box, name="a"), await use.create(box, name="b")
        match = ("box_id", "code")
        one = await use.commit(use.upsert(item, match, a["id"], code="1", label="x"))
        two = await use.commit(use.upsert(item, match, b["id"], code="1", label="y"))
        again = await use.commit(use.upsert(item, match, b["id"], code="1", label="z"))
        assert [c.results[0].created for c in (one, two, again)] == [True, True, False]
        assert again.results[0].image["id"] == two.results[0].image["id"]

    async def test_uniques_ignore_the_deleted_and_the_absent(self, use: Use) -> None:
        parent = (await use.create(box, name="a"))["id"]
        for _ in range(2):
            await use.create(item, parent, code=None)
        for _ in range(3):
            made = await use.create(item, parent, code="x")
            with pytest.raises(HubError, match=r"record\.exists at data\.code"):
                await use.create(item, parent, code="x")
            await use.delete(item, made["id"])
        # Freed and taken within one commit, and within one group.
        held = await use.create(item, parent, code="x")
        swapped = await use.commit(
            Update(item, held["id"], {"code": "y"}),
            use.new(item, parent, code="x"),
            Delete(item, held["id"]),
            use.new(item, parent, code="y"),
        )
        assert [r.image["code"] for r in swapped.results] == ["y", "x", "y", "y"]
        assert len((await use.find(item, {"code": {"$in": ["x", "y"]}}, deleted=True)).records) == 6

    async def test_values_can_be_passed_around_within_a_commit(self, use: Use) -> None:
        parent = (await use.create(box, name="a"))["id"]
        a, b = await use.create(item, parent, code="a"), await use.create(item, parent, code="b")
        for first, second in ((a, b), (b, a)):
            await use.commit(
                Update(item, first["id"], {"code": None}),
                Update(item, second["id"], {"code": first["code"]}),
                Update(item, first["id"], {"code": second["code"]}),
                Update(item, first["id"], {"code": None}),
                Update(item, second["id"], {"code": second["code"]}),
                Update(item, first["id"], {"code": first["code"]}),
            )
        found = {i["id"]: i["code"] for i in (await use.find(item)).records}
        assert found == {a["id"]: "a", b["id"]: "b"}

    async def test_text_that_differs_only_a_little_is_not_the_same(self, use: Use) -> None:
        for name in ("a", "A", "a ", " a", "ä", "a\u0308", "ａ"):
            await use.create(box, name=name)
        assert len((await use.find(box)).records) == 7
        assert [i["name"] for i in (await use.find(box, {"name": "a"})).records] == ["a"]

    async def test_another_version_than_the_expected_is_a_conflict(self, use: Use) -> None:
        made = await use.create(box, name="a")
        await use.commit(Update(box, made["id"], {"note": "x"}, if_version=1))
        for write in (Update(box, made["id"], {"note": "y"}, if_version=1), Delete(box, made["id"], if_version=1)):
            with pytest.raises(HubError) as refusal:
                await use.commit(write)
            assert (refusal.value.code, refusal.value.details) == ("record.conflict", {"version": 2})
        assert (await use.commit(Delete(box, made["id"], if_version=2))).seq == 3

    async def test_an_update_that_changes_nothing_leaves_nothing(self, use: Use) -> None:
        parent = (await use.create(box, name="a"))["id"]
        values: dict[str, Any] = {
            "label": "x",
            "weight": 1,
            "marks": [1, 2],
            "extra": {"a": [1, 2.5, None, True]},
            "done": True,
        }
        made = await use.create(item, parent, **values)
        again = await use.update(item, made["id"], **values)
        assert (again.seq, again.results[0].image) == (2, made)
        assert await use.seq() == 2
        changes: list[dict[str, Any]] = [
            {"marks": [1, 2, 3]},
            {"extra": {"a": [True, 2.5, None, True]}},
            {"weight": 1.5},
        ]
        for change in changes:
            made = (await use.update(item, made["id"], **change)).results[0].image
        assert made["version"] == 4

    async def test_parents_and_references_are_live_and_of_the_same_account(self, use: Use) -> None:
        mine, theirs = await use.create(box, name="a"), await use.create(box, account="other", name="a")
        gone = await use.create(box, name="gone")
        await use.delete(box, gone["id"])
        for wrong in (theirs["id"], gone["id"], "nothing"):
            with pytest.raises(HubError, match=r"record\.not_found at parent\.rec"):
                await use.create(item, wrong)
            with pytest.raises(HubError, match=r"record\.not_found at data\.other_id"):
                await use.create(item, mine["id"], other_id=wrong)
            with pytest.raises(HubError, match=r"record\.not_found at match|record\.not_found at parent\.rec"):
                await use.commit(use.upsert(item, ("box_id", "code"), wrong, code="x"))
        with pytest.raises(HubError, match=r"data\.invalid at parent"):
            await use.create(item)
        made = await use.create(item, mine["id"], other_id=mine["id"])
        with pytest.raises(HubError, match=r"record\.not_found at data\.other_id"):
            await use.update(item, made["id"], other_id=theirs["id"])

    async def test_a_parent_with_children_stays(self, use: Use) -> None:
        parent = (await use.create(box, name="a"))["id"]
        child = await use.create(item, parent)
        with pytest.raises(HubError) as refusal:
            await use.delete(box, parent)
        assert (refusal.value.code, refusal.value.details) == ("relation.restricted", {"type": "item"})
        with pytest.raises(HubError, match=r"relation\.restricted"):
            await use.commit(Delete(item, child["id"]), use.new(item, parent), Delete(box, parent))
        await use.commit(Delete(item, child["id"]), Delete(box, parent))
        # Within one group too: what an earlier commit created is seen by a later one.
        first = use.storage.submit(Commit("main", (use.new(box, name="b"),)))
        made = (await first).results[0].image["id"]
        child_made = use.storage.submit(Commit("main", (use.new(item, made),)))
        refused = use.storage.submit(Commit("main", (Delete(box, made),)))
        await child_made
        with pytest.raises(HubError, match=r"relation\.restricted"):
            await refused

    async def test_what_was_handed_out_may_be_changed_by_its_owner(self, use: Use) -> None:
        made = await use.create(box, name="a", note="x")
        kept = dict(made)
        for image in (made, (await use.update(box, made["id"], note="x")).results[0].image):
            image["note"] = image["extra"] = "scribbled"
        changed = (await use.update(box, kept["id"], name="b")).results[0].image
        assert changed == {**kept, "name": "b", "version": 2, "updated_at": changed["updated_at"]}
        assert (await use.log())[1].rows[0].after == changed

    async def test_a_deleted_record_is_not_there_but_not_forgotten(self, use: Use) -> None:
        made = await use.create(box, name="a")
        gone = (await use.delete(box, made["id"])).results[0].image
        assert (gone["version"], gone["deleted_at"]) == (2, gone["updated_at"])
        assert await use.get(box, made["id"]) is None
        assert await use.get(box, made["id"], deleted=True) == gone
        for write in (Update(box, made["id"], {"note": "x"}), Delete(box, made["id"])):
            with pytest.raises(HubError, match=r"record\.not_found"):
                await use.commit(write)

    async def test_an_id_is_used_once(self, use: Use) -> None:
        made = await use.create(box, name="a")
        with pytest.raises(HubError, match=r"record\.exists at id"):
            await use.commit(Create(box, made["id"], box.accept_create({"name": "b"})))

    async def test_global_types_live_in_the_system_account_only(self, use: Use) -> None:
        someone = await use.create(person, account="system", name="x")
        with pytest.raises(HubError, match=r"access\.denied"):
            await use.create(person, name="x")
        with pytest.raises(HubError, match=r"access\.denied"):
            await use.create(box, account="system", name="x")
        parent = (await use.create(box, name="a"))["id"]
        made = await use.create(item, parent, owner_id=someone["id"])
        assert (await use.get(item, made["id"]) or {})["owner_id"] == someone["id"]

    async def test_a_key_repeats_its_answer_and_writes_once(self, use: Use) -> None:
        first = await use.commit(use.new(box, name="a"), key=claim("k"))
        again = await use.commit(use.new(box, name="a"), key=claim("k"))
        assert (again.seq, again.results, again.replayed, first.replayed) == (1, first.results, True, False)
        assert await use.seq() == 1

    async def test_a_key_repeats_what_it_did_then_not_what_is_now(self, use: Use) -> None:
        made = await use.commit(use.new(box, name="a"), key=claim("k"))
        await use.update(box, made.results[0].image["id"], note="later")
        assert (await use.commit(use.new(box, name="a"), key=claim("k"))).results == made.results

    async def test_a_key_with_another_request_is_refused(self, use: Use) -> None:
        await use.commit(use.new(box, name="a"), key=claim("k"))
        with pytest.raises(HubError, match=r"key\.reused at key"):
            await use.commit(use.new(box, name="b"), key=claim("k", b"other"))
        # Another user's, and another account's, key of the same text is another key.
        await use.commit(use.new(box, name="b"), key=claim("k", b"other", scope="somebody"))
        await use.commit(use.new(box, name="b"), key=claim("k", b"other"), account="other")

    async def test_the_same_key_at_the_same_time_writes_once(self, use: Use) -> None:
        futures = [
            use.storage.submit(Commit("main", (use.new(box, name="a"),), "actor", key=claim("k"))) for _ in range(20)
        ]
        outcomes = await asyncio.gather(*futures)
        assert {o.seq for o in outcomes} == {1}
        assert len({o.results[0].image["id"] for o in outcomes}) == 1
        assert [o.replayed for o in outcomes] == [False] + [True] * 19

    async def test_a_refusal_does_not_use_a_key_up(self, use: Use) -> None:
        made = await use.create(box, name="a")
        with pytest.raises(HubError, match=r"record\.exists"):
            await use.commit(use.new(box, name="a"), key=claim("k"))
        await use.delete(box, made["id"])
        assert (await use.commit(use.new(box, name="a"), key=claim("k"))).seq == 3

    async def test_a_keyed_update_that_changes_nothing_is_repeated_too(self, use: Use) -> None:
        made = await use.create(box, name="a")
        for replayed in (False, True):
            committed = await use.commit(Update(box, made["id"], {"name": "a"}), key=claim("k"))
            assert (committed.seq, committed.results[0].image, committed.replayed) == (1, made, replayed)

    async def test_what_a_key_did_can_be_asked_without_doing_anything(self, use: Use) -> None:
        assert await use.storage.repeated("main", claim("k")) is None
        first = await use.commit(use.new(box, name="a"), key=claim("k"))
        again = await use.storage.repeated("main", claim("k"))
        assert again is not None
        assert (again.seq, again.results, again.replayed) == (1, first.results, True)
        with pytest.raises(HubError, match=r"key\.reused at key"):
            await use.storage.repeated("main", claim("k", b"other"))
        for account, other in (("other", claim("k")), ("main", claim("k", scope="somebody")), ("main", claim("l"))):
            assert await use.storage.repeated(account, other) is None
        assert await use.seq() == 1

    async def test_an_answer_is_made_of_what_was_committed_and_kept_with_the_key(self, use: Use) -> None:
        def answer(committed: Committed) -> Any:
            return {"seq": committed.seq, "name": committed.results[0].image["name"], "many": (1, 2.5, None)}

        said = {"seq": 1, "name": "a", "many": [1, 2.5, None]}
        first = await use.commit(use.new(box, name="a"), key=claim("k"), answer=answer)
        assert (first.answer, first.results[0].image["name"], first.replayed) == (said, "a", False)
        await use.delete(box, first.results[0].image["id"])
        again = await use.commit(use.new(box, name="b"), key=claim("k"), answer=lambda _: "another")
        assert (again.seq, again.answer, again.results, again.replayed) == (1, said, (), True)
        asked = await use.storage.repeated("main", claim("k"))
        assert asked is not None
        assert (asked.seq, asked.answer, asked.replayed) == (1, said, True)
        assert (await use.commit(use.new(box, name="b"), answer=lambda _: None)).answer is None

    async def test_an_answer_at_the_same_time_is_made_once(self, use: Use) -> None:
        def write(n: int) -> Commit:
            return Commit("main", (use.new(box, name="a"),), key=claim("k"), answer=lambda _: n)

        outcomes = await asyncio.gather(*(use.storage.submit(write(n)) for n in range(5)))
        assert [(o.answer, o.replayed) for o in outcomes] == [(0, False)] + [(0, True)] * 4

    async def test_an_answer_that_is_shown_once_is_not_kept(self, use: Use) -> None:
        options: dict[str, Any] = {"key": claim("k"), "answer": lambda _: "the secret", "shown_once": True}
        first = await use.commit(use.new(box, name="a"), **options)
        again = await use.commit(use.new(box, name="a"), **options)
        asked = await use.storage.repeated("main", claim("k"))
        assert (first.answer, again.answer, asked and asked.answer) == ("the secret", UNSET, UNSET)
        assert [first.replayed, again.replayed, asked and asked.replayed] == [False, True, True]
        assert await use.seq() == 1

    async def test_where_no_answer_can_be_made_nothing_is_committed(self, use: Use) -> None:
        def refuse(committed: Committed) -> Any:
            raise HubError("action.failed")

        def fail(committed: Committed) -> Any:
            raise LookupError

        for answer, code in ((refuse, "action.failed"), (fail, "server.error"), (lambda _: object(), "server.error")):
            with pytest.raises(HubError) as refusal:
                await use.commit(use.new(box, name="a"), key=claim("k"), answer=answer)
            assert refusal.value.code == code
        assert (await use.seq(), await use.storage.repeated("main", claim("k"))) == (0, None)
        assert (await use.commit(use.new(box, name="a"), key=claim("k"), answer=lambda _: 1)).seq == 1

    async def test_the_listener_hears_of_commits_before_their_answers_and_in_order(self, use: Use) -> None:
        heard_first: list[bool] = []

        async def write(n: int) -> None:
            committed = await use.commit(use.new(box, name=f"{n}"))
            heard_first.append(committed.seq in {s.seq for s in use.told})

        await asyncio.gather(*(write(n) for n in range(100)))
        assert heard_first == [True] * 100
        assert [s.seq for s in use.told] == list(range(1, 101))
        assert use.told == await use.log()

    async def test_who_is_told_of_a_commit_is_told_what_its_future_would_say(self, use: Use) -> None:
        outcomes: list[Outcome] = []
        ended = asyncio.Event()

        def broken(outcome: Outcome) -> None:
            outcomes.append(outcome)
            raise RuntimeError("whoever is told may be at fault")

        def done(outcome: Outcome) -> None:
            assert [told.seq for told in use.told] == [1, 2]  # who watches knows already
            outcomes.append(outcome)
            ended.set()

        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        use.storage.tell(Commit("main", (use.new(box, name="a"),)), broken)
        use.storage.tell(Commit("main", (use.new(box, name="a"),)), outcomes.append)
        use.storage.tell(Commit("main", (use.new(box, name="b"),)), done)
        await asyncio.wait_for(ended.wait(), 10)
        first, refused, third = outcomes
        assert isinstance(first, Committed)
        assert isinstance(refused, HubError)
        assert isinstance(third, Committed)
        assert (first.seq, refused.code, third.seq) == (1, "record.exists", 2)
        assert third.results[0].image["name"] == "b"

    async def test_a_caller_that_left_does_not_cancel_its_write(self, use: Use) -> None:
        future = use.storage.submit(Commit("main", (use.new(box, name="a"),)))
        future.cancel()
        await use.create(box, name="b")
        assert [i["name"] for i in (await use.find(box, order=["name"])).records] == ["a", "b"]

    async def test_a_commit_that_cannot_be_stored_fails_alone(self, use: Use) -> None:
        before = use.storage.submit(Commit("main", (use.new(box, name="a"),)))
        broken = use.storage.submit(Commit("main", (Create(box, use.id(), {"note": "no name"}),)))
        after = use.storage.submit(Commit("main", (use.new(box, name="c"),)))
        with pytest.raises(HubError, match=r"server\.error"):
            await broken
        assert ((await before).seq, (await after).seq) == (1, 2)

    async def test_what_is_queued_is_written_before_closing(self, use: Use) -> None:
        futures = [use.storage.submit(Commit("main", (use.new(box, name=f"{n}"),))) for n in range(50)]
        await use.storage.close()
        assert [f.result().seq for f in futures] == list(range(1, 51))
        assert not use.storage.ready
        with pytest.raises(HubError, match=r"server\.unavailable"):
            use.storage.submit(Commit("main", (use.new(box, name="late"),)))
