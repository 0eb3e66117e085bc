"""Actions of the tests' own in a hub inside the test: what they do is given, when they go on is the test's to say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from hub import Context, NewRecord, action
from hub.schema.writes import Committed
from packs.events.records import Event
from tests.wire.inside import Inside

Run = Callable[[Context, "Ask"], Awaitable[Any]]


class Ask(Struct, frozen=True, forbid_unknown_fields=True):
    """What a deed is told."""

    title: str = "A"
    recs: list[str] = []


class Deed:
    """The action `event.deed` of a hub: waits at its gate, then does `run`. `runs` counts how often it began."""

    def __init__(self, inside: Inside, run: Run) -> None:
        self.run = run
        self.runs = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._changed = asyncio.Condition()

        @action("event.deed", needs="event.update")
        async def deed(ctx: Context, args: Ask) -> Any:
            """Do what the test says."""
            async with self._changed:
                self.runs += 1
                self._changed.notify_all()
            await self.gate.wait()
            return await self.run(ctx, args)

        inside.parts.hub.services.registry.actions["event.deed"] = vars(deed)["__action__"]

    async def begun(self, runs: int = 1) -> None:
        """Return when it has been begun this often."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: self.runs >= runs)


async def make_event(ctx: Context, args: Ask) -> dict[str, Any]:
    """Create an event and answer with what cannot be known before."""

    def answer(done: Committed) -> dict[str, Any]:
        return {"rec": done.results[0].image["id"], "seq": done.seq, "dice": ctx.random(4).hex()}

    return await ctx.submit([NewRecord(Event, {"title": args.title})], answer)
