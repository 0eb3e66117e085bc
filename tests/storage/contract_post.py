"""The promise of `storage.post`, for every post that has somebody to write to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from storage.post import LETTER_BYTES, Post
from tests.storage.contract_bus import until


class End:
    """One end of a post, and what it was written."""

    def __init__(self, post: Post) -> None:
        self.post = post
        self.letters: list[tuple[str, bytes]] = []
        self.readied = 0
        post.listen(lambda sender, letter: self.letters.append((sender, letter)), self._on_ready)

    def _on_ready(self) -> None:
        self.readied += 1


Opened = Callable[[int], AbstractAsyncContextManager[list[End]]]
"""Opens so many ends of a post of their own, each ready."""


class PostContract:
    """Subclasses give the fixture `opened`."""

    async def test_a_letter_reaches_the_one_to_whom_it_is_written(self, opened: Opened) -> None:
        async with opened(3) as (one, two, three):
            assert await one.post.send(two.post.name, b"hello") == 1
            await until(lambda: two.letters == [(one.post.name, b"hello")])
            assert await two.post.send(one.post.name, b"yes") == 1
            await until(lambda: one.letters == [(two.post.name, b"yes")])
            assert three.letters == []
            assert len({end.post.name for end in (one, two, three)}) == 3
            assert all(end.readied == 1 and not end.post.alone for end in (one, two, three))

    async def test_a_letter_to_all_reaches_all_others_and_who_sent_it_knows_how_many(self, opened: Opened) -> None:
        async with opened(3) as (one, two, three):
            assert await one.post.send(None, b"who?") == 2
            await until(lambda: two.letters == three.letters == [(one.post.name, b"who?")])
            assert one.letters == []
        async with opened(1) as (one,):
            assert await one.post.send(None, b"who?") == 0

    async def test_who_sends_knows_that_nobody_is_there(self, opened: Opened) -> None:
        async with opened(2) as (one, two):
            assert await one.post.send("nobody", b"hello") == 0
            await two.post.close()
            assert await one.post.send(two.post.name, b"hello") == 0
            assert await one.post.send(None, b"hello") == 0

    async def test_letters_keep_their_order_however_many_are_sent_at_once(self, opened: Opened) -> None:
        async with opened(2) as (one, two):
            name = two.post.name
            sent = [one.post.send(name if n % 3 else None, b"%d" % n) for n in range(2000)]
            assert set(await asyncio.gather(*sent)) == {1}
            await until(lambda: len(two.letters) == 2000)
            told = [int(letter) for _, letter in two.letters]
            assert [n for n in told if n % 3] == [n for n in range(2000) if n % 3]
            assert [n for n in told if not n % 3] == [n for n in range(2000) if not n % 3]

    async def test_the_longest_letter_arrives(self, opened: Opened) -> None:
        async with opened(2) as (one, two):
            letters = [bytes([n]) * LETTER_BYTES for n in range(8)]
            await asyncio.gather(*(one.post.send(two.post.name, letter) for letter in letters))
            await until(lambda: len(two.letters) == 8)
            assert [letter for _, letter in two.letters] == letters
