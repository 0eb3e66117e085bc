"""A client that writes batches of changes with keys, sends them again after every cut, and keeps a ledger."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import msgspec

from tests.proofs.line import Line, open_line
from tests.proofs.watchers import AGAIN, ANSWER_SECONDS, HELLO, LONGEST_WAIT, Crowd

KIND: Final = "reading"
ROOMS: Final = 8
LEVELS: Final = 1000
_DECODER: Final = msgspec.json.Decoder()


@dataclass(eq=False)
class Work:
    """How much all writers together are to change, and what came of it."""

    batch: int
    """How many changes make a commit."""
    gap_seconds: float
    """How long a writer waits between two batches."""
    changes: int = 0
    """How many are acknowledged."""
    over: bool = False
    commits: dict[str, set[int]] = field(default_factory=dict)
    """The numbers of the acknowledged commits, by account."""
    repeated: int = 0


@dataclass(eq=False)
class Batcher:
    """One writer. The records that it made are nobody else's, so the version of each is known."""

    crowd: Crowd
    work: Work
    account: str
    token: str
    name: str
    rng: Random
    records: int
    """How many records it keeps about."""
    depth: int = 2
    """How many batches are open at once."""
    versions: dict[str, int] = field(default_factory=dict)
    """The records that no open batch changes, with their versions."""
    _waiting: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """The batches without an answer by their keys, in the order in which they were first sent."""
    _asked: dict[int, str] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _line: Line | None = None
    _due: deque[str] = field(default_factory=deque)
    """Keys that are to be sent."""
    _told: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def done(self) -> bool:
        """Whether nothing more is to be written and everything is answered."""
        return self.work.over and not self._waiting

    async def run(self) -> None:
        """Write until there is enough and everything is answered."""
        wait = 0.0
        while not self.done and not self.crowd.over:
            await asyncio.sleep(wait * self.rng.random())
            wait = min(LONGEST_WAIT, 2 * wait + 0.1)
            ports = self.crowd.places(False)
            if not ports:
                continue
            try:
                self._line = await open_line(self.rng.choice(ports), self._heard)
            except (OSError, TimeoutError):
                continue
            self._asked = {}
            self._send(HELLO, op="session.hello", token=self.token)
            self.work.repeated += len(self._waiting)
            self._due = deque(self._waiting)
            if await self._write(self._line):
                wait = 0.1
            self._line.reset()

    async def _write(self, line: Line) -> bool:
        """Keep batches open until the socket is gone, silent or of no use; say whether it was of some."""
        last, used = HELLO, False
        line.over.add_done_callback(lambda over: self._told.set())
        while not (line.over.done() or self.done):
            if len(self._asked) < self.depth and (self._due or not self.work.over):
                key = self._due.popleft() if self._due else self._fresh()
                last += 1
                self._asked[last] = key
                self._send(last, op="record.batch", key=key, ops=self._waiting[key])
                if self.work.gap_seconds:
                    await asyncio.sleep(self.work.gap_seconds * 2 * self.rng.random())
                continue
            self._told.clear()
            try:
                async with asyncio.timeout(ANSWER_SECONDS * 2):
                    await self._told.wait()
                used = True
            except TimeoutError:
                self.crowd.counts["writer silent"] += 1
                return False
        return used

    def _send(self, number: int, **fields: Any) -> None:
        assert self._line is not None
        self._line.send(msgspec.json.encode({"id": number, **fields}))

    def _fresh(self) -> str:
        """Draw a batch; return its key."""
        key = f"{self.name}-{next(self._numbers)}"
        free = list(self.versions)
        self.rng.shuffle(free)
        ops: list[dict[str, Any]] = []
        for n in range(self.work.batch):
            draw, few = self.rng.random(), len(self.versions) < self.records
            rec = free.pop() if free else None
            if rec is None or (few and draw < 0.1):
                data = {"room": f"r{self.rng.randrange(ROOMS)}", "level": self.rng.randrange(LEVELS)}
                ops.append({"op": "record.create", "type": KIND, "data": {**data, "name": f"{key}.{n}"}})
            elif not few and draw < 0.05:
                ops.append({"op": "record.delete", "type": KIND, "rec": rec, "if_version": self.versions.pop(rec)})
            else:
                data = {"level": self.rng.randrange(LEVELS), "name": f"{key}.{n}"}
                if draw > 0.9:
                    data["room"] = f"r{self.rng.randrange(ROOMS)}"
                seen = self.versions.pop(rec)
                ops.append({"op": "record.update", "type": KIND, "rec": rec, "data": data, "if_version": seen})
        self._waiting[key] = ops
        return key

    def _heard(self, payload: bytes) -> None:
        value = _DECODER.decode(payload)
        for message in value if isinstance(value, list) else [value]:
            if message["op"] in {"ok", "error"} and message.get("id") != HELLO:
                self._answered(self._asked.pop(message["id"]), message)
            elif message["op"] == "error":
                self._refused(message)
        self._told.set()

    def _answered(self, key: str, message: dict[str, Any]) -> None:
        if message["op"] == "error":
            self._refused(message)
            return
        ops, seq = self._waiting.pop(key), message["seq"]
        commits = self.work.commits.setdefault(self.account, set())
        if seq in commits:
            self.crowd.wrong.append(f"two batches were answered with commit {seq}")
        commits.add(seq)
        self.crowd.acknowledged[self.account, seq] = time.monotonic()
        self.work.changes += len(ops)
        for op, result in zip(ops, message["data"]["results"], strict=True):
            wanted = op.get("if_version", 0) + 1
            if result["version"] != wanted:
                self.crowd.wrong.append(f"{op} was answered {result}")
            if op["op"] != "record.delete":
                self.versions[result["id"]] = result["version"]

    def _refused(self, message: dict[str, Any]) -> None:
        """Come back later over another socket; what was not answered is sent again."""
        if message["code"] in AGAIN:
            self.crowd.counts[f"writer {message['code']}"] += 1
        else:
            self.crowd.wrong.append(f"a writer was answered {message}")
        assert self._line is not None
        self._line.reset()
