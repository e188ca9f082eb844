"""Awaiting to the end, whatever is cancelled meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from anyio import CancelScope

T = TypeVar("T")
_AGAIN = 0.1


async def to_the_end(awaitable: Awaitable[T]) -> T:
    """Await something that must not be cut off, then deliver a cancellation that came meanwhile."""
    cancelled: list[bool] = []
    task = asyncio.ensure_future(awaitable)
    await _outlast(task, lambda: cancelled.append(True))
    if cancelled and not task.cancelled():
        # Looked at, so that asyncio does not call it forgotten.
        task.exception()
        raise asyncio.CancelledError
    return task.result()


async def surely(once: Callable[[], Awaitable[T]], on_cancel: Callable[[], None]) -> T:
    """Do something that may be done twice until it was done, and tell of each cancellation instead of raising it.

    Its own task is cancelled too when a loop goes down; then it is done again.
    """
    while True:
        task = asyncio.ensure_future(once())
        await _outlast(task, on_cancel)
        if not task.cancelled():
            return task.result()
        on_cancel()


async def end(task: "asyncio.Task[None]") -> None:
    """Cancel a task until it has ended: `asyncio.wait_for` of Python 3.11, which drivers use, may swallow one."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_AGAIN)
    if not task.cancelled():
        task.exception()


async def _outlast(task: "asyncio.Future[T]", on_cancel: Callable[[], None]) -> None:
    # anyio's shield alone does not stop a task.cancel(), and a loop of asyncio's shield alone spins in a cancelled
    # anyio scope; nested, both hold and neither costs.
    with CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                on_cancel()
