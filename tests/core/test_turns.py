"""Turns: one at a time per thing, in the order of asking, and nothing is remembered of what nobody wants."""

from __future__ import annotations

import asyncio

import pytest

from handlers.turns import Turns


async def test_a_thing_is_held_by_one_at_a_time_in_the_order_of_asking() -> None:
    turns = Turns()
    seen: list[str] = []

    async def take(name: str, *things: str) -> None:
        async with turns.of((thing,) for thing in things):
            seen.append(f"{name}+")
            await asyncio.sleep(0)
            seen.append(f"{name}-")

    await asyncio.gather(take("a", "x"), take("b", "x", "x"), take("c", "x"))
    assert seen == ["a+", "a-", "b+", "b-", "c+", "c-"]
    assert not turns.taken(("x",))


async def test_who_wants_the_same_things_in_another_order_does_not_wait_for_ever() -> None:
    turns = Turns()

    async def take(*things: str) -> None:
        async with turns.of((thing,) for thing in things):
            await asyncio.sleep(0)

    async with asyncio.timeout(5):
        await asyncio.gather(*(take(*pair) for pair in (("x", "y"), ("y", "x"), ("y", "z"), ("z", "x")) * 5))


async def test_who_stops_waiting_leaves_nothing_behind() -> None:
    turns = Turns()
    async with turns.of([("x",)]):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), turns.of([("a",), ("x",)]):
                raise AssertionError("x is held")
        assert (turns.taken(("a",)), turns.taken(("x",))) == (False, True)
    assert not turns.taken(("x",))
    async with asyncio.timeout(1), turns.of([("a",), ("x",)]):
        assert turns.taken(("a",))
