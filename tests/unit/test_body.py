"""The code of a step, in a task of its own."""

import asyncio
import inspect

from awfe.execution.body import Body


async def test_one_that_is_cancelled_before_its_first_line_leaves_no_coroutine_behind() -> None:
    async def work() -> None:
        raise AssertionError

    coroutine = work()
    body = Body(coroutine, "step", lambda _seconds: None)
    body.cancel()
    await asyncio.wait({body.task})
    assert body.task.cancelled()
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
