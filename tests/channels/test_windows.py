"""Sorted windows: what is shown after every change, what is held back while one is filled, and every bound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from channels import live as live_module
from channels import refills, windows
from channels.live import Live, SessionState
from channels.starts import Since, Started
from channels.watches import WatchQuery
from hub.access import Identity
from hub.schema.query import Query, parse_order
from hub.schema.record import Image
from hub.schema.where import parse_where
from hub.schema.writes import Create, Delete, Update
from hub.wire.errors import HubError
from storage.base import Found
from storage.bus import InProcessBus
from tests.channels.scene import ACCOUNT, EVENT, RIGHTS, Listener, Message, Store
from tests.channels.test_window_content import apply


def window(*order: str, limit: int, where: Message | None = None, fields: tuple[str, ...] | None = None) -> WatchQuery:
    """Return a window of events."""
    keys = parse_order(EVENT, list(order))
    return WatchQuery(ACCOUNT, EVENT, parse_where(EVENT, where), fields, RIGHTS.of("viewer"), keys, limit)


# -- on a live side ----------------------------------------------------------------------------------


class Scene:
    """A live side over a keeper in memory whose finds can be held up."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.live = Live(store.storage, InProcessBus())
        self.finds = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails = 0
        self._find = store.storage.find
        store.storage.find = self._slow  # type: ignore[method-assign]  # the same, later
        self._count = 0

    async def _slow(self, account: str, query: Query) -> Found:
        self.finds += 1
        await self.gate.wait()
        if self.fails:
            self.fails -= 1
            raise HubError("server.unavailable", retry_after=1)
        return await self._find(account, query)

    async def session(self) -> SessionState:
        """Open a session with a socket of its own."""
        self._count += 1
        name = f"session{self._count}"
        session = SessionState(name, Identity("user", "ada"), ACCOUNT, f"secret{name}", Listener().outlet)
        await self.live.open(session)
        return session

    async def watch(self, query: WatchQuery, since: Since | None = None) -> tuple[SessionState, Started]:
        """Start a watch on a session of its own."""
        session = await self.session()
        return session, await self.live.watch(session, query, since)

    async def titles(self, *titles: str) -> list[str]:
        """Create events in one commit; return their ids."""
        recs = [f"{title}-id" for title in titles]
        await self.store.commit(*(Create(EVENT, rec, EVENT.accept_create({"title": title, "acronym": rec}))
                                  for rec, title in zip(recs, titles, strict=True)))  # fmt: skip
        return recs


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(windows, "LEAST_RESERVE", 1)
    monkeypatch.setattr(refills, "RETRY_SECONDS", 0.001)
    made = Scene(await Store().start())
    yield made
    await made.live.close()


def heard(session: SessionState) -> list[Message]:
    """Take what a session's socket was told."""
    found = []
    assert session.outlet is not None
    while (frame := session.outlet.take()) is not None:
        found.append(session.outlet.codec.decode(frame.decode()))
    return found


def kinds(push: Message) -> list[tuple[str, str]]:
    """Return kind or reason and record of each event."""
    return [(event.get("why", event["kind"]), event["rec"].removesuffix("-id")) for event in push["events"]]


async def turns(n: int = 5) -> None:
    """Let others run."""
    for _ in range(n):
        await asyncio.sleep(0)


async def test_a_window_begins_with_the_first_in_order(scene: Scene) -> None:
    await scene.titles("c", "a", "d", "b")
    session, started = await scene.watch(window("-title", limit=3))
    assert [image["title"] for image in started.records or []] == ["d", "c", "b"]
    assert (started.seq, heard(session)) == (1, [])


async def test_who_comes_before_the_last_pushes_it_out_in_the_same_push(scene: Scene) -> None:
    await scene.titles("b", "d", "f", "h")
    session, _ = await scene.watch(window("title", limit=2))
    await scene.titles("c")
    (push,) = heard(session)
    assert (push["seq"], push["origin"]) == (2, "writer")
    assert kinds(push) == [("window", "d"), ("enter", "c")]
    await scene.titles("x")
    assert heard(session) == [], "behind the window"
    await scene.store.update("b-id", title="bb")
    (push,) = heard(session)
    assert kinds(push) == [("update", "b")], "moved within the window"
    await scene.store.update("b-id", title="y")
    (push,) = heard(session)
    assert kinds(push) == [("window", "b"), ("enter", "d")]
    await scene.store.delete("c-id")
    (push,) = heard(session)
    assert kinds(push) == [("deleted", "c"), ("enter", "f")]
    assert scene.finds == 1 + scene.live.windows.refills


async def test_why_a_record_leaves_is_filter_where_it_matches_no_more(scene: Scene) -> None:
    await scene.titles("a", "b", "c")
    session, _ = await scene.watch(window("title", limit=2, where={"timezone": {"$ne": "UTC"}}))
    await scene.store.update("a-id", timezone="UTC")
    (push,) = heard(session)
    assert kinds(push) == [("filter", "a"), ("enter", "c")]


async def test_a_batch_is_told_by_what_it_comes_to(scene: Scene) -> None:
    await scene.titles("b", "d", "f")
    session, _ = await scene.watch(window("title", limit=2))
    change = EVENT.accept_change
    await scene.store.commit(
        Update(EVENT, "b-id", change({"title": "x"})),
        Update(EVENT, "b-id", change({"title": "a"})),
        Create(EVENT, "c-id", EVENT.accept_create({"title": "c", "acronym": "c"})),
        Delete(EVENT, "c-id"),
    )
    (push,) = heard(session)
    (event,) = push["events"]
    assert (event["kind"], event["rec"], event["version"], event["patch"]["title"]) == ("update", "b-id", 3, "a")


async def test_a_dry_window_is_filled_and_tells_what_happened_meanwhile_at_once(scene: Scene) -> None:
    await scene.titles(*"abcdefghij")
    session, _ = await scene.watch(window("title", limit=2))
    other = await scene.session()
    scene.gate.clear()
    for title in "ab":
        await scene.store.delete(f"{title}-id")
    pushed = heard(session)
    assert [kinds(push) for push in pushed] == [[("deleted", "a"), ("enter", "c")]], "three were held: the last is left"
    outlet = session.outlet
    assert outlet is not None
    assert other.outlet is not None
    owes = scene.live.windows.owes
    assert [owes(outlet, 2), owes(outlet, 3), owes(other.outlet, 3)] == [False, True, False]
    waiting = asyncio.ensure_future(scene.live.windows.settled(outlet, 3))
    await scene.titles("aa")
    await scene.store.update("c-id", timezone="UTC")
    await turns()
    assert not waiting.done()
    scene.gate.set()
    await waiting
    (push,) = heard(session)
    assert (push["seq"], push["origin"]) == (5, "writer"), "one push, with the last number"
    assert kinds(push) == [("deleted", "b"), ("enter", "aa"), ("update", "c")]
    await scene.store.delete("aa-id")
    assert [kinds(push) for push in heard(session)] == [[("deleted", "aa"), ("enter", "d")]]


async def test_what_is_committed_behind_the_state_that_was_read_follows_by_itself(scene: Scene) -> None:
    await scene.titles(*"abcdefghij")
    session, _ = await scene.watch(window("title", limit=2))
    real = scene._find

    async def early(account: str, query: Query) -> Found:
        found = await real(account, query)
        await scene.titles("aa")
        return found

    await scene.store.delete("a-id")
    scene._find = early
    await scene.store.delete("b-id")
    await turns(20)
    scene._find = real
    pushed = heard(session)
    assert [(push["seq"], kinds(push)) for push in pushed] == [
        (2, [("deleted", "a"), ("enter", "c")]),
        (3, [("deleted", "b"), ("enter", "d")]),
        (4, [("window", "d"), ("enter", "aa")]),
    ]


async def test_a_read_that_fails_is_done_again_and_then_everybody_begins_again(scene: Scene) -> None:
    await scene.titles(*"abcdefghij")
    query = window("title", limit=2)
    session, started = await scene.watch(query)
    scene.fails = refills.ATTEMPTS - 1
    for title in "ab":
        await scene.store.delete(f"{title}-id")
    assert session.outlet is not None
    await scene.live.windows.settled(session.outlet)
    assert len(heard(session)) == 2
    scene.fails = refills.ATTEMPTS
    for title in "cdefg":
        await scene.store.delete(f"{title}-id")
    await asyncio.wait_for(scene.live.windows.settled(session.outlet), 5)
    assert heard(session)[-1] == {"op": "reset", "watch": query.id, "why": "expired"}
    assert (session.watches, len(scene.live.watches)) == ({}, 0)
    again = await scene.live.watch(session, query)
    assert [image["title"] for image in again.records or []] == ["h", "i"]
    assert started.group is not again.group


async def test_a_start_that_cannot_read_is_refused_and_leaves_nothing(scene: Scene) -> None:
    scene.fails = refills.ATTEMPTS
    session = await scene.session()
    with pytest.raises(HubError) as refused:
        await scene.live.watch(session, window(limit=2))
    assert refused.value.code == "server.unavailable"
    assert (len(scene.live.watches), scene.live.windows.filling, session.watches) == (0, set(), {})


async def test_a_fault_while_a_window_is_filled_is_logged_and_nobody_waits_for_ever(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(account: str, query: Query) -> Found:
        raise RuntimeError("a fault of ours")

    await scene.titles(*"abcdef")
    query = window("title", limit=2)
    session, _ = await scene.watch(query)
    other = await scene.session()
    monkeypatch.setattr(scene, "_find", broken)
    for title in "abcde":
        await scene.store.delete(f"{title}-id")
    assert session.outlet is not None
    await asyncio.wait_for(scene.live.windows.settled(session.outlet), 5)
    assert heard(session)[-1] == {"op": "reset", "watch": query.id, "why": "expired"}
    with pytest.raises(HubError) as refused:
        await scene.live.watch(other, query)
    assert refused.value.code == "server.error"
    assert isinstance(refused.value.__cause__, RuntimeError), "the incident has the traceback of the fault"
    assert (len(scene.live.watches), scene.live.windows.filling, scene.live.windows.holding) == (0, set(), set())
    assert "cannot be filled" in caplog.text


async def test_too_much_held_back_is_a_reset(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refills, "HELD_COMMITS", 3)
    await scene.titles(*"abcdefghij")
    session, started = await scene.watch(window("title", limit=2))
    scene.gate.clear()
    for title in "abcde":
        await scene.store.delete(f"{title}-id")
    group = started.group
    assert isinstance(group, refills.WindowGroup)
    assert len(group.held) == 3
    await scene.titles("x")
    scene.gate.set()
    assert session.outlet is not None
    await scene.live.windows.settled(session.outlet)
    assert heard(session)[-1]["op"] == "reset"


async def test_a_watch_that_starts_meanwhile_begins_behind_what_is_held_back(scene: Scene) -> None:
    await scene.titles(*"abcdefghij")
    session, _ = await scene.watch(window("title", limit=2))
    real = scene._find
    slow, let = asyncio.Event(), asyncio.Event()

    async def stuck(account: str, query: Query) -> Found:
        if query.limit is not None:
            slow.set()
            await let.wait()
        return await real(account, query)

    scene._find = stuck
    for title in "ab":
        await scene.store.delete(f"{title}-id")
    await slow.wait()
    starting = asyncio.ensure_future(scene.live.watch(session, WatchQuery(
        ACCOUNT, EVENT, parse_where(EVENT, None), None, RIGHTS.of("viewer"))))  # fmt: skip
    twin = asyncio.ensure_future(scene.watch(window("title", limit=2)))
    await turns(20)
    assert not starting.done(), "its answer would overtake what the window owes"
    assert not twin.done()
    let.set()
    assert (await starting).seq == 3
    assert [image["title"] for image in (await twin)[1].records or []] == ["c", "d"]
    assert [push["seq"] for push in heard(session)] == [2, 3]


async def test_a_window_is_read_once_however_many_start_it(scene: Scene) -> None:
    await scene.titles("a")
    query = window("title", limit=2)
    scene.gate.clear()
    starting = [asyncio.ensure_future(scene.watch(query)) for _ in range(20)]
    await turns()
    scene.gate.set()
    found = [await one for one in starting]
    await scene.titles("b")
    assert scene.finds == 1
    assert {len(heard(session)) for session, _ in found} == {1}
    assert len({id(started.group) for _, started in found}) == 1


async def test_who_leaves_while_it_is_filled_leaves_nothing_behind(scene: Scene) -> None:
    await scene.titles(*"abcdefghij")
    session, _ = await scene.watch(window("title", limit=2))
    scene.gate.clear()
    for title in "ab":
        await scene.store.delete(f"{title}-id")
    scene.live.cut(session, clean=True)
    scene.gate.set()
    await turns(20)
    assert (len(scene.live.watches), scene.live.windows.filling) == (0, set())


# -- resume ------------------------------------------------------------------------------------------


def have(records: list[Image] | None) -> dict[str, int]:
    """Return the versions of records."""
    return {image["id"]: image["version"] for image in records or []}


async def test_a_resumed_window_is_told_the_difference(scene: Scene) -> None:
    await scene.titles("b", "d", "f", "h")
    query = window("title", limit=3)
    _, before = await scene.watch(query)
    await scene.titles("a")
    await scene.store.update("d-id", timezone="UTC")
    _, after = await scene.watch(query, Since(before.mark, before.seq, have(before.records)))
    (body,) = after.events or []
    assert (body["seq"], after.seq, "origin" in body) == (3, 3, False)
    assert kinds(body) == [("window", "f"), ("enter", "a"), ("update", "d")]
    held = apply({image["id"]: image for image in before.records or []}, body["events"])
    assert [held[image["id"]] == image for image in (await scene.watch(query))[1].records or []] == [True] * 3
    now = (await scene.watch(query))[1]
    assert (await scene.watch(query, Since(now.mark, now.seq, have(now.records))))[1].events == []


async def test_a_resumed_window_says_why_what_it_has_no_more_is_gone(scene: Scene) -> None:
    await scene.titles("a", "b", "c", "d", "e")
    query = window("title", limit=3, where={"timezone": {"$ne": "UTC"}})
    _, before = await scene.watch(query)
    await scene.store.delete("a-id")
    await scene.store.update("b-id", timezone="UTC")
    await scene.titles("0", "1")
    _, after = await scene.watch(query, Since(before.mark, before.seq, {**have(before.records), "nobody": 7}))
    (body,) = after.events or []
    assert set(kinds(body)) == {
        ("deleted", "a"), ("filter", "b"), ("deleted", "nobody"), ("enter", "0"), ("enter", "1"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("since", "why"),
    [
        (("made up", 1, {}), "query"),
        ((None, 1, None), "expired"),
        ((None, 99, {}), "expired"),
    ],
)
async def test_a_window_that_cannot_be_resumed_is_a_snapshot_with_a_reason(
    scene: Scene, since: tuple[str | None, int, dict[str, int] | None], why: str
) -> None:
    await scene.titles("a")
    query = window(limit=3)
    _, before = await scene.watch(query)
    mark, seq, held = since
    _, after = await scene.watch(query, Since(mark or before.mark, seq, held))
    assert (after.why, len(after.records or []), after.events) == (why, 1, None)


async def test_the_mark_of_another_window_is_of_another_query(scene: Scene) -> None:
    marks = {
        (await scene.watch(query))[1].mark
        for query in (window("title", limit=3), window("-title", limit=3), window("title", limit=4), window(limit=3))
    }
    assert len(marks) == 4


# -- bounds ------------------------------------------------------------------------------------------


async def test_the_windows_of_a_socket_show_so_many_records_and_no_more(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "WINDOW_RECORDS_PER_SOCKET", 10)
    session = await scene.session()
    await scene.live.watch(session, window("title", limit=4))
    await scene.live.watch(session, window("-title", limit=6))
    with pytest.raises(HubError) as refused:
        await scene.live.watch(session, window(limit=1))
    assert (refused.value.code, refused.value.path) == ("watch.too_many", "limit")
    await scene.live.watch(session, window("title", limit=4))  # one that is held already
    await scene.live.watch(await scene.session(), window(limit=1))


async def test_what_waits_for_a_window_waits_for_so_long(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refills, "REACH_SECONDS", 0.01)
    scene.gate.clear()
    session = await scene.session()
    with pytest.raises(HubError) as refused:
        await scene.live.watch(session, window(limit=1))
    assert refused.value.code == "server.unavailable"
    scene.gate.set()
    await turns()
    assert scene.live.windows.filling == set()


async def test_windows_of_one_size_hold_no_more_than_they_should(scene: Scene) -> None:
    assert [windows.capacity(limit) for limit in (1, 10, 1000)] == [2, 15, 1500]
    _, started = await scene.watch(window("title", limit=2))
    for n in range(50):
        await scene.titles(f"{n:02}")
    group: Any = started.group
    assert len(group.window._images) == len(group.window._ids) == len(group.window._ranks) == 3
