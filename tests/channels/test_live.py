"""Sessions and their watches: started, resumed, counted, cut, switched and withdrawn, over a keeper in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from channels import starts
from channels.live import WATCHES_PER_SOCKET, Live, SessionState
from channels.rosters import Who
from channels.starts import Since
from hub.access import SYSTEM, Identity
from hub.schema.query import Query
from hub.schema.writes import Commit, Create, Delete, Update
from hub.wire.errors import HubError
from storage.base import Found
from storage.bus import InProcessBus
from tests.channels.scene import ACCOUNT, NOW, REGISTRY, Listener, Store, query

KEY = REGISTRY.types["api_key"]


class Scene:
    """A live side and sessions on it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.live = Live(store.storage, InProcessBus())
        self.closed: dict[str, int] = {}
        self._count = 0

    def replace(self, name: str, function: object) -> None:
        """Replace a method of the keeper."""
        setattr(self.store.storage, name, function)

    async def session(self, identity: Identity | None = None, account: str | None = ACCOUNT) -> SessionState:
        """Open a session with a socket of its own."""
        self._count += 1
        name = f"session{self._count}"
        session = SessionState(name, identity or Identity("user", "ada"), account, f"secret{name}", Listener().outlet)
        session.closing = lambda code, reason: self.closed.__setitem__(name, code)
        await self.live.open(session)
        return session


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene(await Store().start())
    yield made
    await made.live.close()


def heard(session: SessionState) -> list[dict[str, object]]:
    """Take what a session's socket was told."""
    found = []
    assert session.outlet is not None
    while (frame := session.outlet.take()) is not None:
        found.append(session.outlet.codec.decode(frame.decode()))
    return found


async def until(fact: Callable[[], bool]) -> None:
    """Wait for a fact."""
    async with asyncio.timeout(5):
        while not fact():
            await asyncio.sleep(0.001)


# -- watches -----------------------------------------------------------------------------------------


async def test_a_watch_holds_a_snapshot_and_then_hears_everything(scene: Scene) -> None:
    first = await scene.store.create("A")
    session = await scene.session()
    started = await scene.live.watch(session, query())
    assert [image["id"] for image in started.records or []] == [first]
    assert (started.seq, started.events, started.why) == (1, None, None)
    await scene.store.create("B")
    assert [m["seq"] for m in heard(session)] == [2]


async def test_what_is_committed_while_the_snapshot_is_read_is_in_it_or_pushed_and_never_both(scene: Scene) -> None:
    await scene.store.create("before")
    session = await scene.session()
    real = scene.store.storage.find

    async def slow(account: str, asked: Query) -> Found:
        found = await real(account, asked)
        await scene.store.create("meanwhile")
        await scene.store.update("event000001", title="changed meanwhile")
        return found

    scene.replace("find", slow)  # others write while it reads
    started = await scene.live.watch(session, query())
    titles = {image["title"] for image in started.records or []}
    assert (titles, started.seq) == ({"changed meanwhile", "meanwhile"}, 3)
    assert heard(session) == []
    await scene.store.create("after")
    assert [m["seq"] for m in heard(session)] == [4]


async def test_a_resumed_watch_gets_what_it_missed_one_body_a_commit(scene: Scene) -> None:
    session = await scene.session()
    before = await scene.live.watch(session, query())
    rec = await scene.store.create("A")
    await scene.store.update(rec, title="B")
    other = await scene.session()
    again = await scene.live.watch(other, query(), Since(before.mark, before.seq))
    assert [(push["seq"], push["origin"]) for push in again.events or []] == [(1, "writer"), (2, "writer")]
    assert [e["kind"] for push in again.events or [] for e in push["events"]] == ["enter", "update"]
    assert (again.seq, again.records) == (2, None)


@pytest.mark.parametrize(("mark", "seq", "why"), [("nonsense", 0, "query"), (None, 99, "expired")])
async def test_what_cannot_be_resumed_is_a_snapshot_with_a_reason(
    scene: Scene, mark: str | None, seq: int, why: str
) -> None:
    session = await scene.session()
    before = await scene.live.watch(session, query())
    again = await scene.live.watch(session, query(), Since(mark or before.mark, seq))
    assert (again.why, again.records, again.events) == (why, [], None)


async def test_missing_more_than_a_snapshot_costs_is_a_snapshot(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starts, "REPLAY_EVENTS", 3)
    session = await scene.session()
    before = await scene.live.watch(session, query())
    for _ in range(3):
        await scene.store.create()
    assert (await scene.live.watch(session, query(), Since(before.mark, before.seq))).events is not None
    await scene.store.create()
    assert (await scene.live.watch(session, query(), Since(before.mark, before.seq))).why == "expired"


async def test_what_was_lost_before_the_horizon_is_a_snapshot_although_the_log_still_has_it(scene: Scene) -> None:
    session = await scene.session()
    before = await scene.live.watch(session, query())
    for title in ("A", "B"):
        await scene.store.create(title)
    log = await scene.store.storage.changes(ACCOUNT, 0, 9)
    horizon = {"at": log[0].at}
    late = Live(scene.store.storage, InProcessBus(), resume_from=lambda: horizon["at"])
    resumed = await late.watch(session, query(), Since(before.mark, before.seq))
    assert resumed.events is not None, "what is as old as the horizon is resumed"
    horizon["at"] = "2999-01-01T00:00:00.000Z"
    expired = await late.watch(session, query(), Since(before.mark, before.seq))
    assert (expired.why, len(expired.records or [])) == ("expired", 2)
    assert (await late.watch(session, query(), Since(before.mark, 2))).events == [], (
        "who missed nothing is always resumed"
    )
    await late.close()


async def test_what_was_forgotten_is_a_snapshot(scene: Scene) -> None:
    session = await scene.session()
    before = await scene.live.watch(session, query())
    for title in ("A", "B", "C"):
        await scene.store.create(title)
    assert await scene.store.storage.prune("2999-01-01T00:00:00.000Z", 1) == 1
    again = await scene.live.watch(session, query(), Since(before.mark, before.seq))
    assert (again.why, len(again.records or []), again.seq) == ("expired", 3, 3)


async def test_a_second_start_counts_and_is_stopped_twice(scene: Scene) -> None:
    session = await scene.session()
    watch = (await scene.live.watch(session, query())).group.query.id
    await scene.live.watch(session, query())
    scene.live.unwatch(session, watch)
    await scene.store.create()
    assert len(heard(session)) == 1
    scene.live.unwatch(session, watch)
    await scene.store.create()
    assert heard(session) == []
    assert len(scene.live.watches) == 0
    with pytest.raises(HubError) as refused:
        scene.live.unwatch(session, watch)
    assert (refused.value.code, refused.value.path) == ("record.not_found", "watch")


async def test_a_socket_holds_a_hundred_watches_and_one_it_holds_may_be_started_again(scene: Scene) -> None:
    session = await scene.session()
    for n in range(WATCHES_PER_SOCKET):
        await scene.live.watch(session, query({"title": str(n)}))
    with pytest.raises(HubError) as refused:
        await scene.live.watch(session, query())
    assert refused.value.code == "watch.too_many"
    await scene.live.watch(session, query({"title": "0"}))


async def test_a_refused_start_leaves_nothing_behind(scene: Scene) -> None:
    session = await scene.session()

    async def failing(account: str, asked: Query) -> Found:
        raise HubError("server.unavailable")

    scene.replace("find", failing)  # the database is gone
    with pytest.raises(HubError):
        await scene.live.watch(session, query())
    assert (len(scene.live.watches), session.watches) == (0, {})


async def test_a_watch_that_matches_too_much_is_too_large(scene: Scene) -> None:
    session = await scene.session()

    async def endless(account: str, asked: Query) -> Found:
        return Found([], 0, more=True)

    scene.replace("find", endless)  # as if there were 100,001
    with pytest.raises(HubError) as refused:
        await scene.live.watch(session, query())
    assert (refused.value.code, refused.value.path) == ("watch.too_large", "where")


async def test_a_start_whose_socket_ends_meanwhile_watches_nothing(scene: Scene) -> None:
    session = await scene.session()
    real = scene.store.storage.find

    async def cutting(account: str, asked: Query) -> Found:
        scene.live.cut(session, clean=True)
        return await real(account, asked)

    scene.replace("find", cutting)  # the client leaves while it is read
    await scene.live.watch(session, query())
    assert len(scene.live.watches) == 0
    assert ACCOUNT not in scene.live.dispatcher.positions()


# -- sessions ----------------------------------------------------------------------------------------


async def test_a_cut_session_lives_for_its_grace_and_ends_once(scene: Scene) -> None:
    scene.live.grace_seconds = 0.02
    session = await scene.session()
    await scene.live.watch(session, query())
    assert session.outlet is not None
    scene.live.rosters.join((ACCOUNT, "event:x"), session.outlet, session.id, Who("user", "ada", "Ada"), {}, NOW)
    scene.live.cut(session, clean=False)
    assert len(scene.live.watches) == 0
    assert scene.live.sessions() == [session]
    assert scene.live.rosters.members((ACCOUNT, "event:x"))[0]["status"] == "away"
    await until(lambda: scene.live.sessions() == [])
    assert scene.live.rosters.members((ACCOUNT, "event:x")) == []
    assert ACCOUNT not in scene.live.dispatcher.positions()
    scene.live.end(session)


async def test_a_session_that_comes_back_within_its_grace_stays(scene: Scene) -> None:
    scene.live.grace_seconds = 0.05
    session = await scene.session()
    scene.live.cut(session, clean=False)
    scene.live.bind(session, Listener().outlet, "new secret")
    await asyncio.sleep(0.1)
    assert scene.live.sessions() == [session]
    assert session.resume == "new secret"
    await scene.live.watch(session, query())
    await scene.store.create()
    assert len(heard(session)) == 1


async def test_a_clean_end_is_the_end(scene: Scene) -> None:
    session = await scene.session()
    scene.live.cut(session, clean=True)
    assert scene.live.sessions() == []


async def test_switching_the_account_ends_what_was_begun_in_the_other(scene: Scene) -> None:
    session = await scene.session()
    await scene.live.watch(session, query())
    await scene.live.switch(session, session.identity, "another", "secret")
    await scene.store.create()
    assert heard(session) == []
    assert set(scene.live.dispatcher.positions()) == {"another", SYSTEM}


async def test_a_start_that_was_under_way_in_the_other_account_has_no_effect(scene: Scene) -> None:
    session = await scene.session()
    real = scene.store.storage.find

    async def switching(account: str, asked: Query) -> Found:
        await scene.live.switch(session, session.identity, "another", "secret")
        return await real(account, asked)

    scene.replace("find", switching)  # a second hello overtakes
    with pytest.raises(HubError):
        await scene.live.watch(session, query())
    await scene.store.create()
    assert (heard(session), session.watches) == ([], {})


async def test_a_session_that_ended_meanwhile_is_not_switched(scene: Scene) -> None:
    session = await scene.session()
    scene.live.cut(session, clean=True)
    with pytest.raises(HubError):
        await scene.live.switch(session, session.identity, "another", "secret")
    assert set(scene.live.dispatcher.positions()) == {SYSTEM}


# -- withdrawal --------------------------------------------------------------------------------------


async def make_key(scene: Scene, role: str = "editor") -> tuple[str, Identity]:
    """Create a key; return its id and who comes with it."""
    data = KEY.accept_create({"name": "k", "role": role, "digest": "0" * 64}, trusted=True)
    await scene.store.storage.submit(Commit(ACCOUNT, (Create(KEY, "key00000001", data),)))
    return "key00000001", Identity("key", name="k", roles=((ACCOUNT, role),), credential="key00000001")


async def test_a_deleted_key_ends_its_sessions_before_anything_else_is_told(scene: Scene) -> None:
    rec, identity = await make_key(scene)
    mine, other = await scene.session(identity), await scene.session()
    outlet = mine.outlet
    for session in (mine, other):
        await scene.live.watch(session, query())
    assert outlet is not None
    await scene.store.storage.submit(Commit(ACCOUNT, (Delete(KEY, rec),)))
    await scene.store.create()
    assert scene.closed == {mine.id: 4505}
    assert outlet.take() is None
    assert len(heard(other)) == 1
    assert scene.live.sessions() == [other]


async def test_a_key_of_another_role_or_another_end_sends_its_sessions_to_come_back(scene: Scene) -> None:
    rec, identity = await make_key(scene)
    for change, closes in (({"name": "n"}, False), ({"role": "viewer"}, True), ({"expires_at": NOW}, True)):
        session = await scene.session(identity)
        await scene.store.storage.submit(Commit(ACCOUNT, (Update(KEY, rec, KEY.accept_change(change)),)))
        assert scene.closed.get(session.id) == (1012 if closes else None), change


async def test_a_disabled_user_and_an_ended_membership_end_sessions(scene: Scene) -> None:
    user, member = REGISTRY.types["user"], REGISTRY.types["membership"]
    storage = scene.store.storage
    await storage.submit(Commit(SYSTEM, (Create(user, "ada", user.accept_create({"name": "Ada"})),)))
    data = {"user_id": "ada", "role": "viewer", "name": "Ada"}
    await storage.submit(Commit(ACCOUNT, (Create(member, "member", member.accept_create(data, trusted=True)),)))
    here, elsewhere = await scene.session(), await scene.session(account="another")
    await storage.submit(Commit(SYSTEM, (Update(user, "ada", user.accept_change({"name": "Ada L."})),)))
    assert scene.closed == {}
    await storage.submit(Commit(ACCOUNT, (Delete(member, "member"),)))
    assert scene.closed == {here.id: 4505}
    await storage.submit(Commit(SYSTEM, (Update(user, "ada", user.accept_change({"disabled": True})),)))
    assert scene.closed == {here.id: 4505, elsewhere.id: 4505}


async def test_a_session_does_not_open_where_withdrawals_cannot_be_heard(scene: Scene) -> None:
    real = scene.store.storage.heads

    async def failing(accounts: list[str]) -> object:
        raise HubError("server.unavailable")

    scene.replace("heads", failing)  # the database is gone
    with pytest.raises(HubError):
        await scene.session()
    scene.replace("heads", real)  # it is back
    await scene.session()
    assert SYSTEM in scene.live.dispatcher.positions()
