"""A post in memory whose instances can be cut off, stand still or lose what they are written; and their clients."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from channels.calls import Calls
from channels.letters import Address, encode
from channels.live import SessionState
from channels.rosters import Who
from hub.access import Identity
from storage.post import Away, OnLetter
from storage.queues import InProcess
from tests.channels.scene import ACCOUNT, Listener, Message

_sessions = itertools.count(1)


class Town:
    """Every letter box, and what waits for clients, which they share."""

    def __init__(self) -> None:
        self.boxes: dict[str, Box] = {}
        self.queues = InProcess()
        self.sent: list[tuple[str, str | None, bytes]] = []

    def instance(self, name: str) -> Instance:
        """Return a new instance."""
        return Instance(self, name)


class Box:
    """One end of the post. `away`: cut off; `silent`: letters reach it and are not read; `gone`: killed."""

    alone = False

    def __init__(self, town: Town, name: str) -> None:
        self.town, self.name = town, name
        self.away = self.silent = self.gone = False
        self.on_letter: OnLetter = lambda sender, letter: None
        self.on_ready: Callable[[], None] = lambda: None
        town.boxes[name] = self

    @property
    def ready(self) -> bool:
        return not self.away

    def listen(self, on_letter: OnLetter, on_ready: Callable[[], None]) -> None:
        self.on_letter, self.on_ready = on_letter, on_ready

    async def start(self) -> None:
        self.on_ready()

    async def close(self) -> None:
        self.gone = True

    async def send(self, to: str | None, letter: bytes) -> int:
        self.town.sent.append((self.name, to, letter))
        await asyncio.sleep(0)
        if self.away or self.gone:
            raise Away
        others = [box for box in self.town.boxes.values() if box is not self and to in {None, box.name}]
        reached = [box for box in others if not (box.gone or box.away)]
        for box in reached:
            if not box.silent:
                asyncio.get_running_loop().call_soon(box.on_letter, self.name, letter)
        return len(reached)


class Instance:
    """The calls of one instance."""

    def __init__(self, town: Town, name: str) -> None:
        self.box = Box(town, name)
        self.calls = Calls(self.box, town.queues)

    def client(self, rec: str = "kiosk", **more: Any) -> Client:
        """Return a client that has said hello."""
        return Client(self, rec, **more)

    def write(self, sender: str, letter: Any) -> None:
        """Have a letter read as if an instance had sent it."""
        self.box.on_letter(sender, encode(letter))


class Client:
    """One session, and what it was told."""

    def __init__(
        self,
        instance: Instance,
        rec: str,
        kind: str = "device",
        account: str = ACCOUNT,
        status: str = "active",
        max_bytes: int = 1024 * 1024,
    ) -> None:
        self.calls, self.who = instance.calls, Who(kind, rec, rec)
        self.listener = Listener(max_bytes=max_bytes)
        self.state = SessionState(f"s{next(_sessions)}", Identity("key"), account, "", self.listener.outlet)
        self.state.status = status
        self.arrive()

    def arrive(self) -> None:
        self.calls.arrive(self.state, self.who)

    def told(self) -> list[Message]:
        """Take and return the commands that came."""
        return self.listener.heard()

    def reply(self, number: int, data: Any = None) -> bool:
        return self.calls.targets.reply(self.state.id, number, "answer", data)

    async def one(self) -> Message:
        """Return the one command that comes next."""
        (command,) = await self.several(1)
        return command

    async def several(self, count: int) -> list[Message]:
        """Return the next so many commands."""
        found: list[Message] = []
        async with asyncio.timeout(5):
            while len(found) < count:
                await asyncio.sleep(0)
                found += self.told()
        assert len(found) == count
        return found


def address(rec: str = "kiosk", kind: str = "device", account: str = ACCOUNT) -> Address:
    return Address(account, kind, rec, ("user", "device"))


def ask(
    instance: Instance, to: Address | None = None, *, seconds: float = 5.0, caller: object = "caller", **more: Any
) -> asyncio.Task[dict[str, Any]]:
    """Call from an instance; return the task that has the answer."""
    calling = instance.calls.call(to or address(), "RELOAD", {}, None, caller=caller, seconds=seconds, **more)
    return asyncio.create_task(calling)
