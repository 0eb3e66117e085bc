"""Hooks of packs on who comes and goes, and the queue that they run in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from channels.rooms import Entry
from channels.rosters import Happening, Who
from handlers import visits
from handlers.visits import Visits
from hub import ChangeRecord, Context, HubError, NewRecord, Visit, on_join, on_leave
from hub.schema import hooks
from hub.schema.fields import DeclarationError
from hub.schema.registry import Registry
from packs.events.records import Event, EventLocation
from tests.wire.inside import Inside
from tests.wire.talk import connected
from tests.wire.visiting import GRACE, Place, cut, join, opened, title, until, with_short_grace

SEEN: list[tuple[str, str, str]] = []
"""What the hooks of these tests were told since the test began."""


@on_join(Event, "audience")
async def noted(ctx: Context, visit: Visit) -> None:
    """Note who came, and write it down where it is the channel of an event."""
    SEEN.append((visit.kind, visit.channel, visit.member))
    if visit.channel.startswith("event:"):
        await ctx.get(Event, visit.rec)
        await ctx.submit([NewRecord(EventLocation, {"name": f"{visit.name} came"}, visit.rec)], lambda done: None)


@on_leave(Event, "audience")
async def bidden(ctx: Context, visit: Visit) -> None:
    """Note who went; fail where that is the test."""
    SEEN.append((visit.kind, visit.channel, visit.member))
    if visit.channel == "audience:broken":
        raise RuntimeError("a hook that is broken")
    if visit.channel.startswith("event:"):
        title = (await ctx.get(Event, visit.rec))["title"]
        await ctx.submit([ChangeRecord(Event, visit.rec, {"title": f"{title}, {visit.name} went"})], lambda done: None)


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inside]:
    hub = with_short_grace(tmp_path, monkeypatch)
    for hook in (noted, bidden):
        hub.parts.hub.services.registry.add_visit_hook(vars(hook)["__visit_hook__"])
    SEEN.clear()
    yield hub
    hub.close()


@pytest.fixture
async def place(inside: Inside) -> AsyncIterator[Place]:
    async with opened(inside) as found:
        yield found


# -- hooks of packs ----------------------------------------------------------------------------------


async def test_hooks_run_for_the_first_session_and_for_the_last_one(place: Place, codec: str) -> None:
    rec, key = await place.key("editor")
    async with place.client(codec=codec) as watcher, place.client(key, codec) as one, place.client(key, codec) as two:
        await join(one, place.channel)
        await join(two, place.channel)
        await one.ok("presence.update", channel=place.channel, state={"page": 1})
        await one.ok("channel.leave", channel=place.channel)
        await cut(two)
        await until(lambda: len(SEEN) == 2)
        assert [(kind, who) for kind, _, who in SEEN] == [("join", rec), ("leave", rec)]
        await until(lambda: "went" in str(place.services.storage.database.rows))  # type: ignore[attr-defined]
        assert await title(watcher, place.event) == "A, editor went"
        found = await watcher.ok("record.find", type="event_location")
        assert [(r["name"], r["created_by"]) for r in found["records"]] == [("editor came", None)]


async def test_a_cut_within_the_grace_is_no_event(place: Place) -> None:
    _, key = await place.key("editor")
    async with place.client(key) as one:
        await join(one, "audience:x")
        resume = one.hello["resume"]
        await cut(one)
    async with connected(place.inside.socket_url) as again:
        await again.greet(key, resume=resume)
        await join(again, "audience:x")
        await asyncio.sleep(2 * GRACE)
        assert [kind for kind, *_ in SEEN] == ["join"]


async def test_a_hook_that_is_broken_is_in_nobodys_way(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    async with place.client() as one:
        for name in ("audience:broken", "audience:fine"):
            await join(one, name)
            await one.ok("channel.leave", channel=name)
        await until(lambda: len(SEEN) == 4)
    assert "a hook that is broken" in caplog.text


async def test_nobody_in_a_channel_without_hooks_is_waited_for(place: Place) -> None:
    async with place.client() as one:
        await join(one, f"event_location:{(await one.create('event_location', place.event, name='a'))['id']}")
        await one.ok("session.beat")
    assert SEEN == []
    assert all(task is None for task in place.inside.parts.visits._tasks)


@pytest.mark.parametrize("places", [(), ("nope",)])
def test_a_hook_for_nothing_is_refused(places: tuple[str, ...]) -> None:
    async def hook(ctx: Context, visit: Visit) -> None:
        """Do nothing."""

    def declare() -> None:
        registry = Registry()
        registry.add_visit_hook(vars(on_join(*places)(hook))["__visit_hook__"])
        registry.check()

    with pytest.raises(DeclarationError):
        declare()


def test_a_hook_of_another_form_is_refused() -> None:
    async def short(visit: Visit) -> None:
        """Have one argument too few."""

    for wrong in (lambda ctx, visit: None, short):
        with pytest.raises(DeclarationError, match="async def"):
            vars(hooks)["on_leave"]("audience")(wrong)


# -- the queue itself --------------------------------------------------------------------------------


class Queue:
    """The queue over a hub that does not serve, and what its one hook was told."""

    def __init__(self, inside: Inside, settle: float = 0.0) -> None:
        hub = inside.parts.hub
        self.services = hub.services
        self.rosters = hub.services.live.rosters
        self.visits = Visits(hub.services, inside.parts.visits._operations, settle)

    def happens(self, kind: Any, since: str = "2026-11-22T09:00:00.000Z", rec: str = "eve") -> None:
        self.visits.happened(Happening(kind, ("acc", "audience:x"), Who("user", rec, rec), "s", since))

    def show(self, since: str, instance: str = "other") -> None:
        """Show somebody as another instance would."""
        entry = Entry({}, "active", since, since, instance)
        self.rosters.put(("acc", "audience:x"), Who("user", "eve", "eve"), "s2", entry)


EARLY, NOW, LATE = (f"2026-11-22T09:00:0{n}.000Z" for n in range(3))


@pytest.mark.parametrize(
    ("kind", "there", "runs"),
    [
        ("join", None, True),
        ("join", EARLY, False),
        ("join", NOW, True),
        ("join", LATE, True),
        ("leave", None, True),
        ("leave", EARLY, False),
        ("leave", NOW, False),
        ("leave", LATE, True),
        ("part", None, True),
        ("part", EARLY, False),
        ("part", NOW, False),
        ("part", LATE, True),
    ],
)
async def test_what_another_instance_knew_better_is_not_run_here(
    inside: Inside, kind: str, there: str | None, runs: bool
) -> None:
    queue = Queue(inside, settle=0.02)
    queue.happens(kind, NOW)
    if there is not None:
        queue.show(there)
    await queue.visits.close()
    assert len(SEEN) == runs


async def test_the_same_visit_is_run_once(inside: Inside) -> None:
    queue = Queue(inside)
    for kind in ("leave", "part", "leave"):
        queue.happens(kind)
    await queue.visits.close()
    assert len(SEEN) == 1


async def test_what_one_member_does_is_told_in_order(inside: Inside) -> None:
    queue = Queue(inside)
    for n in range(50):
        queue.happens("join", f"2026-11-22T09:00:{n:02}.000Z")
        queue.happens("leave", f"2026-11-22T09:00:{n:02}.000Z")
    await queue.visits.close()
    assert [kind for kind, *_ in SEEN] == ["join", "leave"] * 50


async def test_too_many_are_counted_and_logged(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(visits, "WAITING", 10)
    queue = Queue(inside)
    for n in range(25):
        queue.happens("join", rec=f"m{n}")
    assert queue.visits.lost == 15
    await queue.visits.close()
    assert len(SEEN) == 10
    assert "too many wait" in caplog.text
    queue.happens("join", rec="later")
    await queue.visits.close()
    assert len(SEEN) == 11, "there is room again"


async def test_what_storage_refuses_for_a_while_is_tried_again(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(visits, "FIRST_PAUSE_SECONDS", 0.001)
    tries: list[str] = []

    @on_join("audience")
    async def stubborn(ctx: Context, visit: Visit) -> None:
        tries.append(visit.member)
        if visit.member == "never" or len(tries) < 3:
            raise HubError("server.unavailable", retry_after=1)

    queue = Queue(inside)
    queue.services.registry.add_visit_hook(vars(stubborn)["__visit_hook__"])
    queue.happens("join", rec="once")
    await queue.visits.close()
    assert tries == ["once"] * 3
    queue.happens("join", rec="never")
    await queue.visits.close()
    assert tries == ["once"] * 3 + ["never"] * visits.TRIES
    assert "is not done" in caplog.text
