"""When members were last here: what is stored of it, when, and what a fault of storage changes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from channels import seen
from channels.seen import SECONDS, Seen
from hub.schema.times import from_millis
from hub.wire.errors import HubError
from storage.base import SIGHTS, Member, Sight
from storage.memory import MemoryStorage
from tests.channels.scene import REGISTRY

START = 1_795_000_000_000
ACCOUNT = "main"
EVE: Member = ("user", "eve")


class Recording(MemoryStorage):
    """A keeper that keeps nothing but what it was given, and refuses when it is told to."""

    def __init__(self) -> None:
        super().__init__(REGISTRY, lambda: from_millis(START))
        self.lists: list[list[Sight]] = []
        self.down = False
        self.gate: asyncio.Event | None = None

    async def saw(self, sights: Sequence[Sight]) -> None:
        """Note a list."""
        assert 0 < len(sights) <= SIGHTS
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise HubError("server.unavailable", retry_after=1)
        self.lists.append(list(sights))

    @property
    def times(self) -> list[float]:
        """The seconds at which eve was kept to be here."""
        return [second(sight.at) for sights in self.lists for sight in sights if sight.member == EVE]


def second(at: str) -> float:
    """Return which second of the test a time in wire form is."""
    return next(n for n in range(1000) if from_millis(START + n * 1000) == at)


class Scene:
    """One instance whose time the test makes go on."""

    def __init__(self) -> None:
        self.now = 0
        self.storage = Recording()
        self.seen = Seen(self.storage, lambda: from_millis(START + self.now * 1000))

    def opened(self, session: str, member: Member = EVE) -> None:
        self.seen.opened(ACCOUNT, member, session, self.now)

    def closed(self, session: str, member: Member = EVE) -> None:
        self.seen.closed(ACCOUNT, member, session, self.now)

    def cut(self, session: str) -> None:
        self.seen.cut(ACCOUNT, EVE, session)

    def at(self) -> float | None:
        """Return when eve was last here, as far as memory says."""
        found = self.seen.at(ACCOUNT, EVE)
        return None if found is None else second(found)

    async def until(self, end: int) -> None:
        """Let time go on, with a tick each second."""
        while self.now < end:
            self.now += 1
            self.seen.tick(self.now)
            for _ in range(5):
                await asyncio.sleep(0)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_who_comes_stays_and_goes_is_written_once_a_minute_and_at_both_ends(scene: Scene) -> None:
    scene.opened("one")
    await scene.until(130)
    scene.closed("one")
    assert scene.at() == 130
    await scene.until(300)
    assert scene.storage.times == [1, 60, 120, 130]
    assert scene.at() is None, "it is stored, and forgotten here"


async def test_two_sessions_are_one_member_and_the_last_one_is_the_goodbye(scene: Scene) -> None:
    scene.opened("one")
    scene.opened("two")
    await scene.until(10)
    scene.closed("one")
    await scene.until(20)
    scene.closed("two")
    await scene.until(30)
    assert scene.storage.times == [1, 20]


async def test_whose_instance_died_is_written_by_who_noticed_it(scene: Scene) -> None:
    def swept(at: int) -> None:
        scene.seen.swept(ACCOUNT, EVE, from_millis(START + at * 1000))

    scene.now = 20
    swept(10)
    assert scene.at() == 10
    await scene.until(22)
    scene.opened("one")
    swept(15)
    assert scene.at() == 22, "there is a session here"
    await scene.until(30)
    scene.closed("one")
    swept(25)
    assert scene.at() == 30
    await scene.until(31)
    swept(35)
    await scene.until(40)
    assert scene.storage.times == [10, 30, 35]


async def test_who_breaks_off_was_here_until_then(scene: Scene) -> None:
    scene.opened("one")
    await scene.until(30)
    scene.cut("one")
    await scene.until(40)
    assert scene.at() == 30
    scene.closed("one")
    await scene.until(45)
    assert scene.storage.times == [1, 30]


async def test_who_comes_back_within_the_grace_was_never_gone(scene: Scene) -> None:
    scene.opened("one")
    await scene.until(30)
    scene.cut("one")
    await scene.until(35)
    scene.opened("one")
    await scene.until(59)
    assert (scene.at(), scene.storage.times) == (59, [1])


async def test_who_comes_and_goes_all_the_time_is_written_twice_a_minute_at_most(scene: Scene) -> None:
    for n in range(240):
        scene.opened(f"s{n}")
        await scene.until(scene.now + 1)
        scene.closed(f"s{n}")
    times = scene.storage.times
    assert all(len([t for t in times if start <= t < start + SECONDS]) <= 3 for start in range(240)), times
    assert len(times) <= 2 * 240 / SECONDS + 2
    await scene.until(scene.now + 130)
    assert scene.storage.times[-1] == 240, "the last goodbye is stored in the end"


async def test_many_are_written_in_bounded_lists_one_after_the_other(scene: Scene) -> None:
    members: list[Member] = [("user", f"m{n}") for n in range(2 * SIGHTS + 5)]
    for member in members:
        scene.opened("s", member)
    await scene.until(1)
    assert [len(sights) for sights in scene.storage.lists] == [SIGHTS, SIGHTS, 5]
    for member in members:
        scene.closed("s", member)
    await scene.until(2)
    assert [len(sights) for sights in scene.storage.lists[3:]] == [SIGHTS, SIGHTS, 5]
    assert {sight.member for sights in scene.storage.lists[3:] for sight in sights} == set(members)


async def test_one_list_at_a_time_is_under_way(scene: Scene) -> None:
    scene.storage.gate = asyncio.Event()
    scene.opened("one")
    await scene.until(1)
    scene.opened("two", ("user", "bob"))
    await scene.until(5)
    assert not scene.storage.lists
    scene.storage.gate.set()
    await scene.until(6)
    assert [[sight.member[1] for sight in sights] for sights in scene.storage.lists] == [["eve"], ["bob"]]


async def test_a_fault_of_storage_costs_a_round_and_not_the_goodbye(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.opened("one")
    scene.storage.down = True
    await scene.until(5)
    scene.closed("one")
    await scene.until(59)
    assert (scene.storage.lists, scene.at()) == ([], 5)
    assert "could not be stored" in caplog.text
    scene.storage.down = False
    await scene.until(60)
    assert scene.storage.times == [5]


async def test_those_who_went_while_storage_is_down_are_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "MEMBERS", 10)
    scene.storage.down = True
    for n in range(30):
        scene.opened("s", ("user", f"m{n}"))
        scene.closed("s", ("user", f"m{n}"))
    await scene.until(70)
    kept = [n for n in range(30) if scene.seen.at(ACCOUNT, ("user", f"m{n}")) is not None]
    assert kept == [*range(20, 30)], "the oldest are forgotten"


async def test_a_hub_that_stops_writes_everybody(scene: Scene) -> None:
    scene.opened("one")
    scene.opened("two", ("user", "bob"))
    await scene.until(10)
    scene.closed("two", ("user", "bob"))
    scene.now = 11
    await scene.seen.close()
    assert {(s.member[1], second(s.at)) for s in scene.storage.lists[-1]} == {("eve", 11), ("bob", 10)}
