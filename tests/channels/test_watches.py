"""What a commit means for a watch: enter, update, leave; whose watch is whose; and bringing a snapshot forward."""

from __future__ import annotations

import pytest

from channels.fanout import MAX_PUSH
from channels.replays import fold
from channels.watches import Recorder, Watches
from hub.schema.writes import ChangeSet, Create, Delete, Update
from hub.wire.codec import JSON, MSGPACK
from tests.channels.scene import ACCOUNT, EVENT, RIGHTS, Listener, Message, Store, query


@pytest.fixture
async def store() -> Store:
    return await Store().start()


async def last(store: Store) -> ChangeSet:
    """Return the last commit in the log."""
    (commit,) = (await store.storage.changes(ACCOUNT, 0, 1000))[-1:]
    return commit


# -- events ------------------------------------------------------------------------------------------


async def test_a_creation_enters_where_it_matches(store: Store) -> None:
    rec = await store.create("on")
    commit = await last(store)
    (event,) = query({"title": "on"}).events(commit)
    assert (event["kind"], event["rec"], event["record"]["title"]) == ("enter", rec, "on")
    assert query({"title": "off"}).events(commit) == []


async def test_a_change_updates_enters_or_leaves_by_the_images_before_and_after(store: Store) -> None:
    rec = await store.create("on")
    await store.update(rec, title="off")
    commit = await last(store)
    (update,) = query().events(commit)
    assert (update["kind"], update["version"], update["patch"]["title"]) == ("update", 2, "off")
    assert set(update["patch"]) <= {"title", "updated_at", "updated_by"}
    (gone,) = query({"title": "on"}).events(commit)
    assert (gone["kind"], gone["rec"], gone["why"], "record" in gone) == ("leave", rec, "filter", False)
    (here,) = query({"title": "off"}).events(commit)
    assert (here["kind"], here["record"]["version"]) == ("enter", 2)
    assert query({"timezone": "UTC"}).events(commit) == []


async def test_a_deletion_leaves_and_says_so(store: Store) -> None:
    rec = await store.create("on")
    await store.delete(rec)
    (gone,) = query().events(await last(store))
    assert (gone["kind"], gone["why"]) == ("leave", "deleted")
    assert query({"title": "off"}).events(await last(store)) == []


async def test_a_tombstone_that_matches_is_not_there(store: Store) -> None:
    rec = await store.create("on")
    await store.delete(rec)
    assert query({"deleted_at": {"$null": False}}).events(await last(store)) == []


async def test_other_fields_change_only_the_version(store: Store) -> None:
    rec = await store.create()
    await store.update(rec, timezone="UTC")
    assert query(fields=("title",)).events(await last(store)) == [
        {"kind": "update", "rec": rec, "patch": {}, "version": 2}
    ]
    await store.update(rec, title="B", timezone="")
    (event,) = query(fields=("title",)).events(await last(store))
    assert event["patch"] == {"title": "B"}


async def test_several_changes_of_one_record_in_a_commit_come_in_their_order(store: Store) -> None:
    data = EVENT.accept_create({"title": "on", "acronym": "x"})
    off, on = EVENT.accept_change({"title": "off"}), EVENT.accept_change({"title": "on"})
    await store.commit(Create(EVENT, "x", data), Update(EVENT, "x", off), Update(EVENT, "x", on), Delete(EVENT, "x"))
    commit = await last(store)
    assert [e["kind"] for e in query().events(commit)] == ["enter", "update", "update", "leave"]
    assert [e["kind"] for e in query({"title": "on"}).events(commit)] == ["enter", "leave", "enter", "leave"]


async def test_another_types_changes_mean_nothing(store: Store) -> None:
    kind = RIGHTS.of("viewer").registry.types["event_track"]
    rec = await store.create()
    await store.commit(Create(kind, "track", kind.accept_create({"name": "T"}), rec))
    assert query().events(await last(store)) == []


# -- ids and marks -----------------------------------------------------------------------------------


def test_the_id_says_account_query_and_rights_and_nothing_else() -> None:
    same = [query({"title": "a"}), query({"title": {"$eq": "a"}})]
    assert len({q.id for q in same}) == 1
    others = [query({"title": "b"}), query(), query({"title": "a"}, ("title",)), query({"title": "a"}, role="editor")]
    assert len({q.id for q in [*same, *others]}) == 5
    assert query(fields=("title", "id")).id == query(fields=("id", "title")).id


def test_a_mark_says_why_it_does_not_fit() -> None:
    mine = query({"title": "a"})
    mark = mine.mark("epoch")
    assert mine.mismatch(mark, "epoch") is None
    assert mine.mismatch(mark, "other") == "epoch"
    assert query({"title": "b"}).mismatch(mark, "epoch") == "query"
    assert query({"title": "a"}, role="owner").mismatch(mark, "epoch") == "rights"
    for nonsense in ("", "a", "a.b.c.d.e", "." * 3):
        assert mine.mismatch(nonsense, "epoch") == "query"


# -- groups ------------------------------------------------------------------------------------------


def watching(watches: Watches, listener: Listener, **asked: object) -> str:
    """Put a socket into the group of a query; return the watch's id."""
    group = watches.group(query(**asked))  # type: ignore[arg-type]  # handed on as given
    group.outlets[listener.outlet] = group.outlets.get(listener.outlet, 0) + 1
    return group.query.id


async def test_everybody_who_watches_gets_the_same_bytes(store: Store) -> None:
    watches = Watches()
    text, packed, again = Listener(), Listener(MSGPACK), Listener()
    for listener in (text, packed, again):
        watching(watches, listener)
    await store.create()
    watches.tell(await last(store))
    first, second, third = (listener.outlet.take() for listener in (text, packed, again))
    assert first is third
    assert first is not None
    assert second is not None
    assert JSON.decode(first.decode()) == MSGPACK.decode(second)
    assert JSON.decode(first.decode())["origin"] == "writer"


async def test_a_commit_of_another_account_reaches_nobody(store: Store) -> None:
    watches, listener = Watches(), Listener()
    watching(watches, listener)
    await store.create()
    commit = await last(store)
    watches.tell(ChangeSet("elsewhere", commit.seq, commit.at, None, None, None, commit.rows))
    assert listener.heard() == []


async def test_what_means_nothing_is_not_pushed(store: Store) -> None:
    watches, listener = Watches(), Listener()
    watching(watches, listener, where={"title": "on"})
    await store.create("off")
    watches.tell(await last(store))
    assert (listener.heard(), listener.woken) == ([], 0)


async def test_a_socket_that_is_behind_loses_that_watch_and_only_that(store: Store) -> None:
    watches = Watches()
    lost: list[tuple[object, str]] = []
    watches.listen(lambda outlet, watch: lost.append((outlet, watch)))
    slow, fast = Listener(max_bytes=1000), Listener()
    watch = watching(watches, slow)
    other = watching(watches, slow, where={"title": "last"})
    watching(watches, fast)
    for title in ["x" * 100] * 5 + ["last"]:
        await store.create(title)
        watches.tell(await last(store))
    heard = slow.heard()
    assert [m["op"] for m in heard if m["watch"] == watch] == ["reset"]
    assert [m["op"] for m in heard if m["watch"] == other] == ["change"]
    assert lost == [(slow.outlet, watch)]
    assert [m["op"] for m in fast.heard()] == ["change"] * 6


async def test_a_commit_that_fits_into_no_frame_is_a_reset(store: Store) -> None:
    watches, listener = Watches(), Listener(max_bytes=10 * MAX_PUSH)
    watch = watching(watches, listener)
    data = {"title": "x" * 200}
    writes = [Create(EVENT, f"x{n}", EVENT.accept_create({**data, "acronym": f"x{n}"})) for n in range(3000)]
    await store.commit(*writes)
    watches.tell(await last(store))
    assert listener.heard() == [{"op": "reset", "watch": watch, "why": "slow"}]


async def test_a_group_is_forgotten_with_its_last_socket_and_its_last_start(store: Store) -> None:
    watches, listener = Watches(), Listener()
    watching(watches, listener)
    group = watches.group(query())
    recorder = Recorder()
    group.recorders.append(recorder)
    watches.stop(group, listener.outlet)
    assert len(watches) == 1, "somebody is about to start it"
    await store.create()
    watches.tell(await last(store))
    assert [n for n, _, _ in recorder.commits] == [1]
    group.recorders.remove(recorder)
    watches.release(group)
    assert len(watches) == 0


# -- fold --------------------------------------------------------------------------------------------


def test_a_snapshot_is_brought_forward_by_what_came_later() -> None:
    records: list[Message] = [{"id": "a", "version": 1, "t": 1}, {"id": "b", "version": 1, "t": 1}]
    commits: list[list[Message]] = [
        [{"kind": "update", "rec": "a", "patch": {"t": 2}, "version": 2}],
        [{"kind": "leave", "rec": "b"}, {"kind": "enter", "rec": "c", "record": {"id": "c", "version": 1, "t": 3}}],
        [{"kind": "update", "rec": "c", "patch": {}, "version": 2}, {"kind": "leave", "rec": "unknown"}],
    ]
    assert fold(records, commits) == [{"id": "a", "version": 2, "t": 2}, {"id": "c", "version": 2, "t": 3}]
    assert records[0]["t"] == 1, "the snapshot itself is shared and stays"


async def test_a_snapshot_and_all_events_behind_it_are_a_fresh_snapshot(store: Store) -> None:
    asked = query({"title": {"$ne": "off"}})
    first, second = await store.create("a"), await store.create("off")
    middle = 2
    snapshot = [store.storage.database.table(ACCOUNT, "event")[first]]
    await store.update(first, title="off")
    await store.update(second, title="b")
    await store.update(second, timezone="UTC")
    await store.create("c")
    await store.delete(first)
    commits = await store.storage.changes(ACCOUNT, middle, 100)
    now = [image for image in store.storage.database.table(ACCOUNT, "event").values() if asked.matches(image)]
    assert sorted(fold(snapshot, [asked.events(c) for c in commits]), key=lambda r: str(r["id"])) == now
