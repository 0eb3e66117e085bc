"""The promise of `storage.base.Storage` as tests: forgetting the beginning of the logs."""

from __future__ import annotations

import pytest

from hub.schema.writes import Delete, Revert, Update
from hub.wire.errors import HubError
from storage.retention import Retention
from tests.storage.declared import Use, box, item

LATER = "2999-01-01T00:00:00.000Z"


class RetentionContract:
    """A part of the promise; `StorageContract` takes it in."""

    async def test_what_is_older_is_forgotten_and_the_numbers_go_on(self, use: Use) -> None:
        made = [await use.create(box, name=f"{n}") for n in range(6)]
        theirs = await use.create(box, account="other", name="a")
        log = await use.log()
        assert await use.storage.prune(log[4].at, 100) == 4
        assert await use.storage.prune(log[4].at, 100) == 0
        assert await use.log() == log[4:]
        assert await use.storage.changes("main", 4, 1) == [log[4]]
        assert [s.seq for s in await use.storage.changes("main", 0, 5)] == [5]
        assert (await use.seq(), (await use.create(box, name="x"))["version"]) == (6, 1)
        assert (await use.log())[-1].seq == 7
        assert await use.get(box, made[0]["id"]) == made[0], "records stay"
        assert (await use.log("other"))[0].rows[0].after == theirs

    async def test_a_step_removes_whole_commits_and_not_many_more_than_it_may(self, use: Use) -> None:
        for n in range(4):
            await use.commit(*(use.new(box, name=f"{n} {m}") for m in range(3)))
        await use.create(box, account="other", name="a")
        steps = []
        while removed := await use.storage.prune(LATER, 4):
            steps.append(removed)
        assert sum(steps) == 13
        assert max(steps) <= 6
        assert (await use.log(), await use.log("other")) == ([], [])
        await use.create(box, name="x")
        assert [s.seq for s in await use.log()] == [5]

    async def test_a_commit_that_is_larger_than_a_step_goes_at_once(self, use: Use) -> None:
        await use.commit(*(use.new(box, name=f"{n}") for n in range(7)))
        await use.create(box, name="x")
        assert await use.storage.prune(LATER, 2) == 7
        assert [s.seq for s in await use.log()] == [2]

    async def test_a_history_ends_where_the_log_was_pruned(self, use: Use) -> None:
        made = (await use.create(box, name="a"))["id"]
        for n in range(3):
            await use.update(box, made, note=f"{n}")
        log = await use.log()
        await use.storage.prune(log[2].at, 100)
        assert [c.rows[0].version for c in await use.history(box, made)] == [4, 3]
        with pytest.raises(HubError, match=r"data\.invalid at version"):
            await use.commit(Revert(box, made, 1, ("note",)))
        assert (await use.commit(Revert(box, made, 2, ("note",)))).results[0].image["note"] == "0"
        await use.commit(Delete(box, made, hard=True))
        assert all(row.after == {} for s in await use.log() for row in s.rows)

    async def test_a_round_forgets_all_that_is_old(self, use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("storage.retention.STEP_ROWS", 3)
        monkeypatch.setattr("storage.retention.PAUSE_SECONDS", 0)
        made = (await use.create(box, name="a"))["id"]
        for n in range(9):
            await use.commit(Update(box, made, {"note": f"{n}"}))
        last = (await use.log())[-1]
        assert await Retention(use.storage, lambda: last.at).round() == 9
        assert await use.log() == [last]

    async def test_what_a_type_said_longer_ago_is_emptied_and_its_commits_stay(self, use: Use) -> None:
        made = (await use.create(box, name="a"))["id"]
        await use.commit(use.new(item, made, label="kept"), Update(box, made, {"note": "n"}))
        await use.create(box, account="other", name="theirs")
        for n in range(3):
            await use.update(box, made, note=f"{n}")
        log = await use.log()
        assert [await steps(use, log[3].at), await steps(use, log[3].at)] == [[4, 1], []]
        left = await use.log()
        assert left[3:] == log[3:], "a change of that very time is not older"
        assert left[0].rows == (log[0].rows[0].emptied(),)
        assert left[1].rows == (log[1].rows[0], log[1].rows[1].emptied()), "other types keep what they say"
        assert left[2].rows == (log[2].rows[0].emptied(),)
        assert [(s.seq, s.at, s.actor) for s in left] == [(s.seq, s.at, s.actor) for s in log]
        assert [row.after for s in await use.log("other") for row in s.rows] == [{}]
        assert ((await use.get(box, made)) or {})["note"] == "2", "records stay"
        assert [c.rows[0].version for c in await use.history(box, made)] == [5, 4]
        assert (await use.commit(Revert(box, made, 3, ("note",)))).results[0].image["note"] == "0"
        with pytest.raises(HubError, match=r"data\.invalid at version"):
            await use.commit(Revert(box, made, 2, ("note",)))
        assert await steps(use, LATER) == [3]
        assert await use.history(box, made) == []
        assert all(row.after == {} for s in await use.log() for row in s.rows if row.type == "box")

    async def test_a_step_over_a_type_looks_at_no_more_than_it_may(self, use: Use) -> None:
        for n in range(4):
            await use.commit(*(use.new(box, name=f"{n} {m}") for m in range(3)))
        await use.commit(*(use.new(box, name=f"x {m}") for m in range(9)))
        assert await steps(use, LATER, 4) == [3, 3, 3, 3, 5], "the last one is larger than a step, and goes at once"
        assert all(row.after == {} for s in await use.log() for row in s.rows)
        await use.create(box, name="new")
        log = await use.log()
        assert await steps(use, log[-1].at, 4) == []
        assert (await use.log())[-1].rows[0].after["name"] == "new"

    async def test_what_says_nothing_any_more_can_be_pruned_and_purged(self, use: Use) -> None:
        made = [(await use.create(box, name=f"{n}"))["id"] for n in range(3)]
        await use.update(box, made[0], note="n")
        log = await use.log()
        await steps(use, log[2].at)
        await use.commit(Delete(box, made[0], hard=True), Delete(box, made[2], hard=True))
        assert all(row.after == {} for s in await use.log() for row in s.rows)
        assert await use.storage.prune(log[1].at, 100) == 1
        assert await steps(use, LATER) == [4]
        await use.storage.prune(LATER, 100)
        await use.create(box, name="x")
        assert await steps(use, LATER) == [1]

    async def test_a_round_goes_on_with_the_types(self, use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("storage.retention.STEP_ROWS", 3)
        monkeypatch.setattr("storage.retention.PAUSE_SECONDS", 0)
        made = (await use.create(box, name="a"))["id"]
        for n in range(9):
            await use.commit(Update(box, made, {"note": f"{n}"}), use.new(item, made, label=f"{n}"))
        log = await use.log()
        round_ = Retention(use.storage, lambda: log[2].at, {item: lambda: log[6].at})
        assert await round_.round() == 3
        left = await use.log()
        assert [s.seq for s in left] == [3, 4, 5, 6, 7, 8, 9, 10]
        said = [(bool(s.rows[0].after), bool(s.rows[1].after)) for s in left]
        assert said == [(True, False)] * 4 + [(True, True)] * 4


async def steps(use: Use, before: str, limit: int = 4) -> list[int]:
    """Empty what is said of boxes until nothing old is left; return how many changes each step looked at."""
    done: list[int] = []
    while count := await use.storage.prune_type(box, before, limit):
        done.append(count)
    return done
