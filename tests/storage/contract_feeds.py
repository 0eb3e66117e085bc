"""The promise of `storage.base.Storage` as tests: where feeds stand."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from hub.wire.errors import HubError
from storage.base import FEEDS, FeedPosition
from tests.storage.declared import Use, box


class FeedContract:
    """A part of the promise; `StorageContract` takes it in."""

    async def test_a_feed_stands_where_it_was_moved_and_never_goes_back(self, use: Use) -> None:
        await use.create(box, name="a")
        storage = use.storage
        assert await storage.feed_position("main", "crm") is None
        for seq, kept in ((3, 3), (2, 3), (3, 3), (7, 7)):
            assert await storage.move_feed("main", "crm", FeedPosition("e", seq)) == FeedPosition("e", kept)
            assert await storage.feed_position("main", "crm") == FeedPosition("e", kept)
        assert await storage.move_feed("main", "crm", FeedPosition("f", 1)) == FeedPosition("f", 1), "a new epoch"

    async def test_feeds_are_of_their_account_and_name(self, use: Use) -> None:
        await use.create(box, name="a")
        await use.create(box, account="other", name="a")
        storage = use.storage
        places = [("main", "a"), ("main", "A"), ("main", "a-"), ("other", "a")]
        for seq, (account, name) in enumerate(places):
            await storage.move_feed(account, name, FeedPosition("e", seq))
        for seq, (account, name) in enumerate(places):
            assert await storage.feed_position(account, name) == FeedPosition("e", seq)
        assert await storage.move_feed("main", "a", None) is None
        assert [await storage.feed_position(*place) is None for place in places] == [True, False, False, False]
        assert await storage.move_feed("main", "a", None) is None
        assert await storage.move_feed("nobody", "a", FeedPosition("e", 1)) is None
        assert await storage.feed_position("nobody", "a") is None

    async def test_an_account_has_a_bounded_number_of_feeds(self, use: Use) -> None:
        await use.create(box, name="a")
        storage = use.storage
        for n in range(FEEDS):
            await storage.move_feed("main", f"feed-{n}", FeedPosition("e", 1))
        with pytest.raises(HubError) as refusal:
            await storage.move_feed("main", "one-more", FeedPosition("e", 1))
        assert (refusal.value.code, refusal.value.path) == ("rate.limited", "name")
        assert await storage.move_feed("main", "feed-7", FeedPosition("e", 2)) == FeedPosition("e", 2)
        await storage.move_feed("main", "feed-7", None)
        assert await storage.move_feed("main", "one-more", FeedPosition("e", 1)) == FeedPosition("e", 1)

    async def test_feeds_that_are_moved_at_once_end_at_the_furthest(self, use: Use) -> None:
        await use.create(box, name="a")
        asked = [*range(1, 60)]
        Random(4).shuffle(asked)
        moves = [use.storage.move_feed("main", "crm", FeedPosition("e", seq)) for seq in asked]
        writes = [use.create(box, name=f"{n}") for n in range(20)]
        await asyncio.gather(*moves, *writes)
        assert await use.storage.feed_position("main", "crm") == FeedPosition("e", 59)
