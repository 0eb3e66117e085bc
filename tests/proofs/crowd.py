"""Many clients of the Python client over one hub that goes away: who lost an answer, and when each came back."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from aether_client import Backoff, Client, HubError
from aether_client.connection import State
from aether_client.requests import Entry

TOGETHER: Final = 100
"""How many of a crowd open their sockets at the same time."""
BINS: Final = 5
"""Into how many equal parts the time is cut in which a crowd comes back."""


@dataclass(eq=False)
class Member:
    """One client and what became of it."""

    client: Client
    dialled: list[float] = field(default_factory=list)
    """When it opened a socket, each time."""
    unanswered: int = 0
    """How many requests its sockets were sent whose answer did not come over that socket."""


@dataclass(eq=False)
class Crowd:
    """Clients that write with keys. `share` is how much of a spread they use, from 0 to 1."""

    url: str
    token: str
    share: float
    members: list[Member] = field(default_factory=list)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The record that was answered for each title that was sent."""
    sent: list[str] = field(default_factory=list)
    failed: list[HubError] = field(default_factory=list)
    _titles: itertools.count[int] = field(default_factory=itertools.count)

    async def open(self, count: int) -> None:
        """Open so many clients and wait until all are online."""
        for n in range(count):
            self.members.append(self._member(n))
            if n % TOGETHER == TOGETHER - 1:
                await self.online()
        await self.online()

    def _member(self, n: int) -> Member:
        rng = Random(n)
        dialled: list[float] = []

        def told(state: State, error: HubError | None) -> None:
            if state == "connecting":
                dialled.append(time.monotonic())

        backoff = Backoff(dice=lambda: rng.random() * self.share)
        client = Client(self.url, token=self.token, backoff=backoff, request_seconds=60, on_state=told)
        client.start()
        member = Member(client, dialled)
        lost = client.connection._requests.lost

        def counted() -> list[Entry]:
            asked = [entry for entry in client.connection._requests._open.values() if entry.op != "session.hello"]
            member.unanswered += sum(entry.sent and not entry.paused for entry in asked)
            return lost()

        client.connection._requests.lost = counted  # type: ignore[method-assign]  # what a socket was still owed
        return member

    async def online(self) -> None:
        """Wait until everybody is."""
        await asyncio.gather(*(member.client.online() for member in self.members))

    async def write(self, member: Member) -> None:
        """Create one record, however many sockets that takes."""
        title = f"title {next(self._titles)}"
        self.sent.append(title)
        try:
            answer = await member.client.call("record.create", type="event", data={"title": title})
        except HubError as error:
            self.failed.append(error)
        else:
            self.answers[title] = answer.data

    async def keep_writing(self, per_second: int, until: Callable[[], bool]) -> None:
        """Begin so many writes a second, by one member after the other, until told; then wait for their answers."""
        tasks = []
        for member in itertools.cycle(self.members):
            if until():
                break
            tasks.append(asyncio.create_task(self.write(member)))
            await asyncio.sleep(1 / per_second)
        await asyncio.gather(*tasks)

    async def all_write(self, seconds: float) -> None:
        """Begin one write of each member within so many seconds, some now; then wait for their answers."""
        tasks = []
        for n, member in enumerate(self.members):
            tasks.append(asyncio.create_task(self.write(member)))
            if n % 10 == 9:
                await asyncio.sleep(seconds * 10 / len(self.members))
        await asyncio.gather(*tasks)

    async def close(self) -> None:
        """End all clients."""
        await asyncio.gather(*(member.client.close() for member in self.members))

    async def stored(self) -> list[str]:
        """Return the titles that are there, each as often as it is."""
        client, titles = self.members[0].client, []
        page: dict[str, Any] = {}
        while True:
            found = (await client.call("record.find", type="event", limit=1000, **page)).data
            for record in found["records"]:
                titles.append(record["title"])
                if record["title"] in self.answers:
                    assert record == self.answers[record["title"]]
            if "next" not in found:
                return titles
            page = {"after": found["next"]}


def spread(times: list[float], begin: float, seconds: float) -> list[int]:
    """Return how many times fall into each fifth of so many seconds; what lies outside counts to the nearest."""
    bins = [0] * BINS
    for moment in times:
        bins[min(BINS - 1, max(0, int((moment - begin) / seconds * BINS)))] += 1
    return bins


def is_spread(bins: list[int]) -> bool:
    """Say whether no part of the time has more than twice its share."""
    return max(bins) <= 2 * sum(bins) / len(bins)
