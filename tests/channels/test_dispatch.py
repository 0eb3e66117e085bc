"""News in any order, lost and doubled; what comes out is every commit, once, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from random import Random

import pytest

from channels import dispatch
from channels.dispatch import AHEAD, Dispatcher
from hub.schema.writes import ChangeSet
from hub.wire.errors import HubError
from tests.channels.scene import ACCOUNT, Store


class Scene:
    """A dispatcher over a log that others write; news comes only as a test says."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.delivered: list[int] = []
        self.dispatcher = Dispatcher(store.storage, self._deliver, retry_seconds=0.001)
        self.reads = 0
        real = store.storage.changes

        async def changes(account: str, after: int, limit: int) -> list[ChangeSet]:
            self.reads += 1
            return await real(account, after, limit)

        store.storage.changes = changes  # type: ignore[method-assign]  # counted

    def _deliver(self, commit: ChangeSet) -> None:
        self.delivered.append(commit.seq)

    async def write(self, count: int) -> list[ChangeSet]:
        """Commit so many times, and tell nobody."""
        before = self.store.storage.database.head(ACCOUNT)
        for _ in range(count):
            await self.store.create()
        return self.store.storage.database.log[ACCOUNT][before:]

    async def until(self, fact: Callable[[], bool]) -> None:
        """Wait for a fact."""
        async with asyncio.timeout(5):
            while not fact():
                await asyncio.sleep(0)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene(await Store().start())
    yield made
    await made.dispatcher.close()


async def test_following_begins_at_the_head(scene: Scene) -> None:
    await scene.write(3)
    await scene.dispatcher.follow(ACCOUNT)
    assert (scene.dispatcher.position(ACCOUNT), scene.delivered) == (3, [])
    scene.dispatcher.offer(await scene.write(2))
    assert (scene.dispatcher.position(ACCOUNT), scene.delivered) == (5, [4, 5])
    assert scene.reads == 0, "nothing was missing, so nothing was read"


async def test_nobody_hears_of_an_account_that_nobody_follows(scene: Scene) -> None:
    scene.dispatcher.offer(await scene.write(2))
    scene.dispatcher.heads({ACCOUNT: 2})
    assert scene.delivered == []
    assert scene.dispatcher.positions() == {}


async def test_doubled_and_old_news_is_no_news(scene: Scene) -> None:
    await scene.dispatcher.follow(ACCOUNT)
    commits = await scene.write(3)
    for news in (commits[:2], commits[:2], commits, commits[1:2], commits):
        scene.dispatcher.offer(news)
    assert scene.delivered == [1, 2, 3]
    assert scene.reads == 0


async def test_reordered_news_comes_out_in_order(scene: Scene) -> None:
    await scene.dispatcher.follow(ACCOUNT)
    commits = await scene.write(20)
    Random(5).shuffle(commits)
    for commit in commits:
        scene.dispatcher.offer([commit])
    assert scene.delivered == list(range(1, 21))


async def test_a_hole_is_read_from_the_log_before_what_is_behind_it(scene: Scene) -> None:
    await scene.dispatcher.follow(ACCOUNT)
    commits = await scene.write(10)
    scene.dispatcher.offer([commits[0], *commits[7:]])
    assert scene.delivered == [1]
    await scene.until(lambda: len(scene.delivered) == 10)
    assert scene.delivered == list(range(1, 11))


async def test_news_of_a_head_alone_is_enough(scene: Scene) -> None:
    await scene.dispatcher.follow(ACCOUNT)
    await scene.write(4)
    scene.dispatcher.heads({ACCOUNT: 4, "another": 9})
    await scene.until(lambda: scene.delivered == [1, 2, 3, 4])


async def test_looking_at_the_log_finds_what_no_news_told(scene: Scene) -> None:
    await scene.dispatcher.follow(ACCOUNT)
    await scene.write(4)
    assert scene.delivered == []
    await scene.dispatcher.look()
    await scene.until(lambda: scene.delivered == [1, 2, 3, 4])


async def test_a_look_that_is_owed_goes_on_until_it_succeeds(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "LOOK_AGAIN_SECONDS", 0.001)
    await scene.dispatcher.follow(ACCOUNT)
    await scene.write(2)
    real, asked = scene.store.storage.heads, 0

    async def failing(accounts: list[str]) -> object:
        nonlocal asked
        asked += 1
        found = await real(accounts)
        if asked == 1:
            await scene.write(1)
            scene.dispatcher.look_soon()  # what was asked for by now is older than this
        if asked in {2, 3}:
            raise HubError("server.unavailable")
        return found

    scene.store.storage.heads = failing  # type: ignore[assignment,method-assign]  # for a while
    for _ in range(5):
        scene.dispatcher.look_soon()
    await scene.until(lambda: scene.delivered == [1, 2, 3] and scene.dispatcher._looking is None)
    assert asked == 4, "five reasons at once are one look, a sixth meanwhile is another, which failed twice"


async def test_a_long_hole_is_read_in_pages(scene: Scene) -> None:
    await scene.dispatcher.follow(ACCOUNT)
    await scene.write(1100)
    scene.dispatcher.heads({ACCOUNT: 1100})
    await scene.until(lambda: scene.dispatcher.position(ACCOUNT) == 1100)
    assert scene.delivered == list(range(1, 1101))
    assert scene.reads == 3


async def test_what_is_kept_beyond_a_hole_is_bounded(scene: Scene) -> None:
    await scene.dispatcher.follow(ACCOUNT)
    commits = await scene.write(AHEAD + 50)
    scene.dispatcher.offer(commits[1:])
    assert len(scene.dispatcher._accounts[ACCOUNT].ahead) == AHEAD
    await scene.until(lambda: len(scene.delivered) == AHEAD + 50)
    assert scene.delivered == list(range(1, AHEAD + 51))


async def test_a_log_that_cannot_be_read_is_read_again(scene: Scene) -> None:
    await scene.dispatcher.follow(ACCOUNT)
    await scene.write(2)
    working, failures = scene.store.storage.changes, 0

    async def failing(account: str, after: int, limit: int) -> list[ChangeSet]:
        nonlocal failures
        failures += 1
        if failures < 4:
            raise HubError("server.unavailable")
        return await working(account, after, limit)

    scene.store.storage.changes = failing  # type: ignore[method-assign]  # for a while
    scene.dispatcher.heads({ACCOUNT: 2})
    await scene.until(lambda: scene.delivered == [1, 2])
    assert failures == 4


async def test_a_log_that_has_forgotten_its_beginning_is_not_read_without_pause(scene: Scene) -> None:
    await scene.dispatcher.follow(ACCOUNT)
    commits = await scene.write(5)
    reads = 0

    async def pruned(account: str, after: int, limit: int) -> list[ChangeSet]:
        nonlocal reads
        reads += 1
        return [c for c in commits if c.seq > max(after, 3)]

    scene.store.storage.changes = pruned  # type: ignore[method-assign]  # as if 1 to 3 were gone
    scene.dispatcher.heads({ACCOUNT: 5})
    async with asyncio.timeout(5):
        while reads < 3:
            await asyncio.sleep(0.001)
    assert reads < 50
    assert scene.delivered == []


async def test_news_that_comes_before_the_first_head_is_known_is_kept(scene: Scene) -> None:
    gate = asyncio.Event()
    real = scene.store.storage.heads

    async def late(accounts: list[str]) -> object:
        found = await real(accounts)
        await gate.wait()
        return found

    scene.store.storage.heads = late  # type: ignore[assignment,method-assign]  # late, with what was true before
    await scene.write(1)
    following = asyncio.create_task(scene.dispatcher.follow(ACCOUNT))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    scene.dispatcher.offer(await scene.write(2))
    assert scene.delivered == []
    gate.set()
    await following
    assert scene.delivered == [2, 3]


async def test_waiting_ends_with_the_commit_that_was_waited_for(scene: Scene) -> None:
    await scene.dispatcher.follow(ACCOUNT)
    gate = asyncio.Event()

    async def stuck(account: str, after: int, limit: int) -> list[ChangeSet]:
        await gate.wait()
        return []

    scene.store.storage.changes = stuck  # type: ignore[method-assign]  # news alone has to do
    commits = await scene.write(3)
    await scene.dispatcher.reached(ACCOUNT, 0)
    waiting = [asyncio.create_task(scene.dispatcher.reached(ACCOUNT, n)) for n in (1, 2, 2)]
    await asyncio.sleep(0)
    scene.dispatcher.offer(commits[:1])
    await waiting[0]
    assert not waiting[1].done()
    scene.dispatcher.offer(commits[1:])
    await asyncio.gather(*waiting)
    await scene.dispatcher.reached("nobody follows", 5)
    gate.set()


async def test_waiting_asks_the_log_and_gives_up_in_the_end(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.dispatcher.follow(ACCOUNT)
    await scene.write(1)
    await scene.dispatcher.reached(ACCOUNT, 1)
    assert scene.delivered == [1]
    monkeypatch.setattr(dispatch, "REACH_SECONDS", 0.01)
    with pytest.raises(HubError) as refused:
        await scene.dispatcher.reached(ACCOUNT, 99)
    assert (refused.value.code, refused.value.retry_after) == ("server.unavailable", 2)


async def test_an_account_is_forgotten_with_its_last_follower(scene: Scene) -> None:
    await scene.dispatcher.follow(ACCOUNT)
    await scene.dispatcher.follow(ACCOUNT)
    scene.dispatcher.unfollow(ACCOUNT)
    scene.dispatcher.offer(await scene.write(1))
    assert scene.delivered == [1]
    scene.dispatcher.unfollow(ACCOUNT)
    scene.dispatcher.offer(await scene.write(1))
    assert (scene.delivered, scene.dispatcher.positions()) == ([1], {})
    await scene.dispatcher.follow(ACCOUNT)
    assert scene.dispatcher.position(ACCOUNT) == 2


async def test_who_still_follows_when_everything_ends_may_leave_afterwards(scene: Scene) -> None:
    await scene.dispatcher.follow(ACCOUNT)
    await scene.dispatcher.close()
    with pytest.raises(HubError, match="about to stop"):
        scene.dispatcher.position(ACCOUNT)
    scene.dispatcher.unfollow(ACCOUNT)


async def test_a_head_that_cannot_be_read_refuses_the_follower_and_not_the_next(scene: Scene) -> None:
    real = scene.store.storage.heads

    async def failing(accounts: list[str]) -> object:
        raise HubError("server.unavailable")

    scene.store.storage.heads = failing  # type: ignore[assignment,method-assign]  # for a while
    with pytest.raises(HubError):
        await scene.dispatcher.follow(ACCOUNT)
    scene.store.storage.heads = real  # type: ignore[method-assign]  # it is back
    await scene.dispatcher.follow(ACCOUNT)
    assert scene.dispatcher.position(ACCOUNT) == 0


async def test_any_order_of_any_news_comes_out_right(scene: Scene) -> None:
    await scene.dispatcher.follow(ACCOUNT)
    random = Random(11)
    total = 0
    for _ in range(60):
        commits = await scene.write(random.randint(1, 6))
        total += len(commits)
        news = [c for c in commits * random.randint(1, 2) if random.random() < 0.7]
        random.shuffle(news)
        scene.dispatcher.offer(news)
        if random.random() < 0.2:
            await scene.dispatcher.look()
    await scene.dispatcher.look()
    await scene.until(lambda: scene.dispatcher.position(ACCOUNT) == total)
    assert scene.delivered == list(range(1, total + 1))
