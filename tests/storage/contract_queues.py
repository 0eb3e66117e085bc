"""The promise of `storage.queues`, for every keeper of it: in order, once, for so long, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from hub.wire.errors import HubError
from storage.queues import PER_ACCOUNT, PER_TARGET, QueueKey, Queues

KEY: QueueKey = ("account", "device", "one")
OTHER: QueueKey = ("account", "user", "one")
FOREIGN: QueueKey = ("another", "device", "one")


@dataclass
class Kept:
    """Queues, and how to let seconds pass."""

    queues: Queues
    wait: Callable[[float], Awaitable[None]]

    async def put(self, *texts: str, key: QueueKey = KEY, seconds: float = 60.0, first: bool = False) -> None:
        for text in texts:
            await self.queues.put(key, text, text.encode(), seconds, first=first)

    async def take(self, key: QueueKey = KEY) -> str | None:
        found = await self.queues.take(key)
        return None if found is None else found[0].decode()

    async def all(self, key: QueueKey = KEY) -> list[str]:
        found = []
        while (text := await self.take(key)) is not None:
            found.append(text)
        return found


class QueuesContract:
    """Subclasses give the fixture `kept`."""

    async def test_what_waits_is_taken_out_in_order_and_once(self, kept: Kept) -> None:
        await kept.put("a", "b", "c")
        await kept.put("x", key=OTHER)
        await kept.put("y", key=FOREIGN)
        assert [await kept.take(), await kept.take()] == ["a", "b"]
        await kept.put("d")
        assert await kept.all() == ["c", "d"]
        assert (await kept.all(), await kept.all(OTHER), await kept.all(FOREIGN)) == ([], ["x"], ["y"])

    async def test_what_is_put_back_is_first_again(self, kept: Kept) -> None:
        await kept.put("a", "b")
        found = await kept.queues.take(KEY)
        assert found is not None
        assert found[0] == b"a"
        assert 55 < found[1] <= 60
        await kept.put("a", first=True, seconds=found[1])
        assert await kept.all() == ["a", "b"]

    async def test_what_has_waited_for_too_long_is_gone(self, kept: Kept) -> None:
        await kept.put("short", seconds=0.05)
        await kept.put("long")
        await kept.put("short too", seconds=0.05)
        await kept.wait(0.1)
        assert await kept.all() == ["long"]
        assert await kept.queues.waiting() == {}

    async def test_two_who_take_at_once_share_what_there_is(self, kept: Kept) -> None:
        texts = [f"{n}" for n in range(50)]
        await kept.put(*texts)
        shares = await asyncio.gather(kept.all(), kept.all())
        assert sorted(shares[0] + shares[1]) == sorted(texts)
        assert all(share == sorted(share, key=int) for share in shares)

    async def test_for_whom_something_waits_is_known(self, kept: Kept) -> None:
        odd: QueueKey = ("account", "user", "a]:|é b")
        await kept.put("a", "b")
        await kept.put("c", seconds=600)
        await kept.put("d", key=odd)
        found = await kept.queues.waiting()
        assert set(found) == {KEY, odd}
        assert 590 < found[KEY] <= 600
        assert 50 < found[odd] <= 60
        assert await kept.all(odd) == ["d"]
        assert set(await kept.queues.waiting()) == {KEY}

    async def test_so_much_waits_for_one_client_and_no_more(self, kept: Kept) -> None:
        await kept.put(*(f"{n}" for n in range(PER_TARGET - 1)))
        await kept.put("short", seconds=0.05)
        with pytest.raises(HubError, match="Too many commands wait") as refused:
            await kept.put("x")
        assert refused.value.code == "rate.limited"
        await kept.put("y", key=OTHER)
        await kept.wait(1.1)  # a full queue looks for what has waited for too long once a second
        await kept.put("z")
        await kept.put("back", first=True)
        assert (await kept.all())[-1] == "z"
        await kept.put("again")

    async def test_so_much_waits_in_one_account_and_no_more(self, kept: Kept) -> None:
        keys: list[QueueKey] = [("account", "device", f"{n}") for n in range(PER_ACCOUNT // 100)]
        for key in keys:
            await asyncio.gather(*(kept.put(f"{key[2]} {n}", key=key) for n in range(100)))
        with pytest.raises(HubError):
            await kept.put("x", key=OTHER)
        await kept.put("y", key=FOREIGN)
        await kept.take(keys[0])
        await kept.put("x", key=OTHER)
