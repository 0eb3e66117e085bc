"""Pushes to many sockets: kept once for all of them, and written to each in one pass, once in a turn of the loop.

A group of many sockets does not queue its pushes for each. It begins a `Run`, which takes in all its pushes of a turn.
When the turn is over, a socket for which nothing else waits is written the whole run with one call, joined once per
codec; for any other the run is queued. Whatever else is queued for a socket meanwhile goes behind the run (`settle`).
So each socket is sent what it would be sent if every push had been queued for it at once, in that order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from channels.outlet import Encoded, Outlet

if TYPE_CHECKING:
    from hub.wire.codec import Codec

MANY: Final = 8
"""From how many sockets on a group's pushes are kept once."""
MAX_PUSH: Final = 1024 * 1024 - 4096
"""The largest change push; a commit that needs more becomes a `reset`, and the client pages a snapshot."""
RUNS: Final = 64
"""How many runs may wait; one more and they are written at once."""
RUN_BYTES: Final = 64 * 1024
"""How much a run takes in before the next one begins."""
FLUSH_BYTES: Final = 256 * 1024
"""How much may wait in runs before they are written at once."""


class Group(Protocol):
    """Sockets that are pushed the same: those of a watch, or those in a channel."""

    outlets: dict[Outlet, Any]
    run: Run | None
    """What takes in this group's pushes in this turn of the loop."""

    @property
    def owner(self) -> Hashable:
        """The tag under which its pushes wait in an outlet."""


Full = Callable[["Run", Outlet], None]
"""Told of a socket that has no room for all pushes of a run."""


class Run:
    """Pushes of one group that follow each other, and who has had them already."""

    __slots__ = ("_joined", "full", "group", "passed", "pushes", "size")

    def __init__(self, group: Group, full: Full) -> None:
        self.group = group
        self.pushes: list[Encoded] = []
        self.size = 0
        """Bytes of the pushes in the codec of one of the sockets."""
        self.passed: set[Outlet] = set()
        """The sockets of the group that this run is no longer for."""
        self.full = full
        self._joined: dict[object, bytes] = {}
        """What is written, by the codec, or by the edge's way to make bytes of what many are sent."""

    def outlets(self) -> list[Outlet]:
        """Return whom this run is for."""
        passed = self.passed
        return [o for o in self.group.outlets if o not in passed] if passed else [*self.group.outlets]

    def joined(self, outlet: Outlet) -> bytes:
        """Return what is written for the run to a socket, or nothing where a push is too large."""
        codec, framed = outlet.codec, outlet.broadcast or outlet.framed
        data = self._joined.get(outlet.broadcast or codec)
        if data is None:
            frames = [push.frame(codec) for push in self.pushes]
            data = framed(frames) if framed is not None and max(map(len, frames)) <= MAX_PUSH else b""
            self._joined[outlet.broadcast or codec] = data
        return data

    def queue(self, outlet: Outlet) -> None:
        """Queue the run for one socket; where it has no room for all of it, `full` is called in the end."""
        if outlet not in self.group.outlets:
            return  # an earlier run of this group found no room
        owner = self.group.owner
        for push in self.pushes:
            frame = push.frame(outlet.codec)
            if len(frame) > MAX_PUSH or not outlet.append(frame, owner):
                self.full(self, outlet)
                return


def _write_one(run: Run, left: Iterator[Outlet]) -> None:
    codec: Codec | None = None
    broadcast: object = None
    data = b""
    for outlet in left:
        if outlet.codec is not codec or outlet.broadcast is not broadcast:
            codec, broadcast, data = outlet.codec, outlet.broadcast, run.joined(outlet)
        direct = outlet.direct
        if direct is None or not data:
            run.queue(outlet)
        else:
            direct.write(data)


def _write_many(left: Iterator[tuple[Outlet, list[Run]]]) -> None:
    for outlet, runs in left:
        direct, parts = outlet.direct, [run.joined(outlet) for run in runs]
        if direct is None or not all(parts):
            for run in runs:
                run.queue(outlet)
        else:
            direct.write(parts[0] if len(parts) == 1 else b"".join(parts))


def _soon(callback: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(callback)


class Fanout:
    """The runs that wait for the end of the turn, in the order in which they began."""

    def __init__(self, soon: Callable[[Callable[[], None]], None] = _soon) -> None:
        """Write the runs when `soon` calls back: a turn of the loop later."""
        self.runs: list[Run] = []
        self.many = MANY
        self._soon = soon
        self._size = 0
        self._expected = False
        """Whether `soon` will call back."""

    def add(self, group: Group, push: Encoded, full: Full) -> bool:
        """Take in a push of a group for all its sockets; return False, and take in nothing, where it is too large."""
        size = len(push.frame(next(iter(group.outlets)).codec))
        if size > MAX_PUSH:
            return False
        run = group.run
        if run is None:
            if len(self.runs) >= RUNS:
                self.flush()
            elif self.runs:
                self.runs[-1].group.run = None  # a socket may be in both groups: what comes later goes behind this
            run = group.run = Run(group, full)
            self.runs.append(run)
            self._expect()
        run.pushes.append(push)
        run.size += size
        self._size += size
        if run.size >= RUN_BYTES:
            group.run = None
        if self._size >= FLUSH_BYTES:
            self.flush()
        return True

    def settle(self, outlet: Outlet) -> None:
        """Queue for a socket what waits for it in runs, since something else is to be queued behind it."""
        for run in list(self.runs):
            group = run.group
            if outlet in group.outlets and outlet not in run.passed:
                run.passed.add(outlet)
                if group.run is run:
                    group.run = None
                run.queue(outlet)

    def begins(self, group: Group, outlet: Outlet) -> None:
        """Note that a socket has joined a group: what was pushed before is not for it."""
        for run in self.runs:
            if run.group is group:
                run.passed.add(outlet)
        group.run = None

    def flush(self) -> None:
        """Write every run to its sockets."""
        runs, self.runs, self._size = self.runs, [], 0
        if not runs:
            return
        runs[-1].group.run = None
        left: Iterator[Any]
        if len(runs) == 1:
            left = iter(runs[0].outlets())
            write = partial(_write_one, runs[0], left)
        else:
            wanted: dict[Outlet, list[Run]] = {}
            for run in runs:
                for outlet in run.outlets():
                    wanted.setdefault(outlet, []).append(run)
            left = iter(wanted.items())
            write = partial(_write_many, left)
        try:
            write()
        finally:
            # A fault that concerns one socket keeps nothing from the others.
            rest = {outlet if len(runs) == 1 else outlet[0] for outlet in left}
            if rest:
                for run in runs:
                    run.passed |= run.group.outlets.keys() - rest
                self.runs[:0] = runs
                self._expect()

    def _expect(self) -> None:
        if not self._expected:
            self._expected = True
            self._soon(self._turn_is_over)

    def _turn_is_over(self) -> None:
        self._expected = False
        self.flush()
