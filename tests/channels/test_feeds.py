"""A feed over a log that is pruned, and of which most shows nothing: pure of sockets, over the keeper in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from channels import feeds
from channels.feeds import Feed, Feeds
from storage.base import FeedPosition
from tests.channels.scene import ACCOUNT, RIGHTS, Listener, Message, Store

LATER = "2999-01-01T00:00:00.000Z"


async def until(condition: Callable[[], bool]) -> None:
    """Give the tasks their turns until something is so."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never was")


async def started(store: Store, running: Feeds, listener: Listener, seq: int, role: str = "owner") -> Feed:
    """Return a feed that runs from a position."""
    epoch = (await store.storage.heads([ACCOUNT]))[ACCOUNT].epoch
    feed = Feed(ACCOUNT, "crm", RIGHTS.of(role), listener.outlet, FeedPosition(epoch, seq))
    running.open(feed)
    return feed


async def test_a_log_that_was_pruned_is_said_at_the_start_and_under_a_running_feed() -> None:
    store, listener = await Store().start(), Listener()
    running = Feeds(store.storage)
    for n in range(4):
        await store.create(f"{n}")
    epoch = (await store.storage.heads([ACCOUNT]))[ACCOUNT].epoch
    assert (await running.begin(ACCOUNT, "crm", FeedPosition(epoch, 1))).why is None
    feed = await started(store, running, listener, 1)
    await until(lambda: feed.read == 4)
    assert [m["seq"] for m in listener.heard()] == [2, 3, 4]
    await store.storage.prune(LATER, 3)
    for seq, why in ((1, "expired"), (2, "expired"), (3, None), (4, None), (5, "epoch")):
        assert (await running.begin(ACCOUNT, "crm", FeedPosition(epoch, seq))).why == why, seq
    feed = await started(store, running, listener, 1)
    await until(lambda: feed.task is None)
    resets = [{"op": "reset", "feed": "crm", "why": why} for why in ("taken", "expired")]
    assert listener.heard() == resets
    assert running.of(ACCOUNT, "crm", listener.outlet) is None


async def test_what_shows_nothing_is_not_pushed_and_not_read_again() -> None:
    store, listener = await Store().start(), Listener()
    running = Feeds(store.storage)
    rec = await store.create("0")
    feed = await started(store, running, listener, 1, role="guest")  # who may read no event
    for n in range(feeds.UNSEEN + feeds.PAGE):
        await store.update(rec, title=f"{n + 1}")
        running.tell(ACCOUNT)
    await until(lambda: feed.read == feeds.UNSEEN + feeds.PAGE + 1)
    await asyncio.sleep(0)
    assert listener.heard() == []
    kept = await store.storage.feed_position(ACCOUNT, "crm")
    assert kept is not None
    assert kept.seq >= feeds.UNSEEN
    running.close_all()


async def test_an_acknowledgement_reaches_over_what_showed_nothing() -> None:
    store, listener = await Store().start(), Listener()
    running = Feeds(store.storage)
    feed = await started(store, running, listener, 0)
    for n in range(3):
        await store.create(f"{n}")
    running.tell(ACCOUNT)
    await until(lambda: feed.read == 3)
    feed.rights = RIGHTS.of("guest")
    for n in range(2):
        await store.create(f"unseen {n}")
    running.tell(ACCOUNT)
    await until(lambda: feed.read == 5)
    assert await running.acknowledge(feed, 1) == 1, "2 was pushed and waits"
    assert await running.acknowledge(feed, 3) == 5
    running.close_all()


async def test_commits_wait_while_the_window_is_full() -> None:
    store, listener = await Store().start(), Listener()
    running = Feeds(store.storage)
    feed = await started(store, running, listener, 0)
    asked = feeds.WINDOW_COMMITS + 5
    for n in range(asked):
        await store.create(f"{n}" * 3)
    running.tell(ACCOUNT)
    heard: list[Message] = []
    while len(heard) < asked:
        await until(lambda: feed.is_full() or feed.read == asked)
        more = listener.heard()
        assert more
        assert sum(len(listener.outlet.codec.encode(m)) for m in more[:-1]) <= feeds.WINDOW_BYTES
        assert len(more) <= feeds.WINDOW_COMMITS
        heard += more
        await running.acknowledge(feed, heard[-1]["seq"])
    assert [m["seq"] for m in heard] == [*range(1, asked + 1)]
    running.close_all()
