"""The code of a step, in a task of its own."""

import asyncio
import inspect
from contextlib import suppress
from typing import Any

from anyio import CancelScope

from awfe.execution.body import Body


async def test_one_that_is_cancelled_before_its_first_line_leaves_no_coroutine_behind() -> None:
    async def work() -> None:
        raise AssertionError

    coroutine = work()
    body = Body(coroutine, "step", lambda _seconds: None, lambda: None)
    body.cancel()
    await asyncio.wait({body.task})
    assert body.task.cancelled()
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


async def test_what_it_started_and_left_behind_may_be_cancelled_by_others() -> None:
    """It was left alone, and with it what it had started; when it has ended that is nobody's any more."""
    scope, goes_on, left = CancelScope(), asyncio.Event(), []

    async def child() -> None:
        with scope:
            while True:
                await asyncio.sleep(0)
                await asyncio.sleep(3600)

    async def work() -> None:
        left.append(asyncio.create_task(child()))
        while not goes_on.is_set():
            with suppress(asyncio.CancelledError):
                await goes_on.wait()

    body = Body(work(), "step", lambda _seconds: None, lambda: None)
    await asyncio.sleep(0)
    body.cancel()
    body.leave_alone()
    while not body.shielding:
        await asyncio.sleep(0)
    goes_on.set()
    assert await body.task is None
    scope.cancel()
    async with asyncio.timeout(10):
        await left[0]


async def test_a_factory_of_tasks_that_it_sets_stays() -> None:
    loop = asyncio.get_running_loop()

    def own(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        return asyncio.Task(coroutine, loop=loop, **options)

    async def work() -> None:
        loop.set_task_factory(own)

    try:
        assert await Body(work(), "step", lambda _seconds: None, lambda: None).task is None
        assert loop.get_task_factory() is own
    finally:
        loop.set_task_factory(None)


async def test_its_tasks_are_made_by_the_factory_of_the_program() -> None:
    loop, made = asyncio.get_running_loop(), []

    def own(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        made.append(asyncio.Task(coroutine, loop=loop, **options))
        return made[-1]

    async def work() -> None:
        assert asyncio.create_task(asyncio.sleep(0)) is made[-1]
        await made[-1]

    loop.set_task_factory(own)
    try:
        assert await Body(work(), "step", lambda _seconds: None, lambda: None).task is None
    finally:
        loop.set_task_factory(None)
    assert len(made) == 2
