"""Virtual time: an event loop whose clock jumps to the next timer, so nothing ever sleeps.

Everything else is asyncio's own. Whoever waits for what can never happen gets `Stalled` instead of a hang.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from hub.schema.times import format_time

EPOCH = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
"""What the clocks on the wire show when the loop's clock stands at 0."""

_T = TypeVar("_T")


class Stalled(RuntimeError):
    """Everybody waits and no timer is set: nothing can ever happen again."""


class _JumpingSelector(selectors.BaseSelector):
    """A selector without files: where others would sleep, it moves the clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = self._keys[number] = selectors.SelectorKey(fileobj, number, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj if isinstance(fileobj, int) else fileobj.fileno())

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stalled("everybody waits, and no timer is set")
        self.now += max(0.0, timeout)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop over a clock that jumps. Threads and sockets are not part of virtual time."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def wire_time(self) -> str:
        """Return the loop's time as it stands in an image."""
        return format_time(EPOCH + timedelta(seconds=self._jumping.now))


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def wire_clock() -> str:
    """Return the running loop's virtual time as it stands in an image; the clock of a simulated hub."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise TypeError("only a virtual loop has a virtual clock")
    return loop.wire_time()
