"""How long it takes to be refused: for what another account has, and for what nobody has.

Operations are asked without a socket, so that nothing but their own work is measured, in an order that is drawn anew
for each pair. The two samples are compared by the statistic of Kolmogorov and Smirnov, written out here: the largest
distance between the two distributions, and how likely one as large is where they are the same.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from channels.outlet import Outlet
from handlers import people
from handlers.base import Call, Operations, Peer, Services
from hub.app import Assembled
from hub.schema.writes import Commit, Create, Write
from hub.wire.codec import JSON, convert
from hub.wire.errors import HubError
from hub.wire.requests import Request

POOL: Final = 50
"""How many records each side has; each is asked for in turn."""
RULED: Final = "a row rule"
FAMILIES: Final = ("get", "find by id", "file by hash", "channel join", "lookup", RULED)


def distance(one: list[float], other: list[float]) -> float:
    """Return the largest distance between the distributions of two samples: 0 to 1."""
    first, second = sorted(one), sorted(other)
    n = m = 0
    largest = 0.0
    while n < len(first) and m < len(second):
        value = min(first[n], second[m])
        while n < len(first) and first[n] <= value:
            n += 1
        while m < len(second) and second[m] <= value:
            m += 1
        largest = max(largest, abs(n / len(first) - m / len(second)))
    return largest


def likelihood(one: list[float], other: list[float]) -> float:
    """Return how likely a distance as large is where both samples are of one distribution (asymptotic, two-sided)."""
    size = math.sqrt(len(one) * len(other) / (len(one) + len(other)))
    scaled = (size + 0.12 + 0.11 / size) * distance(one, other)
    total = sum((-1) ** (k - 1) * math.exp(-2 * k * k * scaled * scaled) for k in range(1, 101))
    return 1.0 if scaled < 0.2 else min(1.0, max(0.0, 2 * total))


@dataclass
class Stall:
    """Two accounts in a hub; `theirs` are ids and hashes of the other, `absent` those of nobody, by family."""

    operations: Operations
    call: Callable[[], Call]
    theirs: dict[str, list[Request]]
    absent: dict[str, list[Request]]

    async def sample(
        self, family: str, count: int, rng: Random, before: Callable[[bool], None] = lambda theirs: None
    ) -> tuple[list[float], list[float]]:
        """Return how many microseconds each refusal took; `before` runs in that time, and is told whose it is."""
        taken: dict[bool, list[float]] = {True: [], False: []}
        gc.collect()
        gc.disable()
        try:
            for n in range(count + 50):
                for theirs in rng.sample((True, False), 2):
                    request = (self.theirs if theirs else self.absent)[family][n % POOL]
                    call = self.call()
                    begun = time.perf_counter_ns()
                    before(theirs)
                    answer: Any = None
                    try:
                        answer = self.operations.admit(call, request)
                        if isinstance(answer, Awaitable):
                            answer = await answer
                    except HubError:
                        pass
                    if n >= 50:
                        taken[theirs].append((time.perf_counter_ns() - begun) / 1000)
        finally:
            gc.enable()
        return taken[True], taken[False]


def _requests(things: list[tuple[str, str, str]]) -> dict[str, list[Request]]:
    """Return what is asked of each family: for the id of an event, a hash, and the id of a diary."""

    def made(**fields: Any) -> Request:
        return convert({"id": 1, **fields})

    found: dict[str, list[Request]] = {family: [] for family in FAMILIES}
    for event, sha256, diary in things:
        found["get"].append(made(op="record.get", type="event", rec=event))
        found["find by id"].append(made(op="record.find", type="event", where={"id": event}))
        found["file by hash"].append(made(op="file.grant", hash=sha256))
        found["channel join"].append(made(op="channel.join", channel=f"event:{event}"))
        target = {"type": "event", "rec": event}
        found["lookup"].append(made(op="lookup.list", lookup="country", limit=1, **{"for": target}))
        found[RULED].append(made(op="record.get", type="diary", rec=diary))
    return found


async def stall_in(parts: Assembled, rng: Random) -> Stall:
    """Make both accounts in a started hub, and somebody in the first."""
    services: Services = parts.hub.services
    types = services.registry.types
    accounts = [str((await people.create_account(services, name))["id"]) for name in ("one", "other")]
    things: dict[str, list[tuple[str, str, str]]] = {"own": [], "theirs": [], "absent": []}
    for whose, account in zip(("own", "theirs"), accounts, strict=True):
        writes: list[Write] = []
        kept: list[Write] = []
        for n in range(POOL):
            event, file, diary = services.new_id(), services.new_id(), services.new_id()
            sha256 = rng.randbytes(32).hex()
            bytes_of = {"name": f"{n}", "sha256": sha256, "size": 1, "content_type": "text/plain"}
            writes.append(Create(types["event"], event, types["event"].accept_create({"title": f"{whose} {n}"})))
            data = types["event_file"].accept_create(bytes_of, trusted=True)
            writes.append(Create(types["event_file"], file, data, event))
            # A diary of the same account that a row rule keeps from who asks.
            kept.append(Create(types["diary"], diary, types["diary"].accept_create({"name": "kept", "keeper": "x"})))
            things[whose].append((event, sha256, diary))
        await services.storage.submit(Commit(account, tuple(writes)))
        await services.storage.submit(Commit(accounts[0], tuple(kept)))
    things["absent"] = [(services.new_id(), rng.randbytes(32).hex(), services.new_id()) for _ in range(POOL)]
    _, token = await people.create_api_key(services, accounts[0], "editor", "asks")
    peer = Peer(outlet=Outlet(JSON, lambda: None))
    hello = convert({"op": "session.hello", "id": 1, "token": token})
    await parts.hub.operations.run(Call(services, peer), hello)
    return Stall(
        parts.hub.operations, lambda: Call(services, peer, 1), _requests(things["theirs"]), _requests(things["absent"])
    )


def idle(microseconds: float) -> Callable[[bool], None]:
    """Return what takes so long where it is the other account's."""

    def wait(theirs: bool) -> None:
        until = time.perf_counter_ns() + microseconds * 1000
        while theirs and time.perf_counter_ns() < until:
            pass

    return wait
