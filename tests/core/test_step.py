"""A stepped coroutine: done without a task where it does not wait, and like any task where it does."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref

import pytest

from hub.edge.step import Drive, step

name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="")


async def test_a_coroutine_that_does_not_wait_is_done_at_once_without_a_task() -> None:
    log: list[str] = []

    async def work() -> None:
        log.append("done")

    before = asyncio.all_tasks()
    assert step(work()) is None
    assert log == ["done"]
    assert asyncio.all_tasks() == before


async def test_a_coroutine_that_waits_goes_on_in_a_task() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> int:
        first = await future
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        return first + 1

    task = step(work())
    assert task is not None
    future.set_result(41)
    assert await task == 42


async def test_a_coroutine_that_only_yields_goes_on_in_a_task() -> None:
    log: list[int] = []

    async def work() -> None:
        for n in range(3):
            log.append(n)
            await asyncio.sleep(0)

    task = step(work())
    assert log == [0]
    assert task is not None
    await task
    assert log == [0, 1, 2]


async def test_a_future_that_is_done_is_no_reason_to_wait() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_result(1)

    async def work() -> None:
        await future

    assert step(work()) is None


async def test_the_failure_of_a_future_arrives_where_it_is_awaited() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> str:
        try:
            await future
        except ValueError as error:
            return f"caught {error}"
        return "nothing"

    task = step(work())
    assert task is not None
    future.set_exception(ValueError("x"))
    assert await task == "caught x"


async def test_an_exception_before_the_first_wait_is_the_callers() -> None:
    async def work() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        step(work())


async def test_an_exception_after_the_first_wait_is_the_tasks() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise ValueError("x")

    task = step(work())
    assert task is not None
    with pytest.raises(ValueError, match="x"):
        await task


async def test_cancelling_the_task_cancels_what_it_waits_for_and_runs_the_finally() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    log: list[str] = []

    async def work() -> None:
        try:
            await future
        except asyncio.CancelledError:
            log.append("cancelled")
            raise
        finally:
            log.append("finally")

    task = step(work())
    assert task is not None
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["cancelled", "finally"]
    assert future.cancelled()


async def test_cancelling_before_the_task_ran_at_all_still_runs_the_finally() -> None:
    log: list[str] = []

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            log.append("finally")

    task = step(work())
    assert task is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gc.collect()
    assert log == ["finally"]


async def test_a_coroutine_may_refuse_to_be_cancelled() -> None:
    async def work() -> str:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "finished anyway"

    task = step(work())
    assert task is not None
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "finished anyway"


async def test_a_stepped_coroutine_keeps_its_context_over_its_waits_and_to_itself() -> None:
    seen: list[str] = []

    async def work() -> None:
        name.set("inside")
        await asyncio.sleep(0)
        seen.append(name.get())

    task = contextvars.copy_context().run(step, work())
    assert task is not None
    assert name.get() == ""
    await task
    assert seen == ["inside"]
    assert name.get() == ""


async def test_a_finished_coroutine_leaves_nothing_behind() -> None:
    class Marker:
        pass

    async def work(marker: Marker) -> None:
        await asyncio.sleep(0)

    marker = Marker()
    gone = weakref.ref(marker)
    task = step(work(marker))
    assert task is not None
    await task
    del marker, task
    gc.collect()
    assert gone() is None


# -- drive -------------------------------------------------------------------------------------------


async def turns(count: int = 5) -> None:
    """Let the loop turn a few times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_driven_coroutine_runs_at_once_as_far_as_it_can_and_makes_no_task() -> None:
    log: list[object] = []
    first: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    second: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        log.append("begun")
        log.append(await first)
        await asyncio.sleep(0)
        log.append(await second)

    before = asyncio.all_tasks()
    Drive(work())()
    assert (log, asyncio.all_tasks()) == (["begun"], before)
    first.set_result(1)
    await turns()
    assert log == ["begun", 1]
    second.set_result(2)
    await turns()
    assert log == ["begun", 1, 2]


async def test_a_driven_coroutine_hears_of_failed_and_of_cancelled_futures() -> None:
    log: list[str] = []
    loop = asyncio.get_running_loop()
    failing: asyncio.Future[int] = loop.create_future()
    cancelled: asyncio.Future[int] = loop.create_future()

    async def work() -> None:
        try:
            await failing
        except ValueError as error:
            log.append(f"failed {error}")
        try:
            await cancelled
        except asyncio.CancelledError:
            log.append("cancelled")

    Drive(work())()
    failing.set_exception(ValueError("x"))
    await turns()
    cancelled.cancel()
    await turns()
    assert log == ["failed x", "cancelled"]


async def test_a_driven_coroutine_may_wait_for_tasks_and_for_what_is_done() -> None:
    log: list[str] = []

    async def other() -> str:
        await asyncio.sleep(0)
        return "other"

    async def work() -> None:
        task = asyncio.get_running_loop().create_task(other())
        log.append(await asyncio.shield(task))
        log.append(await task)

    Drive(work())()
    await turns(10)
    assert log == ["other", "other"]


async def test_many_driven_coroutines_do_not_grow_the_stack() -> None:
    done = 0

    async def work() -> None:
        nonlocal done
        await asyncio.sleep(0)
        done += 1

    for _ in range(5000):
        Drive(work())()
    await turns()
    assert done == 5000


async def test_what_a_driven_coroutine_returns_or_raises_is_told_once() -> None:
    log: list[object] = []

    class Told(Drive):
        def returned(self, value: object) -> None:
            log.append(value)

        def raised(self, error: BaseException) -> None:
            log.append(type(error))

    async def work(future: asyncio.Future[int]) -> int:
        return await future + 1

    loop = asyncio.get_running_loop()
    good, bad, given_up = loop.create_future(), loop.create_future(), loop.create_future()
    for future in (good, bad, given_up):
        Told(work(future))()
    good.set_result(1)
    bad.set_exception(ValueError("x"))
    given_up.cancel()
    await turns()
    assert log == [2, ValueError, asyncio.CancelledError]
