"""Run a coroutine now, and make a task of it only if it suspends.

Most handlers answer without waiting; a task for each would cost more than their work.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

_T = TypeVar("_T")


@types.coroutine
def _rest(coroutine: Coroutine[Any, Any, _T], yielded: Any) -> Generator[Any, Any, _T]:
    """Go on with a coroutine that has already yielded once."""
    while True:
        try:
            sent = yield yielded
        except BaseException as error:
            step, value = coroutine.throw, error
        else:
            step, value = coroutine.send, sent  # type: ignore[assignment]  # both take one value
        try:
            yielded = step(value)
        except StopIteration as stop:
            result: _T = stop.value
            return result


async def _finish(coroutine: Coroutine[Any, Any, _T], yielded: Any) -> _T:
    return await _rest(coroutine, yielded)


def step(coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any] | None:
    """Run a coroutine to its first suspension; return a task for the rest, or None when it is done.

    The coroutine must not use `asyncio.timeout` or `current_task` before it first suspends, and must not
    raise.
    """
    try:
        yielded = coroutine.send(None)
    except StopIteration:
        return None
    task = asyncio.get_running_loop().create_task(_finish(coroutine, yielded))
    # A task that is cancelled before its first turn never enters `_finish`: the coroutine ends here then.
    task.add_done_callback(lambda _: coroutine.close())
    return task


class Drive:
    """A coroutine run without a task, cheaper by half: for what waits for futures only, which wake it.

    There is no current task inside, so nothing in it may use `asyncio.timeout`, and it cannot be cancelled.
    """

    __slots__ = ("coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.coroutine = coroutine

    def __call__(self, done: asyncio.Future[Any] | None = None) -> None:
        """Run it as far as its next wait."""
        try:
            awaited = self.coroutine.send(None)
        except StopIteration as stop:
            self.returned(stop.value)
        except (Exception, asyncio.CancelledError) as error:
            self.raised(error)
        else:
            if awaited is None:
                asyncio.get_running_loop().call_soon(self)
            else:
                awaited._asyncio_future_blocking = False  # as a task does when it takes over a future
                awaited.add_done_callback(self)

    def returned(self, value: Any) -> None:
        """Take what the coroutine returned."""

    def raised(self, error: BaseException) -> None:
        """Take what the coroutine raised, or that a future which it waited for was cancelled."""
        raise error
