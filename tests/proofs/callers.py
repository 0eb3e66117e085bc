"""Controllers that call, workers that answer, and the book in which both write what happened to each call."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import websockets

from tests.wire.talk import Client, Message, connected

SLACK_SECONDS: Final = 2.0
"""By how much an answer may be late: the machine does other things too."""
UNTOLD: Final = frozenset({"command.absent", "server.unavailable", "rate.limited"})
"""Answers that say that nobody was told."""


@dataclass
class Book:
    """What was asked, what was told to workers, and what was answered, by the number of each call."""

    asked: dict[int, float] = field(default_factory=dict)
    told: Counter[int] = field(default_factory=Counter)
    answers: dict[int, list[tuple[str, Any, float]]] = field(default_factory=dict)
    """The code (`ok` where it was done), the data, and when it came."""

    def answer(self, n: int, message: Message) -> None:
        """Write down an answer."""
        code = "ok" if message["op"] == "ok" else message["code"]
        self.answers.setdefault(n, []).append((code, message.get("data"), time.monotonic()))

    @property
    def codes(self) -> Counter[str]:
        """How often each answer was given."""
        return Counter(answers[0][0] for answers in self.answers.values())

    def wrong(self, timeout: float) -> list[str]:
        """Return what may not be: no answer, two, a late one, one that is not true, a command that was told twice."""
        found = [f"call {n} has {len(self.answers.get(n, []))} answers" for n in self.asked if not self._once(n)]
        for n, answers in self.answers.items():
            code, data, at = answers[0]
            if at - self.asked[n] > timeout + SLACK_SECONDS:
                found.append(f"call {n} was answered {code} after {at - self.asked[n]:.1f} s")
            if code == "ok" and (self.told[n] != 1 or data["data"] != n):
                found.append(f"call {n} was told {self.told[n]} times and answered {data}")
            if code in UNTOLD and self.told[n]:
                found.append(f"call {n} was answered {code}, and somebody was told")
            if code not in UNTOLD | {"ok", "command.timeout"}:
                found.append(f"call {n} was answered {code}")
        return found + [f"call {n} was told {times} times" for n, times in self.told.items() if times > 1]

    def _once(self, n: int) -> bool:
        return len(self.answers.get(n, [])) == 1


async def controller(
    url: str, token: str, book: Book, numbers: list[int], devices: list[str], timeout: float, pace: float
) -> None:
    """Call each number once, `pace` seconds apart, and write down every answer until some time after the last."""
    async with connected(url) as client:
        await client.greet(token)
        ids: dict[int, int] = {}

        async def listen() -> None:
            while True:
                message = await client.socket.recv()
                assert isinstance(message, str)
                decoded = _decoded(message)
                if decoded.get("id") in ids:
                    book.answer(ids[decoded["id"]], decoded)

        listening = asyncio.create_task(listen())
        for n in numbers:
            ids[client.last + 1], book.asked[n] = n, time.monotonic()
            to = {"device": devices[n % len(devices)]}
            await client.send("client.call", to=to, command="PING", data={"n": n}, timeout=timeout)
            if pace:
                await asyncio.sleep(pace)
        until = time.monotonic() + timeout + SLACK_SECONDS
        while time.monotonic() < until and not all(n in book.answers for n in numbers):
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)  # an answer too many would come now
        listening.cancel()


async def worker(url: Callable[[], str | None], token: str, book: Book, rng: Random, work_seconds: float) -> None:
    """Obey at whatever hub there is, again and again, until cancelled."""
    while True:
        place = url()
        if place is None:
            await asyncio.sleep(0.02)
            continue
        try:
            async with connected(place) as client:
                await client.greet(token)
                async with asyncio.TaskGroup() as group:
                    while True:
                        message = await client.socket.recv()
                        assert isinstance(message, str)
                        decoded = _decoded(message)
                        if decoded["op"] == "command":
                            book.told[decoded["data"]["n"]] += 1
                            group.create_task(_obey(client, decoded, rng.random() * work_seconds))
        except* (OSError, TimeoutError, websockets.WebSocketException):
            await asyncio.sleep(0.02)


async def _obey(client: Client, command: Message, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await client.send("client.reply", command=command["command"], data=command["data"]["n"])


def _decoded(message: str) -> Message:
    found: Message = json.loads(message)
    return found
