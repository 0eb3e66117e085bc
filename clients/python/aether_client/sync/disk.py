"""The threads in which sync touches the disk, so that the loop never waits for it.

Writing happens in one thread, in order: what was handed over before a stop is on disk after it. Long looks at bytes
happen in others and are broken off by `close`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Disk:
    """The threads of one sync."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._writer = ThreadPoolExecutor(1, "sync-write")
        self._readers = ThreadPoolExecutor(2, "sync-read")

    def stopping(self) -> bool:
        """Whether long work should be broken off."""
        return self._stop.is_set()

    async def write(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Do short work that changes the disk; a cancelled caller does not undo it."""
        return await asyncio.wrap_future(self._writer.submit(work, *args, **kwargs))

    async def read(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Do long work that reads, or copies into sync's own folder."""
        return await asyncio.wrap_future(self._readers.submit(work, *args, **kwargs))

    def later(self, work: Callable[[], object]) -> Future[object]:
        """Hand work to the writing thread without waiting, behind what it has already."""
        return self._writer.submit(work)

    def close(self) -> None:
        """Break long looks off, let the writing thread finish what it has, and end the threads."""
        self._stop.set()
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._writer.shutdown(wait=True)
