"""Awaiting to the end, whatever is cancelled meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from anyio import CancelScope

T = TypeVar("T")
_AGAIN = 0.1


async def to_the_end(awaitable: Awaitable[T]) -> T:
    """Await something that must not be cut off, then deliver a cancellation that came meanwhile."""
    cancelled: list[bool] = []
    task = unseen(awaitable)
    await outlast(partial(over, task), lambda: cancelled.append(True))
    if cancelled and not task.cancelled():
        # Looked at, so that asyncio does not call it forgotten.
        task.exception()
        raise asyncio.CancelledError
    return task.result()


async def cut_once(awaitable: Awaitable[T]) -> T:
    """Await something that a cancellation cuts off, and wait until it has cleaned up.

    A second cancellation, or one that a cancelled scope delivers again and again, would cut off its clean-up.
    """
    task = unseen(awaitable)
    try:
        await over(task)
    except asyncio.CancelledError:
        task.cancel()
        await outlast(partial(over, task), bool)
        if not task.cancelled():
            # Looked at, so that asyncio does not call it forgotten.
            task.exception()
        raise
    return task.result()


async def surely(once: Callable[[], Awaitable[T]], on_cancel: Callable[[], None]) -> T:
    """Do something that may be done twice until it was done, and tell of each cancellation instead of raising it.

    Its own task is cancelled too when a loop goes down; then it is done again.
    """
    while True:
        task = unseen(once())
        try:
            await over(task)
        except asyncio.CancelledError:
            on_cancel()
            # A shield costs more than all else here, so that there is one only from here on.
            await outlast(partial(over, task), on_cancel)
        try:
            return task.result()
        except asyncio.CancelledError:
            on_cancel()


async def end(task: "asyncio.Task[None]") -> None:
    """Cancel a task until it has ended: `asyncio.wait_for` of Python 3.11, which drivers use, may swallow one."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_AGAIN)
    if not task.cancelled():
        task.exception()


def unseen(awaitable: Awaitable[T]) -> "asyncio.Task[T]":
    """Begin something in a task that a loop which goes down does not see, for it cancels all that it sees."""

    async def begun() -> T:
        return await awaitable

    task = asyncio.get_running_loop().create_task(begun())
    asyncio._unregister_task(task)  # noqa: SLF001 - documented, for tasks that are not the loop's to end
    return task


async def over(future: "asyncio.Future[Any]") -> None:
    """Return when a future is done; it is not cancelled with who waits. As `asyncio.wait`, at a third of its cost."""
    if future.done():
        return
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tell(_: object) -> None:
        if not waiter.done():
            waiter.set_result(None)

    future.add_done_callback(tell)
    try:
        await waiter
    finally:
        future.remove_done_callback(tell)


async def outlast(wait: Callable[[], Awaitable[None]], on_cancel: Callable[[], object]) -> None:
    """Wait to the end, and tell of each cancellation instead of raising it."""
    # anyio's shield alone does not stop a task.cancel(), and a loop of asyncio's shield alone spins in a cancelled
    # anyio scope; nested, both hold and neither costs.
    with CancelScope(shield=True):
        while True:
            try:
                return await wait()
            except asyncio.CancelledError:
                on_cancel()
