"""Many start the same watch at once: the log and the state are read once for them, and nobody gets what is too old."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from channels import replays
from channels.live import Live, SessionState
from channels.starts import Since, Started
from hub.access import Identity
from hub.schema.query import Query
from hub.schema.writes import ChangeSet, Delete
from hub.wire.errors import HubError
from storage.base import Found
from storage.bus import InProcessBus
from tests.channels.scene import ACCOUNT, EVENT, Listener, Store, query

MANY = 50


class Scene:
    """A live side over a keeper whose reads are counted and take a turn of the loop."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.live = Live(store.storage, InProcessBus())
        self.finds: list[int] = []
        """What each snapshot that was read is of."""
        self.reads: list[int] = []
        """Behind which commit the log was read, each time."""
        self.fail = False
        self._find, self._changes = store.storage.find, store.storage.changes
        store.storage.find, store.storage.changes = self.find, self.changes  # type: ignore[method-assign]  # counted

    async def find(self, account: str, query: Query) -> Found:
        """Find, slowly."""
        found = await self._find(account, query)
        self.finds.append(found.seq)
        await asyncio.sleep(0.01)
        return found

    async def changes(self, account: str, after: int, limit: int) -> list[ChangeSet]:
        """Read the log, slowly."""
        self.reads.append(after)
        await asyncio.sleep(0.01)
        if self.fail:
            self.fail = False
            raise HubError("server.unavailable", "The database is away.")
        return await self._changes(account, after, limit)

    async def session(self, n: int) -> SessionState:
        """Open a session."""
        session = SessionState(f"s{n}", Identity("user", "ada"), ACCOUNT, f"secret{n}", Listener().outlet)
        await self.live.open(session)
        return session

    async def all_start(self, since: Since | None = None) -> list[Started]:
        """Start the same watch on many sockets at once."""
        sessions = [await self.session(n) for n in range(MANY)]
        return list(await asyncio.gather(*(self.live.watch(session, query(), since) for session in sessions)))


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene(await Store().start())
    yield made
    await made.live.close()


async def mark(scene: Scene) -> str:
    """Return the mark of the watch."""
    return (await scene.live.watch(await scene.session(-1), query())).mark


async def test_who_starts_at_once_begins_with_the_same_two_readings(scene: Scene) -> None:
    await scene.store.create("A")
    started = await scene.all_start()
    assert [len(each.records or []) for each in started] == [1] * MANY
    assert len(scene.finds) == 2, "one that was under way when the others came, and one for them"
    assert scene.live.watches.group(query()).recorders == []


async def test_a_snapshot_is_never_older_than_the_question(scene: Scene) -> None:
    early = asyncio.create_task(scene.live.watch(await scene.session(1), query()))
    late = await scene.session(2)
    while not scene.finds:
        await asyncio.sleep(0)
    await scene.store.create("meanwhile")
    started = await scene.live.watch(late, query())
    assert scene.finds == [0, 1]
    assert (started.seq, len(started.records or [])) == (1, 1)
    first = await early
    assert (first.seq, len(first.records or [])) == (1, 1), "it is told of what was recorded meanwhile"


async def test_who_resumes_at_once_reads_the_log_once(scene: Scene) -> None:
    since = Since(await mark(scene), 0)
    for n in range(5):
        await scene.store.create(f"{n}")
    started = await scene.all_start(since)
    assert [[push["seq"] for push in each.events or []] for each in started] == [[1, 2, 3, 4, 5]] * MANY
    assert scene.reads == [0]
    await scene.store.create("one more")
    again = await scene.live.watch(await scene.session(99), query(), Since(since.mark, 3))
    assert [push["seq"] for push in again.events or []] == [4, 5, 6]
    assert scene.reads == [0, 5], "what is known is not read again"


async def test_a_long_log_is_read_in_stretches_that_are_few(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "STRETCH", 2)
    monkeypatch.setattr(replays, "STRETCHES", 3)
    since = Since(await mark(scene), 1)
    for n in range(9):
        await scene.store.create(f"{n}")
    started = await scene.live.watch(await scene.session(1), query(), since)
    assert [push["seq"] for push in started.events or []] == list(range(2, 10))
    assert scene.reads == [0, 2, 4, 6, 8]
    shared = scene.live._starts.shared
    assert len(shared._stretches) == 3


async def test_what_was_read_is_forgotten_soon(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "KEPT_SECONDS", 0.01)
    since = Since(await mark(scene), 0)
    await scene.store.create("A")
    await scene.live.watch(await scene.session(1), query(), since)
    shared = scene.live._starts.shared
    async with asyncio.timeout(5):
        while shared._stretches or shared._sweep is not None:
            await asyncio.sleep(0.01)


async def test_an_image_that_was_purged_is_not_told_from_memory(scene: Scene) -> None:
    since = Since(await mark(scene), 0)
    rec = await scene.store.create("secret")
    first = await scene.live.watch(await scene.session(1), query(), since)
    assert "secret" in str(first.events)
    await scene.store.commit(Delete(EVENT, rec, hard=True))
    again = await scene.live.watch(await scene.session(2), query(), since)
    assert "secret" not in str(again.events)
    assert again.events is not None


async def test_a_log_that_cannot_be_read_refuses_one_and_not_those_who_wait(scene: Scene) -> None:
    since = Since(await mark(scene), 0)
    await scene.store.create("A")
    scene.fail = True
    sessions = [await scene.session(n) for n in range(3)]
    asked = (scene.live.watch(session, query(), since) for session in sessions)
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [isinstance(each, HubError) for each in found] == [True, False, False]
    assert scene.reads == [0, 0]


async def test_who_gives_up_while_a_snapshot_is_read_leaves_nothing_behind(scene: Scene) -> None:
    tasks = [asyncio.create_task(scene.live.watch(await scene.session(n), query())) for n in range(3)]
    while not scene.finds:
        await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.wait(tasks)
    assert [task.cancelled() for task in tasks] == [True, False, False]
    assert scene.live.watches.group(query()).recorders == []
    assert scene.live._starts.shared._readings == {}
